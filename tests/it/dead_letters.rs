//! Jobs that failed for good: who sees them, how they run again, how they go.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use spheroctl::db::{execute, on_tx, run_tx};
use spheroctl::domain::Error;
use spheroctl::domain::jobs::{Failure, JobError};
use spheroctl::files::file_key;

use crate::support::app::{
    Person, TestApp, start, start_without_worker, start_without_worker_with, text,
};
use crate::support::{eventually, pictures, unique_prefix};

const DEAD: &str = "/api/v1/dead-letters/jobs";
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_dead_job_runs_again_when_its_image_is_whole() {
    let test = start().await;
    let project = test.project(&test.admin_token, "plate").await;
    let token = &test.admin_token;
    let image = test
        .upload(token, &project, "damaged.png", pictures::damaged_png())
        .await;
    let job = test
        .request(token, Method::POST, "/api/v1/jobs")
        .header("idempotency-key", "k")
        .header("prefer", "wait=30")
        .json(&json!({ "image_id": image }));
    let job: Value = job.send().await.unwrap().json().await.unwrap();
    assert_eq!(job["status"], "dead", "{job}");
    let path = format!("{DEAD}/{}", text(&job["id"]));
    let letter = test.get(token, &path).await;
    assert_eq!(letter["error"]["class"], "bad_image");
    let attempt = &letter["attempts"][0];
    assert_eq!(
        (&attempt["attempt"], &attempt["outcome"]),
        (&json!(1), &json!("failed"))
    );
    assert_eq!(attempt["error"], letter["error"]);
    make_whole(&test, &project, &image).await;
    let answer = asked(&test, token, Method::POST, &format!("{path}/replay"), None).await;
    assert_eq!(answer.status(), 202);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(location, format!("/api/v1/jobs/{}", text(&job["id"])));
    let again: Value = answer.json().await.unwrap();
    assert_eq!(
        (&again["status"], &again["failures"], &again["error"]),
        (&json!("queued"), &json!(0), &Value::Null)
    );
    eventually("the job completes", SOON, async || {
        test.get(token, &location).await["status"] == "completed"
    })
    .await;
    let done = test.get(token, &location).await;
    assert_eq!(done["attempt"], 2, "the fencing token only rises");
    assert_eq!(status(&test, token, Method::GET, &path).await, 404);
    assert_eq!(listed(&test, token, "").await, Vec::<String>::new());
    assert_eq!(
        status(&test, token, Method::POST, &format!("{path}/replay")).await,
        409
    );
}

#[tokio::test]
async fn dead_letters_are_reached_by_role() {
    let test = start_without_worker().await;
    let ada = test.person("ada@example.org").await;
    let (project, jobs) = dead_jobs_of(&test, &ada, 1).await;
    let job = &jobs[0];
    let viewer = test.person("viewer@example.org").await;
    let members = format!("/api/v1/projects/{project}/members");
    let new = json!({ "email": "viewer@example.org", "role": "viewer" });
    let put = test.request(&ada.token, Method::PUT, &members).json(&new);
    assert_eq!(put.send().await.unwrap().status(), 200);
    let stranger = test.person("stranger@example.org").await;
    let one = format!("{DEAD}/{job}");
    let by_id = json!({ "ids": [job] });
    let by_filter = json!({ "filter": { "project": project } });
    let replay = format!("{one}/replay");
    let many = format!("{DEAD}/replay");
    let retry = format!("/api/v1/jobs/{job}/retry");
    let filtered = format!("{DEAD}?project={project}");
    for (who, token, seen, looked, changed) in [
        ("stranger", &stranger.token, 0, 404, 404),
        ("viewer", &viewer.token, 1, 200, 403),
    ] {
        assert_eq!(listed(&test, token, "").await.len(), seen, "{who}");
        for path in [&one, &filtered] {
            let got = status(&test, token, Method::GET, path).await;
            assert_eq!(got, looked, "{who} {path}");
        }
        for (method, path, body) in [
            (Method::POST, &replay, None),
            (Method::POST, &many, Some(&by_id)),
            (Method::POST, &many, Some(&by_filter)),
            (Method::POST, &retry, None),
            (Method::DELETE, &one, None),
        ] {
            let got = asked(&test, token, method, path, body).await.status();
            assert_eq!(got, changed, "{who} {path} {body:?}");
        }
        // A filter without a project finds nothing that may be changed.
        let all = json!({ "filter": {} });
        let answer = asked(&test, token, Method::POST, &many, Some(&all)).await;
        assert_eq!(answer.status(), 200, "{who}");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer, json!({ "items": [], "more": false }), "{who}");
    }
    let purge = format!("{DEAD}/purge");
    for person in [&ada, &viewer, &stranger] {
        let answer = asked(&test, &person.token, Method::POST, &purge, Some(&by_id)).await;
        assert_eq!(answer.status(), 403);
    }
    // The administrator is no member, and sees it all the same.
    assert_eq!(listed(&test, &test.admin_token, "").await, jobs);
    let answer = asked(&test, &test.admin_token, Method::POST, &many, Some(&by_id)).await;
    assert_eq!(answer.status(), 202);
}

