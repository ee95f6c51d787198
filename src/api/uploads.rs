//! Uploads: the bytes of one file as the body, or one or more files as a form. Streamed, never held: what cannot
//! succeed is refused before the body is read, so that a client that sends `Expect: 100-continue` never sends it.

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{FromRequest, Request, State};
use futures::TryStreamExt;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::domain::idempotency::Outcome;
use crate::domain::images::{Image, Upload};
use crate::http::{Json, Path, Problem, Query};
use crate::kit::id::ProjectId;

use super::auth::Authenticated;
use super::conventions::{Answer, IdempotencyKey, bad_parameter};
use super::{Api, idempotency};

/// Most files of one form.
const FILES_MAX: usize = 200;
/// What the borders and headers of a form add to its files, in bytes.
const FORM_OVERHEAD_BYTES: u64 = 64 * 1024;
/// Name of the fields that hold files.
const FILE_FIELD: &str = "file";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadQuery {
    #[serde(default)]
    name: Option<String>,
}

#[derive(Debug, Serialize)]
struct Images {
    items: Vec<Image>,
}

pub(super) async fn upload(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(project): Path<ProjectId>,
    Query(query): Query<UploadQuery>,
    IdempotencyKey(key): IdempotencyKey,
    request: Request,
) -> Answer {
    let announced_bytes = content_length(request.headers());
    let upload = Upload {
        principal,
        project,
        name: "",
        key: &key,
        announced_bytes,
    };
    if is_form(request.headers()) {
        return store_form(&api, upload, request).await;
    }
    let name = query.name.or_else(|| disposition_name(request.headers()));
    let name = name.ok_or_else(|| {
        bad_parameter(
            "name",
            "give the file's name as ?name= or in Content-Disposition",
        )
    })?;
    let upload = Upload {
        name: &name,
        ..upload
    };
    api.uploads.admit(&upload).await?;
    let body = request.into_body();
    let outcome = api.uploads.store(&upload, pieces(body)).await?;
    let location = [(
        header::LOCATION,
        format!("/api/v1/images/{}", outcome.value.id),
    )];
    let answer = (StatusCode::CREATED, location, Json(outcome.value));
    Ok(idempotency::rendered(answer, outcome.replayed))
}

/// Stores the files of a form one after the other. A failure ends it and names the file; what was stored stays, and a
/// repetition with the same key goes on where this one ended.
async fn store_form(api: &Api, form: Upload<'_>, request: Request) -> Answer {
    // The name of the first file is not known yet; a form's size is its files' and its borders'.
    let announced_bytes = form
        .announced_bytes
        .map(|bytes| bytes.saturating_sub(FORM_OVERHEAD_BYTES));
    api.uploads
        .admit(&Upload {
            name: "form",
            announced_bytes,
            ..form
        })
        .await?;
    let mut fields = Multipart::from_request(request, api)
        .await
        .map_err(|error| Problem::bad_request("invalid-form", error.to_string()))?;
    let mut stored: Vec<Outcome<Image>> = Vec::new();
    while let Some(field) = fields
        .next_field()
        .await
        .map_err(|error| broken_form(&error))?
    {
        if field.name() != Some(FILE_FIELD) {
            let why = format!(
                "fields are named {FILE_FIELD:?}, not {:?}",
                field.name().unwrap_or("")
            );
            return Err(Problem::bad_request("invalid-form", why));
        }
        if stored.len() == FILES_MAX {
            let why = format!("a form holds at most {FILES_MAX} files");
            return Err(Problem::unprocessable("too-many-files", why));
        }
        let outcome = store_field(api, &form, stored.len(), field).await;
        stored.push(outcome.map_err(|problem| with_stored(problem, &stored))?);
    }
    if stored.is_empty() {
        return Err(Problem::bad_request(
            "invalid-form",
            format!("no field is named {FILE_FIELD:?}"),
        ));
    }
    let replayed = stored.iter().all(|outcome| outcome.replayed);
    let items = stored.into_iter().map(|outcome| outcome.value).collect();
    Ok(idempotency::rendered(
        (StatusCode::CREATED, Json(Images { items })),
        replayed,
    ))
}

async fn store_field(
    api: &Api,
    form: &Upload<'_>,
    place: usize,
    field: Field<'_>,
) -> Answer<Outcome<Image>> {
    let name = field.file_name().unwrap_or_default().to_owned();
    let key = key_of(form.key, place);
    let upload = Upload {
        name: &name,
        key: &key,
        announced_bytes: None,
        ..*form
    };
    api.uploads.admit(&upload).await?;
    let bytes = std::pin::pin!(field.map_err(std::io::Error::other));
    Ok(api.uploads.store(&upload, bytes).await?)
}

/// Each file of a form is a request of its own: the first has the form's key, the others a suffix each.
fn key_of(key: &str, place: usize) -> String {
    match place {
        0 => key.to_owned(),
        place => format!("{}-{place}", key.trim().trim_matches('"')),
    }
}

fn with_stored(problem: Problem, stored: &[Outcome<Image>]) -> Problem {
    let ids: Vec<String> = stored
        .iter()
        .map(|outcome| outcome.value.id.to_string())
        .collect();
    problem.member("stored", ids)
}

fn broken_form(error: &axum::extract::multipart::MultipartError) -> Problem {
    Problem::bad_request("invalid-form", error.body_text())
}

fn pieces(body: Body) -> impl futures::Stream<Item = std::io::Result<bytes::Bytes>> + Send + Unpin {
    body.into_data_stream().map_err(std::io::Error::other)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn is_form(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    value.is_some_and(|value| {
        value
            .trim()
            .to_ascii_lowercase()
            .starts_with("multipart/form-data")
    })
}

/// The name in `Content-Disposition` (RFC 6266): `filename*` before `filename`.
fn disposition_name(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_DISPOSITION)?.to_str().ok()?;
    let parameter = |name: &str| {
        let mut parts = value
            .split(';')
            .skip(1)
            .filter_map(|part| part.split_once('='));
        parts
            .find(|(found, _)| found.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    };
    let extended = parameter("filename*").and_then(|value| decoded(value.strip_prefix("UTF-8''")?));
    extended.or_else(|| Some(parameter("filename")?.trim_matches('"').to_owned()))
}

/// Text with its percent escapes undone; `None` where it is none.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let value = match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        };
        bytes.push(value);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(value: &'static str) -> Option<String> {
        let value = http::HeaderValue::from_static(value);
        disposition_name(&HeaderMap::from_iter([(
            header::CONTENT_DISPOSITION,
            value,
        )]))
    }

    #[test]
    fn a_files_name_is_found_in_its_disposition() {
        assert_eq!(
            named("attachment; filename=\"a b.tif\"").as_deref(),
            Some("a b.tif")
        );
        let both = "attachment; filename=\"_.tif\"; filename*=UTF-8''10%20%C2%B5m.tif";
        assert_eq!(named(both).as_deref(), Some("10 µm.tif"));
        assert_eq!(named("attachment"), None);
        assert_eq!(named("attachment; filename*=UTF-8''%C2").as_deref(), None);
    }

    #[test]
    fn files_of_one_form_have_keys_of_their_own() {
        assert_eq!(key_of("\"k\"", 0), "\"k\"");
        assert_eq!(key_of("\"k\"", 2), "k-2");
    }
}
