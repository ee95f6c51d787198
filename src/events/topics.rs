//! The topics: names, partitions, retention, and for each its dead-letter twin.

use super::log::Topic;

/// `message.events`, keyed by channel.
pub const MESSAGE_EVENTS: &str = "message.events";
/// `annotation.events`, keyed by image.
pub const ANNOTATION_EVENTS: &str = "annotation.events";
/// `job.events`, keyed by image.
pub const JOB_EVENTS: &str = "job.events";
/// `channel.events`, keyed by channel.
pub const CHANNEL_EVENTS: &str = "channel.events";
/// `user.events`, keyed by user.
pub const USER_EVENTS: &str = "user.events";
/// `presence.events`, keyed by user.
pub const PRESENCE_EVENTS: &str = "presence.events";
/// `file.events`, keyed by file.
pub const FILE_EVENTS: &str = "file.events";

/// Name, partitions and days of every topic. The number of partitions bounds the workers that can share a topic and
/// cannot grow without moving keys.
const TABLE: [(&str, i32, i64); 7] = [
    (MESSAGE_EVENTS, 12, 7),
    (ANNOTATION_EVENTS, 12, 7),
    (JOB_EVENTS, 12, 7),
    (CHANNEL_EVENTS, 6, 7),
    (USER_EVENTS, 3, 7),
    (PRESENCE_EVENTS, 3, 1),
    (FILE_EVENTS, 3, 7),
];

/// Before the name of a topic, that of its dead letters.
const DEAD_LETTERS: &str = "dlq.";

/// Days for which dead letters are kept.
const DEAD_LETTER_DAYS: i64 = 30;

const DAY_MS: i64 = 86_400_000;

/// Every topic that this version needs, dead-letter twins included.
pub fn all() -> Vec<Topic> {
    let facts = TABLE
        .iter()
        .map(|(name, partitions, days)| topic((*name).to_owned(), *partitions, *days));
    let dead = TABLE
        .iter()
        .map(|(name, partitions, _)| topic(dead_letters_of(name), *partitions, DEAD_LETTER_DAYS));
    facts.chain(dead).collect()
}

/// These topics as this version needs them, with their dead-letter twins.
pub fn with_twins(names: &[&str]) -> Vec<Topic> {
    let mut topics = all();
    topics.retain(|topic| {
        let fact = topic.name.strip_prefix(DEAD_LETTERS).unwrap_or(&topic.name);
        names.contains(&fact)
    });
    topics
}

/// The topic that takes the dead letters of `topic`: as many partitions, same keys.
pub fn dead_letters_of(topic: &str) -> String {
    format!("{DEAD_LETTERS}{topic}")
}

/// How long a record of facts is kept at most, in milliseconds.
pub fn longest_retention_ms() -> i64 {
    let days = TABLE.iter().map(|(_, _, days)| *days);
    days.max().unwrap_or_default() * DAY_MS
}

fn topic(name: String, partitions: i32, days: i64) -> Topic {
    Topic {
        name,
        partitions,
        retention_ms: days * DAY_MS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_a_dead_letter_twin_with_as_many_partitions() {
        let all = all();
        assert_eq!(all.len(), 14);
        for topic in all.iter().take(7) {
            let twin = dead_letters_of(&topic.name);
            let twin = all.iter().find(|other| other.name == twin).unwrap();
            assert_eq!(twin.partitions, topic.partitions);
            assert_eq!(twin.retention_ms, 30 * DAY_MS);
        }
    }

    #[test]
    fn the_twins_of_some_topics_are_found() {
        let found = with_twins(&[JOB_EVENTS, FILE_EVENTS]);
        let names: Vec<_> = found.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "job.events",
                "file.events",
                "dlq.job.events",
                "dlq.file.events"
            ]
        );
    }
}
