//! How the queue is, as operators and those who wait see it: counts, waits, places and estimates.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use spheroctl::domain::jobs::{Claimed, Failure, Figures, Finished, JobError};
use spheroctl::segment::Segmentation;

use crate::support::app::{TestApp, start, start_without_worker_with, text};
use crate::support::{eventually, pictures, unique_prefix};

const METRICS: &str = "/api/v1/queue/metrics";
/// A job that failed for now is not due before the test is over, all but surely: the wait is drawn from 0 to a day.
const SLOW_RETRY: &[(&str, &str)] = &[
    ("queue.retry_base_ms", "86400000"),
    ("queue.retry_cap_ms", "86400000"),
];

#[tokio::test]
async fn each_job_is_counted_where_it_stands() {
    let test = start_without_worker_with(SLOW_RETRY).await;
    let image = image(&test).await;
    let empty = test.get(&test.admin_token, METRICS).await;
    assert_eq!(empty["priorities"].as_array().unwrap().len(), 20);
    assert_eq!(empty["total"]["waiting"], 0);
    assert_eq!(
        (&empty["rate_per_minute"], &empty["wait"]),
        (&Value::Null, &Value::Null)
    );
    for priority in [7, 7, 7, 7, 7, 2, 2] {
        submit(&test, &image, priority).await;
    }
    let mut claimed = test.claim(3).await;
    fail(&test, &claimed.remove(0), true).await;
    fail(&test, &claimed.remove(0), false).await;
    let done = test.claim(1).await.remove(0);
    let nothing_found = Finished {
        claimed: done,
        result: empty_result(),
    };
    test.app.jobs.finish(&nothing_found).await.unwrap();
    let last = submit(&test, &image, 2).await;
    let cancel = test.request(
        &test.admin_token,
        Method::POST,
        &format!("/api/v1/jobs/{last}/cancel"),
    );
    assert_eq!(cancel.send().await.unwrap().status(), 200);
    let figures = test.get(&test.admin_token, METRICS).await;
    let line = |priority: u64| line_of(&figures, priority, "default");
    let (high, low) = (line(7), line(2));
    for (name, of_high, of_low) in [
        ("waiting", 1, 2),
        ("delayed", 1, 0),
        ("running", 1, 0),
        ("dead", 1, 0),
        ("completed", 1, 0),
        ("cancelled", 0, 1),
        ("failed", 2, 0),
    ] {
        assert_eq!(
            (&high[name], &low[name]),
            (&json!(of_high), &json!(of_low)),
            "{name}"
        );
        assert_eq!(figures["total"][name], of_high + of_low, "{name}");
    }
    assert!(
        high["oldest_waiting_s"].as_f64().unwrap() >= low["oldest_waiting_s"].as_f64().unwrap()
    );
    assert_eq!(line(10)["oldest_waiting_s"], Value::Null);
    assert_eq!(figures["wait"]["jobs"], 1, "{figures}");
    assert!(figures["rate_per_minute"].as_f64().unwrap() > 0.0);
    let ada = test.person("ada@example.org").await;
    let refused = test.request(&ada.token, Method::GET, METRICS);
    assert_eq!(refused.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn heavy_jobs_are_counted_in_their_lane() {
    let test = start_without_worker_with(&[("queue.large_pixels_min", "1")]).await;
    let image = image(&test).await;
    submit(&test, &image, 3).await;
    let figures = test.get(&test.admin_token, METRICS).await;
    for (lane, waiting) in [("default", 0), ("large", 1)] {
        assert_eq!(line_of(&figures, 3, lane)["waiting"], waiting, "{lane}");
    }
    assert_eq!(figures["total"]["waiting"], 1);
}

fn line_of<'f>(figures: &'f Value, priority: u64, lane: &str) -> &'f Value {
    let mut lines = figures["priorities"].as_array().unwrap().iter();
    let found = lines.find(|line| line["priority"] == priority && line["lane"] == lane);
    found.unwrap()
}

#[tokio::test]
async fn a_waiting_job_says_its_place_and_when_it_may_start() {
    let test = start_without_worker_with(SLOW_RETRY).await;
    let image = image(&test).await;
    let low = submit(&test, &image, 1).await;
    let later = submit(&test, &image, 1).await;
    let high = submit(&test, &image, 9).await;
    for (job, position) in [(&high, 1), (&low, 2), (&later, 3)] {
        let shown = job_of(&test, job).await;
        assert_eq!(shown["position"], position, "{shown}");
        assert_eq!(
            shown["estimated_start_at"],
            Value::Null,
            "nothing ended yet"
        );
    }
    let claimed = test.claim(1).await;
    let running = job_of(&test, &high).await;
    assert_eq!(running["status"], "running");
    assert!(running.get("position").is_none(), "{running}");
    fail(&test, &claimed[0], true).await;
    let (first, second) = (job_of(&test, &low).await, job_of(&test, &later).await);
    assert_eq!(
        (&first["position"], &second["position"]),
        (&json!(1), &json!(2))
    );
    let start_of =
        |job: &Value| -> DateTime<Utc> { text(&job["estimated_start_at"]).parse().unwrap() };
    assert!(start_of(&first) > test.app.clock.now());
    assert!(start_of(&first) < start_of(&second));
    // One that is not due yet starts when it is.
    let claimed = test.claim(1).await;
    fail(&test, &claimed[0], false).await;
    let delayed = job_of(&test, &low).await;
    assert_eq!(
        (&delayed["position"], &delayed["estimated_start_at"]),
        (&Value::Null, &delayed["scheduled_at"])
    );
}

#[tokio::test]
async fn a_worker_counts_by_itself_and_probes_show_it() {
    let test = start().await;
    eventually("figures are kept", Duration::from_secs(30), async || {
        let kept = Figures::kept(&*test.app.state).await.unwrap();
        kept.is_some_and(|figures| figures.total.waiting == 0)
    })
    .await;
}

async fn image(test: &TestApp) -> String {
    let project = test.project(&test.admin_token, "plate").await;
    test.upload(&test.admin_token, &project, "a.png", pictures::png(1))
        .await
}

async fn submit(test: &TestApp, image: &str, priority: u8) -> String {
    let request = test
        .request(&test.admin_token, Method::POST, "/api/v1/jobs")
        .header("idempotency-key", unique_prefix())
        .json(&json!({ "image_id": image, "priority": priority }));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 202);
    text(&answer.json::<Value>().await.unwrap()["id"])
}

async fn job_of(test: &TestApp, id: &str) -> Value {
    test.get(&test.admin_token, &format!("/api/v1/jobs/{id}"))
        .await
}

async fn fail(test: &TestApp, claimed: &Claimed, permanent: bool) {
    let failure = Failure {
        error: JobError {
            class: "storage".into(),
            text: "a.png: the disk is elsewhere".into(),
        },
        permanent,
    };
    test.app.jobs.fail(claimed, &failure).await.unwrap();
}

fn empty_result() -> Segmentation {
    Segmentation {
        width: 256,
        height: 256,
        pixel_size: None,
        segmenter: "builtin".into(),
        objects: Vec::new(),
        note: Some("nothing there".into()),
        summary: None,
        simplified_px: None,
    }
}
