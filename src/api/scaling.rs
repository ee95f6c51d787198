//! Who is there, who does what, and how many workers there should be.

use axum::extract::State;

use crate::domain::scaling::{Info, info};
use crate::http::Json;

use super::Api;
use super::auth::Authenticated;
use super::conventions::Answer;

/// The instances and the queue; for administrators, because it shows addresses of the inside.
pub(super) async fn show(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
) -> Answer<Json<Info>> {
    principal.require_admin()?;
    Ok(Json(
        info(&api.state, &api.jobs, (&api.identity.instance, &api.vitals)).await?,
    ))
}
