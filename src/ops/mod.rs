//! The operator listener: metrics, probes with details, and each service by name. Not for the public: it says why
//! something is not well, and asks nobody who they are. `scaling` says who is there.

pub mod scaling;

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::health::Health;
use crate::http::probes::{self, Details};
use crate::http::{Path, Problem};
use crate::kit::lifecycle::Lifecycle;

/// Between two sweeps of what histograms have kept since the last fetch (the exporter's own default).
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Prometheus text format, the only one that the recorder writes.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the operator listener shows.
#[derive(Debug, Clone)]
pub struct Ops {
    /// How the process is.
    pub health: Health,
    /// What it counted.
    pub metrics: PrometheusHandle,
    /// Runs the recorder's upkeep.
    pub lifecycle: Lifecycle,
}

/// The routes: `/metrics`, `/health/detailed` and `/health/services/{name}`, their twins below `/api`, and the probes
/// with details. Also starts the recorder's upkeep, which ends when the process drains.
pub fn routes(ops: Ops) -> Router {
    start_upkeep(&ops);
    let probes = probes::routes(ops.health.clone(), Details::Shown);
    let mut router = Router::new();
    for base in ["", "/api"] {
        router = router
            .route(&format!("{base}/metrics"), get(metrics))
            .route(&format!("{base}/health/detailed"), get(detailed))
            .route(&format!("{base}/health/services/{{name}}"), get(service));
    }
    router.with_state(ops).merge(probes)
}

async fn metrics(State(ops): State<Ops>) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, METRICS_TEXT),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, ops.metrics.render())
}

async fn detailed(State(ops): State<Ops>) -> Response {
    probes::detailed(&ops.health).await
}

async fn service(State(ops): State<Ops>, Path(name): Path<String>) -> Result<Response, Problem> {
    probes::service(&ops.health, &name).await
}

fn start_upkeep(ops: &Ops) {
    let (metrics, draining) = (ops.metrics.clone(), ops.lifecycle.drain_token());
    ops.lifecycle.spawn("metrics.upkeep", async move {
        let mut ticks = interval(UPKEEP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while draining.run_until_cancelled(ticks.tick()).await.is_some() {
            metrics.run_upkeep();
        }
    });
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;
    use crate::health::{Check, Identity, Kind, Rules};
    use crate::kit::clock::{Clock, SystemClock};
    use crate::kit::instance::InstanceId;
    use crate::telemetry;

    fn ops(lifecycle: &Lifecycle) -> Ops {
        let identity = Identity {
            instance: InstanceId::for_this_boot(Some("a")),
            exposed: true,
            version: "1.2.3",
            started_at: SystemClock.now(),
            clock: SystemClock::shared(),
        };
        let rules = Rules {
            strict: false,
            check_timeout: Duration::from_secs(2),
            check_interval: Duration::from_secs(1),
        };
        let health = Health::start(rules, identity, lifecycle);
        health.add(Check::new("database", Kind::Shared, || async {
            Ok(json!({ "idle": 3 }))
        }));
        health.add(Check::new("kafka", Kind::Shared, || async {
            Err("no broker at 10.0.0.7".to_owned())
        }));
        Ops {
            health,
            metrics: telemetry::metrics::recorder().unwrap(),
            lifecycle: lifecycle.clone(),
        }
    }

    async fn ask(router: &Router, path: &str) -> (u16, String, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let media_type = response.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20)
            .await
            .unwrap();
        (
            status,
            media_type,
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    async fn json_of(router: &Router, path: &str) -> (u16, Value) {
        let (status, _, body) = ask(router, path).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    #[tokio::test]
    async fn metrics_are_in_prometheus_text_format() {
        let router = routes(ops(&Lifecycle::new()));
        crate::kit::metrics::lease_lost();
        for path in ["/metrics", "/api/metrics"] {
            let (status, media_type, body) = ask(&router, path).await;
            assert_eq!((status, media_type.as_str()), (200, METRICS_TEXT));
            assert!(
                body.contains("# TYPE spheroctl_lease_lost_total counter"),
                "{body}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_is_shown_by_its_name() {
        let router = routes(ops(&Lifecycle::new()));
        for base in ["/health/services", "/api/health/services"] {
            let (status, body) = json_of(&router, &format!("{base}/database")).await;
            assert_eq!((status, &body["status"]), (200, &json!("healthy")));
            assert_eq!(
                (&body["service"], &body["details"]["idle"]),
                (&json!("database"), &json!(3))
            );
            let (status, body) = json_of(&router, &format!("{base}/kafka")).await;
            assert_eq!(
                (status, &body["output"]),
                (503, &json!("no broker at 10.0.0.7"))
            );
            let (status, media_type, body) = ask(&router, &format!("{base}/oracle")).await;
            assert_eq!(
                (status, media_type.as_str()),
                (404, "application/problem+json")
            );
            assert!(body.contains("there are: database, kafka"), "{body}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn everything_is_shown_in_detail() {
        let lifecycle = Lifecycle::new();
        let router = routes(ops(&lifecycle));
        for path in ["/health/detailed", "/api/health/detailed"] {
            let (status, body) = json_of(&router, path).await;
            assert_eq!((status, &body["status"]), (200, &json!("degraded")));
            assert_eq!(body["version"], "1.2.3");
            assert_eq!(body["services"]["database"]["details"]["idle"], 3);
            assert_eq!(body["services"]["kafka"]["status"], "unhealthy");
            assert_eq!(body["process"]["runtime"]["status"], "healthy");
            assert!(body["process"].get("kafka").is_none());
        }
        let (_, body) = json_of(&router, "/readyz").await;
        assert_eq!(
            body["checks"]["kafka"][0]["output"],
            "no broker at 10.0.0.7"
        );
        lifecycle.drain();
        let (status, body) = json_of(&router, "/health/detailed").await;
        assert_eq!((status, &body["status"]), (503, &json!("unhealthy")));
        assert_eq!(
            body["services"]["database"]["status"], "healthy",
            "as last seen"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn upkeep_ends_with_the_process() {
        let lifecycle = Lifecycle::new();
        let _router = routes(ops(&lifecycle));
        assert!(lifecycle.finish(Duration::from_secs(1)).await);
    }
}
