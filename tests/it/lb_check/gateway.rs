//! A gateway that speaks as much of the Centrifugo protocol (v2, JSON) as `lb-check` uses.

use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use spheroctl::kit::lifecycle::Lifecycle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// The product's own limit of one message.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// How the request of a balancer's health check begins.
const PROBE: &[u8] = b"GET /readyz ";

/// Starts one that calls itself `name`, until `lifecycle` ends.
pub async fn start(name: &'static str, lifecycle: &Lifecycle) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    let tasks = lifecycle.clone();
    lifecycle.spawn("gateway", async move {
        while let Ok((stream, _)) = listener.accept().await {
            tasks.spawn("gateway.socket", serve(stream, name));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, name: &'static str) {
    let mut begin = [0; PROBE.len()];
    let read = stream.peek(&mut begin).await;
    if read.is_ok_and(|read| begin[..read] == *PROBE) {
        // A balancer that looks whether it is well; it may have left already.
        let _ = stream.read(&mut [0; 1_024]).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await;
        return;
    }
    #[expect(
        clippy::result_large_err,
        reason = "the callback's type is tungstenite's"
    )]
    let greet = |request: &Request, mut answer: Response| {
        answer
            .headers_mut()
            .insert("x-instance-id", HeaderValue::from_static(name));
        if request.headers().contains_key("origin") {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = StatusCode::FORBIDDEN;
            return Err(refusal);
        }
        Ok(answer)
    };
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX));
    // Whoever asks for no upgrade gets no answer: the balancer says what it thinks of that.
    let Ok(mut socket) = accept_hdr_async_with_config(stream, greet, Some(config)).await else {
        return;
    };
    while let Some(Ok(Message::Text(text))) = socket.next().await {
        for line in text.lines() {
            let command: Value = serde_json::from_str(line).expect("JSON");
            for reply in replies(&command) {
                if socket.send(Message::text(reply.to_string())).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The reply, and before it a ping and whatever the command publishes.
fn replies(command: &Value) -> Vec<Value> {
    let id = &command["id"];
    if command.get("connect").is_some() {
        assert!(command["connect"]["token"].is_string());
        return vec![
            json!({}),
            json!({ "id": id, "connect": { "client": "c", "version": "test", "ping": 25 } }),
        ];
    }
    if let Some(subscribe) = command.get("subscribe") {
        let channel = subscribe["channel"].as_str().expect("a channel");
        assert!(channel.starts_with("user:"), "{channel}");
        return vec![json!({ "id": id, "subscribe": {} })];
    }
    if let Some(publish) = command.get("publish") {
        let publication =
            json!({ "channel": publish["channel"], "pub": { "data": publish["data"] } });
        return vec![
            json!({ "push": publication }),
            json!({ "id": id, "publish": {} }),
        ];
    }
    Vec::new()
}
