//! Records that cannot be handled.

use std::collections::HashMap;

use bytes::Bytes;
use chrono::TimeDelta;
use spheroctl::events::dead_letters::{Filter, Letter, Selection, State};
use spheroctl::events::group::GroupState;
use spheroctl::events::log::{Headers, NewRecord};
use spheroctl::events::topics::JOB_EVENTS;

use super::auditor::{Auditor, GROUP, Mischief, audit, events, records};
use super::world::{DEADLINE, World};
use crate::support::eventually;

pub async fn a_record_that_is_no_event_dies_at_once(world: &World) {
    let sent = events(3, 4);
    let broken = NewRecord {
        topic: JOB_EVENTS.to_owned(),
        key: sent[0].fact.key(),
        headers: Headers::from_iter([("of", "another")]),
        value: Bytes::from_static(b"\xff no event"),
    };
    world.append(records(&sent[..6])).await;
    world.append(vec![broken.clone()]).await;
    world.append(records(&sent[6..])).await;
    let process = world.run("a", Auditor::default().shared());
    world.caught_up(13).await;
    process.end().await;
    audit(&world.db, &sent).await;
    let letter = the_letter(world).await;
    assert_eq!(
        (letter.error_class.as_str(), letter.attempts),
        ("undecodable", 0)
    );
    assert_eq!(
        (letter.key.as_str(), letter.state),
        (broken.key.as_str(), State::Unknown)
    );
    let shown = world
        .dead_letters()
        .show(&letter.id)
        .await
        .expect("the log");
    let shown = shown.expect("the letter");
    let headers = shown.headers.expect("headers");
    assert!(headers.iter().any(|header| header == ("of", "another")));
    assert_eq!(shown.value.expect("a value"), "\u{fffd} no event");
}

pub async fn a_record_that_always_fails_dies_after_three_attempts_and_its_neighbours_live(
    world: &World,
) {
    dies_after_three_attempts(world, Mischief::Fails, "no luck").await;
}

pub async fn a_handler_that_panics_fails(world: &World) {
    dies_after_three_attempts(world, Mischief::Panics, "the handler panicked").await;
}

async fn dies_after_three_attempts(world: &World, mischief: Mischief, why: &str) {
    let mut sent = events(2, 20);
    world.append(records(&sent)).await;
    let poison = sent.remove(7);
    let auditor = Auditor {
        mischief: HashMap::from([(poison.id, mischief)]).into(),
        ..Auditor::default()
    };
    let auditor = auditor.shared();
    let process = world.run("a", auditor.clone());
    world.caught_up(40).await;
    assert_eq!(process.figures().dead_letters, 1);
    process.end().await;
    let runs = auditor.runs_of(&poison);
    assert!(
        (3..=4).contains(&runs),
        "three, and one with its neighbours: {runs}"
    );
    audit(&world.db, &sent).await;
    let letter = the_letter(world).await;
    assert_eq!((letter.event, letter.attempts), (Some(poison.id), 3));
    assert_eq!((letter.state, letter.group.as_str()), (State::Dead, GROUP));
    assert!(letter.error.contains(why), "{}", letter.error);
}

pub async fn a_dead_letter_is_replayed_once_its_cause_is_gone(world: &World) {
    let sent = events(2, 3);
    let auditor = Auditor {
        mischief: HashMap::from([(sent[2].id, Mischief::Fails)]).into(),
        ..Auditor::default()
    };
    let auditor = auditor.shared();
    world.append(records(&sent)).await;
    let process = world.run("a", auditor.clone());
    world.caught_up(6).await;
    auditor.mischief.lock().clear();
    let desk = world.dead_letters();
    let all = Selection {
        filter: Some(of_jobs()),
        ..Selection::default()
    };
    let replayed = desk.replay(&all).await.expect("the log");
    assert_eq!(replayed.letters.len(), 1);
    world.caught_up(7).await;
    assert_eq!(the_letter(world).await.state, State::Done);
    // What is done is not sent again by a filter, and has no second effect when it is named.
    assert_eq!(desk.replay(&all).await.expect("the log").letters, []);
    let named = Selection {
        ids: replayed.letters,
        ..Selection::default()
    };
    desk.replay(&named).await.expect("the log");
    world.caught_up(8).await;
    process.end().await;
    let lines = super::auditor::lines(&world.db).await;
    assert_eq!(lines.len(), 6);
    let purged = desk.purge(Some(JOB_EVENTS), TimeDelta::minutes(-1)).await;
    assert_eq!(purged.expect("the log").removed, 1);
    assert_eq!(desk.list(&of_jobs(), 10).await.expect("the log"), []);
}

pub async fn dead_letters_that_cannot_be_written_stop_the_partition(world: &World) {
    let world = world.without_dead_letters().await;
    let mut sent = events(1, 5);
    world.append(records(&sent)).await;
    let poison = sent.remove(2);
    let auditor = Auditor {
        mischief: HashMap::from([(poison.id, Mischief::Fails)]).into(),
        ..Auditor::default()
    };
    let process = world.run("a", auditor.shared());
    eventually(
        "the group says that it stands still",
        DEADLINE,
        async || process.figures().state == GroupState::Stalled,
    )
    .await;
    let trouble = process.groups.trouble().expect("trouble is told");
    assert!(trouble.contains("dlq.job.events"), "{trouble}");
    let lag = world.log.lag(GROUP, &[JOB_EVENTS]).await.expect("a lag");
    assert!(lag.values().sum::<i64>() >= 3 || lag.is_empty(), "{lag:?}");
    world.dead_letter_topic().await;
    world.caught_up(5).await;
    process.end().await;
    audit(&world.db, &sent).await;
}

pub async fn a_flood_of_dead_letters_stops_the_group(world: &World) {
    let broken = |number: usize| NewRecord {
        topic: JOB_EVENTS.to_owned(),
        key: format!("k{number}"),
        headers: Headers::default(),
        value: Bytes::new(),
    };
    world.append((0..400).map(broken).collect()).await;
    let process = world.run("a", Auditor::default().shared());
    eventually("the group stops", DEADLINE, async || {
        process.figures().state == GroupState::Flooded
    })
    .await;
    let dead = process.figures().dead_letters;
    assert!((101..300).contains(&dead), "{dead} died");
    process.end().await;
}

/// The only topic of this world.
fn of_jobs() -> Filter {
    Filter {
        topic: Some(JOB_EVENTS.to_owned()),
        ..Filter::default()
    }
}

/// The only dead letter there is.
async fn the_letter(world: &World) -> Letter {
    let letters = world.dead_letters().list(&of_jobs(), 10).await;
    let mut letters = letters.expect("the letters can be listed");
    assert_eq!(letters.len(), 1, "{letters:?}");
    letters.remove(0)
}
