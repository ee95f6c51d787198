//! What can go wrong with the database, named by what the caller can do about it.

/// A database failure.
#[derive(Debug, thiserror::Error)]
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
    Conflict(#[source] sqlx::Error),
    /// No connection became free in time.
    #[error("no database connection became free in time")]
    PoolExhausted,
    /// The database does not answer.
    #[error("the database does not answer: {0}")]
    Unavailable(#[source] sqlx::Error),
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
    /// Anything else: a defect in a statement or in the database.
    #[error("database error: {0}")]
    Other(#[source] sqlx::Error),
}

/// Errors that know whether running the whole transaction again may succeed. [`super::Db::run_tx`] asks.
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
        match error {
            sqlx::Error::PoolTimedOut => Self::PoolExhausted,
            sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::Unavailable(error)
            }
            sqlx::Error::Database(ref cause) => {
                let constraint = || {
                    cause
                        .constraint()
                        .unwrap_or_else(|| cause.message())
                        .to_owned()
                };
                if cause.is_unique_violation() {
                    Self::AlreadyExists {
                        constraint: constraint(),
                    }
                } else if cause.is_foreign_key_violation() {
                    Self::BrokenReference {
                        constraint: constraint(),
                    }
                } else {
                    by_code(
                        cause.code().as_deref().unwrap_or_default().to_owned(),
                        error,
                    )
                }
            }
            error => Self::Other(error),
        }
    }
}

/// PostgreSQL: 40001 serialization failure, 40P01 deadlock, 55P03 lock not available; 57P0x and 53300: shutting
/// down, starting up, too many connections. SQLite: primary codes 5 (busy) and 6 (locked) in the low byte.
fn by_code(code: String, error: sqlx::Error) -> Error {
    match code.as_str() {
        "40001" | "40P01" | "55P03" => Error::Conflict(error),
        "57P01" | "57P02" | "57P03" | "53300" => Error::Unavailable(error),
        code if code
            .parse::<u32>()
            .is_ok_and(|code| matches!(code & 0xff, 5 | 6)) =>
        {
            Error::Conflict(error)
        }
        _ => Error::Other(error),
    }
}
