//! The URL of a database file: sqlx decodes % and takes ? for the start of parameters.

use std::path::Path;

/// The URL of this file.
pub fn sqlite_url(file: &Path) -> String {
    let path = file.display().to_string();
    let path = path.replace('%', "%25").replace('?', "%3F");
    format!("sqlite:{path}")
}
