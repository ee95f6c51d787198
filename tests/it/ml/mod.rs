//! Remote segmenters against the servers of `scripts/ml-services`: each protocol, each way in which a service misbehaves,
//! and what the breaker makes of it.

mod adapters;
mod batching;
mod breaker;
mod misbehaviour;

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::app::{TestApp, start_with};
use crate::support::product::accepted;
use crate::support::services::spheroseg_url;
use crate::support::{eventually, unique_prefix};

/// A few jobs, on a machine that does other things too.
const SOON: Duration = Duration::from_secs(90);

/// The product with a project, on which jobs are run.
struct Lab {
    test: TestApp,
    project: String,
}

impl Lab {
    async fn new(settings: &[(&str, &str)]) -> Self {
        let test = start_with(settings).await;
        let project = test.project(&test.admin_token, "plate").await;
        Self { test, project }
    }

    async fn upload(&self, name: &str, bytes: Vec<u8>) -> String {
        let test = &self.test;
        test.upload(&test.admin_token, &self.project, name, bytes)
            .await
    }

    /// Asks for a job on each of these pages; their ids.
    async fn submit(&self, pages: &[(&str, u64)]) -> Vec<String> {
        let jobs: Vec<Value> = pages
            .iter()
            .map(|(image, page)| json!({ "image_id": image, "page": page }))
            .collect();
        let test = &self.test;
        let request = test.request(&test.admin_token, Method::POST, "/api/v1/jobs/batch");
        accepted(request, &jobs).await
    }

    async fn job(&self, id: &str) -> Value {
        let path = format!("/api/v1/jobs/{id}");
        self.test.get(&self.test.admin_token, &path).await
    }

    /// The job once it has ended.
    async fn ended(&self, id: &str) -> Value {
        let mut job = Value::Null;
        eventually("the job ends", SOON, async || {
            job = self.job(id).await;
            ["completed", "dead", "cancelled"].contains(&job["status"].as_str().unwrap_or(""))
        })
        .await;
        job
    }

    /// The result of a job that must complete.
    async fn result(&self, id: &str) -> Value {
        let job = self.ended(id).await;
        assert_eq!(job["status"], "completed", "{job}");
        let path = format!("/api/v1/jobs/{id}/result");
        self.test.get(&self.test.admin_token, &path).await
    }

    /// The result of one page of an image that is uploaded for it.
    async fn segmented(&self, name: &str, bytes: Vec<u8>, page: u64) -> Value {
        let image = self.upload(name, bytes).await;
        let jobs = self.submit(&[(&image, page)]).await;
        self.result(&jobs[0]).await
    }
}

/// A model of the SpheroSeg service whose behaviour one test alone decides.
struct Model {
    name: String,
    client: Client,
}

impl Model {
    async fn that(behaviour: &str) -> Self {
        let model = Self {
            name: unique_prefix().trim_end_matches('-').to_owned(),
            client: Client::builder().no_proxy().build().expect("a client"),
        };
        model.now(behaviour).await;
        model
    }

    /// From now on it behaves like this.
    async fn now(&self, behaviour: &str) {
        let control = format!("{}?behaviour={behaviour}", self.control());
        let told = self.client.put(control).send().await.expect("an answer");
        assert_eq!(told.status(), 200);
    }

    /// The requests that were made of it: names of files, headers.
    async fn asked(&self) -> Vec<Value> {
        let answer = self.client.get(self.control()).send().await;
        answer.expect("an answer").json().await.expect("a list")
    }

    fn control(&self) -> String {
        format!("{}/control/{}", spheroseg_url(), self.name)
    }
}

/// Areas of the whole objects, in the order of size.
fn areas(result: &Value) -> Vec<u64> {
    let objects = result["objects"].as_array().expect("objects");
    let wholes = objects.iter().filter(|object| object["part"] == "whole");
    let mut areas: Vec<u64> = wholes
        .map(|object| object["measurements"]["area_px"].as_u64().expect("an area"))
        .collect();
    areas.sort_unstable();
    areas
}
