//! The layers that every router of the process gets, from the outside in: request id, span and metrics; security
//! headers; strict framing; who asks; panics; the time limit; bodies that must not fall silent or grow too large.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use super::body::with_idle_timeout;
use super::client;
use super::framing::refuse_violations;
use super::problem::Problem;
use super::request_id::{RequestId, X_REQUEST_ID};
use super::time_limit;
use crate::kit::instance::InstanceId;
use crate::kit::metrics;
use crate::kit::networks::Networks;
use crate::settings;

/// Names the instance that answered; every answer has it, unless it is to be hidden.
const X_INSTANCE_ID: HeaderName = HeaderName::from_static("x-instance-id");

/// What the standard layers are given.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Whose name stands in every answer; none where it is hidden.
    pub instance: Option<InstanceId>,
    /// Longest time for a request, unless its route lifts it.
    pub request_timeout: Duration,
    /// Longest silence inside a request body.
    pub body_idle_timeout: Duration,
    /// Largest body that the [`super::Json`] extractor reads, in bytes.
    pub json_bytes_max: usize,
    /// The proxies whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Networks,
}

impl Stack {
    /// What the settings ask for.
    pub fn from_settings(instance: InstanceId, http: &settings::Http) -> Self {
        Self {
            instance: http.expose_instance_id.then_some(instance),
            request_timeout: Duration::from_millis(http.request_timeout_ms),
            body_idle_timeout: Duration::from_millis(http.body_idle_timeout_ms),
            json_bytes_max: http.json_bytes_max,
            // Checked when the settings were loaded.
            trusted_proxies: http.trusted_proxies.parse().unwrap_or_default(),
        }
    }
}

/// The limit that the body extractors enforce, for the text of their refusal.
#[derive(Debug, Clone, Copy)]
pub(super) struct JsonLimit(pub(super) usize);

/// `router` with fallbacks that are problems, inside the standard layers. To be called once, on the finished router.
pub fn standard(router: Router, stack: &Stack) -> Router {
    let Stack {
        request_timeout,
        body_idle_timeout,
        json_bytes_max,
        ..
    } = *stack;
    let trusted = Arc::new(stack.trusted_proxies.clone());
    let instance = stack.instance.as_ref().map(|instance| {
        HeaderValue::from_str(instance.unique()).unwrap_or(HeaderValue::from_static("unnamed"))
    });
    router
        .fallback(|| async { Problem::not_found("there is nothing at this path") })
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(json_bytes_max))
        .layer(from_fn(move |mut request: Request, next: Next| {
            request.extensions_mut().insert(JsonLimit(json_bytes_max));
            next.run(request.map(|body| with_idle_timeout(body, body_idle_timeout)))
        }))
        .layer(from_fn(move |request: Request, next: Next| {
            time_limit::enforce(request_timeout, request, next)
        }))
        .layer(CatchPanicLayer::custom(panic_problem))
        .layer(from_fn(move |request: Request, next: Next| {
            let trusted = Arc::clone(&trusted);
            async move { client::identify(&trusted, request, next).await }
        }))
        .layer(from_fn(refuse_violations))
        .layer(from_fn(move |request: Request, next: Next| {
            observe(instance.clone(), request, next)
        }))
}

async fn method_not_allowed(method: Method) -> Problem {
    let title = "The method is not allowed here";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", title)
        .detail(format!("this path does not take {method}"))
}

fn panic_problem(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    tracing::error!(panic = text, "a request handler panicked: {text}");
    Problem::internal().into_response()
}

/// Gives the request its id and its span, and the answer its headers and its metric.
async fn observe(instance: Option<HeaderValue>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let method = method_label(request.method());
    let span = tracing::info_span!("request", request_id = %id, method, route);
    request.extensions_mut().insert(id.clone());
    let start = Instant::now();
    let answering = next.run(request).instrument(span.clone());
    let mut response = id.clone().scope(answering).await;
    let took = start.elapsed();
    metrics::http_request(route, method, class(response.status()), took);
    span.in_scope(|| log(response.status(), took));
    add_headers(&mut response, &id, instance);
    response
}

fn log(status: StatusCode, took: Duration) {
    let (status, took_ms) = (status.as_u16(), took.as_millis());
    match status {
        500 => tracing::error!(status, took_ms, "answered {status} after {took_ms} ms"),
        501.. => tracing::warn!(status, took_ms, "answered {status} after {took_ms} ms"),
        _ => tracing::debug!(status, took_ms, "answered {status} after {took_ms} ms"),
    }
}

fn add_headers(response: &mut Response, id: &RequestId, instance: Option<HeaderValue>) {
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id.header());
    if let Some(instance) = instance {
        headers.insert(X_INSTANCE_ID, instance);
    }
    // The page brings its own policy; these are for everything that is not a page.
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if matches!(status.as_u16(), 429 | 503) {
        let value = HeaderValue::from_static("1");
        headers.entry(header::RETRY_AFTER).or_insert(value);
    }
}

/// A label of few values: methods that no route has are one.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}
