//! A dead letter as it is read.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{ATTEMPTS, ERROR_CLASS, ERROR_MESSAGE, FAILED_AT, GROUP, header};
use crate::events::envelope::Envelope;
use crate::events::inbox::store;
use crate::events::log::{Headers, Partition, Record};
use crate::events::topics;
use crate::kit::id::EventId;

/// Where a letter stands: `<original topic>-<partition>-<offset>` of `dlq.<original topic>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LetterId {
    /// The topic whose dead letter it is.
    pub topic: String,
    /// Partition of the dead-letter topic.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
}

/// What has become of a letter's event since, as its group's inbox says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was not tried again.
    Dead,
    /// It was sent again and is not done yet.
    Replayed,
    /// It was sent again and is done.
    Done,
    /// The inbox does not know it: it could not be decoded, or is too old.
    Unknown,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// Where it stands.
    pub id: LetterId,
    /// The group that could not handle it.
    pub group: String,
    /// Its key.
    pub key: String,
    /// The event's id, where its headers can be read.
    pub event: Option<EventId>,
    /// The event's type, where its headers can be read.
    pub kind: Option<String>,
    /// Starts of the handler.
    pub attempts: i64,
    /// Class of the error.
    pub error_class: String,
    /// The error in words.
    pub error: String,
    /// When it died.
    pub failed_at: Option<DateTime<Utc>>,
    /// What has become of it.
    pub state: State,
    /// Its headers; only where one letter is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Headers>,
    /// The start of its value as text; only where one letter is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Which letters are meant.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Of this topic.
    #[serde(default)]
    pub topic: Option<String>,
    /// Of this group.
    #[serde(default)]
    pub group: Option<String>,
    /// With this class of error.
    #[serde(default)]
    pub error_class: Option<String>,
}

impl Filter {
    pub(super) fn takes(&self, letter: &Letter) -> bool {
        let takes = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|it| it == is);
        takes(&self.group, &letter.group) && takes(&self.error_class, &letter.error_class)
    }
}

impl LetterId {
    pub(super) fn place(&self) -> Partition {
        Partition {
            topic: topics::dead_letters_of(&self.topic),
            number: self.partition,
        }
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.topic, self.partition, self.offset)
    }
}

/// A text that is no id of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no id of a dead letter: <topic>-<partition>-<offset>, as `list` shows it")]
pub struct NotALetter(String);

impl FromStr for LetterId {
    type Err = NotALetter;

    fn from_str(text: &str) -> Result<Self, NotALetter> {
        let mut parts = text.rsplitn(3, '-');
        let mut read = || {
            let (offset, partition, topic) = (parts.next()?, parts.next()?, parts.next()?);
            let is_known = topics::all().iter().any(|known| known.name == topic);
            Some(Self {
                topic: is_known.then(|| topic.to_owned())?,
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
            })
        };
        read().ok_or_else(|| NotALetter(text.to_owned()))
    }
}

impl Serialize for LetterId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LetterId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

pub(super) fn letter_of(record: &Record) -> Letter {
    let text = |name| header(record, name).unwrap_or_default().to_owned();
    // Letters that Spring's consumers wrote into our topics say the same by other names.
    let either = |ours, springs| match header(record, ours) {
        Some(value) => value.to_owned(),
        None => text(springs),
    };
    let envelope = Envelope::from_headers(&record.headers).ok();
    let failed_at = DateTime::parse_from_rfc3339(&text(FAILED_AT)).ok();
    let topic = &record.partition.topic;
    let id = LetterId {
        topic: topic.strip_prefix("dlq.").unwrap_or(topic).to_owned(),
        partition: record.partition.number,
        offset: record.offset,
    };
    Letter {
        id,
        group: either(GROUP, "kafka_dlt-original-consumer-group"),
        key: record.key.clone().unwrap_or_default(),
        event: envelope.as_ref().map(|envelope| envelope.id),
        kind: envelope.map(|envelope| envelope.kind.to_owned()),
        attempts: text(ATTEMPTS).parse().unwrap_or_default(),
        error_class: either(ERROR_CLASS, "kafka_dlt-exception-fqcn"),
        error: either(ERROR_MESSAGE, "kafka_dlt-exception-message"),
        failed_at: failed_at.map(|at| at.to_utc()),
        state: State::Unknown,
        headers: None,
        value: None,
    }
}

pub(super) fn state_of(row: &store::Row) -> State {
    match (row.dead_at, row.done_at) {
        (Some(_), _) => State::Dead,
        (None, Some(_)) => State::Done,
        (None, None) => State::Replayed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_it_is_written() {
        let id: LetterId = "job.events-3-17".parse().unwrap();
        assert_eq!((id.partition, id.offset), (3, 17));
        assert_eq!(id.to_string(), "job.events-3-17");
        for wrong in [
            "",
            "job.events",
            "job.events-3",
            "no.events-3-17",
            "job.events-x-1",
        ] {
            assert!(wrong.parse::<LetterId>().is_err(), "{wrong}");
        }
    }
}
