//! The id by which one request is found again in logs, answers and problems.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// Carries the id in requests (where the client chooses it) and in every answer.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is accepted from a client.
const LENGTH_MAX: usize = 64;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The id of a request: the client's where it is sane, else a random UUID. Found in the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id of a request with these headers.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let sent = headers
            .get(X_REQUEST_ID)
            .filter(|value| is_sane(value.as_bytes()));
        Self(sent.cloned().unwrap_or_else(random))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// The id of the request that this task answers.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Runs `answering` with this id as the current one.
    pub(super) async fn scope<T>(self, answering: impl Future<Output = T>) -> T {
        CURRENT.scope(self, answering).await
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Short, and of characters that need no escaping in a log line, a URN or a header.
fn is_sane(id: &[u8]) -> bool {
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=LENGTH_MAX).contains(&id.len()) && id.iter().all(harmless)
}

fn random() -> HeaderValue {
    let text = Uuid::new_v4().to_string();
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_id_is_kept_only_when_sane() {
        let longest = "x".repeat(LENGTH_MAX);
        let too_long = "x".repeat(LENGTH_MAX + 1);
        for (sent, kept) in [
            ("a-B_9", true),
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("a b", false),
            ("a\tb", false),
            ("a\"b", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_str(sent).unwrap());
            assert_eq!(RequestId::of(&headers).as_str() == sent, kept, "{sent:?}");
        }
    }
}
