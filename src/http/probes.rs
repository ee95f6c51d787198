//! Probes as answers: `application/health+json` on `/livez` and `/readyz`, and on older paths the bodies that the systems
//! before this one answered there.

use axum::Router;
use axum::extract::{FromRequestParts, Query};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::SecondsFormat;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::problem::{FieldError, Problem};
use crate::health::{CheckReport, Checks, Health, Report, Status};

const HEALTH_JSON: HeaderValue = HeaderValue::from_static("application/health+json");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The paths below which the older probes are found.
const BASES: [&str; 2] = ["/health", "/api/health"];

/// Whether answers say why something is not well, and with which figures. A layer further out may put
/// [`Details::Shown`] into the extensions of a request whose sender may see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Details {
    /// For listeners that strangers reach.
    Hidden,
    /// For operators.
    Shown,
}

/// The probes: `/livez` and `/readyz` (with `?strict=1` also a shared backend that is away makes it 503), and the older
/// paths `/healthz`, `/health`, `/health/live` for liveness, `/ready`, `/health/ready` for readiness, those below
/// `/health` also below `/api/health`.
pub fn routes(health: Health, details: Details) -> Router {
    let mut router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/healthz", get(live))
        .route("/ready", get(ready));
    for base in BASES {
        router = router
            .route(base, get(live))
            .route(&format!("{base}/live"), get(live))
            .route(&format!("{base}/ready"), get(ready));
    }
    router.with_state(Probes { health, details })
}

/// Everything that is known about the process and each of its services: the answer of `/health/detailed`.
pub async fn detailed(health: &Health) -> Response {
    let report = health.readiness(false).await;
    let services = health.last_known();
    let own = |name: &&'static str| !services.contains_key(name);
    let process: Map<_, _> = report
        .checks
        .iter()
        .filter(|(name, _)| own(name))
        .map(|(name, [check])| ((*name).to_owned(), described(check)))
        .collect();
    let described = services
        .iter()
        .map(|(name, [check])| ((*name).to_owned(), described(check)));
    let mut body = head(health, graded(report.status), Details::Shown);
    body.insert("version".to_owned(), json!(report.version));
    body.insert("services".to_owned(), described.collect());
    body.insert("process".to_owned(), process.into());
    answer(report.status, JSON, &body)
}

/// One check with its figures, 503 when it fails: the answer of `/health/services/{name}`.
///
/// # Errors
/// 404 when there is no check of that name.
pub async fn service(health: &Health, name: &str) -> Result<Response, Problem> {
    let Some(check) = health.check(name).await else {
        let known = health.names().join(", ");
        let detail = format!("there is no service {name:?} here; there are: {known}");
        return Err(Problem::not_found(detail));
    };
    let mut body = head(health, well(check.status), Details::Shown);
    body.insert("service".to_owned(), name.into());
    if let Value::Object(members) = described(&check) {
        body.extend(members);
    }
    Ok(answer(check.status, JSON, &body))
}

#[derive(Debug, Clone)]
struct Probes {
    health: Health,
    details: Details,
}

/// What a probe asks for.
struct Asked {
    health: Health,
    details: Details,
    strict: bool,
}

#[derive(Debug, Deserialize)]
struct Parameters {
    strict: Option<String>,
}

impl FromRequestParts<Probes> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, probes: &Probes) -> Result<Self, Problem> {
        let details = parts.extensions.get::<Details>().copied();
        let parameters = Query::<Parameters>::try_from_uri(&parts.uri);
        let Query(parameters) = parameters.map_err(|_| bad_strict())?;
        let strict = match parameters.strict.as_deref() {
            None | Some("0" | "false") => false,
            Some("1" | "true") => true,
            Some(_) => return Err(bad_strict()),
        };
        Ok(Self {
            health: probes.health.clone(),
            details: details.unwrap_or(probes.details),
            strict,
        })
    }
}

fn bad_strict() -> Problem {
    let error = FieldError::parameter("strict", "may be 1 or 0, once");
    Problem::bad_request("bad-query", "the query of the probe is not understood").error(error)
}

