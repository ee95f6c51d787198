//! Prints values without their secrets. What is not understood is hidden, not shown.

use config::ValueKind;

use super::schema::{is_secret, shown_kind};

const HIDDEN: &str = "***";

/// Query parameters of database and Redis URLs that hold no secret; every other one is hidden.
const SHOWN_PARAMETERS: &[&str] = &[
    "application_name",
    "cache",
    "dbname",
    "host",
    "hostaddr",
    "immutable",
    "mode",
    "node",
    "port",
    "sentinelServiceName",
    "sentinelUsername",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// A URL without its password: `postgres://lab:***@db/lab`. A file or an empty text is shown as it is; a text that is
/// no URL is hidden whole.
pub fn redacted_url(url: &str) -> String {
    if url.is_empty() || url.starts_with("sqlite:") {
        return url.to_owned();
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return HIDDEN.to_owned();
    };
    let tail_at = rest.find(['?', '#']).unwrap_or(rest.len());
    let (head, tail) = rest.split_at(tail_at);
    // An @ behind ? or # belongs to a password that was not percent-encoded: nothing can be told apart then.
    let head = match (
        tail.contains('@') || tail.contains('#'),
        redacted_head(head),
    ) {
        (false, Some(head)) => head,
        _ => return format!("{scheme}://{HIDDEN}"),
    };
    format!("{scheme}://{head}{}", redacted_query(tail))
}

/// The value of `key` for an error text.
pub(super) fn shown(key: &str, kind: &ValueKind) -> String {
    match kind {
        ValueKind::String(text) if is_secret(key) => format!("{:?}", redacted_url(text)),
        other => shown_kind(other),
    }
}

/// The value of `key` for `config show`.
pub(super) fn json(key: &str, kind: &ValueKind) -> serde_json::Value {
    match kind {
        ValueKind::Boolean(value) => (*value).into(),
        ValueKind::I64(value) => (*value).into(),
        ValueKind::String(text) if is_secret(key) => redacted_url(text).into(),
        other => other.to_string().into(),
    }
}

/// `user:password@host/path` without the password. The last @ counts: a password may hold others.
fn redacted_head(head: &str) -> Option<String> {
    let Some((user, host)) = head.rsplit_once('@') else {
        return has_plain_ports(head).then(|| head.to_owned());
    };
    // A name without a password may be a token that somebody wrote in its place.
    let user = user.split_once(':').map(|(name, _)| name);
    has_plain_ports(host).then(|| match user {
        Some(name) => format!("{name}:{HIDDEN}@{host}"),
        None => format!("{HIDDEN}@{host}"),
    })
}

/// Whether what follows the host's colon is a port; else it is a password whose host was forgotten.
fn has_plain_ports(hosts: &str) -> bool {
    let authority = hosts.split('/').next().unwrap_or_default();
    authority.split(',').all(|host| {
        let after_v6 = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
        after_v6
            .split_once(':')
            .is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

fn redacted_query(tail: &str) -> String {
    let Some(query) = tail.strip_prefix('?') else {
        return String::new();
    };
    let parameter = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if SHOWN_PARAMETERS.contains(&name) => pair.to_owned(),
        Some((name, _)) => format!("{name}={HIDDEN}"),
        None => HIDDEN.to_owned(),
    };
    let pairs: Vec<_> = query.split('&').map(parameter).collect();
    format!("?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_is_hidden() {
        for (url, shown) in [
            ("", ""),
            ("sqlite:lab.sqlite", "sqlite:lab.sqlite"),
            ("postgres://db:5432/lab", "postgres://db:5432/lab"),
            (
                "postgres://u:pw@db/lab?sslmode=require",
                "postgres://u:***@db/lab?sslmode=require",
            ),
            ("redis://:pw@cache:6379/0", "redis://:***@cache:6379/0"),
            ("redis://[::1]:6379", "redis://[::1]:6379"),
        ] {
            assert_eq!(redacted_url(url), shown);
        }
    }

    #[test]
    fn no_form_of_a_secret_is_shown() {
        for url in [
            "canary",
            "redis://canary@cache",
            "redis://user:canary",
            "postgres://u:canary@db/lab",
            "postgres://u:x@canary@db/lab",
            "postgres://u:a/canary@db/lab",
            "postgres://u:a?canary@db/lab",
            "postgres://u:a#canary@db/lab",
            "postgres://db/lab?password=canary",
            "postgres://db/lab?p%61ssword=canary",
            "redis-sentinel://u:canary@a:1?node=b:2&sentinelPassword=canary",
        ] {
            assert!(!redacted_url(url).contains("canary"), "{url}");
        }
    }
}
