//! The event log on Apache Kafka, through librdkafka.
//!
//! Nothing here blocks the runtime: calls that librdkafka only has in a blocking form run on its blocking threads, each
//! with a limit. Topics are never created by accident: whether one exists is asked of a client that may not create.

mod admin;
mod assignment;
mod client;
mod config;
mod context;
mod failure;
mod inspect;
mod member;
mod message;
mod producer;
mod queue;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rdkafka::admin::AdminClient;
use rdkafka::consumer::{BaseConsumer, Consumer};

use self::config::Names;
use self::context::LogContext;
use self::failure::unavailable;
pub use self::message::Message;

use super::{
    Error, EventLog, Member, NewRecord, Partition, Record, Subscription, Topic, TopicState,
};
use crate::db;
use crate::settings;

/// Longest wait for one answer of the brokers to a question that is not about appending, 5 s.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The event log on Kafka; clones share its connections.
#[derive(Clone)]
pub struct KafkaLog {
    shared: Arc<Shared>,
}

/// What the log and its members have in common.
struct Shared {
    names: Names,
    producer: producer::Producer,
    /// A client of no group: it asks for metadata and offsets and may not create topics.
    asker: BaseConsumer<LogContext>,
    admin: AdminClient<LogContext>,
    /// Clients that ask for the positions of a group, by group. They are no members.
    of_groups: Mutex<HashMap<String, Arc<BaseConsumer<LogContext>>>>,
    /// Partitions of the topics that were found. They are forgotten when a broker says that the topic is not there.
    partitions: Mutex<HashMap<String, i32>>,
}

impl std::fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaLog")
            .field("names", &self.shared.names)
            .finish()
    }
}

impl KafkaLog {
    /// The log at `kafka.bootstrap_servers`; `client_id` is the unique name of this instance. Connects in the
    /// background.
    ///
    /// # Errors
    /// When librdkafka refuses a setting.
    pub fn new(client_id: &str, settings: &settings::Kafka) -> Result<Self, Error> {
        let names = Names::new(client_id, settings);
        let refused = |error| Error::Other(format!("the Kafka client cannot be made: {error}"));
        let shared = Shared {
            producer: producer::Producer::new(names.producer()).map_err(refused)?,
            asker: names
                .asker()
                .create_with_context(LogContext)
                .map_err(refused)?,
            admin: names
                .base()
                .create_with_context(LogContext)
                .map_err(refused)?,
            of_groups: Mutex::default(),
            partitions: Mutex::default(),
            names,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Asks a blocking question on a blocking thread.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = self.shared.clone();
        let answer = tokio::task::spawn_blocking(move || question(&shared)).await;
        answer.map_err(unavailable)?
    }

    /// The number of partitions of a topic.
    async fn partitions(&self, topic: &str) -> Result<i32, Error> {
        if let Some(known) = self.shared.partitions.lock().get(topic) {
            return Ok(*known);
        }
        let topic = topic.to_owned();
        self.ask(move |shared| shared.ask_partitions(&topic)).await
    }
}

impl Shared {
    /// The client that asks for the positions of a group. It is kept: making one means threads and connections, and lag is
    /// looked at every few seconds.
    fn of_group(&self, group: &str) -> Result<Arc<BaseConsumer<LogContext>>, Error> {
        let mut clients = self.of_groups.lock();
        if let Some(client) = clients.get(group) {
            return Ok(client.clone());
        }
        let config = self.names.of_group(&self.names.group(group));
        let client: BaseConsumer<_> = config
            .create_with_context(LogContext)
            .map_err(unavailable)?;
        let client = Arc::new(client);
        clients.insert(group.to_owned(), client.clone());
        Ok(client)
    }