async fn livez(asked: Asked) -> Response {
    standard(asked.health.liveness().await, asked.details)
}

async fn readyz(asked: Asked) -> Response {
    standard(asked.health.readiness(asked.strict).await, asked.details)
}

/// `{"status": "healthy", …, "services": {"database": "healthy", …}}`; the services are reported as last seen and do not
/// count.
async fn live(
    Asked {
        health, details, ..
    }: Asked,
) -> Response {
    let report = health.liveness().await;
    let mut body = head(&health, graded(report.status), details);
    add_services(&mut body, &health.last_known(), details);
    answer(report.status, JSON, &body)
}

/// `{"status": "ready", …, "services": {…}, "checks": {"database": "ok", …}}`.
async fn ready(asked: Asked) -> Response {
    let (health, details) = (asked.health, asked.details);
    let report = health.readiness(asked.strict).await;
    let verdict = match report.status {
        Status::Pass | Status::Warn => "ready",
        Status::Fail => "not_ready",
    };
    let checks = report.checks.iter();
    let checks = checks.map(|(name, [check])| ((*name).to_owned(), ok_or_error(check, details)));
    let mut body = head(&health, verdict, details);
    body.insert("checks".to_owned(), checks.collect());
    add_services(&mut body, &health.last_known(), details);
    answer(report.status, JSON, &body)
}

fn standard(report: Report, details: Details) -> Response {
    let shown = match details {
        Details::Shown => report,
        Details::Hidden => report.without_details(),
    };
    answer(shown.status, HEALTH_JSON, &shown)
}

/// What every older body has.
fn head(health: &Health, status: &str, details: Details) -> Map<String, Value> {
    let identity = health.identity();
    let now = identity.clock.now();
    let uptime_s = (now - identity.started_at).num_seconds().max(0);
    let mut body = Map::from_iter([
        ("status".to_owned(), status.into()),
        (
            "timestamp".to_owned(),
            now.to_rfc3339_opts(SecondsFormat::Millis, true).into(),
        ),
        ("uptime".to_owned(), uptime_s.into()),
    ]);
    if identity.exposed || details == Details::Shown {
        body.insert("instance_id".to_owned(), identity.instance.unique().into());
    }
    body
}

/// The state of each service that was looked at; for operators also the figures of sessions and of the compute pool.
fn add_services(body: &mut Map<String, Value>, services: &Checks, details: Details) {
    let states = services
        .iter()
        .map(|(name, [check])| ((*name).to_owned(), Value::from(well(check.status))));
    body.insert("services".to_owned(), states.collect());
    if details == Details::Hidden {
        return;
    }
    for name in ["sessions", "compute"] {
        if let Some(
            [
                CheckReport {
                    details: Some(figures),
                    ..
                },
            ],
        ) = services.get(name)
        {
            body.insert(name.to_owned(), figures.clone());
        }
    }
}

fn ok_or_error(check: &CheckReport, details: Details) -> Value {
    match (check.status, &check.output) {
        (Status::Pass, _) => "ok".into(),
        (_, Some(output)) if details == Details::Shown => format!("error: {output}").into(),
        _ => "error".into(),
    }
}

fn described(check: &CheckReport) -> Value {
    let mut value = json!(check);
    value["status"] = well(check.status).into();
    value
}

fn well(status: Status) -> &'static str {
    match status {
        Status::Pass => "healthy",
        Status::Warn | Status::Fail => "unhealthy",
    }
}

fn graded(status: Status) -> &'static str {
    match status {
        Status::Pass => "healthy",
        Status::Warn => "degraded",
        Status::Fail => "unhealthy",
    }
}

fn answer(status: Status, media_type: HeaderValue, body: &impl Serialize) -> Response {
    let code = match status {
        Status::Pass | Status::Warn => StatusCode::OK,
        Status::Fail => StatusCode::SERVICE_UNAVAILABLE,
    };
    // Maps with string keys and plain values are always written.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = (code, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
