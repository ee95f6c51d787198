//! What the instances see of a request: who asks, by which scheme and host; and what never reaches them.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::lb_check::client::Client;
use crate::lb_check::context::{Context, ECHO};
use crate::lb_check::judgement::Judgement;

/// An address that nobody has (RFC 5737), and a name that nobody has (RFC 2606).
const SPOOFED_ADDRESS: &str = "203.0.113.77";
const SPOOFED_NAME: &str = "lb-check.invalid";
/// Longest wait for the answer to raw bytes.
const RAW_MAX: Duration = Duration::from_secs(5);
/// Most bytes of such an answer.
const RAW_BYTES_MAX: u64 = 16 << 10;
/// Above every limit of ours (16 KiB).
const LONG_HEADER_BYTES: usize = 20 << 10;

pub(super) async fn run(context: &Context<'_>) -> Judgement {
    if !context.client.has_token() {
        return Judgement::skip("needs a token");
    }
    let mut judgement = Judgement::new();
    let plain = match context.echo(&[]).await {
        Ok(seen) => seen,
        Err(reason) => {
            judgement.fail(reason);
            return judgement;
        }
    };
    seen_as_sent(context, &plain, &mut judgement);
    spoofed(context, &plain, &mut judgement).await;
    hop_by_hop(context, &mut judgement).await;
    ambiguous(&context.client, "", &mut judgement).await;
    if let Some(direct) = &context.plan.direct {
        let limit = RAW_MAX;
        let token = context.plan.token.clone();
        let ca_file = context.plan.ca_file.as_deref();
        match Client::new(
            direct.clone(),
            ca_file,
            token,
            limit,
            context.lifecycle.clone(),
        ) {
            Ok(client) => ambiguous(&client, "directly: ", &mut judgement).await,
            Err(error) => judgement.fail(error.to_string()),
        }
    }
    judgement
}

fn seen_as_sent(context: &Context<'_>, plain: &Value, judgement: &mut Judgement) {
    judgement.detail("plain", plain.clone());
    let target = context.client.target();
    let host = plain["host"].as_str().unwrap_or_default();
    judgement.expect(host == target.authority(), format!("Host is {host}"));
    let said = forwarded(plain, "x-forwarded-proto");
    match said.as_slice() {
        [] => judgement.warn("no X-Forwarded-Proto: there is no balancer, or it does not tell"),
        [scheme] => judgement.expect(
            scheme == target.scheme(),
            format!("X-Forwarded-Proto is {scheme}"),
        ),
        several => judgement.fail(format!("X-Forwarded-Proto is {}", several.join(" and "))),
    }
    match forwarded(plain, "x-forwarded-for").as_slice() {
        [] => judgement.warn("no X-Forwarded-For: the instances do not know who asks"),
        [address] => judge_client(plain, address, judgement),
        several => judgement.fail(format!("X-Forwarded-For has {} lines", several.len())),
    }
}

/// The instances must believe what the balancer says of the client.
fn judge_client(plain: &Value, address: &str, judgement: &mut Judgement) {
    let client = plain["client"].as_str().unwrap_or_default();
    if client == address {
        judgement.note(format!("the client is {client}"));
    } else {
        judgement.warn(format!(
            "the balancer says {address}, the instance counts {client}: see http.trusted_proxies"
        ));
    }
}

fn forwarded(seen: &Value, name: &str) -> Vec<String> {
    let values = seen["headers"][name]
        .as_array()
        .cloned()
        .unwrap_or_default();
    values
        .iter()
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}

