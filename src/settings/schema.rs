//! Which keys there are and of which type: read from `config/default.toml`, so that no second list can disagree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use config::{FileFormat, Format, Map, Value, ValueKind};

use super::error::Error;

/// The defaults with their reasons, compiled in.
pub(super) const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Origin of a value that nobody has set.
pub(super) const DEFAULT_ORIGIN: &str = "default";

/// Keys that may hold a password.
pub(super) const SECRETS: &[&str] = &[
    "database.url",
    "database.direct_url",
    "database.replica_url",
    "redis.url",
    "ml.token",
    "ml.url",
];

/// Most bytes of a settings file or a secret's file.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// A value before it is compared with the type of its key.
#[derive(Debug)]
pub(super) enum Raw {
    /// From a file, which has types of its own.
    Typed(ValueKind),
    /// From a variable or a flag, which has none.
    Text(String),
}

/// The keys with their default values.
#[derive(Debug)]
pub(super) struct Schema {
    keys: BTreeMap<String, Value>,
    sections: BTreeSet<String>,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    // Unwrap safety: the text is compiled in, and the test below parses it.
    let keys = flat(parse(DEFAULT_ORIGIN, DEFAULTS).expect("config/default.toml is valid TOML"));
    let sections = keys.keys().map(|key| section_of(key).to_owned()).collect();
    Schema { keys, sections }
});

/// The keys of this version.
pub(super) fn schema() -> &'static Schema {
    &SCHEMA
}

impl Schema {
    /// Every key with its default value, in order.
    pub(super) fn defaults(&self) -> &BTreeMap<String, Value> {
        &self.keys
    }

    /// Whether there is such a section.
    pub(super) fn has_section(&self, name: &str) -> bool {
        self.sections.contains(name)
    }

    /// The value of `key` in the type of its default.
    pub(super) fn typed(&self, key: &str, raw: Raw, origin: &str) -> Result<Value, Error> {
        let Some(default) = self.keys.get(key) else {
            return Err(self.unknown(key, key, origin));
        };
        let (found, kind) = match raw {
            Raw::Typed(kind) => (shown_kind(&kind), same_type(&default.kind, kind)),
            Raw::Text(text) => (format!("{text:?}"), parsed(&default.kind, &text)),
        };
        kind.map(|kind| Value::new(Some(&origin.to_owned()), kind))
            .ok_or_else(|| Error::Value {
                key: key.to_owned(),
                found: if is_secret(key) { "***".into() } else { found },
                origin: origin.to_owned(),
                expected: expected(&default.kind).into(),
            })
    }

    /// The error for `name`, which was meant to be `key`.
    pub(super) fn unknown(&self, name: &str, key: &str, origin: &str) -> Error {
        let section = section_of(key);
        let hint = if self.has_section(section) {
            let prefix = format!("{section}.");
            let keys = self
                .keys
                .keys()
                .filter_map(|known| known.strip_prefix(&prefix));
            format!(
                "section {section} has {}",
                keys.collect::<Vec<_>>().join(", ")
            )
        } else {
            let sections: Vec<_> = self.sections.iter().map(String::as_str).collect();
            format!("the sections are {}", sections.join(", "))
        };
        Error::UnknownKey {
            name: name.to_owned(),
            origin: origin.to_owned(),
            hint,
        }
    }
}

/// Whether `key` may hold a password.
pub(super) fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key)
}

/// Parses a settings file. The parser's own text quotes the line at fault, which may hold a password: only its first
/// and last line (place and reason) are kept.
pub(super) fn parse(origin: &str, text: &str) -> Result<Map<String, Value>, String> {
    let parsed = FileFormat::Toml.parse(Some(&origin.to_owned()), text);
    parsed.map_err(|error| {
        let text = error.to_string();
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let place = lines.next().unwrap_or("not TOML").to_owned();
        match lines.next_back() {
            Some(reason) => format!("{place}: {reason}"),
            None => place,
        }
    })
}

/// The keys of two nested tables as `section.key`. Whatever is not nested like this keeps its name and is refused later.
pub(super) fn flat(tables: Map<String, Value>) -> BTreeMap<String, Value> {
    let mut keys = BTreeMap::new();
    for (section, value) in tables {
        match value.kind {
            ValueKind::Table(table) if !table.is_empty() => {
                for (key, value) in table {
                    keys.insert(format!("{section}.{key}"), value);
                }
            }
            _ => {
                keys.insert(section, value);
            }
        }
    }
    keys
}

/// A value as it is printed.
pub(super) fn shown_kind(kind: &ValueKind) -> String {
    match kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a table".into(),
        ValueKind::Array(_) => "a list".into(),
        other => other.to_string(),
    }
}

fn section_of(key: &str) -> &str {
    key.split_once('.').map_or(key, |(section, _)| section)
}

fn same_type(default: &ValueKind, given: ValueKind) -> Option<ValueKind> {
    let same = std::mem::discriminant(default) == std::mem::discriminant(&given);
    same.then_some(given)
}

fn parsed(default: &ValueKind, text: &str) -> Option<ValueKind> {
    match default {
        ValueKind::Boolean(_) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(ValueKind::Boolean(true)),
            "false" | "0" | "no" | "off" => Some(ValueKind::Boolean(false)),
            _ => None,
        },
        // TOML allows 10_000, so a variable does too.
        ValueKind::I64(_) => {
            let digits = text.trim().replace('_', "");
            digits.parse().ok().map(ValueKind::I64)
        }
        _ => Some(ValueKind::String(text.to_owned())),
    }
}

fn expected(default: &ValueKind) -> &'static str {
    match default {
        ValueKind::Boolean(_) => "true or false",
        ValueKind::I64(_) => "a whole number",
        _ => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn settings_without(left_out: &str) -> Result<Settings, config::ConfigError> {
        let mut tables = Map::<String, Value>::new();
        for (key, value) in schema().defaults() {
            let (section, name) = key.split_once('.').unwrap();
            let table = tables
                .entry(section.to_owned())
                .or_insert_with(|| Map::<String, Value>::new().into());
            if let ValueKind::Table(table) = &mut table.kind
                && key != left_out
            {
                table.insert(name.to_owned(), value.clone());
            }
        }
        Value::from(tables).try_deserialize()
    }

    #[test]
    fn the_default_file_has_every_field_and_no_other_key() {
        settings_without("").unwrap();
        for key in schema().defaults().keys() {
            assert!(
                settings_without(key).is_err(),
                "{key} stands in default.toml, but no struct needs it"
            );
        }
    }

    #[test]
    fn every_secret_is_a_key() {
        assert!(
            SECRETS
                .iter()
                .all(|key| schema().defaults().contains_key(*key))
        );
    }

    #[test]
    fn a_syntax_error_names_the_place_and_never_quotes_the_line() {
        let text = "[database]\nurl = \"postgres://lab:canary@db\n";
        let error = parse("x.toml", text).unwrap_err();
        assert!(
            error.contains("line 2") && !error.contains("canary"),
            "{error}"
        );
    }
}
