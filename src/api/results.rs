//! What a job found, in the forms of other programs.

use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, header};
use serde::Deserialize;

use crate::domain::access::Principal;
use crate::domain::access::Role;
use crate::domain::images::{self, Image};
use crate::domain::jobs::{Job, Status};
use crate::domain::segmentations;
use crate::http::{Json, Path, Problem, Query};
use crate::kit::id::JobId;
use crate::segment::export::csv::{MeasurementsCsv, SummaryCsv};
use crate::segment::export::{coco, geojson, labels, overlay, rois};
use crate::segment::{SegmentError, Segmentation};

use super::auth::Authenticated;
use super::conventions::{Answer, bad_parameter};
use super::download::attachment;
use super::previews::{PICTURE_CACHING, computed, drawn};
use super::routes::{Route, get};
use super::{Api, problems};

/// Bytes of text per corner or number of a result, at most: what writing it takes.
const BYTES_PER_OBJECT: u64 = 64 * 1024;
/// Bytes per pixel that a label mask takes: the plane, and its file.
const LABEL_BYTES_PER_PIXEL: u64 = 8;
/// Farthest that a simplified outline may be asked to lie from the exact one, in pixels.
const SIMPLIFY_MAX_PX: f64 = 100.0;

/// A job that completed, with what it found and the image that it worked on.
struct Found {
    job: Job,
    image: Image,
    result: Segmentation,
}

/// A form in which other programs take a result: a file that is saved beside the image.
pub(super) struct Form {
    pub(super) path: &'static str,
    media_type: &'static str,
    /// What stands in the place of the image's ending.
    ending: &'static str,
    /// Memory that writing it takes.
    bytes: fn(&Found) -> u64,
    write: fn(&Found, &mut Vec<u8>) -> Result<(), SegmentError>,
}

pub(super) static GEOJSON: Form = Form {
    path: "/api/v1/jobs/{job}/result.geojson",
    media_type: "application/geo+json",
    ending: ".geojson",
    bytes: text_bytes,
    write: |found, file| geojson::write(&found.result, file),
};

/// Every form but [`GEOJSON`] and JSON, which are also to be had simplified, and the overlay, which needs the image.
pub(super) static FORMS: [Form; 5] = [
    Form {
        path: "/api/v1/jobs/{job}/result.csv",
        media_type: "text/csv; charset=utf-8",
        ending: ".csv",
        bytes: text_bytes,
        write: |found, file| {
            let mut table = MeasurementsCsv::new(file)?;
            table.image(&found.image.name, page_of(&found.job), &found.result)?;
            table.finish().map(drop)
        },
    },
    Form {
        path: "/api/v1/jobs/{job}/summary.csv",
        media_type: "text/csv; charset=utf-8",
        ending: ".summary.csv",
        bytes: text_bytes,
        write: |found, file| {
            let mut table = SummaryCsv::new(file)?;
            let page = page_of(&found.job);
            table.image(&found.image.name, page, Ok(&found.result))?;
            table.finish().map(drop)
        },
    },
    Form {
        path: "/api/v1/jobs/{job}/coco.json",
        media_type: "application/json",
        ending: ".coco.json",
        bytes: text_bytes,
        write: |found, file| coco::write(&found.image.name, &found.result, file),
    },
    Form {
        path: "/api/v1/jobs/{job}/rois.zip",
        media_type: "application/zip",
        ending: ".rois.zip",
        bytes: text_bytes,
        write: |found, file| rois::write(&found.result, file),
    },
    Form {
        path: "/api/v1/jobs/{job}/labels.tif",
        media_type: "image/tiff",
        ending: ".labels.tif",
        bytes: |found| found.image.width * found.image.height * LABEL_BYTES_PER_PIXEL,
        write: |found, file| labels::write(&found.result, file),
    },
];

impl Form {
    /// The route on which a result is to be had in this form.
    pub(super) fn route(&'static self) -> Route {
        let handler = move |Authenticated(principal): Authenticated,
                            State(api): State<Api>,
                            Path(id): Path<JobId>| async move {
            self.saved(&api, found(&api, &principal, id).await?).await
        };
        get(self.path, handler)
    }

    /// An answer that a browser saves under the image's name with another ending.
    async fn saved(&'static self, api: &Api, found: Found) -> Answer {
        let name = found.image.name.clone();
        let bytes = (self.bytes)(&found);
        let file = api
            .compute
            .run(bytes, move || to_bytes(|file| (self.write)(&found, file)));
        let file = computed(file.await, &name)?;
        let stem = name.rsplit_once('.').map_or(&*name, |(stem, _)| stem);
        let headers = [
            (header::CONTENT_TYPE, self.media_type.to_owned()),
            (
                header::CONTENT_DISPOSITION,
                attachment(&format!("{stem}{}", self.ending)),
            ),
        ];
        Ok((headers, file).into_response())
    }
}

fn text_bytes(found: &Found) -> u64 {
    (1 + found.result.objects.len() as u64) * BYTES_PER_OBJECT
}

/// How a result is wished for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResultQuery {
    /// Outlines with fewer points, for display, no farther than this from the exact ones, in pixels.
    #[serde(default)]
    simplify: Option<f64>,
}

pub(super) async fn json(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<JobId>,
    Query(query): Query<ResultQuery>,
) -> Answer<Json<Segmentation>> {
    let found = found(&api, &principal, id).await?;
    Ok(Json(wished_for(&api, found, &query).await?.result))
}

pub(super) async fn geojson(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<JobId>,
    Query(query): Query<ResultQuery>,
) -> Answer {
    let found = found(&api, &principal, id).await?;
    let found = wished_for(&api, found, &query).await?;
    GEOJSON.saved(&api, found).await
}

/// The result with exact outlines, or with simplified ones where that is the wish.
async fn wished_for(api: &Api, found: Found, query: &ResultQuery) -> Answer<Found> {
    let Some(tolerance_px) = query.simplify else {
        return Ok(found);
    };
    if !(tolerance_px > 0.0 && tolerance_px <= SIMPLIFY_MAX_PX) {
        let why = format!("more than 0, at most {SIMPLIFY_MAX_PX} pixels are expected");
        return Err(bad_parameter("simplify", why));
    }
    let bytes = text_bytes(&found);
    let simplified = api.compute.run(bytes, move || Found {
        result: found.result.simplified(tolerance_px),
        ..found
    });
    simplified.await.map_err(|error| problems::internal(&error))
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
