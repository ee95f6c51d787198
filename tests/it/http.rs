//! The HTTP server in this process, on a port of its own, asked by clients that speak raw TCP.

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
        instance: InstanceId::for_this_boot(Some("lab-1")),
        request_timeout: 6 * SHORT,
        body_idle_timeout: SHORT,
        json_bytes_max: 1_000,
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

#[tokio::test]
async fn port_0_hands_the_bound_address_back_and_a_taken_one_is_named() {
    let server = start(LIMITS).await;
    assert_ne!(server.addr.port(), 0);
    assert!(server.get("/").await.ends_with("hello"));
    let error = Listener::bind("127.0.0.1", server.addr.port())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains(&server.addr.to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn connections_that_send_nothing_or_half_a_head_are_closed_in_time() {
    let server = start(Limits {
        first_byte: SHORT,
        head: SHORT,
        ..LIMITS
    })
    .await;
    for sent in ["", "G", "P", "GET / HTTP/1.1\r\nHost: h\r\nX-Half: "] {
        let start = Instant::now();
        assert_eq!(server.talk(sent.as_bytes()).await, "", "{sent:?}");
        assert!((SHORT..PATIENCE / 2).contains(&start.elapsed()), "{sent:?}");
    }
}

#[tokio::test]
async fn ambiguous_framing_is_refused_and_the_connection_closed() {
    let server = start(LIMITS).await;
    for (headers, part) in [
        (
            "Host: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "both",
        ),
        (
            "Host: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "both",
        ),
        (
            "Host: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
            "more than one Content-Length",
        ),
        ("Content-Length: 5\r\n", "needs a Host"),
        (
            "Host: h\r\nHost: i\r\nContent-Length: 5\r\n",
            "more than one Host",
        ),
    ] {
        let request = format!("POST /json HTTP/1.1\r\n{headers}\r\n0\r\n\r\n");
        let answer = server.talk(request.as_bytes()).await;
        assert_eq!(
            (status(&answer), header(&answer, "connection")),
            ("400", Some("close")),
            "{headers}{answer}"
        );
        assert!(
            problem(&answer)["detail"].as_str().unwrap().contains(part),
            "{answer}"
        );
        assert!(
            header(&answer, "x-instance-id").is_some() && header(&answer, "x-request-id").is_some()
        );
    }
    assert_eq!(
        status(&server.talk(b"GET / HTTP/1.0\r\n\r\n").await),
        "200",
        "HTTP/1.0 has no Host"
    );
}

#[tokio::test]
async fn requests_that_hyper_refuses_are_answered_400() {
    let server = start(LIMITS).await;
    for request in [
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        assert_eq!(
            status(&server.talk(request.as_bytes()).await),
            "400",
            "{request}"
        );
    }
}

#[tokio::test]
async fn a_head_of_20_kib_is_refused_and_one_of_15_is_not() {
    let server = start(LIMITS).await;
    for (bytes, expected) in [(15_000, "200"), (20_480, "431")] {
        let padding = "x".repeat(bytes);
        let request =
            format!("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Long: {padding}\r\n\r\n");
        assert_eq!(status(&server.talk(request.as_bytes()).await), expected);
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = start(LIMITS).await;
    let requests = "POST /json HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\
        \r\n2\r\n[1\r\n1;x=y\r\n]\r\n0\r\n\r\n\
        GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let answers = server.talk(requests.as_bytes()).await;
    let statuses: Vec<_> = answers
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| &answer[..3])
        .collect();
    assert_eq!(statuses, ["200", "200", "404"], "{answers}");
}

#[tokio::test]
async fn the_drain_ends_although_a_client_holds_half_a_head() {
    let server = start(Limits {
        in_flight: SHORT,
        ..LIMITS
    })
    .await;
    let mut client = server.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    // Whoever is answered after the half head was sent knows that it was accepted.
    assert_eq!(status(&server.get("/").await), "200");
    let took = server.finish().await;
    assert!(took < PATIENCE / 2, "the drain took {took:?}");
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test]
async fn the_drain_drops_what_is_in_flight_at_its_deadline() {
    let server = start(Limits {
        in_flight: SHORT,
        ..LIMITS
    })
    .await;
    let mut client = server.connect().await;
    client
        .write_all(b"GET /gate HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    server.entered.notified().await;
    let took = server.finish().await;
    assert!(
        (SHORT..PATIENCE / 2).contains(&took),
        "the drain took {took:?}"
    );
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test]
async fn a_request_in_flight_completes_while_new_connections_are_refused() {
    let server = start(LIMITS).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    assert!(one_answer(&mut idle).await.ends_with("hello"));
    let mut busy = server.connect().await;
    busy.write_all(b"GET /gate HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    server.entered.notified().await;

    server.lifecycle.drain();
    assert_eq!(
        rest(&mut idle).await,
        "",
        "an idle connection is closed at once"
    );
    let refused = TcpStream::connect(server.addr).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    server.gate.add_permits(1);
    let answer = rest(&mut busy).await;
    assert_eq!(
        (status(&answer), header(&answer, "connection")),
        ("200", Some("close"))
    );
    assert!(answer.ends_with("let through"));
    server.finish().await;
}

#[tokio::test]
async fn a_lame_duck_still_answers_but_is_unready_and_closes() {
    let server = start(Limits {
        lame_duck: PATIENCE,
        ..LIMITS
    })
    .await;
    let mut client = server.connect().await;
    client
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    let before = one_answer(&mut client).await;
    assert_eq!(
        (status(&before), header(&before, "connection")),
        ("200", None)
    );
    server.lifecycle.drain();
    client
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    let after = rest(&mut client).await;
    assert_eq!(
        (status(&after), header(&after, "connection")),
        ("503", Some("close"))
    );
    assert!(header(&after, "retry-after").is_some());
    let new = server.get("/").await;
    assert_eq!(
        (status(&new), header(&new, "connection")),
        ("200", Some("close"))
    );
    server.lifecycle.stop();
}

#[tokio::test]
async fn connections_above_the_cap_are_answered_503_until_one_leaves() {
    let server = start(Limits {
        connections_max: 2,
        ..LIMITS
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = server.connect().await;
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        one_answer(&mut client).await;
        held.push(client);
    }
    let answer = server.get("/").await;
    assert_eq!(
        (status(&answer), header(&answer, "retry-after")),
        ("503", Some("1"))
    );
    assert_eq!(problem(&answer)["code"], "too-many-connections");
    held.pop();
    let deadline = Instant::now() + PATIENCE;
    while status(&server.get("/").await) != "200" {
        assert!(Instant::now() < deadline, "the place should be free");
    }
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_connection_lives() {
    let server = start(LIMITS).await;
    let mut client = server.connect().await;
    client
        .write_all(b"GET /panic HTTP/1.1\r\nHost: h\r\nX-Request-Id: mine\r\n\r\n")
        .await
        .unwrap();
    let answer = one_answer(&mut client).await;
    assert_eq!(status(&answer), "500");
    assert_eq!(problem(&answer)["instance"], "urn:spheroctl:request:mine");
    assert!(
        !answer.contains("of the test"),
        "the cause stays in the log"
    );
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    assert!(one_answer(&mut client).await.ends_with("hello"));
}

#[tokio::test]
async fn every_answer_has_its_headers() {
    let server = start(LIMITS).await;
    let request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Request-Id: ";
    let answer = server
        .talk(format!("{request}abc-1_Z\r\n\r\n").as_bytes())
        .await;
    assert_eq!(header(&answer, "x-request-id"), Some("abc-1_Z"));
    assert!(
        header(&answer, "x-instance-id")
            .unwrap()
            .starts_with("lab-1-")
    );
    assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"));
    assert_eq!(header(&answer, "referrer-policy"), Some("no-referrer"));
    assert!(
        header(&answer, "content-security-policy")
            .unwrap()
            .starts_with("default-src 'none'")
    );
    let answer = server
        .talk(format!("{request}{}\r\n\r\n", "x".repeat(65)).as_bytes())
        .await;
    assert_eq!(
        header(&answer, "x-request-id").map(str::len),
        Some(36),
        "a UUID in its place"
    );
}

#[tokio::test]
async fn what_cannot_be_answered_is_a_problem() {
    let server = start(LIMITS).await;
    let busy = server.get("/busy").await;
    assert_eq!(
        (status(&busy), header(&busy, "retry-after")),
        ("503", Some("1"))
    );
    assert_eq!(problem(&busy)["retryable"], true);
    assert_eq!(problem(&server.get("/nothing").await)["status"], 404);
    let wrong = server.get("/json").await;
    assert_eq!(
        (&problem(&wrong)["status"], header(&wrong, "allow")),
        (&405.into(), Some("POST"))
    );
    let slow = server.get("/slow").await;
    assert_eq!(
        (status(&slow), problem(&slow)["code"].as_str()),
        ("503", Some("time-out"))
    );
    assert!(header(&slow, "retry-after").is_some());
}

#[tokio::test]
async fn json_bodies_are_limited_in_size_time_and_shape() {
    let server = start(LIMITS).await;
    assert!(server.post("[1, 2]").await.ends_with("[1,2]"));
    assert_eq!(
        problem(&server.post(&"1".repeat(1_001)).await)["bytes_max"],
        1_000
    );
    assert_eq!(problem(&server.post("[1,\n oh]").await)["line"], 2);
    let untyped =
        "POST /json HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]";
    assert_eq!(
        problem(&server.talk(untyped.as_bytes()).await)["status"],
        415
    );
}

#[tokio::test]
async fn a_body_that_falls_silent_is_answered_in_time() {
    let server = start(LIMITS).await;
    let half = "POST /json HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[1,";
    let answer = server.talk(half.as_bytes()).await;
    assert_eq!(
        (status(&answer), problem(&answer)["code"].as_str()),
        ("408", Some("body-stalled"))
    );
}

#[tokio::test]
async fn http_2_is_served_and_drained() {
    let server = start(LIMITS).await;
    let io = hyper_util::rt::TokioIo::new(server.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut requests, connection) =
        hyper::client::conn::http2::handshake::<_, _, axum::body::Body>(executor, io)
            .await
            .unwrap();
    let client = Lifecycle::new();
    let closed = client.spawn("client", connection);
    let get = |path: &str| {
        let uri = format!("http://h{path}");
        http::Request::builder()
            .uri(uri)
            .body(axum::body::Body::empty())
            .unwrap()
    };
    let answer = requests.send_request(get("/")).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, http::Version::HTTP_2)
    );
    let in_flight = requests.send_request(get("/gate"));
    let in_flight = client.spawn("request", in_flight);
    server.entered.notified().await;
    server.lifecycle.drain();
    server.gate.add_permits(1);
    assert_eq!(in_flight.await.unwrap().unwrap().unwrap().status(), 200);
    server.finish().await;
    tokio::time::timeout(PATIENCE, closed)
        .await
        .unwrap()
        .unwrap()
        .unwrap()
        .unwrap();
}
