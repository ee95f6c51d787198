//! Members of a project.

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use serde::Deserialize;

use crate::domain::access::Role;
use crate::domain::projects::{self, Member};
use crate::http::{Json, Path};
use crate::kit::id::{ProjectId, UserId};

use super::Api;
use super::auth::Authenticated;
use super::conventions::{Answer, List};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMember {
    email: String,
    role: Role,
}

pub(super) async fn list(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<ProjectId>,
) -> Answer {
    let members = projects::members(&api.db, &principal, id).await?;
    Ok(Json(List::whole(members)).into_response())
}

/// Makes somebody a member, or changes what a member may do; a PUT, so that a repetition changes nothing.
pub(super) async fn put(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<ProjectId>,
    Json(new): Json<NewMember>,
) -> Answer<Json<Member>> {
    let (db, clock) = (&api.db, &*api.clock);
    let member = projects::put_member(db, clock, &principal, id, &new.email, new.role).await?;
    Ok(Json(member))
}

pub(super) async fn remove(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path((id, user)): Path<(ProjectId, UserId)>,
) -> Answer<StatusCode> {
    projects::remove_member(&api.db, &*api.clock, &principal, id, user).await?;
    api.access_changed(user).await;
    Ok(StatusCode::NO_CONTENT)
}
