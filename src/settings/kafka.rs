//! The section `kafka`: the event log, and how its consumer groups share partitions.

use serde::Deserialize;

/// The event-log seam.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// `host:port,…`; where empty the log is kept in the SQLite database.
    pub bootstrap_servers: String,
    /// Prefix of every topic.
    pub topic_prefix: String,
    /// Prefix of every consumer group.
    pub group_prefix: String,
    /// How members share partitions. `classic`: the members agree among themselves. `consumer` (KIP-848, brokers from 4.0
    /// on): the brokers assign, and a rebalance stops nobody who keeps what he has. With `consumer` the brokers' settings
    /// decide when a silent member loses its partitions: by default after 45 s, so that a killed process is noticed as late.
    /// Lower there `group.consumer.min.session.timeout.ms` and `group.consumer.session.timeout.ms` (6000) and
    /// `group.consumer.min.heartbeat.interval.ms` and `group.consumer.heartbeat.interval.ms` (1000, 2000) first. The
    /// brokers do not tell this version's client who the members of such a group are.
    pub group_protocol: GroupProtocol,
    /// The name by which this process, and no other, is known to its groups when it starts again (static membership,
    /// `group.instance.id`); empty for none. A member with a name does not leave its groups when it ends, so that a
    /// restart within the session time-out moves no partition; until then nobody reads its partitions. Give one only
    /// where names outlive processes, such as the ordinal of a StatefulSet, never a container's host name. Of two
    /// processes with one name, `classic` throws the older out, and `consumer` refuses the newer until the
    /// session of the older ends: also after that was killed.
    pub group_instance_id: String,
    /// A member that is silent for this long loses its partitions; only with the classic protocol.
    pub session_timeout_ms: u64,
    /// Interval of a member's heartbeats; only with the classic protocol.
    pub heartbeat_interval_ms: u64,
    /// A record that is not delivered within this fails.
    pub delivery_timeout_ms: u64,
    /// How long the producer gathers a batch.
    pub linger_ms: u64,
    /// Copies of each partition that `migrate` asks for.
    pub replication_factor: i32,
}

/// A protocol by which the members of a group share its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupProtocol {
    /// The members agree among themselves, cooperative-sticky.
    Classic,
    /// The brokers assign (KIP-848).
    Consumer,
}
