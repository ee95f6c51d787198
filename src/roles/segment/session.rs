//! The backends and the worker of a run, from their start to their end.

use std::time::Duration;

use anyhow::anyhow;
use futures::StreamExt;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::kit::clock::SystemClock;
use crate::kit::lifecycle::Lifecycle;
use crate::roles::worker;
use crate::settings::Settings;

use super::choices::Choices;
use super::plan::Planned;
use super::progress::Progress;
use super::records::Records;
use super::work::{Outcome, Tools};
use super::workplace::{Account, Workplace};

/// Longest wait for the worker to end once all images are done.
const ENDING_PATIENCE: Duration = Duration::from_secs(10);

/// Exit statuses of a run that a signal stopped, as shells have them: 128 and the signal's number.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// What a run works with.
#[derive(Debug)]
pub(super) struct Session<'r> {
    pub(super) workplace: &'r Workplace,
    pub(super) choices: &'r Choices,
    pub(super) records: &'r Records,
    pub(super) progress: Progress,
}

impl Session<'_> {
    /// Does the images and adds how it went with each that was done with. Answers with the exit status of a run that a
    /// signal stopped.
    ///
    /// # Errors
    /// When the backends cannot be opened, or the worker ends before its time.
    pub(super) async fn work(
        &self,
        settings: Settings,
        to_do: Vec<Planned>,
        outcomes: &mut Vec<Outcome>,
    ) -> anyhow::Result<Option<u8>> {
        if to_do.is_empty() {
            return Ok(None);
        }
        let settings = self.workplace.settings(settings);
        let app = App::open(settings, SystemClock::shared(), Lifecycle::new()).await?;
        app.migrate(false).await?;
        let account = Account::make(&app).await?;
        // No relay: nobody reads the event log of a run, and carrying events there doubles the work of the database.
        worker::start_worker(&app, &worker::new_worker(&app)?)?;
        let tools = Tools {
            app: &app,
            account: &account,
            choices: self.choices,
            records: self.records,
            progress: &self.progress,
        };
        let ended = tokio::select! {
            () = all(&tools, to_do, outcomes) => Ok(None),
            status = stopped() => status.map(Some),
            () = app.lifecycle.draining() => Err(anyhow!("the worker ended before the images did")),
            never = self.progress.tell() => match never {},
        };
        self.progress.end();
        app.lifecycle.finish(ENDING_PATIENCE).await;
        app.close().await;
        ended
    }
}

async fn all(tools: &Tools<'_>, to_do: Vec<Planned>, outcomes: &mut Vec<Outcome>) {
    // Twice as many as run: while some are segmented, others are read in and written out.
    let at_once = 2 * tools.app.settings.worker.concurrency;
    let mut running = futures::stream::iter(to_do)
        .map(|planned| tools.work(planned))
        .buffer_unordered(at_once);
    while let Some(outcome) = running.next().await {
        outcomes.push(outcome);
    }
}

/// Resolves when somebody wants the run to end, with its exit status.
async fn stopped() -> anyhow::Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => INTERRUPTED,
        _ = terminate.recv() => TERMINATED,
    })
}
