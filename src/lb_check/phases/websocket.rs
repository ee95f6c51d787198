//! WebSockets through the balancer: the upgrade, messages both ways by the gateway's protocol (Centrifugo v2 in JSON), its
//! limits, silence, foreign pages, and how sockets spread.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use http::{Method, Request, StatusCode, header};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::lb_check::client::{Client, Wire};
use crate::lb_check::context::Context;
use crate::lb_check::judgement::Judgement;
use crate::lb_check::statistics::variation;

/// The gateway's path, where the plan names no other.
const PATH: &str = "/connection/websocket";
/// Where the token's own account is told.
const SESSION: &str = "/api/v1/session";
/// Longest wait for a reply or a publication.
const REPLY_MAX: Duration = Duration::from_secs(10);
/// The gateway's limit is 64 KiB: the first of these passes, the second ends the connection.
const LARGE_BYTES: usize = 32 << 10;
const TOO_LARGE_BYTES: usize = 70 << 10;
/// Largest coefficient of variation of sockets per instance.
const VARIATION_MAX: f64 = 0.3;
/// A page that is not ours (RFC 2606).
const FOREIGN_ORIGIN: &str = "https://lb-check.invalid";

type Wires = WebSocketStream<Box<dyn Wire>>;

pub(super) async fn run(context: &Context<'_>) -> Judgement {
    let Some(token) = context.client.token() else {
        return Judgement::skip("needs a token");
    };
    let client = match gateway(context) {
        Ok(client) => client,
        Err(reason) => return Judgement::skip(reason),
    };
    let mut judgement = Judgement::new();
    let socket = match upgrade(&client, None).await {
        Ok((socket, _)) => socket,
        Err(Refused {
            status: Some(status),
            ..
        }) if [StatusCode::NOT_FOUND, StatusCode::NOT_IMPLEMENTED].contains(&status) => {
            return Judgement::skip(format!(
                "there is no gateway at {} ({status})",
                client.target().path
            ));
        }
        Err(refused) => {
            judgement.fail(format!("no WebSocket: {}", refused.reason));
            return judgement;
        }
    };
    judgement.note("101");
    let mut talk = Talk::new(socket);
    if let Err(reason) = converse(context, &mut talk, token.expose_secret(), &mut judgement).await {
        judgement.fail(reason);
    }
    foreign_page(&client, &mut judgement).await;
    sockets_spread(context, &client, &mut judgement).await;
    judgement
}

/// A client of the gateway: below the balancer's own address unless the plan says otherwise.
fn gateway(context: &Context<'_>) -> Result<Client, String> {
    let plan = context.plan;
    let target = plan.ws_url.clone().unwrap_or_else(|| plan.url.at(PATH));
    let ca_file = plan.ca_file.as_deref();
    let token = plan.token.clone();
    Client::new(target, ca_file, token, REPLY_MAX, context.lifecycle.clone())
        .map_err(|error| error.to_string())
}

/// Everything on one socket: connect, subscribe, small and large messages, silence, one that is too large.
async fn converse(
    context: &Context<'_>,
    talk: &mut Talk,
    token: &str,
    judgement: &mut Judgement,
) -> Result<(), String> {
    let connected = talk
        .call("connect", json!({ "token": token, "name": "lb-check" }))
        .await?;
    judgement.detail(
        "connect",
        json!({ "version": connected["version"], "ping": connected["ping"] }),
    );
    let channel = format!("user:{}", own_id(context).await?);
    talk.call("subscribe", json!({ "channel": channel }))
        .await?;
    for (what, bytes) in [("1 B", 1), ("32 KiB", LARGE_BYTES)] {
        let took = talk
            .round_trip(&channel, bytes)
            .await
            .map_err(|reason| format!("{what}: {reason}"))?;
        judgement.note(format!("{what} in {:.0} ms", took.as_secs_f64() * 1e3));
    }
    let idle = context.plan.ws_idle;
    if !idle.is_zero() {
        talk.listen(idle)
            .await
            .map_err(|reason| format!("while idle for {} s: {reason}", idle.as_secs()))?;
        let after = talk.round_trip(&channel, 1).await;
        after.map_err(|reason| format!("after {} s: {reason}", idle.as_secs()))?;
        judgement.note(format!("idle {} s", idle.as_secs()));
    }
    match talk.overflow(&channel).await {
        Ok(()) => judgement.fail("70 KiB are accepted, 64 KiB are the limit"),
        Err(_) => judgement.note("70 KiB end it"),
    }
    Ok(())
}

async fn own_id(context: &Context<'_>) -> Result<String, String> {
    let client = &context.client;
    let make = || client.with_token(Method::GET, SESSION, bytes::Bytes::new());
    let answer = context.once(client, make).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let json = answer.json();
    let id = json["id"].as_str().map(str::to_owned);
    id.ok_or_else(|| format!("{SESSION} answered {}", answer.status))
}

async fn foreign_page(client: &Client, judgement: &mut Judgement) {
    match upgrade(client, Some(FOREIGN_ORIGIN)).await {
        Err(Refused {
            status: Some(StatusCode::FORBIDDEN),
            ..
        }) => {
            judgement.note("a foreign origin gets 403");
        }
        Err(refused) => judgement.warn(format!("a foreign origin gets no 403: {}", refused.reason)),
        Ok(_) => judgement.fail("a foreign origin is let in"),
    }
}

