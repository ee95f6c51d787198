//! The database seam: narrow at the transaction, wide at the SQL. Truth lives here.
//!
//! One statement text serves both dialects (`$1`, `on conflict`, `returning`); a dialect pair stands only where it
//! must. Statements live in the stores beside the nouns they serve; this room knows none of them.

mod error;
mod ids;
mod tx;

use std::ops::ControlFlow;
use std::time::Duration;

use sqlx::{PgPool, SqlitePool};

use crate::kit::metrics;
use crate::kit::retry::Backoff;

pub use error::{Error, Transient};
pub(crate) use tx::on_tx;
pub use tx::{Connection, Dialect, Tx};

/// A handle on the database; clones share its pools.
#[derive(Debug, Clone)]
pub struct Db {
    pools: Pools,
    attempts_max: u32,
}

#[derive(Debug, Clone)]
enum Pools {
    Postgres {
        primary: PgPool,
    },
    /// SQLite has one writer: a pool of one connection that begins immediate, and a pool of readers.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
}

/// Waits between two runs of a transaction that met another in its way.
const CONFLICT_BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(5),
    cap: Duration::from_millis(200),
};

impl Db {
    /// Begins the runs of the transaction `name`; [`run_tx`] is the way to use it.
    pub const fn attempts(&self, name: &'static str) -> Attempts<'_> {
        Attempts {
            db: self,
            name,
            failures: 0,
        }
    }

    /// Runs `work` on a connection for reading, outside any transaction.
    ///
    /// # Errors
    /// When no connection can be had.
    pub async fn reader(&self) -> Result<Tx, Error> {
        Ok(match &self.pools {
            Pools::Postgres { primary } => primary.acquire().await?.into(),
            Pools::Sqlite { readers, .. } => readers.acquire().await?.into(),
        })
    }

    async fn begin(&self) -> Result<Tx, Error> {
        Ok(match &self.pools {
            Pools::Postgres { primary } => primary.begin().await?.into(),
            Pools::Sqlite { writer, .. } => writer.begin_with("begin immediate").await?.into(),
        })
    }

    /// The dialect of this database.
    pub const fn dialect(&self) -> Dialect {
        match self.pools {
            Pools::Postgres { .. } => Dialect::Postgres,
            Pools::Sqlite { .. } => Dialect::Sqlite,
        }
    }
}

/// The runs of one named transaction. [`run_tx`] drives it: begin, work, end, and perhaps once more.
#[derive(Debug)]
pub struct Attempts<'d> {
    db: &'d Db,
    name: &'static str,
    failures: u32,
}

impl Attempts<'_> {
    /// Begins one run.
    ///
    /// # Errors
    /// When no connection can be had or the database does not answer.
    pub async fn begin(&self) -> Result<Tx, Error> {
        self.db.begin().await
    }

    /// Ends one run: commits what succeeded, rolls back what failed. `Continue` asks for another run, because
    /// another transaction was in the way and the limit is not reached.
    pub async fn end<T, E>(&mut self, tx: Tx, outcome: Result<T, E>) -> ControlFlow<Result<T, E>>
    where
        E: From<Error> + Transient,
    {
        let outcome = match outcome {
            Ok(value) => tx.commit().await.map(|()| value).map_err(E::from),
            Err(error) => {
                tx.roll_back().await;
                Err(error)
            }
        };
        match outcome {
            Err(error) if error.is_transient() && self.failures + 1 < self.db.attempts_max => {
                self.failures += 1;
                metrics::db_transaction(self.name, "retried");
                tokio::time::sleep(CONFLICT_BACKOFF.wait(self.failures)).await;
                ControlFlow::Continue(())
            }
            outcome => {
                let label = if outcome.is_ok() {
                    "committed"
                } else {
                    "rolled_back"
                };
                metrics::db_transaction(self.name, label);
                ControlFlow::Break(outcome)
            }
        }
    }
}

/// Gives a future's output its type, so that `?` works inside an `async` block of [`run_tx`].
pub fn typed<F: Future<Output = R>, R>(future: F) -> F {
    future
}

/// Runs a block in the transaction `name` and commits it:
/// `run_tx!(db, "job.submit", |tx| -> Result<Job, Error> { … })`. It rolls back when the block fails, and runs it
/// again when another transaction was in the way, at most `database.transaction_attempts_max` times. Inside, only
/// the `tx` is awaited: no queue, log, file, HTTP or second transaction.
macro_rules! run_tx {
    ($db:expr, $name:expr, |$tx:ident| -> $result:ty $body:block) => {{
        let mut attempts = $db.attempts($name);
        loop {
            let mut transaction = match attempts.begin().await {
                Ok(transaction) => transaction,
                Err(error) => break Err(error.into()),
            };
            let $tx = &mut transaction;
            let outcome = $crate::db::typed::<_, $result>(async { $body }).await;
            if let ::std::ops::ControlFlow::Break(outcome) =
                attempts.end(transaction, outcome).await
            {
                break outcome;
            }
        }
    }};
}
pub(crate) use run_tx;
