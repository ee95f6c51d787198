//! The event log: the same promises in SQLite and on Kafka.

pub mod backend;
mod groups;
pub mod reader;
mod records;
mod topics;

use super::suite;
use backend::Backend;
use groups::*;
use records::*;
use topics::*;

suite! {
    sqlite => Backend::sqlite, kafka => Backend::kafka;
    [
        a_key_keeps_its_partition_and_its_order,
        both_logs_choose_the_partition_as_java_does,
        what_cannot_be_appended_is_told_by_type,
        browse_reads_without_a_group_and_truncate_drops,
        next_is_cancel_safe,
        restart_resumes_at_the_commit,
        uncommitted_records_are_delivered_again,
        groups_are_independent,
        lag_is_exact_when_idle,
        two_members_share_the_partitions,
        leaving_hands_over_at_once,
        a_dead_member_is_replaced,
        a_commit_during_revocation_counts,
        a_zombies_commit_is_fenced,
        a_paused_partition_is_silent_and_loses_nothing,
        topics_are_made_once_and_never_grown,
        an_unknown_topic_is_told_by_type,
        ping_fails_when_the_log_is_gone,
    ]
}
