//! A database connection inside a named unit of work, and the one macro by which stores speak to both dialects.

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection, Transaction};

use super::Error;

/// A connection that statements run on: an open transaction ([`super::run_tx`]), one statement's own, or a plain
/// connection for reading ([`super::Db::reader`]). Stores take it by `&mut` and never learn which of them it is.
#[derive(Debug)]
pub struct Tx {
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    PostgresTransaction(Transaction<'static, Postgres>),
    PostgresStatement {
        connection: PoolConnection<Postgres>,
        is_used: bool,
    },
    PostgresReader(PoolConnection<Postgres>),
    SqliteTransaction(Transaction<'static, Sqlite>),
    SqliteReader(PoolConnection<Sqlite>),
}

/// The connection by dialect, as [`crate::on_tx`] matches it.
#[derive(Debug)]
pub enum Connection<'c> {
    /// PostgreSQL.
    Postgres(&'c mut PgConnection),
    /// SQLite.
    Sqlite(&'c mut SqliteConnection),
}

/// Which SQL is spoken; for the few statements that need a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

impl Dialect {
    /// The statement of a pair that fits this dialect.
    pub const fn pick(self, postgres: &'static str, sqlite: &'static str) -> &'static str {
        match self {
            Self::Postgres => postgres,
            Self::Sqlite => sqlite,
        }
    }
}

impl From<Transaction<'static, Postgres>> for Tx {
    fn from(transaction: Transaction<'static, Postgres>) -> Self {
        Self {
            inner: Inner::PostgresTransaction(transaction),
        }
    }
}

impl From<Transaction<'static, Sqlite>> for Tx {
    fn from(transaction: Transaction<'static, Sqlite>) -> Self {
        Self {
            inner: Inner::SqliteTransaction(transaction),
        }
    }
}

impl From<PoolConnection<Postgres>> for Tx {
    fn from(connection: PoolConnection<Postgres>) -> Self {
        Self {
            inner: Inner::PostgresReader(connection),
        }
    }
}

impl From<PoolConnection<Sqlite>> for Tx {
    fn from(connection: PoolConnection<Sqlite>) -> Self {
        Self {
            inner: Inner::SqliteReader(connection),
        }
    }
}

impl Tx {
    /// A connection for one statement, which commits with its end.
    pub(super) const fn of_one_statement(connection: PoolConnection<Postgres>) -> Self {
        Self {
            inner: Inner::PostgresStatement {
                connection,
                is_used: false,
            },
        }
    }

    /// The connection by dialect.
    ///
    /// # Panics
    /// In debug builds, when it is asked for a second time where one statement was announced
    /// ([`super::Db::one_statement`]).
    pub fn connection(&mut self) -> Connection<'_> {
        match &mut self.inner {
            Inner::PostgresTransaction(transaction) => Connection::Postgres(transaction),
            Inner::PostgresStatement {
                connection,
                is_used,
            } => {
                debug_assert!(!*is_used, "a second statement, which needs a transaction");
                *is_used = true;
                Connection::Postgres(connection)
            }
            Inner::PostgresReader(connection) => Connection::Postgres(connection),
            Inner::SqliteTransaction(transaction) => Connection::Sqlite(transaction),
            Inner::SqliteReader(connection) => Connection::Sqlite(connection),
        }
    }

    /// The dialect spoken here.
    pub const fn dialect(&self) -> Dialect {
        match self.inner {
            Inner::PostgresTransaction(_)
            | Inner::PostgresStatement { .. }
            | Inner::PostgresReader(_) => Dialect::Postgres,
            Inner::SqliteTransaction(_) | Inner::SqliteReader(_) => Dialect::Sqlite,
        }
    }

    /// Commits a transaction; returns a reader to its pool.
    pub(super) async fn commit(self) -> Result<(), Error> {
        match self.inner {
            Inner::PostgresTransaction(transaction) => transaction.commit().await?,
            Inner::SqliteTransaction(transaction) => transaction.commit().await?,
            Inner::PostgresStatement { .. } | Inner::PostgresReader(_) | Inner::SqliteReader(_) => {
            }
        }
        Ok(())
    }

    /// Rolls a transaction back; a failure to do so is left to the pool, which drops the connection.
    pub(super) async fn roll_back(self) {
        let outcome = match self.inner {
            Inner::PostgresTransaction(transaction) => transaction.rollback().await,
            Inner::SqliteTransaction(transaction) => transaction.rollback().await,
            Inner::PostgresStatement { .. } | Inner::PostgresReader(_) | Inner::SqliteReader(_) => {
                Ok(())
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "roll-back failed: {error}");
        }
    }
}

/// Runs one body, compiled once per dialect, on the connection of a [`Tx`]; both must give the same type:
/// `on_tx!(tx, |conn| sqlx::query_as(TEXT).bind(id).fetch_optional(conn).await)?`. What gives no rows is [`execute!`]'s.
#[macro_export]
macro_rules! on_tx {
    ($tx:expr, |$conn:ident| $body:expr) => {
        match $tx.connection() {
            $crate::db::Connection::Postgres($conn) => $body,
            $crate::db::Connection::Sqlite($conn) => $body,
        }
    };
}

/// Runs a statement with its parameters on a [`Tx`] and gives the number of rows that it changed. A guarded write is
/// `Ok(execute!(tx, COMPLETE, id, attempt)? == 1)`: false where another was faster.
#[macro_export]
macro_rules! execute {
    ($tx:expr, $statement:expr $(, $value:expr)* $(,)?) => {
        $crate::on_tx!($tx, |conn| ::sqlx::query($statement)
            $(.bind($value))*
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))
    };
}

/// Writes rows, which are structs: PostgreSQL takes a list for each of the columns that are named, which costs it a
/// twentieth of reading JSON, and SQLite all rows as one text ([`crate::db::batch::list`]):
/// `write_rows!(tx, INSERT_POSTGRES, INSERT_SQLITE, rows, |row| [row.id, &row.name])?`.
#[macro_export]
macro_rules! write_rows {
    ($tx:expr, $postgres:expr, $sqlite:expr, $rows:expr, |$row:ident| [$($column:expr),+ $(,)?]) => {
        match $tx.connection() {
            $crate::db::Connection::Postgres(conn) => ::sqlx::query($postgres)
                $(.bind($rows.iter().map(|$row| $column).collect::<Vec<_>>()))+
                .execute(conn)
                .await
                .map(|done| done.rows_affected()),
            $crate::db::Connection::Sqlite(conn) => ::sqlx::query($sqlite)
                .bind($crate::db::batch::list($rows)?)
                .execute(conn)
                .await
                .map(|done| done.rows_affected()),
        }
    };
}
