//! Transactions and what they answer.

use std::panic::AssertUnwindSafe;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::join_all;
use spheroctl::db::{Error, Tx, on_tx, run_tx};
use spheroctl::kit::clock::SystemClock;
use spheroctl::kit::id::{ProjectId, UserId};
use sqlx::{ConnectOptions, SqliteConnection};

use super::Backend;

const INSERT_USER: &str = "
    insert into users (id, email, name, role, created_at)
    values ($1, $2, 'Ada', 'user', $3)";
const INSERT_PROJECT: &str = "
    insert into projects (id, name, created_by, created_at)
    values ($1, 'spheroids', $2, $3)";
const DELETE_USER: &str = "delete from users where id = $1";
const COUNT_USERS: &str = "select count(*) from users";
const ADD_ONE: &str = "update counters set n = n + 1 returning n";

pub async fn commit_is_seen(backend: &Backend) {
    let id = UserId::new(&SystemClock);
    let written: Result<(), Error> = run_tx!(backend.db, "test", |tx| -> Result<(), Error> {
        insert_user(tx, id, "ada@example.org").await
    });
    written.expect("a new user is written");
    assert_eq!(users(backend).await, 1);
}

pub async fn one_statement_commits_by_itself(backend: &Backend) {
    let db = backend.db.one_statement();
    for _ in 0..2 {
        let id = UserId::new(&SystemClock);
        // The second is refused: its address is taken.
        let _: Result<(), Error> = run_tx!(db, "test", |tx| -> Result<(), Error> {
            insert_user(tx, id, "ada@example.org").await
        });
    }
    assert_eq!(users(backend).await, 1);
}

pub async fn roll_back_is_unseen(backend: &Backend) {
    let id = UserId::new(&SystemClock);
    let failed: Result<(), Error> = run_tx!(backend.db, "test", |tx| -> Result<(), Error> {
        insert_user(tx, id, "ada@example.org").await?;
        Err(Error::Migration("on purpose".to_owned()))
    });
    assert_eq!(failed.unwrap_err().to_string(), "on purpose");
    assert_eq!(users(backend).await, 0);
}

/// Two runs meet another transaction, the third does not; the effects of the first two are gone.
pub async fn a_conflict_is_run_again(backend: &Backend) {
    let id = UserId::new(&SystemClock);
    counters(backend).await;
    let mut runs = 0;
    let outcome: Result<u32, Error> = run_tx!(backend.db, "test", |tx| -> Result<u32, Error> {
        runs += 1;
        if runs < 3 {
            meet_another(backend, tx).await?;
        }
        insert_user(tx, id, "ada@example.org").await?;
        Ok(runs)
    });
    assert_eq!(outcome.expect("the third run succeeds"), 3);
    assert_eq!(users(backend).await, 1);
}

pub async fn runs_stop_at_the_limit(backend: &Backend) {
    counters(backend).await;
    let mut runs = 0;
    let outcome: Result<(), Error> = run_tx!(backend.db, "test", |tx| -> Result<(), Error> {
        runs += 1;
        meet_another(backend, tx).await
    });
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    assert_eq!(runs, backend.settings.transaction_attempts_max);
}

pub async fn concurrent_writers_lose_no_update(backend: &Backend) {
    const WRITERS: i64 = 32;
    const ROUNDS: i64 = 5;
    counters(backend).await;
    let writers = (0..WRITERS).map(|_| async {
        let mut seen = Vec::new();
        for _ in 0..ROUNDS {
            let n: Result<i64, Error> = run_tx!(backend.db, "test", |tx| -> Result<i64, Error> {
                Ok(on_tx!(tx, |conn| sqlx::query_scalar(ADD_ONE)
                    .fetch_one(conn)
                    .await)?)
            });
            seen.push(n.expect("the counter rises"));
        }
        seen
    });
    let mut seen = join_all(writers).await.concat();
    seen.sort_unstable();
    assert_eq!(seen, (1..=WRITERS * ROUNDS).collect::<Vec<_>>());
}

pub async fn a_transaction_inside_another_panics(backend: &Backend) {
    let nested = async {
        let outcome: Result<(), Error> = run_tx!(backend.db, "outer", |_tx| -> Result<(), Error> {
            run_tx!(backend.db, "inner", |_tx| -> Result<(), Error> { Ok(()) })
        });
        outcome
    };
    let panic = AssertUnwindSafe(nested).catch_unwind().await.unwrap_err();
    let text = panic.downcast_ref::<String>().expect("a formatted text");
    assert!(text.contains("inside the transaction outer"), "{text}");
    // The transaction that panicked let its connection go.
    execute_nothing(backend).await;
}

pub async fn a_row_that_exists_is_one_kind_of_error(backend: &Backend) {
    let outcome: Result<(), Error> = run_tx!(backend.db, "test", |tx| -> Result<(), Error> {
        insert_user(tx, UserId::new(&SystemClock), "ada@example.org").await?;
        insert_user(tx, UserId::new(&SystemClock), "ada@example.org").await
    });
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert!(error.to_string().contains("email"), "{error}");
}

