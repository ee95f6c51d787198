//! The database seam: narrow at the transaction, wide at the SQL. Truth lives here.
//!
//! One statement text serves both dialects (`$1`, `on conflict`, `returning`); a dialect pair stands only where it
//! must, as two constants named `…_POSTGRES` and `…_SQLITE`. Statements live in the stores beside the nouns they
//! serve; this room knows none of them. A conformance test prepares every one of them on both.

mod attempts;
pub mod batch;
mod error;
mod guard;
mod ids;
mod migrate;
mod postgres;
mod sqlite;
mod tx;

use secrecy::ExposeSecret;

use crate::settings;

pub use crate::{execute, on_tx, run_tx, write_rows};
pub use attempts::{Attempts, typed};
pub use error::{Error, Transient};
pub use guard::{forbid_inside_transaction, inside};
pub use tx::{Connection, Dialect, Tx};

/// A handle on the database; clones share its pools.
#[derive(Debug, Clone)]
pub struct Db {
    pools: Pools,
    attempts_max: u32,
}

#[derive(Debug, Clone)]
enum Pools {
    Postgres(postgres::Postgres),
    Sqlite(sqlite::Sqlite),
}

/// The database for transactions of a single statement; see [`Db::one_statement`].
#[derive(Debug, Clone, Copy)]
pub struct OneStatement<'d>(&'d Db);

impl<'d> OneStatement<'d> {
    /// As [`Db::attempts`].
    pub const fn attempts(&self, name: &'static str) -> Attempts<'d> {
        Attempts::of_one_statement(self.0, name)
    }
}

/// The connections of this process, for health and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatistics {
    /// Open connections.
    pub size: u32,
    /// Open connections that nobody uses.
    pub idle: u32,
    /// Most connections that may be open.
    pub max: u32,
}

impl Db {
    /// Opens the database that `database.url` names and speaks to it once.
    ///
    /// # Errors
    /// [`Error::Settings`] for a URL that does not fit, [`Error::Unreachable`] when the database does not answer;
    /// neither shows the password.
    pub async fn open(settings: &settings::Database) -> Result<Self, Error> {
        let url = settings.url.expose_secret();
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        let pools = match scheme {
            "postgres" | "postgresql" => Pools::Postgres(postgres::Postgres::open(settings).await?),
            "sqlite" => Pools::Sqlite(sqlite::Sqlite::open(settings).await?),
            "" => {
                return Err(Error::Settings(
                    "database.url has no scheme; it begins with postgres:// or sqlite:".to_owned(),
                ));
            }
            other => {
                return Err(Error::Settings(format!(
                    "database.url has the scheme {other:?}; it begins with postgres:// or sqlite:"
                )));
            }
        };
        Ok(Self {
            pools,
            attempts_max: settings.transaction_attempts_max,
        })
    }

    /// Begins the runs of the transaction `name`; [`run_tx`] is the way to use it.
    pub const fn attempts(&self, name: &'static str) -> Attempts<'_> {
        Attempts::new(self, name)
    }

    /// For a transaction of a single statement, in place of the database itself: `run_tx!(db.one_statement(), …)`. On
    /// PostgreSQL nothing else is sent then, where a begin and a commit would be two questions more. What the statement did
    /// stays, even where the block fails after it. Not where a person waits: a connection that was lost meanwhile fails the
    /// statement.
    pub const fn one_statement(&self) -> OneStatement<'_> {
        OneStatement(self)
    }

    /// A connection for reading, outside any transaction. On SQLite it cannot write.
    ///
    /// # Errors
    /// When no connection can be had.
    ///
    /// # Panics
    /// In debug builds, inside a transaction: two connections of one task can exhaust the pool together.
    pub async fn reader(&self) -> Result<Tx, Error> {
        forbid_inside_transaction("a second connection");
        match &self.pools {
            Pools::Postgres(postgres) => postgres.reader().await,
            Pools::Sqlite(sqlite) => sqlite.reader().await,
        }
    }

    async fn begin(&self, of_one_statement: bool) -> Result<Tx, Error> {
        match &self.pools {
            Pools::Postgres(postgres) if of_one_statement => postgres.begin_one().await,
            Pools::Postgres(postgres) => postgres.begin().await,
            Pools::Sqlite(sqlite) => sqlite.begin().await,
        }
    }

    /// Applies the migrations that the database lacks. Any number of processes may do so at once: each migration
    /// is applied by one of them.
    ///
    /// # Errors
    /// [`Error::Migration`] when one fails, was changed after it was applied, or when the schema is newer than this
    /// version; [`Error::Settings`] when the URL leads through a pooler.
    pub async fn migrate(&self) -> Result<(), Error> {
        match &self.pools {
            Pools::Postgres(postgres) => postgres.migrate().await,
            Pools::Sqlite(sqlite) => sqlite.migrate().await,
        }
    }

    /// The names of the migrations that the database lacks, such as `0001_core`. A schema that is newer than this
    /// version lacks none: during a rolling update the old version works on it (expand first, contract later).
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn pending(&self) -> Result<Vec<String>, Error> {
        match &self.pools {
            Pools::Postgres(postgres) => postgres.pending().await,
            Pools::Sqlite(sqlite) => sqlite.pending().await,
        }
    }

    /// Asks the database for an answer, for at most twice `database.acquire_timeout_ms`: once for the connection,
    /// once for the answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn ping(&self) -> Result<(), Error> {
        match &self.pools {
            Pools::Postgres(postgres) => postgres.ping().await,
            Pools::Sqlite(sqlite) => sqlite.ping().await,
        }
    }

    /// The present state of the pools; SQLite's writer and readers together.
    pub fn pool(&self) -> PoolStatistics {
        match &self.pools {
            Pools::Postgres(postgres) => postgres.pool(),
            Pools::Sqlite(sqlite) => sqlite.pool(),
        }
    }

    /// Closes the pools after their connections were returned; a later use of any clone fails.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Postgres(postgres) => postgres.close().await,
            Pools::Sqlite(sqlite) => sqlite.close().await,
        }
    }

    /// The dialect of this database.
    pub const fn dialect(&self) -> Dialect {
        match self.pools {
            Pools::Postgres(_) => Dialect::Postgres,
            Pools::Sqlite(_) => Dialect::Sqlite,
        }
    }
}
