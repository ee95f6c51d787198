//! Every metric of the process: its name with the unit, and its labels with their few values. No other file names
//! a metric; `docs/metrics.md` lists them for people and a test keeps both in step.
#![expect(clippy::disallowed_macros, reason = "the one place that names metrics")]

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use super::lane::Lane;

/// One HTTP answer: the route's template (never the raw path), method, status class, time from head to last header.
pub fn http_request(route: &str, method: &'static str, status_class: &'static str, took: Duration) {
    histogram!("spheroctl_http_request_duration_seconds",
        "route" => route.to_owned(), "method" => method, "status_class" => status_class)
    .record(took.as_secs_f64());
}

/// A request that a rate limit refused: its class, `read`, `write` or `sign_in`.
pub fn rate_limited(class: &'static str) {
    counter!("spheroctl_rate_limited_total", "class" => class).increment(1);
}

/// A request that was counted by this instance alone, because the shared store was away.
pub fn rate_limit_fallback() {
    counter!("spheroctl_rate_limit_fallbacks_total").increment(1);
}

/// Open HTTP connections.
pub fn http_connections(open: usize) {
    gauge!("spheroctl_http_connections").set(open as f64);
}

/// A connection refused because the cap was reached.
pub fn http_connection_refused() {
    counter!("spheroctl_http_connections_refused_total").increment(1);
}

/// One run of a named transaction: `committed`, `rolled_back` or `retried`.
pub fn db_transaction(name: &'static str, outcome: &'static str) {
    counter!("spheroctl_db_transactions_total", "name" => name, "outcome" => outcome).increment(1);
}

/// Bytes accepted by an upload that was stored.
pub fn upload_stored(bytes: u64) {
    counter!("spheroctl_upload_bytes_total").increment(bytes);
}

/// An upload that failed, by reason: `too_large`, `unsupported`, `aborted`, `storage`.
pub fn upload_failed(reason: &'static str) {
    counter!("spheroctl_upload_failures_total", "reason" => reason).increment(1);
}

/// Files that were removed from the file store because nobody lists them: `unfinished` uploads, `unlisted` objects.
pub fn files_swept(kind: &'static str, count: u64) {
    counter!("spheroctl_files_swept_total", "kind" => kind).increment(count);
}

/// A job's run that ended: `completed`, `failed`, `dead`, `cancelled`, `handed_back`, `fenced`.
pub fn job_finished(outcome: &'static str, took: Duration) {
    histogram!("spheroctl_job_duration_seconds", "outcome" => outcome).record(took.as_secs_f64());
}

/// Time from a job's due instant to its start.
pub fn job_waited(waited: Duration) {
    histogram!("spheroctl_job_wait_seconds").record(waited.as_secs_f64());
}

/// A write refused because the job belongs to a later attempt.
pub fn fenced_write() {
    counter!("spheroctl_fenced_writes_total").increment(1);
}

/// A lease that was lost while its job ran.
pub fn lease_lost() {
    counter!("spheroctl_lease_lost_total").increment(1);
}

/// Jobs taken back from a worker that no longer renews.
pub fn jobs_reaped(count: u64) {
    counter!("spheroctl_jobs_reaped_total").increment(count);
}

/// Jobs that the queue had lost and that were offered again from their rows.
pub fn jobs_reoffered(count: u64) {
    counter!("spheroctl_jobs_reoffered_total").increment(count);
}

/// Jobs that were dead or cancelled and wait again.
pub fn jobs_replayed(count: u64) {
    counter!("spheroctl_jobs_replayed_total").increment(count);
}

/// Rows of jobs that were removed: `purged` by a person, `expired` by age.
pub fn jobs_removed(why: &'static str, count: u64) {
    counter!("spheroctl_jobs_removed_total", "why" => why).increment(count);
}

/// Outbox rows relayed to the event log.
pub fn outbox_relayed(count: u64) {
    counter!("spheroctl_outbox_relayed_total").increment(count);
}

/// Outbox rows that the event log refused for good.
pub fn outbox_dead(count: u64) {
    counter!("spheroctl_outbox_dead_total").increment(count);
}

