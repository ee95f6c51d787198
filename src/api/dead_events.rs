//! Dead letters of the event log; for administrators, since they hold records of all projects.

use axum::extract::State;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::domain::Error;
use crate::events::dead_letters::{Filter, Letter, LetterId, Purged, Replayed, Selection};
use crate::http::{Json, Path, Query};

use super::Api;
use super::auth::Authenticated;
use super::conventions::{Answer, List, bad_parameter};

/// Letters that are listed where the request does not say.
const LIMIT_DEFAULT: usize = 50;
/// Most letters that are listed, or replayed at once.
const LIMIT_MAX: usize = 1_000;

/// The filter and how many.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadQuery {
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    error_class: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

/// Which letters are dropped: those that are older.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Purge {
    #[serde(default)]
    topic: Option<String>,
    older_than_s: u32,
}

/// The newest letters. Without pages: the log is looked through from its end.
pub(super) async fn list(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Query(query): Query<DeadQuery>,
) -> Answer<Json<List<Letter>>> {
    principal.require_admin()?;
    let filter = Filter {
        topic: query.topic,
        group: query.group,
        error_class: query.error_class,
    };
    let limit = checked(query.limit)?.unwrap_or(LIMIT_DEFAULT);
    let found = api.dead_letters.list(&filter, limit).await;
    Ok(Json(List::whole(found.map_err(Error::from)?)))
}

pub(super) async fn show(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<LetterId>,
) -> Answer<Json<Letter>> {
    principal.require_admin()?;
    let letter = api.dead_letters.show(&id).await.map_err(Error::from)?;
    let missing = || Error::not_found("dead letter", &id);
    Ok(Json(letter.ok_or_else(missing)?))
}

/// Sends letters again. No `Idempotency-Key`: an event has one effect, however often it is sent.
pub(super) async fn replay(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Json(mut selection): Json<Selection>,
) -> Answer<Json<Replayed>> {
    principal.require_admin()?;
    if selection.ids.len() > LIMIT_MAX {
        return Err(bad_parameter("ids", format!("at most {LIMIT_MAX}")));
    }
    selection.limit = Some(checked(selection.limit)?.unwrap_or(LIMIT_MAX));
    let replayed = api.dead_letters.replay(&selection).await;
    Ok(Json(replayed.map_err(Error::from)?))
}

pub(super) async fn purge(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Json(purge): Json<Purge>,
) -> Answer<Json<Purged>> {
    principal.require_admin()?;
    let age = TimeDelta::seconds(i64::from(purge.older_than_s));
    let purged = api.dead_letters.purge(purge.topic.as_deref(), age).await;
    Ok(Json(purged.map_err(Error::from)?))
}

fn checked(limit: Option<usize>) -> Answer<Option<usize>> {
    match limit {
        Some(limit) if !(1..=LIMIT_MAX).contains(&limit) => {
            let why = format!("1 to {LIMIT_MAX} is expected, not {limit}");
            Err(bad_parameter("limit", why))
        }
        limit => Ok(limit),
    }
}
