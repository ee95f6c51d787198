//! Uploads: they reach an instance while they are sent, one that is too large is refused before it is sent, one that was cut
//! off can be sent again.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use crate::kit::hex::hex;
use crate::lb_check::client::{Client, Outgoing};
use crate::lb_check::context::Context;
use crate::lb_check::judgement::Judgement;

const PATH: &str = "/lb-check/upload";
const PIECE_BYTES: u64 = 64 << 10;
/// The first byte must be there after this share of the upload.
const FIRST_BYTE_SHARE_MAX: f64 = 0.2;
/// Larger than anything that is accepted.
const TOO_LARGE_BYTES: u64 = 1 << 40;
/// Longest wait for the refusal of what is too large.
const REFUSAL_MAX: Duration = Duration::from_secs(5);
/// Size of the upload that is cut off half-way and sent again.
const CUT_BYTES: u64 = 1 << 20;
/// Longest time of an upload beyond the one over which it is stretched: 2 GiB in this time are 7 MiB/s.
const UPLOAD_MAX: Duration = Duration::from_secs(300);

pub(super) async fn run(context: &Context<'_>) -> Judgement {
    if !context.client.has_token() {
        return Judgement::skip("needs a token");
    }
    let mut judgement = Judgement::new();
    let (bytes, time) = (context.plan.upload_bytes, context.plan.upload_time);
    let client = context.client.with_limit(time + UPLOAD_MAX);
    match send(&client, bytes, time).await {
        Ok(sent) => judge(bytes, &sent, &mut judgement),
        Err(reason) => judgement.fail(reason),
    }
    too_large(&client, &mut judgement).await;
    cut_off(&client, &mut judgement).await;
    judgement
}

/// What was sent, and what the instance says of it.
struct Sent {
    took: Duration,
    sha256: String,
    received: serde_json::Value,
}

/// Uploads so many bytes, stretched over some time.
async fn send(client: &Client, bytes: u64, time: Duration) -> Result<Sent, String> {
    let start = Instant::now();
    let (request, sha256) = upload(client, bytes, time);
    let answer = client
        .once(request)
        .await
        .map_err(|error| error.to_string())?;
    if answer.status != StatusCode::OK {
        return Err(format!("the upload was answered {}", answer.status));
    }
    Ok(Sent {
        took: start.elapsed(),
        sha256,
        received: answer.json(),
    })
}

/// The request, and the hash of its body. The pieces are alike, so that nothing large is kept.
fn upload(client: &Client, bytes: u64, time: Duration) -> (Request<Outgoing>, String) {
    let piece = Bytes::from(vec![b'u'; PIECE_BYTES as usize]);
    let pieces = bytes.div_ceil(PIECE_BYTES).max(1);
    let length = move |number: u64| (bytes - number * PIECE_BYTES).min(PIECE_BYTES) as usize;
    let mut hash = Sha256::new();
    for number in 0..pieces {
        hash.update(&piece[..length(number)]);
    }
    let start = Instant::now();
    let body = stream::unfold(0, move |number| {
        let piece = piece.clone();
        async move {
            if number == pieces {
                return None;
            }
            sleep_until(start + time.mul_f64(number as f64 / pieces as f64)).await;
            let frame = Frame::data(piece.slice(..length(number)));
            Some((Ok::<_, Infallible>(frame), number + 1))
        }
    });
    let mut request = client.with_token(Method::PUT, PATH, Bytes::new());
    request
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    (
        request.map(|_| StreamBody::new(body).boxed_unsync()),
        hex(hash.finalize()),
    )
}

fn judge(bytes: u64, sent: &Sent, judgement: &mut Judgement) {
    let received = &sent.received;
    let whole = received["bytes"] == bytes && received["sha256"] == sent.sha256.as_str();
    judgement.expect(
        whole,
        format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20)),
    );
    let receiving = received["receive_ms"].as_f64().unwrap_or(0.0) / 1e3;
    let total = sent.took.as_secs_f64();
    // Both clocks only measure durations, so that they need not agree on the time of day.
    let share = ((total - receiving) / total).clamp(0.0, 1.0);
    judgement.detail(
        "upload",
        json!({ "seconds": total, "receiving_s": receiving, "first_byte_share": share }),
    );
    let words = format!("first byte after {:.0} % of {total:.1} s", 100.0 * share);
    judgement.expect(share < FIRST_BYTE_SHARE_MAX, words);
}

/// Only the head is sent: whoever wants the body first does not answer.
async fn too_large(client: &Client, judgement: &mut Judgement) {
    match timeout(REFUSAL_MAX, head_only(client, TOO_LARGE_BYTES, 0)).await {
        Ok(Ok(413)) => judgement.note("1 TiB gets 413 at once"),
        Ok(Ok(status)) => judgement.fail(format!("1 TiB gets {status}, not 413")),
        Ok(Err(reason)) => judgement.fail(format!("1 TiB: {reason}")),
        Err(_) => judgement.fail("1 TiB is not refused before it is sent"),
    }
}

/// Sends the head of an upload and a part of its body, and reads the status of the answer.
async fn head_only(client: &Client, bytes: u64, part: usize) -> Result<u16, String> {
    let token = client.authorization();
    let token = token
        .as_ref()
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let host = client.target().authority();
    let head = format!(
        "PUT {PATH} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\nContent-Length: {bytes}\r\n\r\n"
    );
    let (mut wire, _) = client.wire().await.map_err(|error| error.to_string())?;
    let written = async {
        wire.write_all(head.as_bytes()).await?;
        wire.write_all(&vec![b'u'; part]).await?;
        wire.flush().await
    };
    written.await.map_err(|error| error.to_string())?;
    if part > 0 {
        // Cut off: nobody waits for an answer.
        return Ok(0);
    }
    let mut answer = [0; 12];
    let read = wire.read_exact(&mut answer).await;
    read.map_err(|error| error.to_string())?;
    let status = std::str::from_utf8(&answer[9..])
        .ok()
        .and_then(|digits| digits.parse().ok());
    status.ok_or_else(|| "an answer that is no HTTP".to_owned())
}

async fn cut_off(client: &Client, judgement: &mut Judgement) {
    let half = usize::try_from(CUT_BYTES / 2).unwrap_or_default();
    if let Err(reason) = head_only(client, CUT_BYTES, half).await {
        return judgement.fail(reason);
    }
    match send(client, CUT_BYTES, Duration::ZERO).await {
        Ok(sent) if sent.received["sha256"] == sent.sha256.as_str() => {
            judgement.note("sent again after a cut");
        }
        Ok(_) => judgement.fail("after a cut other bytes arrive"),
        Err(reason) => judgement.fail(format!("after a cut: {reason}")),
    }
}
