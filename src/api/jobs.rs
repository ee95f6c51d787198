//! Jobs: asked for, watched, stopped. Results have their own file.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use serde::{Deserialize, Serialize};

use crate::domain::Error;
use crate::domain::access::Principal;
use crate::domain::idempotency::{Outcome, Request};
use crate::domain::jobs::{Depth, Figures, Job, NewJob, Outlook, Status};
use crate::http::{Json, Path, Query, TimeLimit};
use crate::kit::id::{JobId, ProjectId};

use super::Api;
use super::auth::Authenticated;
use super::conventions::{Answer, IdempotencyKey, List, PageQuery, Patience, bad_parameter};
use super::{idempotency, waiting};

/// When to look again at jobs that have not ended, in seconds.
const LOOK_AGAIN_S: &str = "1";
/// Says how long was waited at most (RFC 7240).
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    jobs: Vec<NewJob>,
}

/// A job, and where it stands while it waits.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    job: Job,
    #[serde(flatten)]
    outlook: Option<Outlook>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobsQuery {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default)]
    limit: Option<u32>,
}

pub(super) async fn submit(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    key: IdempotencyKey,
    wished: Patience,
    limit: Option<Extension<TimeLimit>>,
    Json(new): Json<NewJob>,
) -> Answer {
    let patience = waiting::patience(&api, wished, limit);
    let mut outcome = submitted(&api, &principal, &key, "job", &[new])
        .await
        .map_err(named_without_place)?;
    if let Some(patience) = patience {
        outcome.value = waiting::until_ended(&api, &principal, outcome.value, patience).await?;
    }
    let Some(job) = outcome.value.pop() else {
        return Err(Error::not_found("job", "of this request").into());
    };
    let location = [(header::LOCATION, format!("/api/v1/jobs/{}", job.id))];
    let (status, again) = progress_of(&[&job]);
    let answer = (status, again, waited(patience), location, Json(job));
    Ok(idempotency::rendered(answer, outcome.replayed))
}

pub(super) async fn submit_batch(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    key: IdempotencyKey,
    wished: Patience,
    limit: Option<Extension<TimeLimit>>,
    Json(batch): Json<Batch>,
) -> Answer {
    let patience = waiting::patience(&api, wished, limit);
    let mut outcome = submitted(&api, &principal, &key, "jobs", &batch.jobs).await?;
    if let Some(patience) = patience {
        outcome.value = waiting::until_ended(&api, &principal, outcome.value, patience).await?;
    }
    let (status, again) = progress_of(&outcome.value.iter().collect::<Vec<_>>());
    let answer = (
        status,
        again,
        waited(patience),
        Json(List::whole(outcome.value)),
    );
    Ok(idempotency::rendered(answer, outcome.replayed))
}

pub(super) async fn show(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<JobId>,
) -> Answer<Json<Shown>> {
    let job = api.jobs.find(&principal, id).await?;
    let outlook = api.jobs.outlook(&job).await?;
    Ok(Json(Shown { job, outlook }))
}

pub(super) async fn list(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(project): Path<ProjectId>,
    uri: Uri,
    Query(query): Query<JobsQuery>,
) -> Answer {
    let page = PageQuery::new(query.cursor, query.limit).page()?;
    let status = query
        .status
        .as_deref()
        .map(str::parse::<Status>)
        .transpose();
    let status = status.map_err(|why| bad_parameter("status", why))?;
    let before = page.before.map(JobId::from_uuid);
    let found = api
        .jobs
        .list(&principal, project, status, before, page.look_for())
        .await?;
    Ok(page.answer(&uri, found, |job| job.id.as_uuid()))
}

/// A dead or cancelled job runs again.
pub(super) async fn retry(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<JobId>,
    IdempotencyKey(key): IdempotencyKey,
) -> Answer {
    let request = Request::new(principal.user, &key, &[b"retry", id.as_uuid().as_bytes()])?;
    let retry = api.jobs.retry(&principal, Some(&request), id);
    let outcome = idempotency::once(&api, &request, retry).await?;
    let answer = waits_again(outcome.value);
    Ok(idempotency::rendered(answer, outcome.replayed))
}

/// 200 where the job has ended, 202 where it runs on to its next chance to stop. No `Idempotency-Key`: nothing is made,
/// and a job that was stopped twice is stopped.
pub(super) async fn cancel(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<JobId>,
) -> Answer {
    let job = api.jobs.cancel(&principal, id).await?;
    let (status, again) = progress_of(&[&job]);
    Ok((status, again, Json(job)).into_response())
}

/// How full the queue is; for administrators.
pub(super) async fn depth(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
) -> Answer<Json<Depth>> {
    principal.require_admin()?;
    Ok(Json(api.jobs.depth().await?))
}

/// How the queue is: who waits and how long, and how fast it goes; for administrators.
pub(super) async fn figures(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
) -> Answer<Json<Figures>> {
    principal.require_admin()?;
    Ok(Json(api.jobs.figures().await?))
}

async fn submitted(
    api: &Api,
    principal: &Principal,
    key: &IdempotencyKey,
    route: &str,
    new: &[NewJob],
) -> Result<Outcome<Vec<Job>>, Error> {
    let asked = canonical(new)?;
    let request = Request::new(principal.user, &key.0, &[route.as_bytes(), &asked])?;
    idempotency::once(
        api,
        &request,
        api.jobs.submit(principal, Some(&request), new),
    )
    .await
}

/// What was asked, whatever the order and spacing of its JSON.
pub(super) fn canonical(asked: &(impl Serialize + ?Sized)) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(asked).map_err(|error| Error::Internal(error.to_string()))
}

/// A failure of a lone job names its field as the request does.
fn named_without_place(error: Error) -> Error {
    match error {
        Error::Invalid { field, why } => {
            let field = field
                .strip_prefix("/jobs/0")
                .map(str::to_owned)
                .unwrap_or(field);
            Error::Invalid { field, why }
        }
        error => error,
    }
}

/// The answer about one job that waits again.
pub(super) fn waits_again(job: Job) -> impl IntoResponse {
    let location = [(header::LOCATION, format!("/api/v1/jobs/{}", job.id))];
    let (status, again) = progress_of(&[&job]);
    (status, again, location, Json(job))
}

/// Status and headers of an answer about jobs that may run on.
pub(super) fn progress_of(jobs: &[&Job]) -> (StatusCode, HeaderMap) {
    if jobs.iter().all(|job| job.status.is_final()) {
        return (StatusCode::OK, HeaderMap::new());
    }
    let look_again = HeaderValue::from_static(LOOK_AGAIN_S);
    (
        StatusCode::ACCEPTED,
        HeaderMap::from_iter([(header::RETRY_AFTER, look_again)]),
    )
}

fn waited(patience: Option<Duration>) -> Option<[(HeaderName, String); 1]> {
    patience.map(|patience| [(PREFERENCE_APPLIED, format!("wait={}", patience.as_secs()))])
}
