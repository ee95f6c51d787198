//! What `spheroctl lb-check` asks: a mirror that shows a request as it arrived, and a sink that tells how an upload did.
//! Both need a token, cost next to nothing, and keep no body.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Request, State};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use http::{HeaderMap, Method, Uri, Version, header};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::http::{Client, Json, Problem, Query, RequestId};
use crate::kit::hex::hex;
use crate::kit::id::UserId;
use crate::settings;

use super::Api;
use super::auth::Authenticated;
use super::conventions::{Answer, OptionalIdempotencyKey, bad_parameter};

/// Keys that an instance remembers; the oldest are forgotten.
const KEYS_MAX: usize = 10_000;
/// Longest key that is remembered, as for every other route.
const KEY_CHARS_MAX: usize = 64;
/// Headers that the mirror does not show: what they carry is nobody's to see again.
const SECRET: [header::HeaderName; 3] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
];

/// What the two routes keep and follow. Clones share it.
#[derive(Debug, Clone)]
pub struct LbCheck {
    seen: Arc<Mutex<Seen>>,
    delay_max: Duration,
    upload_bytes_max: u64,
}

impl LbCheck {
    /// What the settings say; no key seen yet.
    pub fn new(limits: &settings::LbCheck) -> Self {
        Self {
            seen: Arc::default(),
            delay_max: Duration::from_millis(limits.delay_ms_max),
            upload_bytes_max: limits.upload_bytes_max,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EchoQuery {
    #[serde(default)]
    delay_ms: u64,
}

/// The request as it arrived.
#[derive(Debug, Serialize)]
pub(super) struct Echo {
    instance: String,
    /// The process, for whoever tries what happens when it dies.
    pid: u32,
    now: DateTime<Utc>,
    method: String,
    target: String,
    version: String,
    /// The other end of the connection: the balancer, where there is one.
    peer: Option<String>,
    /// The client as proxy trust sees it.
    client: Option<String>,
    scheme: Option<&'static str>,
    host: Option<String>,
    headers: BTreeMap<String, Vec<String>>,
    request_id: Option<String>,
    body_bytes: usize,
    body_sha256: String,
    /// How often this instance saw the request's `Idempotency-Key`, with this time.
    key_count: Option<u64>,
}

pub(super) async fn echo(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Query(query): Query<EchoQuery>,
    OptionalIdempotencyKey(key): OptionalIdempotencyKey,
    arrival: Arrival,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Json<Echo>> {
    let body = body.map_err(|rejection| unread(&rejection))?;
    let delay = Duration::from_millis(query.delay_ms);
    if delay > api.lb_check.delay_max {
        let most = api.lb_check.delay_max.as_millis();
        return Err(bad_parameter("delay_ms", format!("at most {most}")));
    }
    let key_count = key.map(|key| api.lb_check.seen.lock().count(principal.user, key));
    tokio::time::sleep(delay).await;
    Ok(Json(Echo {
        instance: api.identity.instance.unique().to_owned(),
        pid: std::process::id(),
        now: api.clock.now(),
        method: arrival.method.to_string(),
        target: arrival.uri.to_string(),
        version: format!("{:?}", arrival.version),
        peer: arrival
            .client
            .as_ref()
            .map(|client| client.peer.to_string()),
        client: arrival
            .client
            .as_ref()
            .map(|client| client.address.to_string()),
        scheme: arrival.client.as_ref().map(|client| client.scheme),
        host: arrival.host(),
        headers: shown(&arrival.headers),
        request_id: arrival.request_id.map(|id| id.to_string()),
        body_bytes: body.len(),
        body_sha256: hex(Sha256::digest(&body)),
        key_count,
    }))
}

fn unread(rejection: &BytesRejection) -> Problem {
    Problem::new(rejection.status(), "broken-body", "The body cannot be read")
        .detail(rejection.body_text())
}

/// How an upload came.
#[derive(Debug, Serialize)]
pub(super) struct Received {
    instance: String,
    bytes: u64,
    sha256: String,
    /// From the end of the head to the first byte of the body.
    first_byte_ms: f64,
    /// From the first byte of the body to its end. A balancer that gathers the body first makes this short.
    receive_ms: f64,
    client: Option<String>,
}

/// Takes a body of any kind and forgets it, in flat memory.
pub(super) async fn upload(
    Authenticated(_): Authenticated,
    State(api): State<Api>,
    client: Option<Extension<Client>>,
    request: Request,
) -> Answer<Json<Received>> {
    let (start, most) = (Instant::now(), api.lb_check.upload_bytes_max);
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > most) {
        return Err(Problem::too_large(most));
    }
    let mut pieces = request.into_body().into_data_stream();
    let (mut hash, mut bytes, mut first) = (Sha256::new(), 0, None);
    while let Some(piece) = pieces.next().await {
        let piece =
            piece.map_err(|error| Problem::bad_request("broken-body", error.to_string()))?;
        first.get_or_insert_with(Instant::now);
        bytes += piece.len() as u64;
        if bytes > most {
            return Err(Problem::too_large(most));
        }
        hash.update(&piece);
    }
    let end = Instant::now();
    let first = first.unwrap_or(end);
    Ok(Json(Received {
        instance: api.identity.instance.unique().to_owned(),
        bytes,
        sha256: hex(hash.finalize()),
        first_byte_ms: (first - start).as_secs_f64() * 1e3,
        receive_ms: (end - first).as_secs_f64() * 1e3,
        client: client.map(|Extension(client)| client.address.to_string()),
    }))
}

/// What is known of a request before its body.
#[derive(Debug)]
pub(super) struct Arrival {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    client: Option<Client>,
    request_id: Option<RequestId>,
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Arrival {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut http::request::Parts,
        _: &S,
    ) -> Result<Self, Self::Rejection> {
        Ok(Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            headers: parts.headers.clone(),
            client: parts.extensions.get().cloned(),
            request_id: parts.extensions.get().cloned(),
        })
    }
}

impl Arrival {
    fn host(&self) -> Option<String> {
        let header = self.headers.get(header::HOST);
        let named = header.and_then(|value| value.to_str().ok());
        named.or(self.uri.host()).map(str::to_owned)
    }
}

fn shown(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let names = headers.keys().filter(|name| !SECRET.contains(name));
    let values = |name| {
        let values = headers.get_all(name).iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    };
    names.map(|name| (name.to_string(), values(name))).collect()
}

/// How often each of the last keys was seen.
#[derive(Debug, Default)]
struct Seen {
    counts: HashMap<(UserId, String), u64>,
    order: VecDeque<(UserId, String)>,
}

impl Seen {
    fn count(&mut self, user: UserId, key: String) -> u64 {
        let key = (user, key.chars().take(KEY_CHARS_MAX).collect::<String>());
        if let Some(count) = self.counts.get_mut(&key) {
            *count += 1;
            return *count;
        }
        if self.order.len() == KEYS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.counts.remove(&oldest);
        }
        self.order.push_back(key.clone());
        self.counts.insert(key, 1);
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn keys_are_counted_and_the_oldest_forgotten() {
        let (mut seen, user) = (Seen::default(), UserId::from_uuid(uuid::Uuid::nil()));
        assert_eq!(seen.count(user, "a".into()), 1);
        assert_eq!(seen.count(user, "a".into()), 2);
        for number in 0..KEYS_MAX {
            seen.count(user, number.to_string());
        }
        assert_eq!(seen.counts.len(), KEYS_MAX);
        assert_eq!(seen.count(user, "a".into()), 1);
    }

    #[test]
    fn credentials_are_not_shown() {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "cookie", "x-forwarded-for"] {
            headers.insert(name, HeaderValue::from_static("v"));
        }
        let shown = shown(&headers);
        assert_eq!(shown.into_keys().collect::<Vec<_>>(), ["x-forwarded-for"]);
    }
}
