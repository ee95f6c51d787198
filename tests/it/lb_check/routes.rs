//! The routes that `lb-check` asks.

use reqwest::{Body, Method, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::{TestApp, start_without_worker, start_without_worker_with};

const ECHO: &str = "/lb-check/echo";
const UPLOAD: &str = "/lb-check/upload";

async fn echo(app: &TestApp, headers: &[(&str, &str)]) -> Value {
    let request = app
        .request(&app.admin_token, Method::POST, ECHO)
        .body("abc");
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.json().await.expect("JSON")
}

#[tokio::test]
async fn a_request_is_shown_as_it_arrived() {
    let app = start_without_worker().await;
    let seen = echo(
        &app,
        &[("x-forwarded-for", "192.0.2.1"), ("x-request-id", "abc-1")],
    )
    .await;
    assert_eq!(seen["method"], "POST");
    assert_eq!(seen["client"], "127.0.0.1", "nobody is trusted");
    assert_eq!(seen["scheme"], "http");
    assert_eq!(seen["request_id"], "abc-1");
    assert_eq!(seen["headers"]["x-forwarded-for"][0], "192.0.2.1");
    assert_eq!(seen["headers"]["authorization"], Value::Null);
    assert_eq!(seen["body_bytes"], 3);
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(seen["body_sha256"], abc);
    assert_eq!(seen["key_count"], Value::Null);
    assert_eq!(seen["instance"], app.app.instance.unique());
    for count in [1, 2] {
        assert_eq!(
            echo(&app, &[("idempotency-key", "k")]).await["key_count"],
            count
        );
    }
}

#[tokio::test]
async fn nobody_without_a_token_is_answered() {
    let app = start_without_worker().await;
    for (method, path) in [(Method::POST, ECHO), (Method::PUT, UPLOAD)] {
        let answer = app.anonymous(method, path).send().await.expect("an answer");
        assert_eq!(answer.status(), 401);
    }
}

#[tokio::test]
async fn a_delay_has_its_bound() {
    let app = start_without_worker().await;
    let ask = async |delay: &str| {
        let path = format!("{ECHO}?delay_ms={delay}");
        let request = app.request(&app.admin_token, Method::POST, &path);
        request.send().await.expect("an answer").status()
    };
    assert_eq!(ask("1").await, StatusCode::OK);
    assert_eq!(ask("15001").await, StatusCode::BAD_REQUEST);
    assert_eq!(ask("-1").await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_upload_is_counted_hashed_and_timed() {
    let app = start_without_worker().await;
    let pieces =
        futures::stream::iter((0..4).map(|_| Ok::<_, std::io::Error>(vec![b'a'; 250_000])));
    let request = app.request(&app.admin_token, Method::PUT, UPLOAD);
    let answer = request.body(Body::wrap_stream(pieces)).send().await;
    let received: Value = answer.expect("an answer").json().await.expect("JSON");
    assert_eq!(received["bytes"], 1_000_000);
    // A million times the letter a, from FIPS 180-2.
    let million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
    assert_eq!(received["sha256"], million);
    assert!(received["receive_ms"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn an_upload_above_the_limit_is_refused_before_its_body() {
    let app = start_without_worker_with(&[("lb_check.upload_bytes_max", "1000")]).await;
    let address = app.url.trim_start_matches("http://");
    let mut connection = TcpStream::connect(address).await.expect("a server");
    let head = format!(
        "PUT {UPLOAD} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Length: 1001\r\n\r\n",
        app.admin_token
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    // Without a length the limit shows while it comes.
    let endless = futures::stream::iter((0..4).map(|_| Ok::<_, std::io::Error>(vec![0; 300])));
    let request = app.request(&app.admin_token, Method::PUT, UPLOAD);
    let answer = request.body(Body::wrap_stream(endless)).send().await;
    assert_eq!(answer.expect("an answer").status(), 413);
}
