//! What the projector makes of facts, over HTTP: the feed and the sums of projects and people.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{start, text};
use crate::support::product::{Lab, Product};
use crate::support::{eventually, pictures, unique_prefix};

const SOON: Duration = Duration::from_secs(60);

/// Memberships of this installation's projects in its feeds; the topics are shared by all tests.
const MEMBERSHIPS: &str = "
    select count(*) from activities
    where kind = 'member.added' and project_id in (select id from projects)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_has_a_feed_and_sums_that_strangers_do_not_see() {
    let test = start().await;
    let person = test.person("a@example.org").await;
    let project = test.project(&person.token, "one").await;
    let picture = pictures::png(1);
    let bytes = picture.len();
    let image = test.upload(&person.token, &project, "a.png", picture).await;
    let submit = test
        .request(&person.token, Method::POST, "/api/v1/jobs")
        .header("idempotency-key", unique_prefix())
        .json(&json!({ "image_id": image }));
    assert_eq!(submit.send().await.expect("an answer").status(), 202);
    let statistics = format!("/api/v1/projects/{project}/statistics");
    eventually("the job is counted", SOON, async || {
        test.get(&person.token, &statistics).await["jobs_completed"] == 1
    })
    .await;
    for path in [&statistics[..], "/api/v1/users/me/statistics"] {
        let sums = test.get(&person.token, path).await;
        for (name, expected) in [
            ("images", 1),
            ("image_bytes", bytes),
            ("jobs_submitted", 1),
            ("jobs_dead", 0),
            ("segmentations", 1),
        ] {
            assert_eq!(sums[name], expected, "{path} {name}: {sums}");
        }
    }
    let feed = format!("/api/v1/projects/{project}/activity");
    let mut kinds = Vec::new();
    let mut page = test.get(&person.token, &format!("{feed}?limit=2")).await;
    loop {
        kinds.extend(page["items"].as_array().unwrap().iter().map(kind));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        let path = format!("{feed}?limit=2&cursor={cursor}");
        page = test.get(&person.token, &path).await;
    }
    kinds.sort_unstable();
    let expected = [
        "file.stored",
        "job.completed",
        "job.submitted",
        "member.added",
    ];
    assert_eq!(kinds, expected);
    let stranger = test.person("b@example.org").await;
    for path in [&feed, &statistics] {
        let answer = test
            .request(&stranger.token, Method::GET, path)
            .send()
            .await;
        assert_eq!(answer.expect("an answer").status(), 404, "{path}");
    }
    let nothing = test
        .get(&stranger.token, "/api/v1/users/me/statistics")
        .await;
    assert_eq!(nothing["images"], 0);
}

/// The projector of three workers has 18 partitions. One worker is killed while facts come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_the_projector_and_take_over_from_a_killed_one() {
    let product = Product::scaled(&[]).await;
    let server = product.start("serve", &[]).await;
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(product.start("worker", &[]).await);
    }
    let lab = product.lab(&server).await;
    eventually("each has six", SOON, async || {
        shares(&lab).await == [6, 6, 6]
    })
    .await;
    projects(&lab, 30).await;
    workers[1].kill().await;
    let killed_at = tokio::time::Instant::now();
    projects(&lab, 30).await;
    eventually("each has nine", SOON, async || shares(&lab).await == [9, 9]).await;
    println!("seen by all after {:?}", killed_at.elapsed());
    // The sixty, and the one that the client has from its start.
    product.reaches(MEMBERSHIPS, 61, SOON).await;
}

/// How many partitions of the projector each live instance says that it reads, the fewest first.
async fn shares(lab: &Lab) -> Vec<usize> {
    let backbone = lab.get("/api/v1/kafka/metrics").await;
    let groups = backbone["groups"].as_array().expect("groups");
    let projector = groups.iter().find(|it| it["group"] == "projector");
    let instances = projector.and_then(|it| it["instances"].as_array());
    let mut shares: Vec<usize> = instances
        .into_iter()
        .flatten()
        .map(|it| it["partitions"].as_array().expect("partitions").len())
        .collect();
    shares.sort_unstable();
    shares
}

async fn projects(lab: &Lab, count: usize) {
    for number in 0..count {
        let request = lab
            .request(Method::POST, "/api/v1/projects")
            .json(&json!({ "name": format!("project {number}") }));
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 201);
    }
}

fn kind(activity: &Value) -> String {
    text(&activity["kind"])
}
