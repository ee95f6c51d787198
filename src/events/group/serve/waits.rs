//! Waits: for permits, for what is away, between attempts. All end when the partition goes.

use std::time::Duration;

use super::one_by_one::OneByOne;
use crate::db;
use crate::kit::retry::Backoff;

/// Waits between two attempts, and while something is away.
pub(super) const BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};

/// The partition goes: whoever waits ends without completing.
#[derive(Debug)]
pub(super) struct Stopped;

impl OneByOne {
    /// Writes to the inbox, however long that takes.
    pub(super) async fn persist<F>(&mut self, write: impl Fn() -> F) -> Result<(), Stopped>
    where
        F: Future<Output = Result<(), db::Error>>,
    {
        let mut failures = 0;
        while let Err(error) = write().await {
            failures += 1;
            self.hold(&error.to_string(), failures).await?;
        }
        Ok(())
    }

    /// Waits because something that is needed is away.
    pub(super) async fn hold(&mut self, why: &str, times: u32) -> Result<(), Stopped> {
        if times == 1 {
            tracing::warn!(group = self.core.name(), "a lane waits: {why}");
        }
        self.core.note_error(why);
        self.core.change(|figures| figures.held_lanes += 1);
        let rested = self.rest(BACKOFF.wait(times)).await;
        self.core.change(|figures| figures.held_lanes -= 1);
        rested
    }

    /// Waits because the dead letters cannot be written.
    pub(super) async fn stall(&mut self, why: &str, times: u32) -> Result<(), Stopped> {
        if times == 1 {
            tracing::error!(group = self.core.name(), "a lane stands still: {why}");
        }
        self.core.note_error(why);
        self.core.change(|figures| figures.stalled_lanes += 1);
        let rested = self.rest(BACKOFF.wait(times)).await;
        self.core.change(|figures| figures.stalled_lanes -= 1);
        rested
    }

    /// Waits without a permit.
    pub(super) async fn rest(&mut self, wait: Duration) -> Result<(), Stopped> {
        self.permit = None;
        tokio::select! {
            () = self.slot.stop.cancelled() => return Err(Stopped),
            () = tokio::time::sleep(wait) => {}
        }
        self.take_permit().await
    }

    pub(super) async fn take_permit(&mut self) -> Result<(), Stopped> {
        if self.permit.is_some() {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = self.slot.stop.cancelled() => Err(Stopped),
            permit = self.core.permits.clone().acquire_owned() => {
                self.permit = permit.ok();
                Ok(())
            }
        }
    }
}
