//! Who asks, seen through the proxies in between: `X-Forwarded-*` counts only where a trusted proxy wrote it.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName};

use crate::kit::networks::Networks;

/// The addresses through which a request came, each proxy's addition to the right of what it was told.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme by which the client asked the proxy.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Whoever sent a request; found in the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The right-most address that is no trusted proxy's; without proxies that of the connection.
    pub address: IpAddr,
    /// `https` or `http`, as a trusted proxy says; `http` without one.
    pub scheme: &'static str,
    /// The other end of the connection.
    pub peer: SocketAddr,
}

impl Client {
    /// The client of a request that `peer` sent with `headers`.
    pub fn of(peer: SocketAddr, headers: &HeaderMap, trusted: &Networks) -> Self {
        let nearest = peer.ip().to_canonical();
        let (address, scheme) = if trusted.contains(nearest) {
            (right_most(nearest, headers, trusted), scheme(headers))
        } else {
            (nearest, "http")
        };
        Self {
            address,
            scheme,
            peer,
        }
    }
}

/// Puts the [`Client`] into each request that came over a connection.
pub(super) async fn identify(trusted: &Networks, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if let Some(ConnectInfo(peer)) = peer.copied() {
        let client = Client::of(peer, request.headers(), trusted);
        request.extensions_mut().insert(client);
    }
    next.run(request).await
}

/// Walks from the nearest proxy outwards for as long as the addresses are those of trusted proxies. What is no address
/// ends the walk: whoever wrote it is the last that is known.
fn right_most(nearest: IpAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let mut known = nearest;
    for line in lines {
        for part in line.to_str().unwrap_or_default().rsplit(',') {
            let Some(address) = address(part.trim()) else {
                return known;
            };
            known = address;
            if !trusted.contains(known) {
                return known;
            }
        }
    }
    known
}

/// An address, with or without a port and brackets.
fn address(text: &str) -> Option<IpAddr> {
    let plain = || text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    plain().or_else(with_port).map(|ip| ip.to_canonical())
}

/// What the nearest proxy says last.
fn scheme(headers: &HeaderMap) -> &'static str {
    let said = headers.get_all(X_FORWARDED_PROTO).iter().next_back();
    let last = said
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.rsplit(',').next());
    match last {
        Some(scheme) if scheme.trim().eq_ignore_ascii_case("https") => "https",
        _ => "http",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn client(peer: &str, forwarded: &[&str], trusted: &str) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 7);
        let client = Client::of(peer, &headers, &trusted.parse().unwrap());
        client.address.to_string()
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        assert_eq!(client("192.0.2.1", &["198.51.100.7"], ""), "192.0.2.1");
        let trusted = "10.0.0.0/8";
        assert_eq!(client("192.0.2.1", &["198.51.100.7"], trusted), "192.0.2.1");
    }

    #[test]
    fn the_right_most_address_that_is_not_trusted_counts() {
        let trusted = "10.0.0.0/8, 127.0.0.1";
        let spoofed = "1.1.1.1, 198.51.100.7, 10.0.0.9";
        assert_eq!(client("10.0.0.1", &[spoofed], trusted), "198.51.100.7");
        let lines = ["1.1.1.1", "198.51.100.7:4711", "10.0.0.9"];
        assert_eq!(client("127.0.0.1", &lines, trusted), "198.51.100.7");
        assert_eq!(
            client("10.0.0.1", &["[2001:db8::1]"], trusted),
            "2001:db8::1"
        );
        assert_eq!(client("10.0.0.1", &["10.0.0.2"], trusted), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &[], trusted), "10.0.0.1");
        assert_eq!(client("::ffff:10.0.0.1", &["1.1.1.1"], trusted), "1.1.1.1");
    }

    #[test]
    fn what_is_no_address_ends_the_walk() {
        let trusted = "10.0.0.0/8";
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1, unknown"], trusted),
            "10.0.0.1"
        );
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1, x, 10.0.0.2"], trusted),
            "10.0.0.2"
        );
    }

    #[test]
    fn the_scheme_is_the_nearest_proxys_word() {
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http, HTTPS"));
        let of = |peer: &str, trusted: &str| {
            Client::of(peer.parse().unwrap(), &headers, &trusted.parse().unwrap()).scheme
        };
        assert_eq!(of("10.0.0.1:9", "10.0.0.0/8"), "https");
        assert_eq!(of("10.0.0.1:9", ""), "http");
    }
}
