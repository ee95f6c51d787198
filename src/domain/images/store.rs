//! Statements on `images`.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use crate::db::{Error, Tx, batch, execute, on_tx};
use crate::kit::id::{FileId, ImageId, JobId, ProjectId};

use super::{Image, JobImage};

const INSERT: &str = "
    insert into images
        (id, project_id, file_id, name, width, height, pages, bits_per_sample, pixel_size_um, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

const BY_ID: &str = "
    select id, project_id, file_id, name, width, height, pages, bits_per_sample, pixel_size_um, created_at
    from images
    where id = $1";

const BY_IDS_POSTGRES: &str = "
    select id, project_id, file_id, name, width, height, pages, bits_per_sample, pixel_size_um, created_at
    from images
    where id = any (array(select value::uuid from json_array_elements_text($1::json)))";

const BY_IDS_SQLITE: &str = "
    select id, project_id, file_id, name, width, height, pages, bits_per_sample, pixel_size_um, created_at
    from images
    where id in (select unhex(value, '-') from json_each($1))";

const OF_PROJECT: &str = "
    select id, project_id, file_id, name, width, height, pages, bits_per_sample, pixel_size_um, created_at
    from images
    where project_id = $1 and id < $2
    order by id desc
    limit $3";

const OF_JOBS_POSTGRES: &str = "
    select queue_jobs.id as job_id, images.width, images.height, images.pages, images.bits_per_sample, files.name,
        files.media_type, files.object_key, files.size_bytes
    from queue_jobs
    join images on images.id = queue_jobs.image_id
    join files on files.id = images.file_id
    where queue_jobs.id = any (array(select value::uuid from json_array_elements_text($1::json)))";

const OF_JOBS_SQLITE: &str = "
    select queue_jobs.id as job_id, images.width, images.height, images.pages, images.bits_per_sample, files.name,
        files.media_type, files.object_key, files.size_bytes
    from queue_jobs
    join images on images.id = queue_jobs.image_id
    join files on files.id = images.file_id
    where queue_jobs.id in (select unhex(value, '-') from json_each($1))";

#[derive(FromRow)]
struct ImageRow {
    id: ImageId,
    project_id: ProjectId,
    file_id: FileId,
    name: String,
    width: i64,
    height: i64,
    pages: i64,
    bits_per_sample: i64,
    pixel_size_um: Option<f64>,
    created_at: DateTime<Utc>,
}

impl From<ImageRow> for Image {
    fn from(row: ImageRow) -> Self {
        Self {
            id: row.id,
            project: row.project_id,
            file: row.file_id,
            name: row.name,
            width: row.width.unsigned_abs(),
            height: row.height.unsigned_abs(),
            pages: row.pages.unsigned_abs(),
            bits_per_sample: row.bits_per_sample.unsigned_abs(),
            pixel_size_um: row.pixel_size_um,
            created_at: row.created_at,
        }
    }
}

#[derive(FromRow)]
struct JobImageRow {
    job_id: JobId,
    width: i64,
    height: i64,
    pages: i64,
    bits_per_sample: i64,
    name: String,
    media_type: String,
    object_key: String,
    size_bytes: i64,
}

impl From<JobImageRow> for JobImage {
    fn from(row: JobImageRow) -> Self {
        Self {
            width: row.width.unsigned_abs(),
            height: row.height.unsigned_abs(),
            pages: row.pages.unsigned_abs(),
            bits_per_sample: row.bits_per_sample.unsigned_abs(),
            file_name: row.name,
            media_type: row.media_type,
            object_key: row.object_key,
            size_bytes: row.size_bytes.unsigned_abs(),
        }
    }
}

pub(super) async fn insert(tx: &mut Tx, image: &Image) -> Result<(), Error> {
    execute!(
        tx,
        INSERT,
        image.id,
        image.project,
        image.file,
        &image.name,
        image.width.cast_signed(),
        image.height.cast_signed(),
        image.pages.cast_signed(),
        image.bits_per_sample.cast_signed(),
        image.pixel_size_um,
        image.created_at
    )?;
    Ok(())
}

pub(super) async fn by_ids(tx: &mut Tx, ids: &[ImageId]) -> Result<Vec<Image>, Error> {
    let ids = batch::list(ids)?;
    let statement = tx.dialect().pick(BY_IDS_POSTGRES, BY_IDS_SQLITE);
    let rows: Vec<ImageRow> = on_tx!(tx, |conn| sqlx::query_as(statement)
        .bind(ids)
        .fetch_all(conn)
        .await)?;
    Ok(rows.into_iter().map(Image::from).collect())
}

pub(super) async fn by_id(tx: &mut Tx, id: ImageId) -> Result<Option<Image>, Error> {
    let row: Option<ImageRow> = on_tx!(tx, |conn| sqlx::query_as(BY_ID)
        .bind(id)
        .fetch_optional(conn)
        .await)?;
    Ok(row.map(Image::from))
}

pub(super) async fn of_jobs(tx: &mut Tx, jobs: &[JobId]) -> Result<Vec<(JobId, JobImage)>, Error> {
    let jobs = batch::list(jobs)?;
    let statement = tx.dialect().pick(OF_JOBS_POSTGRES, OF_JOBS_SQLITE);
    let rows: Vec<JobImageRow> = on_tx!(tx, |conn| sqlx::query_as(statement)
        .bind(jobs)
        .fetch_all(conn)
        .await)?;
    let images = rows.into_iter().map(|row| (row.job_id, row.into()));
    Ok(images.collect())
}

pub(super) async fn of_project(
    tx: &mut Tx,
    project: ProjectId,
    before: Option<ImageId>,
    limit: u32,
) -> Result<Vec<Image>, Error> {
    let before = before.unwrap_or(ImageId::from_uuid(Uuid::max()));
    let rows: Vec<ImageRow> = on_tx!(tx, |conn| sqlx::query_as(OF_PROJECT)
        .bind(project)
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await)?;
    Ok(rows.into_iter().map(Image::from).collect())
}
