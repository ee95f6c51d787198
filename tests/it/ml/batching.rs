//! Small images of one owner share a call.

use reqwest::Method;
use serde_json::json;

use super::{Lab, Model, SOON, areas};
use crate::support::services::spheroseg_url;
use crate::support::{eventually, pictures};

async fn lab(model: &Model, window_ms: &str) -> Lab {
    Lab::new(&[
        ("ml.segmenter", "spheroseg"),
        ("ml.url", &spheroseg_url()),
        ("ml.model", &model.name),
        ("ml.batch_window_ms", window_ms),
        ("worker.concurrency", "8"),
        ("queue.renew_interval_ms", "100"),
        ("queue.lease_ms", "10000"),
    ])
    .await
}

#[tokio::test]
async fn images_that_come_together_go_together_and_each_gets_its_own_result() {
    let model = Model::that("otsu").await;
    let lab = lab(&model, "2000").await;
    let mut images = Vec::new();
    for seed in 1..=4 {
        images.push(lab.upload("a.png", pictures::png(seed)).await);
    }
    let pages: Vec<_> = images.iter().map(|image| (image.as_str(), 0)).collect();
    let jobs = lab.submit(&pages).await;
    let mut together = Vec::new();
    for job in &jobs {
        together.push(areas(&lab.result(job).await));
    }
    let asked = model.asked().await;
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0]["files"].as_array().unwrap().len(), 4);
    // Sent alone afterwards, each has the same objects.
    for (page, areas_together) in pages.iter().zip(&together) {
        let job = lab.submit(&[*page]).await.remove(0);
        assert_eq!(&areas(&lab.result(&job).await), areas_together);
    }
    assert_eq!(model.asked().await.len(), 5);
}

#[tokio::test]
async fn who_is_cancelled_takes_no_other_along() {
    let model = Model::that("otsu").await;
    // As long as a window may be: the cancellation is heard within it.
    let lab = lab(&model, "10000").await;
    let image = lab.upload("a.png", pictures::png(1)).await;
    let jobs = lab.submit(&[(&image, 0), (&image, 0), (&image, 0)]).await;
    eventually("all run", SOON, async || {
        let mut running = 0;
        for job in &jobs {
            running += usize::from(lab.job(job).await["status"] == "running");
        }
        running == 3
    })
    .await;
    // The first one opened the group.
    let path = format!("/api/v1/jobs/{}/cancel", jobs[0]);
    let test = &lab.test;
    let request = test.request(&test.admin_token, Method::POST, &path);
    let request = request.header("idempotency-key", crate::support::unique_prefix());
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    assert_eq!(lab.ended(&jobs[0]).await["status"], "cancelled");
    for job in &jobs[1..] {
        assert!(areas(&lab.result(job).await).len() >= 3);
    }
    let asked = model.asked().await;
    let files: Vec<_> = asked
        .iter()
        .map(|request| request["files"].clone())
        .collect();
    assert_eq!(files, [json!(["image-0.png", "image-1.png"])]);
}
