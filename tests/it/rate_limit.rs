//! Rate limits of the API: classes, askers, what an answer says, what happens while Redis is away.

use reqwest::{Method, Response};
use serde_json::Value;

use crate::support::app::{TestApp, start_without_worker_with};
use crate::support::redis_server::RedisServer;

/// One a minute and two at once beyond the first: no test sees the allowance come back.
const TIGHT: [(&str, &str); 6] = [
    ("rate_limit.write_per_minute", "1"),
    ("rate_limit.write_burst", "2"),
    ("rate_limit.read_per_minute", "1"),
    ("rate_limit.read_burst", "2"),
    ("rate_limit.sign_in_per_minute", "1"),
    ("rate_limit.sign_in_burst", "2"),
];

const ECHO: &str = "/lb-check/echo";
const SIGN_IN: &str = "/api/v1/sessions";

async fn tight(more: &[(&str, &str)]) -> TestApp {
    let settings: Vec<_> = TIGHT.iter().chain(more).copied().collect();
    start_without_worker_with(&settings).await
}

async fn ask(app: &TestApp, token: &str, method: Method, path: &str) -> Response {
    let request = app.request(token, method, path).send();
    request.await.expect("an answer")
}

async fn status(app: &TestApp, token: &str, method: Method, path: &str) -> u16 {
    ask(app, token, method, path).await.status().as_u16()
}

/// An anonymous read that says it came from `forwarded`.
async fn read_from(app: &TestApp, forwarded: &str) -> u16 {
    let request = app.anonymous(Method::GET, "/api/v1/projects");
    let answer = request.header("x-forwarded-for", forwarded).send().await;
    answer.expect("an answer").status().as_u16()
}

async fn sign_in(app: &TestApp) -> Response {
    let request = app.anonymous(Method::POST, SIGN_IN);
    let body = serde_json::json!({ "email": "nobody@lab.example", "password": "wrong" });
    request.json(&body).send().await.expect("an answer")
}

#[tokio::test]
async fn one_too_many_is_refused_with_the_time_to_come_back() {
    let app = tight(&[]).await;
    let ada = app.person("ada@lab.example").await.token;
    for left in [2, 1, 0] {
        let answer = ask(&app, &ada, Method::POST, ECHO).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["ratelimit-policy"], "\"write\";q=1;w=60");
        let state = answer.headers()["ratelimit"].to_str().unwrap().to_owned();
        assert!(
            state.starts_with(&format!("\"write\";r={left};t=")),
            "{state}"
        );
    }
    let refused = ask(&app, &ada, Method::POST, ECHO).await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(
        refused.headers()["content-type"],
        "application/problem+json"
    );
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["violated-policies"], serde_json::json!(["write"]));
    assert_eq!(problem["retryable"], true);
}

#[tokio::test]
async fn classes_users_and_what_is_exempt_are_apart() {
    let app = tight(&[]).await;
    let ada = app.person("ada@lab.example").await.token;
    let bob = app.person("bob@lab.example").await.token;
    while status(&app, &ada, Method::POST, ECHO).await == 200 {}
    let projects = "/api/v1/projects";
    assert_eq!(status(&app, &ada, Method::GET, projects).await, 200);
    assert_eq!(status(&app, &bob, Method::POST, ECHO).await, 200);
    for _ in 0..5 {
        assert_eq!(status(&app, &ada, Method::GET, "/whoami").await, 200);
        assert_eq!(status(&app, &ada, Method::GET, "/livez").await, 200);
    }
}

#[tokio::test]
async fn whoever_has_no_credentials_is_counted_by_address() {
    let app = tight(&[]).await;
    let ada = app.person("ada@lab.example").await.token;
    for _ in 0..3 {
        assert_eq!(status(&app, "sph_wrong", Method::POST, ECHO).await, 401);
    }
    assert_eq!(status(&app, "sph_wrong", Method::POST, ECHO).await, 429);
    assert_eq!(status(&app, "sph_other", Method::POST, ECHO).await, 429);
    assert_eq!(status(&app, &ada, Method::POST, ECHO).await, 200);
}

#[tokio::test]
async fn only_a_trusted_proxy_says_who_asks() {
    let app = tight(&[]).await;
    let statuses = [
        read_from(&app, "192.0.2.1").await,
        read_from(&app, "192.0.2.2").await,
        read_from(&app, "192.0.2.3").await,
        read_from(&app, "192.0.2.4").await,
    ];
    assert_eq!(statuses, [401, 401, 401, 429]);
    let app = tight(&[("http.trusted_proxies", "127.0.0.0/8, 10.0.0.0/8")]).await;
    for number in 0..4 {
        assert_eq!(read_from(&app, &format!("192.0.2.{number}")).await, 401);
    }
    // What stands to the left of the right-most address was written by whoever asks.
    for number in 0..2 {
        let spoofed = format!("198.51.100.{number}, 192.0.2.1, 10.0.0.1");
        assert_eq!(read_from(&app, &spoofed).await, 401);
    }
    assert_eq!(read_from(&app, "1.1.1.1, 192.0.2.1").await, 429);
}

#[tokio::test]
async fn tries_to_sign_in_are_limited() {
    let app = tight(&[]).await;
    for _ in 0..3 {
        assert_eq!(sign_in(&app).await.status(), 401);
    }
    let refused = sign_in(&app).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(
        refused.headers()["ratelimit-policy"],
        "\"sign_in\";q=1;w=60"
    );
}

#[tokio::test]
async fn the_limits_can_be_off() {
    let app = tight(&[("rate_limit.enabled", "false")]).await;
    let ada = app.person("ada@lab.example").await.token;
    for _ in 0..10 {
        let answer = ask(&app, &ada, Method::POST, ECHO).await;
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().contains_key("ratelimit"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_an_instance_goes_on_alone_and_nobody_signs_in() {
    let mut redis = RedisServer::start().await;
    let settings = redis.product_settings();
    let settings: Vec<_> = settings
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let app = tight(&settings).await;
    let ada = app.person("ada@lab.example").await.token;
    assert_eq!(status(&app, &ada, Method::POST, ECHO).await, 200);
    redis.kill().await;
    // Nobody knows what was used up before: the whole part of this instance, and no more.
    for _ in 0..3 {
        assert_eq!(status(&app, &ada, Method::POST, ECHO).await, 200);
    }
    assert_eq!(status(&app, &ada, Method::POST, ECHO).await, 429);
    let refused = sign_in(&app).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
}
