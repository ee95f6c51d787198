//! Who is there, who does what, and how many workers there should be: what an autoscaler and a person look at.
//!
//! * `advice`: the number of workers.
//! * `info`: the instances and their shares.

mod advice;
mod info;

use std::time::Duration;

use crate::domain::Error;
use crate::domain::jobs::Figures;
use crate::kit::metrics;
use crate::state::instances::{Instance, Instances};
use crate::state::{SharedState, StateStore, When};

pub use advice::{Advice, Fleet, Load, Rules};
pub use info::{Info, info};

/// Where the last advice is kept, and how long: several of the intervals in which it is given.
const KEY: &str = "scaling:advice";
const LIFETIME: Duration = Duration::from_secs(120);
const WORKS: [&str; 2] = ["worker", "standalone"];

impl Advice {
    /// Gives advice on these figures, keeps it for [`Advice::kept`], and shows it.
    ///
    /// # Errors
    /// When the state store does not answer.
    pub async fn give(
        state: &SharedState,
        figures: &Figures,
        rules: &Rules,
    ) -> Result<Self, Error> {
        let instances = Instances::new(state.clone()).list().await?;
        let before = Self::kept(&**state).await?;
        let load = Load {
            waiting: figures.total.waiting,
            running: figures.total.running,
            arrivals_per_s: figures.arrivals_per_minute / 60.0,
            service_s: figures.service.as_ref().map(|service| service.mean_s),
        };
        let advice = Self::new(before.as_ref(), load, fleet(&instances), rules, figures.at);
        let json =
            serde_json::to_vec(&advice).map_err(|error| Error::Internal(error.to_string()))?;
        state.put(KEY, json.into(), LIFETIME, When::Always).await?;
        advice.show();
        Ok(advice)
    }

    /// The last advice that a worker gave, if any within the last two minutes.
    ///
    /// # Errors
    /// When the state store does not answer.
    pub async fn kept(state: &dyn StateStore) -> Result<Option<Self>, Error> {
        let kept = state.get(KEY).await?;
        // What another version wrote is as good as nothing.
        Ok(kept.and_then(|json| serde_json::from_slice(&json).ok()))
    }

    /// Sets the gauge.
    pub fn show(&self) {
        metrics::workers_wanted(self.workers_wanted);
    }
}

fn fleet(instances: &[Instance]) -> Fleet {
    let workers = instances
        .iter()
        .filter(|line| WORKS.contains(&line.role.as_str()));
    let permits = workers
        .clone()
        .filter_map(|line| line.figures["worker"]["permits"].as_u64());
    Fleet {
        workers: workers.clone().count() as u64,
        permits: permits.sum(),
    }
}
