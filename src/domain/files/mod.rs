//! Stored bytes: what the file store holds is listed here, and only what is listed here exists.

mod store;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use crate::db::Tx;
use crate::kit::hex::hex;
use crate::kit::id::{FileId, ProjectId, UserId};

use super::Error;

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct File {
    /// Its id.
    pub id: FileId,
    /// Its project.
    pub project: ProjectId,
    /// Who sent it.
    pub uploaded_by: UserId,
    /// The name it came with; never used as a path.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its SHA-256; hexadecimal in JSON.
    #[serde(serialize_with = "as_hex")]
    pub sha256: [u8; 32],
    /// What its first bytes say it is.
    pub media_type: String,
    /// Where the file store keeps it.
    #[serde(skip)]
    pub object_key: String,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

/// Lists a stored file, inside the transaction that makes what it is for.
///
/// # Errors
/// Only the database's own.
pub async fn insert(tx: &mut Tx, file: &File) -> Result<(), Error> {
    Ok(store::insert(tx, file).await?)
}

/// The file with this id and its project.
///
/// # Errors
/// Only the database's own.
pub async fn find(tx: &mut Tx, id: FileId) -> Result<Option<File>, Error> {
    Ok(store::by_id(tx, id).await?)
}

/// Bytes that a project holds.
///
/// # Errors
/// Only the database's own.
pub async fn bytes_of(tx: &mut Tx, project: ProjectId) -> Result<u64, Error> {
    Ok(store::bytes_of(tx, project).await?)
}

/// The keys of those of these files that are listed.
///
/// # Errors
/// Only the database's own.
pub async fn keys_of(tx: &mut Tx, files: &[FileId]) -> Result<Vec<String>, Error> {
    Ok(store::keys_of(tx, files).await?)
}

fn as_hex<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(digest))
}
