//! The settings, one documented struct per section. `config/default.toml` holds the same keys with their default
//! values and reasons; a test compares the two. Every duration and size carries its unit in its name.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

use super::kafka::Kafka;
use super::ml::Ml;
use crate::kit::lane::Lane;

/// Everything that can be set, by section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Who this process is.
    pub instance: Instance,
    /// What is logged and how.
    pub log: Log,
    /// The public listener of `serve`.
    pub http: Http,
    /// How much one asker may ask.
    pub rate_limit: RateLimit,
    /// The routes of `lb-check`.
    pub lb_check: LbCheck,
    /// The operator listener of every role.
    pub ops: Ops,
    /// The WebSocket gateway.
    pub realtime: Realtime,
    /// The database seam.
    pub database: Database,
    /// The state-store seam.
    pub redis: Redis,
    /// The event-log seam.
    pub kafka: Kafka,
    /// Where file bytes are kept and how large they may be.
    pub files: Files,
    /// Sessions, passwords and sign-in.
    pub auth: Auth,
    /// The job queue.
    pub queue: Queue,
    /// The worker.
    pub worker: Worker,
    /// How many workers there should be.
    pub scaling: Scaling,
    /// Events that are sent to other people's servers.
    pub webhooks: Webhooks,
    /// The builtin segmenter and the compute pool.
    pub segment: Segment,
    /// Who segments, and the remote segmenter.
    pub ml: Ml,
    /// The outbox relay.
    pub outbox: Outbox,
    /// Readiness.
    pub health: Health,
    /// How long each step of the shutdown may take.
    pub shutdown: Shutdown,
}

/// Who this process is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Name of this copy; the host name where empty.
    pub id: String,
}

/// What is logged and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `text` for people, `json` for collectors.
    pub format: LogFormat,
    /// A tracing filter such as `info,spheroctl::worker=debug`.
    pub filter: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line for a person.
    Text,
    /// One JSON object per line.
    Json,
}

/// The public listener of `serve`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Base address that links to this server start with; `http://host:port` where empty.
    pub public_url: String,
    /// Longest wait for the first byte of a connection.
    pub first_byte_timeout_ms: u64,
    /// Longest wait for a complete request head.
    pub header_timeout_ms: u64,
    /// Longest time for a request, uploads and downloads apart.
    pub request_timeout_ms: u64,
    /// Longest silence inside a request body.
    pub body_idle_timeout_ms: u64,
    /// Largest request head in bytes.
    pub head_bytes_max: usize,
    /// Largest JSON body in bytes.
    pub json_bytes_max: usize,
    /// Most open connections; more are refused.
    pub connections_max: usize,
    /// Whether the session cookie may travel over plain http to hosts other than loopback.
    pub allow_insecure_cookies: bool,
    /// Addresses and ranges, separated by commas, of the proxies whose `X-Forwarded-For` and `-Proto` are believed.
    pub trusted_proxies: String,
    /// Whether answers name the instance that gave them (`X-Instance-Id`, `/whoami`, the older probes); `lb-check` needs it.
    pub expose_instance_id: bool,
}

/// How much one user (without credentials: one address) may ask, in each class of routes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Whether there are limits at all.
    pub enabled: bool,
    /// Requests a minute that only read.
    pub read_per_minute: u32,
    /// Reading requests at once beyond the first.
    pub read_burst: u32,
    /// Requests a minute that make, change or remove something.
    pub write_per_minute: u32,
    /// Such requests at once beyond the first.
    pub write_burst: u32,
    /// Tries to sign in a minute, by address.
    pub sign_in_per_minute: u32,
    /// Tries at once beyond the first.
    pub sign_in_burst: u32,
}

/// The routes that `lb-check` asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LbCheck {
    /// Largest upload in bytes.
    pub upload_bytes_max: u64,
    /// Longest delay of an answer that a request may ask for; below `http.request_timeout_ms`.
    pub delay_ms_max: u64,
}

/// The operator listener of every role.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ops {
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
}

