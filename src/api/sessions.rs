//! Signing in and out: by e-mail and password, or by the one-time code of a sign-in link.

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::domain::access::Principal;
use crate::domain::users::{self, User};
use crate::http::{Client, Json, Problem};
use crate::state::sessions::{Metadata, Session};

use super::auth::{self, Authenticated};
use super::conventions::{Answer, List};
use super::{Api, cookies};

/// Longest `User-Agent` that is remembered, in characters.
const USER_AGENT_CHARS_MAX: usize = 200;

/// The client, where the connection tells it.
type Peer = Option<Extension<Client>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    email: String,
    password: SecretString,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignInByLink {
    code: SecretString,
}

#[derive(Debug, Serialize)]
struct SessionView {
    id: String,
    created_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    request_count: u64,
    user_agent: String,
    ip: String,
    /// Whether this request came with it.
    current: bool,
}

/// The same answer, after the same work, for a wrong password, an unknown address and a disabled account. No
/// `Idempotency-Key`, here and for links: the answer is a secret, which is not stored, and a link works once by itself.
pub(super) async fn sign_in(
    State(api): State<Api>,
    peer: Peer,
    headers: HeaderMap,
    Json(request): Json<SignIn>,
) -> Answer {
    auth::refuse_foreign(&headers, &api)?;
    cookies::kinds(&headers, &api.rules)?;
    let found = users::find_by_email(&api.db, &request.email).await?;
    let hash = found.as_ref().and_then(|(_, hash)| hash.as_deref());
    let fits = api
        .passwords
        .verify(request.password.expose_secret(), hash)
        .await?;
    let user = found
        .map(|(user, _)| user)
        .filter(|user| fits && user.disabled_at.is_none());
    let user =
        user.ok_or_else(|| Problem::unauthorized("e-mail and password do not belong together"))?;
    open(&api, &headers, peer, user).await
}

pub(super) async fn sign_in_by_link(
    State(api): State<Api>,
    peer: Peer,
    headers: HeaderMap,
    Json(request): Json<SignInByLink>,
) -> Answer {
    auth::refuse_foreign(&headers, &api)?;
    // Before the code is used up.
    cookies::kinds(&headers, &api.rules)?;
    let user = match api
        .sign_in_codes
        .redeem(request.code.expose_secret())
        .await?
    {
        Some(user) => auth::active_user(&api, user).await?,
        None => None,
    };
    let user = user.ok_or_else(|| {
        Problem::unauthorized("this sign-in link was used already, or is too old")
    })?;
    open(&api, &headers, peer, user).await
}

pub(super) async fn me(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
) -> Answer<Json<User>> {
    let user = auth::active_user(&api, principal.user).await?;
    user.map(Json)
        .ok_or_else(|| Problem::unauthorized("this account is disabled"))
}

pub(super) async fn list(
    Authenticated(principal): Authenticated,
    State(api): State<Api>,
    headers: HeaderMap,
) -> Answer {
    let current = current(&api, &headers).await?;
    let sessions = api.sessions.list(principal.user).await?;
    let views = sessions
        .into_iter()
        .map(|session| view(session, current.as_deref()))
        .collect();
    Ok(Json(List::whole(views)).into_response())
}

/// Ends the session that the request came with.
pub(super) async fn sign_out(
    Authenticated(Principal { user, .. }): Authenticated,
    State(api): State<Api>,
    headers: HeaderMap,
) -> Answer {
    if let Some(token) = cookies::token(&headers, &api.rules) {
        api.sessions.end(token).await?;
        api.access_changed(user).await;
    }
    Ok((StatusCode::NO_CONTENT, cookies::clear()).into_response())
}

pub(super) async fn sign_out_everywhere(
    Authenticated(Principal { user, .. }): Authenticated,
    State(api): State<Api>,
) -> Answer {
    let ended = api.sessions.end_all(user).await?;
    api.access_changed(user).await;
    tracing::info!(%user, ended, "user {user} ended {ended} session(s)");
    Ok((StatusCode::NO_CONTENT, cookies::clear()).into_response())
}

async fn open(api: &Api, headers: &HeaderMap, peer: Peer, user: User) -> Answer {
    let token = api
        .sessions
        .create(user.id, metadata(headers, peer))
        .await?;
    let cookies = cookies::set(headers, &api.rules, &token)?;
    let location = [(header::LOCATION, "/api/v1/session")];
    Ok((StatusCode::CREATED, location, cookies, Json(user)).into_response())
}

fn metadata(headers: &HeaderMap, peer: Peer) -> Metadata {
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    Metadata {
        user_agent: agent.chars().take(USER_AGENT_CHARS_MAX).collect(),
        ip: peer
            .map(|Extension(client)| client.address.to_string())
            .unwrap_or_default(),
    }
}

/// The id of the session that the request came with.
async fn current(api: &Api, headers: &HeaderMap) -> Answer<Option<String>> {
    let Some(token) = cookies::token(headers, &api.rules) else {
        return Ok(None);
    };
    Ok(api.sessions.lookup(token).await?.map(|session| session.id))
}

fn view(session: Session, current: Option<&str>) -> SessionView {
    SessionView {
        current: current == Some(session.id.as_str()),
        id: session.id,
        created_at: session.created_at,
        last_seen_at: session.last_seen_at,
        request_count: session.request_count,
        user_agent: session.metadata.user_agent,
        ip: session.metadata.ip,
    }
}
