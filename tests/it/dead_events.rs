//! Dead letters of the event log and how the groups are, as administrators and the machine's own operator see them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};
use spheroctl::db::Db;
use spheroctl::events::log::sqlite::SqliteLog;
use spheroctl::events::log::{EventLog, Headers, NewRecord};
use spheroctl::events::topics::JOB_EVENTS;
use spheroctl::kit::clock::SystemClock;
use spheroctl::kit::lifecycle::Lifecycle;

use crate::conformance::event_log::backend::{database, kafka};
use crate::support::app::{TestApp, start_with, text};
use crate::support::eventually;
use crate::support::product::Product;

const LETTERS: &str = "/api/v1/dead-letters/events";
/// Each group buries a record for itself.
const ONE_GROUP: &[(&str, &str)] = &[("worker.groups", "projector")];
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administrators_look_replay_and_purge() {
    let test = start_with(ONE_GROUP).await;
    bury(&*test.app.log).await;
    let letter = the_letter(&test).await;
    let id = text(&letter["id"]);
    assert_eq!(letter["group"], "projector");
    assert_eq!(letter["error_class"], "undecodable");
    let shown = test
        .get(&test.admin_token, &format!("{LETTERS}/{id}"))
        .await;
    assert_eq!(shown["value"], "no event");
    let replayed = post(&test, "replay", json!({ "ids": [id] })).await;
    assert_eq!(replayed["letters"], json!([id]));
    // It is no event still.
    eventually("it dies again", SOON, async || {
        letters(&test).await.len() == 2
    })
    .await;
    let purged = post(&test, "purge", json!({ "older_than_s": 0 })).await;
    assert_eq!(purged["removed"], 2);
    assert_eq!(letters(&test).await, [Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_sees_any_of_it() {
    let test = start_with(ONE_GROUP).await;
    let person = test.person("a@example.org").await;
    for path in [
        LETTERS,
        "/api/v1/dead-letters/events/job.events-0-0",
        "/api/v1/kafka/metrics",
    ] {
        let answer = test.request(&person.token, Method::GET, path).send().await;
        assert_eq!(answer.expect("an answer").status(), 403, "{path}");
    }
    let missing = format!("{LETTERS}/job.events-0-7");
    let answer = test
        .request(&test.admin_token, Method::GET, &missing)
        .send();
    assert_eq!(answer.await.expect("an answer").status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backbone_tells_who_reads_what() {
    let test = start_with(ONE_GROUP).await;
    eventually("the projector reads all", SOON, async || {
        let backbone = test.get(&test.admin_token, "/api/v1/kafka/metrics").await;
        let group = &backbone["groups"][0];
        let partitions = group["instances"][0]["partitions"].as_array();
        group["group"] == "projector"
            && group["members"].as_array().is_some_and(|it| it.len() == 1)
            && partitions.is_some_and(|it| it.len() == 18)
    })
    .await;
    let backbone = test.get(&test.admin_token, "/api/v1/kafka/metrics").await;
    assert_eq!(backbone["log"]["healthy"], true, "{backbone}");
    let group = &backbone["groups"][0];
    assert_eq!(
        group["members"][0]["client_id"],
        group["instances"][0]["client_id"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_does_it_beside_a_server() {
    let product = Product::embedded(ONE_GROUP);
    let _server = product.start("standalone", &[]).await;
    let db = Db::open(&database(product.setting("database.url"))).await;
    let db = db.expect("the server's database opens");
    let log = SqliteLog::new(
        db,
        SystemClock::shared(),
        &Lifecycle::new(),
        "t",
        &kafka(""),
    );
    bury(&*Arc::new(log.expect("the log opens"))).await;
    eventually("it is listed", SOON, async || {
        !said(&product, &["list"]).await.is_empty()
    })
    .await;
    let table = said(&product, &["list"]).await;
    let id = table.lines().last().and_then(|line| line.split(' ').next());
    let id = id.expect("a line").to_owned();
    let shown = said(&product, &["show", &id]).await;
    assert!(
        shown.contains("undecodable") && shown.ends_with("no event\n"),
        "{shown}"
    );
    let replayed = said(&product, &["replay", &id]).await;
    assert_eq!(replayed, "1 dead record(s) were sent again\n");
    eventually("it dies again", SOON, async || {
        said(&product, &["list", "--json"]).await.lines().count() == 2
    })
    .await;
    let refused = product
        .run(&["dlq", "events", "purge", "--older-than-days", "0"])
        .await;
    assert_eq!(refused.status.code(), Some(1));
    let purged = said(&product, &["purge", "--older-than-days", "0", "--yes"]).await;
    assert_eq!(purged, "2 dead record(s) dropped\n");
}

/// Appends what no group can decode.
async fn bury(log: &dyn EventLog) {
    let record = NewRecord {
        topic: JOB_EVENTS.to_owned(),
        key: "k".to_owned(),
        headers: Headers::default(),
        value: Bytes::from_static(b"no event"),
    };
    for answer in log.append(vec![record]).await {
        answer.expect("a record is appended");
    }
}

async fn the_letter(test: &TestApp) -> Value {
    eventually("it dies", SOON, async || !letters(test).await.is_empty()).await;
    letters(test).await.remove(0)
}

async fn letters(test: &TestApp) -> Vec<Value> {
    let list = test.get(&test.admin_token, LETTERS).await;
    list["items"].as_array().expect("a list").clone()
}

async fn post(test: &TestApp, what: &str, body: Value) -> Value {
    let path = format!("{LETTERS}/{what}");
    let request = test
        .request(&test.admin_token, Method::POST, &path)
        .json(&body);
    let answer = request.send().await.expect("an answer");
    let (status, text) = (answer.status(), answer.text().await.expect("a body"));
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

async fn said(product: &Product, words: &[&str]) -> String {
    let words = [&["dlq", "events"], words].concat();
    let output = product.run(&words).await;
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}
