//! Projects of whoever asks.

use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, Uri, header};
use serde::Deserialize;

use crate::db::run_tx;
use crate::domain::Error;
use crate::domain::projects::{self, Project};
use crate::http::{Json, Path, Query};
use crate::kit::id::ProjectId;

use super::Api;
use super::auth::Authenticated;
use super::conventions::{Answer, PageQuery};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewProject {
    name: String,
}

pub(super) async fn list(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    uri: Uri,
    Query(query): Query<PageQuery>,
) -> Answer {
    let page = query.page()?;
    let before = page.before.map(ProjectId::from_uuid);
    let found = projects::list(&api.db, &principal, before, page.look_for()).await?;
    Ok(page.answer(&uri, found, |project| project.id.as_uuid()))
}

pub(super) async fn create(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Json(new): Json<NewProject>,
) -> Answer {
    let made = run_tx!(api.db, "project.create", |tx| -> Result<Project, Error> {
        projects::create(tx, &*api.clock, &principal, &new.name).await
    })?;
    let location = format!("/api/v1/projects/{}", made.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(made),
    )
        .into_response())
}

pub(super) async fn show(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<ProjectId>,
) -> Answer<Json<Project>> {
    Ok(Json(projects::find(&api.db, &principal, id).await?))
}
