//! Extractors whose refusals are problems that name the field at fault.

use std::error::Error as StdError;

use axum::body::Bytes;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::body::BodyStalled;
use super::layers::JsonLimit;
use super::problem::{FieldError, Problem};

/// A JSON body, and a JSON answer. As an extractor it demands `application/json` (or `+json`) and refuses bodies
/// above the limit of the standard layers (413), unreadable ones (400) and those of another shape (422).
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

/// The query string, as a struct of parameters; one that does not fit is refused with 400.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<T>(pub T);

/// The parameters of the path; one that does not fit is refused with 400.
#[derive(Debug, Clone, Copy, Default)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_media_type(
                "the body must be application/json",
            ));
        }
        let bytes_max = request.extensions().get::<JsonLimit>().map(|limit| limit.0);
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| body_problem(&rejection, bytes_max))?;
        read_json(&bytes).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|rejection| query_problem(&rejection))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map(|path| Self(path.0))
            .map_err(|rejection| path_problem(&rejection))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media = value
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    let media = media.trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

fn body_problem(rejection: &BytesRejection, bytes_max: Option<usize>) -> Problem {
    if let Some(stalled) = source::<BodyStalled>(rejection) {
        let title = "The body did not come in time";
        return Problem::new(StatusCode::REQUEST_TIMEOUT, "body-stalled", title)
            .detail(stalled.to_string());
    }
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::too_large(bytes_max.unwrap_or_default() as u64);
    }
    Problem::bad_request("broken-body", "the body ended before it was complete")
}

fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value =
        serde_path_to_error::deserialize(&mut reader).map_err(|error| json_problem(&error))?;
    reader.end().map_err(|error| {
        Problem::bad_request("malformed-json", format!("the body is not JSON: {error}"))
    })?;
    Ok(value)
}

fn json_problem(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let cause = error.inner();
    if cause.is_data() {
        let at = pointer(error.path());
        return Problem::unprocessable("invalid-body", format!("the body does not fit: {cause}"))
            .error(FieldError::at(at, cause.to_string()));
    }
    Problem::bad_request("malformed-json", format!("the body is not JSON: {cause}"))
        .member("line", cause.line())
        .member("column", cause.column())
}

/// A JSON Pointer (RFC 6901) to where reading stopped.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

fn query_problem(rejection: &QueryRejection) -> Problem {
    type Cause = serde_path_to_error::Error<serde::de::value::Error>;
    let Some(cause) = source::<Cause>(rejection) else {
        return Problem::bad_request("invalid-query", "the query string cannot be read");
    };
    let (path, message) = (cause.path().to_string(), cause.inner().to_string());
    // A parameter that is missing or unknown has no path; the message names it.
    if path == "." {
        return Problem::bad_request("invalid-query", message);
    }
    Problem::bad_request("invalid-query", format!("parameter {path}: {message}"))
        .error(FieldError::parameter(path, message))
}

fn path_problem(rejection: &PathRejection) -> Problem {
    let PathRejection::FailedToDeserializePathParams(failure) = rejection else {
        return Problem::internal();
    };
    let (name, message) = match failure.kind() {
        ErrorKind::ParseErrorAtKey {
            key,
            value,
            expected_type,
        } => (key, format!("{value:?} is not a {expected_type}")),
        ErrorKind::DeserializeError { key, message, .. } => (key, message.clone()),
        ErrorKind::InvalidUtf8InPathParam { key } => (key, "is not UTF-8".to_owned()),
        kind => return Problem::bad_request("invalid-path", kind.to_string()),
    };
    Problem::bad_request("invalid-path", format!("path parameter {name}: {message}"))
        .error(FieldError::parameter(name, message))
}

/// The first error of type `E` among `error`'s causes.
fn source<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(present) = cause {
        if let Some(found) = present.downcast_ref() {
            return Some(found);
        }
        cause = present.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Ring {
        #[expect(dead_code, reason = "only read")]
        points: Vec<(f64, f64)>,
    }

    fn problem(text: &str) -> serde_json::Value {
        serde_json::to_value(read_json::<Ring>(text.as_bytes()).unwrap_err()).unwrap()
    }

    #[test]
    fn a_body_of_another_shape_is_refused_with_a_pointer() {
        let problem = problem(r#"{"points": [[0, 1], [2, "x"]]}"#);
        assert_eq!(problem["status"], 422);
        assert_eq!(problem["errors"][0]["pointer"], "/points/1/1");
    }

    #[test]
    fn a_body_that_is_not_json_is_refused_with_its_position() {
        let problem = problem("{\"points\": [[0,\n 1}");
        assert_eq!(
            (&problem["status"], &problem["line"]),
            (&400.into(), &2.into())
        );
    }

    #[test]
    fn text_after_the_value_is_refused() {
        assert_eq!(problem(r#"{"points": []} {}"#)["code"], "malformed-json");
    }

    #[tokio::test]
    async fn a_query_parameter_that_does_not_fit_is_named() {
        #[derive(Debug, Deserialize)]
        struct Page {
            #[expect(dead_code, reason = "only read")]
            limit: u32,
        }
        let mut parts = Request::builder()
            .uri("/?limit=ten")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let refused = Query::<Page>::from_request_parts(&mut parts, &())
            .await
            .unwrap_err();
        let problem = serde_json::to_value(refused).unwrap();
        assert_eq!(problem["errors"][0]["parameter"], "limit");
    }
}