#[tokio::test]
async fn many_are_replayed_at_once_or_none() {
    let test = start_without_worker().await;
    let ada = test.person("ada@example.org").await;
    let (project, jobs) = dead_jobs_of(&test, &ada, 5).await;
    let many = format!("{DEAD}/replay");
    let send = async |key: &str, body: Value| {
        let request = test.request(&ada.token, Method::POST, &many).json(&body);
        request.header("idempotency-key", key).send().await.unwrap()
    };
    let missing = test.request(&ada.token, Method::POST, &many);
    let missing = missing.json(&json!({ "ids": jobs })).send().await.unwrap();
    assert_eq!(missing.status(), 400);
    for wrong in [
        json!({}),
        json!({ "ids": [], "limit": 3 }),
        json!({ "ids": [jobs[0]], "filter": {} }),
        json!({ "filter": {}, "limit": 0 }),
        json!({ "filter": {}, "limit": 1_001 }),
        json!({ "filter": { "error_class": "a\u{0}" } }),
        json!({ "filter": { "colour": "red" } }),
    ] {
        assert_eq!(send("wrong", wrong.clone()).await.status(), 422, "{wrong}");
    }
    let first = send("k", json!({ "filter": {}, "limit": 2 })).await;
    assert_eq!(first.status(), 202);
    let first: Value = first.json().await.unwrap();
    assert_eq!(
        (ids(&first), &first["more"]),
        (jobs[..2].to_vec(), &json!(true))
    );
    let again = send("k", json!({ "limit": 2, "filter": {} })).await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(ids(&again.json().await.unwrap()), jobs[..2]);
    assert_eq!(send("k", json!({ "filter": {} })).await.status(), 422);
    // One of them waits already: the others stay dead.
    let mixed = send("mixed", json!({ "ids": [jobs[3], jobs[1]] })).await;
    assert_eq!(mixed.status(), 409);
    let problem: Value = mixed.json().await.unwrap();
    assert!(text(&problem["detail"]).contains(&jobs[1]), "{problem}");
    assert_eq!(listed(&test, &ada.token, "").await.len(), 3);
    let rest = send("rest", json!({ "ids": jobs[2..] })).await;
    assert_eq!(ids(&rest.json().await.unwrap()), jobs[2..]);
    // The queue was offered them, and their attempts rise.
    let claimed = test.claim(10).await;
    assert_eq!(claimed.len(), 5);
    assert!(claimed.iter().all(|claimed| claimed.job.attempt == 2));
    assert!(claimed.iter().all(|claimed| claimed.job.failures == 0));
    // Who is no member any more is told nothing of what the same request did before.
    let members = format!("/api/v1/projects/{project}/members");
    let owner = json!({ "email": "admin@localhost", "role": "owner" });
    let joined = asked(&test, &ada.token, Method::PUT, &members, Some(&owner)).await;
    assert_eq!(joined.status(), 200);
    let own = format!("{members}/{}", ada.id);
    assert_eq!(status(&test, &ada.token, Method::DELETE, &own).await, 204);
    let repeated = send("k", json!({ "filter": {}, "limit": 2 })).await;
    assert_eq!(repeated.status(), 404);
}

