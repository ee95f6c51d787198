//! The envelope: CloudEvents 1.0 in the binary mode of its Kafka binding (attributes are `ce_` headers, the value is the
//! data alone), `traceparent` of W3C Trace Context, and `trace_id` and `idempotency_key` for readers that know only those.

use chrono::{DateTime, SecondsFormat, Utc};

use super::log::Record;
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
    pub fn envelope(&self) -> Envelope {
        Envelope {
            id: self.id,
            source: OUR_SOURCE.to_owned(),
            kind: self.fact.kind().to_owned(),
            at: self.at,
            subject: Some(self.fact.subject()),
            traceparent: self.traceparent.clone(),
            idempotency_key: self.idempotency_key.clone(),
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
            fact: Fact::decode(&envelope.kind, &record.value)?,
            traceparent: envelope.traceparent,
            idempotency_key: envelope.idempotency_key,
        })
    }
}

/// The attributes of an event, without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `ce_id`.
    pub id: EventId,
    /// `ce_source`.
    pub source: String,
    /// `ce_type`.
    pub kind: String,
    /// `ce_time`.
    pub at: DateTime<Utc>,
    /// `ce_subject`.
    pub subject: Option<String>,
    /// W3C `traceparent`.
    pub traceparent: Option<String>,
    /// The key under which the cause may be repeated.
    pub idempotency_key: Option<String>,
}

impl Envelope {
    /// The headers of the record, in a fixed order.
    pub fn headers(&self) -> Vec<(String, String)> {
        let id = self.id.to_string();
        let time = self.at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let trace_id = self.traceparent.as_deref().and_then(trace_id);
        let repeat_key = self.idempotency_key.as_deref().unwrap_or(&id);
        [
            (SPEC_VERSION, Some(SPEC)),
            (ID, Some(id.as_str())),
            (SOURCE, Some(self.source.as_str())),
            (TYPE, Some(self.kind.as_str())),
            (TIME, Some(time.as_str())),
            (SUBJECT, self.subject.as_deref()),
            (CONTENT_TYPE, Some(JSON)),
            (TRACEPARENT, self.traceparent.as_deref()),
            (TRACE_ID, trace_id),
            (IDEMPOTENCY_KEY, Some(repeat_key)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect()
    }

    /// The envelope from a record's headers; headers of others are ignored.
    ///
    /// # Errors
    /// When a required header is missing or wrong; the error names it.
    pub fn from_headers(headers: &[(String, String)]) -> Result<Self, Error> {
        let optional = |name| find(headers, name).map(ToOwned::to_owned);
        let required = |name| find(headers, name).ok_or(Error::MissingHeader(name));
        let version = required(SPEC_VERSION)?;
        if version != SPEC {
            return Err(bad(SPEC_VERSION, version, "only 1.0 is read"));
        }
        if let Some(other) = find(headers, CONTENT_TYPE).filter(|value| !is_json(value)) {
            return Err(bad(CONTENT_TYPE, other, "only JSON is read"));
        }
        let id = required(ID)?;
        let time = required(TIME)?;
        let at = DateTime::parse_from_rfc3339(time).map_err(|why| bad(TIME, time, why))?;
        Ok(Self {
            id: id.parse().map_err(|why| bad(ID, id, why))?,
            source: required(SOURCE)?.to_owned(),
            kind: required(TYPE)?.to_owned(),
            at: at.to_utc(),
            subject: optional(SUBJECT),
            traceparent: optional(TRACEPARENT),
            idempotency_key: optional(IDEMPOTENCY_KEY).filter(|key| key != id),
        })
    }
}

fn find<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let found = headers
        .iter()
        .find(|(header, _)| header.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
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

    fn without(name: &str) -> Vec<(String, String)> {
        let mut headers = event().envelope().headers();
        headers.retain(|(header, _)| header != name);
        headers
    }

    #[test]
    fn the_headers_hold_the_whole_envelope() {
        let envelope = event().envelope();
        assert_eq!(
            Envelope::from_headers(&envelope.headers()).unwrap(),
            envelope
        );
    }

    #[test]
    fn readers_that_know_only_the_short_names_find_them() {
        let event = event();
        let headers = event.envelope().headers();
        assert_eq!(
            find(&headers, TRACE_ID),
            Some("0af7651916cd43dd8448eb211c80319c")
        );
        assert_eq!(
            find(&headers, IDEMPOTENCY_KEY),
            Some(event.id.to_string().as_str())
        );
    }

    #[test]
    fn a_missing_header_is_named() {
        for name in [SPEC_VERSION, ID, SOURCE, TYPE, TIME] {
            let error = Envelope::from_headers(&without(name)).unwrap_err();
            assert_eq!(error.to_string(), format!("header {name:?} is missing"));
        }
    }

    #[test]
    fn a_wrong_header_is_named_with_its_value() {
        for (name, value) in [(SPEC_VERSION, "0.3"), (ID, "seven"), (TIME, "noon")] {
            let mut headers = without(name);
            headers.push((name.to_owned(), value.to_owned()));
            let error = Envelope::from_headers(&headers).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("header {name:?} is {value:?}")),
                "{error}"
            );
        }
    }
}
