//! What a worker must know of the images of its jobs, in one statement for all of them.

use std::collections::HashMap;

use crate::db::{Db, Error};
use crate::kit::id::JobId;

use super::store;

/// The image of a job, with the file that holds it. Nothing of it ever changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobImage {
    /// Width in pixels.
    pub width: u64,
    /// Height in pixels.
    pub height: u64,
    /// Pages of a stack; 1 for a plain picture.
    pub pages: u64,
    /// Bits of one sample.
    pub bits_per_sample: u64,
    /// The name that the file came with; never used as a path.
    pub file_name: String,
    /// What its first bytes say it is.
    pub media_type: String,
    /// Where the file store keeps it.
    pub object_key: String,
    /// Its size.
    pub size_bytes: u64,
}

/// The images of these jobs; none for a job, or an image, that is gone.
///
/// # Errors
/// Only the database's own.
pub async fn of_jobs(db: &Db, jobs: &[JobId]) -> Result<HashMap<JobId, JobImage>, Error> {
    let mut tx = db.reader().await?;
    let images = store::of_jobs(&mut tx, jobs).await?;
    Ok(images.into_iter().collect())
}
