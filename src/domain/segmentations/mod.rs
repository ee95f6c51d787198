//! Segmentations: what a job found. Small results stand in the row, large ones in the file store. Short ones are plain
//! JSON, the others are compressed by zstd, whose first byte tells them apart.

mod store;

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::db::{Db, Tx};
use crate::files::{FileStore, result_key};
use crate::kit::clock::Clock;
use crate::kit::compute::ComputePool;
use crate::kit::id::{ImageId, JobId, ProjectId, SegmentationId};
use crate::segment::Segmentation;

use super::Error;
use super::jobs::Job;

/// Results up to this size stand in the row.
const INLINE_BYTES_MAX: usize = 8 * 1024;
/// Fast, and already four times smaller than the JSON.
const ZSTD_LEVEL: i32 = 3;
/// Largest result that is read back, in bytes of JSON: a stored one that claims more is refused before allocation.
const JSON_BYTES_MAX: usize = 1 << 30;
/// Memory for a byte of JSON while it is read: itself, and the numbers made of it.
const BYTES_PER_JSON_BYTE: u64 = 3;

/// The row of a result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// Its id.
    pub id: SegmentationId,
    /// The job that found it.
    pub job: JobId,
    /// The job's project.
    pub project: ProjectId,
    /// The image.
    pub image: ImageId,
    /// Page of the image's stack, from 0.
    pub page: u64,
    /// The attempt that succeeded.
    pub attempt: i64,
    /// The segmenter that ran.
    pub segmenter: String,
    /// Objects found.
    pub object_count: u64,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

/// Where a result's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// In the row.
    Inline(Vec<u8>),
    /// In the file store, under this key.
    Object(String),
}

impl Stored {
    /// Bytes that stand in the row.
    pub const fn inline_bytes(&self) -> usize {
        match self {
            Self::Inline(packed) => packed.len(),
            Self::Object(_) => 0,
        }
    }
}

/// What of a result its row and its event say, and where the rest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The segmenter that ran.
    pub segmenter: String,
    /// Objects found.
    pub object_count: u64,
    /// Where the result is.
    pub stored: Stored,
}

/// Packs a result, compressed where its JSON has more than `compress_above` bytes, and, when it is large, puts it into
/// the file store before any row names it.
///
/// # Errors
/// The file store's own.
pub async fn store_result(
    files: &FileStore,
    job: &Job,
    result: &Segmentation,
    compress_above: usize,
) -> Result<Found, Error> {
    let packed = pack(result, compress_above)?;
    let stored = if packed.len() <= INLINE_BYTES_MAX {
        Stored::Inline(packed)
    } else {
        let key = result_key(job.project, job.id, job.attempt);
        files.put_bytes(&key, packed.into()).await?;
        Stored::Object(key)
    };
    Ok(Found {
        segmenter: result.segmenter.clone(),
        object_count: result.objects.len() as u64,
        stored,
    })
}

/// Removes the object of a result whose row was refused.
pub async fn discard(files: &FileStore, stored: &Stored) {
    if let Stored::Object(key) = stored
        && let Err(error) = files.delete(key).await
    {
        tracing::warn!(%error, key, "the refused result {key} stays in the file store: {error}");
    }
}

/// Writes the rows, inside the transaction that completes the jobs.
///
/// # Errors
/// Only the database's own.
pub async fn insert(
    tx: &mut Tx,
    clock: &dyn Clock,
    results: &[&(Job, Found)],
) -> Result<(), Error> {
    let created_at = clock.now();
    let records = results.iter().map(|(job, found)| {
        let record = Record {
            id: SegmentationId::new(clock),
            job: job.id,
            project: job.project,
            image: job.image,
            page: job.page,
            attempt: job.attempt,
            segmenter: found.segmenter.clone(),
            object_count: found.object_count,
            created_at,
        };
        (record, &found.stored)
    });
    Ok(store::insert(tx, &records.collect::<Vec<_>>()).await?)
}

