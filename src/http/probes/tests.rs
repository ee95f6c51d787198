//! Probes as a balancer, a stranger and an operator see them.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use tower::ServiceExt;

use super::*;
use crate::health::{Check, Identity, Kind, Rules};
use crate::kit::clock::{Clock, ManualClock, SystemClock};
use crate::kit::instance::InstanceId;
use crate::kit::lifecycle::Lifecycle;

fn health(lifecycle: &Lifecycle) -> Health {
    let clock = ManualClock::at(SystemClock.now());
    let identity = Identity {
        instance: InstanceId::for_this_boot(Some("a")),
        exposed: true,
        version: "1.2.3",
        started_at: clock.now(),
        clock: std::sync::Arc::new(clock.clone()),
    };
    clock.advance(Duration::from_secs(90));
    let rules = Rules {
        strict: false,
        check_timeout: Duration::from_secs(2),
        check_interval: Duration::from_secs(1),
    };
    let health = Health::start(rules, identity, lifecycle);
    health.add(Check::new("database", Kind::Shared, || async {
        Err("no route to 10.0.0.7".to_owned())
    }));
    health.add(Check::new("compute", Kind::Local, || async {
        Ok(json!({ "threads": 4 }))
    }));
    health
}

async fn ask(router: &Router, path: &str) -> (u16, String, Value) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
    let media_type = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let body = axum::body::to_bytes(response.into_body(), 65_536)
        .await
        .unwrap();
    (status, media_type, serde_json::from_slice(&body).unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_absent_shared_backend_is_a_warning_unless_asked_strictly() {
    let router = routes(health(&Lifecycle::new()), Details::Hidden);
    let (status, media_type, body) = ask(&router, "/readyz").await;
    assert_eq!(
        (status, media_type.as_str()),
        (200, "application/health+json")
    );
    assert_eq!(body["status"], "warn");
    assert_eq!(body["checks"]["database"][0]["status"], "warn");
    let (status, _, body) = ask(&router, "/readyz?strict=1").await;
    assert_eq!((status, &body["status"]), (503, &json!("fail")));
    assert_eq!(ask(&router, "/livez").await.0, 200);
    let (status, media_type, _) = ask(&router, "/readyz?strict=banana").await;
    assert_eq!(
        (status, media_type.as_str()),
        (400, "application/problem+json")
    );
}

#[tokio::test(start_paused = true)]
async fn reasons_and_figures_are_for_operators() {
    let health = health(&Lifecycle::new());
    let public = routes(health.clone(), Details::Hidden);
    let operators = routes(health.clone(), Details::Shown);
    let with_token = public.clone().layer(axum::Extension(Details::Shown));
    for path in ["/readyz", "/ready"] {
        assert!(
            !ask(&public, path).await.2.to_string().contains("10.0.0.7"),
            "{path}"
        );
        assert!(
            ask(&operators, path)
                .await
                .2
                .to_string()
                .contains("10.0.0.7"),
            "{path}"
        );
        assert!(
            ask(&with_token, path)
                .await
                .2
                .to_string()
                .contains("10.0.0.7"),
            "{path}"
        );
    }
    assert_eq!(ask(&operators, "/health").await.2["compute"]["threads"], 4);
    assert!(ask(&public, "/health").await.2.get("compute").is_none());
}

#[tokio::test(start_paused = true)]
async fn the_older_paths_answer_with_the_older_bodies() {
    let health = health(&Lifecycle::new());
    let router = routes(health.clone(), Details::Hidden);
    health.readiness(false).await;
    for path in [
        "/healthz",
        "/health",
        "/health/live",
        "/api/health",
        "/api/health/live",
    ] {
        let (status, media_type, body) = ask(&router, path).await;
        assert_eq!(
            (status, media_type.as_str()),
            (200, "application/json"),
            "{path}"
        );
        assert_eq!(
            (&body["status"], &body["uptime"]),
            (&json!("healthy"), &json!(90))
        );
        assert!(body["instance_id"].as_str().unwrap().starts_with("a-"));
        assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
        let services = json!({ "database": "unhealthy", "compute": "healthy" });
        assert_eq!(body["services"], services, "{path}");
    }
    for path in ["/ready", "/health/ready", "/api/health/ready"] {
        let (status, _, body) = ask(&router, path).await;
        assert_eq!((status, &body["status"]), (200, &json!("ready")), "{path}");
        assert_eq!(body["checks"]["compute"], "ok");
        assert_eq!(body["checks"]["database"], "error");
        assert_eq!(body["services"]["database"], "unhealthy");
        let (status, _, body) = ask(&router, &format!("{path}?strict=true")).await;
        assert_eq!(
            (status, &body["status"]),
            (503, &json!("not_ready")),
            "{path}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn liveness_waits_for_no_service() {
    let health = health(&Lifecycle::new());
    health.add(Check::new("kafka", Kind::Shared, std::future::pending));
    let router = routes(health, Details::Hidden);
    let start = tokio::time::Instant::now();
    let (status, _, body) = ask(&router, "/health").await;
    assert_eq!((status, start.elapsed()), (200, Duration::ZERO));
    assert!(
        body["services"].get("kafka").is_none(),
        "it has not answered yet"
    );
}

#[tokio::test(start_paused = true)]
async fn a_process_that_drains_is_alive_but_not_ready() {
    let lifecycle = Lifecycle::new();
    let router = routes(health(&lifecycle), Details::Hidden);
    lifecycle.drain();
    for (path, expected) in [
        ("/livez", 200),
        ("/health", 200),
        ("/readyz", 503),
        ("/ready", 503),
    ] {
        assert_eq!(ask(&router, path).await.0, expected, "{path}");
    }
}
