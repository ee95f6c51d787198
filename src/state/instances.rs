//! The list of live processes. Each writes its own line every few seconds; the line of one that died ends by itself.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Error, SharedState};

/// How often an instance writes its line.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(5);

/// How long a line stands: two missed announcements are forgiven.
pub const LINE_LIFETIME: Duration = Duration::from_secs(15);

const LIST: &str = "instances";

/// The line of one live process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its name with the digits of its boot ([`crate::kit::instance::InstanceId::unique`]).
    pub instance: String,
    /// Its role, such as `serve`.
    pub role: String,
    /// The version of the program.
    pub version: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// Where its operator listener is, `host:port`.
    pub address: String,
    /// What the role says of itself: assignment, lag, permits, sockets.
    pub figures: serde_json::Value,
}

/// The list in a state store.
#[derive(Debug, Clone)]
pub struct Instances {
    state: SharedState,
}

impl Instances {
    /// The list in `state`.
    pub fn new(state: SharedState) -> Self {
        Self { state }
    }

    /// Writes one line, which stands for [`LINE_LIFETIME`].
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn announce(&self, line: &Instance) -> Result<(), Error> {
        let json = serde_json::to_vec(line)
            .map_err(|error| Error::Unexpected(format!("figures that are no JSON: {error}")))?;
        let json = Bytes::from(json);
        self.state
            .join(LIST, &line.instance, json, LINE_LIFETIME)
            .await?;
        Ok(())
    }

    /// Writes the present line every [`ANNOUNCE_INTERVAL`] until `draining`, then takes it out. A store that is away is
    /// logged once and tried again with the next line.
    pub async fn keep_announcing(
        &self,
        draining: CancellationToken,
        line: impl Fn() -> Instance + Send,
    ) {
        let mut away = false;
        loop {
            let outcome = self.announce(&line()).await;
            if let (Err(error), false) = (&outcome, away) {
                tracing::warn!(%error, "this instance is not in the list of live ones: {error}");
            }
            away = outcome.is_err();
            tokio::select! {
                () = tokio::time::sleep(ANNOUNCE_INTERVAL) => {}
                () = draining.cancelled() => break,
            }
        }
        if let Err(error) = self.leave(&line().instance).await {
            tracing::debug!(%error, "this instance stays in the list for a while: {error}");
        }
    }

    /// Takes the line of `instance` out.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn leave(&self, instance: &str) -> Result<bool, Error> {
        self.state.leave(LIST, instance).await
    }

    /// The lines of all live instances, sorted by name; those of other versions that cannot be read are left out.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self) -> Result<Vec<Instance>, Error> {
        let lines = self.state.members(LIST).await?;
        let read = lines.iter().filter_map(|(name, json)| {
            let line = serde_json::from_slice(json);
            line.inspect_err(
                |error| tracing::debug!(%error, "the line of instance {name} cannot be read"),
            )
            .ok()
        });
        Ok(read.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kit::clock::{Clock, ManualClock, SystemClock};
    use crate::state::StateStore;
    use crate::state::memory::Memory;

    fn line(name: &str) -> Instance {
        Instance {
            instance: name.to_owned(),
            role: "worker".to_owned(),
            version: "0.1.0".to_owned(),
            started_at: SystemClock.now(),
            address: "127.0.0.1:9100".to_owned(),
            figures: serde_json::json!({ "permits": 5 }),
        }
    }

    #[tokio::test]
    async fn a_line_stands_until_its_instance_is_silent_for_too_long() {
        let clock = ManualClock::at(SystemClock.now());
        let instances = Instances::new(Arc::new(Memory::new(Arc::new(clock.clone()))));
        let (first, second) = (line("a"), line("b"));
        instances.announce(&first).await.unwrap();
        clock.advance(ANNOUNCE_INTERVAL);
        instances.announce(&second).await.unwrap();
        assert_eq!(
            instances.list().await.unwrap(),
            [first.clone(), second.clone()]
        );
        clock.advance(LINE_LIFETIME - ANNOUNCE_INTERVAL);
        assert_eq!(instances.list().await.unwrap(), [second]);
    }

    #[tokio::test]
    async fn a_line_of_another_version_is_left_out() {
        let state = Arc::new(Memory::new(SystemClock::shared()));
        let instances = Instances::new(Arc::clone(&state) as SharedState);
        let foreign = Bytes::from_static(b"{\"name\":1}");
        state.join(LIST, "z", foreign, LINE_LIFETIME).await.unwrap();
        instances.announce(&line("a")).await.unwrap();
        let lines = instances.list().await.unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].instance, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_drains_leaves_the_list() {
        let instances = Instances::new(Arc::new(Memory::new(SystemClock::shared())));
        let draining = CancellationToken::new();
        let announcing = instances.keep_announcing(draining.clone(), || line("a"));
        let checking = async {
            tokio::task::yield_now().await;
            assert_eq!(instances.list().await.unwrap().len(), 1);
            draining.cancel();
        };
        tokio::join!(announcing, checking);
        assert_eq!(instances.list().await.unwrap(), []);
    }
}
