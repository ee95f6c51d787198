//! What a job found, in the forms of other programs.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use crate::domain::access::Principal;
use crate::domain::access::Role;
use crate::domain::images::{self, Image};
use crate::domain::jobs::{Job, Status};
use crate::domain::segmentations;
use crate::http::{Json, Path, Problem};
use crate::kit::id::JobId;
use crate::segment::export::csv::MeasurementsCsv;
use crate::segment::export::{geojson, labels, overlay};
use crate::segment::{SegmentError, Segmentation};

use super::Api;
use super::auth::Authenticated;
use super::conventions::Answer;
use super::download::attachment;
use super::previews::{PICTURE_CACHING, computed, drawn};

/// Bytes of text per corner or number of a result, at most: what writing it takes.
const BYTES_PER_OBJECT: u64 = 64 * 1024;
/// Bytes per pixel that a label mask takes: the plane, and its file.
const LABEL_BYTES_PER_PIXEL: u64 = 8;

/// A job that completed, with what it found and the image that it worked on.
struct Found {
    job: Job,
    image: Image,
    result: Segmentation,
}

pub(super) async fn json(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<JobId>,
) -> Answer<Json<Segmentation>> {
    Ok(Json(found(&api, &principal, id).await?.result))
}

pub(super) async fn geojson(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<JobId>,
) -> Answer {
    let Found { image, result, .. } = found(&api, &principal, id).await?;
    let bytes = result.objects.len() as u64 * BYTES_PER_OBJECT;
    let text = api.compute.run(bytes, move || {
        to_bytes(|text| geojson::write(&result, text))
    });
    let text = computed(text.await, &image.name)?;
    Ok(saved(text, "application/geo+json", &image.name, ".geojson"))
}

pub(super) async fn csv(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<JobId>,
) -> Answer {
    let Found { job, image, result } = found(&api, &principal, id).await?;
    let (name, page) = (image.name.clone(), page_of(&job));
    let write = move || -> Result<Vec<u8>, SegmentError> {
        let mut table = MeasurementsCsv::new(Vec::new())?;
        table.image(&name, page, &result)?;
        table.finish()
    };
    let text = computed(api.compute.run(BYTES_PER_OBJECT, write).await, &image.name)?;
    Ok(saved(text, "text/csv; charset=utf-8", &image.name, ".csv"))
}

pub(super) async fn labels(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<JobId>,
) -> Answer {
    let Found { image, result, .. } = found(&api, &principal, id).await?;
    let bytes = image.width * image.height * LABEL_BYTES_PER_PIXEL;
    let mask = api
        .compute
        .run(bytes, move || to_bytes(|mask| labels::write(&result, mask)));
    let mask = computed(mask.await, &image.name)?;
    Ok(saved(mask, "image/tiff", &image.name, ".labels.tif"))
}

/// Shown in pages, so no attachment.
pub(super) async fn overlay(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<JobId>,
) -> Answer {
    let Found { job, image, result } = found(&api, &principal, id).await?;
    let draw = move |raster| to_bytes(|png| overlay::write(&raster, &result, png));
    let picture = drawn(&api, &image, page_of(&job), draw).await?;
    let headers = [
        (header::CONTENT_TYPE, "image/png"),
        (header::CACHE_CONTROL, PICTURE_CACHING),
    ];
    Ok((headers, picture).into_response())
}

/// # Errors
/// 409 while the job has not ended, 404 when it ended without a result.
async fn found(api: &Api, principal: &Principal, id: JobId) -> Answer<Found> {
    let job = api.jobs.find(principal, id).await?;
    if job.status != Status::Completed {
        return Err(no_result(&job));
    }
    let image = images::find(&api.db, principal, job.image, Role::Viewer).await?;
    let stored = segmentations::of_job(&api.db, &api.files, &api.compute, id).await?;
    let (_, result) = stored.ok_or_else(|| no_result(&job))?;
    Ok(Found { job, image, result })
}

fn no_result(job: &Job) -> Problem {
    let (id, status) = (job.id, job.status.name());
    if !job.status.is_final() {
        return Problem::conflict("job-not-ended", format!("job {id} is {status}"))
            .member("status", status)
            .retryable(true)
            .retry_after_s(1);
    }
    let why = job
        .error
        .as_ref()
        .map_or("it has no result", |error| error.text.as_str());
    Problem::new(StatusCode::NOT_FOUND, "no-result", "The job has no result")
        .detail(format!("job {id} is {status}: {why}"))
        .member("status", status)
}

fn page_of(job: &Job) -> u32 {
    u32::try_from(job.page).unwrap_or(u32::MAX)
}

fn to_bytes(
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), SegmentError>,
) -> Result<Vec<u8>, SegmentError> {
    let mut bytes = Vec::new();
    write(&mut bytes)?;
    Ok(bytes)
}

/// An answer that a browser saves under the image's name with another ending.
fn saved(bytes: Vec<u8>, media_type: &'static str, image: &str, ending: &str) -> Response {
    let stem = image.rsplit_once('.').map_or(image, |(stem, _)| stem);
    let disposition = attachment(&format!("{stem}{ending}"));
    let headers = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (headers, bytes).into_response()
}
