//! How the groups of this process are: figures that others render, kept where every part of the process finds them.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::events::log::Partition;
use crate::kit::metrics;

/// What a group of this process does now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// It is no member yet, or not any more.
    #[default]
    Joining,
    /// It is a member and reads what it is given.
    Reading,
    /// Its window is full, or something that its handler needs is away: some lanes wait.
    Waiting,
    /// The dead letters cannot be written: some lanes stand still until they can.
    Stalled,
    /// Too many records died; it stays out until the process starts again.
    Flooded,
    /// Another process has joined under this one's `kafka.group_instance_id`; it stays out until the process starts again.
    Replaced,
    /// The process is ending.
    Closed,
}

/// One partition that this process reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionFigures {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The next offset to commit; none before the first record.
    pub position: Option<i64>,
    /// Records behind the committed position, as of the last look; none before it.
    pub lag: Option<i64>,
    /// Records that were read and are not done.
    pub in_flight: usize,
    /// Whether reading it is paused.
    pub paused: bool,
}

/// A group as this process sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFigures {
    /// Its name without prefix.
    pub group: String,
    /// The member: instance id and boot.
    pub client_id: String,
    /// What it does.
    pub state: GroupState,
    /// What it reads.
    pub partitions: Vec<PartitionFigures>,
    /// Times that partitions came or went since the start.
    pub rebalances: u64,
    /// Times that it joined anew because its stream had fallen silent or failed.
    pub rejoins: u64,
    /// Commits that counted.
    pub commits: u64,
    /// Records handled.
    pub handled: u64,
    /// Records that went to the dead letters.
    pub dead_letters: u64,
    /// Lanes that wait for something that is away.
    pub held_lanes: usize,
    /// Lanes that wait for the dead letters to be writable.
    pub stalled_lanes: usize,
    /// Topics with another number of partitions than this version wants, in words: their keys have moved.
    #[serde(default)]
    pub odd_topics: Vec<String>,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
    /// When.
    pub last_error_at: Option<DateTime<Utc>>,
}

impl GroupFigures {
    /// Records that were read and are not done.
    pub fn in_flight(&self) -> usize {
        self.partitions.iter().map(|it| it.in_flight).sum()
    }

    /// Records behind the committed positions of its partitions, as far as known.
    pub fn lag(&self) -> i64 {
        self.partitions.iter().filter_map(|it| it.lag).sum()
    }

    /// A group that reads may have lanes that do not.
    fn derive_state(&mut self) {
        use GroupState::{Reading, Stalled, Waiting};
        if matches!(self.state, Reading | Stalled | Waiting) {
            let waits = self.held_lanes > 0 || self.partitions.iter().any(|it| it.paused);
            self.state = match (self.stalled_lanes > 0, waits) {
                (true, _) => Stalled,
                (false, true) => Waiting,
                (false, false) => Reading,
            };
        }
    }

    fn show(&self) {
        let group = &self.group;
        metrics::group_in_flight(group, self.in_flight());
        metrics::group_stalled(group, self.stalled_lanes);
        let is_out = matches!(self.state, GroupState::Flooded | GroupState::Replaced);
        metrics::group_stopped(group, is_out);
    }
}

/// The groups of this process by name. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Groups {
    figures: Arc<Mutex<BTreeMap<String, GroupFigures>>>,
}

impl Groups {
    /// All groups as they are now, by name.
    pub fn all(&self) -> Vec<GroupFigures> {
        self.figures.lock().values().cloned().collect()
    }

    /// Changes the figures of a group, which are made where they are missing.
    pub(super) fn change(&self, group: &str, change: impl FnOnce(&mut GroupFigures)) {
        let mut all = self.figures.lock();
        let figures = match all.get_mut(group) {
            Some(figures) => figures,
            None => all.entry(group.to_owned()).or_insert_with(|| GroupFigures {
                group: group.to_owned(),
                ..GroupFigures::default()
            }),
        };
        change(figures);
        figures.derive_state();
    }

