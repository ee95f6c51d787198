//! `spheroctl dlq jobs` beside running servers, on both sets of backends.

use std::time::Duration;

use serde_json::Value;

use crate::support::product::{COMPLETED, Lab, Product};
use crate::support::{eventually, pictures};

const DEAD: &str = "/api/v1/dead-letters/jobs";
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_does_it_on_the_embedded_backends() {
    let product = Product::embedded(&[]);
    let server = product.start("standalone", &[]).await;
    let lab = product.lab(&server).await;
    the_command_line_does_it(&product, &lab).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_does_it_on_the_shared_backends() {
    let product = Product::scaled(&[]).await;
    let server = product.start("serve", &[]).await;
    let workers = [
        product.start("worker", &[]).await,
        product.start("worker", &[]).await,
    ];
    let lab = product.lab(&server).await;
    the_command_line_does_it(&product, &lab).await;
    let whole = lab.upload("whole.png", pictures::png(1)).await;
    lab.submit(&whole, 1).await;
    product.reaches(COMPLETED, 1, SOON).await;
    let figures = lab.get("/api/v1/queue/metrics").await;
    for (name, expected) in [("dead", 1), ("failed", 3), ("completed", 1), ("waiting", 0)] {
        assert_eq!(figures["total"][name], expected, "{name}: {figures}");
    }
    assert_eq!(figures["wait"]["jobs"], 1, "{figures}");
    // Each worker shows it, whoever counted.
    for worker in &workers {
        eventually("it is shown", Duration::from_secs(45), async || {
            worker.metric("spheroctl_queue_ended_last_hour").await == 4.0
        })
        .await;
        assert_eq!(worker.metric("spheroctl_queue_jobs").await, 1.0);
    }
}

/// Three dead jobs are looked at; all run again in vain, and two of them are removed.
async fn the_command_line_does_it(product: &Product, lab: &Lab) {
    let image = lab.upload("damaged.png", pictures::damaged_png()).await;
    let jobs = lab.submit(&image, 3).await;
    all_are_dead(lab, 3).await;
    looks(product, &jobs).await;
    runs_again(product, lab, &jobs).await;
    removes(product, lab, &jobs).await;
}

async fn looks(product: &Product, jobs: &[String]) {
    let table = said(product, &["list"], 0).await;
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(jobs.iter().all(|job| table.contains(job)), "{table}");
    let filtered = ["list", "--error-class", "bad_image", "--json"];
    let lines = said(product, &filtered, 0).await;
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(line["status"], "dead");
    let old = said(product, &["list", "--older-than-days", "1"], 0).await;
    assert_eq!(old, "");
    let shown = said(product, &["show", &jobs[0]], 0).await;
    assert!(
        shown.contains("damaged.png") && shown.contains("run 1"),
        "{shown}"
    );
    said(product, &["show", &uuid::Uuid::nil().to_string()], 1).await;
    said(product, &["list", "--owner", "nobody@example.org"], 1).await;
    for wrong in [
        &["replay"][..],
        &["purge", "--yes"],
        &["replay", &jobs[0], "--all"],
    ] {
        said(product, wrong, 2).await;
    }
}

async fn runs_again(product: &Product, lab: &Lab, jobs: &[String]) {
    let one = said(product, &["replay", &jobs[0]], 0).await;
    assert_eq!(one, "1 job(s) wait again\n");
    eventually("it is dead again", SOON, async || {
        let job = lab.get(&format!("/api/v1/jobs/{}", jobs[0])).await;
        job["status"] == "dead" && job["attempt"] == 2
    })
    .await;
    let filtered = [
        "replay",
        "--owner",
        "admin@localhost",
        "--limit",
        "2",
        "--json",
    ];
    let again: Value = serde_json::from_str(&said(product, &filtered, 0).await).unwrap();
    assert_eq!(again["more"], true, "{again}");
    assert_eq!(again["jobs"].as_array().unwrap().len(), 2);
    all_are_dead(lab, 3).await;
}

async fn removes(product: &Product, lab: &Lab, jobs: &[String]) {
    let warned = said(product, &["purge", &jobs[1], &jobs[2]], 1).await;
    assert!(
        warned.starts_with("2 dead job(s) would be removed"),
        "{warned}"
    );
    all_are_dead(lab, 3).await;
    let gone = said(product, &["purge", &jobs[1], &jobs[2], "--yes"], 0).await;
    assert_eq!(gone, "2 dead job(s) removed\n");
    said(product, &["purge", &jobs[1], "--yes"], 1).await;
    all_are_dead(lab, 1).await;
}

async fn all_are_dead(lab: &Lab, count: usize) {
    eventually("all are dead", SOON, async || {
        let list = lab.get(DEAD).await;
        list["items"].as_array().unwrap().len() == count
    })
    .await;
}

/// What `dlq jobs` prints with these arguments; it ends with `code`.
async fn said(product: &Product, arguments: &[&str], code: i32) -> String {
    let output = product.run(&[&["dlq", "jobs"], arguments].concat()).await;
    assert_eq!(output.status.code(), Some(code), "{arguments:?} {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
