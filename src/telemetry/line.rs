//! Formats one event as one line.

use std::fmt;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::kit::clock::SharedClock;

/// Names that every JSON line has; an event's field of the same name gets an underscore behind it.
const RESERVED: &[&str] = &["timestamp", "level", "target", "msg", "instance", "role"];

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For a person.
    Text {
        /// Whether levels are coloured.
        colour: bool,
    },
    /// For a collector.
    Json,
}

/// The formatter of a process's lines. Span fields are kept as JSON by [`JsonFields`].
pub(super) struct Line {
    pub(super) form: Form,
    pub(super) instance: String,
    pub(super) role: &'static str,
    pub(super) clock: SharedClock,
}

impl Line {
    fn text(&self, out: &mut Writer<'_>, line: &Parts, colour: bool) -> fmt::Result {
        let level = format!("{:>5}", line.level);
        let level = if colour {
            format!("{}{level}\x1b[0m", colour_of(line.level))
        } else {
            level
        };
        let target = escaped(&line.target);
        write!(out, "{} {level} {target}: ", line.timestamp)?;
        out.write_str(&escaped(&line.message))?;
        for (name, value) in &line.fields {
            write!(out, " {name}={}", text_value(value))?;
        }
        out.write_char('\n')
    }

    fn json(&self, out: &mut Writer<'_>, line: &Parts) -> fmt::Result {
        let Self { instance, role, .. } = self;
        write!(
            out,
            "{{\"timestamp\":\"{}\",\"level\":\"{}\",\"target\":{},\"msg\":{},\"instance\":{},\"role\":\"{role}\"",
            line.timestamp,
            line.level,
            Value::from(line.target.as_str()),
            Value::from(line.message.as_str()),
            Value::from(instance.as_str()),
        )?;
        for (name, value) in &line.fields {
            let suffix = if RESERVED.contains(&name.as_str()) {
                "_"
            } else {
                ""
            };
            write!(out, ",{}:{value}", Value::from(format!("{name}{suffix}")))?;
        }
        out.write_str("}\n")
    }
}

impl<S> FormatEvent<S, JsonFields> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = self.clock.now();
        let mut line = Parts {
            timestamp: now.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
            level: *event.metadata().level(),
            target: event.metadata().target().to_owned(),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut line);
        // The innermost span first: where two have a field of one name, the nearer one is meant.
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>();
            line.inherit(fields.map_or("", |fields| &fields.fields));
        }
        match self.form {
            Form::Text { colour } => self.text(&mut out, &line, colour),
            Form::Json => self.json(&mut out, &line),
        }
    }
}

/// What a line is made of.
struct Parts {
    timestamp: String,
    level: Level,
    target: String,
    message: String,
    fields: Vec<(String, Value)>,
}

impl Parts {
    fn add(&mut self, name: &str, value: Value) {
        match (name, value) {
            ("message", Value::String(text)) => self.message = text,
            // Lines of the `log` crate (librdkafka's among them) carry their true target in a field.
            ("log.target", Value::String(text)) => self.target = text,
            (name, _) if name.starts_with("log.") => {}
            (name, value) => {
                if !self.fields.iter().any(|(known, _)| known == name) {
                    self.fields.push((name.to_owned(), value));
                }
            }
        }
    }

    fn inherit(&mut self, span_fields: &str) {
        if let Ok(Value::Object(fields)) = serde_json::from_str(span_fields) {
            for (name, value) in fields {
                self.add(&name, value);
            }
        }
    }
}

impl Visit for Parts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value.into());
    }
}

const fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[2m",
    }
}

/// The text with control characters as `\n`, `\u{1b}` and so on.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

fn text_value(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let bare = !text.is_empty()
                && !text
                    .chars()
                    .any(|c| c.is_control() || c.is_whitespace() || c == '"');
            if bare {
                text.clone()
            } else {
                format!("{text:?}")
            }
        }
        other => other.to_string(),
    }
}
