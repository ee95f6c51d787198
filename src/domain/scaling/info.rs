//! The instances by role, and what each has of the shared work.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::domain::Error;
use crate::domain::jobs::{Depth, Jobs};
use crate::kit::instance::InstanceId;
use crate::state::SharedState;
use crate::state::instances::{Instance, Instances};
use crate::state::vitals::Vitals;

use super::Advice;

/// Who is there and who does what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Info {
    /// Who answers.
    pub instance: String,
    /// What it says of itself now.
    pub figures: Value,
    /// Live instances by role, each with what it said of itself within the last five seconds.
    pub instances: BTreeMap<String, Vec<Instance>>,
    /// How full the queue is.
    pub queue: Depth,
    /// How many workers there should be; none while no worker has counted within the last two minutes.
    pub workers: Option<Advice>,
}

/// Asks the state store who is there, and the queue how full it is.
///
/// # Errors
/// When the state store does not answer.
pub async fn info(
    state: &SharedState,
    jobs: &Jobs,
    (own, vitals): (&InstanceId, &Vitals),
) -> Result<Info, Error> {
    let mut instances: BTreeMap<String, Vec<Instance>> = BTreeMap::new();
    for line in Instances::new(state.clone()).list().await? {
        instances.entry(line.role.clone()).or_default().push(line);
    }
    Ok(Info {
        instance: own.unique().to_owned(),
        figures: vitals.read(),
        instances,
        queue: jobs.depth().await?,
        workers: Advice::kept(&**state).await?,
    })
}
