//! Images: what is there.

use axum::extract::State;
use http::Uri;

use crate::domain::access::Role;
use crate::domain::images::{self, Image};
use crate::http::{Json, Path, Query};
use crate::kit::id::{ImageId, ProjectId};

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
    let before = page.before.map(ImageId::from_uuid);
    let found = images::list(&api.db, &principal, project, before, page.look_for()).await?;
    Ok(page.answer(&uri, found, |image| image.id.as_uuid()))
}

pub(super) async fn show(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<ImageId>,
) -> Answer<Json<Image>> {
    Ok(Json(
        images::find(&api.db, &principal, id, Role::Viewer).await?,
    ))
}
