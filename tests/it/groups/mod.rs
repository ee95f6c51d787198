//! Consumer groups on both logs: order per key, one effect per record, poison, outages, and members that come and go.

mod auditor;
mod brokers;
mod grown;
mod handling;
mod load;
mod member;
mod outages;
mod poison;
mod processes;
mod static_members;
mod world;

use crate::conformance::suite;
use handling::*;
use poison::*;
use world::World;

suite! {
    sqlite => World::sqlite, kafka => World::kafka;
    [
        the_order_of_a_key_is_kept_while_handlers_fail,
        members_that_come_and_go_lose_and_double_nothing,
        what_was_done_is_not_done_again_when_it_is_delivered_again,
        a_committed_effect_is_told_outside_of_the_database,
        what_cannot_be_told_dies_alone,
        what_cannot_be_told_dies_alone_where_telling_is_all,
        what_does_not_concern_a_group_leaves_no_row,
        an_outage_uses_no_attempts,
        slow_handlers_fill_the_window_and_all_is_done,
        a_record_that_is_no_event_dies_at_once,
        a_record_that_always_fails_dies_after_three_attempts_and_its_neighbours_live,
        a_handler_that_panics_fails,
        a_dead_letter_is_replayed_once_its_cause_is_gone,
        dead_letters_that_cannot_be_written_stop_the_partition,
        a_flood_of_dead_letters_stops_the_group,
    ]
}

// The same on the newer group protocol, as far as it has a part in it: what moves, waits, commits and pauses.
suite! {
    kafka_newer_protocol => World::kafka_newer;
    [
        the_order_of_a_key_is_kept_while_handlers_fail,
        members_that_come_and_go_lose_and_double_nothing,
        slow_handlers_fill_the_window_and_all_is_done,
        a_record_that_always_fails_dies_after_three_attempts_and_its_neighbours_live,
    ]
}
