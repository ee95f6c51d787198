//! What all layers are made of, and what they are together.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use config::{Config, ConfigError, Map, Source, Value, ValueKind};

use super::error::Error;
use super::redact;
use super::schema::{DEFAULT_ORIGIN, FILE_BYTES_MAX};

/// One layer: typed values by key, and what was found on the way.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    pub(super) values: BTreeMap<String, Value>,
    pub(super) warnings: Vec<String>,
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.values.clone().into_iter().collect())
    }
}

/// All layers merged.
#[derive(Debug)]
pub(super) struct Merged {
    /// By section.
    pub(super) tables: Config,
    /// By key.
    pub(super) values: BTreeMap<String, Value>,
}

impl Merged {
    /// The number under `key`; 0 where it is no number.
    pub(super) fn number(&self, key: &str) -> i64 {
        match self.values.get(key).map(|value| &value.kind) {
            Some(ValueKind::I64(number)) => *number,
            _ => 0,
        }
    }

    /// The text under `key`; empty where it is no text.
    pub(super) fn text(&self, key: &str) -> &str {
        match self.values.get(key).map(|value| &value.kind) {
            Some(ValueKind::String(text)) => text,
            _ => "",
        }
    }

    /// Whether nobody has set `key`.
    pub(super) fn is_default(&self, key: &str) -> bool {
        let origin = self.values.get(key).and_then(Value::origin);
        origin == Some(DEFAULT_ORIGIN)
    }

    /// The error that says what is expected of the value under `key`.
    pub(super) fn refuse(&self, key: &str, expected: impl Into<String>) -> Error {
        let value = self.values.get(key);
        Error::Value {
            key: key.to_owned(),
            found: value.map_or_else(String::new, |value| redact::shown(key, &value.kind)),
            origin: value.and_then(Value::origin).unwrap_or_default().to_owned(),
            expected: expected.into(),
        }
    }
}

/// The text of a file, refused above [`FILE_BYTES_MAX`]; the error says why.
pub(super) fn read_bounded(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("larger than {FILE_BYTES_MAX} bytes"));
    }
    Ok(text)
}
