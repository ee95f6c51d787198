//! Looking through the store for what processes that died left behind: uploads that were never completed lie beside
//! their key as `key#n` and are removed; old objects are named to the caller, who knows which of them are listed.

use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::{Error, FileStore, blocking};

/// Deepest directory below the store that is looked into: `projects/{id}/results/{id}`.
const DEPTH_MAX: usize = 4;

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    /// Unfinished uploads that were removed.
    pub removed: u64,
    /// Keys of objects that were not written to for long enough.
    pub old: Vec<String>,
    /// Where the next look goes on; `None` after the last file.
    pub next: Option<String>,
}

impl FileStore {
    /// Looks at `files_max` files in the order of their keys, beginning behind `after`. Removes unfinished uploads that
    /// were last written to before `before` and names the objects of which that is true. An upload that still runs is
    /// written to at least once per part, so `before` lies further back than any upload may be silent.
    ///
    /// # Errors
    /// Failures of the disk.
    pub async fn look_through(
        &self,
        before: DateTime<Utc>,
        after: Option<&str>,
        files_max: usize,
    ) -> Result<Look, Error> {
        let root = self.dir.clone();
        let mut sweep = Sweep {
            before,
            files_left: files_max,
            look: Look::default(),
        };
        let after: Vec<String> = after
            .into_iter()
            .flat_map(|key| key.split('/'))
            .map(str::to_owned)
            .collect();
        blocking(move || {
            sweep
                .folder(&root, "", &after, DEPTH_MAX)
                .map_err(|error| Error::Failed(error.to_string()))?;
            Ok(sweep.look)
        })
        .await
    }
}

struct Sweep {
    before: DateTime<Utc>,
    files_left: usize,
    look: Look,
}

impl Sweep {
    /// Goes through a folder whose keys begin with `start`. Of `after`, the parts that belong below it.
    fn folder(
        &mut self,
        folder: &Path,
        start: &str,
        after: &[String],
        depth_left: usize,
    ) -> io::Result<()> {
        let mut entries = found(std::fs::read_dir(folder))?
            .into_iter()
            .flatten()
            .collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            // No key of ours is anything but ASCII: another name is somebody else's file.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let begun = after.first().is_some_and(|begun| *begun == name);
            if after.first().is_some_and(|begun| name < *begun) {
                continue;
            }
            let (kind, key) = (entry.file_type()?, format!("{start}{name}"));
            if kind.is_dir() && depth_left > 0 {
                let below = if begun { &after[1..] } else { &[] };
                self.folder(&entry.path(), &format!("{key}/"), below, depth_left - 1)?;
            } else if kind.is_file() && !begun {
                self.file(&entry, key)?;
            }
            if self.look.next.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn file(&mut self, entry: &std::fs::DirEntry, key: String) -> io::Result<()> {
        if is_older(entry, self.before)? {
            if is_staged(&key) {
                self.look.removed +=
                    u64::from(found(std::fs::remove_file(entry.path()))?.is_some());
            } else {
                self.look.old.push(key.clone());
            }
        }
        self.files_left = self.files_left.saturating_sub(1);
        if self.files_left == 0 {
            self.look.next = Some(key);
        }
        Ok(())
    }
}

/// The name that object_store (0.14, `staged_upload_path`) gives to an upload in progress, and the marker to its
/// draft: no key has a `#`.
fn is_staged(key: &str) -> bool {
    key.rsplit_once('#').is_some_and(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn is_older(entry: &std::fs::DirEntry, before: DateTime<Utc>) -> io::Result<bool> {
    let modified = found(entry.metadata().and_then(|metadata| metadata.modified()))?;
    Ok(modified.is_some_and(|modified| DateTime::<Utc>::from(modified) < before))
}

/// Nothing where the file is gone meanwhile: completed, or removed by another instance.
fn found<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        outcome => outcome.map(Some),
    }
}
