//! The runs of one transaction: begin, work, commit or roll back, and again when another was in the way.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::kit::metrics;
use crate::kit::retry::Backoff;

use super::guard::forbid_inside_transaction;
use super::{Db, Error, Transient, Tx};

/// Waits between two runs of a transaction that met another in its way.
const CONFLICT_BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(5),
    cap: Duration::from_millis(200),
};

/// The runs of one named transaction. [`run_tx`] drives it: begin, work, end, and perhaps once more. Who drives it by
/// hand is not watched by [`super::forbid_inside_transaction`]: that is for the relay alone, which holds an advisory
/// lock while it appends.
#[derive(Debug)]
pub struct Attempts<'d> {
    db: &'d Db,
    name: &'static str,
    of_one_statement: bool,
    failures: u32,
}

impl<'d> Attempts<'d> {
    pub(super) const fn new(db: &'d Db, name: &'static str) -> Self {
        Self {
            db,
            name,
            of_one_statement: false,
            failures: 0,
        }
    }

    pub(super) const fn of_one_statement(db: &'d Db, name: &'static str) -> Self {
        Self {
            of_one_statement: true,
            ..Self::new(db, name)
        }
    }

    /// The name of the transaction.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Begins one run; waits and tries again while another process holds SQLite's write lock, within the limit of
    /// runs.
    ///
    /// # Errors
    /// When no connection can be had or the database does not answer.
    ///
    /// # Panics
    /// In debug builds, inside another transaction.
    pub async fn begin(&mut self) -> Result<Tx, Error> {
        forbid_inside_transaction("a second transaction");
        loop {
            match self.db.begin(self.of_one_statement).await {
                Err(error) if self.may_retry(&error) => self.wait().await,
                Err(error) => {
                    metrics::db_transaction(self.name, "rolled_back");
                    return Err(error);
                }
                begun => return begun,
            }
        }
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
            Err(error) if self.may_retry(&error) => {
                self.wait().await;
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

    fn may_retry(&self, error: &impl Transient) -> bool {
        error.is_transient() && self.failures + 1 < self.db.attempts_max
    }

    async fn wait(&mut self) {
        self.failures += 1;
        metrics::db_transaction(self.name, "retried");
        tokio::time::sleep(CONFLICT_BACKOFF.wait(self.failures)).await;
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
#[macro_export]
macro_rules! run_tx {
    ($db:expr, $name:expr, |$tx:ident| -> $result:ty $body:block) => {{
        let mut attempts = $db.attempts($name);
        loop {
            let mut transaction = match attempts.begin().await {
                Ok(transaction) => transaction,
                Err(error) => break Err(error.into()),
            };
            let $tx = &mut transaction;
            let work = $crate::db::typed::<_, $result>(async { $body });
            let outcome = $crate::db::inside(attempts.name(), work).await;
            if let ::std::ops::ControlFlow::Break(outcome) =
                attempts.end(transaction, outcome).await
            {
                break outcome;
            }
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::on_tx;

    const NAME: &str = "select name from users where id = $1";

    async fn name(db: &Db, id: uuid::Uuid) -> Result<String, Error> {
        run_tx!(db, "test", |tx| -> Result<String, Error> {
            Ok(on_tx!(tx, |conn| sqlx::query_scalar(NAME)
                .bind(id)
                .fetch_one(conn)
                .await)?)
        })
    }

    /// Compiles only when the future may move between threads, as a spawned task's and a handler's must.
    #[test]
    fn a_transaction_can_run_in_a_task_of_its_own() {
        fn sendable<F: Future + Send>(_: impl Fn(&'static Db) -> F) {}
        sendable(|db| name(db, uuid::Uuid::nil()));
    }
}
