//! What a service that does not work means for the jobs: they wait or are done by builtin, and the breaker lets the
//! service rest.

use serde_json::{Value, json};
use spheroctl::domain::push::{Channel, SystemMessage, Told};
use spheroctl::kit::breaker::State;
use spheroctl::state::Delivery;
use spheroctl::state::feed::Heard;

use super::{Lab, Model, SOON};
use crate::support::product::Product;
use crate::support::services::spheroseg_url;
use crate::support::{eventually, pictures};

/// What the breaker's rules allow before it opens.
const CALLS_MAX: usize = 20;

/// The product in front of this model, each image in a call of its own, with a breaker that tries again each second.
async fn lab(model: &Model, more: &[(&str, &str)]) -> Lab {
    let url = spheroseg_url();
    let mut settings = vec![
        ("ml.segmenter", "spheroseg"),
        ("ml.url", url.as_str()),
        ("ml.model", model.name.as_str()),
        ("ml.batch_max", "1"),
        ("ml.breaker_open_ms", "1000"),
        ("queue.retry_cap_ms", "1000"),
    ];
    settings.extend(more);
    Lab::new(&settings).await
}

#[tokio::test]
async fn jobs_wait_without_attempts_and_run_when_the_service_is_back() {
    let model = Model::that("503").await;
    let lab = lab(&model, &[]).await;
    let mut told = lab
        .test
        .app
        .state
        .subscribe(&Channel::System.key())
        .await
        .unwrap();
    let image = lab.upload("a.png", pictures::png(1)).await;
    let jobs = lab.submit(&vec![(image.as_str(), 0); 12]).await;
    let opened = next_state(&mut *told).await;
    let calls = model.asked().await.len();
    assert!(
        (5..=CALLS_MAX).contains(&calls),
        "{calls} calls before it opened"
    );
    assert_eq!(opened, State::Open);
    assert_eq!(next_state(&mut *told).await, State::HalfOpen, "it probes");
    model.now("otsu").await;
    for job in &jobs {
        lab.result(job).await;
        let job = lab.job(job).await;
        assert_eq!(job["failures"], 0, "{job}");
    }
    let mut state = State::HalfOpen;
    while state != State::Closed {
        state = next_state(&mut *told).await;
    }
}

async fn next_state(told: &mut dyn spheroctl::state::Subscription) -> State {
    let message = tokio::time::timeout(SOON, told.next()).await;
    let Some(Delivery::Message(payload)) = message.expect("a message in time") else {
        panic!("a message is expected");
    };
    let heard = Heard::read(&payload).expect("a message of a channel");
    let Ok(Told::Said { data, .. }) = Told::read(&heard.payload) else {
        panic!("something said");
    };
    let message: SystemMessage = serde_json::from_str(data.get()).expect("a message");
    let SystemMessage::Breaker { name, state, .. } = message;
    assert_eq!(name, "ml");
    state
}

#[tokio::test]
async fn builtin_does_the_work_where_it_may_and_the_result_says_so() {
    let model = Model::that("503").await;
    let lab = lab(&model, &[("ml.fallback", "builtin")]).await;
    let image = lab.upload("a.png", pictures::png(1)).await;
    for job in lab.submit(&vec![(image.as_str(), 0); 30]).await {
        let result = lab.result(&job).await;
        assert_eq!(result["segmenter"], "builtin");
        let note = result["note"].as_str().expect("a note");
        assert!(note.contains("remote segmenter was away"), "{note}");
        let job = lab.job(&job).await;
        assert_eq!(
            (&job["segmenter"], &job["attempt"]),
            (&json!("builtin"), &json!(1))
        );
    }
    let calls = model.asked().await.len();
    assert!(calls <= CALLS_MAX, "{calls} calls");
}

#[tokio::test]
async fn a_service_that_hangs_holds_no_job_for_longer_than_its_time() {
    let model = Model::that("hang").await;
    let more = [("ml.fallback", "builtin"), ("ml.timeout_ms", "500")];
    let lab = lab(&model, &more).await;
    let image = lab.upload("a.png", pictures::png(1)).await;
    for job in lab.submit(&vec![(image.as_str(), 0); 12]).await {
        lab.result(&job).await;
    }
    let calls = model.asked().await.len();
    assert!(calls <= CALLS_MAX, "{calls} calls");
}

