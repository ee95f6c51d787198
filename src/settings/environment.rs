//! The layer of `SPHEROCTL__SECTION__KEY` and, for secrets, `SPHEROCTL__SECTION__KEY_FILE`.

use std::collections::BTreeMap;
use std::path::Path;

use config::Value;

use super::error::Error;
use super::layers::{Layer, read_bounded};
use super::schema::{Raw, SECRETS, schema};

const PREFIX: &str = "SPHEROCTL__";
const FILE_SUFFIX: &str = "_FILE";

/// The values that the environment gives, and its problems: a variable with our prefix that is no setting is one.
pub(super) fn layer(environment: &BTreeMap<String, String>) -> (Layer, Vec<Error>) {
    let mut layer = Layer::default();
    let mut problems = Vec::new();
    let keys: BTreeMap<String, &str> = schema()
        .defaults()
        .keys()
        .map(|key| (variable(key), key.as_str()))
        .collect();
    for (name, value) in environment {
        match value_of(name, value, &keys, environment) {
            Ok(Some((key, value))) => {
                layer.values.insert(key.to_owned(), value);
            }
            Ok(None) => layer.warnings.extend(misspelt(name, &keys)),
            Err(problem) => problems.push(problem),
        }
    }
    (layer, problems)
}

/// The variable that sets `key`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

fn value_of<'a>(
    name: &str,
    value: &str,
    keys: &BTreeMap<String, &'a str>,
    environment: &BTreeMap<String, String>,
) -> Result<Option<(&'a str, Value)>, Error> {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return Ok(None);
    };
    let origin = format!("environment variable {name}");
    if let Some(key) = keys.get(name) {
        let value = schema().typed(key, Raw::Text(value.to_owned()), &origin)?;
        return Ok(Some((*key, value)));
    }
    let direct = name.strip_suffix(FILE_SUFFIX).unwrap_or_default();
    match keys.get_key_value(direct) {
        Some((direct, key)) if SECRETS.contains(key) => {
            if environment.contains_key(direct) {
                return Err(Error::Both {
                    first: direct.clone(),
                    second: name.to_owned(),
                    key: (*key).to_owned(),
                });
            }
            let text = secret(Path::new(value), &origin)?;
            let origin = format!("file {value}, {origin}");
            let value = schema().typed(key, Raw::Text(text), &origin)?;
            Ok(Some((*key, value)))
        }
        _ => {
            let meant = rest.to_ascii_lowercase().replacen("__", ".", 1);
            Err(schema().unknown(name, &meant, "environment"))
        }
    }
}

fn secret(path: &Path, origin: &str) -> Result<String, Error> {
    let unreadable = |reason: String| Error::Unreadable {
        what: format!("file {}, {origin}", path.display()),
        reason,
    };
    let text = read_bounded(path).map_err(unreadable)?;
    match text.trim() {
        "" => Err(unreadable("empty".into())),
        secret => Ok(secret.to_owned()),
    }
}

/// One underscore instead of two is the common mistake. It cannot be refused: Kubernetes makes variables such as
/// `SPHEROCTL_HTTP_PORT` by itself for a service of that name.
fn misspelt(name: &str, keys: &BTreeMap<String, &str>) -> Option<String> {
    let rest = name.strip_prefix("SPHEROCTL_")?;
    let meant = keys.keys().find(|variable| {
        let single = variable[PREFIX.len()..].replace("__", "_");
        rest == single || rest.strip_suffix(FILE_SUFFIX) == Some(&single)
    })?;
    Some(format!(
        "{name} is not used; {meant} is the variable that sets it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn layer_of(pairs: &[(&str, &str)]) -> (Layer, Vec<Error>) {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        layer(&pairs.iter().map(own).collect())
    }

    #[test]
    fn a_secret_is_read_from_its_file_and_trimmed() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "sqlite:here.sqlite").unwrap();
        let path = file.path().to_str().unwrap();
        let (layer, problems) = layer_of(&[("SPHEROCTL__DATABASE__URL_FILE", path)]);
        assert!(problems.is_empty(), "{problems:?}");
        let value = &layer.values["database.url"];
        assert_eq!(value.clone().into_string().unwrap(), "sqlite:here.sqlite");
        assert!(value.origin().unwrap().contains(path));
    }

    #[test]
    fn variable_and_file_together_are_refused() {
        let pairs = [
            ("SPHEROCTL__REDIS__URL", "redis://a"),
            ("SPHEROCTL__REDIS__URL_FILE", "/nowhere"),
        ];
        let (_, problems) = layer_of(&pairs);
        assert!(
            matches!(&problems[..], [Error::Both { .. }]),
            "{problems:?}"
        );
    }

    #[test]
    fn a_key_that_is_no_secret_has_no_file_variable() {
        let (_, problems) = layer_of(&[("SPHEROCTL__HTTP__PORT_FILE", "/nowhere")]);
        assert!(
            matches!(&problems[..], [Error::UnknownKey { .. }]),
            "{problems:?}"
        );
    }

    #[test]
    fn a_single_underscore_is_warned_of() {
        let (layer, problems) = layer_of(&[("SPHEROCTL_DATABASE_URL", "x")]);
        assert!(problems.is_empty() && layer.values.is_empty());
        assert!(layer.warnings[0].contains("SPHEROCTL__DATABASE__URL"));
    }
}
