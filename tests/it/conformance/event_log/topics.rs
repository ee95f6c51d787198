//! Topics, and a log that is gone.

use std::time::Duration;

use spheroctl::events::log::{Error, Topic, TopicState};

use super::backend::{Backend, partition};

pub async fn topics_are_made_once_and_never_grown(backend: &Backend) {
    let log = backend.open("a");
    let asked = [topic("small", 2), topic("large", 5)];
    let missing = [TopicState::Missing, TopicState::Missing];
    assert_eq!(
        log.ensure_topics(&asked, true).await.expect("a look"),
        missing
    );
    assert_eq!(
        log.ensure_topics(&asked, true).await.expect("a look"),
        missing
    );
    assert_eq!(
        log.ensure_topics(&asked, false).await.expect("making"),
        missing
    );
    let present = [TopicState::Present, TopicState::Present];
    assert_eq!(
        log.ensure_topics(&asked, false).await.expect("again"),
        present
    );
    let grown = [topic("small", 3), topic("large", 5)];
    let other = [TopicState::Partitions { found: 2 }, TopicState::Present];
    for only_check in [false, true, true] {
        assert_eq!(
            log.ensure_topics(&grown, only_check).await.expect("a look"),
            other
        );
    }
}

pub async fn an_unknown_topic_is_told_by_type(backend: &Backend) {
    let log = backend.open("a");
    let is_unknown = |error: Error| matches!(error, Error::UnknownTopic(topic) if topic == "no");
    assert!(is_unknown(
        log.subscribe("g", &["no"])
            .await
            .expect_err("no subscription")
    ));
    assert!(is_unknown(
        log.bounds(&partition("no", 0))
            .await
            .expect_err("no bounds")
    ));
    assert!(is_unknown(
        log.browse(&partition("no", 0), 0, 1)
            .await
            .expect_err("no records")
    ));
    assert!(is_unknown(
        log.truncate_before(&partition("no", 0), 1)
            .await
            .expect_err("nothing")
    ));
}

pub async fn ping_fails_when_the_log_is_gone(backend: &Backend) {
    backend.open("a").ping().await.expect("a living log");
    let gone = backend.gone().await;
    let answer = tokio::time::timeout(Duration::from_secs(10), gone.ping()).await;
    let answer = answer.expect("ping ends by itself");
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
}

fn topic(name: &str, partitions: i32) -> Topic {
    Topic {
        name: name.to_owned(),
        partitions,
        retention_ms: 3_600_000,
    }
}