/// The WebSocket gateway.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Realtime {
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Most connections of this process; more are answered 503.
    pub connections_max: usize,
    /// Most connections of one person over all gateways.
    pub connections_per_user_max: usize,
    /// Most channels of one connection.
    pub channels_max: usize,
    /// Largest message of a client in bytes.
    pub message_bytes_max: usize,
    /// Bytes that may wait for a client that does not read; then it is closed.
    pub waiting_bytes_max: usize,
    /// Commands of one connection per second.
    pub commands_per_s: u32,
    /// Commands of one connection at once.
    pub commands_burst: u32,
    /// Longest wait for a client to say who it is.
    pub connect_timeout_ms: u64,
    /// Interval of pings.
    pub ping_interval_ms: u64,
    /// Longest wait for the answer to a ping.
    pub pong_timeout_ms: u64,
    /// What a connection may hear is looked at again this often.
    pub reauthorise_interval_ms: u64,
    /// The time over which connections are closed when the process stops.
    pub drain_ms: u64,
}

/// The database seam.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `postgres://…` or `sqlite:FILE`.
    pub url: SecretString,
    /// PostgreSQL without the pooler, for migrations; `url` where empty.
    pub direct_url: SecretString,
    /// Streaming replica for reads marked for it; none where empty.
    pub replica_url: SecretString,
    /// Most connections of this process.
    pub pool_max: u32,
    /// Idle connections are closed after this.
    pub pool_idle_timeout_ms: u64,
    /// Longest wait for a connection.
    pub acquire_timeout_ms: u64,
    /// Statements slower than this are logged.
    pub slow_query_ms: u64,
    /// Most runs of one transaction that meets serialization failures or a busy database.
    pub transaction_attempts_max: u32,
    /// SQLite: longest wait for the write lock.
    pub busy_timeout_ms: u64,
}

/// The state-store seam.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Whether Redis is used; without it state is kept in the process (`standalone` and `segment` only).
    pub enabled: bool,
    /// `redis://`, `rediss://`, `redis-sentinel://` or `redis-cluster://`.
    pub url: SecretString,
    /// Connections of this process.
    pub pool_size: usize,
    /// Longest wait for one command.
    pub command_timeout_ms: u64,
    /// Prefix of every key and channel.
    pub prefix: String,
}

/// Where file bytes are kept and how large they may be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Directory of the file store.
    pub dir: PathBuf,
    /// Largest upload in bytes.
    pub upload_bytes_max: u64,
    /// Most bytes that one project may hold.
    pub project_bytes_max: u64,
    /// Unfinished uploads, and objects that no row lists, are removed at this age.
    pub unlisted_age_s: u64,
}

/// Sessions, passwords and sign-in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// A session ends after this much silence.
    pub session_idle_s: u64,
    /// A session ends after this in any case.
    pub session_absolute_s: u64,
    /// A one-time sign-in link ends after this.
    pub sign_in_link_s: u64,
    /// Password hashes computed at once (each takes 19 MiB and about 50 ms of a core).
    pub password_hashes_at_once: usize,
}

/// The job queue.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Whether `POST /jobs` answers before the result is there.
    pub enabled: bool,
    /// Whether priorities 1–10 are kept apart.
    pub priority_enabled: bool,
    /// A claim that is not renewed within this is given to another worker.
    pub lease_ms: u64,
    /// Interval of renewals.
    pub renew_interval_ms: u64,
    /// The lease that stands in the job's row, for the time in which the state store is away.
    pub row_lease_ms: u64,
    /// Interval of the search for dead workers' jobs.
    pub reap_interval_ms: u64,
    /// Interval of the search for jobs that the queue has lost.
    pub reconcile_interval_ms: u64,
    /// Failures after which a job is dead.
    pub failures_max: i32,
    /// Crashed runs after which a job is dead.
    pub crashes_max: i32,
    /// Upper bound of the first wait before a failed job runs again.
    pub retry_base_ms: u64,
    /// Upper bound of every wait before a failed job runs again.
    pub retry_cap_ms: u64,
    /// Most jobs of one batch request.
    pub batch_max: usize,
    /// Most jobs of one owner that run at once in a lane; 0 for no bound.
    pub owner_running_max: u32,
    /// Most jobs of one owner that wait, due or not; more are refused with 429. 0 for no bound.
    pub owner_waiting_max: u64,
    /// A job that has waited for this long may start before others of higher priority.
    pub aged_after_ms: u64,
    /// One start of so many is for such a job; 0 for none.
    pub aged_share: u32,
    /// Images of so many pixels or more go to the lane `large`.
    pub large_pixels_min: u64,
    /// Results of more bytes of JSON are kept compressed (zstd).
    pub compress_above_bytes: usize,
    /// How far in the future a job may be scheduled.
    pub delay_max_s: u64,
    /// Longest wait of a `Prefer: wait` request.
    pub wait_max_ms: u64,
    /// Dead and cancelled jobs without a result, and the records of single runs, are removed at this age; 0 keeps them
    /// for ever. Completed jobs and results are never removed by age.
    pub keep_ended_s: u64,
}

