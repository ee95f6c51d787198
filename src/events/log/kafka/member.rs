//! A member's stream. Rebalances are noted by librdkafka's callback and carried out here, between two deliveries, so that
//! the reader learns of them in order with the records and nothing blocks a thread meanwhile. Each partition has a queue of
//! its own, so that one is fetched ahead while others are read; the consumer's own queue brings rebalances and errors alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::client::Client;
use super::config::Names;
use super::context::Rebalance;
use super::failure::{of_commit, unavailable};
use super::inspect::record;
use super::message::{Held, Message};
use super::queue::Queue;
use crate::events::log::{Delivered, Error, Fetched, Partition, Record, Subscription, Wants};

/// Longest wait for a commit's answer, 8 s.
const COMMIT_MAX: Duration = Duration::from_secs(8);

/// Longest wait for librdkafka to close, which has been seen to hang (librdkafka #4527 and others), 10 s. The positions
/// are committed by then, and the brokers notice the silence.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// A member of a group.
pub struct Member {
    names: Names,
    group: String,
    /// `None` only once it is closing.
    client: Option<Arc<Client>>,
    held: BTreeMap<Arc<Partition>, Arc<Queue>>,
    /// Which of them is asked first.
    turn: usize,
    /// What was announced as revoked; given up by the next call.
    releasing: Option<TopicPartitionList>,
    /// What went wrong while a record was looked for without waiting; told by the next call.
    failed: Option<Error>,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member")
            .field("group", &self.group)
            .field("held", &self.held.keys())
            .finish_non_exhaustive()
    }
}

impl Member {
    /// Joins a group.
    pub fn join(names: &Names, group: &str, topics: &[&str]) -> Result<Self, Error> {
        let full: Vec<_> = topics.iter().map(|topic| names.topic(topic)).collect();
        let full: Vec<_> = full.iter().map(String::as_str).collect();
        let client = Client::join(&names.member(group), &full).map_err(unavailable)?;
        Ok(Self {
            names: names.clone(),
            group: group.to_owned(),
            client: Some(Arc::new(client)),
            held: BTreeMap::new(),
            turn: 0,
            releasing: None,
            failed: None,
        })
    }

    fn client(&self) -> Result<&Arc<Client>, Error> {
        self.client
            .as_ref()
            .ok_or_else(|| unavailable("the member is closed"))
    }

    /// Gives up what was announced as revoked.
    fn release(&mut self) -> Result<(), Error> {
        let Some(list) = self.releasing.take() else {
            return Ok(());
        };
        let partitions = self.partitions(&list);
        let queues: Vec<_> = partitions
            .iter()
            .filter_map(|partition| self.held.remove(partition))
            .collect();
        let released = self.client()?.incremental_unassign(&list);
        queues.iter().for_each(|queue| queue.clear());
        released.map_err(unavailable)
    }

    /// Carries a rebalance out as far as it can be; answers what to tell. An empty list is nothing to tell, but
    /// librdkafka waits for the answer to it all the same.
    fn carry_out(&mut self, rebalance: Rebalance) -> Result<Option<Delivered>, Error> {
        match rebalance {
            Rebalance::Assign(list) => {
                let partitions = self.partitions(&list);
                let client = self.client()?.clone();
                for partition in partitions.iter().cloned() {
                    let full = self.names.topic(&partition.topic);
                    let queue = Queue::of(&client, &full, partition.number);
                    let queue = queue.ok_or_else(|| unavailable("a partition has no queue"))?;
                    self.held.insert(Arc::new(partition), Arc::new(queue));
                }
                client.incremental_assign(&list).map_err(unavailable)?;
                Ok((!partitions.is_empty()).then_some(Delivered::Assigned(partitions)))
            }
            Rebalance::Revoke { partitions, lost } => {
                let revoked = self.partitions(&partitions);
                self.releasing = Some(partitions);
                if lost || revoked.is_empty() {
                    self.release()?;
                }
                let told = if lost {
                    Delivered::Lost
                } else {
                    Delivered::Revoked
                };
                Ok((!revoked.is_empty()).then(|| told(revoked)))
            }
        }
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        let elements = list.elements();
        let partition = |topic: &str, number| self.names.partition(topic, number);
        elements
            .iter()
            .map(|it| partition(it.topic(), it.partition()))
            .collect()
    }

    /// The partitions that are held and their queues, each time another one first.
    fn in_turn(&self) -> impl Iterator<Item = (&Arc<Partition>, &Arc<Queue>)> {
        let held = self.held.iter().cycle().skip(self.turn);
        held.take(self.held.len())
    }

    /// From now on the next one is asked first.
    fn turn(&mut self) {
        self.turn = (self.turn + 1) % self.held.len().max(1);
    }

    /// The next record of the queues that is at hand.
    fn next_of_queues(&mut self) -> Result<Option<Record>, Error> {
        self.turn();
        for (partition, queue) in self.in_turn() {
            match queue.next() {
                Some(Ok(message)) => return Ok(Some(record(partition.clone(), &message))),
                Some(Err(error)) => self.judge(&error)?,
                None => {}
            }
        }
        Ok(None)
    }

    /// Gives what is at hand of one partition to `take`; answers what that still takes.
    fn take_from(
        &self,
        partition: &Arc<Partition>,
        queue: &Arc<Queue>,
        take: &mut (dyn FnMut(Fetched) -> Wants + Send),
    ) -> Result<Wants, Error> {
        loop {
            let held = match Held::at_hand(queue) {
                Ok(held) => held,
                Err(None) => return Ok(Wants::Others),
                Err(Some(error)) => return self.judge(&error).map(|()| Wants::Others),
            };
            let wants = take(Fetched::Held(Message::new(partition.clone(), held)));
            if wants != Wants::More {
                return Ok(wants);
            }
        }
    }

