//! What a request may be made of, and how long it may take to come.

use super::{LIMITS, PATIENCE, SHORT, header, problem, start, status};

use spheroctl::http::Limits;
use tokio::time::Instant;

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
