//! The names under which bytes are stored. They are made of ids only; no text of a client ever becomes a path.

use std::fmt;
use std::str::FromStr;

use object_store::path::Path;

use super::error::Error;
use crate::kit::id::{FileId, JobId, ProjectId};

/// The name of one stored file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(Path);

impl Key {
    /// An uploaded file: `projects/{project}/files/{file}`.
    pub fn file(project: ProjectId, file: FileId) -> Self {
        Self(Path::from(format!("projects/{project}/files/{file}")))
    }

    /// The result of one attempt at a job, `projects/{project}/results/{job}/{attempt}`: the attempt is in the name,
    /// so that a worker which has lost the job cannot overwrite the owner's result.
    pub fn result(project: ProjectId, job: JobId, attempt: i64) -> Self {
        Self(Path::from(format!(
            "projects/{project}/results/{job}/{attempt}"
        )))
    }

    /// The name as text, as it is kept in rows.
    pub fn as_str(&self) -> &str {
        self.0.as_ref()
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Key {
    type Err = Error;

    /// Reads a key that was kept in a row.
    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| Error::BadKey(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Key> {
    let parts: Vec<&str> = text.split('/').collect();
    let key = match parts[..] {
        ["projects", project, "files", file] => {
            Key::file(project.parse().ok()?, file.parse().ok()?)
        }
        ["projects", project, "results", job, attempt] => Key::result(
            project.parse().ok()?,
            job.parse().ok()?,
            attempt.parse().ok()?,
        ),
        _ => return None,
    };
    (key.as_str() == text).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::clock::SystemClock;

    #[test]
    fn keys_survive_the_way_through_a_row() {
        let (project, job) = (ProjectId::new(&SystemClock), JobId::new(&SystemClock));
        for key in [
            Key::file(project, FileId::new(&SystemClock)),
            Key::result(project, job, 3),
        ] {
            assert_eq!(key.as_str().parse::<Key>().unwrap(), key);
        }
    }

    #[test]
    fn other_texts_are_no_keys() {
        for text in [
            "",
            "store.json",
            "/etc/passwd",
            "projects/../../x",
            "projects/00000000-0000-7000-8000-000000000000/files/..",
            "projects/{00000000-0000-7000-8000-000000000000}/files/00000000-0000-7000-8000-000000000001",
        ] {
            assert!(text.parse::<Key>().is_err(), "{text:?}");
        }
    }
}
