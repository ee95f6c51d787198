//! Where a browser's request comes from: the defence of cookies against other sites (OWASP's Fetch Metadata with its
//! mandatory fallback). Bearer tokens need none, because no browser adds them by itself.

use http::{HeaderMap, Uri, header};

/// The site that a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// Our own page, or the address bar.
    Ours,
    /// Another one.
    Foreign,
    /// The client does not say: an old browser, or none.
    Unknown,
}

/// The site that sent a request with these headers; `public_url` is the address that people see behind a balancer.
pub fn site(headers: &HeaderMap, public_url: &str) -> Site {
    match text(headers, "sec-fetch-site") {
        Some("same-origin" | "none") => Site::Ours,
        Some(_) => Site::Foreign,
        None => by_origin(headers, public_url),
    }
}

/// Whether the page that sent the request was loaded over TLS; `None` where the client does not say.
pub fn over_tls(headers: &HeaderMap, public_url: &str) -> Option<bool> {
    let origin = text(headers, header::ORIGIN.as_str()).filter(|origin| *origin != "null");
    let address = origin
        .or(Some(public_url))
        .filter(|address| !address.is_empty())?;
    Some(address.starts_with("https://"))
}

/// Whether the request was sent to this very machine.
pub fn to_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = text(headers, header::HOST.as_str()) else {
        return false;
    };
    let Ok(uri) = host.parse::<Uri>() else {
        return false;
    };
    let name = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let address = name.parse::<std::net::IpAddr>();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|ip| ip.is_loopback())
}

fn by_origin(headers: &HeaderMap, public_url: &str) -> Site {
    let Some(origin) = text(headers, header::ORIGIN.as_str()) else {
        return Site::Unknown;
    };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let asked = text(headers, header::HOST.as_str());
    if origin == public_url || (authority.is_some() && authority == asked) {
        Site::Ours
    } else {
        Site::Foreign
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (name.parse().unwrap(), http::HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_our_own_page_is_ours() {
        let public = "https://lab.example.org";
        for (pairs, expected) in [
            (vec![("sec-fetch-site", "same-origin")], Site::Ours),
            (vec![("sec-fetch-site", "none")], Site::Ours),
            (
                vec![
                    ("sec-fetch-site", "cross-site"),
                    ("host", "a"),
                    ("origin", "http://a"),
                ],
                Site::Foreign,
            ),
            (vec![("sec-fetch-site", "same-site")], Site::Foreign),
            (
                vec![("host", "a:8080"), ("origin", "http://a:8080")],
                Site::Ours,
            ),
            (
                vec![("host", "inner"), ("origin", "https://lab.example.org")],
                Site::Ours,
            ),
            (
                vec![("host", "a:8080"), ("origin", "http://b")],
                Site::Foreign,
            ),
            (vec![("host", "a"), ("origin", "null")], Site::Foreign),
            (vec![("host", "a")], Site::Unknown),
        ] {
            assert_eq!(site(&headers(&pairs), public), expected, "{pairs:?}");
        }
    }

    #[test]
    fn loopback_has_several_names() {
        for host in ["localhost:8080", "127.0.0.1", "[::1]:8080", "lab.localhost"] {
            assert!(to_loopback(&headers(&[("host", host)])), "{host}");
        }
        for host in ["example.org", "192.168.0.7:8080", "localhost.example.org"] {
            assert!(!to_loopback(&headers(&[("host", host)])), "{host}");
        }
    }
}
