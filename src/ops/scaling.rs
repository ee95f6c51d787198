//! Who is there and how many workers there should be, for an autoscaler that may reach the operator listener.

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use crate::domain::Error;
use crate::domain::jobs::Jobs;
use crate::domain::scaling::{Info, info};
use crate::http::{Json, Problem};
use crate::kit::instance::InstanceId;
use crate::state::SharedState;
use crate::state::vitals::Vitals;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Scaling {
    /// Who is there.
    pub state: SharedState,
    /// How full the queue is.
    pub jobs: Jobs,
    /// Who answers.
    pub instance: InstanceId,
    /// What it says of itself.
    pub vitals: Vitals,
}

/// `/api/v1/scaling/info`, without a token as everything on this listener.
pub fn routes(scaling: Scaling) -> Router {
    Router::new()
        .route("/api/v1/scaling/info", get(show))
        .with_state(scaling)
}

async fn show(State(scaling): State<Scaling>) -> Result<Json<Info>, Problem> {
    let asked = info(
        &scaling.state,
        &scaling.jobs,
        (&scaling.instance, &scaling.vitals),
    )
    .await;
    let unknown = |error: Error| Problem::unavailable("instances-unknown", error.to_string());
    asked.map(Json).map_err(unknown)
}
