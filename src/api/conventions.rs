//! What all routes have in common: pages of lists, the key of repeatable requests, the wish to wait.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::response::{AppendHeaders, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{HeaderValue, Uri, header};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::http::{FieldError, Json, Problem};

use super::problems;

/// Things on a page where the request does not say.
const LIMIT_DEFAULT: u32 = 50;
/// Most things on a page.
const LIMIT_MAX: u32 = 200;

/// What a handler answers.
pub(super) type Answer<T = Response> = Result<T, Problem>;

/// The page that a request asks for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default)]
    limit: Option<u32>,
}

/// A page: `limit` things older than `before`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    /// The id of the last thing on the page before.
    pub(super) before: Option<Uuid>,
    limit: u32,
}

impl PageQuery {
    pub(super) fn new(cursor: Option<String>, limit: Option<u32>) -> Self {
        Self { cursor, limit }
    }

    pub(super) fn page(&self) -> Answer<Page> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let why = format!("1 to {LIMIT_MAX} is expected, not {limit}");
            return Err(bad_parameter("limit", why));
        }
        let before = self.cursor.as_deref().map(read_cursor).transpose()?;
        Ok(Page { before, limit })
    }
}

impl Page {
    /// How many things to look for: one more than the page has tells whether there is another page.
    pub(super) const fn look_for(&self) -> u32 {
        self.limit + 1
    }

    /// The answer with the things that were found and the way to the next page.
    pub(super) fn answer<T: Serialize>(
        self,
        uri: &Uri,
        mut found: Vec<T>,
        id_of: impl Fn(&T) -> Uuid,
    ) -> Response {
        let limit = self.limit as usize;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| write_cursor(id_of(last)));
        let link = next.as_deref().and_then(|cursor| next_link(uri, cursor));
        let link = link.map(|link| AppendHeaders([(header::LINK, link)]));
        let list = List {
            items: found,
            next_cursor: next,
        };
        (link, Json(list)).into_response()
    }
}

/// A list as it is answered.
#[derive(Debug, Serialize)]
pub(super) struct List<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A list that has no further pages.
    pub(super) const fn whole(items: Vec<T>) -> Self {
        Self {
            items,
            next_cursor: None,
        }
    }
}

/// The `Idempotency-Key` of a request that must have one.
#[derive(Debug, Clone)]
pub(super) struct IdempotencyKey(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let key = parts
            .headers
            .get("idempotency-key")
            .ok_or_else(problems::key_missing)?;
        // What is no text is no key either; the domain says what one looks like.
        Ok(Self(key.to_str().unwrap_or_default().to_owned()))
    }
}

/// The `Idempotency-Key` of a request that may have one: what it makes costs nothing, so that it is not demanded.
#[derive(Debug, Clone)]
pub(super) struct OptionalIdempotencyKey(pub(super) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for OptionalIdempotencyKey {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let key = IdempotencyKey::from_request_parts(parts, state).await;
        Ok(Self(key.ok().map(|key| key.0)))
    }
}

/// How long a client wants to wait: `Prefer: wait=N` (RFC 7240), in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience(pub(super) Option<Duration>);

impl<S: Send + Sync> FromRequestParts<S> for Patience {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let texts = parts
            .headers
            .get_all("prefer")
            .iter()
            .filter_map(|value| value.to_str().ok());
        let preferences = texts.flat_map(|text| text.split(','));
        let seconds = preferences
            .filter_map(|preference| preference.trim().strip_prefix("wait=")?.parse().ok())
            .next();
        Ok(Self(seconds.map(Duration::from_secs)))
    }
}

/// A query or path parameter that cannot be used.
pub(super) fn bad_parameter(name: &str, why: impl Into<String>) -> Problem {
    let why = why.into();
    Problem::bad_request("invalid-query", format!("{name}: {why}"))
        .error(FieldError::parameter(name, why))
}

fn write_cursor(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

fn read_cursor(cursor: &str) -> Answer<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    bytes
        .and_then(|bytes| Uuid::from_slice(&bytes).ok())
        .ok_or_else(|| bad_parameter("cursor", "use the one of the answer before"))
}

/// `Link` to the next page (RFC 8288): this address with another cursor.
fn next_link(uri: &Uri, cursor: &str) -> Option<HeaderValue> {
    let kept = uri.query().unwrap_or_default().split('&');
    let mut query: Vec<&str> = kept
        .filter(|part| !part.is_empty() && !part.starts_with("cursor="))
        .collect();
    let cursor = format!("cursor={cursor}");
    query.push(&cursor);
    let link = format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"));
    HeaderValue::from_str(&link).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(cursor: Option<&str>, limit: Option<u32>) -> PageQuery {
        PageQuery::new(cursor.map(str::to_owned), limit)
    }

    #[test]
    fn cursors_are_read_back_and_others_refused() {
        let id = Uuid::from_u128(7);
        let page = query(Some(&write_cursor(id)), None).page().unwrap();
        assert_eq!((page.before, page.limit), (Some(id), LIMIT_DEFAULT));
        for bad in ["", "7", "not base64!", &URL_SAFE_NO_PAD.encode([1; 15])] {
            assert_eq!(
                query(Some(bad), None).page().unwrap_err().status(),
                400,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn limits_are_checked() {
        assert!(query(None, Some(0)).page().is_err());
        assert!(query(None, Some(201)).page().is_err());
        assert_eq!(query(None, Some(200)).page().unwrap().look_for(), 201);
    }

    #[test]
    fn the_next_page_keeps_the_rest_of_the_address() {
        let uri = Uri::from_static("/jobs?status=dead&cursor=old&limit=1");
        let page = query(None, Some(1)).page().unwrap();
        let ids = vec![Uuid::from_u128(2), Uuid::from_u128(1)];
        let link = |found: Vec<Uuid>| {
            page.answer(&uri, found, |id| *id)
                .headers()
                .get("link")
                .cloned()
        };
        let cursor = write_cursor(ids[0]);
        let expected = format!("</jobs?status=dead&limit=1&cursor={cursor}>; rel=\"next\"");
        assert_eq!(link(ids.clone()).unwrap(), expected.as_str());
        assert_eq!(link(ids[..1].to_vec()), None);
    }

    #[tokio::test]
    async fn the_wish_to_wait_is_found_among_others() {
        let request = http::Request::builder()
            .header("prefer", "respond-async, wait=7")
            .body(());
        let mut parts = request.unwrap().into_parts().0;
        let patience = Patience::from_request_parts(&mut parts, &()).await.unwrap();
        assert_eq!(patience.0, Some(Duration::from_secs(7)));
    }
}
