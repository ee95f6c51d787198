//! A small picture of an image, for pages.

use axum::extract::State;
use axum::response::IntoResponse;
use http::header;
use serde::Deserialize;

use crate::domain::Error;
use crate::domain::access::Role;
use crate::domain::images::{self, Image};
use crate::http::{Path, Problem, Query};
use crate::kit::compute::ComputeError;
use crate::kit::id::ImageId;
use crate::segment::export::preview;
use crate::segment::{self, Raster, SegmentError};

use super::auth::Authenticated;
use super::conventions::{Answer, bad_parameter};
use super::{Api, problems};

/// Longest side of a preview in pixels, where the request does not say.
const SIDE_DEFAULT_PX: u32 = 1_024;
/// Shortest and longest side that may be asked for.
const SIDE_MIN_PX: u32 = 16;
const SIDE_MAX_PX: u32 = 2_048;
/// A picture of stored bytes never changes; its reader may keep it this long.
pub(super) const PICTURE_CACHING: &str = "private, max-age=3600";

/// Bytes per pixel that a decoder needs beside the decoded plane: four channels of the file's own samples.
const DECODER_CHANNELS: u64 = 4;
/// Bytes of a decoded value, at most.
const VALUE_BYTES: u64 = 4;
/// Bytes that drawing needs beside the image: an RGB canvas of 4,096 × 4,096 pixels with what its lines cover, the grey
/// picture before, and the file.
const CANVAS_BYTES: u64 = 8 * 4_096 * 4_096;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PreviewQuery {
    #[serde(default)]
    size: Option<u32>,
    #[serde(default)]
    page: u32,
}

pub(super) async fn preview(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<ImageId>,
    Query(query): Query<PreviewQuery>,
) -> Answer {
    let side = query.size.unwrap_or(SIDE_DEFAULT_PX);
    if !(SIDE_MIN_PX..=SIDE_MAX_PX).contains(&side) {
        let why = format!("{SIDE_MIN_PX} to {SIDE_MAX_PX} is expected, not {side}");
        return Err(bad_parameter("size", why));
    }
    let image = images::find(&api.db, &principal, id, Role::Viewer).await?;
    if u64::from(query.page) >= image.pages {
        return Err(Problem::not_found(format!(
            "{} has {} page(s)",
            image.name, image.pages
        )));
    }
    let picture = drawn(&api, &image, query.page, move |raster| {
        let mut png = Vec::new();
        preview::write(&raster, side, &mut png)?;
        Ok(png)
    });
    let headers = [
        (header::CONTENT_TYPE, "image/png"),
        (header::CACHE_CONTROL, PICTURE_CACHING),
    ];
    Ok((headers, picture.await?).into_response())
}

/// Decodes a page on the compute pool and draws something of it.
///
/// # Errors
/// [`Error::BadImage`] when the page cannot be decoded.
pub(super) async fn drawn(
    api: &Api,
    image: &Image,
    page: u32,
    draw: impl FnOnce(Raster) -> Result<Vec<u8>, SegmentError> + Send + 'static,
) -> Answer<Vec<u8>> {
    let (_, file) = images::with_file(&api.db, image.id).await?;
    let mut reader = api.files.open_for_decode(&file.object_key).await?;
    let limits = api.uploads.limits.image;
    let drawn = api
        .compute
        .run(bytes_needed(image), move || {
            draw(segment::decode(&mut reader, page, &limits)?)
        })
        .await;
    computed(drawn, &image.name)
}

/// The outcome of work on the compute pool about the file with this name.
///
/// # Errors
/// [`Error::BadImage`] where the work says so.
pub(super) fn computed<T>(
    outcome: Result<Result<T, SegmentError>, ComputeError>,
    file: &str,
) -> Answer<T> {
    let outcome = outcome.map_err(|error| problems::internal(&error))?;
    outcome.map_err(|source| {
        Error::BadImage {
            file: file.to_owned(),
            source,
        }
        .into()
    })
}

fn bytes_needed(image: &Image) -> u64 {
    let sample_bytes = image.bits_per_sample.div_ceil(8).max(1);
    let per_pixel = DECODER_CHANNELS
        .saturating_mul(sample_bytes)
        .saturating_add(VALUE_BYTES);
    let pixels = image.width.saturating_mul(image.height);
    pixels
        .saturating_mul(per_pixel)
        .saturating_add(CANVAS_BYTES)
}
