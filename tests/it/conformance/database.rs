//! The database seam: the same promises on SQLite and on PostgreSQL.

use secrecy::SecretString;
use spheroctl::db::{Db, Error, on_tx, run_tx};
use spheroctl::settings;

use super::suite;

suite! {
    sqlite => Backend::sqlite;
    [commit_is_seen]
}

/// A migrated database that one test has for itself.
struct Backend {
    db: Db,
    _dir: tempfile::TempDir,
}

impl Backend {
    async fn sqlite() -> Self {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let url = format!("sqlite:{}/data/test.sqlite", dir.path().display());
        let db = Db::open(&settings(&url)).await.expect("SQLite opens");
        db.migrate().await.expect("SQLite migrates");
        Self { db, _dir: dir }
    }
}

fn settings(url: &str) -> settings::Database {
    settings::Database {
        url: SecretString::from(url),
        direct_url: SecretString::default(),
        replica_url: SecretString::default(),
        pool_max: 20,
        pool_idle_timeout_ms: 30_000,
        acquire_timeout_ms: 2_000,
        slow_query_ms: 200,
        transaction_attempts_max: 5,
        busy_timeout_ms: 5_000,
    }
}

async fn commit_is_seen(backend: &Backend) {
    let db = &backend.db;
    let written: Result<(), Error> = run_tx!(db, "test", |tx| -> Result<(), Error> {
        on_tx!(tx, |conn| sqlx::query("create table notes (id bigint)")
            .execute(conn)
            .await?
            .rows_affected());
        Ok(())
    });
    written.expect("a commit");
    let mut reader = db.reader().await.expect("a reader");
    let count: i64 = on_tx!(reader, |conn| sqlx::query_scalar(
        "select count(*) from notes"
    )
    .fetch_one(conn)
    .await)
    .unwrap();
    assert_eq!(count, 0);
}
