//! The envelope: CloudEvents 1.0 in the binary mode of its Kafka binding (attributes are `ce_` headers, the value is the
//! data alone), `traceparent` of W3C Trace Context, and `trace_id` and `idempotency_key` for readers that know only those.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};

use super::log::{Headers, Record};
use super::{Error, Fact};
use crate::kit::clock::Clock;
use crate::kit::id::EventId;

const SPEC_VERSION: &str = "ce_specversion";
const ID: &str = "ce_id";
const SOURCE: &str = "ce_source";
const TYPE: &str = "ce_type";
const TIME: &str = "ce_time";
const SUBJECT: &str = "ce_subject";
const CONTENT_TYPE: &str = "content-type";
const TRACEPARENT: &str = "traceparent";
const TRACE_ID: &str = "trace_id";
const IDEMPOTENCY_KEY: &str = "idempotency_key";

/// The headers of an event, in the order in which they are written.
const NAMES: [&str; 10] = [
    SPEC_VERSION,
    ID,
    SOURCE,
    TYPE,
    TIME,
    SUBJECT,
    CONTENT_TYPE,
    TRACEPARENT,
    TRACE_ID,
    IDEMPOTENCY_KEY,
];

/// The version of CloudEvents that is written and read.
const SPEC: &str = "1.0";
/// `ce_source` of our own events.
const OUR_SOURCE: &str = "/spheroctl";
/// The only content type: a JSON value.
const JSON: &str = "application/json";

/// A fact with its identity, as it is staged and as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Identity: of the outbox row, of the record (`ce_id`), and for de-duplication.
    pub id: EventId,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened.
    pub fact: Fact,
    /// W3C `traceparent` of the request that caused it.
    pub traceparent: Option<String>,
    /// The key under which the cause may be repeated; the event's id where the cause had none.
    pub idempotency_key: Option<String>,
}

impl Event {
    /// A new event of this instant.
    pub fn new(fact: Fact, clock: &dyn Clock) -> Self {
        Self {
            id: EventId::new(clock),
            at: clock.now(),
            fact,
            traceparent: None,
            idempotency_key: None,
        }
    }

    /// Its envelope.
    pub fn envelope(&self) -> Envelope<'_> {
        Envelope {
            id: self.id,
            source: OUR_SOURCE,
            kind: self.fact.kind(),
            at: self.at,
            subject: Some(self.fact.subject().into()),
            traceparent: self.traceparent.as_deref(),
            idempotency_key: self.idempotency_key.as_deref(),
        }
    }

    /// The event that a record holds.
    ///
    /// # Errors
    /// When a header is missing or wrong (the error names it), the type is not known, or the value is not what the
    /// type says.
    pub fn from_record(record: &Record) -> Result<Self, Error> {
        let envelope = Envelope::from_headers(&record.headers)?;
        Ok(Self {
            id: envelope.id,
            at: envelope.at,
            fact: Fact::decode(envelope.kind, &record.value)?,
            traceparent: envelope.traceparent.map(ToOwned::to_owned),
            idempotency_key: envelope.idempotency_key.map(ToOwned::to_owned),
        })
    }
}

/// The attributes of an event, without its data, as they stand in the event or in the headers of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'e> {
    /// `ce_id`.
    pub id: EventId,
    /// `ce_source`.
    pub source: &'e str,
    /// `ce_type`.
    pub kind: &'e str,
    /// `ce_time`.
    pub at: DateTime<Utc>,
    /// `ce_subject`.
    pub subject: Option<Cow<'e, str>>,
    /// W3C `traceparent`.
    pub traceparent: Option<&'e str>,
    /// The key under which the cause may be repeated.
    pub idempotency_key: Option<&'e str>,
}

