//! The upgrade from HTTP to WebSocket (RFC 6455 §4.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use sha1::{Digest, Sha1};

/// What every accepted key is joined with before it is hashed (RFC 6455 §1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a key once it is decoded.
const KEY_BYTES: usize = 16;
/// The version of the RFC.
pub const VERSION: &str = "13";

/// Why a request is no handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not ask for a WebSocket.
    #[error("this is for WebSockets: ask with GET, `Connection: Upgrade` and `Upgrade: websocket`")]
    NoUpgrade,
    /// It speaks another version.
    #[error("only version 13 of the WebSocket protocol is spoken")]
    Version,
    /// Its key is none.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    Key,
}

/// The headers of the answer that accepts a request.
///
/// # Errors
/// [`Refusal`].
pub fn accept(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
) -> Result<[(HeaderName, HeaderValue); 3], Refusal> {
    let asks = method == Method::GET
        && version == Version::HTTP_11
        && lists(headers, &header::CONNECTION, "upgrade")
        && lists(headers, &header::UPGRADE, "websocket");
    if !asks {
        return Err(Refusal::NoUpgrade);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION) != Some(&HeaderValue::from_static(VERSION)) {
        return Err(Refusal::Version);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or(Refusal::Key)?;
    let decoded = STANDARD.decode(key.as_bytes()).map_err(|_| Refusal::Key)?;
    if decoded.len() != KEY_BYTES {
        return Err(Refusal::Key);
    }
    let digest = Sha1::new()
        .chain_update(key.as_bytes())
        .chain_update(KEY_SUFFIX)
        .finalize();
    let accepted = HeaderValue::from_str(&STANDARD.encode(digest)).map_err(|_| Refusal::Key)?;
    Ok([
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accepted),
    ])
}

/// The first of the client's subprotocols that `known` names.
pub fn subprotocol(headers: &HeaderMap, known: &[&'static str]) -> Option<&'static str> {
    let offered = words(headers, &header::SEC_WEBSOCKET_PROTOCOL);
    offered
        .filter_map(|word| known.iter().copied().find(|name| *name == word))
        .next()
}

fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    words(headers, name).any(|word| word.eq_ignore_ascii_case(wanted))
}

/// The members of a header's list, over all its lines.
fn words<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).into_iter();
    let texts = lines.filter_map(|line| line.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(changed: &[(&'static str, &'static str)]) -> HeaderMap {
        let usual = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in usual.iter().chain(changed) {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_sample_of_the_rfc_is_accepted_with_its_answer() {
        let answer = accept(&Method::GET, Version::HTTP_11, &request(&[])).unwrap();
        let [.., (_, accepted)] = answer;
        assert_eq!(accepted, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_no_handshake_is_refused_with_its_reason() {
        let get = |changed: &[(&'static str, &'static str)]| {
            accept(&Method::GET, Version::HTTP_11, &request(changed)).unwrap_err()
        };
        assert_eq!(get(&[("connection", "keep-alive")]), Refusal::NoUpgrade);
        assert_eq!(get(&[("upgrade", "h2c")]), Refusal::NoUpgrade);
        assert_eq!(get(&[("sec-websocket-version", "8")]), Refusal::Version);
        assert_eq!(get(&[("sec-websocket-key", "c2hvcnQ=")]), Refusal::Key);
        assert_eq!(get(&[("sec-websocket-key", "?")]), Refusal::Key);
        let posted = accept(&Method::POST, Version::HTTP_11, &request(&[]));
        assert_eq!(posted.unwrap_err(), Refusal::NoUpgrade);
    }

    #[test]
    fn the_clients_first_known_subprotocol_is_taken() {
        let known = ["b", "a"];
        let offers = |text| request(&[("sec-websocket-protocol", text)]);
        assert_eq!(subprotocol(&offers("x, a, b"), &known), Some("a"));
        assert_eq!(subprotocol(&offers("x"), &known), None);
        assert_eq!(subprotocol(&request(&[]), &known), None);
    }
}
