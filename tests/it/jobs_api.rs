//! Jobs over HTTP: asked for once, waited for, stopped.

use std::time::Duration;

use chrono::TimeDelta;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use spheroctl::kit::clock::{Clock, SystemClock};

use crate::support::app::{
    TestApp, start, start_with, start_without_worker, start_without_worker_with, text,
};
use crate::support::{eventually, pictures};

/// A segmentation of a small picture, on a machine that does other things too.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn without_a_wish_to_wait_the_answer_says_where_to_look() {
    let test = start().await;
    let image = image(&test, "a.png", pictures::png(1)).await;
    let answer = submitting(&test, "one", json!({ "image_id": image }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.headers()["retry-after"], "1");
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(
        location,
        format!(
            "/api/v1/jobs/{}",
            text(&answer.json::<Value>().await.unwrap()["id"])
        )
    );
    eventually("the job completes", SOON, async || {
        test.get(&test.admin_token, &location).await["status"] == "completed"
    })
    .await;
}

#[tokio::test]
async fn a_job_is_made_once_for_each_key() {
    let test = start_without_worker().await;
    let image = image(&test, "a.png", pictures::png(1)).await;
    let missing = test
        .request(&test.admin_token, Method::POST, "/api/v1/jobs")
        .json(&json!({ "image_id": image }));
    let missing = missing.send().await.unwrap();
    assert_eq!(missing.status(), 400);
    let first = submitting(&test, "k1", json!({ "image_id": image }))
        .send()
        .await
        .unwrap();
    assert_eq!(first.status(), 202);
    // The same request in other words.
    let again = submitting(&test, "\"k1\"", json!({ "page": 0, "image_id": image }))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            again.status().as_u16(),
            &again.headers()["idempotent-replayed"]
        ),
        (202, &"true".parse().unwrap())
    );
    let ids = (
        first.json::<Value>().await.unwrap(),
        again.json::<Value>().await.unwrap(),
    );
    assert_eq!(ids.0["id"], ids.1["id"]);
    let other = json!({ "image_id": image, "priority": 2 });
    assert_eq!(
        submitting(&test, "k1", other)
            .send()
            .await
            .unwrap()
            .status(),
        422
    );
    // Another person's key is another key.
    let twins = (0..8).map(|_| submitting(&test, "k2", json!({ "image_id": image })).send());
    let mut made = Vec::new();
    for twin in futures::future::join_all(twins).await {
        let twin = twin.unwrap();
        match twin.status().as_u16() {
            202 => made.push(text(&twin.json::<Value>().await.unwrap()["id"])),
            status => assert_eq!(
                (status, &twin.headers()["retry-after"]),
                (409, &"1".parse().unwrap())
            ),
        }
    }
    assert!(!made.is_empty());
    assert!(made.iter().all(|id| *id == made[0]), "{made:?}");
    assert_eq!(jobs(&test, "").await.len(), 2);
}

