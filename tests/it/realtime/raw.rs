//! A WebSocket client of another make that speaks the protocol line by line.

use std::collections::VecDeque;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::SOON;

/// A connection.
pub struct Raw {
    pub socket: WebSocketStream<TcpStream>,
    /// Pushes that came while something else was awaited.
    pushes: VecDeque<Value>,
    last_id: u64,
    /// Whether pings are answered.
    pub answers_pings: bool,
}

/// The answer to a handshake.
pub type Answer = Response<Option<Vec<u8>>>;

/// A connection, or the answer that refuses it.
pub async fn open(
    url: &str,
    headers: &[(&'static str, &str)],
) -> Result<(Raw, Answer), Box<Answer>> {
    let mut request = url.into_client_request().expect("a URL");
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a header");
        request.headers_mut().insert(*name, value);
    }
    let place = request.uri().authority().expect("an address").to_string();
    let stream = TcpStream::connect(place).await.expect("a listener");
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, answer)) => {
            let raw = Raw {
                socket,
                pushes: VecDeque::new(),
                last_id: 0,
                answers_pings: true,
            };
            Ok((raw, answer))
        }
        Err(Error::Http(refusal)) => Err(refusal),
        Err(error) => panic!("{error}"),
    }
}

impl Raw {
    /// A connection that has said nothing.
    pub async fn silent(url: &str) -> Self {
        match open(url, &[]).await {
            Ok((raw, _)) => raw,
            Err(refusal) => panic!("{}", refusal.status()),
        }
    }

    /// A connection of the bearer of `token`.
    pub async fn connect(url: &str, token: &str) -> Self {
        let mut raw = Self::silent(url).await;
        let reply = raw.command(json!({ "connect": { "token": token } })).await;
        assert!(reply["connect"]["client"].is_string(), "{reply}");
        raw
    }

    /// A subscription that must succeed; its result.
    pub async fn subscribe(&mut self, channel: &str) -> Value {
        let reply = self
            .command(json!({ "subscribe": { "channel": channel } }))
            .await;
        assert!(reply["subscribe"].is_object(), "{reply}");
        reply["subscribe"].clone()
    }

    /// Sends a command and waits for its reply.
    pub async fn command(&mut self, mut command: Value) -> Value {
        self.last_id += 1;
        command["id"] = self.last_id.into();
        self.send(&command.to_string()).await;
        loop {
            let reply = self.next().await;
            if reply["id"] == self.last_id {
                return reply;
            }
            self.pushes.push_back(reply);
        }
    }

    pub async fn send(&mut self, text: &str) {
        self.socket
            .send(Message::text(text))
            .await
            .expect("an open connection");
    }

    /// The next push; replies to what was sent without waiting are passed over.
    pub async fn push(&mut self) -> Value {
        loop {
            let reply = match self.pushes.pop_front() {
                Some(reply) => reply,
                None => self.next().await,
            };
            if reply["push"].is_object() {
                return reply["push"].clone();
            }
        }
    }

    /// The next reply or push; pings are answered.
    async fn next(&mut self) -> Value {
        loop {
            match self.message().await {
                Some(Message::Text(text)) if text.as_str() == "{}" => {
                    if self.answers_pings {
                        self.send("{}").await;
                    }
                }
                Some(Message::Text(text)) => {
                    return serde_json::from_str(text.as_str()).expect("JSON");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    async fn message(&mut self) -> Option<Message> {
        let message = tokio::time::timeout(SOON, self.socket.next()).await;
        let message = message.expect("a message in time")?;
        message.ok()
    }

    /// Reads until the server closes; the code and the reason.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.message().await {
                Some(Message::Close(Some(frame))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(Message::Close(None)) | None => panic!("a close frame with its code"),
                Some(_) => {}
            }
        }
    }
}
