//! Open Inference Protocol v2 (github.com/kserve/open-inference-protocol, and Triton's binary tensor extension): the
//! image's values go as a tensor, a mask comes back and is traced here.
//!
//! | file | what it knows |
//! |---|---|
//! | `model` | which input and output the model has, and which of our images fit |
//! | `tensor` | from an image to the input's values |
//! | `wire` | both encodings of requests and answers |
//! | `plane` | from an answer's values to labels or probabilities |
//! | `trace` | from those to objects |
//!
//! Binary tensors are an extension that no server announces reliably, so it is tried: where the server names itself
//! `mlserver` (which answers 500 to it) or refuses the try, JSON is spoken from then on.

mod model;
mod plane;
mod tensor;
mod trace;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Deserialize;

use super::super::Segmentation;
use super::probe::OIP_SERVER;
use super::transport::Answer;
use super::{Failed, Page, Remote, RemoteError, Request};

use model::Model;
use wire::{Encoding, HEADER_LENGTH};

pub(super) use tensor::stretch;

/// Answered with 200 by a server that takes requests.
pub(super) const READY: &str = "/v2/health/ready";

/// Longest description of a model or server.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;
/// Beside the mask an answer holds names, shapes and other outputs.
const ENVELOPE_BYTES_MAX: u64 = 1 << 20;
/// Longest text of one value in JSON: a float with its sign, exponent, comma and line break.
const JSON_BYTES_PER_VALUE: u64 = 28;
/// Widest value as it is.
const BINARY_BYTES_PER_VALUE: u64 = 8;

/// What was learned of the server, until a call fails.
#[derive(Debug, Default)]
pub(super) struct Memory {
    known: Mutex<Option<Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    model: Arc<Model>,
    encoding: Encoding,
    /// Whether bodies may be compressed; false once the server has refused one.
    compress: bool,
}

#[derive(Deserialize)]
struct Server {
    #[serde(default)]
    name: String,
}

impl Memory {
    /// The server is asked again at the next call.
    pub fn forget(&self) {
        *self.known.lock() = None;
    }
}

/// One page in one call.
pub(super) async fn segment<P: Page>(
    remote: &Remote,
    page: &P,
    request: &Request,
) -> Result<Segmentation, Failed<P::Error>> {
    let known = learn(remote).await?;
    let (width, height) = page.size();
    let model = Arc::clone(&known.model);
    model.check_size(width, height)?;
    let input = Arc::clone(&model);
    let tensor = page.with_raster(move |image| tensor::of(image, &input));
    let tensor = tensor.await.map_err(Failed::Page)??;
    let notes = tensor.notes;
    let answer = ask(remote, &known, request, (width, height), tensor.bytes).await?;
    page.answered();
    let limits = remote.limits;
    let (parameters, threshold) = (request.parameters.clone(), remote.threshold());
    let done = page.with_raster(move |image| {
        let output = wire::read(&answer.headers, &answer.body, &model)?;
        let plane = plane::read(output, image)?;
        drop(answer);
        let traced = trace::Tracing {
            image,
            parameters: &parameters,
            threshold,
            runs_max: limits.points_max,
            objects_max: limits.polygons_max,
            notes,
        };
        traced.objects(&plane, format!("oip-v2:{}", model.name))
    });
    Ok(done.await.map_err(Failed::Page)??)
}

/// Readiness, model and server, asked once and kept.
async fn learn(remote: &Remote) -> Result<Known, RemoteError> {
    let kept = remote.oip.known.lock().clone();
    if let Some(known) = kept {
        return Ok(known);
    }
    let name = &remote.ml.model;
    if name.is_empty() {
        let text = "ml.model must name the model of a server of the Open Inference Protocol";
        return Err(RemoteError::Unknown(text.to_owned()));
    }
    if !remote.transport.knows(READY).await? {
        return Err(RemoteError::Unknown(format!(
            "GET {READY}: the server is not ready"
        )));
    }
    let description = get(remote, &format!("/v2/models/{name}")).await?;
    let model = Model::read(name, &description.body)?;
    let server = get(remote, OIP_SERVER).await.ok();
    let server = server.and_then(|answer| serde_json::from_slice::<Server>(&answer.body).ok());
    let json_only = server.is_some_and(|server| server.name == "mlserver");
    let known = Known {
        model: Arc::new(model),
        encoding: if json_only {
            Encoding::Json
        } else {
            Encoding::Binary
        },
        compress: remote.ml.compress_above_bytes > 0,
    };
    *remote.oip.known.lock() = Some(known.clone());
    Ok(known)
}

async fn get(remote: &Remote, path: &str) -> Result<Answer, RemoteError> {
    let request = remote.transport.request(Method::GET, path);
    remote.transport.send(request, DESCRIPTION_BYTES_MAX).await
}

/// Asks in the encoding that is known to work; one that is refused is given up where the plainer one works.
async fn ask(
    remote: &Remote,
    known: &Known,
    request: &Request,
    size: (u32, u32),
    values: Bytes,
) -> Result<Answer, RemoteError> {
    let plain = Known {
        encoding: Encoding::Json,
        compress: false,
        ..known.clone()
    };
    let first = send(remote, known, request, size, values.clone()).await;
    let is_plain = known.encoding == Encoding::Json && !known.compress;
    match first {
        Err(error) if !is_plain && may_be_the_encoding(&error) => {
            tracing::debug!(%error, "the ML service is asked again in plain JSON: {error}");
            let second = send(remote, &plain, request, size, values).await?;
            *remote.oip.known.lock() = Some(plain);
            Ok(second)
        }
        outcome => outcome,
    }
}

/// Overload and gateways say nothing about an encoding.
const fn may_be_the_encoding(error: &RemoteError) -> bool {
    match error {
        RemoteError::Refused(_) => true,
        RemoteError::Status { status, .. } => !matches!(status, 502..=504),
        _ => false,
    }
}

async fn send(
    remote: &Remote,
    known: &Known,
    request: &Request,
    (width, height): (u32, u32),
    values: Bytes,
) -> Result<Answer, RemoteError> {
    let model = &known.model;
    let body = wire::write(model, known.encoding, &request.id, (width, height), &values)?;
    let per_value = match known.encoding {
        Encoding::Binary => BINARY_BYTES_PER_VALUE,
        Encoding::Json => JSON_BYTES_PER_VALUE,
    };
    let expected = u64::from(width) * u64::from(height) * per_value + ENVELOPE_BYTES_MAX;
    let limit = remote.limits.response_bytes_max.min(expected);
    let path = format!("/v2/models/{}/infer", model.name);
    let mut sent = remote.transport.request(Method::POST, &path);
    sent = match body.header_bytes {
        Some(bytes) => sent
            .header(HEADER_LENGTH, bytes)
            .header(CONTENT_TYPE, "application/octet-stream"),
        None => sent.header(CONTENT_TYPE, "application/json"),
    };
    sent = sent.header("x-request-id", request.id.as_str());
    let compress = known.compress && body.bytes.len() as u64 > remote.ml.compress_above_bytes;
    sent = if compress {
        sent.header(CONTENT_ENCODING, "gzip")
            .body(wire::gzip(&body.bytes)?)
    } else {
        sent.body(body.bytes)
    };
    remote.transport.send(sent, limit).await
}
