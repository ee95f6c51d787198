//! The file store: `object_store` behind the byte rules. A put streams with flat memory under a cap, is hashed on the
//! way, becomes visible whole or not at all, and is on disk before it is acknowledged.

mod error;
mod keys;
mod marker;
mod publish;
mod range;
mod sweep;

use std::fs::File;
use std::io::{BufReader, SeekFrom};
use std::path::{self, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetResultPayload, MultipartUpload, ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

pub use error::Error;
pub use keys::{Kind, file_key, kind_of, result_key};
pub use range::{BadRange, ByteRange};
pub use sweep::Look;

/// Bytes are handed to the store in parts of this size: what one upload holds in memory.
const PART_BYTES: usize = 4 << 20;
/// Bytes of a download read at once: object_store's own stream reads 8 KiB, a hand-over to a blocking thread each.
const READ_BYTES: usize = 128 << 10;
/// Bytes read ahead by a decoder, at most; of a smaller file all.
const READ_AHEAD_BYTES: usize = 256 << 10;

/// A handle on the file store; clones share it.
#[derive(Debug, Clone)]
pub struct FileStore {
    store: Arc<LocalFileSystem>,
    dir: PathBuf,
    id: Uuid,
}

/// What a put stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Number of bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
}

/// A readable object.
pub struct Reading {
    /// Size of the whole object in bytes.
    pub size_bytes: u64,
    /// The bytes asked for.
    pub stream: BoxStream<'static, Result<Bytes, Error>>,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading")
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

impl FileStore {
    /// Opens the store in a directory, which is made where it is missing.
    ///
    /// # Errors
    /// [`Error::Unusable`] naming the directory when it cannot be made or written.
    pub async fn open(dir: &path::Path) -> Result<Self, Error> {
        let dir = dir.to_owned();
        blocking(move || {
            let unusable = |why: String| Error::Unusable {
                dir: dir.clone(),
                why,
            };
            std::fs::create_dir_all(&dir).map_err(|error| unusable(error.to_string()))?;
            let id = marker::read_or_write(&dir).map_err(|error| unusable(error.to_string()))?;
            let store = LocalFileSystem::new_with_prefix(&dir)
                .map_err(|error| unusable(error.to_string()))?
                // Not with_automatic_cleanup: a delete would remove a directory that a put has just made for its file.
                .with_fsync(true);
            Ok(Self {
                store: Arc::new(store),
                dir,
                id,
            })
        })
        .await
    }

    /// The random id that the store's first opener gave it: instances with one id see the same files.
    pub const fn store_id(&self) -> Uuid {
        self.id
    }

    /// Stores a stream under `key`, which is new, at most `cap_bytes`, waiting at most `idle_timeout` for each piece.
    /// Nothing is visible before all of it is durable. Of a put that failed or was dropped no object remains; what the
    /// disk did not let go of is swept later ([`FileStore::look_through`]).
    ///
    /// # Errors
    /// [`Error::TooLarge`] above the cap, [`Error::Aborted`] when the stream fails or falls silent,
    /// [`Error::StorageFull`] when the disk is full.
    pub async fn put_stream(
        &self,
        key: &str,
        body: impl Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
        cap_bytes: u64,
        idle_timeout: Duration,
    ) -> Result<Stored, Error> {
        let location = location(key)?;
        let path = self.store.path_to_filesystem(&location)?;
        let mut upload = self.begin(location).await?;
        match send_parts(upload.as_mut(), body, cap_bytes, idle_timeout).await {
            Ok(stored) => match publish::publish(upload, path).await {
                Ok(()) => Ok(stored),
                // It may be visible already where only the directory could not be synced.
                Err(error) => {
                    remains(key, self.delete(key).await);
                    Err(error.into())
                }
            },
            Err(error) => {
                remains(key, upload.abort().await.map_err(Error::from));
                Err(error)
            }
        }
    }

    /// Directories may have to be made and synced for the first file of a project: not on the runtime's threads.
    async fn begin(&self, location: Path) -> Result<Box<dyn MultipartUpload>, Error> {
        let store = self.store.clone();
        blocking(move || {
            let beginning = store.put_multipart(&location);
            Ok(Handle::current().block_on(beginning)?)
        })
        .await
    }

    /// Stores bytes under `key`.
    ///
    /// # Errors
    /// [`Error::StorageFull`] when the disk is full, or the store's own.
    pub async fn put_bytes(&self, key: &str, bytes: Bytes) -> Result<(), Error> {
        self.store.put(&location(key)?, bytes.into()).await?;
        Ok(())
    }

    /// All bytes under `key`; for small objects.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the store's own.
    pub async fn get_bytes(&self, key: &str) -> Result<Bytes, Error> {
        self.begin_get_bytes(key).await
    }

    /// [`Self::get_bytes`], which has begun before this returns: other things can be done until the bytes are wanted.
    pub fn begin_get_bytes(&self, key: &str) -> BoxFuture<'static, Result<Bytes, Error>> {
        let path = location(key).and_then(|key| Ok(self.store.path_to_filesystem(&key)?));
        let key = key.to_owned();
        // The store would open the file on one thread and read it on another.
        let reading = tokio::task::spawn_blocking(move || {
            let read = std::fs::read(path?).map_err(|error| Error::of_system(&key, &error))?;
            Ok(read.into())
        });
        outcome(reading).boxed()
    }

