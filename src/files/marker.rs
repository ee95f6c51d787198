//! The marker file: a random id that tells whether two instances see the same directory.

use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Result, Write};
use std::path::Path;

use uuid::Uuid;

const NAME: &str = "store-id";

/// The directory's id; gives it one where it has none. Of several first openers one wins.
pub(super) fn read_or_write(dir: &Path) -> Result<Uuid> {
    let draft = dir.join(format!(".{NAME}-{}", Uuid::new_v4().simple()));
    if !dir.join(NAME).exists() {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&draft)?;
        file.write_all(Uuid::new_v4().to_string().as_bytes())?;
        file.sync_all()?;
        // A link fails where the name is taken, so a half-written or second marker is never seen.
        let linked = std::fs::hard_link(&draft, dir.join(NAME));
        std::fs::remove_file(&draft)?;
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
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
