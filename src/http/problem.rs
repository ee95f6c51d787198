//! Problem details (RFC 9457): the one form in which a request is told that it failed.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};

use super::request_id::RequestId;

/// `Retry-After` of a 429 or 503 that says nothing better.
const RETRY_AFTER_DEFAULT_S: u64 = 1;

/// A problem in the making; answers with its status and `application/problem+json`.
///
/// `type` is a URN, so that no host has to be reachable for it to mean something; `instance` is the request's id.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
#[must_use]
pub struct Problem(Box<Document>);

/// What a problem holds; boxed, because a problem is the error of nearly every function of a handler.
#[derive(Debug, Clone, Serialize)]
struct Document {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    code: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    retryable: bool,
    #[serde(flatten)]
    members: Map<String, Value>,
    #[serde(skip)]
    retry_after_s: Option<u64>,
}

/// One part of the request that is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON Pointer (RFC 6901) into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// Name of the query or path parameter, or of the header.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    detail: String,
}

impl FieldError {
    /// The member of the JSON body at `pointer` (RFC 6901) is at fault.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: Some(pointer.into()),
            parameter: None,
            detail: detail.into(),
        }
    }

    /// The query parameter, path parameter or header `name` is at fault.
    pub fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: None,
            parameter: Some(name.into()),
            detail: detail.into(),
        }
    }
}

impl Problem {
    /// A problem of the kind `code` (kebab-case), of which `title` is the constant one-line name.
    pub fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self(Box::new(Document {
            kind: format!("urn:spheroctl:problem:{code}"),
            title,
            status,
            detail: None,
            instance: None,
            code,
            errors: Vec::new(),
            retryable: is_transient(status),
            members: Map::new(),
            retry_after_s: None,
        }))
    }

    /// What happened this time, for a person.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Names one more part of the request that is at fault.
    pub fn error(mut self, error: FieldError) -> Self {
        self.0.errors.push(error);
        self
    }

    /// Names all parts of the request that are at fault.
    pub fn errors(mut self, errors: impl IntoIterator<Item = FieldError>) -> Self {
        self.0.errors.extend(errors);
        self
    }

    /// Adds an extension member.
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// Takes a registered type instead of our own (RFC 9457 §4.2).
    pub fn registered_type(mut self, uri: &str) -> Self {
        uri.clone_into(&mut self.0.kind);
        self
    }

    /// When the request may be sent again, in whole seconds.
    pub fn retry_after_s(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// Says whether the same request may succeed later, where the status does not tell.
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// The status that the answer will have.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// 400: the request cannot be read.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, "The request cannot be read").detail(detail)
    }

    /// 401: nobody is signed in.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Sign in first").detail(detail)
    }

    /// 403: whoever is signed in may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "This is not allowed").detail(detail)
    }

    /// 404: there is no such thing, or it is not the caller's to know of.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found").detail(detail)
    }

    /// 409: the request does not fit the present state.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            code,
            "This does not fit the present state",
        )
        .detail(detail)
    }

    /// 413: the body is larger than `bytes_max`.
    pub fn too_large(bytes_max: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "The body is too large",
        )
        .detail(format!("at most {bytes_max} bytes are accepted here"))
        .member("bytes_max", bytes_max)
    }

    /// 415: the body is not of a kind that is accepted here.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        let title = "The body is not of a kind that is accepted here";
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            title,
        )
        .detail(detail)
    }

    /// 422: the request can be read, but its values cannot be used.
    pub fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        let title = "The values cannot be used";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, title).detail(detail)
    }

    /// 429: too much in too short a time.
    pub fn too_many_requests(detail: impl Into<String>, retry_after_s: u64) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-requests",
            "Too many requests",
        )
        .detail(detail)
        .retry_after_s(retry_after_s)
    }

    /// 500: a defect. What it is stands in the log under the request's id, never in the answer.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
        )
        .detail("the server's log has the cause under this request id")
    }

    /// 503: something that the request needs is away for a time.
    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        let title = "Something that this request needs is away for a time";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, title).detail(detail)
    }

    /// 507: the file store is full.
    pub fn storage_full() -> Self {
        let title = "The file store is full";
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage-full", title)
    }

    fn retry_after(&self) -> Option<HeaderValue> {
        let always = matches!(
            self.0.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        let default = always.then_some(RETRY_AFTER_DEFAULT_S);
        self.0.retry_after_s.or(default).map(HeaderValue::from)
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let id = RequestId::current();
        self.0.instance = self
            .0
            .instance
            .or(id.map(|id| format!("urn:spheroctl:request:{id}")));
        // A struct of strings and numbers is always written.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.0.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(value) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, value);
        }
        response
    }
}

fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 502 | 503 | 504)
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_problem_has_its_members_and_the_requests_id() {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static("abc"));
        let problem = Problem::unprocessable("bad-polygon", "the ring is open")
            .error(FieldError::at("/rings/0", "first and last point differ"))
            .member("ring", 0);
        let answer = async { problem.into_response() };
        let response = RequestId::of(&headers).scope(answer).await;
        assert_eq!(response.status(), 422);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let body = axum::body::to_bytes(response.into_body(), 4_096)
            .await
            .unwrap();
        let expected = serde_json::json!({
            "type": "urn:spheroctl:problem:bad-polygon", "title": "The values cannot be used", "status": 422,
            "detail": "the ring is open", "instance": "urn:spheroctl:request:abc", "code": "bad-polygon",
            "errors": [{"pointer": "/rings/0", "detail": "first and last point differ"}],
            "retryable": false, "ring": 0,
        });
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }

    #[test]
    fn busy_answers_always_say_when_to_come_back() {
        let unavailable = Problem::unavailable("database", "away").into_response();
        assert_eq!(unavailable.headers()["retry-after"], "1");
        let limited = Problem::too_many_requests("slow down", 7).into_response();
        assert_eq!(limited.headers()["retry-after"], "7");
        assert!(
            !Problem::internal()
                .into_response()
                .headers()
                .contains_key("retry-after")
        );
    }
}