    fn ask_partitions(&self, topic: &str) -> Result<i32, Error> {
        let full = self.names.topic(topic);
        let metadata = self
            .asker
            .fetch_metadata(Some(&full), ANSWER_MAX)
            .map_err(unavailable)?;
        let found = metadata.topics().iter().find(|it| it.name() == full);
        let count = found.map_or(0, |it| it.partitions().len());
        if count == 0 {
            return Err(Error::UnknownTopic(topic.to_owned()));
        }
        let count = i32::try_from(count).map_err(unavailable)?;
        self.partitions.lock().insert(topic.to_owned(), count);
        Ok(count)
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<(Partition, i64), Error>> {
        db::forbid_inside_transaction("event log append");
        let mut unknown = HashMap::new();
        for record in &records {
            if !unknown.contains_key(record.topic.as_str())
                && let Err(error) = self.partitions(&record.topic).await
            {
                let is_down = error.is_temporary();
                unknown.insert(record.topic.as_str(), error);
                if is_down {
                    break;
                }
            }
        }
        let answers = producer::append(&self.shared, &records, &unknown).await;
        for answer in &answers {
            if let Err(Error::UnknownTopic(topic)) = answer {
                self.shared.partitions.lock().remove(topic);
            }
        }
        answers
    }

    async fn subscribe(
        &self,
        group: &str,
        topics: &[&str],
    ) -> Result<Box<dyn Subscription>, Error> {
        for topic in topics {
            self.partitions(topic).await?;
        }
        Ok(Box::new(member::Member::join(
            &self.shared.names,
            group,
            topics,
        )?))
    }

    async fn lag(&self, group: &str, topics: &[&str]) -> Result<BTreeMap<Partition, i64>, Error> {
        let mut partitions = Vec::new();
        for topic in topics {
            let count = self.partitions(topic).await?;
            let topic = (*topic).to_owned();
            partitions.extend((0..count).map(|number| Partition {
                topic: topic.clone(),
                number,
            }));
        }
        let group = group.to_owned();
        self.ask(move |shared| inspect::lag(shared, &group, &partitions))
            .await
    }

    async fn members(&self, group: &str) -> Result<Vec<Member>, Error> {
        let group = group.to_owned();
        self.ask(move |shared| inspect::members(shared, &group))
            .await
    }

    async fn browse(
        &self,
        partition: &Partition,
        offset: i64,
        limit: usize,
    ) -> Result<Vec<Record>, Error> {
        let bounds = self.bounds(partition).await?;
        let partition = partition.clone();
        self.ask(move |shared| inspect::browse(shared, &partition, bounds, offset, limit))
            .await
    }

    async fn bounds(&self, partition: &Partition) -> Result<(i64, i64), Error> {
        let count = self.partitions(&partition.topic).await?;
        if !(0..count).contains(&partition.number) {
            return Err(Error::Other(format!(
                "topic {:?} has no partition {}",
                partition.topic, partition.number
            )));
        }
        let partition = partition.clone();
        self.ask(move |shared| inspect::bounds(shared, &partition))
            .await
    }

    async fn truncate_before(&self, partition: &Partition, offset: i64) -> Result<(), Error> {
        let (first, next) = self.bounds(partition).await?;
        admin::truncate(&self.shared, partition, offset.clamp(first, next)).await
    }

    async fn expire(&self) -> Result<u64, Error> {
        // The broker keeps each topic's `retention.ms`.
        Ok(0)
    }

    async fn ensure_topics(
        &self,
        topics: &[Topic],
        only_check: bool,
    ) -> Result<Vec<TopicState>, Error> {
        let states = self.topic_states(topics).await?;
        if !only_check {
            let missing = topics.iter().zip(&states);
            let missing = missing.filter(|(_, state)| **state == TopicState::Missing);
            let missing: Vec<_> = missing.map(|(topic, _)| topic.clone()).collect();
            admin::create(&self.shared, &missing).await?;
            admin::until_all_lead(self, &missing).await?;
        }
        Ok(states)
    }

    /// Asks for a topic that nobody has: the answer is small whatever the cluster holds.
    async fn ping(&self) -> Result<(), Error> {
        self.ask(|shared| {
            let name = shared.names.topic("ping");
            let answer = shared.asker.fetch_metadata(Some(&name), ANSWER_MAX);
            answer.map(drop).map_err(unavailable)
        })
        .await
    }
}
