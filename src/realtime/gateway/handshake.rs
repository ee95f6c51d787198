//! From a request to a connection, or a refusal with its reason.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper_util::rt::TokioIo;
use secrecy::SecretString;

use super::super::frame::handshake::{self, Refusal};
use super::super::protocol::Codec;
use super::super::rules::Credential;
use super::session::Session;
use super::{Gateway, Place};
use crate::http::origin::{self, Site};
use crate::http::{Problem, session_cookie};
use crate::kit::metrics;

/// Seconds after which a client that found no place may try again; clients of the protocol choose their own.
const RETRY_AFTER_S: u64 = 5;

/// Upgrades to a WebSocket.
pub(super) async fn upgrade(State(gateway): State<Gateway>, mut request: Request) -> Response {
    let headers = request.headers();
    if let Err(problem) = refuse_foreign(&gateway, headers) {
        return problem.into_response();
    }
    let accepted = match handshake::accept(request.method(), request.version(), headers) {
        Ok(accepted) => accepted,
        Err(refusal) => return no_handshake(refusal),
    };
    let place = match admit(&gateway) {
        Ok(place) => place,
        Err(problem) => return problem.into_response(),
    };
    let subprotocol = handshake::subprotocol(headers, Codec::SUBPROTOCOLS);
    let cookie = credential(&gateway, headers);
    let codec = Codec::of_subprotocol(subprotocol);
    start(&gateway, &mut request, place, codec, cookie);

    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().extend(accepted);
    if let Some(name) = subprotocol {
        let name = HeaderValue::from_static(name);
        response
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    response
}

/// Refuses another site's page: a browser would lend it our cookie.
fn refuse_foreign(gateway: &Gateway, headers: &HeaderMap) -> Result<(), Problem> {
    if origin::site(headers, &gateway.0.limits.public_url) != Site::Foreign {
        return Ok(());
    }
    metrics::ws_refused("origin");
    Err(Problem::forbidden(
        "this connection was asked for by a page of another site",
    ))
}

/// A place for one more connection.
fn admit(gateway: &Gateway) -> Result<Place, Problem> {
    let (why, code, detail) = if gateway.0.handles.lifecycle.is_draining() {
        ("draining", "draining", "this instance is stopping")
    } else if let Some(place) = gateway.place() {
        return Ok(place);
    } else {
        (
            "limit",
            "too-many-connections",
            "this instance holds as many connections as it may",
        )
    };
    metrics::ws_refused(why);
    Err(Problem::unavailable(code, detail).retry_after_s(RETRY_AFTER_S))
}

fn no_handshake(refusal: Refusal) -> Response {
    let status = match refusal {
        Refusal::NoUpgrade | Refusal::Version => StatusCode::UPGRADE_REQUIRED,
        Refusal::Key => StatusCode::BAD_REQUEST,
    };
    let problem = Problem::new(status, "no-websocket", "This is no WebSocket handshake");
    let mut response = problem.detail(refusal.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let version = HeaderValue::from_static(handshake::VERSION);
    headers.insert(header::SEC_WEBSOCKET_VERSION, version);
    response
}

/// By whose session the request came, if by one.
fn credential(gateway: &Gateway, headers: &HeaderMap) -> Option<Credential> {
    let token = session_cookie::token(headers, gateway.0.limits.allow_insecure_cookies)?;
    Some(Credential::Session(SecretString::from(token)))
}

fn start(
    gateway: &Gateway,
    request: &mut Request,
    place: Place,
    codec: Codec,
    cookie: Option<Credential>,
) {
    let upgrade = hyper::upgrade::on(request);
    let gateway = gateway.clone();
    let lifecycle = gateway.0.handles.lifecycle.clone();
    lifecycle.spawn("realtime.connection", async move {
        match upgrade.await {
            Ok(upgraded) => {
                let session = Session::new(gateway, TokioIo::new(upgraded), codec, cookie);
                session.run().await;
            }
            Err(error) => tracing::debug!(%error, "a WebSocket was not made: {error}"),
        }
        drop(place);
    });
}
