//! What can go wrong with stored bytes.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::key::Key;

/// A boxed error of a body stream.
pub(super) type StreamError = Box<dyn std::error::Error + Send + Sync>;

/// A failure of the file store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory cannot be used as a file store.
    #[error("{} cannot be the file store: {cause}", dir.display())]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The marker file is not one of ours.
    #[error("{} is not the marker of a file store: {cause}", path.display())]
    BadMarker {
        /// The marker file.
        path: PathBuf,
        /// Why not.
        cause: serde_json::Error,
    },
    /// The text is not a key of this store.
    #[error("{0:?} is not the key of a stored file")]
    BadKey(String),
    /// Nothing is stored under the key.
    #[error("nothing is stored under {0}")]
    NotFound(Key),
    /// The body goes on after the largest size that is allowed.
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The largest size.
        bytes_max: u64,
    },
    /// The body does not begin like a picture of a kind that can be read.
    #[error("the body is not a PNG, JPEG, BMP or TIFF")]
    Unsupported,
    /// The client ended or broke the body before it was complete.
    #[error("the body broke off after {received} bytes: {cause}")]
    Aborted {
        /// Bytes that came.
        received: u64,
        /// What the transport says.
        cause: StreamError,
    },
    /// The client fell silent.
    #[error("nothing more of the body came within {} s after {received} bytes", idle.as_secs_f32())]
    Stalled {
        /// Bytes that came.
        received: u64,
        /// The longest silence that is allowed.
        idle: Duration,
    },
    /// The disk or the quota is full.
    #[error("the file store is full")]
    StorageFull,
    /// The range lies outside the file.
    #[error("{key} has {bytes} bytes; the range {start}..{end} lies outside")]
    OutOfRange {
        /// The file.
        key: Key,
        /// Its size.
        bytes: u64,
        /// First byte asked for.
        start: u64,
        /// One past the last byte asked for.
        end: u64,
    },
    /// The store does not do what it was asked to.
    #[error("the file store failed: {0}")]
    Storage(#[source] object_store::Error),
    /// The disk does not do what it was asked to.
    #[error("the file store failed: {0}")]
    Disk(#[source] io::Error),
}

impl Error {
    /// The error that `error` means for an operation on `key`.
    pub(super) fn of_store(error: object_store::Error, key: &Key) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound(key.clone()),
            error if is_full(&error) => Self::StorageFull,
            error => Self::Storage(error),
        }
    }

    /// The error that `error` of the local disk means.
    pub(super) fn of_disk(error: io::Error) -> Self {
        match is_full(&error) {
            true => Self::StorageFull,
            false => Self::Disk(error),
        }
    }

    /// Label of `spheroctl_upload_failures_total`.
    pub fn upload_reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Unsupported => "unsupported",
            Self::Aborted { .. } | Self::Stalled { .. } => "aborted",
            _ => "storage",
        }
    }
}

/// Whether a full disk or an exhausted quota is among the causes.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(present) = cause {
        if let Some(io) = present.downcast_ref::<io::Error>()
            && matches!(
                io.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        {
            return true;
        }
        cause = present.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_found_under_the_stores_own_errors() {
        let key: Key = "projects/00000000-0000-7000-8000-000000000000/files/00000000-0000-7000-8000-000000000001"
            .parse()
            .unwrap();
        let wrapped = |kind: io::ErrorKind| object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::from(kind)),
        };
        let full = Error::of_store(wrapped(io::ErrorKind::StorageFull), &key);
        assert!(matches!(full, Error::StorageFull));
        let other = Error::of_store(wrapped(io::ErrorKind::PermissionDenied), &key);
        assert!(matches!(other, Error::Storage(_)));
    }
}