#[tokio::test]
async fn dead_letters_are_filtered_and_read_page_by_page() {
    let test = start_without_worker().await;
    let (ada, bob) = (
        test.person("ada@example.org").await,
        test.person("bob@example.org").await,
    );
    let (project, mut of_ada) = dead_jobs_of(&test, &ada, 3).await;
    let (_, of_bob) = dead_jobs_of(&test, &bob, 2).await;
    of_ada.reverse();
    let token = &test.admin_token;
    assert_eq!(listed(&test, &ada.token, "").await, of_ada);
    assert_eq!(listed(&test, &bob.token, "").await.len(), of_bob.len());
    for (query, expected) in [
        (format!("?project={project}"), 3),
        (format!("?owner={}", bob.id), 2),
        ("?error_class=bad_image".into(), 5),
        ("?error_class=timeout".into(), 0),
        ("?older_than_s=0".into(), 5),
        ("?older_than_s=3600".into(), 0),
    ] {
        assert_eq!(
            listed(&test, token, &query).await.len(),
            expected,
            "{query}"
        );
    }
    for wrong in ["?owner=bob", "?older_than_s=-1", "?limit=0", "?colour=red"] {
        let path = format!("{DEAD}{wrong}");
        assert_eq!(
            status(&test, token, Method::GET, &path).await,
            400,
            "{wrong}"
        );
    }
    let mut seen = Vec::new();
    let mut next = Some(format!("{DEAD}?limit=2&error_class=bad_image"));
    while let Some(path) = next {
        let answer = asked(&test, token, Method::GET, &path, None).await;
        let link = answer.headers().get("link").cloned();
        seen.extend(ids(&answer.json().await.unwrap()));
        next = link.map(|link| {
            let link = link.to_str().unwrap();
            link[1..link.find('>').unwrap()].to_owned()
        });
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted_by(|newer, older| newer > older), "{seen:?}");
}

#[tokio::test]
async fn a_purge_takes_rows_and_objects_and_leaves_images() {
    let test = start().await;
    let token = &test.admin_token;
    let project = test.project(token, "plate").await;
    let image = test
        .upload(token, &project, "many.png", pictures::many())
        .await;
    let job = test
        .request(token, Method::POST, "/api/v1/jobs")
        .header("idempotency-key", "k")
        .header("prefer", "wait=60")
        .json(&json!({ "image_id": image }));
    let job: Value = job.send().await.unwrap().json().await.unwrap();
    assert_eq!(job["status"], "completed", "{job}");
    let id = text(&job["id"]);
    let purge = async |body: Value| {
        let path = format!("{DEAD}/purge");
        let answer = asked(&test, token, Method::POST, &path, Some(&body)).await;
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.unwrap(),
        )
    };
    assert_eq!(purge(json!({ "ids": [id] })).await.0, 409, "it is not dead");
    let object = spheroctl::files::result_key(project.parse().unwrap(), id.parse().unwrap(), 1);
    assert!(test.app.files.size(&object).await.is_ok());
    // No job of ours is dead and has a result; one that a person repaired by hand may.
    change(&test, "update queue_jobs set status = 'dead'").await;
    let young = json!({ "filter": { "older_than_s": 3_600 } });
    let nothing = (200, json!({ "removed": 0, "more": false }));
    assert_eq!(purge(young).await, nothing);
    let one = (200, json!({ "removed": 1, "more": false }));
    assert_eq!(purge(json!({ "filter": { "older_than_s": 0 } })).await, one);
    assert!(test.app.files.size(&object).await.is_err());
    let path = format!("/api/v1/jobs/{id}");
    assert_eq!(status(&test, token, Method::GET, &path).await, 404);
    assert_eq!(count(&test, "select count(*) from job_attempts").await, 0);
    let path = format!("/api/v1/images/{image}/file");
    assert_eq!(status(&test, token, Method::GET, &path).await, 200);
}

#[tokio::test]
async fn one_is_removed_by_whoever_may_submit() {
    let test = start_without_worker().await;
    let ada = test.person("ada@example.org").await;
    let (_, jobs) = dead_jobs_of(&test, &ada, 2).await;
    let path = format!("{DEAD}/{}", jobs[0]);
    assert_eq!(status(&test, &ada.token, Method::DELETE, &path).await, 204);
    assert_eq!(status(&test, &ada.token, Method::DELETE, &path).await, 404);
    assert_eq!(listed(&test, &ada.token, "").await, jobs[1..]);
}

