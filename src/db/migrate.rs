//! Schema changes: numbered files, the same number and name for each dialect, embedded in the binary.
//!
//! Expand first, contract later: during a rolling update the old version works on the new schema.

use sqlx::migrate::{Migrate, MigrateError, Migration, Migrator};
use sqlx::{PgConnection, Row, SqliteConnection, SqlitePool};

use super::Error;

static POSTGRES: Migrator = sqlx::migrate!("src/db/migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("src/db/migrations/sqlite");

/// Longest wait for another process that migrates.
const WAIT_FOR_OTHERS: &str = "set lock_timeout = '120s'";

/// Longest wait of a migration for a table: everybody else queues behind it.
const WAIT_FOR_TABLE: &str = "set lock_timeout = '5s'";

/// How often [`refuse_pooler`] looks: under load another client may get between its two looks.
const POOLER_LOOKS: u32 = 3;

const BACK_END_POSTGRES: &str = "select pg_backend_pid()";

const HAS_HISTORY_POSTGRES: &str = "select to_regclass('_sqlx_migrations') is not null";
const HAS_HISTORY_SQLITE: &str = "select exists (select 1 from sqlite_master where type = 'table' and name = '_sqlx_migrations')";
const APPLIED: &str = "select version from _sqlx_migrations";

/// Applies what is missing, on a session that nobody shares: the lock on the schema belongs to the session.
pub(super) async fn postgres(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(WAIT_FOR_OTHERS)
        .execute(&mut *connection)
        .await?;
    connection.lock().await.map_err(error(&POSTGRES))?;
    sqlx::query(WAIT_FOR_TABLE)
        .execute(&mut *connection)
        .await?;
    // It takes the lock once more, which its holder may.
    let outcome = POSTGRES.run_direct(None, connection, false).await;
    outcome.map_err(error(&POSTGRES))
}

/// Applies what is missing in one transaction: SQLite's write lock is the lock on the schema.
pub(super) async fn sqlite(writer: &SqlitePool) -> Result<(), Error> {
    let mut transaction = writer.begin_with("begin immediate").await?;
    let connection: &mut SqliteConnection = &mut transaction;
    let outcome = SQLITE.run_direct(None, connection, false).await;
    outcome.map_err(error(&SQLITE))?;
    transaction.commit().await.map_err(Error::from)
}

/// The names of what is missing.
pub(super) async fn pending_postgres(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let has_history: bool = sqlx::query_scalar(HAS_HISTORY_POSTGRES)
        .fetch_one(&mut *connection)
        .await?;
    let applied = match has_history {
        true => sqlx::query_scalar(APPLIED).fetch_all(connection).await?,
        false => Vec::new(),
    };
    Ok(missing(&POSTGRES, &applied))
}

/// The names of what is missing.
pub(super) async fn pending_sqlite(
    connection: &mut SqliteConnection,
) -> Result<Vec<String>, Error> {
    let has_history: bool = sqlx::query_scalar(HAS_HISTORY_SQLITE)
        .fetch_one(&mut *connection)
        .await?;
    let applied = match has_history {
        true => sqlx::query_scalar(APPLIED).fetch_all(connection).await?,
        false => Vec::new(),
    };
    Ok(missing(&SQLITE, &applied))
}

/// Fails when both connections are served by one back end, as only a pooler in transaction mode does: the lock on the
/// schema would stay with a session that belongs to everybody.
pub(super) async fn refuse_pooler(
    first: &mut PgConnection,
    second: &mut PgConnection,
) -> Result<(), Error> {
    for _ in 0..POOLER_LOOKS {
        // A pooler lends the back end that was returned last.
        if back_end(first).await? == back_end(second).await? {
            return Err(Error::Settings(
                "migrations need a session of their own, and database.url leads through a pooler; \
                 set database.direct_url to the database itself"
                    .to_owned(),
            ));
        }
    }
    Ok(())
}

/// Asked without preparing a statement, which poolers before PgBouncer 1.21 mix up.
async fn back_end(connection: &mut PgConnection) -> Result<i32, Error> {
    let row = sqlx::raw_sql(BACK_END_POSTGRES)
        .fetch_one(connection)
        .await?;
    row.try_get(0).map_err(Error::from)
}

fn missing(migrator: &Migrator, applied: &[i64]) -> Vec<String> {
    let missing = migrator.iter().filter(|it| !applied.contains(&it.version));
    missing.map(name).collect()
}

/// The name of the file without its ending.
fn name(migration: &Migration) -> String {
    let description = migration.description.replace(' ', "_");
    format!("{:04}_{description}", migration.version)
}

fn error(migrator: &'static Migrator) -> impl Fn(MigrateError) -> Error {
    let known = |version: i64| migrator.iter().find(|it| it.version == version);
    let newest = migrator.iter().map(|it| it.version).max().unwrap_or(0);
    move |error| match error {
        MigrateError::VersionMissing(version) if version > newest => Error::Migration(format!(
            "the database schema is newer than this version: it has migration {version:04}, \
             this version ends with {newest:04}"
        )),
        MigrateError::VersionMissing(version) => Error::Migration(format!(
            "the database schema has migration {version:04}, which this version does not know"
        )),
        MigrateError::VersionMismatch(version) => Error::Migration(format!(
            "migration {} was changed after it was applied",
            known(version).map_or_else(|| version.to_string(), name)
        )),
        MigrateError::ExecuteMigration(cause, version) => Error::Migration(format!(
            "migration {}: {cause}",
            known(version).map_or_else(|| version.to_string(), name)
        )),
        MigrateError::Execute(cause) => cause.into(),
        other => Error::Migration(other.to_string()),
    }
}
