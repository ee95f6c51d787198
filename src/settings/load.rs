//! Merges the layers, checks the whole, and remembers where every value comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, ConfigError, Source, Value, ValueKind};

use super::error::Error;
use super::layers::{Layer, Merged, read_bounded};
use super::schema::{Raw, flat, is_secret, parse, schema};
use super::sections::Settings;
use super::{aliases, environment, redact, validate};

/// Where settings are taken from, besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Files, later ones over earlier ones.
    pub files: Vec<PathBuf>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Key and value of each flag, later ones over earlier ones.
    pub flags: Vec<(String, String)>,
}

/// Settings that were loaded and found good, with what `config show` tells about them.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Every key in order, secrets redacted.
    pub entries: Vec<Entry>,
    /// What was given and is not used, one sentence each; to be logged at start.
    pub warnings: Vec<String>,
}

/// One key as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// `section.key`.
    pub key: String,
    /// Its value, redacted where it may hold a secret.
    pub value: serde_json::Value,
    /// The layer that the value comes from, such as `environment variable PORT`.
    pub origin: String,
}

/// Loads the settings.
///
/// # Errors
/// Every key that is unknown, of the wrong type, out of range or at odds with another one; files that cannot be read.
pub fn load(sources: &Sources) -> Result<Loaded, Error> {
    let mut gathered = Gathered::default();
    gathered.defaults();
    for file in &sources.files {
        gathered.file(file);
    }
    gathered.next_layer(aliases::layer(&sources.environment));
    gathered.next_layer(environment::layer(&sources.environment));
    gathered.flags(&sources.flags);
    let (merged, warnings) = gathered.merge()?;
    Error::all(validate::problems(&merged))?;
    let entries = entries(&merged.values);
    let settings = merged
        .tables
        .try_deserialize()
        .map_err(|error| Error::Inconsistent(error.to_string()))?;
    Ok(Loaded {
        settings,
        entries,
        warnings,
    })
}

fn entries(values: &BTreeMap<String, Value>) -> Vec<Entry> {
    let entry = |(key, value): (&String, &Value)| Entry {
        key: key.clone(),
        value: redact::json(key, &value.kind),
        origin: value.origin().unwrap_or_default().to_owned(),
    };
    values.iter().map(entry).collect()
}

#[derive(Debug, Default)]
struct Gathered {
    layers: Vec<Layer>,
    problems: Vec<Error>,
}

impl Gathered {
    fn defaults(&mut self) {
        self.layers.push(Layer {
            values: schema().defaults().clone(),
            warnings: Vec::new(),
        });
    }

    fn file(&mut self, path: &Path) {
        let origin = format!("file {}", path.display());
        let text = match read_bounded(path) {
            Ok(text) => text,
            Err(reason) => return self.unreadable(origin, reason),
        };
        let tables = match parse(&origin, &text) {
            Ok(tables) => tables,
            Err(reason) => return self.unreadable(origin, reason),
        };
        let mut layer = Layer::default();
        for (key, value) in flat(tables) {
            // A section whose every line is commented out.
            if schema().has_section(&key) && matches!(value.kind, ValueKind::Table(_)) {
                continue;
            }
            self.keep(&mut layer, key, Raw::Typed(value.kind), &origin);
        }
        self.layers.push(layer);
    }

    fn flags(&mut self, flags: &[(String, String)]) {
        let origin = "command line";
        let mut layer = Layer::default();
        for (key, value) in flags {
            if is_secret(key) && redact::redacted_url(value) != *value {
                self.problems.push(Error::Value {
                    key: key.clone(),
                    found: "***".into(),
                    origin: origin.into(),
                    expected: "no password here, where every user of the machine can read it: \
                               give it in a settings file or in a file named by a …_FILE variable"
                        .into(),
                });
            } else {
                self.keep(&mut layer, key.clone(), Raw::Text(value.clone()), origin);
            }
        }
        self.layers.push(layer);
    }

    fn keep(&mut self, layer: &mut Layer, key: String, raw: Raw, origin: &str) {
        match schema().typed(&key, raw, origin) {
            Ok(value) => {
                layer.values.insert(key, value);
            }
            Err(problem) => self.problems.push(problem),
        }
    }

    fn next_layer(&mut self, outcome: (Layer, Vec<Error>)) {
        self.layers.push(outcome.0);
        self.problems.extend(outcome.1);
    }

    fn unreadable(&mut self, what: String, reason: String) {
        self.problems.push(Error::Unreadable { what, reason });
    }

    fn merge(self) -> Result<(Merged, Vec<String>), Error> {
        Error::all(self.problems)?;
        let mut builder = Config::builder();
        let mut warnings = Vec::new();
        for mut layer in self.layers {
            warnings.append(&mut layer.warnings);
            builder = builder.add_source(layer);
        }
        let inconsistent = |error: ConfigError| Error::Inconsistent(error.to_string());
        let tables = builder.build().map_err(inconsistent)?;
        let values = flat(tables.collect().map_err(inconsistent)?);
        Ok((Merged { tables, values }, warnings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, Error> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        load(&Sources {
            files: Vec::new(),
            environment: environment.iter().map(own).collect(),
            flags: flags.iter().map(own).collect(),
        })
    }

    #[test]
    fn the_defaults_are_good() {
        let loaded = load(&Sources::default()).unwrap();
        assert_eq!(loaded.settings.http.port, 8080);
        assert!(loaded.entries.iter().all(|entry| entry.origin == "default"));
    }

    #[test]
    fn a_flag_wins_over_a_variable_and_a_variable_over_an_alias() {
        let environment = [("SPHEROCTL__HTTP__PORT", "2"), ("PORT", "1")];
        assert_eq!(with(&environment, &[]).unwrap().settings.http.port, 2);
        let loaded = with(&environment, &[("http.port", "3")]).unwrap();
        assert_eq!(loaded.settings.http.port, 3);
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let error = with(
            &[("SPHEROCTL__HTTP__PORT", "x"), ("SPHEROCTL__NO", "y")],
            &[],
        );
        let text = error.unwrap_err().to_string();
        assert!(text.contains("http.port = \"x\" (environment variable SPHEROCTL__HTTP__PORT): expected a whole number"), "{text}");
        assert!(text.contains("SPHEROCTL__NO"), "{text}");
    }

    #[test]
    fn a_password_on_the_command_line_is_refused() {
        let error = with(&[], &[("redis.url", "redis://:canary@cache")]).unwrap_err();
        assert!(!error.to_string().contains("canary"), "{error}");
        with(&[], &[("database.url", "sqlite:here.sqlite")]).unwrap();
    }

    #[test]
    fn debug_and_entries_never_show_a_password() {
        let urls = [
            ("DATABASE_URL", "postgres://lab:canary@db/lab"),
            ("DATABASE_REPLICA_URL", "postgres://db/lab?password=canary"),
            (
                "SPHEROCTL__DATABASE__DIRECT_URL",
                "postgres://lab:can@ary@db/lab",
            ),
            ("REDIS_URL", "redis://:canary@cache:6379"),
        ];
        let loaded = with(&urls, &[]).unwrap();
        let text = format!("{loaded:?}");
        assert!(!text.contains("canary") && !text.contains("ary@"), "{text}");
        assert!(text.contains("postgres://lab:***@db/lab"), "{text}");
    }
}
