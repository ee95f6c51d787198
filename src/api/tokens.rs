//! API tokens of whoever asks.

use axum::extract::State;
use axum::response::IntoResponse;
use chrono::TimeDelta;
use http::{StatusCode, header};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::domain::Error;
use crate::domain::users::{self, Token};
use crate::http::{Json, Path};
use crate::kit::id::TokenId;

use super::Api;
use super::auth::Authenticated;
use super::conventions::{Answer, List};

/// Longest lifetime of a token that has one: ten years.
const DAYS_MAX: u32 = 3_650;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    name: String,
    /// Days until it stops working; absent: it works until it is revoked.
    #[serde(default)]
    expires_in_days: Option<u32>,
}

#[derive(Serialize)]
struct CreatedToken {
    #[serde(flatten)]
    token: Token,
    /// What the bearer sends; shown this once.
    secret: String,
}

pub(super) async fn list(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
) -> Answer {
    let tokens = users::list_tokens(&api.db, principal.user).await?;
    Ok(Json(List::whole(tokens)).into_response())
}

/// Makes a token. No `Idempotency-Key`: a repetition could only be answered from a stored secret, and secrets are not
/// stored. A token that was made twice costs nothing and is revoked from the list.
pub(super) async fn create(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Json(new): Json<NewToken>,
) -> Answer {
    let lifetime = new.expires_in_days.map(lifetime).transpose()?;
    let made =
        users::create_token(&api.db, &*api.clock, principal.user, &new.name, lifetime).await?;
    let location = format!("/api/v1/tokens/{}", made.token.id);
    let created = CreatedToken {
        secret: made.secret.expose_secret().to_owned(),
        token: made.token,
    };
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(created),
    )
        .into_response())
}

pub(super) async fn revoke(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    Path(id): Path<TokenId>,
) -> Answer<StatusCode> {
    if !users::revoke_token(&api.db, principal.user, id).await? {
        return Err(Error::not_found("token", id).into());
    }
    api.access_changed(principal.user).await;
    Ok(StatusCode::NO_CONTENT)
}

fn lifetime(days: u32) -> Result<TimeDelta, Error> {
    if (1..=DAYS_MAX).contains(&days) {
        return Ok(TimeDelta::days(i64::from(days)));
    }
    Err(Error::invalid(
        "expires_in_days",
        format!("1 to {DAYS_MAX} is expected, not {days}"),
    ))
}
