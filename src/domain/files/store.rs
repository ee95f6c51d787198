//! Statements on `files`.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use crate::db::{Error, Tx, batch, execute, on_tx};
use crate::kit::id::{FileId, ProjectId, UserId};

use super::File;

const INSERT: &str = "
    insert into files
        (id, project_id, uploaded_by, name, size_bytes, sha256, media_type, object_key, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

const BY_ID: &str = "
    select id, project_id, uploaded_by, name, size_bytes, sha256, media_type, object_key, created_at
    from files
    where id = $1";

const BYTES_OF: &str = "
    select cast(coalesce(sum(size_bytes), 0) as bigint)
    from files
    where project_id = $1";

const KEYS_OF_POSTGRES: &str = "
    select object_key
    from files
    where id = any (array(select value::uuid from json_array_elements_text($1::json)))";

const KEYS_OF_SQLITE: &str = "
    select object_key
    from files
    where id in (select unhex(value, '-') from json_each($1))";

#[derive(FromRow)]
struct FileRow {
    id: FileId,
    project_id: ProjectId,
    uploaded_by: UserId,
    name: String,
    size_bytes: i64,
    sha256: Vec<u8>,
    media_type: String,
    object_key: String,
    created_at: DateTime<Utc>,
}

impl FileRow {
    fn into_file(self) -> Result<File, Error> {
        let sha256 = self
            .sha256
            .try_into()
            .map_err(|digest: Vec<u8>| Error::Inconsistent {
                table: "files",
                id: self.id.to_string(),
                what: format!("a digest of {} bytes is not a SHA-256", digest.len()),
            })?;
        Ok(File {
            id: self.id,
            project: self.project_id,
            uploaded_by: self.uploaded_by,
            name: self.name,
            size_bytes: self.size_bytes.unsigned_abs(),
            sha256,
            media_type: self.media_type,
            object_key: self.object_key,
            created_at: self.created_at,
        })
    }
}

pub(super) async fn insert(tx: &mut Tx, file: &File) -> Result<(), Error> {
    execute!(
        tx,
        INSERT,
        file.id,
        file.project,
        file.uploaded_by,
        &file.name,
        file.size_bytes.cast_signed(),
        file.sha256.as_slice(),
        &file.media_type,
        &file.object_key,
        file.created_at
    )?;
    Ok(())
}

pub(super) async fn by_id(tx: &mut Tx, id: FileId) -> Result<Option<File>, Error> {
    let row: Option<FileRow> = on_tx!(tx, |conn| sqlx::query_as(BY_ID)
        .bind(id)
        .fetch_optional(conn)
        .await)?;
    row.map(FileRow::into_file).transpose()
}

pub(super) async fn bytes_of(tx: &mut Tx, project: ProjectId) -> Result<u64, Error> {
    let bytes: i64 = on_tx!(tx, |conn| sqlx::query_scalar(BYTES_OF)
        .bind(project)
        .fetch_one(conn)
        .await)?;
    Ok(bytes.unsigned_abs())
}

pub(super) async fn keys_of(tx: &mut Tx, files: &[FileId]) -> Result<Vec<String>, Error> {
    let files = batch::list(files)?;
    let statement = tx.dialect().pick(KEYS_OF_POSTGRES, KEYS_OF_SQLITE);
    Ok(on_tx!(tx, |conn| sqlx::query_scalar(statement)
        .bind(files)
        .fetch_all(conn)
        .await)?)
}
