//! What is bounded: threads of computation, memory of uploads, their size.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::process::Process;
use crate::support::product::{Lab, Product};
use crate::support::{eventually, pictures, unique_prefix};

const DEADLINE: Duration = Duration::from_secs(180);
/// What an upload may add to a process's memory, whatever its size.
const GROWTH_MAX: u64 = 64 << 20;
/// Rows and columns of an image of 512 MiB with 16 bits.
const SIDE: u32 = 16_384;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_jobs_at_once_share_one_bounded_pool() {
    let product = Product::embedded(&[("worker.concurrency", "100")]);
    let standalone = product.start("standalone", &[]).await;
    let lab = product.lab(&standalone).await;
    let image = lab.upload("a.png", pictures::png(1)).await;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = join_all((0..100).map(|_| waited_for(&lab, &image)));
    let watched = async {
        let (mut threads, mut probes) = (0, 0);
        loop {
            threads = threads.max(standalone.threads("compute-"));
            assert_eq!(standalone.probe("/livez").await, Some(200), "it is alive");
            probes += 1;
            if standalone
                .metric("spheroctl_job_duration_seconds_count")
                .await
                >= 100.0
            {
                return (threads, probes);
            }
        }
    };
    let (_, (threads, probes)) = tokio::join!(jobs, watched);
    println!(
        "compute pool: 100 jobs at once, at most {threads} threads on {cores} cores, /livez answered {probes} of {probes} times"
    );
    assert!((1..=(2 * cores).min(10)).contains(&threads), "{threads}");
}

/// A job whose result the request waits for. Who is put off, on a machine that does other things too, asks again.
async fn waited_for(lab: &Lab, image: &str) {
    let key = unique_prefix();
    eventually("a job is accepted", DEADLINE, async || {
        let request = lab
            .request(reqwest::Method::POST, "/api/v1/jobs")
            .header("idempotency-key", &key)
            .header("prefer", "wait=60")
            .json(&json!({ "image_id": image }));
        let answer = request.send().await.expect("an answer");
        // 202 where the machine was so busy that the wait ended first.
        let status = answer.status().as_u16();
        assert!([200, 202, 409, 503].contains(&status), "{status}");
        status < 300
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_of_half_a_gibibyte_needs_no_memory() {
    let product = Product::embedded(&[]);
    let standalone = product.start("standalone", &[]).await;
    let lab = product.lab(&standalone).await;
    lab.upload("small.tif", pictures::tiff(1)).await;
    let before = standalone.peak_memory();
    let piece = Bytes::from(vec![0; 1 << 20]);
    let pieces = std::iter::once(Bytes::from(tiff_header())).chain(std::iter::repeat_n(piece, 512));
    let body = futures::stream::iter(pieces.map(Ok::<_, std::io::Error>));
    let (status, image) = lab
        .try_upload("large.tif", reqwest::Body::wrap_stream(body))
        .await;
    assert_eq!((status, &image["width"]), (201, &SIDE.into()), "{image}");
    let growth = standalone.peak_memory().saturating_sub(before);
    println!(
        "upload of 512 MiB: {status}, peak memory {} MiB, grown by {} KiB",
        standalone.peak_memory() >> 20,
        growth >> 10
    );
    assert!(growth < GROWTH_MAX, "{growth}");
    refuses_more_than_two_gibibytes(&standalone, &lab).await;
}

/// Only the head is sent: the answer comes without the body, or the read below would never end.
async fn refuses_more_than_two_gibibytes(standalone: &Process, lab: &Lab) {
    let address = standalone.public().await;
    let address = address.trim_start_matches("http://");
    let path = lab.images_path("huge.tif").await;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\nidempotency-key: huge\r\n\
         content-length: 2147483649\r\n\r\n",
        lab.token
    );
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    connection.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = [0; 12];
    let read = connection.read_exact(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .expect("an answer before the body")
        .expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
}

/// A TIFF of one uncompressed strip of 16-bit grey; its pixels are to follow.
fn tiff_header() -> Vec<u8> {
    const SHORT: u16 = 3;
    const LONG: u16 = 4;
    let entries: [(u16, u16, u32); 9] = [
        (256, LONG, SIDE),
        (257, LONG, SIDE),
        (258, SHORT, 16),
        (259, SHORT, 1),
        (262, SHORT, 1),
        (273, LONG, 122),
        (277, SHORT, 1),
        (278, LONG, SIDE),
        (279, LONG, SIDE * SIDE * 2),
    ];
    let mut header = b"II*\0\x08\0\0\0".to_vec();
    header.extend(9_u16.to_le_bytes());
    for (tag, kind, value) in entries {
        header.extend(tag.to_le_bytes());
        header.extend(kind.to_le_bytes());
        header.extend(1_u32.to_le_bytes());
        header.extend(value.to_le_bytes());
    }
    header.extend([0; 4]);
    assert_eq!(header.len(), 122);
    header
}
