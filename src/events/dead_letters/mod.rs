//! Dead letters: records that a consumer group could not handle, in `dlq.<topic>` with their own key, value and headers,
//! and headers that say why. Listed, shown, replayed and purged by [`DeadLetters`].

mod desk;
mod letter;

use chrono::{DateTime, SecondsFormat, Utc};

use super::log::{Headers, NewRecord, Record};
use super::topics::dead_letters_of;

pub use desk::{DeadLetters, Purged, Replayed, Selection};
pub use letter::{Filter, Letter, LetterId, NotALetter, State};

/// Longest error text in a header, 1 KiB in bytes.
const ERROR_BYTES_MAX: usize = 1_024;

const TOPIC: &str = "dlq-original-topic";
const PARTITION: &str = "dlq-original-partition";
const OFFSET: &str = "dlq-original-offset";
const TIMESTAMP: &str = "dlq-original-timestamp";
pub(super) const GROUP: &str = "dlq-consumer-group";
pub(super) const ATTEMPTS: &str = "dlq-attempts";
pub(super) const ERROR_CLASS: &str = "dlq-error-class";
pub(super) const ERROR_MESSAGE: &str = "dlq-error-message";
pub(super) const FAILED_AT: &str = "dlq-failed-at";
const HOST: &str = "dlq-host";
const VERSION: &str = "dlq-app-version";
/// On a record that was replayed: the letter that it comes from.
pub const REPLAYED_FROM: &str = "dlq-replayed-from";

/// The headers of Kafka Connect's dead letters (its `DeadLetterQueueReporter`), as text like there: tools for Kafka show them.
const CONNECT: &str = "__connect.errors.";

/// Names that readers of the systems before this one look for.
const PLAIN: [&str; 4] = ["retry_count", "original_topic", "error", "timestamp"];

/// Why and when a record died.
#[derive(Debug, Clone, Copy)]
pub struct Death<'d> {
    /// The group that could not handle it, without prefix.
    pub group: &'d str,
    /// Starts of the handler.
    pub attempts: i64,
    /// Class of the error.
    pub class: &'d str,
    /// The error in words.
    pub message: &'d str,
    /// When.
    pub at: DateTime<Utc>,
    /// The instance that gave up.
    pub host: &'d str,
}

/// The dead letter of a record: key, value and headers as they were, and what happened to it.
pub fn letter(record: &Record, death: &Death<'_>) -> NewRecord {
    let at = death.at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let (attempts, message) = (death.attempts.to_string(), cut(death.message));
    let place = &record.partition;
    let mut headers = original_headers(&record.headers);
    let added = [
        (TOPIC, place.topic.clone()),
        (PARTITION, place.number.to_string()),
        (OFFSET, record.offset.to_string()),
        (TIMESTAMP, record.timestamp_ms.to_string()),
        (GROUP, death.group.to_owned()),
        (ATTEMPTS, attempts.clone()),
        (ERROR_CLASS, death.class.to_owned()),
        (ERROR_MESSAGE, message.clone()),
        (FAILED_AT, at.clone()),
        (HOST, death.host.to_owned()),
        (VERSION, env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let connect = [
        ("topic", place.topic.clone()),
        ("partition", place.number.to_string()),
        ("offset", record.offset.to_string()),
        // Connect's own words for where a sink fails.
        ("stage", "TASK_PUT".to_owned()),
        ("class.name", death.group.to_owned()),
        ("exception.class.name", death.class.to_owned()),
        ("exception.message", message.clone()),
    ];
    let plain = [attempts, place.topic.clone(), message, at];
    let added = added.into_iter().chain(PLAIN.into_iter().zip(plain));
    headers.extend(added);
    headers.extend(connect.map(|(name, value)| (format!("{CONNECT}{name}"), value)));
    NewRecord {
        topic: dead_letters_of(&place.topic),
        key: key_of(record),
        headers,
        value: record.value.clone(),
    }
}

/// The record that a dead letter was made of, to be appended to its topic again; none for what is no dead letter.
pub(super) fn original(letter: &Record, from: &str) -> Option<NewRecord> {
    let topic = header(letter, TOPIC)?.to_owned();
    let headers = original_headers(&letter.headers);
    let earlier = headers.iter().filter(|(name, _)| *name != REPLAYED_FROM);
    let headers = earlier.chain([(REPLAYED_FROM, from)]).collect();
    Some(NewRecord {
        topic,
        key: key_of(letter),
        headers,
        value: letter.value.clone(),
    })
}

/// The value of the last header of this name.
pub(super) fn header<'r>(record: &'r Record, name: &str) -> Option<&'r str> {
    let mut headers = record.headers.iter().rev();
    headers
        .find(|(other, _)| *other == name)
        .map(|(_, value)| value)
}

