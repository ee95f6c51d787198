//! The range of every number and the choices of every word. Units are in the keys' names.

/// A day in milliseconds: the longest of any wait.
const DAY_MS: i64 = 86_400_000;
/// A year in seconds: the longest life of a session and of a file that nobody lists.
const YEAR_S: i64 = 31_536_000;
/// The largest number that JSON readers hold exactly (2^53).
const EXACT_MAX: i64 = 1 << 53;

/// Every number with its smallest and largest value.
pub(super) const RANGES: &[(&str, i64, i64)] = &[
    ("http.port", 0, 65_535),
    ("http.first_byte_timeout_ms", 1, DAY_MS),
    ("http.header_timeout_ms", 1, DAY_MS),
    ("http.request_timeout_ms", 1, DAY_MS),
    ("http.body_idle_timeout_ms", 1, DAY_MS),
    // hyper's read buffer is never below 8 KiB.
    ("http.head_bytes_max", 8_192, 1_048_576),
    ("http.json_bytes_max", 1_024, 67_108_864),
    ("http.connections_max", 1, 1_000_000),
    ("ops.port", 0, 65_535),
    ("realtime.port", 0, 65_535),
    ("realtime.connections_max", 1, 1_000_000),
    ("realtime.connections_per_user_max", 1, 100_000),
    ("realtime.channels_max", 1, 10_000),
    ("realtime.message_bytes_max", 1_024, 16_777_216),
    // A publication and the replies to a burst of commands find room.
    ("realtime.waiting_bytes_max", 65_536, 1 << 30),
    ("realtime.commands_per_s", 1, 100_000),
    ("realtime.commands_burst", 1, 100_000),
    ("realtime.connect_timeout_ms", 100, DAY_MS),
    // Clients are told whole seconds.
    ("realtime.ping_interval_ms", 1_000, DAY_MS),
    ("realtime.pong_timeout_ms", 100, DAY_MS),
    // Above a minute a revoked token would live for longer than is promised.
    ("realtime.reauthorise_interval_ms", 100, 60_000),
    ("realtime.drain_ms", 0, DAY_MS),
    ("database.pool_max", 1, 1_000),
    ("database.pool_idle_timeout_ms", 1, DAY_MS),
    ("database.acquire_timeout_ms", 1, DAY_MS),
    ("database.slow_query_ms", 0, DAY_MS),
    ("database.transaction_attempts_max", 1, 100),
    ("database.busy_timeout_ms", 0, DAY_MS),
    ("redis.pool_size", 1, 256),
    ("redis.command_timeout_ms", 1, DAY_MS),
    // The brokers' own upper limit is 30 minutes.
    ("kafka.session_timeout_ms", 1_000, 1_800_000),
    ("kafka.heartbeat_interval_ms", 1, 600_000),
    // A relay holds its shard for 10 s: a record must be settled before another relay may send it.
    ("kafka.delivery_timeout_ms", 100, 9_999),
    ("kafka.linger_ms", 0, 5_000),
    ("kafka.replication_factor", 1, 100),
    // 2 GiB: the largest upload that is promised and tested.
    ("files.upload_bytes_max", 1, 1 << 31),
    ("files.project_bytes_max", 1, EXACT_MAX),
    // A row follows its object within the request, which balancers end after minutes.
    ("files.unlisted_age_s", 3_600, YEAR_S),
    ("auth.session_idle_s", 1, YEAR_S),
    ("auth.session_absolute_s", 1, YEAR_S),
    ("auth.sign_in_link_s", 1, 86_400),
    // 19 MiB each.
    ("auth.password_hashes_at_once", 1, 64),
    ("queue.lease_ms", 1, DAY_MS),
    ("queue.renew_interval_ms", 1, DAY_MS),
    ("queue.row_lease_ms", 1, DAY_MS),
    ("queue.reap_interval_ms", 1, DAY_MS),
    ("queue.reconcile_interval_ms", 1, DAY_MS),
    ("queue.failures_max", 1, 100),
    ("queue.crashes_max", 1, 100),
    ("queue.retry_base_ms", 1, DAY_MS),
    ("queue.retry_cap_ms", 1, DAY_MS),
    ("queue.batch_max", 1, 10_000),
    ("queue.owner_running_max", 0, 1_000_000),
    ("queue.owner_waiting_max", 0, EXACT_MAX),
    ("queue.aged_after_ms", 0, YEAR_S * 1_000),
    ("queue.aged_share", 0, 1_000_000),
    ("queue.large_pixels_min", 1, 1 << 40),
    ("queue.delay_max_s", 0, YEAR_S),
    ("queue.wait_max_ms", 1, DAY_MS),
    ("queue.keep_ended_s", 0, 10 * YEAR_S),
    ("worker.concurrency", 1, 1_000),
    ("worker.poll_interval_ms", 1, DAY_MS),
    ("worker.job_timeout_ms", 1, DAY_MS),
    ("segment.threads", 0, 10),
    ("segment.memory_bytes_max", 1 << 20, EXACT_MAX),
    ("segment.pixels_max", 1, 1 << 40),
    // What SpheroSeg's models take.
    ("ml.threshold_percent", 10, 90),
    ("ml.connect_timeout_ms", 1, DAY_MS),
    ("ml.timeout_ms", 1, DAY_MS),
    ("ml.response_bytes_max", 1_024, 1 << 32),
    ("ml.polygons_max", 1, 1_000_000),
    ("ml.points_max", 1, 100_000_000),
    ("ml.compress_above_bytes", 0, EXACT_MAX),
    ("ml.batch_max", 1, 64),
    ("ml.batch_window_ms", 0, 10_000),
    ("ml.batch_pixels_max", 1, 1 << 40),
    ("ml.breaker_window_calls", 1, 1_000),
    ("ml.breaker_min_calls", 1, 1_000),
    ("ml.breaker_failure_percent", 1, 100),
    ("ml.breaker_consecutive_failures", 1, 1_000),
    ("ml.breaker_open_ms", 1, DAY_MS),
    ("ml.breaker_jitter_percent", 0, 100),
    ("ml.breaker_probes", 1, 100),
    ("outbox.poll_interval_ms", 1, DAY_MS),
    ("outbox.batch_max", 1, 10_000),
    ("health.check_timeout_ms", 1, DAY_MS),
    ("health.check_interval_ms", 1, DAY_MS),
    ("shutdown.lame_duck_ms", 0, DAY_MS),
    ("shutdown.http_ms", 0, DAY_MS),
    ("shutdown.work_ms", 0, DAY_MS),
];

/// Every word that must be one of a few.
pub(super) const CHOICES: &[(&str, &[&str])] = &[
    ("log.format", &["text", "json"]),
    ("worker.lanes", &["all", "default", "large"]),
    ("health.readiness", &["lenient", "strict"]),
    ("ml.segmenter", &["builtin", "spheroseg", "oip-v2", "auto"]),
    ("ml.fallback", &["wait", "builtin"]),
];