    /// A message that did not come by the queue of its partition. To pass it over would be to lose it.
    fn judge_stray(&self, message: &BorrowedMessage<'_>) -> Result<(), Error> {
        let (topic, number) = (message.topic(), message.partition());
        match self.held.contains_key(&self.names.partition(topic, number)) {
            true => Err(unavailable(format!(
                "a record of {topic} {number} came past its queue"
            ))),
            false => Ok(()),
        }
    }

    /// Those of these partitions that are held.
    fn list_of_held(&self, partitions: &[Partition]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions.iter().filter(|it| self.held.contains_key(*it)) {
            list.add_partition(&self.names.topic(&partition.topic), partition.number);
        }
        list
    }

    fn list(&self, positions: &[(Partition, i64)]) -> Result<TopicPartitionList, Error> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, position) in positions {
            // The brokers check the member, not the partition: a member's commit of what it had before would count.
            if !self.held.contains_key(partition) {
                return Err(Error::Fenced(format!(
                    "{} {}",
                    partition.topic, partition.number
                )));
            }
            let full = self.names.topic(&partition.topic);
            list.add_partition_offset(&full, partition.number, Offset::Offset(*position))
                .map_err(unavailable)?;
        }
        Ok(list)
    }

    /// Hands the client over to be closed: from now on rebalances are carried out by the callback.
    fn closing(&mut self) -> Option<Arc<Client>> {
        let releasing = self.releasing.take();
        let client = self.client.take()?;
        self.held.clear();
        client.context().close();
        if let Some(list) = releasing {
            answer(&client.incremental_unassign(&list));
        }
        while let Some(rebalance) = client.context().take() {
            answer(&match rebalance {
                Rebalance::Assign(list) => client.incremental_assign(&list),
                Rebalance::Revoke { partitions, .. } => client.incremental_unassign(&partitions),
            });
        }
        Some(client)
    }
}

#[async_trait]
impl Subscription for Member {
    async fn next(&mut self) -> Result<Delivered, Error> {
        self.release()?;
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            let client = self.client()?.clone();
            if let Some(rebalance) = client.context().take() {
                if let Some(delivered) = self.carry_out(rebalance)? {
                    return Ok(delivered);
                }
                continue;
            }
            match client.poll(Duration::ZERO) {
                Some(Ok(message)) => self.judge_stray(&message)?,
                Some(Err(error)) => self.judge(&error)?,
                None if client.context().has_noted() => {}
                None => match self.next_of_queues()? {
                    Some(record) => return Ok(Delivered::Record(record)),
                    None => client.arrival().await,
                },
            }
        }
    }

    fn at_hand(&mut self, take: &mut (dyn FnMut(Fetched) -> Wants + Send)) {
        if self.releasing.is_some() {
            return;
        }
        self.turn();
        let mut taken = self
            .in_turn()
            .map(|(partition, queue)| self.take_from(partition, queue, take));
        let end = taken.find(|wants| !matches!(wants, Ok(Wants::More | Wants::Others)));
        drop(taken);
        self.failed = end.and_then(Result::err);
    }

    fn pause(&mut self, partitions: &[Partition]) -> Result<(), Error> {
        let list = self.list_of_held(partitions);
        self.client()?.pause(&list).map_err(unavailable)
    }

    fn resume(&mut self, partitions: &[Partition]) -> Result<(), Error> {
        let list = self.list_of_held(partitions);
        self.client()?.resume(&list).map_err(unavailable)
    }

    async fn commit(&mut self, positions: &[(Partition, i64)]) -> Result<(), Error> {
        let list = self.list(positions)?;
        let client = self.client()?.clone();
        let commit = move || client.commit(&list, CommitMode::Sync);
        let answer = tokio::time::timeout(COMMIT_MAX, tokio::task::spawn_blocking(commit)).await;
        let Ok(answer) = answer else {
            return Err(unavailable(format!(
                "no answer to a commit in {COMMIT_MAX:?}"
            )));
        };
        match answer.map_err(unavailable)? {
            Err(error) if error.rdkafka_error_code() != Some(RDKafkaErrorCode::NoOffset) => {
                Err(of_commit(&error))
            }
            _ => Ok(()),
        }
    }

    async fn close(mut self: Box<Self>) -> Result<(), Error> {
        let Some(client) = self.closing() else {
            return Ok(());
        };
        let closed = client.closed().clone();
        drop(client);
        let in_time = tokio::time::timeout(CLOSE_MAX, closed.cancelled()).await;
        in_time.map_err(|_| unavailable(format!("the member did not close in {CLOSE_MAX:?}")))
    }
}

impl Member {
    /// librdkafka mends connections by itself; only what it cannot mend is an error to the reader.
    fn judge(&self, error: &KafkaError) -> Result<(), Error> {
        match error {
            KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::FencedInstanceId) => {
                Err(Error::Replaced(self.group.clone()))
            }
            KafkaError::MessageConsumptionFatal(_) => Err(Error::Other(error.to_string())),
            KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition) => {
                Err(Error::UnknownTopic(self.group.clone()))
            }
            _ => {
                tracing::debug!(group = self.group, %error, "Kafka: {error}");
                Ok(())
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.closing();
    }
}

fn answer(outcome: &Result<(), KafkaError>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "a rebalance during close: {error}");
    }
}
