//! The store itself: opening, reading and deleting.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::{GetOptions, GetResultPayload, ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::error::Error;
use super::key::Key;

/// Name of the file that tells one store from another.
const MARKER: &str = "store.json";

/// Bytes read from the disk at once for a download: object_store's own stream reads 8 KiB, a hand-over to a blocking
/// thread each.
const READ_BYTES: usize = 128 * 1_024;

/// The random identity of one store. Two instances that show different ids do not see each other's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreId(Uuid);

impl std::fmt::Display for StoreId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Where file bytes are kept. Clones share one store.
#[derive(Debug, Clone)]
pub struct FileStore {
    pub(super) store: Arc<LocalFileSystem>,
    root: PathBuf,
    id: StoreId,
}

/// Bytes on their way out.
pub struct Download {
    /// Size of the whole file.
    pub bytes: u64,
    /// The part that `stream` brings.
    pub range: Range<u64>,
    /// The bytes.
    pub stream: BoxStream<'static, Result<Bytes, Error>>,
}

/// A stored file opened for a decoder: `BufRead + Seek`, to be used on a thread that may block.
pub type LocalFile = BufReader<File>;

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    store_id: StoreId,
}

impl FileStore {
    /// Opens the store in `dir`, which is created where it is missing. Blocks for a few disk operations.
    ///
    /// # Errors
    /// When the directory cannot be created or written, or holds a marker that is not ours.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let unusable = |cause: io::Error| Error::Unusable {
            dir: dir.to_owned(),
            cause,
        };
        std::fs::create_dir_all(dir).map_err(unusable)?;
        let root = dir.canonicalize().map_err(unusable)?;
        write_marker(&root).map_err(unusable)?;
        let id = read_marker(&root)?;
        let store = LocalFileSystem::new_with_prefix(&root)
            .map_err(|error| unusable(io::Error::other(error)))?
            // An acknowledged upload is never lost: file and directory are on disk before a put returns.
            .with_fsync(true);
        Ok(Self {
            store: Arc::new(store),
            root,
            id,
        })
    }

    /// The identity of this store, equal for all instances that see the same files.
    pub fn store_id(&self) -> StoreId {
        self.id
    }

    /// The directory of the store.
    pub fn dir(&self) -> &Path {
        &self.root
    }

    /// Where the file under `key` lies, whether or not it exists.
    pub fn local_path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// Stores a small value whole; for streams see [`FileStore::put_stream`].
    ///
    /// # Errors
    /// [`Error::StorageFull`] and failures of the disk.
    pub async fn put(&self, key: &Key, bytes: Bytes) -> Result<(), Error> {
        self.store
            .put(key.path(), PutPayload::from_bytes(bytes))
            .await
            .map(|_| ())
            .map_err(|error| Error::of_store(error, key))
    }

    /// All bytes of the file, in memory; for values that were stored with [`FileStore::put`].
    ///
    /// # Errors
    /// [`Error::NotFound`] and failures of the disk.
    pub async fn get(&self, key: &Key) -> Result<Bytes, Error> {
        let found = self.store.get(key.path()).await;
        let found = found.map_err(|error| Error::of_store(error, key))?;
        found
            .bytes()
            .await
            .map_err(|error| Error::of_store(error, key))
    }

    /// The file's bytes in `range`, or all of them, as a stream.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::OutOfRange`] where the range has bytes beyond the file's end, failures of the
    /// disk; later failures come through the stream.
    pub async fn get_range(&self, key: &Key, range: Option<Range<u64>>) -> Result<Download, Error> {
        let found = self.store.get_opts(key.path(), GetOptions::default()).await;
        let found = found.map_err(|error| Error::of_store(error, key))?;
        let bytes = found.meta.size;
        let range = range.unwrap_or(0..bytes);
        if range.end > bytes || range.start > range.end {
            return Err(Error::OutOfRange {
                key: key.clone(),
                bytes,
                start: range.start,
                end: range.end,
            });
        }
        let stream = match found.payload {
            GetResultPayload::File(file, _) => read_file(file, range.clone()).await?,
            GetResultPayload::Stream(_) => self.read_ranged(key, range.clone()).await?,
        };
        Ok(Download {
            bytes,
            range,
            stream,
        })
    }

    async fn read_ranged(
        &self,
        key: &Key,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let options = GetOptions::default().with_range(Some(range));
        let found = self.store.get_opts(key.path(), options).await;
        let found = found.map_err(|error| Error::of_store(error, key))?;
        let key = key.clone();
        Ok(found
            .into_stream()
            .map_err(move |error| Error::of_store(error, &key))
            .boxed())
    }

    /// The file under `key` for a decoder.
    ///
    /// # Errors
    /// [`Error::NotFound`] and failures of the disk.
    pub async fn open_for_decode(&self, key: &Key) -> Result<LocalFile, Error> {
        let path = self.local_path(key);
        match tokio::fs::File::open(path).await {
            Ok(file) => Ok(BufReader::with_capacity(READ_BYTES, file.into_std().await)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::NotFound(key.clone())),
            Err(error) => Err(Error::of_disk(error)),
        }
    }

    /// The size of the file in bytes; none where it does not exist.
    ///
    /// # Errors
    /// Failures of the disk.
    pub async fn head(&self, key: &Key) -> Result<Option<u64>, Error> {
        match self.store.head(key.path()).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Error::of_store(error, key)),
        }
    }

    /// Deletes the file; false where there was none.
    ///
    /// # Errors
    /// Failures of the disk.
    pub async fn delete(&self, key: &Key) -> Result<bool, Error> {
        match self.store.delete(key.path()).await {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(Error::of_store(error, key)),
        }
    }

    /// Writes, syncs and deletes a few bytes: whether the store can be written now, for the health checks.
    ///
    /// # Errors
    /// [`Error::StorageFull`] and failures of the disk.
    pub async fn probe(&self) -> Result<(), Error> {
        let root = self.root.clone();
        let probing =
            tokio::task::spawn_blocking(move || write_temporary(&root, b"probe").map(drop));
        match probing.await {
            Ok(outcome) => outcome.map_err(Error::of_disk),
            Err(panic) => Err(Error::Disk(io::Error::other(panic))),
        }
    }
}

