//! The original bytes of an image, or a range of them (RFC 9110 §14). Never shown in a page: always an attachment.

use axum::body::Body;
use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse, Response};
use futures::TryStreamExt;
use http::{HeaderMap, StatusCode, header};

use crate::domain::access::Role;
use crate::domain::images;
use crate::files::{BadRange, ByteRange};
use crate::http::{Path, Problem};
use crate::kit::hex::hex;
use crate::kit::id::ImageId;

use super::Api;
use super::auth::Authenticated;
use super::conventions::Answer;

pub(super) async fn original(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<ImageId>,
    headers: HeaderMap,
) -> Answer {
    images::find(&api.db, &principal, id, Role::Viewer).await?;
    let (image, file) = images::with_file(&api.db, id).await?;
    let tag = format!("\"{}\"", hex(file.sha256));
    if is_held(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let range = match range(&headers, &tag, file.size_bytes) {
        Ok(range) => range,
        Err(bad) => return Ok(unsatisfiable(bad)),
    };
    let reading = api.files.get(&file.object_key, range).await?;
    let body = Body::from_stream(reading.stream.map_err(std::io::Error::other));
    let (status, length, place) = part(range, file.size_bytes);
    let headers = [
        (header::CONTENT_TYPE, file.media_type),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, attachment(&image.name)),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
        (header::ETAG, tag),
    ];
    let place = place.map(|place| AppendHeaders([(header::CONTENT_RANGE, place)]));
    Ok((status, headers, place, body).into_response())
}

/// `Content-Disposition` under which a browser saves a file with this name (RFC 6266): a name that every client reads,
/// and the real one.
pub(super) fn attachment(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ');
    let ascii: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    format!(
        "attachment; filename=\"{ascii}\"; filename*=UTF-8''{}",
        percent_encoded(name)
    )
}

fn percent_encoded(name: &str) -> String {
    // RFC 8187: the characters of a token that need no escape.
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

/// Whether the client says that it holds the file.
fn is_held(headers: &HeaderMap, tag: &str) -> bool {
    let tags = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    tags.is_some_and(|tags| {
        tags.split(',')
            .any(|held| held.trim().trim_start_matches("W/") == tag)
    })
}

/// The range that is asked for. One of another version of the file is none.
fn range(headers: &HeaderMap, tag: &str, size_bytes: u64) -> Result<Option<ByteRange>, BadRange> {
    let of_this_version = headers.get(header::IF_RANGE).is_none_or(|held| held == tag);
    let asked = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok());
    match asked.filter(|_| of_this_version) {
        Some(asked) => ByteRange::parse(asked, size_bytes),
        None => Ok(None),
    }
}

/// Status, length and place of the whole file or of a range of it.
fn part(range: Option<ByteRange>, size_bytes: u64) -> (StatusCode, u64, Option<String>) {
    match range {
        None => (StatusCode::OK, size_bytes, None),
        Some(ByteRange { start, end }) => {
            let place = format!("bytes {start}-{}/{size_bytes}", end - 1);
            (StatusCode::PARTIAL_CONTENT, end - start, Some(place))
        }
    }
}

fn unsatisfiable(bad: BadRange) -> Response {
    let title = "No byte of the file is in the range";
    let problem = Problem::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "range-not-satisfiable",
        title,
    )
    .detail(bad.to_string());
    let mut response = problem.into_response();
    if let Ok(value) = format!("bytes */{}", bad.size_bytes).parse() {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_harmless_and_complete() {
        let expected = "attachment; filename=\"a___b.tif\"; filename*=UTF-8''a%22%C2%B5%2Fb.tif";
        assert_eq!(attachment("a\"µ/b.tif"), expected);
    }
}
