//! Checks the merged settings as a whole: each value by itself, then those that must go together.

use config::ValueKind;
use tracing_subscriber::EnvFilter;

use super::error::Error;
use super::layers::Merged;
use super::limits::{CHOICES, RANGES};
use super::schema::SECRETS;
use crate::kit::networks::Networks;

/// The schemes of a database, a Redis and a web address.
const DATABASE_SCHEMES: &[&str] = &["sqlite:", "postgres://", "postgresql://"];
const POSTGRES_SCHEMES: &[&str] = &["postgres://", "postgresql://"];
const REDIS_SCHEMES: &[&str] = &[
    "redis://",
    "rediss://",
    "redis-sentinel://",
    "rediss-sentinel://",
    "redis-cluster://",
    "rediss-cluster://",
];
const WEB_SCHEMES: &[&str] = &["http://", "https://"];

/// Kafka's limit for a topic's name is 249; ours are shorter than 50.
const PREFIX_CHARS_MAX: usize = 199;
/// An instance id stands in headers, log lines and keys.
const ID_CHARS_MAX: usize = 128;

/// Everything that is wrong, in the order of the sections.
pub(super) fn problems(merged: &Merged) -> Vec<Error> {
    let mut problems = Vec::new();
    ranges(merged, &mut problems);
    choices(merged, &mut problems);
    texts(merged, &mut problems);
    urls(merged, &mut problems);
    groups(merged, &mut problems);
    pairs(merged, &mut problems);
    remote_segmenter(merged, &mut problems);
    problems
}

fn ranges(merged: &Merged, problems: &mut Vec<Error>) {
    for (key, least, most) in RANGES {
        if !(*least..=*most).contains(&merged.number(key)) {
            problems.push(merged.refuse(key, format!("{least} to {most}")));
        }
    }
}

fn choices(merged: &Merged, problems: &mut Vec<Error>) {
    for (key, words) in CHOICES {
        if !words.contains(&merged.text(key)) {
            problems.push(merged.refuse(key, words.join(" or ")));
        }
    }
}

fn texts(merged: &Merged, problems: &mut Vec<Error>) {
    // A line break in any value is a mistake in a file, and would split log lines and headers.
    for (key, value) in &merged.values {
        if let ValueKind::String(text) = &value.kind
            && text.contains(char::is_control)
        {
            problems.push(merged.refuse(key, "no control characters"));
        }
    }
    let mut expect = |key: &str, good: bool, expected: &str| {
        if !good {
            problems.push(merged.refuse(key, expected));
        }
    };
    let id = merged.text("instance.id");
    expect(
        "instance.id",
        id.len() <= ID_CHARS_MAX && plain(id, b"._:-"),
        "at most 128 letters, digits and . _ : -",
    );
    expect(
        "log.filter",
        EnvFilter::try_new(merged.text("log.filter")).is_ok(),
        "a filter such as info,spheroctl::worker=debug",
    );
    for key in ["http.trusted_proxies", "webhooks.allowed_networks"] {
        let good = merged.text(key).parse::<Networks>().is_ok();
        expect(
            key,
            good,
            "addresses and ranges such as 10.0.0.0/8, 127.0.0.1",
        );
    }
    for key in ["http.host", "ops.host", "realtime.host"] {
        let host = merged.text(key);
        let good = !host.is_empty() && plain(host, b".:-_");
        expect(key, good, "an address or host name without brackets");
    }
    for key in ["kafka.topic_prefix", "kafka.group_prefix"] {
        let prefix = merged.text(key);
        let good = prefix.len() <= PREFIX_CHARS_MAX && plain(prefix, b"._-");
        expect(key, good, "at most 199 letters, digits and . _ -");
    }
    // Braces would move the queue's keys to other slots of a Redis Cluster than their hash tag says.
    let prefix = merged.text("redis.prefix");
    expect(
        "redis.prefix",
        prefix.len() <= PREFIX_CHARS_MAX && plain(prefix, b"._:-/"),
        "at most 199 letters, digits and . _ : - /",
    );
    expect(
        "files.dir",
        !merged.text("files.dir").is_empty(),
        "a directory",
    );
    let servers = merged.text("kafka.bootstrap_servers");
    expect(
        "kafka.bootstrap_servers",
        servers.is_empty() || servers.split(',').all(is_host_and_port),
        "host:port,host:port",
    );
}

