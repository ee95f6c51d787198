//! Both protocols against their real servers. Behind each stands the same model, so that all must find the same pixels.

use serde_json::Value;

use super::{Lab, Model, areas};
use crate::support::pictures;
use crate::support::services::{kserve_url, mlserver_url, spheroseg_url};

/// What a server gives for the same picture.
async fn by(segmenter: &str, url: &str, model: &str) -> Value {
    let lab = Lab::new(&[
        ("ml.segmenter", segmenter),
        ("ml.url", url),
        ("ml.model", model),
    ])
    .await;
    lab.segmented("a.png", pictures::png(4), 0).await
}

#[tokio::test]
async fn every_server_finds_the_same_pixels() {
    let (spheroseg, mlserver, kserve) = (spheroseg_url(), mlserver_url(), kserve_url());
    let by_outlines = by("spheroseg", &spheroseg, "otsu").await;
    assert_eq!(by_outlines["segmenter"], "spheroseg:otsu");
    // Three spheroids, and the shaded corners, which Otsu's threshold takes for some.
    assert!(areas(&by_outlines).len() >= 3, "{:?}", areas(&by_outlines));
    for (segmenter, url, model, name) in [
        ("oip-v2", &mlserver, "otsu", "oip-v2:otsu"),
        ("oip-v2", &kserve, "otsu", "oip-v2:otsu"),
        ("oip-v2", &kserve, "otsu-soft", "oip-v2:otsu-soft"),
        ("auto", &mlserver, "otsu", "oip-v2:otsu"),
        ("auto", &spheroseg, "otsu", "spheroseg:otsu"),
    ] {
        let result = by(segmenter, url, model).await;
        assert_eq!(result["segmenter"], name);
        assert_eq!(areas(&result), areas(&by_outlines), "{name} at {url}");
        same_measurements(&result, &by_outlines);
    }
}

/// Whoever found the objects, they are measured alike, on polygons whose area is the mask's.
fn same_measurements(left: &Value, right: &Value) {
    let sorted = |result: &Value| {
        let mut objects = result["objects"].as_array().expect("objects").clone();
        objects.sort_by_key(|object| object["measurements"]["area_px"].as_u64());
        objects
    };
    for (left, right) in sorted(left).iter().zip(&sorted(right)) {
        assert_eq!(left["measurements"], right["measurements"]);
        assert_eq!(
            shoelace(left),
            left["measurements"]["area_px"].as_f64().unwrap()
        );
    }
}

fn shoelace(object: &Value) -> f64 {
    let ring = |ring: &Value| {
        let points: Vec<[f64; 2]> = serde_json::from_value(ring.clone()).expect("a ring");
        let next = points.iter().cycle().skip(1);
        let twice: f64 = points
            .iter()
            .zip(next)
            .map(|(a, b)| a[0] * b[1] - b[0] * a[1])
            .sum();
        twice.abs() / 2.0
    };
    let holes = object["polygon"]["holes"].as_array().expect("holes");
    ring(&object["polygon"]["outer"]) - holes.iter().map(ring).sum::<f64>()
}

#[tokio::test]
async fn sixteen_bits_go_as_they_are_or_are_stretched_and_that_is_noted() {
    let lab = Lab::new(&[
        ("ml.segmenter", "oip-v2"),
        ("ml.url", &mlserver_url()),
        ("ml.model", "otsu"),
    ])
    .await;
    let stretched = lab.segmented("a.tif", pictures::tiff(4), 0).await;
    let note = stretched["note"].as_str().expect("a note");
    assert!(note.contains("stretched to 8 bits"), "{note}");
    assert!(areas(&stretched).len() >= 3, "{:?}", areas(&stretched));
    let lab = Lab::new(&[("ml.segmenter", "spheroseg"), ("ml.url", &spheroseg_url())]).await;
    let whole = lab
        .segmented("wrong-extension.bmp", pictures::tiff(4), 0)
        .await;
    assert_eq!(
        (areas(&whole).len() >= 3, &whole["note"]),
        (true, &Value::Null)
    );
    assert_eq!(whole["pixel_size"]["x_um"], 0.65);
    assert!(whole["objects"][0]["measurements"]["micrometres"].is_object());
}

