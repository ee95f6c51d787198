//! One connection from its first byte to its last: hyper over the watched transport, and the service that hands each
//! request to the router.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::transport::{Exchange, InFlight, Patience, Transport};
use crate::kit::lifecycle::Lifecycle;

/// Interval of HTTP/2 pings to a silent peer, and the longest wait for the answer to one.
const HTTP2_PING: Duration = Duration::from_secs(20);

/// A connection that was let in at the last moment before the listener closed has so long to begin its first request:
/// closed at once it would lose what its client has sent already, and a balancer does not send a POST again.
const NEWCOMER_MAX: Duration = Duration::from_millis(500);

/// Most requests at once on one HTTP/2 connection.
const HTTP2_STREAMS_MAX: u32 = 256;

/// What all connections of one listener share.
#[derive(Debug, Clone)]
pub(super) struct Acceptor {
    builder: Builder<TrackedExecutor>,
    router: Router,
    patience: Patience,
    lifecycle: Lifecycle,
    closing: CancellationToken,
}

impl Acceptor {
    /// `closing` ends idle connections, and the others after the answer that they wait for.
    pub(super) fn new(
        router: Router,
        patience: Patience,
        head_bytes_max: usize,
        lifecycle: Lifecycle,
        closing: CancellationToken,
    ) -> Self {
        let mut builder = Builder::new(TrackedExecutor(lifecycle.clone()));
        // The transport keeps the time of HTTP/1: hyper's own head time-out also runs between two requests, and
        // would close a balancer's idle connections after 10 s.
        builder
            .http1()
            .header_read_timeout(None)
            .max_buf_size(head_bytes_max);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(HTTP2_PING)
            .keep_alive_timeout(HTTP2_PING)
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
            .max_header_list_size(u32::try_from(head_bytes_max).unwrap_or(u32::MAX));
        Self {
            builder,
            router,
            patience,
            lifecycle,
            closing,
        }
    }

    /// Serves one client until it leaves, keeps the server waiting for too long, or the listener closes.
    pub(super) async fn serve<I>(self, io: I, peer: SocketAddr)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let exchange = Arc::new(Exchange::default());
        let transport = Transport::new(io, Arc::clone(&exchange), self.patience);
        let newcomer = Arc::clone(&exchange);
        let service = Service {
            router: self.router,
            exchange,
            peer,
            lifecycle: self.lifecycle,
        };
        let connection = self
            .builder
            .serve_connection_with_upgrades(TokioIo::new(transport), service);
        let mut connection = pin!(connection);
        let closing = async {
            self.closing.cancelled().await;
            // Whether it began or not, its time is over.
            let _ = timeout(NEWCOMER_MAX, newcomer.begun()).await;
        };
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = closing => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%peer, %error, "connection from {peer} ended early");
        }
    }
}

/// Runs hyper's HTTP/2 streams as tasks of the process.
#[derive(Debug, Clone)]
struct TrackedExecutor(Lifecycle);

impl<F> hyper::rt::Executor<F> for TrackedExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn("http2.stream", stream);
    }
}

#[derive(Debug, Clone)]
struct Service {
    router: Router,
    exchange: Arc<Exchange>,
    peer: SocketAddr,
    lifecycle: Lifecycle,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<CountedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_flight = self.exchange.begin_request();
        let version = request.version();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        // Here and not inside the future: hyper calls once per head, in order.
        if version < Version::HTTP_2
            && let Some(violation) = self.exchange.next_verdict()
        {
            request.extensions_mut().insert(violation);
        }
        let this = self.clone();
        Box::pin(async move {
            let Ok(response) = this.router.clone().oneshot(request).await;
            Ok(this.finish(response, version, in_flight))
        })
    }
}

impl Service {
    fn finish(
        &self,
        mut response: Response<Body>,
        version: Version,
        in_flight: InFlight,
    ) -> Response<CountedBody> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.exchange.upgrade();
        } else if self.lifecycle.is_draining() && version < Version::HTTP_2 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response.map(|body| CountedBody {
            body,
            _in_flight: in_flight,
        })
    }
}

/// An answer's body; its request is in flight until this is dropped.
struct CountedBody {
    body: Body,
    _in_flight: InFlight,
}

