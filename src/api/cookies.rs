//! The session cookie. `__Host-sid` travels over TLS and to this very machine. Browsers differ in whether they take a
//! `Secure` cookie over plain http to loopback (Safari does not), so that there a plain one goes beside it; over plain
//! http to other hosts there is only the plain one, where `http.allow_insecure_cookies` says so.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::http::session_cookie::{self, PLAIN, SECURE};
use crate::http::{Problem, origin};

use super::Rules;
use super::conventions::Answer;

/// The session token that a request carries.
pub(super) fn token<'h>(headers: &'h HeaderMap, rules: &Rules) -> Option<&'h str> {
    session_cookie::token(headers, rules.allow_insecure_cookies)
}

/// The cookies that carry a new session to whoever sent this request.
///
/// # Errors
/// 403 over plain http to another machine, unless the settings allow it.
pub(super) fn set(headers: &HeaderMap, rules: &Rules, token: &str) -> Answer<HeaderMap> {
    let seconds = rules.session_lifetime.as_secs();
    Ok(cookies(kinds(headers, rules)?, token, seconds))
}

/// The cookies that make a browser forget its session.
pub(super) fn clear() -> HeaderMap {
    cookies(&[SECURE, PLAIN], "", 0)
}

/// Which cookies may carry a session to whoever sent this request.
///
/// # Errors
/// As [`set`].
pub(super) fn kinds(headers: &HeaderMap, rules: &Rules) -> Answer<&'static [&'static str]> {
    let over_tls = origin::over_tls(headers, &rules.public_url);
    let plain_is_safe = origin::to_loopback(headers);
    match over_tls {
        Some(true) => Ok(&[SECURE]),
        _ if plain_is_safe => Ok(&[SECURE, PLAIN]),
        Some(false) if rules.allow_insecure_cookies => Ok(&[PLAIN]),
        None if rules.allow_insecure_cookies => Ok(&[SECURE, PLAIN]),
        None => Ok(&[SECURE]),
        Some(false) => Err(over_plain_http()),
    }
}

fn over_plain_http() -> Problem {
    let title = "Signing in needs https";
    Problem::new(StatusCode::FORBIDDEN, "insecure-transport", title).detail(
        "this page came over plain http: use https, or ask whoever runs this server to set http.allow_insecure_cookies",
    )
}

fn cookies(kinds: &[&str], token: &str, seconds: u64) -> HeaderMap {
    let cookie = |name: &&str| -> Option<(HeaderName, HeaderValue)> {
        let secure = if *name == SECURE { "; Secure" } else { "" };
        let text =
            format!("{name}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        // A token is base64url: always a header.
        HeaderValue::from_str(&text)
            .ok()
            .map(|value| (header::SET_COOKIE, value))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in kinds.iter().filter_map(cookie) {
        headers.append(name, value);
    }
    headers
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rules(allow_insecure_cookies: bool) -> Rules {
        Rules {
            allow_insecure_cookies,
            public_url: "".into(),
            session_lifetime: Duration::from_secs(60),
            queue_enabled: true,
            wait_max: Duration::ZERO,
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (name.parse().unwrap(), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_cookie_fits_the_way_it_travels() {
        let tls = headers(&[
            ("host", "lab.example.org"),
            ("origin", "https://lab.example.org"),
        ]);
        let plain = headers(&[
            ("host", "lab.example.org"),
            ("origin", "http://lab.example.org"),
        ]);
        let loopback = headers(&[
            ("host", "127.0.0.1:8080"),
            ("origin", "http://127.0.0.1:8080"),
        ]);
        assert_eq!(kinds(&tls, &rules(true)).unwrap(), [SECURE]);
        assert_eq!(kinds(&plain, &rules(true)).unwrap(), [PLAIN]);
        assert_eq!(kinds(&plain, &rules(false)).unwrap_err().status(), 403);
        assert_eq!(kinds(&loopback, &rules(false)).unwrap(), [SECURE, PLAIN]);
        let set = set(&tls, &rules(false), "t").unwrap();
        let expected = "__Host-sid=t; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure";
        assert_eq!(set[header::SET_COOKIE], expected);
    }
}
