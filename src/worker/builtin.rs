//! Runs the builtin segmenter for a job: opens the image's file, then decodes and segments on the compute pool.

use std::sync::Arc;

use crate::db::Db;
use crate::domain::images;
use crate::domain::jobs::{Failure, Job, JobError};
use crate::domain::{Error, files::File};
use crate::files::FileStore;
use crate::kit::compute::ComputePool;
use crate::segment::{self, SegmentError, Segmentation};

use super::running::Computing;

/// The builtin segmenter with what it needs. Clones share the handles.
#[derive(Debug, Clone)]
pub struct Builtin {
    /// Where images are listed.
    pub db: Db,
    /// Where their bytes are.
    pub files: FileStore,
    /// The threads.
    pub compute: Arc<ComputePool>,
    /// What the decoders accept.
    pub limits: segment::Limits,
}

impl Builtin {
    /// Segments the job's page.
    pub(super) async fn segment(
        &self,
        job: &Job,
        computing: &Computing,
    ) -> Result<Segmentation, Failure> {
        let (image, file) = images::with_file(&self.db, job.image)
            .await
            .map_err(unreadable)?;
        let mut reader = self
            .files
            .open_for_decode(&file.object_key)
            .await
            .map_err(|error| unreadable(error.into()))?;
        let page = u32::try_from(job.page).unwrap_or(u32::MAX);
        let (parameters, limits, computing) =
            (job.parameters.clone(), self.limits, computing.clone());
        let bytes = segment::bytes_needed(image.width, image.height, image.bits_per_sample);
        let segmented = self
            .compute
            .run(bytes, move || {
                let mut raster = segment::decode(&mut reader, page, &limits)?;
                raster.pixel_size = parameters.pixel_size().or(raster.pixel_size);
                segment::segment(&raster, &parameters, &mut |percent| computing.step(percent))
            })
            .await;
        match segmented {
            Ok(Ok(segmentation)) => Ok(segmentation),
            Ok(Err(error)) => Err(refused(&file, &error)),
            Err(panic) => Err(failure("internal", format!("{}: {panic}", file.name), true)),
        }
    }
}

/// The image is at fault, unless reading it failed.
fn refused(file: &File, error: &SegmentError) -> Failure {
    let text = format!("{}: {error}", file.name);
    match error {
        SegmentError::Io(_) => failure("storage", text, false),
        SegmentError::Cancelled => failure("internal", text, false),
        SegmentError::Parameter { .. } => failure("bad_parameter", text, true),
        _ => failure("bad_image", text, true),
    }
}

fn unreadable(error: Error) -> Failure {
    let gone = matches!(error, Error::NotFound { .. });
    failure("storage", error.to_string(), gone)
}

fn failure(class: &str, text: String, permanent: bool) -> Failure {
    Failure {
        error: JobError {
            class: class.to_owned(),
            text,
        },
        permanent,
    }
}
