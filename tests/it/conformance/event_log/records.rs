//! Appending and reading.

use std::collections::BTreeMap;
use std::time::Duration;

use spheroctl::events::log::{Error, Headers, RECORD_BYTES_MAX, Record};
use spheroctl::events::partition::partition_of;

use super::backend::{Backend, partition, record, records};
use super::reader::{DEADLINE, Reader};

pub async fn a_key_keeps_its_partition_and_its_order(backend: &Backend) {
    backend.topic("t", 4).await;
    let log = backend.open("a");
    for batch in records("t", 7, 210).chunks(30) {
        for answer in log.append(batch.to_vec()).await {
            answer.expect("an append");
        }
    }
    let mut reader = Reader::join(&*log, "g", &["t"]).await;
    let mut by_key: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in reader.read(210).await {
        by_key
            .entry(record.key.as_deref().expect("a key"))
            .or_default()
            .push(record);
    }
    for (key, records) in by_key {
        assert_eq!(records.len(), 30, "{key}");
        assert!(
            records
                .iter()
                .all(|it| it.partition == records[0].partition),
            "{key}"
        );
        assert!(records.is_sorted_by_key(|it| it.offset), "{key}");
        assert!(records.is_sorted_by_key(|it| number(it)), "{key}");
    }
    reader.close().await;
}

pub async fn both_logs_choose_the_partition_as_java_does(backend: &Backend) {
    backend.topic("t", 12).await;
    let sent = records("t", 64, 64);
    for (answer, sent) in backend
        .open("a")
        .append(sent.clone())
        .await
        .into_iter()
        .zip(sent)
    {
        let (found, _) = answer.expect("an append");
        assert_eq!(
            found,
            partition("t", partition_of(&sent.key, 12)),
            "{}",
            sent.key
        );
    }
}

pub async fn what_cannot_be_appended_is_told_by_type(backend: &Backend) {
    backend.topic("t", 1).await;
    let large = "x".repeat(RECORD_BYTES_MAX);
    let batch = vec![
        record("t", "k", "first"),
        record("t", "k", &large),
        record("nowhere", "k", "lost"),
        record("t", "", "keyless"),
        record("t", "k", "last"),
    ];
    let answers = backend.open("a").append(batch).await;
    assert_eq!(
        *answers[0].as_ref().expect("the first"),
        (partition("t", 0), 0)
    );
    assert!(matches!(&answers[1], Err(Error::TooLarge { topic, .. }) if topic == "t"));
    assert!(matches!(&answers[2], Err(Error::UnknownTopic(topic)) if topic == "nowhere"));
    assert!(matches!(&answers[3], Err(Error::NoKey(topic)) if topic == "t"));
    assert_eq!(
        *answers[4].as_ref().expect("the last"),
        (partition("t", 0), 1)
    );
    let lasting = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(lasting.into_iter().all(|error| !error.is_temporary()));
}

pub async fn browse_reads_without_a_group_and_truncate_drops(backend: &Backend) {
    backend.topic("t", 1).await;
    let log = backend.open("a");
    let place = partition("t", 0);
    assert_eq!(log.bounds(&place).await.expect("bounds"), (0, 0));
    assert_eq!(log.browse(&place, 0, 10).await.expect("nothing"), []);
    log.append(records("t", 3, 20)).await;
    assert_eq!(log.bounds(&place).await.expect("bounds"), (0, 20));
    let page = log.browse(&place, 5, 3).await.expect("a page");
    assert_eq!(
        page.iter().map(|it| it.offset).collect::<Vec<_>>(),
        [5, 6, 7]
    );
    assert_eq!(page[0].key.as_deref(), Some("k2"));
    assert_eq!(page[0].headers, Headers::from_iter([("ce_id", "5")]));
    assert_eq!(page[0].value.as_ref(), b"5");
    assert!(page[0].timestamp_ms > 1_600_000_000_000);
    log.truncate_before(&place, 12).await.expect("truncation");
    assert_eq!(log.bounds(&place).await.expect("bounds"), (12, 20));
    let rest = log.browse(&place, 0, 100).await.expect("the rest");
    assert_eq!(rest.len(), 8);
    assert_eq!(rest[0].offset, 12);
    let mut reader = Reader::join(&*log, "g", &["t"]).await;
    assert_eq!(reader.read(8).await[0].offset, 12);
    reader.close().await;
}

pub async fn next_is_cancel_safe(backend: &Backend) {
    backend.topic("t", 3).await;
    let log = backend.open("a");
    let mut reader = Reader::join(&*log, "g", &["t"]).await;
    let end = tokio::time::Instant::now() + DEADLINE;
    let mut sent = 0;
    while reader.seen.len() < 300 {
        assert!(
            tokio::time::Instant::now() < end,
            "only {} of 300 arrived",
            reader.seen.len()
        );
        if sent < 300 {
            log.append(records("t", 5, 300)[sent..sent + 20].to_vec())
                .await;
            sent += 20;
        }
        for micros in [0, 50, 300, 1_000, 5_000] {
            reader.poll(Duration::from_micros(micros)).await;
        }
    }
    for number in 0..3 {
        let place = partition("t", number);
        let offsets = reader
            .seen
            .iter()
            .filter(|it| *it.partition == place)
            .map(|it| it.offset);
        let offsets: Vec<_> = offsets.collect();
        assert_eq!(offsets, (0..offsets.len() as i64).collect::<Vec<_>>());
    }
    reader.close().await;
}

fn number(record: &Record) -> usize {
    let text = std::str::from_utf8(&record.value).expect("a text");
    text.parse().expect("a number")
}
