//! From failures of the domain to problems: the only file that knows which failure has which status. What a failure
//! says of the inside stands in the log under the request's id, never in the answer.

use http::StatusCode;

use crate::db;
use crate::domain::Error;
use crate::files;
use crate::http::{FieldError, Problem};
use crate::segment::SegmentError;

/// When to submit again with a full backlog, in seconds: jobs take about this long.
const QUEUE_FULL_RETRY_S: u64 = 10;
/// The header that makes a request repeatable.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound { .. } => Self::not_found(error.to_string()),
            Error::Forbidden(why) => Self::forbidden(why),
            Error::Invalid { field, why } => invalid(&field, why),
            Error::Conflict(why) => Self::conflict("conflict", why),
            Error::BadImage { ref source, .. } => bad_image(source, error.to_string()),
            Error::TooLarge { limit_bytes, .. } => {
                Self::too_large(limit_bytes).detail(error.to_string())
            }
            Error::QuotaExceeded {
                limit_bytes,
                used_bytes,
            } => quota_exceeded(&error, limit_bytes, used_bytes),
            Error::QueueFull { .. } => {
                Self::too_many_requests(error.to_string(), QUEUE_FULL_RETRY_S)
            }
            Error::IdempotencyMismatch => {
                Self::unprocessable("idempotency-key-reused", error.to_string()).error(
                    FieldError::parameter(IDEMPOTENCY_KEY, "belongs to another request"),
                )
            }
            Error::InFlight => Self::conflict("in-flight", error.to_string())
                .retryable(true)
                .retry_after_s(1),
            Error::Fenced(_) => Self::conflict("fenced", error.to_string()),
            Error::Db(ref cause) => from_db(cause, &error),
            Error::State(_) => {
                unavailable("state-store", "the state store does not answer", &error)
            }
            Error::Files(ref cause) => from_files(cause, &error),
            Error::Events(_) | Error::Internal(_) => internal(&error),
        }
    }
}

impl From<db::Error> for Problem {
    fn from(error: db::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<crate::state::Error> for Problem {
    fn from(error: crate::state::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<files::Error> for Problem {
    fn from(error: files::Error) -> Self {
        Error::from(error).into()
    }
}

/// The request lacks the key that it needs.
pub(super) fn key_missing() -> Problem {
    let detail = format!("this request needs the header {IDEMPOTENCY_KEY}");
    Problem::bad_request("idempotency-key-missing", detail)
        .error(FieldError::parameter(IDEMPOTENCY_KEY, "is missing"))
}

/// A defect: logged here, told as such.
pub(super) fn internal(error: &dyn std::error::Error) -> Problem {
    tracing::error!(error = %error, "a request failed: {error}");
    Problem::internal()
}

fn invalid(field: &str, why: String) -> Problem {
    let detail = format!("{field}: {why}");
    if field == IDEMPOTENCY_KEY {
        return Problem::bad_request("invalid-idempotency-key", detail)
            .error(FieldError::parameter(field, why));
    }
    let pointer = if field.starts_with('/') {
        field.to_owned()
    } else {
        format!("/{field}")
    };
    Problem::unprocessable("invalid-value", detail).error(FieldError::at(pointer, why))
}

fn bad_image(cause: &SegmentError, detail: String) -> Problem {
    match cause {
        SegmentError::UnknownFormat { .. } | SegmentError::Unsupported { .. } => {
            Problem::unsupported_media_type(detail)
        }
        SegmentError::Io(_) => internal(cause),
        _ => Problem::unprocessable("bad-image", detail),
    }
}

fn quota_exceeded(error: &Error, limit_bytes: u64, used_bytes: u64) -> Problem {
    let title = "The project's quota is used up";
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, "quota-exceeded", title)
        .detail(error.to_string())
        .member("limit_bytes", limit_bytes)
        .member("used_bytes", used_bytes)
}

fn from_db(cause: &db::Error, error: &Error) -> Problem {
    match cause {
        db::Error::PoolExhausted => unavailable("database-busy", "the database is busy", error),
        db::Error::Unavailable(_) | db::Error::Unreachable { .. } | db::Error::Conflict(_) => {
            unavailable("database", "the database does not answer", error)
        }
        _ => internal(error),
    }
}

fn from_files(cause: &files::Error, error: &Error) -> Problem {
    match cause {
        files::Error::StorageFull => {
            tracing::error!(%error, "an upload was refused: {error}");
            Problem::storage_full()
        }
        files::Error::TooManyOpen => {
            unavailable("file-store-busy", "the file store is busy", error)
        }
        files::Error::Aborted(why) => Problem::bad_request(
            "broken-body",
            format!("the body ended before it was complete: {why}"),
        ),
        _ => internal(error),
    }
}

fn unavailable(code: &'static str, detail: &str, error: &Error) -> Problem {
    tracing::warn!(%error, "a request was put off: {error}");
    Problem::unavailable(code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(error: Error) -> u16 {
        Problem::from(error).status().as_u16()
    }

    #[test]
    fn each_failure_has_its_status() {
        let bad = |source| Error::BadImage {
            file: "a.tif".into(),
            source,
        };
        let reason = "x".to_owned();
        for (error, expected) in [
            (Error::not_found("job", 7), 404),
            (Error::Forbidden("no".into()), 403),
            (Error::invalid("name", "is empty"), 422),
            (Error::invalid("Idempotency-Key", "is empty"), 400),
            (Error::Conflict("there".into()), 409),
            (bad(SegmentError::Empty), 422),
            (
                bad(SegmentError::UnknownFormat {
                    beginning: "%PDF".into(),
                }),
                415,
            ),
            (
                bad(SegmentError::Damaged {
                    format: "PNG",
                    reason,
                }),
                422,
            ),
            (
                Error::TooLarge {
                    file: "a".into(),
                    limit_bytes: 5,
                },
                413,
            ),
            (
                Error::QuotaExceeded {
                    limit_bytes: 5,
                    used_bytes: 5,
                },
                507,
            ),
            (Error::IdempotencyMismatch, 422),
            (Error::InFlight, 409),
            (db::Error::PoolExhausted.into(), 503),
            (files::Error::StorageFull.into(), 507),
            (files::Error::TooManyOpen.into(), 503),
            (crate::state::Error::Unavailable("gone".into()).into(), 503),
            (Error::Internal("a secret".into()), 500),
        ] {
            let text = error.to_string();
            assert_eq!(status(error), expected, "{text}");
        }
    }

    #[test]
    fn the_answer_says_nothing_of_the_inside() {
        let problem = Problem::from(Error::Internal("a secret".into()));
        assert!(!serde_json::to_string(&problem).unwrap().contains("secret"));
    }
}