pub async fn a_broken_reference_is_one_kind_of_error(backend: &Backend) {
    let owner = UserId::new(&SystemClock);
    let dangling: Result<(), Error> = run_tx!(backend.db, "test", |tx| -> Result<(), Error> {
        insert_project(tx, owner).await
    });
    let error = dangling.unwrap_err();
    assert!(matches!(error, Error::BrokenReference { .. }), "{error}");

    let referred_to: Result<(), Error> = run_tx!(backend.db, "test", |tx| -> Result<(), Error> {
        insert_user(tx, owner, "ada@example.org").await?;
        insert_project(tx, owner).await?;
        on_tx!(tx, |conn| sqlx::query(DELETE_USER)
            .bind(owner)
            .execute(conn)
            .await
            .map(drop))?;
        Ok(())
    });
    let error = referred_to.unwrap_err();
    assert!(matches!(error, Error::BrokenReference { .. }), "{error}");
}

pub async fn a_missing_value_is_nobodys_conflict(backend: &Backend) {
    let mut runs = 0;
    let outcome: Result<(), Error> = run_tx!(backend.db, "test", |tx| -> Result<(), Error> {
        runs += 1;
        on_tx!(tx, |conn| sqlx::query(INSERT_USER)
            .bind(UserId::new(&SystemClock))
            .bind("ada@example.org")
            .bind(None::<DateTime<Utc>>)
            .execute(conn)
            .await
            .map(drop))?;
        Ok(())
    });
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Other(_)), "{error}");
    assert_eq!(runs, 1);
}

async fn insert_user(tx: &mut Tx, id: UserId, email: &str) -> Result<(), Error> {
    let now = now();
    on_tx!(tx, |conn| sqlx::query(INSERT_USER)
        .bind(id)
        .bind(email)
        .bind(now)
        .execute(conn)
        .await
        .map(drop))?;
    Ok(())
}

async fn insert_project(tx: &mut Tx, owner: UserId) -> Result<(), Error> {
    let now = now();
    on_tx!(tx, |conn| sqlx::query(INSERT_PROJECT)
        .bind(ProjectId::new(&SystemClock))
        .bind(owner)
        .bind(now)
        .execute(conn)
        .await
        .map(drop))?;
    Ok(())
}

async fn users(backend: &Backend) -> i64 {
    let mut reader = backend.db.reader().await.expect("a reader");
    on_tx!(reader, |conn| sqlx::query_scalar(COUNT_USERS)
        .fetch_one(conn)
        .await)
    .expect("a count")
}

async fn counters(backend: &Backend) {
    const CREATE: &str = "create table counters (n bigint not null)";
    backend.execute(CREATE, CREATE).await;
    const INSERT: &str = "insert into counters values (0)";
    backend.execute(INSERT, INSERT).await;
}

async fn execute_nothing(backend: &Backend) {
    let outcome: Result<(), Error> =
        run_tx!(backend.db, "test", |_tx| -> Result<(), Error> { Ok(()) });
    outcome.expect("an empty transaction");
}

/// Fails as the dialect does when two transactions write at once.
async fn meet_another(backend: &Backend, tx: &mut Tx) -> Result<(), Error> {
    if backend.is_postgres() {
        fail_to_serialize(backend, tx).await
    } else {
        find_it_locked(backend).await
    }
}

/// SQLSTATE 40001: the row changed after this transaction took its snapshot.
async fn fail_to_serialize(backend: &Backend, tx: &mut Tx) -> Result<(), Error> {
    const SNAPSHOT: &str = "set transaction isolation level repeatable read";
    const READ: &str = "select n from counters";
    on_tx!(tx, |conn| sqlx::query(SNAPSHOT)
        .execute(conn)
        .await
        .map(drop))?;
    let _: i64 = on_tx!(tx, |conn| sqlx::query_scalar(READ).fetch_one(conn).await)?;
    let mut other = sqlx::postgres::PgConnectOptions::connect(&backend.postgres_options()).await?;
    sqlx::query(ADD_ONE).execute(&mut other).await?;
    on_tx!(tx, |conn| sqlx::query(ADD_ONE)
        .execute(conn)
        .await
        .map(drop))?;
    Ok(())
}

/// SQLITE_BUSY: the transaction of the caller holds the write lock.
async fn find_it_locked(backend: &Backend) -> Result<(), Error> {
    let options = backend.sqlite_options();
    let mut other: SqliteConnection = options
        .busy_timeout(std::time::Duration::ZERO)
        .connect()
        .await?;
    sqlx::query("begin immediate").execute(&mut other).await?;
    Ok(())
}

fn now() -> DateTime<Utc> {
    spheroctl::kit::clock::Clock::now(&SystemClock)
}
