//! Dead letters of jobs: those that failed for good. Administrators reach those of all projects, everybody else those
//! of their own. Whoever may submit jobs to a project may replay and remove its dead ones; removing many at once is for
//! administrators.

use axum::extract::State;
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};

use crate::domain::idempotency::Request;
use crate::domain::jobs::Job;
use crate::domain::jobs::dead::{DeadLetter, Filter, Purged, Scope, Selection};
use crate::http::{Json, Path, Query};
use crate::kit::id::{JobId, ProjectId, UserId};

use super::auth::Authenticated;
use super::conventions::{Answer, IdempotencyKey, PageQuery};
use super::jobs::{canonical, progress_of, waits_again};
use super::{Api, idempotency};

/// The filter, and the page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadQuery {
    #[serde(default)]
    project: Option<ProjectId>,
    #[serde(default)]
    error_class: Option<String>,
    #[serde(default)]
    owner: Option<UserId>,
    #[serde(default)]
    older_than_s: Option<u32>,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default)]
    limit: Option<u32>,
}

#[derive(Serialize)]
struct Again {
    items: Vec<Job>,
    /// Whether the limit left some.
    more: bool,
}

pub(super) async fn list(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    uri: Uri,
    Query(query): Query<DeadQuery>,
) -> Answer {
    let page = PageQuery::new(query.cursor, query.limit).page()?;
    let filter = Filter {
        project: query.project,
        error_class: query.error_class,
        owner: query.owner,
        older_than_s: query.older_than_s,
    };
    let before = page.before.map(JobId::from_uuid);
    let scope = Scope::from(&principal);
    let found = api
        .jobs
        .dead_letters(&scope, &filter, before, page.look_for())
        .await?;
    Ok(page.answer(&uri, found, |job| job.id.as_uuid()))
}

pub(super) async fn show(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<JobId>,
) -> Answer<Json<DeadLetter>> {
    let scope = Scope::from(&principal);
    Ok(Json(api.jobs.dead_letter(&scope, id).await?))
}

/// One dead job runs again.
pub(super) async fn replay_one(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<JobId>,
    IdempotencyKey(key): IdempotencyKey,
) -> Answer {
    let selection = Selection::one(id);
    let asked = canonical(&selection)?;
    let request = Request::new(principal.user, &key, &[b"dead-letter", &asked])?;
    let scope = Scope::from(&principal);
    let replay = api.jobs.replay(&scope, Some(&request), &selection);
    let outcome = idempotency::once(&api, &request, replay).await?;
    let job = outcome.value.jobs.into_iter().next();
    // Of a repetition the job may have been removed meanwhile.
    let job = job.ok_or_else(|| crate::domain::Error::not_found("job", id))?;
    Ok(idempotency::rendered(waits_again(job), outcome.replayed))
}

/// Many dead jobs run again: all that are named, or the oldest that a filter finds.
pub(super) async fn replay(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    IdempotencyKey(key): IdempotencyKey,
    Json(selection): Json<Selection>,
) -> Answer {
    let asked = canonical(&selection)?;
    let request = Request::new(principal.user, &key, &[b"dead-letters", &asked])?;
    let scope = Scope::from(&principal);
    let replay = api.jobs.replay(&scope, Some(&request), &selection);
    let outcome = idempotency::once(&api, &request, replay).await?;
    let (status, again) = progress_of(&outcome.value.jobs.iter().collect::<Vec<_>>());
    let list = Again {
        items: outcome.value.jobs,
        more: outcome.value.more,
    };
    let answer = (status, again, Json(list));
    Ok(idempotency::rendered(answer, outcome.replayed))
}

pub(super) async fn remove(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<JobId>,
) -> Answer<StatusCode> {
    let scope = Scope::from(&principal);
    api.jobs.purge(&scope, &Selection::one(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes many; for administrators. No `Idempotency-Key`: nothing is made, and what is gone stays gone.
pub(super) async fn purge(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Json(selection): Json<Selection>,
) -> Answer<Json<Purged>> {
    principal.require_admin()?;
    Ok(Json(api.jobs.purge(&Scope::Everything, &selection).await?))
}