impl<'e> Envelope<'e> {
    /// The headers of the record, in a fixed order.
    pub fn headers(&self) -> Headers {
        let id = self.id.to_string();
        let time = self.at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let trace_id = self.traceparent.and_then(trace_id);
        let repeat_key = self.idempotency_key.unwrap_or(&id);
        let values = [
            Some(SPEC),
            Some(id.as_str()),
            Some(self.source),
            Some(self.kind),
            Some(time.as_str()),
            self.subject.as_deref(),
            Some(JSON),
            self.traceparent,
            trace_id,
            Some(repeat_key),
        ];
        let headers = NAMES.into_iter().zip(values);
        headers
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    /// The envelope from a record's headers; headers of others are ignored.
    ///
    /// # Errors
    /// When a required header is missing or wrong; the error names it.
    pub fn from_headers(headers: &'e Headers) -> Result<Self, Error> {
        let [
            version,
            id,
            source,
            kind,
            time,
            subject,
            content_type,
            traceparent,
            _,
            idempotency_key,
        ] = values(headers);
        let required = |value: Option<&'e str>, name| value.ok_or(Error::MissingHeader(name));
        let version = required(version, SPEC_VERSION)?;
        if version != SPEC {
            return Err(bad(SPEC_VERSION, version, "only 1.0 is read"));
        }
        if let Some(other) = content_type.filter(|value| !is_json(value)) {
            return Err(bad(CONTENT_TYPE, other, "only JSON is read"));
        }
        let id = required(id, ID)?;
        let time = required(time, TIME)?;
        let at = DateTime::parse_from_rfc3339(time).map_err(|why| bad(TIME, time, why))?;
        Ok(Self {
            id: id.parse().map_err(|why| bad(ID, id, why))?,
            source: required(source, SOURCE)?,
            kind: required(kind, TYPE)?,
            at: at.to_utc(),
            subject: subject.map(Cow::Borrowed),
            traceparent,
            idempotency_key: idempotency_key.filter(|key| *key != id),
        })
    }
}

/// The first value of each of [`NAMES`]. Where they stand in that order, as in all records of ours, a name is found behind
/// the one before it.
fn values(headers: &Headers) -> [Option<&str>; NAMES.len()] {
    let mut values = [None; NAMES.len()];
    let mut expected = 0;
    for (header, value) in headers.iter() {
        let is_it = |name: &str| header == name || header.eq_ignore_ascii_case(name);
        let mut places = (expected..NAMES.len()).chain(0..expected);
        if let Some(found) = places.find(|place| is_it(NAMES[*place])) {
            values[found].get_or_insert(value);
            expected = found + 1;
        }
    }
    values
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(JSON)
}

/// The 32 hex digits in the middle of `version-traceid-parentid-flags`.
fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1)
}

fn bad(header: &'static str, value: &str, why: impl ToString) -> Error {
    Error::BadHeader {
        header,
        value: value.to_owned(),
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::types::MemberRemoved;
    use crate::kit::clock::SystemClock;
    use crate::kit::id::{ProjectId, UserId};

    fn event() -> Event {
        let fact = Fact::MemberRemoved(MemberRemoved {
            user_id: UserId::new(&SystemClock),
            project_id: ProjectId::new(&SystemClock),
        });
        let mut event = Event::new(fact, &SystemClock);
        event.traceparent =
            Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
        event
    }

    fn without(name: &str) -> Headers {
        let event = event();
        let headers = event.envelope().headers();
        headers
            .iter()
            .filter(|(header, _)| *header != name)
            .collect()
    }

    #[test]
    fn the_headers_hold_the_whole_envelope() {
        let event = event();
        let headers = event.envelope().headers();
        assert_eq!(Envelope::from_headers(&headers).unwrap(), event.envelope());
    }

    #[test]
    fn readers_that_know_only_the_short_names_find_them() {
        let event = event();
        let headers = event.envelope().headers();
        let id = event.id.to_string();
        for header in [
            (TRACE_ID, "0af7651916cd43dd8448eb211c80319c"),
            (IDEMPOTENCY_KEY, id.as_str()),
        ] {
            assert!(headers.iter().any(|it| it == header), "{header:?}");
        }
    }

    #[test]
    fn a_missing_header_is_named() {
        for name in [SPEC_VERSION, ID, SOURCE, TYPE, TIME] {
            let headers = without(name);
            let error = Envelope::from_headers(&headers).unwrap_err();
            assert_eq!(error.to_string(), format!("header {name:?} is missing"));
        }
    }

    #[test]
    fn a_wrong_header_is_named_with_its_value() {
        for (name, value) in [(SPEC_VERSION, "0.3"), (ID, "seven"), (TIME, "noon")] {
            let mut headers = without(name);
            headers.push(name, value);
            let error = Envelope::from_headers(&headers).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("header {name:?} is {value:?}")),
                "{error}"
            );
        }
    }
}
