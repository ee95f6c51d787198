//! Topics: state, creation, truncation.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::failure::unavailable;
use super::{ANSWER_MAX, KafkaLog, Shared};
use crate::events::log::{Error, Partition, Topic, TopicState};

/// Longest wait until new topics can be written, 10 s, and between two looks.
const LEADERS_MAX: Duration = Duration::from_secs(10);
const LEADERS_LOOK: Duration = Duration::from_millis(50);

impl KafkaLog {
    /// How each topic stands. One question about all topics: one about a single topic that is missing would be answered
    /// from librdkafka's memory for a while.
    pub(super) async fn topic_states(&self, topics: &[Topic]) -> Result<Vec<TopicState>, Error> {
        let found = self.ask(found).await?;
        for topic in topics {
            // What was known is out of date where somebody has added partitions.
            if let Some(count) = found.get(&self.shared.names.topic(&topic.name)) {
                let mut known = self.shared.partitions.lock();
                known.insert(topic.name.clone(), *count);
            }
        }
        let state = |topic: &Topic| match found.get(&self.shared.names.topic(&topic.name)) {
            None => TopicState::Missing,
            Some(count) if *count == topic.partitions => TopicState::Present,
            Some(count) => TopicState::Partitions { found: *count },
        };
        Ok(topics.iter().map(state).collect())
    }
}

/// The topics of the cluster whose partitions all have leaders, by full name.
fn found(shared: &Shared) -> Result<HashMap<String, i32>, Error> {
    let metadata = shared
        .asker
        .fetch_metadata(None, ANSWER_MAX)
        .map_err(unavailable)?;
    let topics = metadata
        .topics()
        .iter()
        .filter(|it| !it.partitions().is_empty());
    let leads = topics.filter(|it| it.partitions().iter().all(|one| one.leader() >= 0));
    let count = |partitions: usize| i32::try_from(partitions).unwrap_or(i32::MAX);
    Ok(leads
        .map(|it| (it.name().to_owned(), count(it.partitions().len())))
        .collect())
}

/// Makes topics; one that another process made meanwhile is as good.
pub async fn create(shared: &Shared, topics: &[Topic]) -> Result<(), Error> {
    if topics.is_empty() {
        return Ok(());
    }
    let copies = shared.names.replication_factor();
    // With three copies two must confirm a record; else the loss of one broker could lose it.
    let confirming = if copies >= 3 { "2" } else { "1" };
    let names: Vec<_> = topics
        .iter()
        .map(|it| shared.names.topic(&it.name))
        .collect();
    let retentions: Vec<_> = topics
        .iter()
        .map(|it| it.retention_ms.to_string())
        .collect();
    let new: Vec<_> = (0..topics.len())
        .map(|it| {
            NewTopic::new(
                &names[it],
                topics[it].partitions,
                TopicReplication::Fixed(copies),
            )
            .set("retention.ms", &retentions[it])
            .set("min.insync.replicas", confirming)
        })
        .collect();
    let made = shared
        .admin
        .create_topics(&new, &options())
        .await
        .map_err(unavailable)?;
    for outcome in made {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                return Err(Error::Other(format!(
                    "topic {name:?} cannot be made: {code}"
                )));
            }
        }
    }
    Ok(())
}

/// Waits until the brokers can take records for the topics.
pub async fn until_all_lead(log: &KafkaLog, topics: &[Topic]) -> Result<(), Error> {
    let wait = async {
        while log
            .topic_states(topics)
            .await?
            .contains(&TopicState::Missing)
        {
            tokio::time::sleep(LEADERS_LOOK).await;
        }
        Ok(())
    };
    let outcome = tokio::time::timeout(LEADERS_MAX, wait).await;
    outcome.unwrap_or_else(|_| Err(unavailable("new topics have no leader yet")))
}

/// Drops the records below `offset`.
pub async fn truncate(shared: &Shared, partition: &Partition, offset: i64) -> Result<(), Error> {
    let mut list = TopicPartitionList::new();
    let full = shared.names.topic(&partition.topic);
    list.add_partition_offset(&full, partition.number, Offset::Offset(offset))
        .map_err(unavailable)?;
    let done = shared
        .admin
        .delete_records(&list, &options())
        .await
        .map_err(unavailable)?;
    for element in done.elements() {
        element.error().map_err(unavailable)?;
    }
    Ok(())
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ANSWER_MAX))
        .operation_timeout(Some(ANSWER_MAX))
}