/// The headers without those of a death: a record that dies again tells of its last one.
fn original_headers(headers: &Headers) -> Headers {
    let is_ours = |name: &str| {
        let is_plain = PLAIN.contains(&name) || name.starts_with(CONNECT);
        is_plain || (name.starts_with("dlq-") && name != REPLAYED_FROM)
    };
    headers.iter().filter(|(name, _)| !is_ours(name)).collect()
}

/// Records of others may have no key; ours never.
fn key_of(record: &Record) -> String {
    let place = || format!("{}-{}", record.partition.number, record.offset);
    let key = record.key.clone().filter(|key| !key.is_empty());
    key.unwrap_or_else(place)
}

/// At most [`ERROR_BYTES_MAX`] bytes, whole characters, no line breaks.
fn cut(text: &str) -> String {
    let plain = text.replace(char::is_control, " ");
    let end = plain.floor_char_boundary(ERROR_BYTES_MAX);
    plain[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::events::log::Partition;

    fn record(headers: &[(&str, &str)]) -> Record {
        let partition = Partition {
            topic: "job.events".to_owned(),
            number: 3,
        };
        let headers = headers.iter();
        Record {
            partition: partition.into(),
            offset: 17,
            timestamp_ms: 1_700_000_000_000,
            key: Some("image".to_owned()),
            headers: headers.copied().collect(),
            value: Bytes::from_static(b"\xff{"),
        }
    }

    fn death(message: &str) -> NewRecord {
        let died = Death {
            group: "projector",
            attempts: 3,
            class: "failed",
            message,
            at: DateTime::from_timestamp_millis(1_700_000_001_500).unwrap(),
            host: "w1",
        };
        letter(
            &record(&[("ce_id", "1"), ("error", "of an earlier death")]),
            &died,
        )
    }

    fn as_read(new: NewRecord) -> Record {
        let partition = Partition {
            topic: new.topic,
            number: 3,
        };
        Record {
            partition: partition.into(),
            offset: 0,
            timestamp_ms: 0,
            key: Some(new.key),
            headers: new.headers,
            value: new.value,
        }
    }

    #[test]
    fn a_letter_keeps_key_value_and_headers_and_says_why() {
        let letter = death("no luck\nat all");
        assert_eq!(letter.topic, "dlq.job.events");
        assert_eq!(
            (letter.key.as_str(), &letter.value[..]),
            ("image", &b"\xff{"[..])
        );
        let read = as_read(letter);
        for (name, value) in [
            ("ce_id", "1"),
            ("retry_count", "3"),
            ("original_topic", "job.events"),
            ("error", "no luck at all"),
            ("timestamp", "2023-11-14T22:13:21.500Z"),
            ("dlq-original-offset", "17"),
            ("dlq-original-timestamp", "1700000000000"),
            ("dlq-consumer-group", "projector"),
            ("__connect.errors.topic", "job.events"),
            ("__connect.errors.partition", "3"),
            ("__connect.errors.offset", "17"),
            ("__connect.errors.stage", "TASK_PUT"),
            ("__connect.errors.class.name", "projector"),
            ("__connect.errors.exception.class.name", "failed"),
            ("__connect.errors.exception.message", "no luck at all"),
        ] {
            assert_eq!(header(&read, name), Some(value), "{name}");
        }
        let errors = read.headers.iter().filter(|(name, _)| *name == "error");
        assert_eq!(errors.count(), 1);
    }

    #[test]
    fn a_replayed_record_is_the_original_and_names_its_letter() {
        let again = original(&as_read(death("x")), "job.events-3-0").unwrap();
        assert_eq!(again.topic, "job.events");
        let headers: Vec<_> = again.headers.iter().map(|(name, _)| name).collect();
        assert_eq!(headers, ["ce_id", REPLAYED_FROM]);
        assert_eq!(original(&record(&[]), "x"), None);
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let letter = as_read(death(&"ä".repeat(1_000)));
        assert_eq!(header(&letter, "error").unwrap().len(), 1_024);
    }
}
