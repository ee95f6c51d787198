//! librdkafka's settings, and the names on the wire.

use rdkafka::ClientConfig;

use crate::events::log::{Partition, RECORD_BYTES_MAX, SILENCE_MAX};
use crate::settings::{self, GroupProtocol};

/// Room above the largest record for what its frame takes.
const FRAME_BYTES: usize = 40_000;

/// How topics, groups and this client are called on the brokers, and how to reach them.
#[derive(Debug, Clone)]
pub struct Names {
    client_id: String,
    settings: settings::Kafka,
}

impl Names {
    pub fn new(client_id: &str, settings: &settings::Kafka) -> Self {
        Self {
            client_id: client_id.to_owned(),
            settings: settings.clone(),
        }
    }

    /// The full name of a topic.
    pub fn topic(&self, topic: &str) -> String {
        format!("{}{topic}", self.settings.topic_prefix)
    }

    /// The name without prefix; none for a topic of others.
    pub fn short<'t>(&self, full: &'t str) -> Option<&'t str> {
        full.strip_prefix(&self.settings.topic_prefix)
    }

    /// A partition by its full topic.
    pub fn partition(&self, full: &str, number: i32) -> Partition {
        Partition {
            topic: self.short(full).unwrap_or(full).to_owned(),
            number,
        }
    }

    /// The full name of a group.
    pub fn group(&self, group: &str) -> String {
        format!("{}{group}", self.settings.group_prefix)
    }

    /// Copies of each partition.
    pub const fn replication_factor(&self) -> i32 {
        self.settings.replication_factor
    }

    /// What every client has.
    pub fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.settings.bootstrap_servers)
            .set("client.id", &self.client_id)
            .set("socket.keepalive.enable", "true")
            .set("socket.connection.setup.timeout.ms", "10000")
            .set("reconnect.backoff.max.ms", "2000");
        config
    }

    /// Idempotent: a record is written once and in order, whatever is sent again. Bounded: by default librdkafka would
    /// hold 1 GiB.
    pub fn producer(&self) -> ClientConfig {
        let mut config = self.base();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("max.in.flight.requests.per.connection", "5")
            .set("compression.type", "lz4")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", self.settings.linger_ms.to_string())
            .set(
                "delivery.timeout.ms",
                self.settings.delivery_timeout_ms.to_string(),
            )
            .set(
                "request.timeout.ms",
                self.settings.delivery_timeout_ms.min(10_000).to_string(),
            )
            .set("queue.buffering.max.messages", "50000")
            .set("queue.buffering.max.kbytes", "65536")
            .set(
                "message.max.bytes",
                (RECORD_BYTES_MAX + FRAME_BYTES).to_string(),
            );
        config
    }

    /// A client of no group, which may not create topics.
    pub fn asker(&self) -> ClientConfig {
        let mut config = self.base();
        config.set("allow.auto.create.topics", "false");
        config
    }

    /// A client that knows a group and commits nothing by itself; it is a member only once it subscribes.
    pub fn of_group(&self, full_group: &str) -> ClientConfig {
        let mut config = self.asker();
        config
            .set("group.id", full_group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            // A topic that grows is read to its end: from the first record, and soon (by default after up to 5 min).
            .set("topic.metadata.refresh.interval.ms", "60000")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.queue.backoff.ms", "100")
            .set("max.partition.fetch.bytes", "1048576")
            .set("queued.min.messages", "1000")
            // Of each partition, which has a queue of its own.
            .set("queued.max.messages.kbytes", "4096")
            .set("check.crcs", "true");
        config
    }

    /// A member. By default of the classic protocol, because the newer one notices a dead member only after the
    /// brokers' 45 s; cooperative-sticky, because then only what moves is revoked. With the newer protocol all of that is
    /// the brokers' to decide, and librdkafka refuses a member that would set it.
    pub fn member(&self, group: &str) -> ClientConfig {
        let mut config = self.of_group(&self.group(group));
        let session_ms = self.settings.session_timeout_ms;
        let silence_max_ms = match self.settings.group_protocol {
            GroupProtocol::Classic => {
                let heartbeat_ms = self.settings.heartbeat_interval_ms;
                config
                    .set("group.protocol", "classic")
                    .set("partition.assignment.strategy", "cooperative-sticky")
                    .set("session.timeout.ms", session_ms.to_string())
                    .set("heartbeat.interval.ms", heartbeat_ms.to_string());
                SILENCE_MAX.as_millis().max(session_ms.into())
            }
            GroupProtocol::Consumer => {
                config.set("group.protocol", "consumer");
                SILENCE_MAX.as_millis()
            }
        };
        config.set("max.poll.interval.ms", silence_max_ms.to_string());
        if !self.settings.group_instance_id.is_empty() {
            config.set("group.instance.id", &self.settings.group_instance_id);
        }
        config
    }

    /// By which protocol members share partitions.
    pub const fn group_protocol(&self) -> GroupProtocol {
        self.settings.group_protocol
    }
}