/// What a client says of itself must not come through.
async fn spoofed(context: &Context<'_>, plain: &Value, judgement: &mut Judgement) {
    let forwarded_header = format!("for={SPOOFED_ADDRESS};host={SPOOFED_NAME}");
    let lies = [
        ("x-forwarded-for", SPOOFED_ADDRESS),
        ("x-real-ip", SPOOFED_ADDRESS),
        ("x-forwarded-host", SPOOFED_NAME),
        ("x-forwarded-proto", SPOOFED_NAME),
        ("x-user-id", SPOOFED_NAME),
        ("forwarded", &forwarded_header),
    ];
    let seen = match context.echo(&lies).await {
        Ok(seen) => seen,
        Err(reason) => return judgement.fail(format!("with spoofed headers: {reason}")),
    };
    let names = lies.iter().map(|(name, _)| *name);
    let through: Vec<&str> = names
        .filter(|name| {
            let values = forwarded(&seen, name).join(",");
            values.contains(SPOOFED_ADDRESS) || values.contains(SPOOFED_NAME)
        })
        .collect();
    judgement.detail("spoofed_through", json!(through));
    if !through.is_empty() {
        judgement.fail(format!("spoofed {} came through", through.join(", ")));
    }
    if seen["client"] != plain["client"] || seen["scheme"] != plain["scheme"] {
        judgement.fail("an instance believes a spoofed header");
    } else if through.is_empty() {
        judgement.note("spoofed headers are overwritten");
    }
}

/// Headers that are about one connection only.
async fn hop_by_hop(context: &Context<'_>, judgement: &mut Judgement) {
    let sent = [
        ("te", "trailers"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
    ];
    match context.echo(&sent).await {
        Ok(seen) => {
            let through = sent
                .iter()
                .filter(|(name, _)| !forwarded(&seen, name).is_empty());
            let through: Vec<&str> = through.map(|(name, _)| *name).collect();
            if !through.is_empty() {
                judgement.warn(format!(
                    "headers of one connection are passed on: {}",
                    through.join(", ")
                ));
            }
        }
        Err(reason) => judgement.fail(reason),
    }
}

/// Requests whose end two parsers could see in two places, and one with an enormous header.
async fn ambiguous(client: &Client, way: &str, judgement: &mut Judgement) {
    let both = "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX";
    let two = "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab";
    let long = format!(
        "X-Long: {}\r\nContent-Length: 0\r\n\r\n",
        "a".repeat(LONG_HEADER_BYTES)
    );
    for (what, rest, refusals) in [
        ("Content-Length with Transfer-Encoding", both, &[400][..]),
        ("two Content-Lengths", two, &[400]),
        ("a header of 20 KiB", long.as_str(), &[400, 431]),
    ] {
        match raw(client, rest).await {
            Raw::Status(status) if refusals.contains(&status.as_u16()) => {}
            // RFC 9112 §6.1 lets a proxy remove the length, if it closes after the answer.
            Raw::OnceAndClosed if what.contains("Transfer-Encoding") => {
                judgement.warn(format!(
                    "{way}{what}: answered by the encoding alone, then closed"
                ));
            }
            Raw::OnceAndClosed => judgement.fail(format!("{way}{what}: accepted")),
            Raw::Status(status) => judgement.fail(format!("{way}{what}: answered {status}")),
            Raw::Closed => judgement.note(format!("{way}{what}: closed without an answer")),
        }
    }
}

enum Raw {
    /// The status of the answer.
    Status(StatusCode),
    /// 200 once, and the end of the connection.
    OnceAndClosed,
    /// No answer.
    Closed,
}

/// Sends a POST to the mirror with these last lines, and looks what comes back.
async fn raw(client: &Client, rest: &str) -> Raw {
    let token = client.authorization();
    let token = token
        .as_ref()
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let host = client.target().authority();
    let text = format!("POST {ECHO} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n{rest}");
    let Ok((wire, _)) = client.wire().await else {
        return Raw::Closed;
    };
    let (reader, mut writer) = tokio::io::split(wire);
    // Whoever refuses early may close before everything is written.
    let _ = writer.write_all(text.as_bytes()).await;
    let mut answer = Vec::new();
    let mut reader = reader.take(RAW_BYTES_MAX);
    let ended = timeout(RAW_MAX, reader.read_to_end(&mut answer))
        .await
        .is_ok();
    let answers = count(&answer, b"HTTP/1.1 ");
    let status = answer
        .get(9..12)
        .and_then(|digits| StatusCode::from_bytes(digits).ok());
    match status {
        Some(StatusCode::OK) if ended && answers == 1 => Raw::OnceAndClosed,
        Some(status) => Raw::Status(status),
        None => Raw::Closed,
    }
}

fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len())
        .filter(|window| *window == part)
        .count()
}
