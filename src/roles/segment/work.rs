//! One image from file to results: uploaded, submitted page by page, waited for, and written out.

use std::time::Duration;

use anyhow::{anyhow, bail};
use futures::StreamExt;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use crate::app::{App, image_limits};
use crate::domain::images::{Image, Upload};
use crate::domain::jobs::{Job, NewJob, Status};
use crate::domain::segmentations;
use crate::files::{file_key, result_key};
use crate::kit::id::JobId;
use crate::segment::{SegmentError, Segmentation};

use super::choices::Choices;
use super::items::Item;
use super::output_files;
use super::pages::Pages;
use super::plan::Planned;
use super::progress::Progress;
use super::records::{Record, Records, Source, Tally};
use super::table;
use super::workplace::Account;

/// A job is asked for again after this; its own time-out ends it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Memory per pixel of an image that is decoded and drawn: a 16-bit plane, the canvas, the label mask.
const BYTES_PER_PIXEL: u64 = 12;
/// Bytes read from a file at once.
const READ_BYTES: usize = 1 << 20;

/// An image that is done with.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) item: Item,
    /// How many pages the file has; 0 where it could not be opened.
    pub(super) pages: u64,
    /// How it went with each page that was wanted, in their order.
    pub(super) of_pages: Vec<(u64, PageOutcome)>,
}

/// How it went with a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PageOutcome {
    /// Its record is there; whether from an earlier run.
    Done { before: bool },
    /// Why it could not be done.
    Failed(String),
}

impl Outcome {
    /// Of an image that an earlier run has done.
    pub(super) fn done_before(planned: Planned) -> Self {
        let done = planned.done.into_iter();
        Self {
            item: planned.item,
            pages: planned.pages.unwrap_or_default(),
            of_pages: done
                .map(|page| (page, PageOutcome::Done { before: true }))
                .collect(),
        }
    }

    /// Whether a page of it, or all of it, failed.
    pub(super) fn has_failed(&self) -> bool {
        let failed = |(_, outcome): &(u64, PageOutcome)| matches!(outcome, PageOutcome::Failed(_));
        self.of_pages.iter().any(failed)
    }
}

/// What the images are done with.
#[derive(Debug)]
pub(super) struct Tools<'r> {
    pub(super) app: &'r App,
    pub(super) account: &'r Account,
    pub(super) choices: &'r Choices,
    pub(super) records: &'r Records,
    pub(super) progress: &'r Progress,
}

