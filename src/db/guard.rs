//! Keeps transactions short: whatever leaves the process asks here whether its task holds one open.
//!
//! A transaction that waits for a queue, a log, a file or an HTTP answer holds its row locks (SQLite: the only
//! writer) for as long as the other side likes. Debug builds, and with them all tests, panic; release builds go on.

use tokio::task_local;

task_local! {
    /// The name of the transaction that this task has open.
    static OPEN: &'static str;
}

/// Runs `work` as the inside of the transaction `name`; [`super::run_tx`] does.
pub fn inside<F: Future>(name: &'static str, work: F) -> impl Future<Output = F::Output> {
    OPEN.scope(name, work)
}

/// Says that `what` ("queue offer", "file put") must not happen inside a transaction.
///
/// # Panics
/// In debug builds, when the calling task is inside [`super::run_tx`].
#[track_caller]
pub fn forbid_inside_transaction(what: &'static str) {
    if cfg!(debug_assertions)
        && let Ok(name) = OPEN.try_with(|name| *name)
    {
        panic!(
            "{what} inside the transaction {name}: only its own statements may be awaited there"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn outside_nothing_is_forbidden() {
        inside("test", async {}).await;
        forbid_inside_transaction("file put");
    }

    #[tokio::test]
    #[should_panic(expected = "file put inside the transaction job.submit")]
    async fn inside_the_name_of_the_transaction_is_told() {
        inside("job.submit", async {
            forbid_inside_transaction("file put")
        })
        .await;
    }
}
