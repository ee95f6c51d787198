//! Projects of whoever asks.

use axum::extract::State;
use http::{StatusCode, Uri, header};
use serde::Deserialize;

use crate::db::{Tx, run_tx};
use crate::domain::Error;
use crate::domain::access::Principal;
use crate::domain::idempotency::{Outcome, Request, once};
use crate::domain::projects::{self, Project};
use crate::http::{Json, Path, Query};
use crate::kit::id::ProjectId;

use super::auth::Authenticated;
use super::conventions::{Answer, OptionalIdempotencyKey, PageQuery};
use super::{Api, idempotency};

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

/// Makes a project. An `Idempotency-Key` is honoured but not demanded: a project is two rows and costs nothing, so that
/// a person at a prompt needs none; a client that repeats requests gives one and has one project.
pub(super) async fn create(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    OptionalIdempotencyKey(key): OptionalIdempotencyKey,
    Json(new): Json<NewProject>,
) -> Answer {
    let outcome = match key {
        Some(key) => {
            let parts: [&[u8]; 2] = [b"project", new.name.as_bytes()];
            let request = Request::new(principal.user, &key, &parts)?;
            let making = make(&api, &principal, Some(&request), &new);
            idempotency::once(&api, &request, making).await?
        }
        None => make(&api, &principal, None, &new).await?,
    };
    let made = outcome.value;
    let location = [(header::LOCATION, format!("/api/v1/projects/{}", made.id))];
    let answer = (StatusCode::CREATED, location, Json(made));
    Ok(idempotency::rendered(answer, outcome.replayed))
}

async fn make(
    api: &Api,
    principal: &Principal,
    request: Option<&Request>,
    new: &NewProject,
) -> Result<Outcome<Project>, Error> {
    run_tx!(api.db, "project.create", |tx| -> Result<
        Outcome<Project>,
        Error,
    > {
        let clock = &*api.clock;
        let effect = async |tx: &mut Tx| projects::create(tx, clock, principal, &new.name).await;
        once(tx, request, clock.now(), effect).await
    })
}

pub(super) async fn show(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<ProjectId>,
) -> Answer<Json<Project>> {
    Ok(Json(projects::find(&api.db, &principal, id).await?))
}