#[tokio::test]
async fn at_their_age_rows_without_a_result_go_and_results_stay() {
    let test = start().await;
    let token = &test.admin_token;
    let project = test.project(token, "plate").await;
    let (good, bad) = (
        test.upload(token, &project, "a.png", pictures::png(1))
            .await,
        test.upload(token, &project, "b.png", pictures::damaged_png())
            .await,
    );
    let mut jobs = Vec::new();
    for (image, status) in [(&good, "completed"), (&bad, "dead"), (&bad, "dead")] {
        let job = test
            .request(token, Method::POST, "/api/v1/jobs")
            .header("idempotency-key", unique_prefix())
            .header("prefer", "wait=30")
            .json(&json!({ "image_id": image }));
        let job: Value = job.send().await.unwrap().json().await.unwrap();
        assert_eq!(job["status"], status, "{job}");
        jobs.push(format!("/api/v1/jobs/{}", text(&job["id"])));
    }
    assert_eq!(test.app.jobs.forget_ended().await.unwrap(), 0, "all young");
    // One of the dead ones stays young.
    let young: uuid::Uuid = jobs[2].rsplit('/').next().unwrap().parse().unwrap();
    let aged = run_tx!(test.app.db, "test", |tx| -> Result<u64, Error> {
        const JOBS: &str = "update queue_jobs set finished_at = $1 where id <> $2";
        const RUNS: &str = "update job_attempts set ended_at = $1 where job_id <> $2";
        let old = test.app.clock.now() - Duration::from_secs(91 * 86_400);
        let jobs = execute!(tx, JOBS, old, young).map_err(spheroctl::db::Error::from)?;
        let runs = execute!(tx, RUNS, old, young).map_err(spheroctl::db::Error::from)?;
        Ok(jobs + runs)
    });
    assert_eq!(aged.unwrap(), 4);
    assert_eq!(test.app.jobs.forget_ended().await.unwrap(), 1);
    let result = format!("{}/result", jobs[0]);
    for (path, expected) in [(&result, 200), (&jobs[1], 404), (&jobs[2], 200)] {
        assert_eq!(
            status(&test, token, Method::GET, path).await,
            expected,
            "{path}"
        );
    }
    assert_eq!(count(&test, "select count(*) from job_attempts").await, 1);
}

#[tokio::test]
async fn nothing_is_forgotten_where_that_is_set() {
    let test = start_without_worker_with(&[("queue.keep_ended_s", "0")]).await;
    let ada = test.person("ada@example.org").await;
    dead_jobs_of(&test, &ada, 1).await;
    change(
        &test,
        "update queue_jobs set finished_at = '1999-12-31T00:00:00+00:00'",
    )
    .await;
    assert_eq!(test.app.jobs.forget_ended().await.unwrap(), 0);
    assert_eq!(listed(&test, &ada.token, "").await.len(), 1);
}

async fn make_whole(test: &TestApp, project: &str, image: &str) {
    let image = test
        .get(&test.admin_token, &format!("/api/v1/images/{image}"))
        .await;
    let key = file_key(
        project.parse().unwrap(),
        text(&image["file"]).parse().unwrap(),
    );
    let whole = pictures::png(1).into();
    test.app.files.put_bytes(&key, whole).await.unwrap();
}

/// A project of this person's and its dead jobs, the oldest first. Nobody else may take jobs meanwhile.
async fn dead_jobs_of(test: &TestApp, person: &Person, count: usize) -> (String, Vec<String>) {
    let project = test.project(&person.token, "plate").await;
    let image = test
        .upload(&person.token, &project, "a.png", pictures::png(1))
        .await;
    let jobs = vec![json!({ "image_id": image }); count];
    let request = test
        .request(&person.token, Method::POST, "/api/v1/jobs/batch")
        .header("idempotency-key", unique_prefix())
        .json(&json!({ "jobs": jobs }));
    let made: Value = request.send().await.unwrap().json().await.unwrap();
    let claimed = test.claim(count).await;
    assert_eq!(claimed.len(), count);
    for claimed in &claimed {
        let failure = Failure {
            error: JobError {
                class: "bad_image".into(),
                text: "a.png: it is dark in there".into(),
            },
            permanent: true,
        };
        test.app.jobs.fail(claimed, &failure).await.unwrap();
    }
    // As a worker does with its next claim: the queue hears that they have ended.
    test.claim(0).await;
    let mut made = ids(&made);
    made.sort();
    (project, made)
}

async fn asked(
    test: &TestApp,
    token: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Response {
    let request = test.request(token, method, path);
    let request = request.header("idempotency-key", unique_prefix());
    match body {
        Some(body) => request.json(body).send().await.unwrap(),
        None => request.send().await.unwrap(),
    }
}

async fn status(test: &TestApp, token: &str, method: Method, path: &str) -> u16 {
    let answer = asked(test, token, method, path, None).await;
    answer.status().as_u16()
}

async fn listed(test: &TestApp, token: &str, query: &str) -> Vec<String> {
    ids(&test.get(token, &format!("{DEAD}{query}")).await)
}

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list");
    items.iter().map(|item| text(&item["id"])).collect()
}

async fn change(test: &TestApp, statement: &'static str) {
    let changed = run_tx!(test.app.db, "test", |tx| -> Result<u64, Error> {
        Ok(execute!(tx, statement).map_err(spheroctl::db::Error::from)?)
    });
    assert!(changed.unwrap() > 0, "{statement}");
}

async fn count(test: &TestApp, statement: &'static str) -> i64 {
    let mut tx = test.app.db.reader().await.unwrap();
    on_tx!(tx, |conn| sqlx::query_scalar(statement)
        .fetch_one(conn)
        .await)
    .unwrap()
}
