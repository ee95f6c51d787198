//! The page that a job is about, as segmenters want it: decoded on the compute pool, or the file as it was uploaded.

use std::collections::HashMap;
use std::io::{BufRead, Cursor, Seek};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};

use crate::db::Db;
use crate::domain::images::{self, JobImage};
use crate::domain::jobs::{Failure, Job, JobError};
use crate::domain::{self};
use crate::files::{self, FileStore};
use crate::kit::compute::ComputePool;
use crate::kit::id::JobId;
use crate::segment::remote::{Page, WholeFile};
use crate::segment::{self, Format, Parameters, Raster, SegmentError};

use super::super::place::Place;

/// Files of at most this size are read ahead and kept in memory while their job runs.
const SMALL_FILE_BYTES: u64 = 1 << 20;

/// Where pages come from. Clones share the handles.
#[derive(Debug, Clone)]
pub struct Pages {
    /// Where images are listed.
    pub db: Db,
    /// Where their bytes are.
    pub files: FileStore,
    /// The threads.
    pub compute: Arc<ComputePool>,
    /// What the decoders accept.
    pub limits: segment::Limits,
}

/// What a job's page is read from.
pub(in super::super) struct Source {
    image: JobImage,
    /// The whole file, where it is small. Who waits for it is the run: a disk may hang.
    reading: Option<BoxFuture<'static, Result<Bytes, files::Error>>>,
}

/// The page of one job.
#[derive(Debug, Clone)]
pub(super) struct JobPage {
    pages: Pages,
    image: JobImage,
    /// The whole file, where it was read ahead.
    content: Option<Bytes>,
    number: u32,
    parameters: Parameters,
    place: Place,
}

impl Pages {
    /// The sources of these jobs, for whoever is about to run them; small files begin to be read. Where they cannot be
    /// looked up there are none, and the run will say why.
    pub(super) async fn sources(&self, jobs: &[JobId]) -> HashMap<JobId, Source> {
        let images = match images::of_jobs(&self.db, jobs).await {
            Ok(images) => images,
            Err(error) => {
                tracing::debug!(%error, "images are looked up again: {error}");
                return HashMap::new();
            }
        };
        let sources = images.into_iter().map(|(job, image)| {
            let small = image.size_bytes <= SMALL_FILE_BYTES;
            let reading = small.then(|| self.files.begin_get_bytes(&image.object_key));
            (job, Source { image, reading })
        });
        sources.collect()
    }

    /// The job's page, from its `source` where that is there; nothing of it is decoded yet.
    pub(super) async fn open(
        &self,
        job: &Job,
        source: Option<Source>,
        place: &Place,
    ) -> Result<JobPage, Failure> {
        let source = match source {
            Some(source) => source,
            None => self.source(job).await.map_err(unreadable)?,
        };
        let content = match source.reading {
            Some(reading) => Some(reading.await.map_err(|error| unreadable(error.into()))?),
            None => None,
        };
        Ok(JobPage {
            pages: self.clone(),
            image: source.image,
            content,
            number: u32::try_from(job.page).unwrap_or(u32::MAX),
            parameters: job.parameters.clone(),
            place: place.clone(),
        })
    }

    async fn source(&self, job: &Job) -> Result<Source, domain::Error> {
        let mut images = images::of_jobs(&self.db, &[job.id]).await?;
        let image = images.remove(&job.id);
        Ok(Source {
            image: image.ok_or_else(|| domain::Error::not_found("image", job.image))?,
            reading: None,
        })
    }
}

impl JobPage {
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The name of the file, for messages.
    pub fn name(&self) -> &str {
        &self.image.file_name
    }

    pub const fn pixels(&self) -> u64 {
        let image = &self.image;
        image.width.saturating_mul(image.height)
    }

    /// Decodes the page and works on it, both on the compute pool.
    pub async fn decoded<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Raster) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        if let Some(content) = &self.content {
            return self.decoded_from(Cursor::new(content.clone()), work).await;
        }
        let key = &self.image.object_key;
        let opened = self.pages.files.open_for_decode(key).await;
        let reader = opened.map_err(|error| unreadable(error.into()))?;
        self.decoded_from(reader, work).await
    }

    async fn decoded_from<R: BufRead + Seek + Send + 'static, T: Send + 'static>(
        &self,
        mut reader: R,
        work: impl FnOnce(&Raster) -> T + Send + 'static,
    ) -> Result<T, Failure> {
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
        let image = &self.image;
        (pixels(image.width), pixels(image.height))
    }

    async fn whole_file(&self) -> Result<Option<WholeFile>, Failure> {
        let image = &self.image;
        if image.pages != 1 {
            return Ok(None);
        }
        let all = [Format::Png, Format::Jpeg, Format::Bmp, Format::Tiff];
        let format = all
            .into_iter()
            .find(|format| format.media_type() == image.media_type);
        let Some(format) = format else {
            return Ok(None);
        };
        if let Some(content) = self.content.clone() {
            return Ok(Some(WholeFile {
                format,
                bytes: content.len() as u64,
                content: stream::once(async move { Ok(content) }).boxed(),
            }));
        }
        let reading = self.pages.files.get(&image.object_key, None).await;
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

    fn answered(&self) {
        self.place.leave_early();
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
