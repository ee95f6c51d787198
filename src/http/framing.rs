//! Strict framing of HTTP/1.1 requests. A request whose end two parsers could see in two places is how requests are
//! smuggled past a balancer, so it is refused with 400 and the connection is closed.
//!
//! hyper (1.12) accepts a request that has both `Content-Length` and `Transfer-Encoding` and removes the former from
//! the header map, so that no middleware can see it. [`Scanner`] therefore watches the raw bytes of the connection.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Version, header};

use super::problem::Problem;

/// Why the frame of a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two statements about where the body ends (RFC 9112 §6.1).
    #[error("the request has both Content-Length and Transfer-Encoding")]
    LengthAndEncoding,
    /// RFC 9112 §6.3 allows merging equal values; a balancer may not have merged them.
    #[error("the request has more than one Content-Length")]
    RepeatedLength,
    /// RFC 9112 §3.2.
    #[error("an HTTP/1.1 request needs a Host header")]
    NoHost,
    /// RFC 9112 §3.2.
    #[error("the request has more than one Host header")]
    RepeatedHost,
    /// The scanner could not follow the bytes before this request.
    #[error("the request does not begin where the one before it ends")]
    OutOfStep,
}

/// Middleware that answers 400 and closes where the frame is not strict. Inside the layer that gives request ids,
/// outside of everything that reads the request.
pub async fn refuse_violations(request: Request, next: Next) -> Response {
    let seen = request.extensions().get::<Violation>().copied();
    match seen.or_else(|| host_violation(&request)) {
        None => next.run(request).await,
        Some(violation) => refusal(violation),
    }
}

fn host_violation(request: &Request) -> Option<Violation> {
    if request.version() != Version::HTTP_11 {
        return None;
    }
    match request.headers().get_all(header::HOST).iter().count() {
        0 => Some(Violation::NoHost),
        1 => None,
        _ => Some(Violation::RepeatedHost),
    }
}

fn refusal(violation: Violation) -> Response {
    let mut response =
        Problem::bad_request("malformed-framing", violation.to_string()).into_response();
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// Longest piece of a line that is kept: the longest header name of interest, and the first line of HTTP/2's preface.
const KEPT_BYTES: usize = 20;

/// First line of the HTTP/2 connection preface (RFC 9113 §3.4).
const HTTP2_PREFACE_LINE: &[u8] = b"pri * http/2.0";

/// Follows the bytes that a client sends from head to body to next head, and judges each head.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    place: Place,
    line: Line,
    head: Head,
    heads: u64,
}

/// Where in the stream the next byte lies.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Head,
    /// In a body with this many bytes left.
    Sized(u64),
    ChunkSize,
    ChunkData(u64),
    /// The line end after a chunk's data.
    ChunkEnd,
    Trailers,
    /// Not HTTP/1 any more: HTTP/2, or a stream that could not be followed.
    Opaque,
}

#[derive(Debug, Default)]
struct Line {
    /// Bytes so far, line ends apart.
    bytes: u64,
    /// The lower-case beginning, up to the colon.
    kept: Vec<u8>,
    colon: bool,
    number: u64,
}

#[derive(Debug, Default)]
struct Head {
    lines: u32,
    lengths: u32,
    length: u64,
    encoded: bool,
}

impl Scanner {
    /// Looks at the next `bytes`; calls `judged` at the end of each head.
    pub(super) fn scan(&mut self, mut bytes: &[u8], mut judged: impl FnMut(Option<Violation>)) {
        while let [first, rest @ ..] = bytes {
            match self.place {
                Place::Opaque => return,
                Place::Sized(left) | Place::ChunkData(left) => {
                    let skipped = left.min(bytes.len() as u64);
                    self.leave_body_bytes(left - skipped);
                    bytes = &bytes[usize::try_from(skipped).unwrap_or(bytes.len())..];
                }
                Place::Head | Place::ChunkSize | Place::ChunkEnd | Place::Trailers => {
                    if let Some(verdict) = self.line_byte(*first) {
                        judged(verdict);
                    }
                    bytes = rest;
                }
            }
        }
    }

    /// Whether a head has begun and not ended.
    pub(super) fn in_head(&self) -> bool {
        self.place == Place::Head && (self.head.lines > 0 || self.line.bytes > 0)
    }

    fn leave_body_bytes(&mut self, left: u64) {
        self.place = match self.place {
            Place::Sized(_) if left == 0 => Place::Head,
            Place::Sized(_) => Place::Sized(left),
            _ if left == 0 => Place::ChunkEnd,
            _ => Place::ChunkData(left),
        };
    }

