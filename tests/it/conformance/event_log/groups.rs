//! Groups: positions, members, and partitions that move.

use std::collections::BTreeSet;

use spheroctl::events::log::{Error, Partition};

use super::backend::{Backend, partition, records};
use super::reader::{Reader, turns};

pub async fn restart_resumes_at_the_commit(backend: &Backend) {
    let mut reader = a_reader_of_ten(backend, "a").await;
    reader
        .commit(&partition("t", 0), 6)
        .await
        .expect("a commit");
    reader.close().await;
    let mut again = Reader::join(&*backend.open("b"), "g", &["t"]).await;
    let offsets: Vec<_> = again.read(4).await.iter().map(|it| it.offset).collect();
    assert_eq!(offsets, [6, 7, 8, 9]);
    again.close().await;
}

pub async fn uncommitted_records_are_delivered_again(backend: &Backend) {
    a_reader_of_ten(backend, "a").await.close().await;
    let mut again = Reader::join(&*backend.open("b"), "g", &["t"]).await;
    assert_eq!(again.read(10).await[0].offset, 0);
    again.close().await;
}

pub async fn groups_are_independent(backend: &Backend) {
    let mut first = a_reader_of_ten(backend, "a").await;
    first
        .commit(&partition("t", 0), 10)
        .await
        .expect("a commit");
    let log = backend.open("b");
    let mut second = Reader::join(&*log, "other", &["t"]).await;
    assert_eq!(second.read(10).await[0].offset, 0);
    let lag = log.lag("other", &["t"]).await.expect("a lag");
    assert!(lag.is_empty(), "{lag:?} without any commit");
    first.close().await;
    second.close().await;
}

pub async fn lag_is_exact_when_idle(backend: &Backend) {
    let mut reader = a_reader_of_ten(backend, "a").await;
    let (log, place) = (backend.open("b"), partition("t", 0));
    reader.commit(&place, 7).await.expect("a commit");
    assert_eq!(log.lag("g", &["t"]).await.expect("a lag")[&place], 3);
    reader.commit(&place, 10).await.expect("a commit");
    assert_eq!(log.lag("g", &["t"]).await.expect("a lag")[&place], 0);
    reader.close().await;
}

pub async fn two_members_share_the_partitions(backend: &Backend) {
    let (mut first, mut second) = a_pair(backend, 6).await;
    let all: BTreeSet<_> = first.held.union(&second.held).cloned().collect();
    assert_eq!(all, (0..6).map(|number| partition("t", number)).collect());
    let log = backend.open("c");
    turns(&mut [&mut first, &mut second], "nothing", |_| true).await;
    let members = log.members("g").await.expect("members");
    let clients: BTreeSet<_> = members.iter().map(|it| it.client_id.as_str()).collect();
    assert_eq!(clients, BTreeSet::from(["a", "b"]));
    for member in members {
        let reader = if member.client_id == "a" {
            &first
        } else {
            &second
        };
        let numbers: Vec<_> = reader.held.iter().map(|it| it.number).collect();
        assert_eq!(member.partitions["t"], numbers, "{}", member.client_id);
    }
    first.close().await;
    second.close().await;
}

pub async fn leaving_hands_over_at_once(backend: &Backend) {
    backend.topic("t", 4).await;
    let (log, other) = (backend.open_patient("a"), backend.open_patient("b"));
    let mut first = Reader::join(&*log, "g", &["t"]).await;
    first.hold(4).await;
    let mut second = Reader::join(&*other, "g", &["t"]).await;
    turns(&mut [&mut first, &mut second], "both read", |it| {
        it[0].held.len() == 2 && it[1].held.len() == 2
    })
    .await;
    second.close().await;
    // The deadline is below the session time-out: only leaving can bring the partitions back in time.
    first.hold(4).await;
    first.close().await;
}

pub async fn a_dead_member_is_replaced(backend: &Backend) {
    let (mut first, second) = a_pair(backend, 4).await;
    drop(second);
    first.hold(4).await;
    first.close().await;
}

