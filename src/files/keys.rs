//! Where objects are kept. Every key begins with the project, and none holds a word from outside.

use crate::kit::id::{FileId, JobId, ProjectId};

/// The key of an uploaded file.
pub fn file_key(project: ProjectId, file: FileId) -> String {
    format!("projects/{project}/files/{file}")
}

/// The key of a result that is too large for its row. The attempt is part of it: a late write of an earlier attempt
/// never replaces the result of a later one.
pub fn result_key(project: ProjectId, job: JobId, attempt: i64) -> String {
    format!("projects/{project}/results/{job}/{attempt}")
}

/// What an object is, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An uploaded file.
    File(FileId),
    /// A result of this job.
    Result(JobId),
}

/// The project of a key and what its object is; `None` where the key is none of ours.
pub fn kind_of(key: &str) -> Option<(ProjectId, Kind)> {
    let parts: Vec<&str> = key.split('/').collect();
    let (project, kind) = match parts[..] {
        ["projects", project, "files", file] => (project, Kind::File(file.parse().ok()?)),
        ["projects", project, "results", job, attempt] => {
            attempt.parse::<i64>().ok()?;
            (project, Kind::Result(job.parse().ok()?))
        }
        _ => return None,
    };
    Some((project.parse().ok()?, kind))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn keys_say_what_their_objects_are() {
        let project = ProjectId::from_uuid(Uuid::from_u128(1));
        let (file, job) = (
            FileId::from_uuid(Uuid::from_u128(2)),
            JobId::from_uuid(Uuid::from_u128(3)),
        );
        assert_eq!(
            kind_of(&file_key(project, file)),
            Some((project, Kind::File(file)))
        );
        assert_eq!(
            kind_of(&result_key(project, job, 7)),
            Some((project, Kind::Result(job)))
        );
        for other in [
            "store-id",
            "projects/p/files/f",
            "projects",
            &format!("projects/{project}/files/{file}/x"),
        ] {
            assert_eq!(kind_of(other), None, "{other}");
        }
    }
}
