//! The services that the other tests stand on: each answers, each is new enough, and databases are really apart.

use std::time::Duration;

use fred::prelude::*;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::services::{
    TEMPLATE_LOCK, TestDatabase, drop_leftovers, exported, kafka_bootstrap, postgres_database,
    postgres_url, redis_url, schema_version,
};
use crate::support::{eventually, unique_prefix};

const ANSWER_LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn postgres_answers_and_is_new_enough() {
    let mut connection = PgConnection::connect(&postgres_url()).await.unwrap();
    let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::integer")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(version >= 150_000, "PostgreSQL {version}");
}

#[tokio::test]
async fn redis_answers_and_runs_scripts() {
    let redis = Builder::from_config(Config::from_url(&redis_url()).unwrap())
        .build()
        .unwrap();
    redis.init().await.unwrap();
    let key = unique_prefix();
    let stored: String = redis
        .eval(
            "redis.call('SET', KEYS[1], ARGV[1], 'PX', 10000) return redis.call('GET', KEYS[1])",
            key,
            "seen",
        )
        .await
        .unwrap();
    assert_eq!(stored, "seen");
    redis.quit().await.unwrap();
}

#[tokio::test]
async fn kafka_answers_with_a_broker() {
    let brokers = tokio::task::spawn_blocking(|| {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", kafka_bootstrap())
            .create()
            .unwrap();
        consumer
            .fetch_metadata(None, ANSWER_LIMIT)
            .unwrap()
            .brokers()
            .len()
    });
    assert!(brokers.await.unwrap() >= 1);
}

#[tokio::test]
async fn each_test_has_its_own_database_with_the_schema() {
    let (first, second) = tokio::join!(postgres_database(one_table), postgres_database(one_table));
    let mut in_first = PgConnection::connect(&first.url()).await.unwrap();
    let mut in_second = PgConnection::connect(&second.url()).await.unwrap();
    sqlx::query("insert into notes values (1)")
        .execute(&mut in_first)
        .await
        .unwrap();
    assert_eq!(
        (count(&mut in_first).await, count(&mut in_second).await),
        (1, 0)
    );
}

#[tokio::test]
async fn a_database_goes_with_its_test_even_when_a_connection_is_left() {
    let database = postgres_database(one_table).await;
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    let _left_open = PgConnection::connect(&database.url()).await.unwrap();
    assert!(exists(&name).await);
    drop::<TestDatabase>(database);
    assert!(!exists(&name).await);
}

#[tokio::test]
async fn only_old_leftovers_are_dropped() {
    let young = postgres_database(one_table).await;
    let young_name = young.url().rsplit('/').next().unwrap().to_owned();
    let old_name = format!("spheroctl_test_1_{}", uuid::Uuid::new_v4().simple());
    let mut admin = PgConnection::connect(&postgres_url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("create database {old_name}")))
        .execute(&mut admin)
        .await
        .unwrap();
    sqlx::query("select pg_advisory_lock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(&mut admin)
        .await
        .unwrap();
    drop_leftovers(&mut admin).await.unwrap();
    assert!(exists(&young_name).await);
    assert!(!exists(&old_name).await);
}

async fn one_table(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query("create table notes (id integer)")
        .execute(&mut connection)
        .await
        .unwrap();
}

async fn count(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select count(*) from notes")
        .fetch_one(connection)
        .await
        .unwrap()
}

async fn exists(database: &str) -> bool {
    let name = database.split('?').next().unwrap();
    let mut connection = PgConnection::connect(&postgres_url()).await.unwrap();
    sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

#[test]
fn a_changed_migration_makes_another_template() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("0001_start.sql");
    std::fs::write(&file, "create table a ()").unwrap();
    let before = schema_version(folder.path(), "migrate");
    assert_eq!(before, schema_version(folder.path(), "migrate"));
    assert_ne!(before, schema_version(folder.path(), "another"));
    std::fs::write(&file, "create table b ()").unwrap();
    assert_ne!(before, schema_version(folder.path(), "migrate"));
}

#[test]
fn addresses_are_read_from_the_services_file() {
    let lines = "export A_URL=redis://h:1\nexport A_URL_B=postgres://u@h/d\\?a=1\nexport EMPTY=\n";
    assert_eq!(exported(lines, "A_URL").as_deref(), Some("redis://h:1"));
    assert_eq!(
        exported(lines, "A_URL_B").as_deref(),
        Some("postgres://u@h/d?a=1")
    );
    assert_eq!(
        (exported(lines, "EMPTY"), exported(lines, "A")),
        (None, None)
    );
}

#[tokio::test(start_paused = true)]
async fn eventually_sees_a_condition_that_comes_true() {
    let mut looks = 0;
    eventually("the third look", Duration::from_secs(1), async || {
        looks += 1;
        looks == 3
    })
    .await;
    assert_eq!(looks, 3);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the moon is blue: not so after 2s")]
async fn eventually_names_what_never_came() {
    eventually("the moon is blue", Duration::from_secs(2), async || false).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "an answer: not so after 2s")]
async fn eventually_ends_when_the_condition_hangs() {
    eventually("an answer", Duration::from_secs(2), async || {
        std::future::pending().await
    })
    .await;
}
