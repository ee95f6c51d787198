//! How the event backbone is; for administrators.

use axum::extract::State;

use crate::domain::backbone::{self, Backbone};
use crate::http::Json;

use super::Api;
use super::auth::Authenticated;
use super::conventions::Answer;

pub(super) async fn show(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
) -> Answer<Json<Backbone>> {
    principal.require_admin()?;
    let found = backbone::look(&api.db, &*api.log, &api.state, &*api.clock).await?;
    Ok(Json(found))
}
