//! Removing what killed processes left behind: uploads that were never completed lie beside their key as `key#n`.

use std::io;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Error, FileStore, blocking};

/// Deepest directory below the store that is looked into: `projects/{id}/results/{id}`.
const DEPTH_MAX: u32 = 4;

impl FileStore {
    /// Removes unfinished uploads to which nothing was written for `silent_for` before `now`, and says how many. An
    /// upload that still runs is written to at least once per part; an hour is far beyond that.
    ///
    /// # Errors
    /// Failures of the disk.
    pub async fn remove_abandoned(
        &self,
        now: DateTime<Utc>,
        silent_for: Duration,
    ) -> Result<u64, Error> {
        let (root, before) = (self.dir.clone(), now - silent_for);
        blocking(move || {
            sweep(&root, before, DEPTH_MAX).map_err(|error| Error::Failed(error.to_string()))
        })
        .await
    }
}

fn sweep(dir: &Path, before: DateTime<Utc>, depth_left: u32) -> io::Result<u64> {
    let mut removed = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && depth_left > 0 {
            removed += sweep(&entry.path(), before, depth_left - 1)?;
        } else if kind.is_file() && is_staged(&entry.path()) && is_older(&entry, before)? {
            removed += u64::from(found(std::fs::remove_file(entry.path()))?.is_some());
        }
    }
    Ok(removed)
}

/// The name that object_store (0.14, `staged_upload_path`) gives to an upload in progress, and the marker to its
/// draft: no key has a `#`.
fn is_staged(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit_once('#').is_some_and(|(_, number)| {
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
