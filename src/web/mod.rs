//! The page, embedded: a few files without dependencies, served under a strict policy. It uses the same routes as every
//! other client.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};

use crate::kit::hex::hex;

/// Nothing from elsewhere, nothing inline, in nobody's frame. `blob:` and `data:` are for pictures that the page has
/// before they are stored.
const POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

/// A file of the page.
#[derive(Debug, Clone, Copy)]
struct Asset {
    media_type: &'static str,
    text: &'static str,
}

const INDEX: Asset = Asset {
    media_type: "text/html; charset=utf-8",
    text: include_str!("index.html"),
};
const SCRIPT: Asset = Asset {
    media_type: "text/javascript; charset=utf-8",
    text: include_str!("app.js"),
};
const CLIENT: Asset = Asset {
    media_type: SCRIPT.media_type,
    text: include_str!("client.js"),
};
const MEASUREMENTS: Asset = Asset {
    media_type: SCRIPT.media_type,
    text: include_str!("measurements.js"),
};
const STYLE: Asset = Asset {
    media_type: "text/css; charset=utf-8",
    text: include_str!("style.css"),
};
const ICON: Asset = Asset {
    media_type: "image/svg+xml",
    text: include_str!("icon.svg"),
};

/// The routes of the page: `/` and the files that it names.
pub fn routes() -> Router {
    Router::new()
        .route("/", asset(INDEX))
        .route("/app.js", asset(SCRIPT))
        .route("/client.js", asset(CLIENT))
        .route("/measurements.js", asset(MEASUREMENTS))
        .route("/style.css", asset(STYLE))
        .route("/icon.svg", asset(ICON))
}

fn asset(asset: Asset) -> axum::routing::MethodRouter {
    let tag = tag(asset.text);
    get(move |headers: HeaderMap| std::future::ready(answer(asset, &tag, &headers)))
}

/// A browser asks each time, and is told in a few bytes that it has the file already.
fn answer(asset: Asset, tag: &str, headers: &HeaderMap) -> Response {
    let kept = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|held| held == tag);
    let about = [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    if kept {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    let media_type = [(header::CONTENT_TYPE, asset.media_type)];
    (about, media_type, asset.text).into_response()
}

/// A strong validator: the first half of the text's SHA-256.
fn tag(text: &str) -> String {
    let digest = Sha256::digest(text);
    format!("\"{}\"", hex(&digest[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_only_files_that_are_there_and_nothing_inline() {
        for (by, file) in [
            (INDEX, "/app.js"),
            (INDEX, "/style.css"),
            (INDEX, "/icon.svg"),
            (SCRIPT, "/client.js"),
            (SCRIPT, "/measurements.js"),
        ] {
            assert!(by.text.contains(&format!("\"{file}\"")), "{file}");
        }
        for inline in [
            "<style",
            " style=",
            " onclick=",
            "javascript:",
            "http://",
            "https://",
        ] {
            assert!(!INDEX.text.contains(inline), "{inline}");
        }
    }

    #[test]
    fn a_held_file_is_not_sent_again() {
        let tag = tag(STYLE.text);
        let value = http::HeaderValue::from_str(&tag).unwrap();
        let held = HeaderMap::from_iter([(header::IF_NONE_MATCH, value)]);
        assert_eq!(answer(STYLE, &tag, &held).status(), 304);
        let sent = answer(STYLE, &tag, &HeaderMap::new());
        assert_eq!(sent.status(), 200);
        assert_eq!(sent.headers()["content-type"], "text/css; charset=utf-8");
    }
}
