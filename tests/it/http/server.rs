//! How the server admits connections, answers, and leaves.

use spheroctl::http::{Limits, Listener};
use spheroctl::kit::lifecycle::Lifecycle;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{LIMITS, PATIENCE, SHORT, header, one_answer, problem, rest, start, status};

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