fn urls(merged: &Merged, problems: &mut Vec<Error>) {
    let schemes = |key: &str| match key {
        "database.url" => (DATABASE_SCHEMES, false),
        "redis.url" => (REDIS_SCHEMES, false),
        "http.public_url" | "ml.url" => (WEB_SCHEMES, true),
        _ => (POSTGRES_SCHEMES, true),
    };
    let addresses = SECRETS.iter().filter(|key| **key != "ml.token");
    for key in addresses.chain(&["http.public_url"]) {
        let (accepted, may_be_empty) = schemes(key);
        let url = merged.text(key);
        let good = accepted
            .iter()
            .any(|scheme| url.starts_with(scheme) && url.len() > scheme.len());
        if !(good || may_be_empty && url.is_empty()) {
            let forms = accepted.join("… or ");
            problems.push(merged.refuse(key, format!("a URL of the form {forms}…")));
        }
    }
    let sqlite = merged.text("database.url").starts_with("sqlite:");
    for key in ["database.direct_url", "database.replica_url"] {
        if sqlite && !merged.text(key).is_empty() {
            problems.push(merged.refuse(key, "nothing, because database.url is SQLite"));
        }
    }
}

/// Consumer groups: what only brokers have, and what the newer protocol leaves to them.
fn groups(merged: &Merged, problems: &mut Vec<Error>) {
    let mut expect = |key: &str, good: bool, expected: &str| {
        if !good {
            problems.push(merged.refuse(key, expected));
        }
    };
    let id = merged.text("kafka.group_instance_id");
    let good = id.len() <= ID_CHARS_MAX && plain(id, b"._-") && !matches!(id, "." | "..");
    expect(
        "kafka.group_instance_id",
        good,
        "at most 128 letters, digits and . _ -, and more than dots",
    );
    let embedded = merged.text("kafka.bootstrap_servers").is_empty();
    let newer = merged.text("kafka.group_protocol") == "consumer";
    expect(
        "kafka.bootstrap_servers",
        !embedded || !newer && id.is_empty(),
        "brokers, because kafka.group_protocol is consumer or kafka.group_instance_id is set: the embedded log knows \
         neither",
    );
    // Whoever sets them believes that they count: his takeover would take 45 s all the same.
    for key in ["kafka.session_timeout_ms", "kafka.heartbeat_interval_ms"] {
        expect(
            key,
            !newer || embedded || merged.is_default(key),
            "no value, because kafka.group_protocol is consumer: the brokers' \
             group.consumer.session.timeout.ms and group.consumer.heartbeat.interval.ms count",
        );
    }
}

/// Pairs of which the first must be at least `times` the second.
const AT_LEAST: &[(&str, i64, &str)] = &[
    // One renewal may get lost without the lease.
    ("queue.lease_ms", 2, "queue.renew_interval_ms"),
    ("queue.row_lease_ms", 1, "queue.lease_ms"),
    ("queue.retry_cap_ms", 1, "queue.retry_base_ms"),
    ("auth.session_absolute_s", 1, "auth.session_idle_s"),
    // Kafka's own advice: a third of the session at most.
    ("kafka.session_timeout_ms", 3, "kafka.heartbeat_interval_ms"),
    ("kafka.delivery_timeout_ms", 1, "kafka.linger_ms"),
    ("ml.breaker_window_calls", 1, "ml.breaker_min_calls"),
];

fn pairs(merged: &Merged, problems: &mut Vec<Error>) {
    for (key, times, other) in AT_LEAST {
        let least = merged.number(other).saturating_mul(*times);
        if merged.number(key) < least {
            let factor = if *times == 1 {
                String::new()
            } else {
                format!("{times} × ")
            };
            let expected = format!("at least {factor}{other}, that is {least}");
            problems.push(merged.refuse(key, expected));
        }
    }
}

fn remote_segmenter(merged: &Merged, problems: &mut Vec<Error>) {
    let mut expect = |key: &str, good: bool, expected: &str| {
        if !good {
            problems.push(merged.refuse(key, expected));
        }
    };
    let segmenter = merged.text("ml.segmenter");
    let named = segmenter == "builtin" || !merged.text("ml.url").is_empty();
    expect(
        "ml.url",
        named,
        "the address of the service that ml.segmenter needs",
    );
    let model = merged.text("ml.model");
    let good = plain(model, b"._-") && !(segmenter == "oip-v2" && model.is_empty());
    let expected = "letters, digits and . _ -, and for oip-v2 at least one";
    expect("ml.model", good, expected);
    let token = merged.text("ml.token");
    let good = token.bytes().all(|byte| byte.is_ascii_graphic());
    expect("ml.token", good, "visible ASCII characters without blanks");
}

