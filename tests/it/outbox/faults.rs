//! Logs that fail at one place; everything else is the real log's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use spheroctl::events::log::{
    Error, EventLog, Member, NewRecord, Partition, Record, SharedLog, Subscription, Topic,
    TopicState,
};
use spheroctl::kit::id::EventId;
use tokio::sync::Notify;

/// Appends, and then never answers: the relay above it is killed meanwhile.
#[derive(Debug)]
pub struct HangsAfterAppend {
    inner: SharedLog,
    appended: Notify,
}

impl HangsAfterAppend {
    pub fn over(inner: SharedLog) -> Arc<Self> {
        let appended = Notify::new();
        Arc::new(Self { inner, appended })
    }

    /// Resolves when records were appended.
    pub async fn appended(&self) {
        self.appended.notified().await;
    }

    async fn appends(&self, records: Vec<NewRecord>) -> Vec<Result<(Partition, i64), Error>> {
        for answer in self.inner.append(records).await {
            answer.expect("the inner append");
        }
        self.appended.notify_one();
        std::future::pending().await
    }
}

/// Loses the answer for one event once: its record is not appended, the others are.
#[derive(Debug)]
pub struct FailsOnce {
    inner: SharedLog,
    event: String,
    failed: AtomicBool,
}

impl FailsOnce {
    pub fn for_event(inner: SharedLog, event: EventId) -> Arc<Self> {
        Arc::new(Self {
            inner,
            event: event.to_string(),
            failed: AtomicBool::new(false),
        })
    }

    async fn appends(&self, records: Vec<NewRecord>) -> Vec<Result<(Partition, i64), Error>> {
        let mut answers = Vec::new();
        for record in records {
            let is_it = record.headers.iter().any(|(_, value)| *value == self.event);
            if is_it && !self.failed.swap(true, Ordering::Relaxed) {
                answers.push(Err(Error::Unavailable("for this test".to_owned())));
            } else {
                answers.extend(self.inner.append(vec![record]).await);
            }
        }
        answers
    }
}

macro_rules! a_log_but_for_append {
    ($name:ty) => {
        #[async_trait]
        impl EventLog for $name {
            async fn append(
                &self,
                records: Vec<NewRecord>,
            ) -> Vec<Result<(Partition, i64), Error>> {
                self.appends(records).await
            }

            async fn subscribe(
                &self,
                group: &str,
                topics: &[&str],
            ) -> Result<Box<dyn Subscription>, Error> {
                self.inner.subscribe(group, topics).await
            }

            async fn lag(
                &self,
                group: &str,
                topics: &[&str],
            ) -> Result<BTreeMap<Partition, i64>, Error> {
                self.inner.lag(group, topics).await
            }

            async fn members(&self, group: &str) -> Result<Vec<Member>, Error> {
                self.inner.members(group).await
            }

            async fn browse(
                &self,
                partition: &Partition,
                offset: i64,
                limit: usize,
            ) -> Result<Vec<Record>, Error> {
                self.inner.browse(partition, offset, limit).await
            }

            async fn bounds(&self, partition: &Partition) -> Result<(i64, i64), Error> {
                self.inner.bounds(partition).await
            }

            async fn truncate_before(
                &self,
                partition: &Partition,
                offset: i64,
            ) -> Result<(), Error> {
                self.inner.truncate_before(partition, offset).await
            }

            async fn expire(&self) -> Result<u64, Error> {
                self.inner.expire().await
            }

            async fn ensure_topics(
                &self,
                topics: &[Topic],
                only_check: bool,
            ) -> Result<Vec<TopicState>, Error> {
                self.inner.ensure_topics(topics, only_check).await
            }

            async fn ping(&self) -> Result<(), Error> {
                self.inner.ping().await
            }
        }
    };
}
a_log_but_for_append!(HangsAfterAppend);
a_log_but_for_append!(FailsOnce);
