//! The page that a job is about, as segmenters want it: decoded on the compute pool, or the file as it was uploaded.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use crate::domain::files::File;
use crate::domain::images::{Image, Lookup};
use crate::domain::jobs::{Failure, Job, JobError};
use crate::domain::{self};
use crate::files::FileStore;
use crate::kit::compute::ComputePool;
use crate::segment::remote::{Page, WholeFile};
use crate::segment::{self, Format, Parameters, Raster, SegmentError};

/// Where pages come from. Clones share the handles.
#[derive(Debug, Clone)]
pub struct Pages {
    /// Where images are listed.
    pub images: Lookup,
    /// Where their bytes are.
    pub files: FileStore,
    /// The threads.
    pub compute: Arc<ComputePool>,
    /// What the decoders accept.
    pub limits: segment::Limits,
}

/// The page of one job.
#[derive(Debug, Clone)]
pub(super) struct JobPage {
    pages: Pages,
    image: Image,
    file: File,
    number: u32,
    parameters: Parameters,
}

impl Pages {
    /// The job's page; nothing of it is read yet.
    pub(super) async fn open(&self, job: &Job) -> Result<JobPage, Failure> {
        let (image, file) = self.images.with_file(job.image).await.map_err(unreadable)?;
        Ok(JobPage {
            pages: self.clone(),
            image,
            file,
            number: u32::try_from(job.page).unwrap_or(u32::MAX),
            parameters: job.parameters.clone(),
        })
    }
}

impl JobPage {
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The name of the file, for messages.
    pub fn name(&self) -> &str {
        &self.file.name
    }

    pub const fn pixels(&self) -> u64 {
        self.image.width.saturating_mul(self.image.height)
    }

    /// Decodes the page and works on it, both on the compute pool.
    pub async fn decoded<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Raster) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let mut reader = self
            .pages
            .files
            .open_for_decode(&self.file.object_key)
            .await
            .map_err(|error| unreadable(error.into()))?;
        let (number, limits) = (self.number, self.pages.limits);
        let given = self.parameters.pixel_size();
        let image = &self.image;
        let bytes = segment::bytes_needed(image.width, image.height, image.bits_per_sample);
        let worked = self
            .pages
            .compute
            .run(bytes, move || {
                let mut raster = segment::decode(&mut reader, number, &limits)?;
                raster.pixel_size = given.or(raster.pixel_size);
                Ok(work(&raster))
            })
            .await;
        match worked {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.refused(&error)),
            Err(panic) => Err(failure(
                "internal",
                format!("{}: {panic}", self.name()),
                true,
            )),
        }
    }

    /// The image is at fault, unless reading it failed.
    pub fn refused(&self, error: &SegmentError) -> Failure {
        let text = format!("{}: {error}", self.name());
        match error {
            SegmentError::Io(_) => failure("storage", text, false),
            SegmentError::Cancelled => failure("internal", text, false),
            SegmentError::Parameter { .. } => failure("bad_parameter", text, true),
            _ => failure("bad_image", text, true),
        }
    }
}

impl Page for JobPage {
    type Error = Failure;

    fn size(&self) -> (u32, u32) {
        let pixels = |side: u64| u32::try_from(side).unwrap_or(u32::MAX);
        (pixels(self.image.width), pixels(self.image.height))
    }

    async fn whole_file(&self) -> Result<Option<WholeFile>, Failure> {
        if self.image.pages != 1 {
            return Ok(None);
        }
        let all = [Format::Png, Format::Jpeg, Format::Bmp, Format::Tiff];
        let format = all
            .into_iter()
            .find(|format| format.media_type() == self.file.media_type);
        let Some(format) = format else {
            return Ok(None);
        };
        let reading = self.pages.files.get(&self.file.object_key, None).await;
        let reading = reading.map_err(|error| unreadable(error.into()))?;
        Ok(Some(WholeFile {
            format,
            bytes: reading.size_bytes,
            content: reading.stream.map_err(std::io::Error::other).boxed(),
        }))
    }

    async fn with_raster<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Raster) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        self.decoded(work).await
    }
}

fn unreadable(error: domain::Error) -> Failure {
    let gone = matches!(error, domain::Error::NotFound { .. });
    failure("storage", error.to_string(), gone)
}

/// A failure of this class.
pub(super) fn failure(class: &str, text: String, permanent: bool) -> Failure {
    Failure {
        error: JobError {
            class: class.to_owned(),
            text,
        },
        permanent,
    }
}
