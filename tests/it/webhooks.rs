//! Webhooks from outside: what a receiver of other people's makes of the deliveries, and what it never gets.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use chrono::DateTime;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use spheroctl::domain::webhooks::Secret;
use spheroctl::kit::lifecycle::Lifecycle;

use crate::support::app::{TestApp, start_with, text};
use crate::support::{eventually, pictures, unique_prefix};

const SOON: Duration = Duration::from_secs(60);
/// The receiver is a process of this machine.
const REACHABLE: &[(&str, &str)] = &[
    ("webhooks.allowed_networks", "127.0.0.0/8"),
    ("webhooks.poll_interval_ms", "50"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_signed_and_once() {
    let test = start_with(REACHABLE).await;
    let receiver = Receiver::start(StatusCode::NO_CONTENT).await;
    let project = test.project(&test.admin_token, "one").await;
    let made = webhook(&test, &project, &receiver.url, &["file.stored"]).await;
    let picture = pictures::png(1);
    test.upload(&test.admin_token, &project, "a.png", picture)
        .await;
    eventually("the event arrives", SOON, async || receiver.count() == 1).await;
    let (headers, body) = receiver.seen.lock()[0].clone();
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let at = DateTime::from_timestamp(header("webhook-timestamp").parse().unwrap(), 0).unwrap();
    let secret = Secret::kept(text(&made["secret"]));
    assert_eq!(
        header("webhook-signature"),
        secret.sign(&header("webhook-id"), at, &body)
    );
    let event: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&event["type"], &event["data"]["name"]),
        (&json!("file.stored"), &json!("a.png"))
    );
    let deliveries = format!("/api/v1/webhooks/{}/deliveries", text(&made["id"]));
    let mut list = Value::Null;
    eventually("the delivery has ended", SOON, async || {
        list = test.get(&test.admin_token, &deliveries).await;
        list["items"][0]["status"] == "delivered"
    })
    .await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list["items"][0]["id"], header("webhook-id"));
    let again = format!("{deliveries}/{}/redeliver", header("webhook-id"));
    let answer = test.request(&test.admin_token, Method::POST, &again);
    assert_eq!(answer.send().await.unwrap().status(), 202);
    eventually("it arrives again", SOON, async || receiver.count() == 2).await;
    assert_eq!(
        receiver.seen.lock()[1].0["webhook-id"],
        header("webhook-id")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_is_asked_again_and_one_that_is_gone_is_not() {
    let test = start_with(REACHABLE).await;
    let project = test.project(&test.admin_token, "one").await;
    let failing = Receiver::start(StatusCode::INTERNAL_SERVER_ERROR).await;
    let gone = Receiver::start(StatusCode::GONE).await;
    let of_failing = webhook(&test, &project, &failing.url, &["file.stored"]).await;
    let of_gone = webhook(&test, &project, &gone.url, &[]).await;
    let picture = pictures::png(1);
    test.upload(&test.admin_token, &project, "a.png", picture)
        .await;
    eventually("the first try", SOON, async || failing.count() == 1).await;
    *failing.answer.lock() = StatusCode::OK;
    eventually("the second try", SOON, async || failing.count() == 2).await;
    let deliveries = format!("/api/v1/webhooks/{}/deliveries", text(&of_failing["id"]));
    let mut delivery = Value::Null;
    eventually("it is delivered", SOON, async || {
        delivery = test.get(&test.admin_token, &deliveries).await["items"][0].clone();
        delivery["status"] == "delivered"
    })
    .await;
    assert_eq!(
        (&delivery["attempts"], &delivery["answer"]),
        (&json!(2), &json!(200))
    );
    let list = format!("/api/v1/projects/{project}/webhooks");
    eventually("who is gone is let alone", SOON, async || {
        let list = test.get(&test.admin_token, &list).await;
        let items = list["items"].as_array().unwrap().clone();
        items
            .iter()
            .any(|webhook| webhook["disabled_at"].is_string())
    })
    .await;
    let deliveries = format!("/api/v1/webhooks/{}/deliveries", text(&of_gone["id"]));
    let list = test.get(&test.admin_token, &deliveries).await;
    let items = list["items"].as_array().unwrap();
    assert!(items.iter().all(|it| it["status"] == "failed"), "{list}");
    let again = format!("{deliveries}/{}/redeliver", text(&items[0]["id"]));
    let refused = test.request(&test.admin_token, Method::POST, &again);
    assert_eq!(refused.send().await.unwrap().status(), 409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_to_the_inside() {
    let test = start_with(&[
        ("webhooks.poll_interval_ms", "50"),
        ("webhooks.allow_http", "true"),
    ])
    .await;
    let project = test.project(&test.admin_token, "one").await;
    let receiver = Receiver::start(StatusCode::OK).await;
    let by_name = receiver.url.replace("127.0.0.1", "localhost");
    for url in [&receiver.url, &by_name] {
        let made = webhook(&test, &project, url, &["file.stored"]).await;
        let picture = pictures::png(1);
        test.upload(&test.admin_token, &project, "a.png", picture)
            .await;
        let deliveries = format!("/api/v1/webhooks/{}/deliveries", text(&made["id"]));
        let mut why = String::new();
        eventually("a sending was refused", SOON, async || {
            let list = test.get(&test.admin_token, &deliveries).await;
            why = list["items"][0]["error"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            !why.is_empty()
        })
        .await;
        assert!(why.contains("public internet"), "{url}: {why}");
    }
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn only_owners_have_webhooks() {
    let test = start_with(REACHABLE).await;
    let project = test.project(&test.admin_token, "one").await;
    let made = webhook(&test, &project, "https://example.org/", &[]).await;
    let stranger = test.person("b@example.org").await;
    let viewer = test.person("c@example.org").await;
    let member = json!({ "email": "c@example.org", "role": "viewer" });
    let path = format!("/api/v1/projects/{project}/members");
    let added = test.request(&test.admin_token, Method::PUT, &path);
    assert!(
        added
            .json(&member)
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
    let of_project = format!("/api/v1/projects/{project}/webhooks");
    let deliveries = format!("/api/v1/webhooks/{}/deliveries", text(&made["id"]));
    for path in [&of_project, &deliveries] {
        for (token, expected) in [(&stranger.token, 404), (&viewer.token, 403)] {
            let answer = test.request(token, Method::GET, path).send().await;
            assert_eq!(answer.unwrap().status(), expected, "{path}");
        }
    }
    let list = test.get(&test.admin_token, &of_project).await;
    assert!(list["items"][0].get("secret").is_none(), "{list}");
    let refused = test
        .request(&test.admin_token, Method::POST, &of_project)
        .header("idempotency-key", unique_prefix())
        .json(&json!({ "url": "https://example.org/", "events": ["job.eaten"] }));
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.status(), 422);
    let path = format!("/api/v1/webhooks/{}", text(&made["id"]));
    let removed = test.request(&test.admin_token, Method::DELETE, &path);
    assert_eq!(removed.send().await.unwrap().status(), 204);
    let list = test.get(&test.admin_token, &of_project).await;
    assert_eq!(list["items"], json!([]));
}

async fn webhook(test: &TestApp, project: &str, url: &str, events: &[&str]) -> Value {
    let path = format!("/api/v1/projects/{project}/webhooks");
    let request = test
        .request(&test.admin_token, Method::POST, &path)
        .header("idempotency-key", unique_prefix())
        .json(&json!({ "url": url, "events": events }));
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 201);
    answer.json().await.expect("JSON")
}

/// A server that takes deliveries and answers as it is told.
#[derive(Clone)]
struct Receiver {
    url: String,
    answer: Arc<Mutex<StatusCode>>,
    seen: Arc<Mutex<Vec<(HeaderMap, String)>>>,
}

impl Receiver {
    async fn start(answer: StatusCode) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            url: format!("http://{}/hook", listener.local_addr().unwrap()),
            answer: Arc::new(Mutex::new(answer)),
            seen: Arc::default(),
        };
        let router = Router::new()
            .route("/hook", post(take))
            .with_state(receiver.clone());
        Lifecycle::new().spawn("test.receiver", async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        receiver
    }

    fn count(&self) -> usize {
        self.seen.lock().len()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> StatusCode {
    receiver.seen.lock().push((headers, body));
    *receiver.answer.lock()
}