/// The result of a job, with its row; `None` when the job has none. A large one takes a while to unpack, so that is done
/// on the compute pool.
///
/// # Errors
/// [`Error::Internal`] when the stored bytes are not a result.
pub async fn of_job(
    db: &Db,
    files: &FileStore,
    compute: &ComputePool,
    job: JobId,
) -> Result<Option<(Record, Segmentation)>, Error> {
    let found = {
        let mut tx = db.reader().await?;
        store::of_job(&mut tx, job).await?
    };
    let Some((record, stored)) = found else {
        return Ok(None);
    };
    let packed = match stored {
        Stored::Inline(packed) => packed,
        Stored::Object(key) => files.get_bytes(&key).await?.to_vec(),
    };
    let wrong = |why: String| Error::Internal(format!("result of job {job}: {why}"));
    let json_bytes = unpacked_size(&packed).map_err(wrong)?;
    let unpacking = move || unpack(&packed, json_bytes);
    let unpacked = compute.run(json_bytes as u64 * BYTES_PER_JSON_BYTE, unpacking);
    let result = unpacked
        .await
        .unwrap_or_else(|panic| Err(panic.to_string()))
        .map_err(wrong)?;
    Ok(Some((record, result)))
}

/// The keys of the objects that the results of these jobs are in.
///
/// # Errors
/// Only the database's own.
pub async fn keys_of(tx: &mut Tx, jobs: &[JobId]) -> Result<Vec<String>, Error> {
    Ok(store::keys_of(tx, jobs).await?)
}

fn pack(result: &Segmentation, compress_above: usize) -> Result<Vec<u8>, Error> {
    let json = serde_json::to_vec(result).map_err(|error| Error::Internal(error.to_string()))?;
    if json.len() <= compress_above {
        return Ok(json);
    }
    zstd::bulk::compress(&json, ZSTD_LEVEL).map_err(|error| Error::Internal(error.to_string()))
}

fn is_plain(packed: &[u8]) -> bool {
    packed.first() == Some(&b'{')
}

/// The size that the packed bytes claim.
fn unpacked_size(packed: &[u8]) -> Result<usize, String> {
    if is_plain(packed) {
        return Ok(packed.len());
    }
    let size = zstd::zstd_safe::get_frame_content_size(packed);
    let size = size.ok().flatten().map(usize::try_from);
    let size = size.and_then(Result::ok);
    size.filter(|size| *size <= JSON_BYTES_MAX)
        .ok_or_else(|| "its size is missing or too large".to_owned())
}

fn unpack(packed: &[u8], json_bytes: usize) -> Result<Segmentation, String> {
    let json = match is_plain(packed) {
        true => Cow::Borrowed(packed),
        false => Cow::Owned(
            zstd::bulk::decompress(packed, json_bytes).map_err(|error| error.to_string())?,
        ),
    };
    serde_json::from_slice(&json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(note_bytes: usize) -> Segmentation {
        Segmentation {
            width: 1,
            height: 1,
            pixel_size: None,
            segmenter: "builtin".into(),
            objects: Vec::new(),
            note: Some("n".repeat(note_bytes)),
            summary: None,
            simplified_px: None,
        }
    }

    fn round_trip(packed: &[u8]) -> Segmentation {
        unpack(packed, unpacked_size(packed).unwrap()).unwrap()
    }

    #[test]
    fn results_are_read_back_as_they_were_packed() {
        let (short, long) = (result(10), result(2_000));
        let plain = pack(&short, 1_024).unwrap();
        assert!(is_plain(&plain));
        assert_eq!(round_trip(&plain), short);
        let compressed = pack(&long, 1_024).unwrap();
        assert!(!is_plain(&compressed) && compressed.len() < 1_024);
        assert_eq!(round_trip(&compressed), long);
    }

    #[test]
    fn what_is_no_result_is_refused() {
        assert!(unpacked_size(b"\x28\xB5\x2F\xFD").is_err());
        assert!(unpack(b"{\"objects\":", 11).is_err());
    }
}