#[tokio::test]
async fn a_batch_is_made_whole_or_not_at_all() {
    let test = start_without_worker().await;
    let image = image(&test, "a.png", pictures::png(1)).await;
    let job = |page: u64| json!({ "image_id": image, "page": page });
    let bad = batch(&test, "bad", vec![job(0), job(7)])
        .send()
        .await
        .unwrap();
    assert_eq!(bad.status(), 422);
    assert_eq!(
        bad.json::<Value>().await.unwrap()["errors"][0]["pointer"],
        "/jobs/1/page"
    );
    let lone = submitting(&test, "lone", job(7)).send().await.unwrap();
    assert_eq!(
        lone.json::<Value>().await.unwrap()["errors"][0]["pointer"],
        "/page"
    );
    assert_eq!(
        batch(&test, "none", Vec::new())
            .send()
            .await
            .unwrap()
            .status(),
        422
    );
    assert_eq!(jobs(&test, "").await.len(), 0);
    let good = batch(&test, "good", vec![job(0), job(0), job(0)])
        .send()
        .await
        .unwrap();
    assert_eq!(good.status(), 202);
    assert_eq!(
        good.json::<Value>().await.unwrap()["items"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert_eq!(jobs(&test, "?status=queued&limit=2").await.len(), 2);
    assert_eq!(jobs(&test, "?status=dead").await.len(), 0);
    let unknown = test.request(
        &test.admin_token,
        Method::GET,
        &format!("{}?status=gone", list(&test).await),
    );
    assert_eq!(unknown.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_waiting_job_is_stopped_at_once_and_has_no_result() {
    let test = start_without_worker().await;
    let image = image(&test, "a.png", pictures::png(1)).await;
    let base = submitted(&test, &image).await;
    let result = || async {
        let answer = test
            .request(&test.admin_token, Method::GET, &format!("{base}/result"))
            .send()
            .await
            .unwrap();
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.unwrap(),
        )
    };
    let (status, problem) = result().await;
    assert_eq!(
        (status, &problem["status"], &problem["retryable"]),
        (409, &json!("queued"), &json!(true))
    );
    let stopped = test
        .request(&test.admin_token, Method::POST, &format!("{base}/cancel"))
        .send()
        .await
        .unwrap();
    assert_eq!(stopped.status(), 200);
    assert_eq!(
        stopped.json::<Value>().await.unwrap()["status"],
        "cancelled"
    );
    assert_eq!(result().await.0, 404);
}

#[tokio::test]
async fn a_job_that_was_stopped_runs_again_on_wish() {
    let test = start_without_worker().await;
    let image = image(&test, "a.png", pictures::png(1)).await;
    let base = submitted(&test, &image).await;
    let post = |token: &str, what: &str, key: &str| {
        let request = test.request(token, Method::POST, &format!("{base}/{what}"));
        request.header("idempotency-key", key).send()
    };
    let token = &test.admin_token;
    let refused = post(token, "retry", "early").await.unwrap();
    assert_eq!(refused.status(), 409);
    let problem: Value = refused.json().await.unwrap();
    assert!(text(&problem["detail"]).contains("waits"), "{problem}");
    assert_eq!(post(token, "cancel", "").await.unwrap().status(), 200);
    let without_key = test.request(token, Method::POST, &format!("{base}/retry"));
    assert_eq!(without_key.send().await.unwrap().status(), 400);
    let again = post(token, "retry", "r").await.unwrap();
    assert_eq!(again.status(), 202);
    assert_eq!(again.headers()["location"], base.as_str());
    let again: Value = again.json().await.unwrap();
    assert_eq!(
        (&again["status"], &again["cancel_requested"]),
        (&json!("queued"), &json!(false))
    );
    assert_eq!(again["finished_at"], Value::Null);
    let claimed = test.claim(5).await;
    assert_eq!(claimed.len(), 1, "the queue was offered it");
    let twice = post(token, "retry", "r").await.unwrap();
    assert_eq!(twice.headers()["idempotent-replayed"], "true");
    assert_eq!(twice.json::<Value>().await.unwrap()["status"], "running");
    assert_eq!(post(token, "retry", "late").await.unwrap().status(), 409);
}

#[tokio::test]
async fn a_job_with_its_result_is_not_run_again() {
    let test = start().await;
    let image = image(&test, "a.png", pictures::png(1)).await;
    let request = submitting(&test, "k", json!({ "image_id": image })).header("prefer", "wait=30");
    let job: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(job["status"], "completed");
    let path = format!("/api/v1/jobs/{}/retry", text(&job["id"]));
    let retry = test.request(&test.admin_token, Method::POST, &path);
    let retry = retry.header("idempotency-key", "r").send().await.unwrap();
    assert_eq!(retry.status(), 409);
    let problem: Value = retry.json().await.unwrap();
    assert!(text(&problem["detail"]).contains("result"), "{problem}");
}

#[tokio::test]
async fn whoever_has_too_much_waiting_is_told_to_come_back() {
    let test = start_without_worker_with(&[("queue.owner_waiting_max", "2")]).await;
    let image = image(&test, "a.png", pictures::png(1)).await;
    let job = json!({ "image_id": image });
    let both = || batch(&test, "both", vec![job.clone(), job.clone()]).send();
    assert_eq!(both().await.unwrap().status(), 202);
    let refused = submitting(&test, "more", job.clone()).send().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: Value = refused.json().await.unwrap();
    assert!(
        text(&problem["detail"]).contains("2 of your jobs wait"),
        "{problem}"
    );
    let again = both().await.unwrap();
    assert_eq!(
        again.status(),
        202,
        "what was accepted is not refused later"
    );
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(jobs(&test, "").await.len(), 2);
}

#[tokio::test]
async fn a_job_for_later_is_not_run_before() {
    let test = start_without_worker().await;
    let image = image(&test, "a.png", pictures::png(1)).await;
    let at = |key: &str, hours: i64| {
        let due = SystemClock.now() + TimeDelta::hours(hours);
        submitting(
            &test,
            key,
            json!({ "image_id": image, "scheduled_at": due }),
        )
        .send()
    };
    let later: Value = at("later", 1).await.unwrap().json().await.unwrap();
    let past: Value = at("past", -1).await.unwrap().json().await.unwrap();
    let claimed = test.claim(5).await;
    let claimed: Vec<String> = claimed.iter().map(|run| run.job.id.to_string()).collect();
    assert_eq!(claimed, [text(&past["id"])]);
    let path = format!("/api/v1/jobs/{}", text(&later["id"]));
    let shown = test.get(&test.admin_token, &path).await;
    assert_eq!(shown["estimated_start_at"], later["scheduled_at"]);
    assert_eq!(at("never", 24 * 31).await.unwrap().status(), 422);
}

#[tokio::test]
async fn a_wait_has_an_end() {
    let test = start_without_worker().await;
    let image = image(&test, "a.png", pictures::png(1)).await;
    let began = tokio::time::Instant::now();
    let request = submitting(&test, "k", json!({ "image_id": image })).header("prefer", "wait=1");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.json::<Value>().await.unwrap()["status"], "queued");
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(10),
        "{took:?}"
    );
}

#[tokio::test]
async fn with_the_queue_off_every_answer_waits_for_the_result() {
    let off = ("queue.enabled", "false");
    let test = start_with(&[off]).await;
    let image_id = image(&test, "a.png", pictures::png(1)).await;
    let job = json!({ "image_id": image_id });
    let answer = submitting(&test, "k", job.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["preference-applied"], "wait=60");
    assert_eq!(answer.json::<Value>().await.unwrap()["status"], "completed");
    let answer = batch(&test, "b", vec![job.clone(), job])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let jobs: Value = answer.json().await.unwrap();
    let completed = |job: &&Value| job["status"] == "completed";
    assert_eq!(
        jobs["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(completed)
            .count(),
        2
    );
    // The job is queued all the same: one that nobody takes is there after the wait.
    let test = start_without_worker_with(&[off, ("queue.wait_max_ms", "300")]).await;
    let image_id = image(&test, "a.png", pictures::png(1)).await;
    let job = json!({ "image_id": image_id });
    // A client that wishes to wait longer waits no longer, and one that does not wish to waits, too.
    for (key, wish) in [("k1", "wait=50"), ("k2", "respond-async")] {
        let answer = submitting(&test, key, job.clone())
            .header("prefer", wish)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 202);
        assert_eq!(answer.headers()["preference-applied"], "wait=0");
        assert_eq!(answer.json::<Value>().await.unwrap()["status"], "queued");
    }
}

#[tokio::test]
async fn an_image_that_cannot_be_decoded_ends_its_job_with_the_reason() {
    let test = start().await;
    let image = image(&test, "damaged.png", pictures::damaged_png()).await;
    let request = submitting(&test, "k", json!({ "image_id": image })).header("prefer", "wait=30");
    let job: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&job["status"], &job["error"]["class"]),
        (&json!("dead"), &json!("bad_image")),
        "{job}"
    );
    let path = format!("/api/v1/jobs/{}/overlay.png", text(&job["id"]));
    let answer = test
        .request(&test.admin_token, Method::GET, &path)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 404);
    let problem: Value = answer.json().await.unwrap();
    assert!(
        text(&problem["detail"]).contains(&text(&job["error"]["text"])),
        "{problem}"
    );
}

