//! Values come back as they were written, whatever the dialect stores them as.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use spheroctl::db::{Error, Tx, on_tx, run_tx};
use spheroctl::kit::clock::SystemClock;
use spheroctl::kit::id::JobId;
use sqlx::types::Json;
use uuid::Uuid;

use super::Backend;

const CREATE_POSTGRES: &str = "
    create table samples (
        id uuid primary key, instant timestamptz, raw uuid, blob bytea, document jsonb, flag boolean,
        count bigint, ratio double precision, note text
    )";
const CREATE_SQLITE: &str = "
    create table samples (
        id blob primary key not null, instant text, raw blob, blob blob, document text, flag boolean,
        count integer, ratio real, note text
    )";
const INSERT: &str = "
    insert into samples (id, instant, raw, blob, document, flag, count, ratio, note)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const SELECT: &str = "
    select id, instant, raw, blob, document, flag, count, ratio, note
    from samples
    where id = $1";
const INSTANTS_IN_ORDER: &str = "select instant from samples order by instant";
const INSTANTS_FROM: &str = "select count(*) from samples where instant >= $1";
const INSTANTS_AT: &str = "select count(*) from samples where instant = $1";

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
struct Sample {
    id: JobId,
    instant: Option<DateTime<Utc>>,
    raw: Option<Uuid>,
    blob: Option<Vec<u8>>,
    document: Option<Json<Value>>,
    flag: Option<bool>,
    count: Option<i64>,
    ratio: Option<f64>,
    note: Option<String>,
}

pub async fn every_value_comes_back(backend: &Backend) {
    backend.execute(CREATE_POSTGRES, CREATE_SQLITE).await;
    for sample in [full(), smallest(), nothing()] {
        write(backend, std::slice::from_ref(&sample)).await;
        let mut reader = backend.db.reader().await.expect("a reader");
        let found: Sample = on_tx!(reader, |conn| sqlx::query_as(SELECT)
            .bind(sample.id)
            .fetch_one(conn)
            .await)
        .expect("the row");
        assert_eq!(found, sample);
    }
}

/// SQLite keeps instants as texts of different lengths; these must compare as the instants do.
pub async fn instants_are_in_order(backend: &Backend) {
    backend.execute(CREATE_POSTGRES, CREATE_SQLITE).await;
    // Whole seconds, milliseconds and microseconds around each other, a turn of the year, and before 1970.
    let micros = [
        -1,
        0,
        1,
        999,
        1_000,
        1_001,
        120_000,
        123_456,
        500_000,
        999_999,
        1_000_000,
        1_000_001,
        1_798_761_599_999_999,
        1_798_761_600_000_000,
        1_798_761_600_000_001,
    ];
    let instants = micros.map(|it| DateTime::from_timestamp_micros(it).expect("in range"));
    let mut samples = instants.map(|instant| Sample {
        instant: Some(instant),
        ..nothing()
    });
    samples.reverse();
    write(backend, &samples).await;

    let mut reader = backend.db.reader().await.expect("a reader");
    let found: Vec<DateTime<Utc>> = on_tx!(reader, |conn| sqlx::query_scalar(INSTANTS_IN_ORDER)
        .fetch_all(conn)
        .await)
    .expect("the instants");
    assert_eq!(found, instants);
    for (index, instant) in instants.iter().enumerate() {
        let later = count(&mut reader, INSTANTS_FROM, *instant).await;
        assert_eq!(later, instants.len() - index, "from {instant}");
        assert_eq!(
            count(&mut reader, INSTANTS_AT, *instant).await,
            1,
            "at {instant}"
        );
    }
}

async fn count(reader: &mut Tx, text: &'static str, instant: DateTime<Utc>) -> usize {
    let count: i64 = on_tx!(reader, |conn| sqlx::query_scalar(text)
        .bind(instant)
        .fetch_one(conn)
        .await)
    .expect("a count");
    usize::try_from(count).expect("a count is not negative")
}

async fn write(backend: &Backend, samples: &[Sample]) {
    let outcome: Result<(), Error> = run_tx!(backend.db, "test", |tx| -> Result<(), Error> {
        for sample in samples {
            let sample = sample.clone();
            on_tx!(tx, |conn| sqlx::query(INSERT)
                .bind(sample.id)
                .bind(sample.instant)
                .bind(sample.raw)
                .bind(sample.blob)
                .bind(sample.document)
                .bind(sample.flag)
                .bind(sample.count)
                .bind(sample.ratio)
                .bind(sample.note)
                .execute(conn)
                .await
                .map(drop))?;
        }
        Ok(())
    });
    outcome.expect("the samples are written");
}

fn full() -> Sample {
    Sample {
        id: JobId::new(&SystemClock),
        instant: DateTime::from_timestamp_micros(1_798_761_599_123_456),
        raw: Some(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)),
        blob: Some((0..=255).collect()),
        document: Some(Json(json!({"a": [1, 2.5, null, true], "ä": "µm \" \\ \n"}))),
        flag: Some(true),
        count: Some(i64::MAX),
        ratio: Some(0.1 + 0.2),
        note: Some("Sphäroid 球 ' \" \\ $1 ?".to_owned()),
    }
}

fn smallest() -> Sample {
    Sample {
        id: JobId::new(&SystemClock),
        instant: DateTime::from_timestamp_micros(0),
        raw: Some(Uuid::nil()),
        blob: Some(Vec::new()),
        document: Some(Json(Value::Null)),
        flag: Some(false),
        count: Some(i64::MIN),
        ratio: Some(f64::MIN_POSITIVE),
        note: Some(String::new()),
    }
}

fn nothing() -> Sample {
    Sample {
        id: JobId::new(&SystemClock),
        instant: None,
        raw: None,
        blob: None,
        document: None,
        flag: None,
        count: None,
        ratio: None,
        note: None,
    }
}