    /// Shows the figures of a group as metrics.
    pub(super) fn show(&self, group: &str) {
        if let Some(figures) = self.figures.lock().get(group) {
            figures.show();
        }
    }

    /// Notes how many partitions a group's topics have: each with what is wanted and what is there.
    pub(super) fn note_partitions(&self, group: &str, topics: &[(String, i32, i32)]) {
        let mut odd = Vec::new();
        for (topic, wanted, found) in topics {
            metrics::topic_partitions_odd(topic, found - wanted);
            if wanted != found {
                odd.push(format!(
                    "{topic} with {found} partitions instead of {wanted}"
                ));
            }
        }
        self.change(group, |figures| {
            if !odd.is_empty() && figures.odd_topics != odd {
                tracing::error!(
                    group,
                    "keys have moved, their order is not kept: {}",
                    odd.join(", ")
                );
            }
            figures.odd_topics = odd;
        });
    }

    /// Notes how far behind a group's partitions are.
    pub(super) fn note_lag(&self, group: &str, lag: &BTreeMap<Partition, i64>) {
        self.change(group, |figures| {
            for partition in &mut figures.partitions {
                let of = |it: &Partition| {
                    it.topic == partition.topic && it.number == partition.partition
                };
                let records = lag.iter().find(|(it, _)| of(it)).map(|(_, lag)| *lag);
                partition.lag = records;
                if let Some(records) = records {
                    let (topic, number) = (&partition.topic, partition.partition);
                    metrics::consumer_lag(group, topic, number, records);
                }
            }
        });
    }

    /// What is wrong with the groups, for a health report; none where nothing is.
    pub fn trouble(&self) -> Option<String> {
        let all = self.figures.lock();
        let wrong: Vec<_> = all.values().filter_map(trouble).collect();
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}

fn trouble(figures: &GroupFigures) -> Option<String> {
    let what = match figures.state {
        GroupState::Flooded => "stopped because too many records died",
        GroupState::Replaced => "stays out because another process has its kafka.group_instance_id",
        GroupState::Stalled => "stands still because the dead letters cannot be written",
        _ if !figures.odd_topics.is_empty() => {
            let topics = figures.odd_topics.join(", ");
            return Some(format!("group {} reads {topics}", figures.group));
        }
        _ => return None,
    };
    let why = figures.last_error.as_deref().unwrap_or("no error is known");
    Some(format!("group {} {what}: {why}", figures.group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_noted_for_what_is_read() {
        let groups = Groups::default();
        groups.change("g", |figures| {
            figures.partitions = vec![PartitionFigures {
                topic: "t".to_owned(),
                partition: 1,
                ..PartitionFigures::default()
            }];
        });
        let place = |number| Partition {
            topic: "t".to_owned(),
            number,
        };
        groups.note_lag("g", &BTreeMap::from([(place(0), 5), (place(1), 7)]));
        assert_eq!(groups.all()[0].lag(), 7);
    }

    #[test]
    fn a_topic_that_has_grown_is_trouble() {
        let groups = Groups::default();
        groups.note_partitions("g", &[("t".to_owned(), 12, 13), ("u".to_owned(), 3, 3)]);
        let trouble = groups.trouble().unwrap();
        assert!(
            trouble.contains("t with 13 partitions instead of 12"),
            "{trouble}"
        );
        assert!(!trouble.contains("u with"), "{trouble}");
        groups.note_partitions("g", &[("t".to_owned(), 13, 13)]);
        assert_eq!(groups.trouble(), None);
    }

    #[test]
    fn only_what_needs_somebody_is_trouble() {
        let groups = Groups::default();
        groups.change("waits", |figures| {
            figures.state = GroupState::Reading;
            figures.held_lanes = 1;
        });
        assert_eq!(groups.all()[0].state, GroupState::Waiting);
        assert_eq!(groups.trouble(), None);
        groups.change("floods", |figures| {
            figures.state = GroupState::Flooded;
            figures.last_error = Some("all of them".to_owned());
        });
        let trouble = groups.trouble().unwrap();
        assert!(
            trouble.contains("floods") && trouble.contains("all of them"),
            "{trouble}"
        );
    }
}
