//! One item from file to results: uploaded, submitted page by page, waited for, and written out.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio_util::io::ReaderStream;

use crate::app::{App, image_limits};
use crate::domain::images::{Image, Upload};
use crate::domain::jobs::{Job, NewJob, Status};
use crate::domain::segmentations;
use crate::kit::id::JobId;
use crate::roles::exit::{Code, WithCode};
use crate::segment::export::csv::MeasurementsCsv;
use crate::segment::export::{geojson, labels, overlay};
use crate::segment::{self, Segmentation};

use super::items::Item;
use super::workplace::Account;

/// A job is asked for again after this; its own time-out ends it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Memory per pixel of an image that is decoded and drawn: a 16-bit plane, the canvas, the label mask.
const BYTES_PER_PIXEL: u64 = 12;
/// Bytes read from a file at once.
const READ_BYTES: usize = 1 << 20;

/// An item that is done with.
pub(super) struct Segmented {
    pub(super) path: PathBuf,
    pub(super) name: String,
    /// What was found on each page, or why nothing could be.
    pub(super) outcome: anyhow::Result<Vec<Done>>,
}

/// A page with its result.
pub(super) struct Done {
    page: u32,
    result: Segmentation,
}

impl Done {
    /// Objects found.
    pub(super) fn objects(&self) -> usize {
        self.result.objects.len()
    }
}

/// The table that grows with every item.
pub(super) struct Results {
    table: MeasurementsCsv<BufWriter<File>>,
}

impl Results {
    /// Begins `measurements.csv`.
    pub(super) fn begin(out: &Path) -> anyhow::Result<Self> {
        let path = out.join("measurements.csv");
        let file = File::create(&path)
            .with_context(|| path.display().to_string())
            .or_exit(Code::CantCreate)?;
        Ok(Self {
            table: MeasurementsCsv::new(BufWriter::new(file))?,
        })
    }

    /// Adds an item's rows; one that failed is a row with the reason, never a number.
    pub(super) fn add(&mut self, item: &Segmented) -> anyhow::Result<()> {
        match &item.outcome {
            Ok(pages) => {
                for done in pages {
                    self.table.image(&item.name, done.page, &done.result)?;
                }
            }
            Err(why) => self.table.failure(&item.name, 0, &format!("{why:#}"))?,
        }
        Ok(())
    }

    /// Writes what is still buffered.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.table.finish()?;
        Ok(())
    }
}

/// Segments one item and writes the files of its pages.
pub(super) async fn of_item(
    app: &App,
    account: &Account,
    page: Option<u32>,
    item: Item,
    out: &Path,
) -> Segmented {
    let outcome = segment_item(app, account, page, &item, out).await;
    Segmented {
        path: item.path,
        name: item.name,
        outcome,
    }
}

async fn segment_item(
    app: &App,
    account: &Account,
    page: Option<u32>,
    item: &Item,
    out: &Path,
) -> anyhow::Result<Vec<Done>> {
    let image = upload(app, account, item).await?;
    let pages: Vec<u64> = match page {
        Some(page) => vec![u64::from(page)],
        None => (0..image.pages).collect(),
    };
    let new: Vec<NewJob> = pages.iter().map(|page| job(&image, *page)).collect();
    let mut done = Vec::with_capacity(pages.len());
    for chunk in new.chunks(app.settings.queue.batch_max) {
        let submitted = app.jobs.submit(&account.principal, None, chunk).await?;
        for job in submitted.value {
            let result = wait(app, account, job.id).await?;
            let page = u32::try_from(job.page)?;
            let stem = if image.pages > 1 {
                format!("{}.page-{page}", item.stem)
            } else {
                item.stem.clone()
            };
            done.push(write(app, &item.path, page, result, out.join(stem)).await?);
        }
    }
    Ok(done)
}

async fn upload(app: &App, account: &Account, item: &Item) -> anyhow::Result<Image> {
    let file = tokio::fs::File::open(&item.path).await?;
    let upload = Upload {
        principal: account.principal,
        project: account.project,
        name: &item.name,
        key: &JobId::new(&*app.clock).to_string(),
        announced_bytes: Some(file.metadata().await?.len()),
    };
    app.uploads.admit(&upload).await?;
    let stored = app
        .uploads
        .store(&upload, ReaderStream::with_capacity(file, READ_BYTES))
        .await;
    match stored {
        Ok(outcome) => Ok(outcome.value),
        // The item's path is named where this is reported; its name need not be said twice.
        Err(crate::domain::Error::BadImage { source, .. }) => Err(source.into()),
        Err(error) => Err(error.into()),
    }
}

fn job(image: &Image, page: u64) -> NewJob {
    NewJob {
        image_id: image.id,
        page,
        task_id: None,
        priority: None,
        parameters: segment::Parameters::default(),
    }
}

async fn wait(app: &App, account: &Account, id: JobId) -> anyhow::Result<Segmentation> {
    let job: Job = loop {
        let job = app
            .jobs
            .wait_for_end(&account.principal, id, PATIENCE)
            .await?;
        if job.status.is_final() {
            break job;
        }
    };
    match (job.status, job.error) {
        (Status::Completed, _) => {}
        (_, Some(error)) => bail!("{}", error.text),
        (status, None) => bail!("the job is {}", status.name()),
    }
    let found = segmentations::of_job(&app.db, &app.files, &app.compute, id).await?;
    found
        .map(|(_, result)| result)
        .ok_or_else(|| anyhow!("the job has no result"))
}

/// Writes the files of one page, on the compute pool: the overlay needs the image once more.
async fn write(
    app: &App,
    image: &Path,
    page: u32,
    result: Segmentation,
    stem: PathBuf,
) -> anyhow::Result<Done> {
    let (image, limits) = (image.to_owned(), image_limits(&app.settings));
    let bytes = u64::from(result.width) * u64::from(result.height) * BYTES_PER_PIXEL;
    let written = app.compute.run(bytes, move || -> anyhow::Result<Done> {
        let target = |extension: &str| -> std::io::Result<BufWriter<File>> {
            let mut path = stem.clone().into_os_string();
            path.push(extension);
            Ok(BufWriter::new(File::create(path)?))
        };
        let mut reader = std::io::BufReader::new(File::open(&image)?);
        let raster = segment::decode(&mut reader, page, &limits)?;
        overlay::write(&raster, &result, target(".overlay.png")?)?;
        drop(raster);
        geojson::write(&result, target(".geojson")?)?;
        labels::write(&result, target(".labels.tif")?)?;
        Ok(Done { page, result })
    });
    written.await?
}
