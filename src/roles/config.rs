//! `spheroctl config`: says whether the settings are good, and what they are. Settings that do not load never come
//! here: that is exit status 78.

use std::fmt::Write;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::args::{ConfigAction, ConfigArgs, RoleName};
use super::output;
use crate::settings::{Entry, Loaded, Role, check_for};

/// Checks or prints `loaded`.
///
/// # Errors
/// What the asked role misses; standard output that cannot be written.
pub fn run(args: &ConfigArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    match args.action {
        ConfigAction::Check { role } => {
            if let Some(role) = role {
                check_for(role.into(), &loaded.settings)?;
            }
            check(loaded, args.json)?;
        }
        ConfigAction::Show { origin, .. } if args.json => {
            output::json(&tree(&loaded.entries, origin))?;
        }
        ConfigAction::Show { origin, .. } => {
            output::line(toml(&loaded.entries, origin).trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Serve => Self::Serve,
            RoleName::Worker => Self::Worker,
            RoleName::Realtime => Self::Realtime,
            RoleName::Migrate => Self::Migrate,
            RoleName::Standalone => Self::Standalone,
        }
    }
}

fn check(loaded: &Loaded, as_json: bool) -> std::io::Result<()> {
    if as_json {
        return output::json(&json!({ "ok": true, "warnings": loaded.warnings }));
    }
    for warning in &loaded.warnings {
        output::line(&format!("warning: {warning}"))?;
    }
    output::line("the settings are good")
}

/// The entries as nested JSON; with origins each value is an object of `value` and `origin`.
fn tree(entries: &[Entry], origin: bool) -> Value {
    let mut sections = Map::new();
    for entry in entries {
        let (section, name) = entry.key.split_once('.').unwrap_or(("", &entry.key));
        let value = match origin {
            true => json!({ "value": entry.value, "origin": entry.origin }),
            false => entry.value.clone(),
        };
        let section = sections.entry(section).or_insert_with(|| json!({}));
        section[name] = value;
    }
    Value::Object(sections)
}

/// The entries as a settings file; JSON's strings are TOML's too.
fn toml(entries: &[Entry], origin: bool) -> String {
    let mut text = String::new();
    let mut open = "";
    for entry in entries {
        let (section, name) = entry.key.split_once('.').unwrap_or(("", &entry.key));
        if section != open {
            let gap = if open.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{section}]");
            open = section;
        }
        let _ = match origin {
            true => writeln!(text, "{name} = {}  # {}", entry.value, entry.origin),
            false => writeln!(text, "{name} = {}", entry.value),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Sources, load};

    #[test]
    fn what_is_shown_can_be_loaded_again() {
        let entries = load(&Sources::default()).unwrap().entries;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml(&entries, true)).unwrap();
        let again = load(&Sources {
            files: vec![file.path().to_owned()],
            ..Sources::default()
        });
        let values = |entries: &[Entry]| tree(entries, false);
        assert_eq!(values(&again.unwrap().entries), values(&entries));
    }
}
