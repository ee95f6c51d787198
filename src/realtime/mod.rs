//! The WebSocket gateway. This version has its listener, probes and drain, and refuses connections with the reason.

pub mod frame;
pub mod protocol;

use axum::Router;
use axum::routing::any;
use http::StatusCode;

use crate::http::Problem;

/// Where clients of the Centrifugo protocol connect.
const ENDPOINTS: [&str; 2] = ["/connection/websocket", "/connection/sse"];

/// The gateway's routes.
pub fn routes() -> Router {
    ENDPOINTS.into_iter().fold(Router::new(), |router, path| {
        router.route(path, any(refuse))
    })
}

async fn refuse() -> Problem {
    Problem::new(
        StatusCode::NOT_IMPLEMENTED,
        "no-live-updates",
        "This version pushes no live updates",
    )
    .detail(
        "ask GET /api/v1/jobs/{job}, or submit with `Prefer: wait=60` and be answered at the end",
    )
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_connection_is_refused_with_its_reason() {
        let request = Request::get("/connection/websocket")
            .body(Body::empty())
            .unwrap();
        let answer = routes().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
}
