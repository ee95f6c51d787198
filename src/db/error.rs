//! What can go wrong with the database, named by what the caller can do about it.

use std::sync::Arc;

use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteError;

/// A database failure. Clones tell it to everybody whose work shared a transaction.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A row with this unique key exists already.
    #[error("a row with this key exists already ({constraint})")]
    AlreadyExists {
        /// Constraint or index as the database names it.
        constraint: String,
    },
    /// The row refers to one that does not exist, or is still referred to.
    #[error("the row refers to one that does not exist, or is still referred to ({constraint})")]
    BrokenReference {
        /// Constraint as the database names it.
        constraint: String,
    },
    /// Another transaction was in the way; running the whole transaction again may succeed.
    #[error("another transaction was in the way: {0}")]
    Conflict(#[source] Arc<sqlx::Error>),
    /// No connection became free in time.
    #[error("no database connection became free in time")]
    PoolExhausted,
    /// The database does not answer.
    #[error("the database does not answer: {0}")]
    Unavailable(#[source] Arc<sqlx::Error>),
    /// No connection to the database can be made.
    #[error("no connection to {at}: {cause}")]
    Unreachable {
        /// Host, port and database, or the file; never the password.
        at: String,
        /// What went wrong.
        #[source]
        cause: Arc<sqlx::Error>,
    },
    /// A stored row is not what this version writes.
    #[error("{table} row {id}: {what}")]
    Inconsistent {
        /// Table of the row.
        table: &'static str,
        /// Primary key of the row.
        id: String,
        /// What is wrong with it.
        what: String,
    },
    /// The schema is older or newer than this version.
    #[error("{0}")]
    Migration(String),
    /// The database URL or a setting does not fit.
    #[error("{0}")]
    Settings(String),
    /// A list cannot be passed to a statement.
    #[error("a list for a statement: {0}")]
    List(String),
    /// Anything else: a defect in a statement or in the database.
    #[error("database error: {0}")]
    Other(#[source] Arc<sqlx::Error>),
}

/// Errors that know whether running the whole transaction again may succeed. [`super::run_tx`] asks.
pub trait Transient {
    /// True when the failure was another transaction's doing.
    fn is_transient(&self) -> bool;
}

impl Transient for Error {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut => Self::PoolExhausted,
            sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::Unavailable(Arc::new(error))
            }
            sqlx::Error::Database(cause) if cause.is_unique_violation() => Self::AlreadyExists {
                constraint: constraint(cause.as_ref()),
            },
            sqlx::Error::Database(cause) if cause.is_foreign_key_violation() => {
                Self::BrokenReference {
                    constraint: constraint(cause.as_ref()),
                }
            }
            sqlx::Error::Database(cause) => match kind(cause.as_ref()) {
                Kind::Conflict => Self::Conflict(Arc::new(error)),
                Kind::Unavailable => Self::Unavailable(Arc::new(error)),
                Kind::Other => Self::Other(Arc::new(error)),
            },
            _ => Self::Other(Arc::new(error)),
        }
    }
}

/// SQLite names no foreign key; its message says at least that it was one.
fn constraint(cause: &dyn DatabaseError) -> String {
    let name = cause.constraint().unwrap_or_else(|| cause.message());
    name.to_owned()
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Conflict,
    Unavailable,
    Other,
}

fn kind(cause: &dyn DatabaseError) -> Kind {
    let code = cause.code().unwrap_or_default();
    match cause.try_downcast_ref::<SqliteError>() {
        Some(_) => kind_of_sqlite(code.parse().unwrap_or(0)),
        None => kind_of_postgres(&code),
    }
}

/// Conflict: 40001 serialization failure, 40P01 deadlock, 55P03 lock not available. Unavailable: the classes 08
/// (connection), 53 (resources) and 57 (operator: shut-down, start-up, a statement beyond its limit), 25P03 (silent
/// for too long inside a transaction), 25006 (a standby that was the primary).
fn kind_of_postgres(code: &str) -> Kind {
    match code {
        "40001" | "40P01" | "55P03" => Kind::Conflict,
        "25P03" | "25006" => Kind::Unavailable,
        code if ["08", "53", "57"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            Kind::Unavailable
        }
        _ => Kind::Other,
    }
}

/// The low byte of an extended code is the primary one: 5 busy, 6 locked; 10 input or output, 13 disk full, 14 cannot
/// open.
fn kind_of_sqlite(code: u32) -> Kind {
    match code & 0xff {
        5 | 6 => Kind::Conflict,
        10 | 13 | 14 => Kind::Unavailable,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_postgres_say_what_the_caller_can_do() {
        for (code, expected) in [
            ("40001", Kind::Conflict),
            ("40P01", Kind::Conflict),
            ("57P01", Kind::Unavailable),
            ("53300", Kind::Unavailable),
            ("42P01", Kind::Other),
            // As a number its low byte is 5, which means busy to SQLite alone.
            ("22021", Kind::Other),
        ] {
            assert_eq!(kind_of_postgres(code), expected, "{code}");
        }
    }

    #[test]
    fn extended_codes_of_sqlite_count_as_their_primary_ones() {
        let snapshot_is_old = 5 | (2 << 8);
        assert_eq!(kind_of_sqlite(snapshot_is_old), Kind::Conflict);
        assert_eq!(kind_of_sqlite(13), Kind::Unavailable);
        assert_eq!(kind_of_sqlite(1), Kind::Other);
    }
}