#[tokio::test]
async fn a_page_of_a_stack_is_sent_and_not_the_first() {
    let lab = Lab::new(&[("ml.segmenter", "spheroseg"), ("ml.url", &spheroseg_url())]).await;
    let page = lab.segmented("stack.tif", pictures::stack(1, 2), 1).await;
    let alone = lab.segmented("b.png", pictures::png(2), 0).await;
    let first = lab.segmented("a.png", pictures::png(1), 0).await;
    assert_eq!(areas(&page), areas(&alone));
    assert_ne!(areas(&page), areas(&first));
}

#[tokio::test]
async fn cores_belong_to_their_objects() {
    let lab = Lab::new(&[
        ("ml.segmenter", "spheroseg"),
        ("ml.url", &spheroseg_url()),
        ("ml.model", "spheroid_disintegration"),
    ])
    .await;
    let result = lab.segmented("a.png", pictures::png(4), 0).await;
    assert_eq!(result["summary"]["cores"], areas(&result).len());
    let objects = result["objects"].as_array().unwrap();
    for core in objects.iter().filter(|object| object["part"] == "core") {
        let whole = &objects[core["core_of"].as_u64().unwrap() as usize - 1];
        assert_eq!(whole["part"], "whole");
        let area = |object: &Value| object["measurements"]["area_px"].as_u64();
        assert!(area(core) < area(whole));
    }
}

#[tokio::test]
async fn nothing_found_is_a_result_with_the_services_warning() {
    let lab = Lab::new(&[("ml.segmenter", "spheroseg"), ("ml.url", &spheroseg_url())]).await;
    let result = lab.segmented("blank.png", pictures::blank(), 0).await;
    assert_eq!(areas(&result), Vec::<u64>::new());
    let note = result["note"].as_str().expect("a note");
    assert!(note.contains("No polygons detected"), "{note}");
}

#[tokio::test]
async fn the_service_is_told_who_asks() {
    let model = Model::that("otsu").await;
    let lab = Lab::new(&[
        ("ml.segmenter", "spheroseg"),
        ("ml.url", &spheroseg_url()),
        ("ml.model", &model.name),
    ])
    .await;
    let image = lab.upload("a.png", pictures::png(4)).await;
    let job = lab.submit(&[(&image, 0)]).await.remove(0);
    lab.result(&job).await;
    let asked = model.asked().await;
    let headers = &asked[0]["headers"];
    assert_eq!(headers["x-request-id"], format!("{job}-1"));
    assert_eq!(headers["x-operation"], "segment");
    assert!(headers["x-user-id"].is_string());
    assert_eq!(asked[0]["files"], serde_json::json!(["image.png"]));
}

#[tokio::test]
async fn compressed_bodies_go_to_whoever_takes_them_and_plain_ones_to_the_others() {
    for url in [mlserver_url(), kserve_url()] {
        let lab = Lab::new(&[
            ("ml.segmenter", "oip-v2"),
            ("ml.url", &url),
            ("ml.model", "otsu"),
            ("ml.compress_above_bytes", "1000"),
        ])
        .await;
        let result = lab.segmented("a.png", pictures::png(4), 0).await;
        assert_eq!(result["segmenter"], "oip-v2:otsu");
        assert!(areas(&result).len() >= 3, "{url}: {:?}", areas(&result));
    }
}

#[tokio::test]
async fn a_model_that_the_server_does_not_have_is_no_fault_of_the_image() {
    let lab = Lab::new(&[
        ("ml.segmenter", "oip-v2"),
        ("ml.url", &kserve_url()),
        ("ml.model", "unheard-of"),
        ("ml.fallback", "builtin"),
    ])
    .await;
    let result = lab.segmented("a.png", pictures::png(4), 0).await;
    assert_eq!(result["segmenter"], "builtin");
}
