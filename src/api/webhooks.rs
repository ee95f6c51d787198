//! Webhooks of a project and their deliveries; for its owners.

use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, Uri, header};

use crate::db::{Tx, run_tx};
use crate::domain::Error;
use crate::domain::access::Principal;
use crate::domain::idempotency::{Outcome, Request, once};
use crate::domain::webhooks::{self, Delivery, Made, NewWebhook};
use crate::http::{Json, Path, Query};
use crate::kit::id::{DeliveryId, ProjectId, WebhookId};

use super::auth::Authenticated;
use super::conventions::{Answer, IdempotencyKey, List, PageQuery};
use super::jobs::canonical;
use super::{Api, idempotency};

/// The answer holds the secret, which is shown only here (and where this request is repeated).
pub(super) async fn create(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(project): Path<ProjectId>,
    IdempotencyKey(key): IdempotencyKey,
    Json(new): Json<NewWebhook>,
) -> Answer {
    let asked = canonical(&new)?;
    let of = project.to_string();
    let parts = [b"webhook", of.as_bytes(), &asked];
    let request = Request::new(principal.user, &key, &parts)?;
    let making = make(&api, &principal, &request, project, &new);
    let outcome = idempotency::once(&api, &request, making).await?;
    let made = outcome.value;
    let location = format!("/api/v1/webhooks/{}", made.webhook.id);
    let answer = (
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(made),
    );
    Ok(idempotency::rendered(answer, outcome.replayed))
}

async fn make(
    api: &Api,
    principal: &Principal,
    request: &Request,
    project: ProjectId,
    new: &NewWebhook,
) -> Result<Outcome<Made>, Error> {
    run_tx!(api.db, "webhook.create", |tx| -> Result<
        Outcome<Made>,
        Error,
    > {
        let clock = &*api.clock;
        let effect = async |tx: &mut Tx| webhooks::create(tx, clock, principal, project, new).await;
        once(tx, Some(request), clock.now(), effect).await
    })
}

pub(super) async fn list(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(project): Path<ProjectId>,
) -> Answer {
    let found = webhooks::list(&api.db, &principal, project).await?;
    Ok(Json(List::whole(found)).into_response())
}

pub(super) async fn remove(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<WebhookId>,
) -> Answer<StatusCode> {
    webhooks::remove(&api.db, &principal, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn deliveries(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<WebhookId>,
    uri: Uri,
    Query(query): Query<PageQuery>,
) -> Answer {
    let page = query.page()?;
    let before = page.before.map(DeliveryId::from_uuid);
    let found = webhooks::deliveries(&api.db, &principal, id, before, page.look_for()).await?;
    Ok(page.answer(&uri, found, |delivery| delivery.id.as_uuid()))
}

/// A repetition changes nothing: the delivery waits already.
pub(super) async fn redeliver(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path((id, delivery)): Path<(WebhookId, DeliveryId)>,
) -> Answer<(StatusCode, Json<Delivery>)> {
    let (db, clock) = (&api.db, &*api.clock);
    let again = webhooks::redeliver(db, clock, &principal, id, delivery).await?;
    Ok((StatusCode::ACCEPTED, Json(again)))
}
