//! Images: uploads that are safe to repeat and refused early, downloads in ranges, previews.

use std::time::Duration;

use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::app::{TestApp, start_without_worker, text};
use crate::support::{eventually, pictures};

#[tokio::test]
async fn what_was_uploaded_comes_back_byte_for_byte() {
    let test = start_without_worker().await;
    let (project, bytes) = (
        test.project(&test.admin_token, "plate").await,
        pictures::tiff(1),
    );
    let request = uploading(&test, &project, "10%20%C2%B5m.tif", "first").body(bytes.clone());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let made: Value = answer.json().await.unwrap();
    assert_eq!(location, format!("/api/v1/images/{}", text(&made["id"])));
    let image = test.get(&test.admin_token, &location).await;
    assert_eq!(image, made);
    assert_eq!(
        (&image["width"], &image["pages"], &image["bits_per_sample"]),
        (&json!(256), &json!(1), &json!(16))
    );
    assert_eq!(image["name"], "10 µm.tif");
    let pixel_size_um = image["pixel_size_um"].as_f64().unwrap();
    assert!((pixel_size_um - 0.65).abs() < 1e-9, "{pixel_size_um}");
    let file = test
        .request(&test.admin_token, Method::GET, &format!("{location}/file"))
        .send()
        .await
        .unwrap();
    assert_eq!(file.headers()["content-type"], "image/tiff");
    assert_eq!(file.headers()["x-content-type-options"], "nosniff");
    let disposition = file.headers()["content-disposition"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        disposition.starts_with("attachment;") && disposition.ends_with("10%20%C2%B5m.tif"),
        "{disposition}"
    );
    let tag = file.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(tag, format!("\"{:x}\"", Sha256::digest(&bytes)));
    assert_eq!(file.bytes().await.unwrap(), bytes);
}

