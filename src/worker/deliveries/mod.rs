//! Sends what waits for webhooks: claims what is due, signs it, writes how that ended. A receiver that fails too often is
//! left alone for a while by its breaker, which counts no try.
//!
//! * `receiver`: who may be asked, and how.

mod receiver;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use parking_lot::Mutex;

use crate::db::Db;
use crate::domain::Error;
use crate::domain::webhooks::{self, Outcome, Sending};
use crate::kit::breaker::{Breaker, Rules, State};
use crate::kit::clock::SharedClock;
use crate::kit::id::WebhookId;
use crate::kit::lifecycle::Lifecycle;
use crate::kit::metrics;
use crate::settings;

use receiver::Receivers;

/// Receivers whose breakers are remembered; above it those that are well are forgotten.
const BREAKERS_MAX: usize = 10_000;
/// Receivers are dependencies other than segmenters.
const BREAKER: Rules = Rules {
    window_calls: 20,
    min_calls: 10,
    failure_percent: 50,
    consecutive_failures: 5,
    open: Duration::from_secs(30),
    jitter_percent: 20,
    probes: 1,
};

/// The sender. Clones share its breakers.
#[derive(Debug, Clone)]
pub struct Deliveries {
    db: Db,
    clock: SharedClock,
    receivers: Receivers,
    breakers: Arc<Mutex<HashMap<WebhookId, Breaker>>>,
    at_once: u32,
    poll_interval: Duration,
}

impl Deliveries {
    /// A sender by these settings.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(db: Db, clock: SharedClock, settings: &settings::Webhooks) -> anyhow::Result<Self> {
        Ok(Self {
            db,
            clock,
            receivers: Receivers::new(settings)?,
            breakers: Arc::default(),
            at_once: settings.at_once,
            poll_interval: Duration::from_millis(settings.poll_interval_ms),
        })
    }

    /// Sends until the process drains; what was claimed is sent to its end.
    pub fn start(&self, lifecycle: &Lifecycle) {
        let (deliveries, draining) = (self.clone(), lifecycle.clone());
        lifecycle.spawn_essential("webhooks.send", async move {
            deliveries.run(&draining).await;
            Ok(())
        });
    }

    async fn run(&self, lifecycle: &Lifecycle) {
        while !lifecycle.is_draining() {
            match self.send_due().await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => tracing::warn!(%error, "no deliveries were claimed: {error}"),
            }
            tokio::select! {
                () = lifecycle.draining() => {}
                () = tokio::time::sleep(self.poll_interval) => {}
            }
        }
    }

    async fn send_due(&self) -> Result<usize, Error> {
        let due = webhooks::claim(&self.db, &*self.clock, self.at_once).await?;
        let count = due.len();
        futures::stream::iter(due)
            .for_each_concurrent(None, |sending| self.send(sending))
            .await;
        Ok(count)
    }

    async fn send(&self, sending: Sending) {
        let outcome = self.outcome(&sending).await;
        metrics::webhook_sent(match &outcome {
            Outcome::Delivered { .. } => "delivered",
            Outcome::Failed { .. } => "failed",
            Outcome::Gone => "gone",
            Outcome::Postponed { .. } => "postponed",
        });
        if let Outcome::Failed { error, .. } = &outcome {
            tracing::info!(webhook = %sending.webhook, delivery = %sending.id, "a delivery failed: {error}");
        }
        if let Err(error) = webhooks::end(&self.db, &*self.clock, &sending, &outcome).await {
            tracing::warn!(%error, delivery = %sending.id, "delivery {} is sent again: {error}", sending.id);
        }
    }

    async fn outcome(&self, sending: &Sending) -> Outcome {
        let permit = match self.breaker(sending.webhook).admit() {
            Ok(permit) => permit,
            Err(refused) => {
                let pause = refused.retry_in;
                return Outcome::Postponed { pause };
            }
        };
        let outcome = self.receivers.send(sending, self.clock.now()).await;
        match &outcome {
            Outcome::Failed { retry_after, .. } => permit.failed(*retry_after),
            _ => permit.succeeded(),
        }
        outcome
    }

    fn breaker(&self, webhook: WebhookId) -> Breaker {
        let mut breakers = self.breakers.lock();
        if breakers.len() >= BREAKERS_MAX {
            breakers.retain(|_, breaker| breaker.state() != State::Closed);
        }
        let made = || Breaker::new("webhook", BREAKER, |_| {});
        breakers.entry(webhook).or_insert_with(made).clone()
    }
}
