//! The result of a job over HTTP, in every form.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::jobs_api::{image, submitting};
use crate::support::app::{TestApp, start, text};
use crate::support::pictures;

#[tokio::test]
async fn a_job_is_waited_for_and_its_result_has_every_form() {
    let test = start().await;
    let image = image(&test, "a b.tif", pictures::tiff(1)).await;
    let request =
        submitting(&test, "one", json!({ "image_id": image })).header("prefer", "wait=30");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["preference-applied"], "wait=30");
    let job: Value = answer.json().await.unwrap();
    assert_eq!(
        (&job["status"], &job["segmenter"]),
        (&json!("completed"), &json!("builtin"))
    );
    let base = format!("/api/v1/jobs/{}", text(&job["id"]));
    let result = test.get(&test.admin_token, &format!("{base}/result")).await;
    let whole = |object: &&Value| object["part"] == "whole";
    assert_eq!(
        result["objects"]
            .as_array()
            .unwrap()
            .iter()
            .filter(whole)
            .count(),
        3,
        "{result}"
    );
    tables_are_right(&test, &base, &result).await;
    shapes_are_right(&test, &base, &result).await;
    pictures_are_right(&test, &base).await;
}

async fn tables_are_right(test: &TestApp, base: &str, result: &Value) {
    let (table, about) = file(test, &format!("{base}/result.csv")).await;
    assert_eq!(
        about,
        (
            "text/csv; charset=utf-8".into(),
            "attachment; filename=\"a b.csv\"; filename*=UTF-8''a%20b.csv".into()
        )
    );
    let table = String::from_utf8(table).unwrap();
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].starts_with("image,page,object,part,"), "{table}");
    assert!(rows[1].starts_with("a b.tif,0,1,whole,"), "{table}");
    assert_eq!(rows.len(), 1 + result["objects"].as_array().unwrap().len());
    let (totals, _) = file(test, &format!("{base}/summary.csv")).await;
    let totals = String::from_utf8(totals).unwrap();
    let rows: Vec<&str> = totals.lines().collect();
    let header = "image,page,objects,cores,area_px,";
    assert!(rows[0].starts_with(header), "{totals}");
    assert!(rows[1].starts_with("a b.tif,0,3,"), "{totals}");
}

async fn shapes_are_right(test: &TestApp, base: &str, result: &Value) {
    let (outlines, _) = file(test, &format!("{base}/result.geojson")).await;
    let outlines: Value = serde_json::from_slice(&outlines).unwrap();
    assert_eq!(
        outlines["features"].as_array().unwrap().len(),
        result["objects"].as_array().unwrap().len()
    );
    let (coco, _) = file(test, &format!("{base}/coco.json")).await;
    let coco: Value = serde_json::from_slice(&coco).unwrap();
    assert_eq!(coco["images"][0]["file_name"], "a b.tif");
    let (found, annotated) = (&result["objects"][0], &coco["annotations"][0]);
    assert_eq!(annotated["area"], found["measurements"]["area_px"]);
    assert_eq!(annotated["score"], found["confidence"]);
    let (regions, about) = file(test, &format!("{base}/rois.zip")).await;
    assert_eq!(about.0, "application/zip");
    assert!(about.1.contains("filename=\"a b.rois.zip\""), "{}", about.1);
    assert!(regions.starts_with(b"PK\x03\x04"));
    let names = regions
        .windows(8)
        .filter(|name| name == b"0001.roi")
        .count();
    assert_eq!(names, 2, "before its bytes and in the directory");
}

async fn pictures_are_right(test: &TestApp, base: &str) {
    let (overlay, (media_type, _)) = file(test, &format!("{base}/overlay.png")).await;
    assert_eq!(media_type, "image/png");
    let overlay = image::load_from_memory(&overlay).unwrap();
    assert_eq!(overlay.width(), 4 * 256, "a small image is enlarged");
    let (labels, _) = file(test, &format!("{base}/labels.tif")).await;
    assert!(labels.starts_with(b"II*\0") || labels.starts_with(b"MM\0*"));
}

#[tokio::test]
async fn outlines_are_simplified_on_wish_and_say_so() {
    let test = start().await;
    let image = image(&test, "a.tif", pictures::tiff(1)).await;
    let request =
        submitting(&test, "one", json!({ "image_id": image })).header("prefer", "wait=30");
    let job: Value = request.send().await.unwrap().json().await.unwrap();
    let base = format!("/api/v1/jobs/{}/result", text(&job["id"]));
    let exact = test.get(&test.admin_token, &base).await;
    let simple = test
        .get(&test.admin_token, &format!("{base}?simplify=1.5"))
        .await;
    assert_eq!(
        (&exact["simplified_px"], &simple["simplified_px"]),
        (&Value::Null, &json!(1.5))
    );
    let points = |result: &Value| {
        result["objects"][0]["polygon"]["outer"]
            .as_array()
            .unwrap()
            .len()
    };
    assert!(
        points(&simple) < points(&exact),
        "{} points",
        points(&simple)
    );
    let measured = |result: &Value| result["objects"][0]["measurements"].clone();
    assert_eq!(measured(&simple), measured(&exact));
    let (outlines, _) = file(&test, &format!("{base}.geojson?simplify=1.5")).await;
    let outlines: Value = serde_json::from_slice(&outlines).unwrap();
    assert_eq!(outlines["features"][0]["properties"]["simplifiedPx"], 1.5);
    for wrong in ["0", "-1", "101", "NaN", "much"] {
        let path = format!("{base}?simplify={wrong}");
        let answer = test
            .request(&test.admin_token, Method::GET, &path)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400, "{wrong}");
    }
}

/// A file, its media type and disposition.
async fn file(test: &TestApp, path: &str) -> (Vec<u8>, (String, String)) {
    let answer = test
        .request(&test.admin_token, Method::GET, path)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    let header = |answer: &Response, name: &str| {
        answer
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default()
    };
    let about = (
        header(&answer, "content-type"),
        header(&answer, "content-disposition"),
    );
    (answer.bytes().await.unwrap().to_vec(), about)
}
