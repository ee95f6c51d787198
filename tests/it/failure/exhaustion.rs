//! A process that may open no more files, and a disk without room.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Method};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::net::TcpStream;

use crate::support::process::Process;
use crate::support::product::{Lab, Product};
use crate::support::{eventually, pictures, unique_prefix};

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_file_descriptors_serves_on_and_recovers() {
    // Nobody is sent away while the test looks.
    let product = Product::scaled(&[("http.first_byte_timeout_ms", "600000")]).await;
    let server = product.start("serve", &[]).await;
    let lab = product.lab(&server).await;
    let image = lab.upload("a.png", pictures::png(1)).await;
    let path = lab.images_path("b.png").await;
    let most = server.open_files() + 20;
    limit_files(&server, most as u64);
    let address = server.public().await;
    let address = address.trim_start_matches("http://");
    let mut crowd = Vec::new();
    for _ in 0..most {
        // The kernel takes them in; the server cannot.
        crowd.push(
            TcpStream::connect(address)
                .await
                .expect("a place in the backlog"),
        );
    }
    server.says("cannot accept connections").await;
    // Whoever is connected is served, unless it takes another file.
    assert_eq!(server.probe("/livez").await, Some(200));
    lab.get("/api/v1/projects").await;
    lab.submit(&image, 1).await;
    // Where a descriptor comes free for a moment, an upload may get it.
    eventually("an upload is put off", DEADLINE, async || {
        let upload = lab
            .request(Method::POST, &path)
            .header("idempotency-key", unique_prefix())
            .body(pictures::png(2));
        let answer = upload.send().await.expect("an answer");
        answer.status() == 503 && answer.headers().contains_key("retry-after")
    })
    .await;
    let stood = crowd.len();
    drop(crowd);
    let newcomer = Lab {
        client: Client::builder().no_proxy().build().expect("a client"),
        ..lab
    };
    eventually("a newcomer is served", DEADLINE, async || {
        newcomer.try_upload("c.png", pictures::png(3)).await.0 == 201
    })
    .await;
    println!(
        "F29: {most} files at most, {stood} connections more; served on, 503 for an upload, then recovered"
    );
    assert_eq!(product.number("select count(*) from queue_jobs").await, 1);
}

fn limit_files(process: &Process, most: u64) {
    let pid = Pid::from_raw(process.id().cast_signed());
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    prlimit(pid, Resource::Nofile, limit).expect("the process is ours");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_uploads_whole_and_recovers() {
    let product = Product::embedded(&[]);
    let standalone = product.start_on_a_disk_of("8m").await;
    let lab = product.lab(&standalone).await;
    lab.upload("small.png", pictures::png(1)).await;
    let before = standalone.files_below(product.setting("files.dir"));
    let (status, problem) = lab.try_upload("large.tif", body_of(16)).await;
    assert_eq!(
        (status, &problem["code"]),
        (507, &"storage-full".into()),
        "{problem}"
    );
    assert_eq!(
        standalone.files_below(product.setting("files.dir")),
        before,
        "nothing is left of it"
    );
    assert_eq!(standalone.probe("/livez").await, Some(200));
    assert_eq!(
        standalone.metric("spheroctl_upload_failures_total").await,
        1.0
    );
    let image = lab.upload("next.png", pictures::png(2)).await;
    let job = lab.submit(&image, 1).await.remove(0);
    eventually("the next job completes", DEADLINE, async || {
        lab.get(&format!("/api/v1/jobs/{job}")).await["status"] == "completed"
    })
    .await;
    println!(
        "F19: 16 MiB on a disk of 8 MiB: 507, 0 objects left, the next upload and its job done"
    );
}

/// A stream of so many MiB.
fn body_of(mebibytes: usize) -> reqwest::Body {
    let piece = Bytes::from(vec![0; 1 << 20]);
    let pieces = std::iter::repeat_n(piece, mebibytes);
    reqwest::Body::wrap_stream(futures::stream::iter(pieces.map(Ok::<_, std::io::Error>)))
}