pub async fn a_commit_during_revocation_counts(backend: &Backend) {
    backend.topic("t", 2).await;
    let log = backend.open("a");
    log.append(records("t", 20, 100)).await;
    let mut first = Reader::join(&*log, "g", &["t"]).await;
    first.commits_on_revoke = true;
    first.read(100).await;
    let other = backend.open("b");
    let mut second = Reader::join(&*other, "g", &["t"]).await;
    turns(
        &mut [&mut first, &mut second],
        "one partition moves",
        |it| it[1].held.len() == 1,
    )
    .await;
    let moved = second.held.first().expect("a partition").clone();
    let key = (0..20)
        .map(|it| format!("k{it}"))
        .find(|key| spheroctl::events::partition::partition_of(key, 2) == moved.number);
    let (_, end) = log.bounds(&moved).await.expect("bounds");
    let late = super::backend::record("t", &key.expect("a key of the partition"), "late");
    log.append(vec![late]).await;
    turns(
        &mut [&mut first, &mut second],
        "the late record arrives",
        |it| !it[1].seen.is_empty(),
    )
    .await;
    assert_eq!((second.seen.len(), second.seen[0].offset), (1, end));
    first.close().await;
    second.close().await;
}

pub async fn a_zombies_commit_is_fenced(backend: &Backend) {
    let (mut first, mut second) = a_pair(backend, 2).await;
    let moved = second.held.first().expect("a partition").clone();
    let kept = first.held.first().expect("a partition").clone();
    second.commit(&moved, 0).await.expect("the owner's commit");
    assert_fenced(first.commit(&moved, 0).await, &moved);
    first
        .commit(&kept, 0)
        .await
        .expect("a commit of what was kept");
    first.close().await;
    second.close().await;
}

pub async fn a_paused_partition_is_silent_and_loses_nothing(backend: &Backend) {
    backend.topic("t", 2).await;
    let log = backend.open("a");
    let (paused, other) = (partition("t", 0), partition("t", 1));
    let mut reader = Reader::join(&*log, "g", &["t"]).await;
    reader.hold(2).await;
    reader.pause(&paused);
    log.append(records("t", 20, 200)).await;
    let (_, end) = log.bounds(&paused).await.expect("bounds");
    let (_, end_of_other) = log.bounds(&other).await.expect("bounds");
    turns(&mut [&mut reader], "the other is read", |it| {
        it[0].offsets_of(&other).len() as i64 == end_of_other
    })
    .await;
    assert_eq!(reader.offsets_of(&paused), [0; 0]);
    // Half way, when much was fetched ahead, it is paused again.
    reader.resume(&paused);
    turns(&mut [&mut reader], "some of it is read", |it| {
        it[0].offsets_of(&paused).len() >= 10
    })
    .await;
    reader.pause(&paused);
    reader.resume(&paused);
    turns(&mut [&mut reader], "all of it is read", |it| {
        it[0].offsets_of(&paused).len() as i64 >= end
    })
    .await;
    assert_eq!(reader.offsets_of(&paused), (0..end).collect::<Vec<_>>());
    reader.close().await;
}

fn assert_fenced(outcome: Result<(), Error>, partition: &Partition) {
    match outcome {
        Err(Error::Fenced(what)) => {
            assert!(what.contains(&format!("t {}", partition.number)), "{what}");
        }
        other => panic!("the commit of a lost partition: {other:?}"),
    }
}

/// A member of `g` that has read ten records of the one partition of `t` and committed nothing.
async fn a_reader_of_ten(backend: &Backend, client_id: &str) -> Reader {
    backend.topic("t", 1).await;
    let log = backend.open(client_id);
    log.append(records("t", 3, 10)).await;
    let mut reader = Reader::join(&*log, "g", &["t"]).await;
    reader.read(10).await;
    reader
}

/// The members `a` and `b` of `g`, who share the partitions of `t`; `a` had them all before.
async fn a_pair(backend: &Backend, partitions: i32) -> (Reader, Reader) {
    backend.topic("t", partitions).await;
    let half = usize::try_from(partitions / 2).expect("a small number");
    let mut first = Reader::join(&*backend.open("a"), "g", &["t"]).await;
    first.hold(2 * half).await;
    let mut second = Reader::join(&*backend.open("b"), "g", &["t"]).await;
    turns(
        &mut [&mut first, &mut second],
        "both have their half",
        |it| it[0].held.len() == half && it[1].held.len() == half,
    )
    .await;
    (first, second)
}
