//! The accept loop: a bound listener, a cap on connections, and the drain that ends it.
//!
//! `axum::serve` (0.8.9) has no time-out for a head and cannot finish a drain while one client holds half a head
//! (measured); this loop can.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Acceptor;
use super::transport::Patience;
use crate::kit::lifecycle::Lifecycle;
use crate::kit::metrics;
use crate::settings;

/// An idle connection is closed after this: longer than the 60 s for which nginx keeps one to an upstream, so that
/// the balancer closes first and never sends a request into a connection that is being closed.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(75);

/// Wait after an accept that failed for want of file descriptors or memory.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

/// Refused connections that are still being told so.
const REFUSALS_AT_ONCE: usize = 64;

/// Longest time for which a refused client is listened to.
const REFUSAL_LINGER: Duration = Duration::from_millis(500);

/// The answer to a connection above the cap.
const REFUSAL_BODY: &str = concat!(
    r#"{"type":"urn:spheroctl:problem:too-many-connections","title":"Too many connections","#,
    r#""status":503,"code":"too-many-connections","retryable":true}"#
);

/// Open connections of all listeners of the process.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// The limits of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest wait for the first byte of a connection.
    pub first_byte: Duration,
    /// Longest time from the first to the last byte of a request head.
    pub head: Duration,
    /// Longest silence between two requests of a connection.
    pub keep_alive_idle: Duration,
    /// Longest wait for a client to take more of its answer.
    pub write_stall: Duration,
    /// Largest request head in bytes (hyper's floor is 8,192); a larger one is answered 431.
    pub head_bytes_max: usize,
    /// Most open connections; more are answered 503 and closed.
    pub connections_max: usize,
    /// How long the listener stays open after draining has begun.
    pub lame_duck: Duration,
    /// Longest wait for requests in flight after the listener has closed.
    pub in_flight: Duration,
}

impl Limits {
    /// The limits that the settings ask for.
    pub fn from_settings(http: &settings::Http, shutdown: &settings::Shutdown) -> Self {
        Self {
            first_byte: Duration::from_millis(http.first_byte_timeout_ms),
            head: Duration::from_millis(http.header_timeout_ms),
            keep_alive_idle: KEEP_ALIVE_IDLE,
            write_stall: Duration::from_millis(http.body_idle_timeout_ms),
            head_bytes_max: http.head_bytes_max,
            connections_max: http.connections_max,
            lame_duck: Duration::from_millis(shutdown.lame_duck_ms),
            in_flight: Duration::from_millis(shutdown.http_ms),
        }
    }

    fn patience(&self) -> Patience {
        Patience {
            first_byte: self.first_byte,
            head: self.head,
            idle: self.keep_alive_idle,
            write: self.write_stall,
        }
    }
}

/// A bound TCP listener.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    local_addr: SocketAddr,
}

impl Listener {
    /// Binds `host`:`port`; port 0 takes a free one, which [`Listener::local_addr`] tells.
    ///
    /// # Errors
    /// When the address cannot be resolved or bound; the text names it.
    pub async fn bind(host: &str, port: u16) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("cannot listen on {host}:{port}: {error}"),
            )
        };
        let inner = TcpListener::bind((host, port)).await.map_err(named)?;
        let local_addr = inner.local_addr().map_err(named)?;
        Ok(Self { inner, local_addr })
    }

    /// The address that clients connect to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

/// Serves `router` until the drain that `lifecycle` begins is over: answers carry `Connection: close` from its first
/// moment, the listener closes after `limits.lame_duck`, requests in flight have `limits.in_flight` to finish, and
/// what then remains is dropped. Connections that were upgraded to another protocol are no longer this function's.
pub async fn serve(listener: Listener, router: Router, limits: Limits, lifecycle: Lifecycle) {
    let (closing, dropped) = (CancellationToken::new(), CancellationToken::new());
    let door = Door {
        acceptor: Acceptor::new(
            router,
            limits.patience(),
            limits.head_bytes_max,
            lifecycle.clone(),
            closing.clone(),
        ),
        places: Arc::new(Semaphore::new(limits.connections_max)),
        refusals: Arc::new(Semaphore::new(REFUSALS_AT_ONCE)),
        connections: TaskTracker::new(),
        dropped: dropped.clone(),
        lifecycle: lifecycle.clone(),
    };
    tokio::select! {
        () = door.accept(&listener.inner) => {}
        () = lame_duck_over(&lifecycle, limits.lame_duck) => {}
    }
    door.admit_the_last(listener);
    closing.cancel();
    door.connections.close();
    if tokio::time::timeout(limits.in_flight, door.connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            "{} connections were dropped at the drain's deadline",
            door.connections.len()
        );
    }
    dropped.cancel();
    door.connections.wait().await;
}

async fn lame_duck_over(lifecycle: &Lifecycle, lame_duck: Duration) {
    lifecycle.draining().await;
    tokio::time::sleep(lame_duck).await;
}

/// Lets connections in while there are places.
struct Door {
    acceptor: Acceptor,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    connections: TaskTracker,
    dropped: CancellationToken,
    lifecycle: Lifecycle,
}

impl Door {
    /// Never returns; whoever stops waiting for it stops accepting.
    async fn accept(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections: {error}");
                    tokio::time::sleep(ACCEPT_BACK_OFF).await;
                }
            }
        }
    }

    /// Admits whom the system has let in already, and closes the listener: their requests may be under way.
    fn admit_the_last(&self, listener: Listener) {
        // Fails only where the runtime is gone.
        let Ok(listener) = listener.inner.into_std() else {
            return;
        };
        while let Ok((stream, peer)) = listener.accept() {
            let ready = stream.set_nonblocking(true);
            if let Ok(stream) = ready.and_then(|()| TcpStream::from_std(stream)) {
                self.admit(stream, peer);
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return self.refuse(stream);
        };
        // Fails only when the client has left already, which the first read tells.
        let _ = stream.set_nodelay(true);
        let open = Open::new(place);
        let connection = self.acceptor.clone().serve(stream, peer);
        let dropped = self.dropped.clone();
        self.lifecycle.spawn(
            "http.connection",
            self.connections.track_future(async move {
                tokio::select! {
                    () = connection => {}
                    () = dropped.cancelled() => {}
                }
                drop(open);
            }),
        );
    }

    fn refuse(&self, stream: TcpStream) {
        metrics::http_connection_refused();
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else {
            return;
        };
        self.lifecycle.spawn("http.refusal", async move {
            let _ = tokio::time::timeout(REFUSAL_LINGER, say_no(stream)).await;
            drop(permit);
        });
    }
}

/// Writes the refusal and reads what the client had sent: closing with unread bytes would reset the connection and
/// take the answer with it.
async fn say_no(mut stream: TcpStream) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
         content-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n",
        REFUSAL_BODY.len()
    );
    stream.write_all((head + REFUSAL_BODY).as_bytes()).await?;
    stream.shutdown().await?;
    let mut ignored = [0; 1_024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

/// Errors of a single connection that was gone before it was accepted.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Counts one open connection and holds its place.
struct Open {
    _place: OwnedSemaphorePermit,
}

impl Open {
    fn new(place: OwnedSemaphorePermit) -> Self {
        metrics::http_connections(OPEN.fetch_add(1, Ordering::Relaxed) + 1);
        Self { _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::http_connections(OPEN.fetch_sub(1, Ordering::Relaxed) - 1);
    }
}
