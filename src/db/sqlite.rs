//! SQLite: one writer, many readers, one file.

use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::ConnectOptions;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{Error, PoolStatistics, Tx, migrate};
use crate::settings;

/// After a burst the write-ahead log is cut back to this many bytes, so that it does not keep the size of the
/// largest burst for ever.
const WAL_BYTES_KEPT: &str = "67108864";

/// Reads a page of the file, which `select 1` alone would not.
const PING: &str = "select 1 from sqlite_master limit 1";

/// The pools of one SQLite file.
#[derive(Debug, Clone)]
pub(super) struct Sqlite {
    /// SQLite has one writer at a time. A pool of one connection makes the writers of this process queue fairly,
    /// where SQLite's own busy handler would let them race; `begin immediate` takes the write lock at the start, so
    /// that no transaction fails half-way because another wrote first.
    writer: SqlitePool,
    readers: SqlitePool,
    acquire_timeout: Duration,
}

impl Sqlite {
    pub(super) async fn open(settings: &settings::Database) -> Result<Self, Error> {
        let options = options(settings)?;
        let at = format!("sqlite:{}", options.get_filename().display());
        create(options.get_filename())
            .await
            .map_err(|error| unreachable(&at, error.into()))?;
        let acquire_timeout = Duration::from_millis(settings.acquire_timeout_ms);
        // The writer stays open: were it the last connection to close, the log would be folded into the file and
        // removed, and a read-only connection could not open it again.
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(acquire_timeout)
            .connect_with(options.clone().journal_mode(SqliteJournalMode::Wal))
            .await
            .map_err(|error| unreachable(&at, error))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(settings.pool_max.max(1))
            .idle_timeout(Duration::from_millis(settings.pool_idle_timeout_ms))
            .acquire_timeout(acquire_timeout)
            .connect_lazy_with(options.read_only(true).create_if_missing(false));
        let sqlite = Self {
            writer,
            readers,
            acquire_timeout,
        };
        sqlite.ping().await?;
        Ok(sqlite)
    }

    pub(super) async fn reader(&self) -> Result<Tx, Error> {
        Ok(self.readers.acquire().await?.into())
    }

    pub(super) async fn begin(&self) -> Result<Tx, Error> {
        Ok(self.writer.begin_with("begin immediate").await?.into())
    }

    pub(super) async fn migrate(&self) -> Result<(), Error> {
        migrate::sqlite(&self.writer).await
    }

    pub(super) async fn pending(&self) -> Result<Vec<String>, Error> {
        migrate::pending_sqlite(&mut *self.readers.acquire().await?).await
    }

    pub(super) async fn ping(&self) -> Result<(), Error> {
        let mut connection = self.readers.acquire().await?;
        let answer = sqlx::query(PING).fetch_optional(&mut *connection);
        match tokio::time::timeout(self.acquire_timeout, answer).await {
            Ok(answer) => answer.map(drop).map_err(Error::from),
            Err(_) => Err(Error::Unavailable(Arc::new(sqlx::Error::PoolTimedOut))),
        }
    }

    pub(super) fn pool(&self) -> PoolStatistics {
        let idle = self.writer.num_idle() + self.readers.num_idle();
        PoolStatistics {
            size: self.writer.size() + self.readers.size(),
            idle: u32::try_from(idle).unwrap_or(u32::MAX),
            max: 1 + self.readers.options().get_max_connections(),
        }
    }

    /// Readers first: the writer, as the last, folds the log into the file.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn options(settings: &settings::Database) -> Result<SqliteConnectOptions, Error> {
    let url = settings.url.expose_secret();
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| Error::Settings(format!("database.url: {error}")))?;
    let file = options.get_filename();
    if file.as_os_str().is_empty() || url.contains(":memory:") || url.contains("mode=memory") {
        return Err(Error::Settings(
            "database.url names no file; a database in memory would be another one for each connection"
                .to_owned(),
        ));
    }
    Ok(options
        .create_if_missing(true)
        // A commit that was answered survives a power cut; NORMAL would lose the last ones in WAL mode.
        .synchronous(SqliteSynchronous::Full)
        // Off by default in SQLite.
        .foreign_keys(true)
        // Another process may hold the write lock.
        .busy_timeout(Duration::from_millis(settings.busy_timeout_ms))
        .pragma("journal_size_limit", WAL_BYTES_KEPT)
        // Sorting and grouping need no files of their own.
        .pragma("temp_store", "memory")
        .log_slow_statements(
            "warn".parse().expect("log knows the level warn"),
            Duration::from_millis(settings.slow_query_ms),
        ))
}

/// Creates the file, readable by its owner alone (it holds password hashes); SQLite gives the log and the shared
/// memory beside it the same mode. A file that exists keeps its mode.
async fn create(file: &Path) -> io::Result<()> {
    if let Some(parent) = file.parent() {
        tokio::fs::create_dir_all(parent).await?;
    }
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    options.mode(0o600);
    options.open(file).await.map(drop)
}

fn unreachable(at: &str, cause: sqlx::Error) -> Error {
    Error::Unreachable {
        at: at.to_owned(),
        cause: Arc::new(cause),
    }
}
