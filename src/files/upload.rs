//! Storing a stream: flat memory, a hash on the way, nothing visible unless whole.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};

use super::error::{Error, StreamError};
use super::key::Key;
use super::sniff::{MediaType, SNIFFED_BYTES, sniff};
use super::store::FileStore;

/// Bytes gathered before they are written. Frames are copied together: a client that sends its body byte by byte
/// would else keep a whole receive buffer alive for each.
const PART_BYTES: usize = 1 << 20;

/// What an upload must keep to.
#[derive(Debug, Clone, Copy)]
pub struct PutRules {
    /// Largest size in bytes.
    pub bytes_max: u64,
    /// Longest silence inside the stream.
    pub idle_timeout: Duration,
    /// What is accepted.
    pub accept: Accept,
}

/// What an upload may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// Any bytes.
    Anything,
    /// Pictures that [`sniff`] recognises; anything else is refused at its first bytes.
    Pictures,
}

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Size.
    pub bytes: u64,
    /// SHA-256 of all bytes.
    pub sha256: [u8; 32],
    /// The kind of picture that it is, by its first bytes.
    pub media_type: Option<MediaType>,
}

impl Stored {
    /// The hash in hexadecimal, lower case.
    pub fn sha256_hex(&self) -> String {
        self.sha256
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
    }
}

impl FileStore {
    /// Stores the whole stream under `key`; on disk when this returns. Where it fails, or is dropped because its
    /// client has left, nothing is visible under the key and the bytes are removed.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Unsupported`], [`Error::Stalled`], [`Error::Aborted`] where the stream fails,
    /// [`Error::StorageFull`], and failures of the disk.
    pub async fn put_stream<S, E>(
        &self,
        key: &Key,
        stream: S,
        rules: PutRules,
    ) -> Result<Stored, Error>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<StreamError>,
    {
        let upload = self.store.put_multipart(key.path()).await;
        let mut upload = Upload {
            // Removes what it has written when it is dropped.
            inner: upload.map_err(|error| Error::of_store(error, key))?,
            key,
            rules,
            part: BytesMut::with_capacity(PART_BYTES),
            received: 0,
            hash: Sha256::new(),
            media_type: None,
            sniffed: false,
        };
        let outcome = upload.receive(stream).await;
        match outcome {
            Ok(()) => upload.complete().await,
            Err(error) => {
                // Waited for, so that the bytes are gone when the client is told.
                let _ = upload.inner.abort().await;
                Err(error)
            }
        }
    }
}

struct Upload<'a> {
    inner: Box<dyn MultipartUpload>,
    key: &'a Key,
    rules: PutRules,
    part: BytesMut,
    received: u64,
    hash: Sha256,
    media_type: Option<MediaType>,
    sniffed: bool,
}

impl Upload<'_> {
    async fn receive<S, E>(&mut self, stream: S) -> Result<(), Error>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<StreamError>,
    {
        let mut stream = std::pin::pin!(stream);
        let idle = self.rules.idle_timeout;
        while let Some(frame) = tokio::time::timeout(idle, stream.next())
            .await
            .map_err(|_| Error::Stalled {
                received: self.received,
                idle,
            })?
        {
            let frame = frame.map_err(|cause| Error::Aborted {
                received: self.received,
                cause: cause.into(),
            })?;
            self.take(&frame).await?;
        }
        self.sniff()?;
        self.flush().await
    }

    async fn take(&mut self, mut frame: &[u8]) -> Result<(), Error> {
        self.received += frame.len() as u64;
        if self.received > self.rules.bytes_max {
            return Err(Error::TooLarge {
                bytes_max: self.rules.bytes_max,
            });
        }
        while !frame.is_empty() {
            let (now, later) = frame.split_at(frame.len().min(PART_BYTES - self.part.len()));
            self.hash.update(now);
            self.part.extend_from_slice(now);
            frame = later;
            if self.part.len() >= SNIFFED_BYTES {
                self.sniff()?;
            }
            if self.part.len() == PART_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Looks at the beginning, once.
    fn sniff(&mut self) -> Result<(), Error> {
        if !self.sniffed {
            self.sniffed = true;
            self.media_type = sniff(&self.part);
        }
        match self.rules.accept {
            Accept::Pictures if self.media_type.is_none() => Err(Error::Unsupported),
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if self.part.is_empty() {
            return Ok(());
        }
        let part = std::mem::replace(&mut self.part, BytesMut::with_capacity(PART_BYTES));
        let payload = PutPayload::from_bytes(part.freeze());
        let written = self.inner.put_part(payload).await;
        written.map_err(|error| Error::of_store(error, self.key))
    }

    async fn complete(mut self) -> Result<Stored, Error> {
        let completed = self.inner.complete().await;
        completed.map_err(|error| Error::of_store(error, self.key))?;
        Ok(Stored {
            bytes: self.received,
            sha256: self.hash.finalize().into(),
            media_type: self.media_type,
        })
    }
}
