//! How the event backbone is, over all live instances: who reads what, how far behind, and whether facts get out.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::db::Db;
use crate::domain::Error;
use crate::events::group::GroupFigures;
use crate::events::log::{EventLog, Member};
use crate::events::outbox;
use crate::kit::clock::Clock;
use crate::state::SharedState;
use crate::state::instances::{Instance, Instances};

/// The name under which an instance's groups stand among its figures.
pub const GROUPS: &str = "groups";

/// The whole backbone.
#[derive(Debug, Serialize)]
pub struct Backbone {
    /// Whether the log answers; what it says where it does not.
    pub log: Answer,
    /// What writes to it.
    pub producer: Producer,
    /// What reads it, by name.
    pub groups: Vec<Group>,
}

/// Whether something answers.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// It does.
    pub healthy: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The way out of the database.
#[derive(Debug, Serialize)]
pub struct Producer {
    /// When the oldest fact was written that the log does not hold yet; none where it holds all.
    pub oldest_waiting_at: Option<DateTime<Utc>>,
    /// Its age in seconds; 0 where none waits.
    pub oldest_waiting_age_s: f64,
}

/// A group over all instances.
#[derive(Debug, Serialize)]
pub struct Group {
    /// Its name without prefix.
    pub group: String,
    /// Its members as the log knows them; none where it does not answer.
    pub members: Option<Vec<Member>>,
    /// Records behind the committed positions, as far as known.
    pub lag: i64,
    /// Records read and not done.
    pub in_flight: usize,
    /// Members that have no partition, because there are more of them than partitions.
    pub idle_members: usize,
    /// What each instance says of it.
    pub instances: Vec<GroupFigures>,
}

/// Looks at everything.
///
/// # Errors
/// When database or state store do not answer; a log that does not is told in the answer.
pub async fn look(
    db: &Db,
    log: &dyn EventLog,
    state: &SharedState,
    clock: &dyn Clock,
) -> Result<Backbone, Error> {
    let instances = Instances::new(state.clone()).list().await?;
    let mut groups = Vec::new();
    for (name, instances) in by_group(&instances) {
        groups.push(group(log, name, instances).await);
    }
    let oldest = outbox::oldest_waiting(&mut db.reader().await?).await?;
    let age = oldest.and_then(|oldest| (clock.now() - oldest).to_std().ok());
    let error = log.ping().await.err().map(|error| error.to_string());
    Ok(Backbone {
        log: Answer {
            healthy: error.is_none(),
            error,
        },
        producer: Producer {
            oldest_waiting_at: oldest,
            oldest_waiting_age_s: age.unwrap_or_default().as_secs_f64(),
        },
        groups,
    })
}

/// The groups that an instance says it is a member of; those of other versions that cannot be read are left out.
pub fn groups_of(instance: &Instance) -> Vec<GroupFigures> {
    let groups = instance.figures.get(GROUPS).cloned();
    groups
        .and_then(|groups| serde_json::from_value(groups).ok())
        .unwrap_or_default()
}

fn by_group(instances: &[Instance]) -> BTreeMap<String, Vec<GroupFigures>> {
    let mut groups: BTreeMap<String, Vec<GroupFigures>> = BTreeMap::new();
    for figures in instances.iter().flat_map(groups_of) {
        groups
            .entry(figures.group.clone())
            .or_default()
            .push(figures);
    }
    groups
}

async fn group(log: &dyn EventLog, name: String, instances: Vec<GroupFigures>) -> Group {
    let members = log.members(&name).await.ok();
    let with_work = |member: &&Member| member.partitions.values().any(|them| !them.is_empty());
    let idle = members.iter().flatten().filter(|it| !with_work(it)).count();
    // One partition may stand in two lines while it moves.
    let mut seen = BTreeSet::new();
    let partitions = instances.iter().flat_map(|it| &it.partitions);
    let once = partitions.filter(|it| seen.insert((it.topic.clone(), it.partition)));
    Group {
        lag: once.filter_map(|it| it.lag).sum(),
        in_flight: instances.iter().map(GroupFigures::in_flight).sum(),
        idle_members: idle,
        group: name,
        members,
        instances,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kit::clock::{Clock, SystemClock};

    fn instance(name: &str, figures: serde_json::Value) -> Instance {
        Instance {
            instance: name.to_owned(),
            role: "worker".to_owned(),
            version: "0.1.0".to_owned(),
            started_at: SystemClock.now(),
            address: String::new(),
            figures,
        }
    }

    #[test]
    fn instances_are_gathered_by_group_and_strange_figures_left_out() {
        let of = |name: &str| GroupFigures {
            group: name.to_owned(),
            ..GroupFigures::default()
        };
        let instances = [
            instance("a", json!({ "groups": [of("one"), of("two")] })),
            instance("b", json!({ "groups": [of("one")] })),
            instance("c", json!({ "groups": "of another version" })),
            instance("d", json!({})),
        ];
        let groups = by_group(&instances);
        assert_eq!(groups["one"].len(), 2);
        assert_eq!(groups["two"].len(), 1);
    }
}
