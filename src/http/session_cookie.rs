//! Which cookie of a request holds the session's token. `__Host-sid` counts everywhere; a plain one only on the way to this very
//! machine, and where the settings allow it: elsewhere a neighbour could have planted it.

use http::{HeaderMap, header};

use super::origin;

/// The cookie over TLS.
pub const SECURE: &str = "__Host-sid";
/// The cookie over plain http.
pub const PLAIN: &str = "sid";

/// The session token that a request carries.
pub fn token(headers: &HeaderMap, allow_insecure: bool) -> Option<&str> {
    let plain_counts = allow_insecure || origin::to_loopback(headers);
    let plain = || {
        if plain_counts {
            value(headers, PLAIN)
        } else {
            None
        }
    };
    value(headers, SECURE).or_else(plain)
}

fn value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let texts = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let pairs = texts
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .filter(|(found, _)| *found == name)
        .map(|(_, value)| value)
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            let value = http::HeaderValue::from_static(value);
            (name.parse().unwrap(), value)
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_plain_cookie_counts_only_where_it_may_be_set() {
        let remote = headers(&[("host", "lab.example.org"), ("cookie", "a=b; sid=planted")]);
        assert_eq!(token(&remote, false), None);
        assert_eq!(token(&remote, true), Some("planted"));
        let both = headers(&[("host", "localhost"), ("cookie", "sid=one; __Host-sid=two")]);
        assert_eq!(token(&both, false), Some("two"));
    }
}