impl Tools<'_> {
    /// Does an image, except the pages that are done already.
    pub(super) async fn work(&self, planned: Planned) -> Outcome {
        let (item, done) = (planned.item, planned.done);
        let uploaded = async {
            // As it is before it is read: were it changed meanwhile, the next run would do it again.
            let source = Source::of(&item, self.choices)?;
            Ok((source, self.upload(&item).await?))
        };
        let (source, image) = match uploaded.await {
            Ok(uploaded) => uploaded,
            Err(why) => {
                let failed = self.failure(&item, 0, 1, &why);
                return Outcome {
                    item,
                    pages: 0,
                    of_pages: vec![(0, failed)],
                };
            }
        };
        let mut of_pages: Vec<_> = done
            .iter()
            .map(|page| (*page, PageOutcome::Done { before: true }))
            .collect();
        of_pages.extend(self.pages(&item, &source, &image, &done).await);
        of_pages.sort_by_key(|(page, _)| *page);
        self.remove(file_key(image.project, image.file)).await;
        Outcome {
            item,
            pages: image.pages,
            of_pages,
        }
    }

    /// Does the pages that are wanted and not done, as many at once as run.
    async fn pages(
        &self,
        item: &Item,
        source: &Source,
        image: &Image,
        done: &[u64],
    ) -> Vec<(u64, PageOutcome)> {
        let mut wanted = Pages::of(self.choices.pages.as_ref(), image.pages);
        if wanted.is_empty() {
            let why = anyhow!("none of the pages asked for: the file has {}", image.pages);
            return vec![(0, self.failure(item, 0, image.pages, &why))];
        }
        wanted.retain(|page| !done.contains(page));
        self.progress.expect(wanted.len());
        let (there, missing): (Vec<u64>, Vec<u64>) =
            wanted.into_iter().partition(|page| *page < image.pages);
        let mut outcomes: Vec<_> = missing
            .into_iter()
            .map(|page| {
                (
                    page,
                    self.failure(item, page, image.pages, &no_such_page(page, image.pages)),
                )
            })
            .collect();
        let at_once = self.app.settings.worker.concurrency;
        for chunk in there.chunks(self.app.settings.queue.batch_max) {
            let ran = match self.submit(image, chunk).await {
                Ok(jobs) => {
                    let running = jobs
                        .into_iter()
                        .map(|job| self.page(item, source, image, job));
                    futures::stream::iter(running)
                        .buffer_unordered(at_once)
                        .collect()
                        .await
                }
                Err(why) => {
                    let failed = |page: &u64| (*page, self.failure(item, *page, image.pages, &why));
                    chunk.iter().map(failed).collect::<Vec<_>>()
                }
            };
            outcomes.extend(ran);
        }
        outcomes
    }

    async fn upload(&self, item: &Item) -> anyhow::Result<Image> {
        let file = tokio::fs::File::open(&item.path).await?;
        let name = item.path.file_name().unwrap_or_default().to_string_lossy();
        let upload = Upload {
            principal: self.account.principal,
            project: self.account.project,
            name: &name,
            key: &JobId::new(&*self.app.clock).to_string(),
            announced_bytes: Some(file.metadata().await?.len()),
        };
        self.app.uploads.admit(&upload).await?;
        let body = ReaderStream::with_capacity(file, READ_BYTES);
        match self.app.uploads.store(&upload, body).await {
            Ok(outcome) => Ok(outcome.value),
            // The item's path is named where this is reported; its name need not be said twice.
            Err(crate::domain::Error::BadImage { source, .. }) => Err(source.into()),
            Err(error) => Err(error.into()),
        }
    }

    async fn submit(&self, image: &Image, pages: &[u64]) -> anyhow::Result<Vec<Job>> {
        let new = |page: &u64| NewJob {
            image_id: image.id,
            page: *page,
            task_id: None,
            priority: None,
            scheduled_at: None,
            parameters: self.choices.parameters.clone(),
        };
        let new: Vec<NewJob> = pages.iter().map(new).collect();
        let submitted = self
            .app
            .jobs
            .submit(&self.account.principal, None, &new)
            .await?;
        Ok(submitted.value)
    }

    /// From a job to the record of its page.
    async fn page(
        &self,
        item: &Item,
        source: &Source,
        image: &Image,
        job: Job,
    ) -> (u64, PageOutcome) {
        let page = job.page;
        let kept = async {
            let (job, result) = self.result(job).await?;
            self.keep(item, source, image, &job, result).await
        };
        let outcome = match kept.await {
            Ok(objects) => {
                self.progress.done(objects);
                PageOutcome::Done { before: false }
            }
            Err(why) => self.failure(item, page, image.pages, &why),
        };
        (page, outcome)
    }

    /// Waits for the end of a job and takes its result out of the backends: they would keep the results of all images.
    async fn result(&self, job: Job) -> anyhow::Result<(Job, Segmentation)> {
        let mut job = job;
        while !job.status.is_final() {
            let (jobs, principal) = (&self.app.jobs, &self.account.principal);
            job = jobs.wait_for_end(principal, job.id, PATIENCE).await?;
        }
        match (job.status, &job.error) {
            (Status::Completed, _) => {}
            (_, Some(error)) => bail!("{}", error.text),
            (status, None) => bail!("the job is {}", status.name()),
        }
        let found =
            segmentations::of_job(&self.app.db, &self.app.files, &self.app.compute, job.id).await?;
        let (record, result) = found.ok_or_else(|| anyhow!("the job has no result"))?;
        self.remove(result_key(record.project, job.id, record.attempt))
            .await;
        Ok((job, result))
    }

    /// Writes the files and the record of a page, on the compute pool: a picture needs the image once more. Answers
    /// with the number of objects.
    async fn keep(
        &self,
        item: &Item,
        source: &Source,
        image: &Image,
        job: &Job,
        result: Segmentation,
    ) -> anyhow::Result<u64> {
        let stem = item.page_stem(job.page, image.pages);
        let page = u32::try_from(job.page)?;
        let took = job
            .started_at
            .zip(job.finished_at)
            .map(|(begin, end)| end - begin);
        let record = Record {
            source: source.clone(),
            page: job.page,
            pages: image.pages,
            files: Vec::new(),
            rows: table::rows(|table| table.image(&item.name, page, &result))?,
            tally: Tally::of(&result),
            seconds: took.map_or(0.0, |took| took.as_seconds_f64()),
        };
        let objects = record.tally.objects;
        let records = self.records.clone();
        let outputs = self.choices.outputs.clone();
        let page = output_files::Page {
            path: item.path.clone(),
            number: page,
            limits: image_limits(&self.app.settings),
        };
        let bytes = u64::from(result.width) * u64::from(result.height) * BYTES_PER_PIXEL;
        let written = self.app.compute.run(bytes, move || -> anyhow::Result<()> {
            let token = Uuid::new_v4().simple().to_string();
            let unfinished = |output| records.unfinished(&token, output);
            output_files::write(&outputs, &page, &result, unfinished)?;
            Ok(records.keep(&stem, &token, record)?)
        });
        written.await??;
        Ok(objects)
    }

    /// Says at once that a page failed; what an earlier run left of it goes.
    fn failure(&self, item: &Item, page: u64, pages: u64, why: &anyhow::Error) -> PageOutcome {
        let image = if pages > 1 {
            format!("{}, page {page}", item.path.display())
        } else {
            item.path.display().to_string()
        };
        let why = format!("{why:#}");
        self.progress.failed(&image, &why);
        let stem = item.page_stem(page, pages);
        if let Err(error) = self.records.forget(&stem) {
            tracing::warn!(%error, "old results of {image} stay: {error}");
        }
        PageOutcome::Failed(why)
    }

    /// Removes an object that is done with; the whole store goes with the work folder in any case.
    async fn remove(&self, key: String) {
        if let Err(error) = self.app.files.delete(&key).await {
            tracing::warn!(%error, key, "{key} stays until the run ends: {error}");
        }
    }
}

fn no_such_page(page: u64, pages: u64) -> anyhow::Error {
    let number = |page| u32::try_from(page).unwrap_or(u32::MAX);
    let (page, pages) = (number(page), number(pages));
    SegmentError::NoSuchPage { page, pages }.into()
}
