//! Why a remote segmenter gave no result, and whose fault that is.

use std::time::Duration;

use super::super::Segmentation;

/// A call of a remote segmenter that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// No connection.
    #[error("the ML service cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke before the answer was complete.
    #[error("the ML service broke off: {0}")]
    BrokenOff(String),
    /// The whole call took too long.
    #[error("the ML service did not answer within {} s", after.as_secs_f64())]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// A status that speaks of the service itself: 5xx, but also one that says that the settings are wrong.
    #[error("the ML service answered {status}: {said}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The beginning of its text.
        said: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It is too busy now (429).
    #[error("the ML service is too busy")]
    Busy {
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It does not take this image (400, 413, 415, 422), or its model does not.
    #[error("the ML service refuses the image: {0}")]
    Refused(String),
    /// The answer is longer than the limit.
    #[error("the ML service's answer is longer than {limit_bytes} bytes")]
    TooLong {
        /// The limit.
        limit_bytes: u64,
    },
    /// The answer is not what the protocol says.
    #[error("the ML service's answer cannot be read: {0}")]
    Broken(String),
    /// The answer contradicts the image or itself.
    #[error("the ML service's answer cannot be true: {0}")]
    Untrue(String),
    /// Nothing at the address speaks a protocol that we do.
    #[error("no ML service is known at the address: {0}")]
    Unknown(String),
}

/// Whose fault a failed call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The service's: other images would fail too, and later this one may not.
    Service,
    /// The image's: it would fail again, others would not.
    Image,
    /// Nobody's: there is much to do.
    Load,
}

impl RemoteError {
    /// Whose fault it is. Only a [`Fault::Service`] counts for the breaker.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Refused(_) => Fault::Image,
            Self::Busy { .. } => Fault::Load,
            _ => Fault::Service,
        }
    }

    /// Whether only this image may be what the service cannot cope with, although the service is at fault. Nothing that
    /// happens before the image is looked at is of that kind.
    pub const fn may_be_the_image(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Busy { .. } | Self::Unknown(_) => false,
            // Gateways (502, 503), and what says that the settings are wrong.
            Self::Status { status, .. } => *status >= 500 && !matches!(status, 502 | 503),
            _ => true,
        }
    }

    /// When the service wants to be asked again, where it says so.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } | Self::Busy { retry_after } => *retry_after,
            _ => None,
        }
    }

    /// The class of the failure for a job: `bad_image`, `ml_timeout`, `ml_answer` or `ml_service`.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Refused(_) => "bad_image",
            Self::Timeout { .. } => "ml_timeout",
            Self::TooLong { .. } | Self::Broken(_) | Self::Untrue(_) => "ml_answer",
            _ => "ml_service",
        }
    }
}

/// A call that failed: before the service was asked or after, by the page itself, or by the service.
#[derive(Debug)]
pub enum Failed<E> {
    /// The page could not be read.
    Page(E),
    /// The service is at fault, or says that the image is.
    Remote(RemoteError),
}

impl<E> From<RemoteError> for Failed<E> {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

/// How it went with each page of a batch; none where the answer says nothing about a page, which is then to be sent alone.
pub type Outcomes<E> = Vec<Option<Result<Segmentation, Failed<E>>>>;
