//! HTTP to the service: one client, answers of a bounded length, statuses turned into errors.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, redirect};
use secrecy::{ExposeSecret, SecretString};

use crate::settings::Ml;

use super::RemoteError;

/// Of an error's body so much is read, …
const ERROR_BODY_BYTES_MAX: u64 = 65_536;
/// … and so much is told.
const SAID_CHARS_MAX: usize = 300;
/// Nobody is waited for longer than this, whatever `Retry-After` says.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// The client with the service's address.
#[derive(Debug)]
pub(super) struct Transport {
    client: Client,
    /// Without a slash at its end; it may hold a password.
    base: SecretString,
    token: Option<SecretString>,
}

/// A complete answer with a status below 300.
#[derive(Debug)]
pub(super) struct Answer {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Transport {
    /// A client for the address in the settings.
    pub fn new(ml: &Ml) -> Result<Self, RemoteError> {
        let client = Client::builder()
            .connect_timeout(Duration::from_millis(ml.connect_timeout_ms))
            // A redirection would carry images and token to whomever it names.
            .redirect(redirect::Policy::none())
            // The service stands beside us; what the environment says of proxies is meant for the world outside.
            .no_proxy()
            .user_agent(concat!("spheroctl/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| RemoteError::Unreachable(error.without_url().to_string()))?;
        let token = ml.token.expose_secret();
        Ok(Self {
            client,
            base: SecretString::from(ml.url.expose_secret().trim_end_matches('/')),
            token: (!token.is_empty()).then(|| ml.token.clone()),
        })
    }

    /// A request to a path of the service.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let address = format!("{}{path}", self.base.expose_secret());
        let request = self.client.request(method, address);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    /// Sends and reads the whole answer, of at most `limit_bytes`.
    pub async fn send(
        &self,
        request: RequestBuilder,
        limit_bytes: u64,
    ) -> Result<Answer, RemoteError> {
        let response = request.send().await.map_err(|error| broken_off(&error))?;
        if response.status().is_success() {
            let headers = response.headers().clone();
            let body = body_of(response, limit_bytes).await?;
            return Ok(Answer { headers, body });
        }
        Err(refusal(response).await)
    }

    /// Whether a GET of this path is answered with a status below 300.
    pub async fn knows(&self, path: &str) -> Result<bool, RemoteError> {
        let request = self.request(Method::GET, path);
        let response = request.send().await.map_err(|error| broken_off(&error))?;
        Ok(response.status().is_success())
    }
}

async fn body_of(mut response: Response, limit_bytes: u64) -> Result<Bytes, RemoteError> {
    let too_long = RemoteError::TooLong { limit_bytes };
    let announced = response.content_length().unwrap_or_default();
    if announced > limit_bytes {
        return Err(too_long);
    }
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(|error| broken_off(&error))? {
        if (body.len() + piece.len()) as u64 > limit_bytes {
            return Err(too_long);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

async fn refusal(response: Response) -> RemoteError {
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    let body = body_of(response, ERROR_BODY_BYTES_MAX).await;
    let said = body.map_or_else(|_| String::new(), |body| said(&body));
    match status {
        400 | 413 | 415 | 422 => RemoteError::Refused(format!("{status}: {said}")),
        429 => RemoteError::Busy { retry_after },
        _ => RemoteError::Status {
            status,
            said,
            retry_after,
        },
    }
}

/// Seconds, or nothing: a date would need our clocks to agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// The beginning of a body as one line of text.
pub(super) fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let text: String = printable.take(SAID_CHARS_MAX).collect();
    text.trim().to_owned()
}

/// The whole chain of causes: the outermost only says that sending failed. Never the address, which may hold a password.
fn broken_off(error: &reqwest::Error) -> RemoteError {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let text = match causes.last() {
        Some(_) => causes.join(": "),
        None => "the connection failed".to_owned(),
    };
    if error.is_connect() {
        RemoteError::Unreachable(text)
    } else {
        RemoteError::BrokenOff(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_and_has_a_limit() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("86400"), Some(RETRY_AFTER_MAX));
        assert_eq!(of("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }

    #[test]
    fn what_a_service_says_is_one_short_line() {
        assert_eq!(said(b"<html>\n\x1b[31mno\r\n"), "<html>  [31mno");
        assert_eq!(said(&[b'a'; 9_000]).len(), SAID_CHARS_MAX);
    }
}
