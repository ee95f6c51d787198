//! What can go wrong with files, named by what the caller can do about it.

use std::error::Error as _;
use std::path::PathBuf;

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
            error if is_full(&error) => Self::StorageFull,
            error => Self::Failed(error.to_string()),
        }
    }
}

fn is_full(error: &object_store::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{QuotaExceeded, StorageFull};
            return matches!(io.kind(), StorageFull | QuotaExceeded);
        }
        cause = error.source();
    }
    false
}
