//! Migrations: from nothing, again, by many at once, and against a newer schema.

use futures::future::join_all;
use spheroctl::db::{Db, Error, on_tx};

use super::{Backend, suite};

suite! {
    sqlite => Backend::empty_sqlite, postgres => Backend::empty_postgres;
    [
        nothing_becomes_the_schema,
        once_more_changes_nothing,
        many_at_once_apply_each_once,
        many_at_once_catch_up_once,
        a_newer_schema_is_refused_by_name,
        a_changed_migration_is_refused_by_name,
    ]
}

const HISTORY: &str = "select version from _sqlx_migrations order by version";
const HISTORY_POSTGRES: &str = "
    create table _sqlx_migrations (
        version bigint primary key, description text not null, installed_on timestamptz not null default now(),
        success boolean not null, checksum bytea not null, execution_time bigint not null
    )";
const HISTORY_SQLITE: &str = "
    create table _sqlx_migrations (
        version bigint primary key, description text not null, installed_on timestamp not null default current_timestamp,
        success boolean not null, checksum blob not null, execution_time bigint not null
    )";
const FROM_THE_FUTURE_POSTGRES: &str = "
    insert into _sqlx_migrations (version, description, success, checksum, execution_time)
    values (9876, 'of tomorrow', true, '\\x00', 0)";
const FROM_THE_FUTURE_SQLITE: &str = "
    insert into _sqlx_migrations (version, description, success, checksum, execution_time)
    values (9876, 'of tomorrow', true, x'00', 0)";
const CHANGED_POSTGRES: &str = "update _sqlx_migrations set checksum = '\\x00' where version = 1";
const CHANGED_SQLITE: &str = "update _sqlx_migrations set checksum = x'00' where version = 1";

async fn nothing_becomes_the_schema(backend: &Backend) {
    let pending = backend.db.pending().await.expect("an answer");
    assert!(
        pending.first().is_some_and(|it| it == "0001_core"),
        "{pending:?}"
    );
    backend.db.migrate().await.expect("the schema is made");
    assert!(backend.db.pending().await.expect("an answer").is_empty());
    assert_eq!(history(backend).await.len(), pending.len());
}

async fn once_more_changes_nothing(backend: &Backend) {
    backend.db.migrate().await.expect("the schema is made");
    let before = history(backend).await;
    backend.db.migrate().await.expect("nothing is left to do");
    assert_eq!(history(backend).await, before);
}

async fn many_at_once_apply_each_once(backend: &Backend) {
    migrate_four_times_at_once(backend).await;
}

/// With a history to read all of them see what is missing at the same time, before any of them writes.
async fn many_at_once_catch_up_once(backend: &Backend) {
    backend.execute(HISTORY_POSTGRES, HISTORY_SQLITE).await;
    migrate_four_times_at_once(backend).await;
}

/// Each with pools of its own, as as many processes have them.
async fn migrate_four_times_at_once(backend: &Backend) {
    let pending = backend.db.pending().await.expect("an answer");
    let handles = join_all((0..4).map(|_| backend.another(|_| ()))).await;
    for outcome in join_all(handles.iter().map(Db::migrate)).await {
        outcome.expect("each of them succeeds");
    }
    assert_eq!(history(backend).await.len(), pending.len());
    assert!(backend.db.pending().await.expect("an answer").is_empty());
}

/// Migrating is refused, working is not: the old version goes on during a rolling update.
async fn a_newer_schema_is_refused_by_name(backend: &Backend) {
    backend.db.migrate().await.expect("the schema is made");
    backend
        .execute(FROM_THE_FUTURE_POSTGRES, FROM_THE_FUTURE_SQLITE)
        .await;
    let error = backend.db.migrate().await.unwrap_err();
    assert!(matches!(error, Error::Migration(_)), "{error:?}");
    assert!(error.to_string().contains("newer"), "{error}");
    assert!(error.to_string().contains("9876"), "{error}");
    assert!(backend.db.pending().await.expect("an answer").is_empty());
}

async fn a_changed_migration_is_refused_by_name(backend: &Backend) {
    backend.db.migrate().await.expect("the schema is made");
    backend.execute(CHANGED_POSTGRES, CHANGED_SQLITE).await;
    let error = backend.db.migrate().await.unwrap_err();
    assert!(error.to_string().contains("0001_core"), "{error}");
}

async fn history(backend: &Backend) -> Vec<i64> {
    let mut reader = backend.db.reader().await.expect("a reader");
    on_tx!(reader, |conn| sqlx::query_scalar(HISTORY)
        .fetch_all(conn)
        .await)
    .expect("the history")
}
