//! The HTTP server in this process, on a port of its own, asked by clients that speak raw TCP.

mod framing;
mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{MethodRouter, get, post};
use serde_json::Value;
use spheroctl::http::{
    Json, Limits, Listener, Problem, Stack, serve, standard, without_time_limit,
};
use spheroctl::kit::instance::InstanceId;
use spheroctl::kit::lifecycle::Lifecycle;
use spheroctl::kit::networks::Networks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Nothing here takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(150);

const LIMITS: Limits = Limits {
    first_byte: PATIENCE,
    head: PATIENCE,
    keep_alive_idle: PATIENCE,
    write_stall: PATIENCE,
    head_bytes_max: 16_384,
    connections_max: 100,
    lame_duck: Duration::ZERO,
    in_flight: PATIENCE,
};

struct Server {
    addr: SocketAddr,
    lifecycle: Lifecycle,
    task: JoinHandle<Option<()>>,
    /// `/gate` tells here that it has begun …
    entered: Arc<Notify>,
    /// … and answers when it is given a permit.
    gate: Arc<Semaphore>,
}

async fn start(limits: Limits) -> Server {
    let lifecycle = Lifecycle::new();
    let (entered, gate) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let stack = Stack {
        instance: Some(InstanceId::for_this_boot(Some("lab-1"))),
        request_timeout: 6 * SHORT,
        body_idle_timeout: SHORT,
        json_bytes_max: 1_000,
        trusted_proxies: Networks::default(),
    };
    let router = routes(&entered, &gate).route("/readyz", ready_unless_draining(&lifecycle));
    let listener = Listener::bind("127.0.0.1", 0).await.unwrap();
    let addr = listener.local_addr();
    let serving = serve(
        listener,
        standard(router, &stack),
        limits,
        lifecycle.clone(),
    );
    let task = lifecycle.spawn("server", serving);
    Server {
        addr,
        lifecycle,
        task,
        entered,
        gate,
    }
}

/// A readiness that knows nothing but the drain.
fn ready_unless_draining(lifecycle: &Lifecycle) -> MethodRouter {
    let lifecycle = lifecycle.clone();
    get(move || async move {
        match lifecycle.is_draining() {
            true => Err(Problem::unavailable("draining", "this instance is leaving")),
            false => Ok(()),
        }
    })
}

fn routes(entered: &Arc<Notify>, gate: &Arc<Semaphore>) -> Router {
    let (entered, gate) = (Arc::clone(entered), Arc::clone(gate));
    let wait = move || {
        let (entered, gate) = (Arc::clone(&entered), Arc::clone(&gate));
        async move {
            entered.notify_one();
            gate.acquire().await.unwrap().forget();
            "let through"
        }
    };
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route(
            "/panic",
            get(|| async { std::hint::black_box(None::<&str>).expect("of the test") })
                .layer(from_fn(without_time_limit)),
        )
        .route("/slow", get(std::future::pending::<()>))
        .route("/gate", get(wait).layer(from_fn(without_time_limit)))
        .route(
            "/json",
            post(|Json(value): Json<Value>| async move { Json(value) }),
        )
        .route(
            "/busy",
            get(|| async { Problem::unavailable("database", "away") }),
        )
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends `bytes` on a new connection and reads until the server closes it.
    async fn talk(&self, bytes: &[u8]) -> String {
        let mut client = self.connect().await;
        // The server may refuse before it has read everything.
        let _ = client.write_all(bytes).await;
        rest(&mut client).await
    }

    async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        self.talk(request.as_bytes()).await
    }

    async fn post(&self, body: &str) -> String {
        let request = format!(
            "POST /json HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.talk(request.as_bytes()).await
    }

    /// Drains, and waits until `serve` has returned.
    async fn finish(self) -> Duration {
        let start = Instant::now();
        self.lifecycle.drain();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap();
        start.elapsed()
    }
}

async fn rest(client: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = client.read_to_end(&mut answer);
    // A reset ends the answer too.
    let _ = tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("the server should have closed");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads one answer with a Content-Length, and leaves the connection open.
async fn one_answer(client: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        let mut byte = [0];
        let read = tokio::time::timeout(PATIENCE, client.read_exact(&mut byte))
            .await
            .unwrap();
        read.unwrap();
        answer.push(byte[0]);
        if answer.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(answer).unwrap();
    let length: usize = header(&head, "content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    client.read_exact(&mut body).await.unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

fn problem(answer: &str) -> Value {
    assert_eq!(
        header(answer, "content-type"),
        Some("application/problem+json"),
        "{answer}"
    );
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}