#[tokio::test]
async fn parts_of_a_file_can_be_asked_for() {
    let test = start_without_worker().await;
    let (project, bytes) = (
        test.project(&test.admin_token, "plate").await,
        pictures::png(1),
    );
    let image = test
        .upload(&test.admin_token, &project, "a.png", bytes.clone())
        .await;
    let path = format!("/api/v1/images/{image}/file");
    let (size, tag) = (bytes.len(), format!("\"{:x}\"", Sha256::digest(&bytes)));
    let last = size - 1;
    for (range, start, end) in [
        ("bytes=0-9", 0, 10),
        ("bytes=100-", 100, size),
        ("bytes=-7", size - 7, size),
        ("bytes=9-999999999", 9, size),
    ] {
        let answer = test
            .request(&test.admin_token, Method::GET, &path)
            .header("range", range);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 206, "{range}");
        let expected = format!("bytes {start}-{}/{size}", end - 1);
        assert_eq!(answer.headers()["content-range"], expected.as_str());
        assert_eq!(answer.bytes().await.unwrap(), bytes[start..end], "{range}");
    }
    for (headers, status) in [
        (vec![("range", "bytes=0-1,4-5")], 200),
        (
            vec![("range", "bytes=0-1"), ("if-range", "\"another\"")],
            200,
        ),
        (
            vec![("range", "bytes=0-1"), ("if-range", tag.as_str())],
            206,
        ),
        (vec![("range", "bytes=99999999-")], 416),
        (vec![("if-none-match", tag.as_str())], 304),
    ] {
        let request = test.request(&test.admin_token, Method::GET, &path);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{headers:?}");
        if status == 416 {
            assert_eq!(
                answer.headers()["content-range"],
                format!("bytes */{}", last + 1).as_str()
            );
        }
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_before_it_is_sent() {
    let test = start_without_worker().await;
    let project = test.project(&test.admin_token, "plate").await;
    let mut head = format!(
        "POST /api/v1/projects/{project}/images?name=a.tif HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
         idempotency-key: large\r\nexpect: 100-continue\r\n",
        test.admin_token
    );
    for (content_type, expected) in [
        ("application/octet-stream", "413"),
        ("multipart/form-data; boundary=x", "413"),
    ] {
        let request =
            format!("{head}content-type: {content_type}\r\ncontent-length: 3000000000\r\n\r\n");
        assert_eq!(
            first_status(&test, &request).await,
            expected,
            "{content_type}"
        );
    }
    // One that fits is asked for.
    head += "content-length: 1000\r\n\r\n";
    assert_eq!(first_status(&test, &head).await, "100");
}

#[tokio::test]
async fn an_upload_can_be_repeated_and_happens_once() {
    let test = start_without_worker().await;
    let project = test.project(&test.admin_token, "plate").await;
    let path = format!("/api/v1/projects/{project}/images?name=a.png");
    let without = test
        .request(&test.admin_token, Method::POST, &path)
        .body(pictures::png(1));
    let without = without.send().await.unwrap();
    assert_eq!(
        (without.status().as_u16(), code(without).await.as_str()),
        (400, "idempotency-key-missing")
    );
    let bad = uploading(&test, &project, "a.png", "not%20a%20key")
        .body(pictures::png(1))
        .send()
        .await
        .unwrap();
    assert_eq!(bad.status(), 400);
    let first = uploading(&test, &project, "a.png", "k1")
        .body(pictures::png(1))
        .send()
        .await
        .unwrap();
    assert_eq!(first.status(), 201);
    assert!(!first.headers().contains_key("idempotent-replayed"));
    let again = uploading(&test, &project, "a.png", "\"k1\"")
        .body(pictures::png(1))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            again.status().as_u16(),
            &again.headers()["idempotent-replayed"]
        ),
        (201, &"true".parse().unwrap())
    );
    assert_eq!(
        first.json::<Value>().await.unwrap(),
        again.json::<Value>().await.unwrap()
    );
    for (name, seed) in [("a.png", 2), ("b.png", 1)] {
        let other = uploading(&test, &project, name, "k1")
            .body(pictures::png(seed))
            .send()
            .await
            .unwrap();
        assert_eq!(
            (other.status().as_u16(), code(other).await.as_str()),
            (422, "idempotency-key-reused")
        );
    }
    assert_eq!(count(&test, &project).await, 1);
}

#[tokio::test]
async fn the_twin_of_an_upload_in_flight_is_told_so() {
    let test = start_without_worker().await;
    let project = test.project(&test.admin_token, "plate").await;
    let (mut sender, body) = tokio::io::duplex(1 << 20);
    let held = reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::new(body));
    let first = uploading(&test, &project, "a.png", "twins")
        .body(held)
        .send();
    let me = test.get(&test.admin_token, "/api/v1/session").await;
    let marker = format!("idempotency:{}:twins", text(&me["id"]));
    let twin = async {
        sender.write_all(&pictures::png(1)).await.unwrap();
        eventually(
            "the first is in flight",
            Duration::from_secs(10),
            async || test.app.state.get(&marker).await.unwrap().is_some(),
        )
        .await;
        let twin = uploading(&test, &project, "a.png", "twins").body("x");
        let twin = twin.send().await.unwrap();
        assert_eq!(twin.status(), 409);
        assert_eq!(twin.headers()["retry-after"], "1");
        drop(sender);
    };
    let (first, ()) = tokio::join!(first, twin);
    assert_eq!(first.unwrap().status(), 201);
    assert_eq!(count(&test, &project).await, 1);
}

#[tokio::test]
async fn what_is_no_image_is_refused_and_leaves_nothing() {
    let test = start_without_worker().await;
    let project = test.project(&test.admin_token, "plate").await;
    let mut cut_off = pictures::png(1);
    cut_off.truncate(20);
    for (key, bytes, status) in [
        ("a", b"%PDF-1.7 ...".to_vec(), 415),
        ("b", cut_off, 422),
        ("c", Vec::new(), 422),
    ] {
        let refused = uploading(&test, &project, "a.png", key)
            .body(bytes)
            .send()
            .await
            .unwrap();
        assert_eq!(refused.status(), status, "{key}");
        assert!(
            refused.text().await.unwrap().contains("a.png"),
            "the file is named"
        );
    }
    assert_eq!(count(&test, &project).await, 0);
    let unnamed = test.request(
        &test.admin_token,
        Method::POST,
        &format!("/api/v1/projects/{project}/images"),
    );
    let unnamed = unnamed
        .header("idempotency-key", "d")
        .body(pictures::png(1))
        .send()
        .await
        .unwrap();
    assert_eq!(unnamed.status(), 400);
}