    fn line_byte(&mut self, byte: u8) -> Option<Option<Violation>> {
        if byte != b'\n' {
            let radix = if self.place == Place::Head { 10 } else { 16 };
            self.line.push(byte, radix, self.place == Place::Head);
            return None;
        }
        let line = std::mem::take(&mut self.line);
        match self.place {
            Place::Head => return self.head_line(&line),
            Place::ChunkSize => self.chunk_begins(&line),
            Place::ChunkEnd => self.place = Place::ChunkSize,
            _ if line.bytes == 0 => self.place = Place::Head,
            _ => {}
        }
        None
    }

    fn head_line(&mut self, line: &Line) -> Option<Option<Violation>> {
        if line.bytes == 0 {
            // Empty lines before a request line are skipped (RFC 9112 §2.2).
            return (self.head.lines > 0).then(|| self.head_ends());
        }
        self.head.lines += 1;
        if self.heads == 0 && self.head.lines == 1 && line.kept == HTTP2_PREFACE_LINE {
            self.place = Place::Opaque;
        } else if self.head.lines > 1 && line.kept == b"content-length" {
            self.head.lengths += 1;
            self.head.length = line.number;
        } else if self.head.lines > 1 && line.kept == b"transfer-encoding" {
            self.head.encoded = true;
        }
        None
    }

    fn head_ends(&mut self) -> Option<Violation> {
        let head = std::mem::take(&mut self.head);
        self.heads += 1;
        self.place = match head {
            Head { encoded: true, .. } => Place::ChunkSize,
            Head { length: 0, .. } => Place::Head,
            Head { length, .. } => Place::Sized(length),
        };
        match head {
            Head {
                encoded: true,
                lengths: 1..,
                ..
            } => Some(Violation::LengthAndEncoding),
            Head { lengths: 2.., .. } => Some(Violation::RepeatedLength),
            _ => None,
        }
    }

    fn chunk_begins(&mut self, line: &Line) {
        self.place = match line.number {
            // hyper refuses a size that does not fit; what follows is not followed.
            u64::MAX => Place::Opaque,
            0 => Place::Trailers,
            size => Place::ChunkData(size),
        };
    }
}

impl Line {
    /// `number` reads the digits after the colon in a head, those at the beginning of a chunk-size line.
    fn push(&mut self, byte: u8, radix: u32, in_head: bool) {
        if byte == b'\r' {
            return;
        }
        self.bytes += 1;
        if byte == b':' || byte == b';' {
            self.colon = true;
        } else if !self.colon && self.kept.len() < KEPT_BYTES {
            self.kept.push(byte.to_ascii_lowercase());
        }
        if self.colon == in_head
            && let Some(digit) = char::from(byte).to_digit(radix)
        {
            let radix = u64::from(radix);
            self.number = self
                .number
                .saturating_mul(radix)
                .saturating_add(u64::from(digit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(bytes: &[u8], step: usize) -> Vec<Option<Violation>> {
        let (mut scanner, mut seen) = (Scanner::default(), Vec::new());
        for piece in bytes.chunks(step) {
            scanner.scan(piece, |verdict| seen.push(verdict));
        }
        seen
    }

    #[test]
    fn follows_pipelined_requests_through_sized_and_chunked_bodies_in_any_pieces() {
        let stream = b"\r\nPOST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n\r\n\r\nxGET /b HTTP/1.1\r\nhost: h\r\n\r\n\
            PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA;x=1\r\n0123456\n\r\nz\r\n0\r\nTrailer: 5\r\n\r\n\
            GET /d HTTP/1.1\r\n\r\n";
        for step in [1, 2, 3, 7, stream.len()] {
            assert_eq!(verdicts(stream, step), [None; 4], "in pieces of {step}");
        }
    }

    #[test]
    fn both_framings_are_seen_in_either_order() {
        for stream in [
            &b"POST / HTTP/1.1\r\nContent-Length: 4\r\ntransfer-encoding: chunked\r\n\r\n"[..],
            &b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX: y\r\nContent-Length: 0\r\n\r\n"
                [..],
        ] {
            assert_eq!(verdicts(stream, 1), [Some(Violation::LengthAndEncoding)]);
        }
    }

    #[test]
    fn a_repeated_length_is_seen_even_when_equal() {
        let stream = b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n";
        assert_eq!(verdicts(stream, 4), [Some(Violation::RepeatedLength)]);
    }

    #[test]
    fn http_2_is_not_scanned() {
        let stream = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        assert_eq!(verdicts(stream, 5), []);
    }

    #[test]
    fn tells_whether_a_head_is_half_received() {
        let mut scanner = Scanner::default();
        for (bytes, in_head) in [
            (&b"\r\n"[..], false),
            (b"G", true),
            (b"ET / HTTP/1.1\r\n", true),
            (b"Host: h\r\n", true),
            (b"\r\n", false),
        ] {
            scanner.scan(bytes, |_| {});
            assert_eq!(scanner.in_head(), in_head, "after {bytes:?}");
        }
    }
}
