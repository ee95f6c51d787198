//! The roles as real processes on PostgreSQL, Redis and Kafka: the whole way of a picture through all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use spheroctl::events::Envelope;
use spheroctl::events::log::kafka::KafkaLog;
use spheroctl::events::log::{EventLog, Partition};
use spheroctl::events::topics::JOB_EVENTS;
use spheroctl::settings::{self, Sources};

use crate::support::app::text;
use crate::support::product::Product;
use crate::support::{eventually, pictures};

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_go_all_the_way_through_three_processes() {
    let product = Product::scaled(&[]).await;
    let server = product.start("serve", &[]).await;
    let workers = [
        product.start("worker", &[]).await,
        product.start("worker", &[]).await,
    ];
    let lab = product.lab(&server).await;
    let mut jobs = Vec::new();
    for seed in 1..=4 {
        let image = lab
            .upload(&format!("{seed}.tif"), pictures::tiff(seed))
            .await;
        jobs.extend(lab.submit(&image, 3).await);
    }
    product.completes(12, DEADLINE).await;
    for job in &jobs {
        let result = lab.get(&format!("/api/v1/jobs/{job}/result")).await;
        let objects = result["objects"].as_array().expect("objects");
        assert!(!objects.is_empty(), "{result}");
        let outlines = lab.get(&format!("/api/v1/jobs/{job}/result.geojson")).await;
        assert_eq!(
            outlines["features"].as_array().expect("features").len(),
            objects.len()
        );
        let table = lab.bytes(&format!("/api/v1/jobs/{job}/result.csv")).await;
        let lines = String::from_utf8(table).expect("text").lines().count();
        assert_eq!(lines, 1 + objects.len());
    }
    let overlay = lab
        .bytes(&format!("/api/v1/jobs/{}/overlay.png", jobs[0]))
        .await;
    assert!(overlay.starts_with(b"\x89PNG"));
    eventually("the outbox is empty", DEADLINE, async || {
        product.number("select count(*) from outbox_events").await == 0
    })
    .await;
    facts_are_on_the_log(&product, &jobs).await;
    let mut done = 0.0;
    for worker in &workers {
        done += worker.metric("spheroctl_job_duration_seconds_count").await;
    }
    assert!(done >= 12.0, "{done}");
    assert!(server.metric("spheroctl_upload_bytes_total").await > 0.0);
}

/// Each job's facts stand once, in order, in one partition.
async fn facts_are_on_the_log(product: &Product, jobs: &[String]) {
    let log = log(product);
    let mut facts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut records, mut ids) = (0, std::collections::BTreeSet::new());
    for number in 0..12 {
        let partition = Partition {
            topic: JOB_EVENTS.into(),
            number,
        };
        let (first, _) = log.bounds(&partition).await.expect("bounds");
        for record in log
            .browse(&partition, first, 10_000)
            .await
            .expect("records")
        {
            let value: serde_json::Value = serde_json::from_slice(&record.value).expect("JSON");
            let job = text(&value["job_id"]);
            if jobs.contains(&job) {
                let envelope = Envelope::from_headers(&record.headers).expect("an envelope");
                assert_eq!(
                    record.key,
                    Some(text(&value["image_id"])),
                    "the image is the key"
                );
                ids.insert(envelope.id);
                records += 1;
                facts.entry(job).or_default().push(envelope.kind.to_owned());
            }
        }
    }
    println!(
        "whole product: {} jobs, {records} records, {} event ids, duplicated {}",
        jobs.len(),
        ids.len(),
        records - ids.len()
    );
    assert_eq!((facts.len(), records), (jobs.len(), ids.len()), "each once");
    for (job, kinds) in facts {
        assert_eq!(kinds, ["job.submitted", "job.completed"], "{job}");
    }
}

fn log(product: &Product) -> KafkaLog {
    let mut kafka = settings::load(&Sources::default())
        .expect("defaults")
        .settings
        .kafka;
    kafka.bootstrap_servers = product.setting("kafka.bootstrap_servers").to_owned();
    kafka.topic_prefix = product.setting("kafka.topic_prefix").to_owned();
    KafkaLog::new("auditor", &kafka).expect("the log opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_says_that_it_is_ready_and_ends_when_told() {
    let product = Product::scaled(&[]).await;
    for role in ["serve", "worker", "realtime", "standalone"] {
        let mut process = product.start(role, &[]).await;
        // Ready before its own port is open, it would be sent requests that nobody takes.
        assert_eq!(process.listeners().last().unwrap(), "ops.http", "{role}");
        assert_eq!(process.probe("/livez").await, Some(200), "{role}");
        assert_eq!(process.probe("/metrics").await, Some(200), "{role}");
        process.signal(rustix::process::Signal::TERM);
        assert_eq!(
            process.exit_code(Duration::from_secs(10)).await,
            Some(0),
            "{role}"
        );
    }
}