#[tokio::test]
async fn priorities_and_the_queue_are_for_those_who_may() {
    let test = start_without_worker().await;
    let ada = test.person("ada@example.org").await;
    let project = test.project(&ada.token, "plate").await;
    let image = test
        .upload(&ada.token, &project, "a.png", pictures::png(1))
        .await;
    for (priority, status) in [(5, 202), (6, 403), (11, 422)] {
        let request = test.request(&ada.token, Method::POST, "/api/v1/jobs");
        let request = request.header("idempotency-key", format!("p{priority}"));
        let answer = request
            .json(&json!({ "image_id": image, "priority": priority }))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{priority}");
    }
    let depth = test.get(&test.admin_token, "/api/v1/queue").await;
    assert_eq!(depth, json!({ "waiting": 1, "delayed": 0, "active": 0 }));
    let refused = test
        .request(&ada.token, Method::GET, "/api/v1/queue")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 403);
}

#[tokio::test]
async fn a_misspelt_or_impossible_parameter_is_refused_by_name() {
    let test = start_without_worker().await;
    let image = image(&test, "a.png", pictures::png(1)).await;
    for (key, parameters, pointer) in [
        ("a", json!({ "smoothing": 3 }), "/parameters/smoothing"),
        (
            "b",
            json!({ "smoothing_px": 99 }),
            "/parameters/smoothing_px",
        ),
    ] {
        let body = json!({ "image_id": image, "parameters": parameters });
        let answer = submitting(&test, key, body).send().await.unwrap();
        assert_eq!(answer.status(), 422);
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    assert_eq!(jobs(&test, "").await.len(), 0);
}

/// A new image in the administrator's project.
pub async fn image(test: &TestApp, name: &str, bytes: Vec<u8>) -> String {
    let project = test.project(&test.admin_token, "plate").await;
    test.upload(&test.admin_token, &project, name, bytes).await
}

/// A request for a job, by the administrator.
pub fn submitting(test: &TestApp, key: &str, job: Value) -> RequestBuilder {
    test.request(&test.admin_token, Method::POST, "/api/v1/jobs")
        .header("idempotency-key", key)
        .json(&job)
}

/// Where a new job on this image is shown.
async fn submitted(test: &TestApp, image: &str) -> String {
    let request = submitting(test, "k", json!({ "image_id": image }));
    let job: Value = request.send().await.unwrap().json().await.unwrap();
    format!("/api/v1/jobs/{}", text(&job["id"]))
}

fn batch(test: &TestApp, key: &str, jobs: Vec<Value>) -> RequestBuilder {
    let request = test.request(&test.admin_token, Method::POST, "/api/v1/jobs/batch");
    request
        .header("idempotency-key", key)
        .json(&json!({ "jobs": jobs }))
}

/// Where the jobs of the only project are listed.
async fn list(test: &TestApp) -> String {
    let projects = test.get(&test.admin_token, "/api/v1/projects").await;
    format!(
        "/api/v1/projects/{}/jobs",
        text(&projects["items"][0]["id"])
    )
}

async fn jobs(test: &TestApp, query: &str) -> Vec<Value> {
    let listed = test
        .get(&test.admin_token, &format!("{}{query}", list(test).await))
        .await;
    listed["items"].as_array().unwrap().clone()
}