#[tokio::test]
async fn a_form_holds_several_files() {
    let test = start_without_worker().await;
    let project = test.project(&test.admin_token, "plate").await;
    let file = |name: &'static str, bytes| Part::bytes(bytes).file_name(name);
    let good = || {
        let form = Form::new().part("file", file("a.png", pictures::png(1)));
        form.part("file", file("b.tif", pictures::tiff(2)))
    };
    let send =
        |key: &'static str, form: Form| uploading(&test, &project, "", key).multipart(form).send();
    let first = send("form", good()).await.unwrap();
    assert_eq!(first.status(), 201);
    let first: Value = first.json().await.unwrap();
    let names: Vec<_> = first["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| text(&image["name"]))
        .collect();
    assert_eq!(names, ["a.png", "b.tif"]);
    let again = send("form", good()).await.unwrap();
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(again.json::<Value>().await.unwrap(), first);
    let broken = Form::new()
        .part("file", file("c.png", pictures::png(3)))
        .part("file", file("d.png", vec![7]));
    let broken = send("broken", broken).await.unwrap();
    assert_eq!(broken.status(), 415);
    let broken: Value = broken.json().await.unwrap();
    assert_eq!(broken["stored"].as_array().unwrap().len(), 1, "{broken}");
    assert_eq!(
        send("other", Form::new().text("note", "x"))
            .await
            .unwrap()
            .status(),
        400
    );
    assert_eq!(count(&test, &project).await, 3);
}

#[tokio::test]
async fn a_preview_is_as_large_as_asked() {
    let test = start_without_worker().await;
    let project = test.project(&test.admin_token, "plate").await;
    let image = test
        .upload(&test.admin_token, &project, "a.tif", pictures::tiff(1))
        .await;
    let path = |query: &str| format!("/api/v1/images/{image}/preview.png{query}");
    for (query, side) in [("", 256), ("?size=64", 64), ("?size=100&page=0", 86)] {
        let answer = test
            .request(&test.admin_token, Method::GET, &path(query))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.headers()["content-type"], "image/png");
        let picture = image::load_from_memory(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(
            (picture.width(), picture.height()),
            (side, side),
            "{query:?}"
        );
    }
    for (query, status) in [("?size=1", 400), ("?size=9999", 400), ("?page=1", 404)] {
        let answer = test
            .request(&test.admin_token, Method::GET, &path(query))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{query}");
    }
}

fn uploading(test: &TestApp, project: &str, name: &str, key: &str) -> RequestBuilder {
    let path = format!("/api/v1/projects/{project}/images?name={name}");
    test.request(&test.admin_token, Method::POST, &path)
        .header("idempotency-key", key)
}

/// How many images the project has.
async fn count(test: &TestApp, project: &str) -> usize {
    let listed = test
        .get(
            &test.admin_token,
            &format!("/api/v1/projects/{project}/images"),
        )
        .await;
    listed["items"].as_array().unwrap().len()
}

async fn code(problem: reqwest::Response) -> String {
    text(&problem.json::<Value>().await.unwrap()["code"])
}

/// Sends the head of a request alone; the status of the first answer.
async fn first_status(test: &TestApp, head: &str) -> String {
    let address = test.url.strip_prefix("http://").unwrap();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut beginning = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(10), socket.read_exact(&mut beginning));
    read.await.expect("an answer in time").unwrap();
    String::from_utf8_lossy(&beginning[9..]).into_owned()
}