async fn read_file(
    file: File,
    range: Range<u64>,
) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
    let mut file = tokio::fs::File::from_std(file);
    file.seek(io::SeekFrom::Start(range.start))
        .await
        .map_err(Error::of_disk)?;
    let part = file.take(range.end - range.start);
    Ok(ReaderStream::with_capacity(part, READ_BYTES)
        .map_err(Error::of_disk)
        .boxed())
}

/// Makes the marker where there is none. Of several processes that do so at once one wins: a hard link is made only
/// where the name is free. Fails, as it should, where the directory cannot be written.
fn write_marker(root: &Path) -> io::Result<()> {
    let marker = Marker {
        store_id: StoreId(Uuid::new_v4()),
    };
    let temporary = write_temporary(root, &serde_json::to_vec(&marker)?)?;
    match std::fs::hard_link(&temporary.0, root.join(MARKER)) {
        Ok(()) => File::open(root)?.sync_all(),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn read_marker(root: &Path) -> Result<StoreId, Error> {
    let path = root.join(MARKER);
    let text = std::fs::read(&path).map_err(Error::of_disk)?;
    let marker: Marker =
        serde_json::from_slice(&text).map_err(|cause| Error::BadMarker { path, cause })?;
    Ok(marker.store_id)
}

/// A file that is deleted when it is dropped.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn write_temporary(root: &Path, bytes: &[u8]) -> io::Result<Temporary> {
    let temporary = Temporary(root.join(format!(".probe-{}", Uuid::new_v4().simple())));
    let mut file = File::create_new(&temporary.0)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(temporary)
}