async fn sockets_spread(context: &Context<'_>, client: &Client, judgement: &mut Judgement) {
    let mut open = Vec::new();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..context.plan.ws_sockets {
        context.turn().await;
        match upgrade(client, None).await {
            Ok((socket, instance)) => {
                *counts.entry(instance.unwrap_or_default()).or_default() += 1;
                open.push(socket);
            }
            Err(refused) => {
                judgement.fail(format!(
                    "socket {} of {}: {}",
                    open.len() + 1,
                    context.plan.ws_sockets,
                    refused.reason
                ));
                break;
            }
        }
    }
    let numbers: Vec<f64> = counts.values().map(|count| *count as f64).collect();
    let variation = variation(&numbers);
    judgement.detail("sockets", json!(counts));
    judgement.detail("sockets_variation", variation);
    let words = format!(
        "{} sockets on {} instance(s), variation {variation:.2}",
        open.len(),
        counts.len()
    );
    judgement.expect(variation <= VARIATION_MAX, words);
}

struct Refused {
    status: Option<StatusCode>,
    reason: String,
}

/// A socket, and the instance that holds it.
async fn upgrade(
    client: &Client,
    origin: Option<&str>,
) -> Result<(Wires, Option<String>), Refused> {
    let refused = |reason: String| Refused {
        status: None,
        reason,
    };
    let target = client.target();
    let mut request = Request::get(format!("ws://{}{}", target.authority(), target.path))
        .header(header::HOST, target.authority())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, generate_key());
    if let Some(value) = client.authorization() {
        request = request.header(header::AUTHORIZATION, value);
    }
    if let Some(origin) = origin {
        request = request.header(header::ORIGIN, origin);
    }
    let request = request
        .body(())
        .map_err(|error| refused(error.to_string()))?;
    let wire = client
        .wire()
        .await
        .map_err(|error| refused(error.to_string()))?
        .0;
    let shaking = tokio::time::timeout(REPLY_MAX, client_async(request, wire));
    match shaking.await {
        Ok(Ok((socket, answer))) => {
            let instance = answer.headers().get("x-instance-id");
            let instance = instance.and_then(|value| value.to_str().ok());
            Ok((socket, instance.map(str::to_owned)))
        }
        Ok(Err(tungstenite::Error::Http(answer))) => Err(Refused {
            status: Some(answer.status()),
            reason: format!("answered {}", answer.status()),
        }),
        Ok(Err(error)) => Err(refused(error.to_string())),
        Err(_) => Err(refused(format!(
            "no answer within {} s",
            REPLY_MAX.as_secs()
        ))),
    }
}

/// One socket that speaks the gateway's protocol.
struct Talk {
    socket: Wires,
    last_id: u32,
    /// What came while something else was awaited.
    waiting: Vec<Value>,
}

impl Talk {
    fn new(socket: Wires) -> Self {
        Self {
            socket,
            last_id: 0,
            waiting: Vec::new(),
        }
    }

    /// Sends a command and returns its result.
    async fn call(&mut self, name: &str, arguments: Value) -> Result<Value, String> {
        let id = self.send(name, arguments).await?;
        let reply = self.find(name, |message| message["id"] == id).await?;
        match reply.get("error") {
            Some(error) => Err(format!(
                "{name}: error {} {}",
                error["code"], error["message"]
            )),
            None => Ok(reply[name].clone()),
        }
    }

    /// Publishes so many bytes to a channel that it is subscribed to, and waits until they come back.
    async fn round_trip(&mut self, channel: &str, bytes: usize) -> Result<Duration, String> {
        let start = Instant::now();
        let data = json!({ "nonce": uuid::Uuid::new_v4().to_string(), "fill": "x".repeat(bytes) });
        self.call("publish", json!({ "channel": channel, "data": data }))
            .await?;
        let is_ours = |message: &Value| {
            let push = &message["push"];
            push["channel"] == channel && push["pub"]["data"] == data
        };
        self.find("the publication", is_ours).await?;
        Ok(start.elapsed())
    }

    /// Publishes more than is allowed; an error says that it ended the connection.
    async fn overflow(&mut self, channel: &str) -> Result<(), String> {
        let data = json!({ "fill": "x".repeat(TOO_LARGE_BYTES) });
        self.call("publish", json!({ "channel": channel, "data": data }))
            .await
            .map(drop)
    }

    /// Answers pings, and expects nothing else, for so long.
    async fn listen(&mut self, time: Duration) -> Result<(), String> {
        let end = Instant::now() + time;
        while let Ok(message) = timeout_at(end, self.receive()).await {
            self.waiting.extend(message?);
        }
        Ok(())
    }

    async fn send(&mut self, name: &str, arguments: Value) -> Result<u32, String> {
        self.last_id += 1;
        let command = json!({ "id": self.last_id, name: arguments });
        self.text(command.to_string()).await?;
        Ok(self.last_id)
    }

    async fn text(&mut self, text: String) -> Result<(), String> {
        let sent = self.socket.send(Message::text(text)).await;
        sent.map_err(|error| error.to_string())
    }

    async fn find(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value, String> {
        let end = Instant::now() + REPLY_MAX;
        loop {
            if let Some(place) = self.waiting.iter().position(&fits) {
                return Ok(self.waiting.swap_remove(place));
            }
            let message = timeout_at(end, self.receive()).await;
            let late = |_| format!("{what} did not come within {} s", REPLY_MAX.as_secs());
            let message = message.map_err(late)??;
            self.waiting.extend(message);
        }
    }

    /// The replies and pushes of the next frame; a ping is answered and is none.
    async fn receive(&mut self) -> Result<Vec<Value>, String> {
        let text = match self.socket.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map(|frame| u16::from(frame.code).to_string());
                return Err(format!("closed with {}", code.unwrap_or_default()));
            }
            Some(Ok(_)) => return Ok(Vec::new()),
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("the connection ended".to_owned()),
        };
        let mut messages = Vec::new();
        for line in text.lines() {
            let message: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
            if message == json!({}) {
                self.text("{}".to_owned()).await?;
            } else {
                messages.push(message);
            }
        }
        Ok(messages)
    }
}