#[tokio::test]
async fn an_image_that_is_refused_is_dead_at_once_and_no_sign_against_the_service() {
    let model = Model::that("422").await;
    let lab = lab(&model, &[]).await;
    let image = lab.upload("a.png", pictures::png(1)).await;
    for job in lab.submit(&vec![(image.as_str(), 0); 25]).await {
        let job = lab.ended(&job).await;
        assert_eq!(
            (&job["status"], &job["attempt"]),
            (&json!("dead"), &json!(1))
        );
        assert_eq!(job["error"]["class"], "bad_image", "{job}");
        let why = job["error"]["text"].as_str().expect("a sentence");
        assert!(why.starts_with("a.png: ") && why.contains("422"), "{why}");
    }
    assert_eq!(model.asked().await.len(), 25, "none was held back");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_uses_up_the_attempts() {
    let model = Model::that("html").await;
    let lab = lab(&model, &[("ml.breaker_consecutive_failures", "1000")]).await;
    let image = lab.upload("a.png", pictures::png(1)).await;
    let job = lab.submit(&[(&image, 0)]).await.remove(0);
    let job = lab.ended(&job).await;
    assert_eq!(
        (&job["status"], &job["failures"]),
        (&json!("dead"), &json!(3))
    );
    assert_eq!(job["error"]["class"], "ml_answer", "{job}");
}

#[tokio::test]
async fn operators_see_the_breaker() {
    let model = Model::that("503").await;
    let url = spheroseg_url();
    let product = Product::embedded(&[
        ("ml.segmenter", "spheroseg"),
        ("ml.url", &url),
        ("ml.model", &model.name),
        ("ml.batch_max", "1"),
        ("ml.fallback", "builtin"),
    ]);
    let server = product.start("standalone", &[]).await;
    let lab = product.lab(&server).await;
    assert_eq!(server.probe("/health/services/ml").await, Some(200));
    assert_eq!(server.metric("spheroctl_breaker_state").await, 0.0);
    let image = lab.upload("a.png", pictures::png(1)).await;
    lab.submit(&image, 8).await;
    eventually("the breaker opens", SOON, async || {
        server.metric("spheroctl_breaker_state").await == 2.0
    })
    .await;
    assert_eq!(
        server.metric("spheroctl_breaker_transitions_total").await,
        1.0
    );
    eventually("the service is shown as away", SOON, async || {
        server.probe("/health/services/ml").await == Some(503)
    })
    .await;
    // A shared service that is away makes no copy unready.
    assert_eq!(server.probe("/readyz").await, Some(200));
    eventually("builtin has done all", SOON, async || {
        server.metric("spheroctl_ml_fallbacks_total").await == 8.0
    })
    .await;
}

#[tokio::test]
async fn a_million_polygons_take_no_memory() {
    let url = spheroseg_url();
    let product = Product::embedded(&[
        ("ml.segmenter", "spheroseg"),
        ("ml.url", &url),
        ("ml.model", "million"),
        ("ml.batch_max", "1"),
        ("ml.response_bytes_max", "16777216"),
        ("queue.failures_max", "1"),
    ]);
    let server = product.start("standalone", &[]).await;
    let lab = product.lab(&server).await;
    let image = lab.upload("a.png", pictures::png(1)).await;
    let before = server.peak_memory();
    let jobs = lab.submit(&image, 3).await;
    for id in jobs {
        let mut job = Value::Null;
        eventually("the job is dead", SOON, async || {
            job = lab.get(&format!("/api/v1/jobs/{id}")).await;
            job["status"] == "dead"
        })
        .await;
        assert_eq!(job["error"]["class"], "ml_answer", "{job}");
    }
    let grown = server.peak_memory() - before;
    println!(
        "three answers of 83 MB: the peak rose by {} MiB",
        grown >> 20
    );
    // Three at once, each cut at 16 MiB, in buffers that double.
    assert!(grown < 160 << 20, "{} MiB", grown >> 20);
}

#[tokio::test]
async fn nobody_at_the_address_is_waited_for_and_a_waiting_job_can_be_cancelled() {
    let lab = Lab::new(&[
        ("ml.segmenter", "auto"),
        // Port 9 (discard) is served by nobody here.
        ("ml.url", "http://127.0.0.1:9"),
        ("ml.connect_timeout_ms", "500"),
        ("queue.renew_interval_ms", "100"),
    ])
    .await;
    let image = lab.upload("a.png", pictures::png(1)).await;
    let job = lab.submit(&[(&image, 0)]).await.remove(0);
    eventually("it has been tried twice", SOON, async || {
        lab.job(&job).await["attempt"].as_i64() >= Some(2)
    })
    .await;
    let state = lab.job(&job).await;
    assert_eq!(
        (&state["failures"], &state["error"]),
        (&json!(0), &Value::Null)
    );
    let test = &lab.test;
    let path = format!("/api/v1/jobs/{job}/cancel");
    let request = test.request(&test.admin_token, reqwest::Method::POST, &path);
    let key = crate::support::unique_prefix();
    request.header("idempotency-key", key).send().await.unwrap();
    assert_eq!(lab.ended(&job).await["status"], "cancelled");
}
