//! Tasks and the two-step shutdown. Every task of the process is spawned here, so that it has a name, is counted,
//! is told when to stop, and is waited for.
//!
//! * `draining`: the first signal. Loops stop taking new work and finish what they hold.
//! * `stopped`: the deadline has passed or a second signal came. Whatever still runs is dropped.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The handle by which components spawn tasks and learn that the process is ending. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    draining: CancellationToken,
    stopped: CancellationToken,
    /// A second signal: whoever ends waits for nothing any more.
    hurried: CancellationToken,
    tasks: TaskTracker,
    failed: AtomicBool,
    listens_to_signals: AtomicBool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every task finished inside the deadline.
    Clean,
    /// The deadline passed or a second signal came while tasks still ran.
    Forced,
    /// A task that must live as long as the process ended by itself.
    Failed,
}

impl Ending {
    /// 0 when clean, else 1.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Clean => ExitCode::SUCCESS,
            Self::Forced | Self::Failed => ExitCode::FAILURE,
        }
    }
}

impl Lifecycle {
    /// A lifecycle on which nothing runs yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a task that may end whenever it likes; dropped when the process is `stopped`.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let stopped = self.shared.stopped.clone();
        tokio::spawn(self.shared.tasks.track_future(async move {
            tokio::select! {
                output = task => Some(output),
                () = stopped.cancelled() => {
                    tracing::warn!(task = name, "task {name} was dropped at the shutdown deadline");
                    None
                }
            }
        }))
    }

    /// Spawns a task that must live until draining begins. When it ends (or panics) before, the process drains
    /// and its ending is [`Ending::Failed`].
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn_essential(
        &self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let inner = self.spawn(name, task);
        let this = self.clone();
        tokio::spawn(self.shared.tasks.track_future(async move {
            let outcome = inner.await;
            if let Ok(Some(Err(error))) = &outcome {
                tracing::error!(
                    task = name,
                    error = format!("{error:#}"),
                    "task {name} failed"
                );
            } else if let Err(panic) = &outcome {
                tracing::error!(task = name, error = %panic, "task {name} panicked");
            }
            let failed = !matches!(outcome, Ok(Some(Ok(())) | None));
            if failed || !this.is_draining() {
                this.shared.failed.store(true, Ordering::Relaxed);
                this.drain();
            }
        }));
    }

    /// From now on the first SIGTERM or SIGINT begins the drain and the second ends it; before, a signal kills. Called
    /// before anybody learns that the process is ready; later calls change nothing.
    ///
    /// # Errors
    /// When the process may not install signal handlers.
    #[expect(
        clippy::disallowed_methods,
        reason = "listens until the process is gone, so nobody may wait for it"
    )]
    pub fn listen_to_signals(&self) -> std::io::Result<()> {
        if self.shared.listens_to_signals.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let this = self.clone();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                tracing::info!("{name} received");
                if this.is_draining() {
                    this.shared.hurried.cancel();
                }
                this.drain();
            }
        });
        Ok(())
    }

    /// Begins draining; may be called any number of times.
    pub fn drain(&self) {
        self.shared.draining.cancel();
    }

    /// Whether draining has begun.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.is_cancelled()
    }

    /// Resolves when draining begins.
    pub async fn draining(&self) {
        self.shared.draining.cancelled().await;
    }

    /// A token that is cancelled when draining begins.
    pub fn drain_token(&self) -> CancellationToken {
        self.shared.draining.clone()
    }

    /// Drops every task that still runs.
    pub fn stop(&self) {
        self.drain();
        self.shared.stopped.cancel();
    }

    /// Waits for a signal (or for an essential task to fail), lets tasks finish for at most `deadline`, then
    /// drops the rest. A second signal ends the wait at once.
    ///
    /// # Errors
    /// When the process may not install signal handlers.
    pub async fn run_until_ended(&self, deadline: Duration) -> std::io::Result<Ending> {
        self.listen_to_signals()?;
        self.draining().await;
        tracing::info!("draining for at most {} s", deadline.as_secs());
        self.shared.tasks.close();
        let finished = tokio::select! {
            () = self.shared.tasks.wait() => true,
            () = tokio::time::sleep(deadline) => false,
            () = self.shared.hurried.cancelled() => false,
        };
        self.stop();
        Ok(
            match (finished, self.shared.failed.load(Ordering::Relaxed)) {
                (_, true) => Ending::Failed,
                (true, false) => Ending::Clean,
                (false, false) => Ending::Forced,
            },
        )
    }

    /// Drains and waits for every task, at most `deadline`; for commands and tests that end without a signal.
    /// True when all finished by themselves.
    pub async fn finish(&self, deadline: Duration) -> bool {
        self.drain();
        self.shared.tasks.close();
        let finished = tokio::time::timeout(deadline, self.shared.tasks.wait())
            .await
            .is_ok();
        self.stop();
        finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn finish_waits_for_a_task_that_drains() {
        let lifecycle = Lifecycle::new();
        let token = lifecycle.drain_token();
        let task = lifecycle.spawn("drains", async move {
            token.cancelled().await;
            7
        });
        assert!(lifecycle.finish(Duration::from_secs(5)).await);
        assert_eq!(task.await.unwrap(), Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ignores_draining_is_dropped_at_the_deadline() {
        let lifecycle = Lifecycle::new();
        let task = lifecycle.spawn("deaf", std::future::pending::<()>());
        assert!(!lifecycle.finish(Duration::from_secs(30)).await);
        assert_eq!(task.await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_essential_task_that_ends_alone_fails_the_process() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn_essential("short", async { anyhow::bail!("out of luck") });
        let ending = lifecycle
            .run_until_ended(Duration::from_secs(5))
            .await
            .unwrap();
        assert_eq!(ending, Ending::Failed);
    }
}
