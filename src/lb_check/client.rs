//! HTTP/1.1 as the checks want it: a connection is made, used and dropped when they say so, from the address that they
//! name, and bytes can be written that no well-behaved client would.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::target::Target;
use super::tls;
use crate::kit::lifecycle::Lifecycle;

/// Names the instance that answered.
const X_INSTANCE_ID: HeaderName = HeaderName::from_static("x-instance-id");
/// Largest answer that is read, in bytes; ours are below a few KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Longest wait for a connection: balancers answer at once or are away.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Bytes both ways, whatever they travel on.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A body as it is sent.
pub(super) type Outgoing = UnsyncBoxBody<Bytes, Infallible>;

/// Why there was no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Error {
    /// No connection came about.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The connection broke before the answer was there.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// Nothing came in time.
    #[error("no answer within {} s", _0.as_secs_f32())]
    Late(Duration),
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// From the first byte sent to the last byte read.
    pub(super) took: Duration,
}

impl Answer {
    /// The instance that answered, where it says so.
    pub(super) fn instance(&self) -> Option<&str> {
        self.text(&X_INSTANCE_ID)
    }

    /// A header's text.
    pub(super) fn text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long the answer asks to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.text(&header::RETRY_AFTER)?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// The body as JSON; null where it is none.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What is known of a TLS connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Secured {
    pub(super) protocol: Option<String>,
    pub(super) alpn: Option<String>,
    pub(super) not_after: Option<chrono::DateTime<chrono::Utc>>,
}

/// Makes connections to one target. Clones share what is needed for it.
#[derive(Clone)]
pub(super) struct Client {
    target: Arc<Target>,
    tls: Option<TlsConnector>,
    token: Option<SecretString>,
    lifecycle: Lifecycle,
    limit: Duration,
    source: Option<IpAddr>,
}

impl Client {
    /// For `target`, asking with `token` where a request wants it; every answer must be there within `limit`.
    pub(super) fn new(
        target: Target,
        ca_file: Option<&std::path::Path>,
        token: Option<SecretString>,
        limit: Duration,
        lifecycle: Lifecycle,
    ) -> Result<Self, tls::Error> {
        let tls = target.tls.then(|| tls::connector(ca_file)).transpose()?;
        Ok(Self {
            target: Arc::new(target),
            tls,
            token,
            lifecycle,
            limit,
            source: None,
        })
    }

    /// The same from another address of this machine.
    pub(super) fn asking_from(&self, source: IpAddr) -> Self {
        Self {
            source: Some(source),
            ..self.clone()
        }
    }

    /// The same with another limit.
    pub(super) fn with_limit(&self, limit: Duration) -> Self {
        Self {
            limit,
            ..self.clone()
        }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// `Authorization` of requests that need the token.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let secret = self.token.as_ref()?.expose_secret();
        let mut value = HeaderValue::from_str(&format!("Bearer {secret}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The token itself, for messages that carry it.
    pub(super) fn token(&self) -> Option<&SecretString> {
        self.token.as_ref()
    }

    /// A request without a body.
    pub(super) fn get(&self, path: &str) -> Request<Outgoing> {
        self.request(Method::GET, path, Bytes::new())
    }

    /// A request with a body, without the token.
    pub(super) fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Outgoing> {
        let mut request = Request::new(Full::new(body).boxed_unsync());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap_or_default();
        // A host and a port that were read from an address.
        if let Ok(host) = HeaderValue::from_str(&self.target.authority()) {
            request.headers_mut().insert(header::HOST, host);
        }
        request
    }

    /// A request with a body and the token.
    pub(super) fn with_token(&self, method: Method, path: &str, body: Bytes) -> Request<Outgoing> {
        let mut request = self.request(method, path, body);
        if let Some(value) = self.authorization() {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        request
    }

    /// Bytes to and from the target, and what its TLS says.
    pub(super) async fn wire(&self) -> Result<(Box<dyn Wire>, Secured), Error> {
        let connecting = async {
            let stream = self.tcp().await.map_err(|error| error.to_string())?;
            match &self.tls {
                None => Ok((Box::new(stream) as Box<dyn Wire>, Secured::default())),
                Some(connector) => secured(connector, &self.target.host, stream).await,
            }
        };
        match timeout(CONNECT_MAX, connecting).await {
            Ok(outcome) => outcome.map_err(Error::Unreachable),
            Err(_) => Err(Error::Unreachable(format!(
                "none within {} s",
                CONNECT_MAX.as_secs()
            ))),
        }
    }

    async fn tcp(&self) -> std::io::Result<TcpStream> {
        let addresses = self.target.resolve().await?;
        let mut last = std::io::Error::other("the name has no address");
        for address in addresses {
            match self.tcp_to(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn tcp_to(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let Some(source) = self.source else {
            return TcpStream::connect(address).await;
        };
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.bind(SocketAddr::new(source, 0))?;
        socket.connect(address).await
    }

    /// A connection for requests.
    pub(super) async fn connect(&self) -> Result<Connection, Error> {
        let (wire, _) = self.wire().await?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(wire)).await;
        let (sender, driver) = shaken.map_err(|error| Error::Broken(error.to_string()))?;
        self.lifecycle.spawn("lb_check.connection", async move {
            // How it ended is told to whoever waits for an answer.
            let _ = driver.await;
        });
        Ok(Connection {
            sender,
            limit: self.limit,
        })
    }

    /// One request on a connection of its own.
    pub(super) async fn once(&self, request: Request<Outgoing>) -> Result<Answer, Error> {
        self.connect().await?.send(request).await
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

async fn secured(
    connector: &TlsConnector,
    host: &str,
    stream: TcpStream,
) -> Result<(Box<dyn Wire>, Secured), String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let stream = connector.connect(name, stream).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let session = stream.get_ref().1;
    let alpn = session.alpn_protocol();
    let certificates = session.peer_certificates().unwrap_or_default();
    let secured = Secured {
        protocol: session
            .protocol_version()
            .map(|version| format!("{version:?}")),
        alpn: alpn.map(|name| String::from_utf8_lossy(name).into_owned()),
        not_after: certificates.first().and_then(|first| tls::not_after(first)),
    };
    Ok((Box::new(stream), secured))
}

/// A kept connection. Requests follow each other on it.
pub(super) struct Connection {
    sender: SendRequest<Outgoing>,
    limit: Duration,
}

impl Connection {
    /// Sends a request and reads its answer.
    pub(super) async fn send(&mut self, request: Request<Outgoing>) -> Result<Answer, Error> {
        let (start, limit) = (Instant::now(), self.limit);
        let exchange = async {
            self.sender.ready().await.map_err(broken)?;
            let answer = self.sender.send_request(request).await.map_err(broken)?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| Error::Broken(error.to_string()))?;
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
                took: start.elapsed(),
            })
        };
        timeout(limit, exchange)
            .await
            .unwrap_or(Err(Error::Late(limit)))
    }

    /// Whether another request may be sent.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

fn broken(error: hyper::Error) -> Error {
    let cause = std::error::Error::source(&error);
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    Error::Broken(format!("{error}{cause}"))
}
