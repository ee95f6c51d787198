//! SpheroSeg's own protocol (github.com/michalprusek/cell-segmentation-hub, `backend/segmentation/api/routes.py`): the
//! image goes as a form, outlines through pixel centres come back.
//!
//! A file that holds one page goes as it is; a page of a stack goes as a grey PNG, because a service reads the first page
//! of a file and says nothing of the others.

mod answer;
mod objects;

use bytes::Bytes;
use futures::future::join_all;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, RequestBuilder};

use super::super::{Format, Raster, Samples, Segmentation};
use super::{Failed, Outcomes, Page, Remote, RemoteError, Request, WholeFile};

const SEGMENT: &str = "/api/v1/segment";
const SEGMENT_BATCH: &str = "/api/v1/batch-segment";

/// The part of the service's range of thresholds that all its models take, in percent (below and above it answers 422).
const THRESHOLD_PERCENT: std::ops::RangeInclusive<u8> = 10..=90;

/// One page in one call.
pub(super) async fn segment<P: Page>(
    remote: &Remote,
    page: &P,
    request: &Request,
) -> Result<Segmentation, Failed<P::Error>> {
    let file = part(page, "image").await?;
    let form = fields(remote, Form::new().part("file", file));
    let sent = headers(remote.transport.request(Method::POST, SEGMENT), request);
    let limit = remote.limits.response_bytes_max;
    let answer = remote.transport.send(sent.multipart(form), limit).await?;
    read(remote, page, request, answer.body).await
}

/// Several pages in one call.
pub(super) async fn segment_batch<P: Page>(
    remote: &Remote,
    pages: &[(&P, &Request)],
) -> Result<Outcomes<P::Error>, Failed<P::Error>> {
    let mut form = Form::new();
    for (index, (page, _)) in pages.iter().enumerate() {
        form = form.part("files", part(*page, &format!("image-{index}")).await?);
    }
    let form = fields(remote, form);
    let sent = remote.transport.request(Method::POST, SEGMENT_BATCH);
    let sent = match pages.first() {
        Some((_, request)) => headers(sent, request),
        None => sent,
    };
    let limit = remote.limits.response_bytes_max;
    let answer = remote.transport.send(sent.multipart(form), limit).await?;
    let results = answer::split_batch(&answer.body, pages.len())?;
    let read = results
        .into_iter()
        .zip(pages)
        .map(|(result, (page, request))| async move {
            Some(read(remote, *page, request, result?).await)
        });
    Ok(join_all(read).await)
}

/// From an answer to a measured result, where heavy work is done.
async fn read<P: Page>(
    remote: &Remote,
    page: &P,
    request: &Request,
    body: Bytes,
) -> Result<Segmentation, Failed<P::Error>> {
    page.answered();
    let (limits, asked) = (remote.limits, remote.ml.model.clone());
    let parameters = request.parameters.clone();
    let done = page.with_raster(move |image| {
        let answer = answer::read(&body, &limits)?;
        drop(body);
        objects::measured(answer, &asked, image, &parameters)
    });
    Ok(done.await.map_err(Failed::Page)??)
}

async fn part<P: Page>(page: &P, stem: &str) -> Result<Part, Failed<P::Error>> {
    let (part, format) = match page.whole_file().await.map_err(Failed::Page)? {
        Some(WholeFile {
            format,
            bytes,
            content,
        }) => {
            let body = Body::wrap_stream(content);
            (Part::stream_with_length(body, bytes), format)
        }
        None => {
            let png = page.with_raster(page_png).await.map_err(Failed::Page)??;
            (Part::bytes(png), Format::Png)
        }
    };
    // The service goes by the extension, which in an upload's own name may be wrong.
    let part = part.file_name(format!("{stem}.{}", extension(format)));
    part.mime_str(format.media_type())
        .map_err(|error| RemoteError::Broken(error.to_string()).into())
}

fn fields(remote: &Remote, form: Form) -> Form {
    let ml = &remote.ml;
    let threshold = ml
        .threshold_percent
        .clamp(*THRESHOLD_PERCENT.start(), *THRESHOLD_PERCENT.end());
    let form = form
        .text("threshold", format!("{}", f64::from(threshold) / 100.0))
        .text("detect_holes", ml.detect_holes.to_string());
    match ml.model.as_str() {
        "" => form,
        model => form.text("model", model.to_owned()),
    }
}

/// What the service's own front end adds, so that its log tells whose request it was.
fn headers(sent: RequestBuilder, request: &Request) -> RequestBuilder {
    let pairs = [
        ("x-request-id", request.id.as_str()),
        ("x-user-id", request.user.as_str()),
        ("x-operation", "segment"),
    ];
    pairs.into_iter().fold(sent, |sent, (name, value)| {
        match HeaderValue::from_str(value) {
            Ok(value) => sent.header(HeaderName::from_static(name), value),
            Err(_) => sent,
        }
    })
}

const fn extension(format: Format) -> &'static str {
    match format {
        Format::Png => "png",
        Format::Jpeg => "jpg",
        Format::Bmp => "bmp",
        Format::Tiff => "tif",
    }
}

/// A page as a grey PNG of 8 or 16 bits; other values are stretched over 16 bits.
fn page_png(image: &Raster) -> Result<Vec<u8>, RemoteError> {
    let (depth, bytes) = match image.samples() {
        Samples::U8(values) => (png::BitDepth::Eight, values.clone()),
        Samples::U16(values) => (
            png::BitDepth::Sixteen,
            values
                .iter()
                .flat_map(|value| value.to_be_bytes())
                .collect(),
        ),
        Samples::F32(values) => {
            let stretch = super::oip::stretch(values, f32::from(u16::MAX));
            let values = values.iter().map(|value| stretch(*value) as u16);
            (
                png::BitDepth::Sixteen,
                values.flat_map(u16::to_be_bytes).collect(),
            )
        }
    };
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, image.width(), image.height());
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(depth);
    encoder.set_compression(png::Compression::Fast);
    let written = encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&bytes));
    written.map_err(|error| RemoteError::Refused(format!("the page cannot be sent: {error}")))?;
    Ok(file)
}