/// The worker.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Jobs that run at once in this process; one whose segmenter has answered, or whose end is being written, no longer
    /// counts, but there are never more of those either.
    pub concurrency: usize,
    /// Longest wait for a wake-up before the queue is asked again.
    pub poll_interval_ms: u64,
    /// A job that runs longer than this fails.
    pub job_timeout_ms: u64,
    /// The lanes that this process serves.
    pub lanes: Lanes,
    /// The consumer groups that this process is a member of, with commas between; `all`, or empty for none.
    pub groups: String,
    /// Transactions of one consumer group at once; each takes a database connection.
    pub handlers_at_once: usize,
}

/// Events that are sent to other people's servers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    /// Ranges of addresses that may be reached although they are of the inside, with commas between.
    pub allowed_networks: String,
    /// Whether plain http is spoken; without it, only to addresses of `allowed_networks` that stand in the URL.
    pub allow_http: bool,
    /// A receiver that has not answered by then has failed.
    pub timeout_ms: u64,
    /// Deliveries that one worker sends at once.
    pub at_once: u32,
    /// Interval of the search for deliveries that are due.
    pub poll_interval_ms: u64,
    /// Ended deliveries are removed after this.
    pub keep_s: u64,
}

/// How many workers there should be: what `spheroctl_workers_wanted` and `GET /api/v1/scaling/info` say.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    /// The part of the workers' permits that arriving jobs may keep busy, in percent; the rest is for bursts.
    pub utilisation_max_percent: u8,
    /// What waits is to be gone within this many seconds.
    pub drain_s: u64,
    /// Fewer workers are wanted only when fewer have been enough for this many seconds.
    pub hold_s: u64,
    /// Never fewer are wanted.
    pub workers_min: u64,
    /// Never more are wanted.
    pub workers_max: u64,
}

/// Which lanes a worker serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lanes {
    /// Every lane.
    All,
    /// All but heavy images.
    Default,
    /// Heavy images only.
    Large,
}

impl Lanes {
    /// The lanes.
    pub const fn lanes(self) -> &'static [Lane] {
        match self {
            Self::All => &Lane::ALL,
            Self::Default => &[Lane::Default],
            Self::Large => &[Lane::Large],
        }
    }
}

/// The builtin segmenter and the compute pool.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Threads of the compute pool, at most 10; 0 takes min(2 × cores, 10).
    pub threads: usize,
    /// Bytes of decoded images that are worked on at once.
    pub memory_bytes_max: u64,
    /// Largest image in pixels.
    pub pixels_max: u64,
}

/// The outbox relay.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbox {
    /// Longest wait between two looks at a shard.
    pub poll_interval_ms: u64,
    /// How long rows gather after a commit has woken the relay.
    pub gather_ms: u64,
    /// Most rows relayed at once.
    pub batch_max: u32,
}

/// Readiness.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// `lenient`: a shared dependency that is away is a warning; `strict`: it makes the instance unready.
    pub readiness: Readiness,
    /// Longest wait for one check.
    pub check_timeout_ms: u64,
    /// A check's answer is kept this long.
    pub check_interval_ms: u64,
}

/// What an absent dependency does to readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Readiness {
    /// It is a warning: else all copies would leave the balancer in the same second.
    Lenient,
    /// It makes the instance unready.
    Strict,
}

/// How long each step of the shutdown may take.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// Unready, but still answering, so that balancers notice.
    pub lame_duck_ms: u64,
    /// Requests in flight.
    pub http_ms: u64,
    /// Running jobs and consumers.
    pub work_ms: u64,
}
