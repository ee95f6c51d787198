//! What a domain operation can answer instead of its result, named by what the caller can do about it.

use crate::db::{self, Transient};
use crate::events::group::HandlerError;
use crate::{events, files, segment, state};

/// A refused or failed operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing, or the caller may not know that there is.
    #[error("there is no {noun} {id}")]
    NotFound {
        /// The kind of thing.
        noun: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// The caller may see the thing but not do this to it.
    #[error("{0}")]
    Forbidden(String),
    /// A value is not acceptable.
    #[error("{field}: {why}")]
    Invalid {
        /// JSON pointer or name of the value.
        field: String,
        /// What is wrong and what is expected.
        why: String,
    },
    /// The thing exists already or is in a state that does not allow this.
    #[error("{0}")]
    Conflict(String),
    /// The bytes are not an image that is supported, or a broken one.
    #[error("{file}: {source}")]
    BadImage {
        /// The file's own name.
        file: String,
        /// What the decoder says.
        #[source]
        source: segment::SegmentError,
    },
    /// An upload is larger than the limit.
    #[error("{file} is larger than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// The file's own name.
        file: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// The project's quota is used up.
    #[error("the project may hold {limit_bytes} bytes and holds {used_bytes}")]
    QuotaExceeded {
        /// The limit.
        limit_bytes: u64,
        /// What is stored already.
        used_bytes: u64,
    },
    /// The owner has too many jobs waiting.
    #[error(
        "{waiting} of your jobs wait, and {limit} are the most; submit again when some have run"
    )]
    QueueFull {
        /// Jobs that wait.
        waiting: u64,
        /// The limit.
        limit: u64,
    },
    /// The key was used for another request.
    #[error("this idempotency key was used for another request")]
    IdempotencyMismatch,
    /// A request with this key is being worked on.
    #[error("a request with this idempotency key is in flight")]
    InFlight,
    /// Somebody else owns the job now; the write was refused.
    #[error("job {0} belongs to a later attempt")]
    Fenced(crate::kit::id::JobId),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] db::Error),
    /// The state store or the queue failed.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The outbox refused an event.
    #[error(transparent)]
    Events(#[from] events::Error),
    /// The file store failed.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// Something that cannot happen did.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// An unacceptable value.
    pub fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            why: why.into(),
        }
    }

    /// A thing that is not there for this caller.
    pub fn not_found(noun: &'static str, id: impl ToString) -> Self {
        Self::NotFound {
            noun,
            id: id.to_string(),
        }
    }
}

impl Transient for Error {
    fn is_transient(&self) -> bool {
        match self {
            Self::Db(error) => error.is_transient(),
            Self::Events(events::Error::Db(error)) => error.is_transient(),
            _ => false,
        }
    }
}

/// What is wrong with an event's effect: a refusal is final, a service that is away costs no attempt.
impl From<Error> for HandlerError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Db(error) | Error::Events(events::Error::Db(error)) => Self::Db(error),
            Error::State(_) | Error::Events(events::Error::Log(_)) => Self::Unavailable(text),
            Error::Events(_) | Error::Files(_) | Error::InFlight | Error::Internal(_) => {
                Self::Failed(text)
            }
            Error::NotFound { .. }
            | Error::Forbidden(_)
            | Error::Invalid { .. }
            | Error::Conflict(_)
            | Error::BadImage { .. }
            | Error::TooLarge { .. }
            | Error::QuotaExceeded { .. }
            | Error::QueueFull { .. }
            | Error::IdempotencyMismatch
            | Error::Fenced(_) => Self::Refused(text),
        }
    }
}
