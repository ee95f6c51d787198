//! Files that no row lists: found and removed at their age, by one worker, and nothing that is listed with them.

use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde_json::{Value, json};
use spheroctl::domain::leftovers;
use spheroctl::files::{file_key, result_key};
use spheroctl::kit::clock::{Clock, SystemClock};
use spheroctl::kit::id::{FileId, JobId, ProjectId};

use crate::support::app::{start, text};
use crate::support::product::Product;
use crate::support::{eventually, pictures};

#[tokio::test]
async fn only_what_no_row_of_a_known_project_lists_is_removed() {
    let test = start().await;
    let project = test.project(&test.admin_token, "plate").await;
    let image = test
        .upload(&test.admin_token, &project, "many.png", pictures::many())
        .await;
    let submitted = test
        .request(&test.admin_token, reqwest::Method::POST, "/api/v1/jobs")
        .header("idempotency-key", "k")
        .header("prefer", "wait=60")
        .json(&json!({ "image_id": image }));
    let job: Value = submitted.send().await.unwrap().json().await.unwrap();
    assert_eq!(job["status"], "completed", "{job}");
    let project: ProjectId = project.parse().unwrap();
    let (stray, foreign) = (
        [
            file_key(project, FileId::new(&SystemClock)),
            result_key(project, JobId::new(&SystemClock), 1),
            // Of a job that has a result, but by another attempt.
            result_key(project, text(&job["id"]).parse().unwrap(), 9),
        ],
        [
            file_key(ProjectId::new(&SystemClock), FileId::new(&SystemClock)),
            "projects/readme".to_owned(),
        ],
    );
    let files = &test.app.files;
    for key in stray.iter().chain(&foreign) {
        files.put_bytes(key, "x".into()).await.unwrap();
    }
    let young = SystemClock.now() - Duration::from_secs(3_600);
    leftovers::sweep(&test.app.db, files, young, None)
        .await
        .unwrap();
    assert_eq!(files.size(&stray[0]).await.unwrap(), 1, "too young");
    let old = SystemClock.now() + Duration::from_secs(3_600);
    let next = leftovers::sweep(&test.app.db, files, old, None)
        .await
        .unwrap();
    assert_eq!(next, None);
    for key in &stray {
        assert!(files.size(key).await.is_err(), "{key}");
    }
    for key in &foreign {
        assert_eq!(files.size(key).await.unwrap(), 1, "{key}");
    }
    let path = format!("/api/v1/jobs/{}", text(&job["id"]));
    test.get(&test.admin_token, &format!("{path}/result")).await;
    let overlay = test.request(
        &test.admin_token,
        reqwest::Method::GET,
        &format!("{path}/overlay.png"),
    );
    assert_eq!(
        overlay.send().await.unwrap().status(),
        200,
        "image and result are there"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_sweeps_by_itself() {
    let product = Product::scaled(&[("files.unlisted_age_s", "3600")]).await;
    let server = product.start("serve", &[]).await;
    let lab = product.lab(&server).await;
    lab.upload("a.png", pictures::png(1)).await;
    let listed = product.objects();
    let folder = std::path::Path::new(product.setting("files.dir"));
    let beside = folder.join(listed.iter().find(|key| key.contains("/files/")).unwrap());
    for (name, age_s) in [
        (FileId::new(&SystemClock), 7_200),
        (FileId::new(&SystemClock), 0),
    ] {
        let path = beside.with_file_name(name.to_string());
        std::fs::write(&path, "x").unwrap();
        let at = Timespec {
            tv_sec: SystemClock.now().timestamp() - age_s,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: at,
            last_modification: at,
        };
        utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
    }
    let workers = [
        product.start("worker", &[]).await,
        product.start("worker", &[]).await,
    ];
    let swept = async || {
        let mut swept = 0.0;
        for worker in &workers {
            swept += worker.metric("spheroctl_files_swept_total").await;
        }
        swept
    };
    eventually("it is counted", Duration::from_secs(30), async || {
        swept().await >= 1.0
    })
    .await;
    assert_eq!(
        (swept().await, product.objects().len()),
        (1.0, listed.len() + 1)
    );
}