fn plain(text: &str, others: &[u8]) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

fn is_host_and_port(server: &str) -> bool {
    server.rsplit_once(':').is_some_and(|(host, port)| {
        plain(host, b".-_:[]") && !host.is_empty() && port.parse::<u16>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::settings::schema::schema;
    use crate::settings::{Sources, load};

    fn refusal(key: &str, value: &str) -> Option<String> {
        let sources = Sources {
            flags: vec![(key.to_owned(), value.to_owned())],
            ..Sources::default()
        };
        load(&sources).err().map(|error| error.to_string())
    }

    #[test]
    fn every_number_has_a_range() {
        let numbers = schema().defaults().iter();
        let numbers: BTreeSet<_> = numbers
            .filter(|(_, value)| matches!(value.kind, ValueKind::I64(_)))
            .map(|(key, _)| key.as_str())
            .collect();
        let ranged: BTreeSet<_> = RANGES.iter().map(|(key, ..)| *key).collect();
        assert_eq!(numbers, ranged);
    }

    #[test]
    fn both_ends_of_every_range_are_guarded_and_fit_the_type() {
        for (key, least, most) in RANGES {
            for outside in [least - 1, most + 1] {
                let text = refusal(key, &outside.to_string()).expect(key);
                assert!(text.contains(key), "{text}");
            }
            for inside in [least, most] {
                let text = refusal(key, &inside.to_string()).unwrap_or_default();
                assert!(!text.contains("inconsistent"), "{key} = {inside}: {text}");
            }
        }
    }

    #[test]
    fn every_choice_is_known_to_its_type() {
        for (key, words) in CHOICES {
            for word in *words {
                // A word that needs other settings may be refused for the lack of those.
                let text = refusal(key, word).unwrap_or_default();
                let refused = text.lines().any(|line| line.starts_with(key));
                assert!(!refused && !text.contains("inconsistent"), "{text}");
            }
            assert!(refusal(key, "other").is_some());
        }
    }

    #[test]
    fn values_that_do_not_go_together_are_refused() {
        for (key, value) in [
            ("queue.renew_interval_ms", "6000"),
            ("queue.row_lease_ms", "9999"),
            ("queue.retry_cap_ms", "999"),
            ("auth.session_absolute_s", "60"),
            ("kafka.heartbeat_interval_ms", "2001"),
            ("kafka.group_protocol", "consumer"),
            ("kafka.group_instance_id", "worker-0"),
            ("database.replica_url", "postgres://db/lab"),
            ("ml.segmenter", "spheroseg"),
            ("ml.breaker_min_calls", "21"),
        ] {
            assert!(refusal(key, value).is_some(), "{key} = {value}");
        }
    }

    #[test]
    fn what_the_newer_group_protocol_leaves_to_the_brokers_is_refused() {
        let outcome = |more: &[(&str, &str)]| {
            let flags = [
                ("kafka.bootstrap_servers", "log:9092"),
                ("kafka.group_protocol", "consumer"),
            ];
            let flags = flags.iter().chain(more);
            let flags = flags.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let sources = Sources {
                flags: flags.collect(),
                ..Sources::default()
            };
            load(&sources).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(outcome(&[]), Ok(()));
        assert_eq!(outcome(&[("kafka.group_instance_id", "worker-0")]), Ok(()));
        for key in ["kafka.session_timeout_ms", "kafka.heartbeat_interval_ms"] {
            let text = outcome(&[(key, "2000")]).unwrap_err();
            assert!(text.contains("the brokers'"), "{text}");
        }
    }

    #[test]
    fn texts_are_checked() {
        for (key, value) in [
            ("instance.id", "two words"),
            ("log.filter", "=="),
            ("http.host", ""),
            ("http.public_url", "lab.example"),
            ("http.trusted_proxies", "balancer"),
            ("webhooks.allowed_networks", "10.0.0.0/40"),
            ("redis.prefix", "{q}"),
            ("redis.url", "http://cache"),
            ("database.url", "mysql://db/lab"),
            ("kafka.bootstrap_servers", "log"),
            ("kafka.topic_prefix", "a b"),
            ("kafka.group_instance_id", "worker 0"),
            ("files.dir", "a\nb"),
            ("ml.url", "ml:8000"),
            ("ml.model", "../secret"),
            ("ml.token", "two words"),
        ] {
            let text = refusal(key, value).expect(key);
            assert!(
                text.contains(key) && text.contains("command line"),
                "{text}"
            );
        }
    }
}
