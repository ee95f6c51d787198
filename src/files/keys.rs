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
