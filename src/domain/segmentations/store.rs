//! Statements on `segmentations`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

use crate::db::batch::Hex;
use crate::db::{Error, Tx, batch, on_tx, write_rows};
use crate::kit::id::{ImageId, JobId, ProjectId, SegmentationId};

use super::{Record, Stored};

const INSERT_POSTGRES: &str = "
    insert into segmentations
        (id, job_id, project_id, image_id, page, attempt, segmenter, object_count, result_zstd,
         result_object_key, created_at)
    select *
    from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[], $7::text[], $8::bigint[],
        $9::bytea[], $10::text[], $11::timestamptz[])";

const INSERT_SQLITE: &str = "
    insert into segmentations
        (id, job_id, project_id, image_id, page, attempt, segmenter, object_count, result_zstd,
         result_object_key, created_at)
    select unhex(value ->> 'id', '-'), unhex(value ->> 'job_id', '-'), unhex(value ->> 'project_id', '-'),
        unhex(value ->> 'image_id', '-'), value ->> 'page', value ->> 'attempt', value ->> 'segmenter',
        value ->> 'object_count', unhex(value ->> 'result_zstd'), value ->> 'result_object_key',
        value ->> 'created_at'
    from json_each($1)";

const OF_JOB: &str = "
    select *
    from segmentations
    where job_id = $1";

const KEYS_OF_POSTGRES: &str = "
    select result_object_key
    from segmentations
    where result_object_key is not null
        and job_id = any (array(select value::uuid from json_array_elements_text($1::json)))";

const KEYS_OF_SQLITE: &str = "
    select result_object_key
    from segmentations
    where result_object_key is not null and job_id in (select unhex(value, '-') from json_each($1))";

#[derive(Serialize)]
struct NewRow<'r> {
    id: SegmentationId,
    job_id: JobId,
    project_id: ProjectId,
    image_id: ImageId,
    page: i64,
    attempt: i64,
    segmenter: &'r str,
    object_count: i64,
    result_zstd: Option<Hex<'r>>,
    result_object_key: Option<&'r str>,
    #[serde(serialize_with = "batch::instant")]
    created_at: DateTime<Utc>,
}

impl<'r> From<&'r (Record, &'r Stored)> for NewRow<'r> {
    fn from((record, stored): &'r (Record, &'r Stored)) -> Self {
        let (packed, key) = match stored {
            Stored::Inline(packed) => (Some(Hex(packed)), None),
            Stored::Object(key) => (None, Some(key.as_str())),
        };
        Self {
            id: record.id,
            job_id: record.job,
            project_id: record.project,
            image_id: record.image,
            page: record.page.cast_signed(),
            attempt: record.attempt,
            segmenter: &record.segmenter,
            object_count: record.object_count.cast_signed(),
            result_zstd: packed,
            result_object_key: key,
            created_at: record.created_at,
        }
    }
}

#[derive(FromRow)]
struct SegmentationRow {
    id: SegmentationId,
    job_id: JobId,
    project_id: ProjectId,
    image_id: ImageId,
    page: i64,
    attempt: i64,
    segmenter: String,
    object_count: i64,
    result_zstd: Option<Vec<u8>>,
    result_object_key: Option<String>,
    created_at: DateTime<Utc>,
}

impl SegmentationRow {
    fn into_parts(self) -> Result<(Record, Stored), Error> {
        let stored = match (self.result_zstd, self.result_object_key) {
            (Some(packed), None) => Stored::Inline(packed),
            (None, Some(key)) => Stored::Object(key),
            _ => {
                return Err(Error::Inconsistent {
                    table: "segmentations",
                    id: self.id.to_string(),
                    what: "the result stands in one place, not in both or none".into(),
                });
            }
        };
        let record = Record {
            id: self.id,
            job: self.job_id,
            project: self.project_id,
            image: self.image_id,
            page: self.page.unsigned_abs(),
            attempt: self.attempt,
            segmenter: self.segmenter,
            object_count: self.object_count.unsigned_abs(),
            created_at: self.created_at,
        };
        Ok((record, stored))
    }
}

pub(super) async fn insert(tx: &mut Tx, results: &[(Record, &Stored)]) -> Result<(), Error> {
    let rows: Vec<NewRow<'_>> = results.iter().map(NewRow::from).collect();
    write_rows!(tx, INSERT_POSTGRES, INSERT_SQLITE, &rows, |row| [
        row.id,
        row.job_id,
        row.project_id,
        row.image_id,
        row.page,
        row.attempt,
        row.segmenter,
        row.object_count,
        row.result_zstd.map(|packed| packed.0),
        row.result_object_key,
        row.created_at,
    ])?;
    Ok(())
}

pub(super) async fn of_job(tx: &mut Tx, job: JobId) -> Result<Option<(Record, Stored)>, Error> {
    let row: Option<SegmentationRow> = on_tx!(tx, |conn| sqlx::query_as(OF_JOB)
        .bind(job)
        .fetch_optional(conn)
        .await)?;
    row.map(SegmentationRow::into_parts).transpose()
}

pub(super) async fn keys_of(tx: &mut Tx, jobs: &[JobId]) -> Result<Vec<String>, Error> {
    let jobs = batch::list(jobs)?;
    let statement = tx.dialect().pick(KEYS_OF_POSTGRES, KEYS_OF_SQLITE);
    Ok(on_tx!(tx, |conn| sqlx::query_scalar(statement)
        .bind(jobs)
        .fetch_all(conn)
        .await)?)
}
