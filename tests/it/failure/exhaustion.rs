//! A process that may open no more files, and a disk without room.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use reqwest::Client;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use spheroctl::kit::lifecycle::Lifecycle;
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
    let address = server.public().await;
    let address = address.trim_start_matches("http://");
    let mut kept = Kept::open(address, &lab.token).await;
    assert_eq!(
        kept.ask("GET", "/api/v1/projects", "", Vec::new()).await,
        200
    );
    let most = server.open_files() + 20;
    limit_files(&server, most as u64);
    let mut crowd = Vec::new();
    for _ in 0..most {
        // The kernel takes them in; the server cannot.
        let newcomer = TcpStream::connect(address).await;
        crowd.push(newcomer.expect("a place in the backlog"));
    }
    server.says("cannot accept connections").await;
    assert_eq!(server.probe("/livez").await, Some(200));
    // Whoever is connected is served by what is open; what takes another file is put off until one is free.
    eventually("projects are listed", DEADLINE, async || {
        kept.ask("GET", "/api/v1/projects", "", Vec::new()).await == 200
    })
    .await;
    let job = json!({ "image_id": image }).to_string();
    eventually("a job is accepted", DEADLINE, async || {
        kept.ask("POST", "/api/v1/jobs", "one", job.clone().into())
            .await
            == 202
    })
    .await;
    eventually("an upload is put off", DEADLINE, async || {
        let key = unique_prefix();
        kept.ask("POST", &path, &key, pictures::png(2)).await == 503
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

/// One connection and no other: a client with a pool may take a new one, which nobody accepts.
struct Kept {
    requests: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
    host: String,
    token: String,
    lifecycle: Lifecycle,
}

impl Kept {
    async fn open(address: &str, token: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let io = hyper_util::rt::TokioIo::new(stream);
        let (requests, connection) = hyper::client::conn::http1::handshake(io)
            .await
            .expect("HTTP/1.1");
        let lifecycle = Lifecycle::new();
        lifecycle.spawn("client", connection);
        Self {
            requests,
            host: address.to_owned(),
            token: token.to_owned(),
            lifecycle,
        }
    }

    /// The status of the answer, which is a success or 503 with the time to come back.
    async fn ask(&mut self, method: &str, path: &str, key: &str, body: Vec<u8>) -> u16 {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(Full::from(body))
            .expect("a request");
        self.requests.ready().await.expect("the connection is kept");
        let answer = self.requests.send_request(request).await;
        let (head, body) = answer.expect("an answer").into_parts();
        body.collect().await.expect("a whole answer");
        let later = head.headers.contains_key("retry-after");
        let good = head.status.is_success() || head.status == 503 && later;
        assert!(good, "{head:?}");
        head.status.as_u16()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
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