/// Age of the oldest outbox row not yet relayed.
pub fn outbox_oldest_age(age: Duration) {
    gauge!("spheroctl_outbox_oldest_age_seconds").set(age.as_secs_f64());
}

/// Connections of the database pool that are in use, and the most that may be open.
pub fn db_pool(busy: u32, max: u32) {
    gauge!("spheroctl_db_connections_busy").set(f64::from(busy));
    gauge!("spheroctl_db_connections_max").set(f64::from(max));
}

/// Threads, running and waiting pieces of work of the compute pool.
pub fn compute_pool(threads: usize, active: usize, queued: usize) {
    gauge!("spheroctl_compute_threads").set(threads as f64);
    gauge!("spheroctl_compute_active").set(active as f64);
    gauge!("spheroctl_compute_queued").set(queued as f64);
}

/// Jobs of a priority and lane that are `waiting`, `delayed`, `running` or `dead` now.
pub fn queue_jobs(priority: u8, lane: Lane, state: &'static str, jobs: u64) {
    gauge!("spheroctl_queue_jobs", "priority" => priority.to_string(), "lane" => lane.name(), "state" => state)
        .set(jobs as f64);
}

/// Jobs of a priority and lane that `completed` or were `cancelled`, and runs that `failed`, within the last hour.
pub fn queue_ended_last_hour(priority: u8, lane: Lane, outcome: &'static str, count: u64) {
    gauge!("spheroctl_queue_ended_last_hour", "priority" => priority.to_string(), "lane" => lane.name(), "outcome" => outcome)
        .set(count as f64);
}

/// For how long the oldest waiting job of a priority and lane has been due; 0 where none waits.
pub fn queue_oldest_waiting(priority: u8, lane: Lane, age_s: f64) {
    gauge!("spheroctl_queue_oldest_waiting_age_seconds", "priority" => priority.to_string(), "lane" => lane.name())
        .set(age_s);
}

/// Jobs that ended per minute lately.
pub fn queue_rate_per_minute(rate: f64) {
    gauge!("spheroctl_queue_jobs_per_minute").set(rate);
}

/// `mean`, `p50` and `p95` of the waits of the last hour's completed jobs; 0 where there were none.
pub fn queue_wait(statistic: &'static str, wait_s: f64) {
    gauge!("spheroctl_queue_wait_seconds", "statistic" => statistic).set(wait_s);
}

/// A webhook's delivery that was sent: `delivered`, `failed`, `gone` or `postponed`.
pub fn webhook_sent(outcome: &'static str) {
    counter!("spheroctl_webhook_sendings_total", "outcome" => outcome).increment(1);
}

/// How many workers there should be.
pub fn workers_wanted(workers: u64) {
    gauge!("spheroctl_workers_wanted").set(workers as f64);
}

/// Ids that the queue gave out although their rows no longer wait.
pub fn stale_offers(count: u64) {
    counter!("spheroctl_queue_stale_offers_total").increment(count);
}

/// The state of a breaker: 0 closed, 1 half-open, 2 open.
pub fn breaker_state(name: &'static str, state: f64) {
    gauge!("spheroctl_breaker_state", "name" => name).set(state);
}

/// A breaker that changed to this state: `closed`, `half_open`, `open`.
pub fn breaker_changed(name: &'static str, to: &'static str) {
    counter!("spheroctl_breaker_transitions_total", "name" => name, "to" => to).increment(1);
}

/// One call of the remote segmenter, of one or more images: `done`, or the class of its failure (`bad_image`,
/// `ml_timeout`, `ml_answer`, `ml_service`, `unread` where the image could not be read); time from sending to measuring.
pub fn ml_call(outcome: &'static str, took: Duration) {
    histogram!("spheroctl_ml_call_duration_seconds", "outcome" => outcome)
        .record(took.as_secs_f64());
}

/// Images that went in calls of the remote segmenter.
pub fn ml_images(count: usize) {
    counter!("spheroctl_ml_images_total").increment(count as u64);
}

/// An image that the builtin segmenter did because the remote one was away.
pub fn ml_fallback() {
    counter!("spheroctl_ml_fallbacks_total").increment(1);
}

