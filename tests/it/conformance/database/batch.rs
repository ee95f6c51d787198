//! Lists of 0, 1 and 1,000 items as one parameter.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use spheroctl::db::batch;
use spheroctl::db::{Error, Tx, on_tx, run_tx};
use spheroctl::kit::clock::{Clock, SystemClock};
use spheroctl::kit::id::EventId;
use sqlx::types::Json;

use super::Backend;

const LENGTHS: [usize; 3] = [0, 1, 1_000];

const INSERT_POSTGRES: &str = "
    insert into outbox_events (id, shard, topic, key, headers, payload, created_at)
    select id, shard, topic, key, headers, decode(payload, 'hex'), created_at
    from json_to_recordset($1::json) as row
        (id uuid, shard bigint, topic text, key text, headers jsonb, payload text, created_at timestamptz)
    on conflict (id) do nothing";
const INSERT_SQLITE: &str = "
    insert into outbox_events (id, shard, topic, key, headers, payload, created_at)
    select unhex(value ->> 'id', '-'), value ->> 'shard', value ->> 'topic', value ->> 'key', value -> 'headers',
        unhex(value ->> 'payload'), value ->> 'created_at'
    from json_each($1)
    where true
    on conflict (id) do nothing";
const TAKE_POSTGRES: &str = "
    update outbox_events
    set topic = $2
    where id = any (array(select value::uuid from json_array_elements_text($1::json))) and topic = 'queued'
    returning id";
const TAKE_SQLITE: &str = "
    update outbox_events
    set topic = $2
    where id in (select unhex(value, '-') from json_each($1)) and topic = 'queued'
    returning id";
const SELECT: &str = "
    select id, shard, topic, key, headers, payload, created_at
    from outbox_events
    where created_at = $1
    order by id";

#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
struct Row {
    id: EventId,
    shard: i64,
    topic: String,
    key: String,
    headers: Json<Value>,
    #[serde(serialize_with = "batch::hex")]
    payload: Vec<u8>,
    #[serde(serialize_with = "batch::instant")]
    created_at: DateTime<Utc>,
}

pub async fn lists_of_any_length_are_one_parameter(backend: &Backend) {
    for length in LENGTHS {
        let rows = rows(length);
        let ids: Vec<EventId> = rows.iter().map(|row| row.id).collect();
        insert(backend, &rows).await;
        let stranger = EventId::new(&SystemClock);
        let asked = [ids.as_slice(), &[stranger]].concat();
        assert_eq!(take(backend, &asked).await, ids);
        assert_eq!(take(backend, &asked).await, [], "taken already");
        assert_eq!(take(backend, &[]).await, []);
    }
}

pub async fn rows_are_inserted_from_one_parameter(backend: &Backend) {
    for length in LENGTHS {
        let rows = rows(length);
        insert(backend, &rows).await;
        insert(backend, &rows).await;
        let Some(first) = rows.first() else { continue };
        let mut reader = backend.db.reader().await.expect("a reader");
        let found: Vec<Row> = on_tx!(reader, |conn| sqlx::query_as(SELECT)
            .bind(first.created_at)
            .fetch_all(conn)
            .await)
        .expect("the rows");
        assert!(found == rows, "{length} rows: {found:?}");
    }
}

fn rows(length: usize) -> Vec<Row> {
    let created_at = SystemClock.now();
    let row = |index: usize| Row {
        id: EventId::new(&SystemClock),
        shard: i64::try_from(index % 8).expect("below 8"),
        topic: "queued".to_owned(),
        key: format!("schlüssel \"{index}\" \\ '"),
        headers: Json(json!({"attempt": index, "trace": null, "text": "1"})),
        payload: index.to_be_bytes().to_vec(),
        created_at,
    };
    (0..length).map(row).collect()
}

async fn insert(backend: &Backend, rows: &[Row]) {
    let list = batch::list(rows).expect("rows have a JSON form");
    let text = backend.db.dialect().pick(INSERT_POSTGRES, INSERT_SQLITE);
    let outcome: Result<(), Error> = run_tx!(backend.db, "test", |tx| -> Result<(), Error> {
        on_tx!(tx, |conn| sqlx::query(text)
            .bind(&list)
            .execute(conn)
            .await
            .map(drop))?;
        Ok(())
    });
    outcome.expect("the rows are inserted");
}

async fn take(backend: &Backend, ids: &[EventId]) -> Vec<EventId> {
    let outcome: Result<Vec<EventId>, Error> =
        run_tx!(backend.db, "test", |tx| -> Result<Vec<EventId>, Error> {
            take_in(tx, ids).await
        });
    let mut taken = outcome.expect("the rows are taken");
    taken.sort_unstable();
    taken
}

async fn take_in(tx: &mut Tx, ids: &[EventId]) -> Result<Vec<EventId>, Error> {
    let list = batch::list(ids)?;
    let text = tx.dialect().pick(TAKE_POSTGRES, TAKE_SQLITE);
    Ok(on_tx!(tx, |conn| sqlx::query_scalar(text)
        .bind(&list)
        .bind("taken")
        .fetch_all(conn)
        .await)?)
}
