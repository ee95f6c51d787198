//! The database seam: the same promises on SQLite and on PostgreSQL.

mod batch;
mod migrations;
mod open;
mod plans;
mod schema;
mod statements;
mod transactions;
mod trouble;
mod values;

use std::any::Any;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use spheroctl::db::{Db, Dialect, Error, on_tx, run_tx};
use spheroctl::settings;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::support::services::{TestDatabase, postgres_database};

use super::suite;

suite! {
    sqlite => Backend::sqlite, postgres => Backend::postgres;
    [
        commit_is_seen,
        one_statement_commits_by_itself,
        roll_back_is_unseen,
        a_conflict_is_run_again,
        runs_stop_at_the_limit,
        concurrent_writers_lose_no_update,
        a_transaction_inside_another_panics,
        a_row_that_exists_is_one_kind_of_error,
        a_broken_reference_is_one_kind_of_error,
        a_missing_value_is_nobodys_conflict,
        every_value_comes_back,
        instants_are_in_order,
        lists_of_any_length_are_one_parameter,
        rows_are_inserted_from_one_parameter,
        all_connections_in_use_is_a_typed_time_out,
        a_cancelled_transaction_leaves_nothing,
        a_lock_held_elsewhere_is_waited_for,
        a_lost_connection_is_replaced,
        every_statement_prepares,
    ]
}

use batch::{lists_of_any_length_are_one_parameter, rows_are_inserted_from_one_parameter};
use statements::every_statement_prepares;
use transactions::{
    a_broken_reference_is_one_kind_of_error, a_conflict_is_run_again,
    a_missing_value_is_nobodys_conflict, a_row_that_exists_is_one_kind_of_error,
    a_transaction_inside_another_panics, commit_is_seen, concurrent_writers_lose_no_update,
    one_statement_commits_by_itself, roll_back_is_unseen, runs_stop_at_the_limit,
};
use trouble::{
    a_cancelled_transaction_leaves_nothing, a_lock_held_elsewhere_is_waited_for,
    a_lost_connection_is_replaced, all_connections_in_use_is_a_typed_time_out,
};
use values::{every_value_comes_back, instants_are_in_order};

/// A database that one test has for itself; gone with this value.
struct Backend {
    db: Db,
    settings: settings::Database,
    /// The folder or the PostgreSQL database, removed when dropped.
    _home: Box<dyn Any + Send + Sync>,
}

impl Backend {
    async fn sqlite() -> Self {
        let backend = Self::empty_sqlite().await;
        backend.db.migrate().await.expect("SQLite migrates");
        backend
    }

    async fn postgres() -> Self {
        Self::at(postgres_database(migrate).await).await
    }

    /// Without a schema, in a folder that does not exist yet.
    async fn empty_sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let settings = settings(&format!(
            "sqlite:{}/data/test.sqlite",
            folder.path().display()
        ));
        Self {
            db: Db::open(&settings).await.expect("SQLite opens"),
            settings,
            _home: Box::new(folder),
        }
    }

    /// Without a schema.
    async fn empty_postgres() -> Self {
        Self::at(postgres_database(leave_empty).await).await
    }

    async fn at(database: TestDatabase) -> Self {
        let settings = settings(&database.url());
        Self {
            db: Db::open(&settings).await.expect("PostgreSQL opens"),
            settings,
            _home: Box::new(database),
        }
    }

    /// A second handle on the same database, as another process has one, with other settings.
    async fn another(&self, change: impl FnOnce(&mut settings::Database)) -> Db {
        let mut settings = self.settings.clone();
        change(&mut settings);
        Db::open(&settings).await.expect("the database opens again")
    }

    /// For connections of a test's own.
    fn postgres_options(&self) -> PgConnectOptions {
        let url = self.settings.url.expose_secret();
        PgConnectOptions::from_str(url).expect("the address is well formed")
    }

    /// For connections of a test's own.
    fn sqlite_options(&self) -> SqliteConnectOptions {
        let url = self.settings.url.expose_secret();
        SqliteConnectOptions::from_str(url).expect("the address is well formed")
    }

    /// Changes the schema for this test.
    async fn execute(&self, postgres: &'static str, sqlite: &'static str) {
        let text = self.db.dialect().pick(postgres, sqlite);
        execute(&self.db, text).await;
    }

    const fn is_postgres(&self) -> bool {
        matches!(self.db.dialect(), Dialect::Postgres)
    }
}

/// One statement without parameters, in a transaction of its own.
async fn execute(db: &Db, text: &'static str) {
    let outcome: Result<(), Error> = run_tx!(db, "test", |tx| -> Result<(), Error> {
        on_tx!(tx, |conn| sqlx::query(text).execute(conn).await.map(drop))?;
        Ok(())
    });
    outcome.expect("the statement of the test");
}

async fn migrate(url: &str) {
    let db = Db::open(&settings(url)).await.expect("PostgreSQL opens");
    db.migrate().await.expect("PostgreSQL migrates");
    db.close().await;
}

async fn leave_empty(_url: &str) {}

fn settings(url: &str) -> settings::Database {
    settings::Database {
        url: SecretString::from(url),
        direct_url: SecretString::default(),
        replica_url: SecretString::default(),
        pool_max: 20,
        pool_idle_timeout_ms: 30_000,
        // Longer than the default: the tests share two cores.
        acquire_timeout_ms: 10_000,
        slow_query_ms: 1_000,
        transaction_attempts_max: 5,
        busy_timeout_ms: 5_000,
    }
}
