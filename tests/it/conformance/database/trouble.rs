//! What happens when the database is busy, full of callers, or gone for a moment.

use std::time::Duration;

use spheroctl::db::{Db, Error, on_tx, run_tx};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqliteConnection};
use tokio::time::{Instant, timeout};

use super::Backend;
use crate::support::eventually;

const CREATE: &str = "create table notes (text text not null)";
const INSERT: &str = "insert into notes values ('one')";
const UPDATE: &str = "update notes set text = 'two'";
const COUNT: &str = "select count(*) from notes";
const END_ALL_OTHERS: &str = "
    select pg_terminate_backend(pid)
    from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()";

/// Longest time after which a released connection is seen in its pool.
const RETURN_LIMIT: Duration = Duration::from_secs(5);

pub async fn all_connections_in_use_is_a_typed_time_out(backend: &Backend) {
    let limit = Duration::from_millis(200);
    let db = backend
        .another(|settings| {
            settings.pool_max = 1;
            settings.acquire_timeout_ms = 200;
        })
        .await;
    let held = db.attempts("held").begin().await.expect("the only writer");
    exhausted(limit, db.attempts("test").begin()).await;
    drop(held);
    eventually("a writer is free", RETURN_LIMIT, async || {
        empty_transaction(&db).await.is_ok()
    })
    .await;

    let held = db.reader().await.expect("the only reader");
    exhausted(limit, db.reader()).await;
    drop(held);
    eventually("a reader is free", RETURN_LIMIT, async || {
        db.reader().await.is_ok()
    })
    .await;
}

/// A caller that goes away in the middle of a transaction leaves neither rows nor a connection that is stuck.
pub async fn a_cancelled_transaction_leaves_nothing(backend: &Backend) {
    backend.execute(CREATE, CREATE).await;
    let db = backend.another(|settings| settings.pool_max = 1).await;
    let hanging = async {
        run_tx!(db, "test", |tx| -> Result<(), Error> {
            on_tx!(tx, |conn| sqlx::query(INSERT).execute(conn).await.map(drop))?;
            std::future::pending().await
        })
    };
    let outcome = timeout(Duration::from_millis(100), hanging).await;
    assert!(outcome.is_err(), "it hangs until its caller goes away");
    update(&db).await.expect("the writer is free");
    let mut reader = db.reader().await.expect("a reader");
    let count: i64 = on_tx!(reader, |conn| sqlx::query_scalar(COUNT)
        .fetch_one(conn)
        .await)
    .expect("a count");
    assert_eq!(count, 0);
}

/// SQLite: the write lock of the file; PostgreSQL: the lock of a row. With one run the caller is told of the conflict,
/// with the usual limits it gets through once the lock is free.
pub async fn a_lock_held_elsewhere_is_waited_for(backend: &Backend) {
    backend.execute(CREATE, CREATE).await;
    backend.execute(INSERT, INSERT).await;
    let hasty = backend
        .another(|settings| {
            settings.transaction_attempts_max = 1;
            settings.busy_timeout_ms = 10;
        })
        .await;
    let holder = Holder::lock(backend).await;
    let error = update(&hasty).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");

    let mut patient = Box::pin(update(&backend.db));
    let early = timeout(Duration::from_millis(100), &mut patient).await;
    assert!(early.is_err(), "it waits while the lock is held: {early:?}");
    holder.release().await;
    patient.await.expect("it gets through");
    update(&hasty).await.expect("so does the other");
}

/// PostgreSQL: every connection is cut off, in use or idle. SQLite has no connection to cut; what takes a database
/// away there is another process that holds the file, and reading goes on meanwhile.
pub async fn a_lost_connection_is_replaced(backend: &Backend) {
    backend.execute(CREATE, CREATE).await;
    if backend.is_postgres() {
        cut_off(backend).await;
    } else {
        held_by_another_process(backend).await;
    }
    // At once: the pool notices by itself and the caller is not bothered.
    update(&backend.db).await.expect("a transaction");
    read(&backend.db).await.expect("a read");
    backend.db.ping().await.expect("a ping");
}

async fn cut_off(backend: &Backend) {
    let mut used = backend.db.attempts("test").begin().await.expect("a writer");
    let idle = backend.db.reader().await.expect("a reader");
    drop(idle);
    let mut admin: PgConnection = backend.postgres_options().connect().await.unwrap();
    sqlx::query(END_ALL_OTHERS)
        .execute(&mut admin)
        .await
        .expect("the tests' user may end its own connections");
    let outcome = on_tx!(used, |conn| sqlx::query(COUNT)
        .execute(conn)
        .await
        .map(drop));
    let error = Error::from(outcome.unwrap_err());
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
}

async fn held_by_another_process(backend: &Backend) {
    let hasty = backend
        .another(|settings| {
            settings.transaction_attempts_max = 1;
            settings.busy_timeout_ms = 10;
        })
        .await;
    let holder = Holder::lock(backend).await;
    let error = update(&hasty).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    read(&hasty).await.expect("readers wait for no writer");
    holder.release().await;
    update(&hasty).await.expect("the writer is free");
}

/// A connection that no pool knows, with a transaction that has written.
enum Holder {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Holder {
    async fn lock(backend: &Backend) -> Self {
        if backend.is_postgres() {
            let mut connection = backend.postgres_options().connect().await.unwrap();
            for text in ["begin", UPDATE] {
                let statement = sqlx::raw_sql(AssertSqlSafe(text));
                statement.execute(&mut connection).await.unwrap();
            }
            Self::Postgres(connection)
        } else {
            let mut connection = backend.sqlite_options().connect().await.unwrap();
            for text in ["begin immediate", UPDATE] {
                let statement = sqlx::raw_sql(AssertSqlSafe(text));
                statement.execute(&mut connection).await.unwrap();
            }
            Self::Sqlite(connection)
        }
    }

    async fn release(self) {
        match self {
            Self::Postgres(connection) => connection.close().await.unwrap(),
            Self::Sqlite(connection) => connection.close().await.unwrap(),
        }
    }
}

async fn exhausted<T>(limit: Duration, acquire: impl Future<Output = Result<T, Error>>) {
    let start = Instant::now();
    let Err(error) = acquire.await else {
        panic!("a connection beyond the limit");
    };
    assert!(matches!(error, Error::PoolExhausted), "{error}");
    let waited = start.elapsed();
    assert!(
        waited >= limit && waited < limit * 10,
        "{waited:?} for a limit of {limit:?}"
    );
}

async fn empty_transaction(db: &Db) -> Result<(), Error> {
    run_tx!(db, "test", |_tx| -> Result<(), Error> { Ok(()) })
}

async fn update(db: &Db) -> Result<(), Error> {
    run_tx!(db, "test", |tx| -> Result<(), Error> {
        on_tx!(tx, |conn| sqlx::query(UPDATE).execute(conn).await.map(drop))?;
        Ok(())
    })
}

async fn read(db: &Db) -> Result<i64, Error> {
    let mut reader = db.reader().await?;
    Ok(on_tx!(reader, |conn| sqlx::query_scalar(COUNT)
        .fetch_one(conn)
        .await)?)
}
