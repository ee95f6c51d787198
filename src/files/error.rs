//! What can go wrong with files, named by what the caller can do about it.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use rustix::io::Errno;

/// A failure of the file store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such object.
    #[error("there is no object {0}")]
    NotFound(String),
    /// The stream is longer than the cap.
    #[error("larger than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// The cap.
        limit_bytes: u64,
    },
    /// The sender went away or fell silent.
    #[error("the upload was broken off: {0}")]
    Aborted(String),
    /// The disk is full.
    #[error("the file store is full")]
    StorageFull,
    /// The process, or the system, has as many files open as it may.
    #[error("too many files are open")]
    TooManyOpen,
    /// The directory cannot be used.
    #[error("files.dir {dir}: {why}", dir = dir.display())]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Anything else.
    #[error("file store: {0}")]
    Failed(String),
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { path, .. } => Self::NotFound(path),
            error => known(&error).unwrap_or_else(|| Self::Failed(error.to_string())),
        }
    }
}

impl Error {
    /// A failure of the operating system with an object.
    pub(super) fn of_system(key: &str, error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::NotFound(key.to_owned()),
            _ => named(error).unwrap_or_else(|| Self::Failed(format!("{key}: {error}"))),
        }
    }
}

/// What the operating system said, where somebody below it passed it on.
fn known(error: &object_store::Error) -> Option<Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return named(io);
        }
        cause = error.source();
    }
    None
}

fn named(error: &io::Error) -> Option<Error> {
    // The standard library has no kind for these two.
    let open_max = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(Error::StorageFull),
        _ if error
            .raw_os_error()
            .is_some_and(|code| open_max.contains(&code)) =>
        {
            Some(Error::TooManyOpen)
        }
        _ => None,
    }
}
