//! The marker file: a random id that tells whether two instances see the same directory.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::Path;

use uuid::Uuid;

const NAME: &str = "store-id";

/// The directory's id; gives it one where it has none. Of several first openers one wins. A draft is written in any
/// case: a directory that can be read only is noticed now and not at the first upload.
pub(super) fn read_or_write(dir: &Path) -> Result<Uuid> {
    // Named like an unfinished upload: the draft of a process that was killed here is swept with them.
    let draft = dir.join(format!("{NAME}#{}", Uuid::new_v4().as_u128()));
    let linked = write(&draft)
        // A link fails where the name is taken, so a half-written or second marker is never seen.
        .and_then(|()| std::fs::hard_link(&draft, dir.join(NAME)));
    match std::fs::remove_file(&draft) {
        Err(error) if linked.is_ok() => return Err(error),
        _ => {}
    }
    match linked {
        Ok(()) => File::open(dir)?.sync_all()?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    read(dir)
}

/// The directory's id.
pub(super) fn read(dir: &Path) -> Result<Uuid> {
    let text = std::fs::read_to_string(dir.join(NAME))?;
    Uuid::parse_str(text.trim()).map_err(|_| {
        Error::new(
            ErrorKind::InvalidData,
            format!("{NAME} holds {text:?}, not an id"),
        )
    })
}

fn write(draft: &Path) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(draft)?;
    file.write_all(Uuid::new_v4().to_string().as_bytes())?;
    file.sync_all()
}
