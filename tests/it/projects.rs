//! Projects: who sees them, who may change what in them, and lists that are read page by page.

use std::collections::HashSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::app::{TestApp, start_without_worker, text};
use crate::support::pictures;

#[tokio::test]
async fn to_a_stranger_nothing_of_a_project_exists() {
    let test = start_without_worker().await;
    let routes = routes_of(&Things::new(&test).await);
    let stranger = test.person("stranger@example.org").await;
    for (method, path, body) in routes {
        let status = asked(&test, &stranger.token, &method, &path, body).await;
        assert_eq!(status, 404, "{method} {path}");
    }
    assert_eq!(
        test.get(&stranger.token, "/api/v1/projects").await["items"],
        json!([])
    );
}

#[tokio::test]
async fn a_viewer_looks_and_changes_nothing() {
    let test = start_without_worker().await;
    let things = Things::new(&test).await;
    let viewer = test.person("viewer@example.org").await;
    let members = format!("/api/v1/projects/{}/members", things.project);
    let new = json!({ "email": "viewer@example.org", "role": "viewer" });
    assert_eq!(
        asked(
            &test,
            &test.admin_token,
            &Method::PUT,
            &members,
            Body::Json(new)
        )
        .await,
        200
    );
    for (method, path, body) in routes_of(&things) {
        let status = asked(&test, &viewer.token, &method, &path, body).await;
        let expected: &[u16] = match method {
            // The job waits, so that it has no result yet.
            Method::GET if path.contains(&things.job) => &[200, 409],
            Method::GET => &[200],
            _ => &[403],
        };
        assert!(
            expected.contains(&status.as_u16()),
            "{method} {path}: {status}"
        );
    }
}

#[tokio::test]
async fn a_project_keeps_an_owner() {
    let test = start_without_worker().await;
    let (ada, bob) = (
        test.person("ada@example.org").await,
        test.person("bob@example.org").await,
    );
    let project = test.project(&ada.token, "plate 7").await;
    let members = format!("/api/v1/projects/{project}/members");
    let put = |email: &str, role: &str| Body::Json(json!({ "email": email, "role": role }));
    let own = format!("{members}/{}", ada.id);
    assert_eq!(
        asked(&test, &ada.token, &Method::DELETE, &own, Body::None).await,
        409
    );
    assert_eq!(
        asked(
            &test,
            &ada.token,
            &Method::PUT,
            &members,
            put("ada@example.org", "viewer")
        )
        .await,
        409
    );
    assert_eq!(
        asked(
            &test,
            &ada.token,
            &Method::PUT,
            &members,
            put("who@example.org", "viewer")
        )
        .await,
        404
    );
    assert_eq!(
        asked(
            &test,
            &ada.token,
            &Method::PUT,
            &members,
            put("bob@example.org", "lord")
        )
        .await,
        422
    );
    assert_eq!(
        asked(
            &test,
            &ada.token,
            &Method::PUT,
            &members,
            put("bob@example.org", "owner")
        )
        .await,
        200
    );
    assert_eq!(
        asked(&test, &bob.token, &Method::DELETE, &own, Body::None).await,
        204
    );
    assert_eq!(
        asked(&test, &ada.token, &Method::GET, &members, Body::None).await,
        404
    );
    let left = test.get(&bob.token, &members).await;
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_bad_name_is_refused_with_its_place() {
    let test = start_without_worker().await;
    for name in ["", "   ", "a\u{7}b", &"x".repeat(300)] {
        let request = test.request(&test.admin_token, Method::POST, "/api/v1/projects");
        let answer = request.json(&json!({ "name": name })).send().await.unwrap();
        assert_eq!(answer.status(), 422, "{name:?}");
        assert_eq!(
            answer.json::<Value>().await.unwrap()["errors"][0]["pointer"],
            "/name"
        );
    }
}

#[tokio::test]
async fn a_project_is_made_once_for_a_key_where_there_is_one() {
    let test = start_without_worker().await;
    let make = |name: &str, key: &str| {
        let request = test.request(&test.admin_token, Method::POST, "/api/v1/projects");
        let request = request.header("idempotency-key", key);
        request.json(&json!({ "name": name })).send()
    };
    let first = make("plate", "k").await.unwrap();
    assert_eq!(first.status(), 201);
    let again = make("plate", "k").await.unwrap();
    assert_eq!(
        (
            again.status().as_u16(),
            &again.headers()["idempotent-replayed"]
        ),
        (201, &"true".parse().unwrap())
    );
    let (first, again): (Value, Value) = (first.json().await.unwrap(), again.json().await.unwrap());
    assert_eq!(first, again);
    assert_eq!(make("other", "k").await.unwrap().status(), 422);
    assert_eq!(make("other", "a b").await.unwrap().status(), 400);
    let all = test.get(&test.admin_token, "/api/v1/projects").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn pages_together_are_the_whole_list() {
    let test = start_without_worker().await;
    let ada = test.person("ada@example.org").await;
    let mut made = HashSet::new();
    for name in ["a", "b", "c", "d", "e"] {
        made.insert(test.project(&ada.token, name).await);
    }
    let (mut seen, mut sizes) = (Vec::new(), Vec::new());
    let mut next = Some("/api/v1/projects?limit=2".to_owned());
    while let Some(path) = next {
        let answer = test
            .request(&ada.token, Method::GET, &path)
            .send()
            .await
            .unwrap();
        let link = answer
            .headers()
            .get("link")
            .map(|link| link.to_str().unwrap().to_owned());
        let page: Value = answer.json().await.unwrap();
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|project| text(&project["id"])));
        sizes.push(items.len());
        assert_eq!(link.is_some(), page["next_cursor"].is_string());
        next = link.map(|link| link[1..link.find('>').unwrap()].to_owned());
    }
    assert_eq!(sizes, [2, 2, 1]);
    assert!(
        seen.is_sorted_by(|newer, older| newer > older),
        "newest first: {seen:?}"
    );
    assert_eq!(seen.into_iter().collect::<HashSet<_>>(), made);
    for bad in [
        "limit=0",
        "limit=201",
        "limit=many",
        "cursor=x",
        "colour=red",
    ] {
        let path = format!("/api/v1/projects?{bad}");
        assert_eq!(
            asked(&test, &ada.token, &Method::GET, &path, Body::None).await,
            400,
            "{bad}"
        );
    }
}

