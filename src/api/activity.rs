//! What happened in a project, and the sums of projects and people.

use axum::extract::State;
use http::Uri;

use crate::domain::activity::{self, Statistics};
use crate::http::{Json, Path, Query};
use crate::kit::id::{EventId, ProjectId};

use super::Api;
use super::auth::Authenticated;
use super::conventions::{Answer, PageQuery};

pub(super) async fn list(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(project): Path<ProjectId>,
    uri: Uri,
    Query(query): Query<PageQuery>,
) -> Answer {
    let page = query.page()?;
    let before = page.before.map(EventId::from_uuid);
    let limit = page.look_for();
    let found = activity::of_project(&api.db, &principal, project, before, limit).await?;
    Ok(page.answer(&uri, found, |activity| activity.id.as_uuid()))
}

pub(super) async fn of_project(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(project): Path<ProjectId>,
) -> Answer<Json<Statistics>> {
    let statistics = activity::project_statistics(&api.db, &principal, project).await?;
    Ok(Json(statistics))
}

pub(super) async fn own(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
) -> Answer<Json<Statistics>> {
    Ok(Json(activity::own_statistics(&api.db, &principal).await?))
}