impl hyper::body::Body for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::Instant;

    const PATIENCE: Patience = Patience {
        first_byte: Duration::from_secs(10),
        head: Duration::from_secs(20),
        idle: Duration::from_secs(75),
        write: Duration::from_secs(30),
    };

    /// A client's end of a connection of small buffers; the server's end runs until it ends.
    fn connect() -> DuplexStream {
        connect_until(CancellationToken::new())
    }

    /// The same; `closing` as the listener has it.
    fn connect_until(closing: CancellationToken) -> DuplexStream {
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/echo", get(echo))
            .route("/long", get(|| async { "x".repeat(1 << 20) }))
            .route(
                "/wait",
                get(|| tokio::time::sleep(Duration::from_secs(500))),
            );
        let lifecycle = Lifecycle::new();
        let acceptor = Acceptor::new(router, PATIENCE, 16_384, lifecycle.clone(), closing);
        let (client, server) = tokio::io::duplex(4_096);
        lifecycle.spawn(
            "connection",
            acceptor.serve(server, ([127, 0, 0, 1], 1).into()),
        );
        client
    }

    async fn closed_after(mut client: DuplexStream) -> (Duration, String) {
        let (start, mut answer) = (Instant::now(), Vec::new());
        // A reset is an end too.
        let _ = client.read_to_end(&mut answer).await;
        (
            start.elapsed(),
            String::from_utf8_lossy(&answer).into_owned(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_closed_after_the_first_byte_limit() {
        let (after, answer) = closed_after(connect()).await;
        assert_eq!((after.as_secs(), answer.as_str()), (10, ""));
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_head_is_given_the_head_limit_whatever_its_first_byte() {
        // "P" alone may still become HTTP/2's preface, for which hyper waits without a limit.
        for half in ["P", "PRI * HT", "GET / HTTP/1.1\r\nHost: "] {
            let mut client = connect();
            client.write_all(half.as_bytes()).await.unwrap();
            let (after, _) = closed_after(client).await;
            assert_eq!(after.as_secs(), 20, "{half:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dripping_head_does_not_buy_time() {
        let mut client = connect();
        let start = Instant::now();
        while client.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        assert!(start.elapsed() <= Duration::from_secs(24));
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_a_connection_may_idle_longer() {
        let mut client = connect();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        let (after, answer) = closed_after(client).await;
        assert!(answer.ends_with("hello"));
        assert_eq!(after.as_secs(), 75);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_let_in_at_the_last_moment_is_answered() {
        let closing = CancellationToken::new();
        closing.cancel();
        let mut client = connect_until(closing.clone());
        let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        client.write_all(request).await.unwrap();
        let (after, answer) = closed_after(client).await;
        assert!(answer.ends_with("hello"), "{answer}");
        assert_eq!(after, Duration::ZERO);
        let (after, answer) = closed_after(connect_until(closing)).await;
        assert_eq!((after, answer.as_str()), (NEWCOMER_MAX, ""));
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_of_the_connection_ends_a_request_that_is_being_answered() {
        let mut client = connect();
        client
            .write_all(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        let (after, answer) = closed_after(client).await;
        assert!(answer.starts_with("HTTP/1.1 200"));
        assert_eq!(after.as_secs(), 575);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_take_its_answer_is_dropped() {
        let mut client = connect();
        client
            .write_all(b"GET /long HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_secs(31)).await;
        let (_, answer) = closed_after(client).await;
        assert!(answer.len() < 1 << 20, "{} bytes came", answer.len());
    }

    /// Upgrades, and sends every byte back.
    async fn echo(mut request: axum::extract::Request) -> Response<Body> {
        let upgrade = hyper::upgrade::on(&mut request);
        Lifecycle::new().spawn("echo", async move {
            let mut io = TokioIo::new(upgrade.await.unwrap());
            let mut byte = [0];
            while io.read_exact(&mut byte).await.is_ok() {
                io.write_all(&byte).await.unwrap();
            }
        });
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("connection", "upgrade")
            .header("upgrade", "echo")
            .body(Body::empty())
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_upgraded_connection_keeps_its_own_time() {
        let mut client = connect();
        let request =
            b"GET /echo HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        for byte in *b"GET" {
            tokio::time::sleep(Duration::from_secs(1_000)).await;
            client.write_u8(byte).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), byte);
        }
    }
}