/// A project of the administrator's with something of every kind in it.
struct Things {
    project: String,
    image: String,
    job: String,
}

impl Things {
    async fn new(test: &TestApp) -> Self {
        let token = &test.admin_token;
        let project = test.project(token, "plate 7").await;
        let image = test
            .upload(token, &project, "a.png", pictures::png(1))
            .await;
        let request = test
            .request(token, Method::POST, "/api/v1/jobs")
            .header("idempotency-key", "things");
        let job: Value = request
            .json(&json!({ "image_id": image }))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        Self {
            project,
            image,
            job: text(&job["id"]),
        }
    }
}

enum Body {
    None,
    Json(Value),
    Bytes(Vec<u8>),
}

/// Every route that names a thing of a project.
fn routes_of(things: &Things) -> Vec<(Method, String, Body)> {
    let Things {
        project,
        image,
        job,
    } = things;
    let someone = uuid::Uuid::nil();
    let read = [
        format!("projects/{project}"),
        format!("projects/{project}/members"),
        format!("projects/{project}/images"),
        format!("projects/{project}/jobs"),
        format!("images/{image}"),
        format!("images/{image}/file"),
        format!("images/{image}/preview.png"),
        format!("jobs/{job}"),
        format!("jobs/{job}/result"),
        format!("jobs/{job}/result.geojson"),
        format!("jobs/{job}/result.csv"),
        format!("jobs/{job}/overlay.png"),
        format!("jobs/{job}/labels.tif"),
        format!("jobs/{job}/summary.csv"),
        format!("jobs/{job}/coco.json"),
        format!("jobs/{job}/rois.zip"),
    ];
    let new_member = Body::Json(json!({ "email": "admin@localhost", "role": "viewer" }));
    let new_jobs = Body::Json(json!({ "jobs": [{ "image_id": image }] }));
    let written = [
        (
            Method::PUT,
            format!("projects/{project}/members"),
            new_member,
        ),
        (
            Method::DELETE,
            format!("projects/{project}/members/{someone}"),
            Body::None,
        ),
        (
            Method::POST,
            format!("projects/{project}/images?name=b.png"),
            Body::Bytes(pictures::png(2)),
        ),
        (
            Method::POST,
            "jobs".into(),
            Body::Json(json!({ "image_id": image })),
        ),
        (Method::POST, "jobs/batch".into(), new_jobs),
        (Method::POST, format!("jobs/{job}/cancel"), Body::None),
        (Method::POST, format!("jobs/{job}/retry"), Body::None),
    ];
    let read = read.into_iter().map(|path| (Method::GET, path, Body::None));
    read.chain(written)
        .map(|(method, path, body)| (method, format!("/api/v1/{path}"), body))
        .collect()
}

async fn asked(test: &TestApp, token: &str, method: &Method, path: &str, body: Body) -> StatusCode {
    let request = test.request(token, method.clone(), path);
    let request = request.header("idempotency-key", crate::support::unique_prefix());
    let request = match body {
        Body::None => request,
        Body::Json(value) => request.json(&value),
        Body::Bytes(bytes) => request.body(bytes),
    };
    request.send().await.unwrap().status()
}