/// Records behind the committed position of a partition that this process reads; 0 once it does not.
pub fn consumer_lag(group: &str, topic: &str, partition: i32, records: i64) {
    gauge!("spheroctl_kafka_consumer_lag_records",
        "group" => group.to_owned(), "topic" => topic.to_owned(), "partition" => partition.to_string())
    .set(records as f64);
}

/// Records that a group has read and not done yet.
pub fn group_in_flight(group: &str, records: usize) {
    gauge!("spheroctl_kafka_records_in_flight", "group" => group.to_owned()).set(records as f64);
}

/// Lanes of a group that stand still because the dead letters cannot be written.
pub fn group_stalled(group: &str, lanes: usize) {
    gauge!("spheroctl_dlq_stalled", "group" => group.to_owned()).set(lanes as f64);
}

/// How many partitions a topic has more than this version wants; negative where it has fewer.
pub fn topic_partitions_odd(topic: &str, more: i32) {
    gauge!("spheroctl_kafka_partitions_odd", "topic" => topic.to_owned()).set(more);
}

/// Whether a group stays out because too many records died: 1 or 0.
pub fn group_stopped(group: &str, stopped: bool) {
    gauge!("spheroctl_kafka_group_stopped", "group" => group.to_owned()).set(if stopped {
        1.0
    } else {
        0.0
    });
}

/// Partitions that were `assigned`, `revoked` or `lost`.
pub fn group_rebalanced(group: &str, what: &'static str) {
    counter!("spheroctl_kafka_rebalances_total", "group" => group.to_owned(), "what" => what)
        .increment(1);
}

/// A member that was replaced because its stream failed or fell silent.
pub fn group_rejoined(group: &str) {
    counter!("spheroctl_kafka_rejoins_total", "group" => group.to_owned()).increment(1);
}

/// A commit of positions: `committed`, `fenced` or `failed`.
pub fn group_committed(group: &str, outcome: &'static str) {
    counter!("spheroctl_kafka_commits_total", "group" => group.to_owned(), "outcome" => outcome)
        .increment(1);
}

/// Events that a group had at once: `done`, `failed` or `passed_over`, how many there were, and how long that took.
pub fn events_handled(group: &str, outcome: &'static str, events: usize, took: Duration) {
    histogram!("spheroctl_event_handling_seconds", "group" => group.to_owned(), "outcome" => outcome)
        .record(took.as_secs_f64());
    counter!("spheroctl_events_total", "group" => group.to_owned(), "outcome" => outcome)
        .increment(events as u64);
}

/// A record that went to the dead letters.
pub fn dlq_record(topic: &str, group: &str) {
    counter!("spheroctl_dlq_records_total", "topic" => topic.to_owned(), "group" => group.to_owned())
        .increment(1);
}

/// Open connections of the realtime gateway.
pub fn ws_connections(open: usize) {
    gauge!("spheroctl_ws_connections").set(open as f64);
}

/// A connection of the gateway that was not made: `limit`, `origin`, `draining`.
pub fn ws_refused(why: &'static str) {
    counter!("spheroctl_ws_refused_total", "why" => why).increment(1);
}

/// A connection of the gateway that ended: the reason of its close frame, `gone` where the client left, `protocol` where
/// its frames were none.
pub fn ws_disconnected(reason: &'static str) {
    counter!("spheroctl_ws_disconnects_total", "reason" => reason).increment(1);
}

/// Commands that clients sent.
pub fn ws_messages_in(count: usize) {
    counter!("spheroctl_ws_messages_in_total").increment(count as u64);
}

/// Messages of channels that were queued for clients, one for each that receives it.
pub fn ws_messages_out(count: usize) {
    counter!("spheroctl_ws_messages_out_total").increment(count as u64);
}

/// Subscriptions of all connections of the gateway.
pub fn ws_subscriptions(count: usize) {
    gauge!("spheroctl_ws_subscriptions").set(count as f64);
}

/// Subscriptions that ended because something was missed that no channel remembers; their clients subscribe again.
pub fn ws_resubscriptions(count: usize) {
    counter!("spheroctl_ws_resubscriptions_total").increment(count as u64);
}