    /// Streams an object, or the bytes of `range` of it, which the object has.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the store's own.
    pub async fn get(&self, key: &str, range: Option<ByteRange>) -> Result<Reading, Error> {
        let found = self
            .store
            .get_opts(&location(key)?, GetOptions::default())
            .await
            .map_err(|error| named(error, key))?;
        let size_bytes = found.meta.size;
        let range = range.unwrap_or(ByteRange {
            start: 0,
            end: size_bytes,
        });
        let stream = match found.payload {
            GetResultPayload::File(file, _) => read_file(file, range).await?,
            // Another store than the local one would answer ranges itself.
            GetResultPayload::Stream(stream) => stream.map_err(Error::from).boxed(),
        };
        Ok(Reading { size_bytes, stream })
    }

    /// Size of an object in bytes.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the store's own.
    pub async fn size(&self, key: &str) -> Result<u64, Error> {
        let found = self.store.head(&location(key)?).await;
        Ok(found.map_err(|error| named(error, key))?.size)
    }

    /// An object as the decoders read it: buffered, seekable, blocking.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the store's own.
    pub async fn open_for_decode(&self, key: &str) -> Result<BufReader<File>, Error> {
        let path = self.store.path_to_filesystem(&location(key)?)?;
        let key = key.to_owned();
        blocking(move || {
            let failed = |error| Error::of_system(&key, &error);
            let file = File::open(path).map_err(failed)?;
            let bytes = file.metadata().map_err(failed)?.len();
            let bytes =
                usize::try_from(bytes).map_or(READ_AHEAD_BYTES, |all| all.min(READ_AHEAD_BYTES));
            Ok(BufReader::with_capacity(bytes, file))
        })
        .await
    }

    /// Removes an object; one that is not there is no error.
    ///
    /// # Errors
    /// The store's own.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        match self.store.delete(&location(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Answers when the store can be read and is still the one that was opened (a volume may have been unmounted, or
    /// another mounted over it); for health.
    ///
    /// # Errors
    /// [`Error::Unusable`] naming the directory.
    pub async fn ping(&self) -> Result<(), Error> {
        let (dir, id) = (self.dir.clone(), self.id);
        blocking(move || {
            let why = match marker::read(&dir) {
                Ok(found) if found == id => return Ok(()),
                Ok(found) => format!("holds the store {found} instead of {id}"),
                Err(error) => error.to_string(),
            };
            Err(Error::Unusable { dir, why })
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    outcome(tokio::task::spawn_blocking(work)).await
}

async fn outcome<T>(working: JoinHandle<Result<T, Error>>) -> Result<T, Error> {
    match working.await {
        Ok(outcome) => outcome,
        Err(panic) => Err(Error::Failed(panic.to_string())),
    }
}

fn remains(key: &str, removed: Result<(), Error>) {
    if let Err(error) = removed {
        tracing::warn!(%error, key, "a part of {key} stays in the file store: {error}");
    }
}

/// Names an absent object by its key: the store names it by its path on this machine, which is nobody's business.
fn named(error: object_store::Error, key: &str) -> Error {
    match error.into() {
        Error::NotFound(_) => Error::NotFound(key.to_owned()),
        error => error,
    }
}

async fn read_file(
    file: File,
    range: ByteRange,
) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
    let failed = |error: std::io::Error| Error::Failed(error.to_string());
    let mut file = tokio::fs::File::from_std(file);
    file.seek(SeekFrom::Start(range.start))
        .await
        .map_err(failed)?;
    let bytes = file.take(range.end - range.start);
    Ok(ReaderStream::with_capacity(bytes, READ_BYTES)
        .map_err(failed)
        .boxed())
}

async fn send_parts(
    upload: &mut dyn MultipartUpload,
    mut body: impl Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
    cap_bytes: u64,
    idle_timeout: Duration,
) -> Result<Stored, Error> {
    let mut digest = Sha256::new();
    let mut bytes = 0_u64;
    let mut part = BytesMut::with_capacity(PART_BYTES);
    while let Some(piece) = next_piece(&mut body, idle_timeout).await? {
        bytes += piece.len() as u64;
        if bytes > cap_bytes {
            return Err(Error::TooLarge {
                limit_bytes: cap_bytes,
            });
        }
        digest.update(&piece);
        part.extend_from_slice(&piece);
        if part.len() >= PART_BYTES {
            upload.put_part(part.split().freeze().into()).await?;
            part.reserve(PART_BYTES);
        }
    }
    if !part.is_empty() {
        upload.put_part(part.freeze().into()).await?;
    }
    Ok(Stored {
        bytes,
        sha256: digest.finalize().into(),
    })
}

/// The next piece of a body; `None` at its end.
///
/// # Errors
/// [`Error::Aborted`] when the body fails or is silent for longer than `idle_timeout`.
pub async fn next_piece(
    body: &mut (impl Stream<Item = std::io::Result<Bytes>> + Send + Unpin),
    idle_timeout: Duration,
) -> Result<Option<Bytes>, Error> {
    match tokio::time::timeout(idle_timeout, body.next()).await {
        Ok(piece) => piece
            .transpose()
            .map_err(|error| Error::Aborted(error.to_string())),
        Err(_) => Err(Error::Aborted(format!(
            "silent for {} s",
            idle_timeout.as_secs_f64()
        ))),
    }
}

fn location(key: &str) -> Result<Path, Error> {
    Path::parse(key).map_err(|error| Error::Failed(format!("{key}: {error}")))
}
