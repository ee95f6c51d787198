//! Who asks: the bearer of an API token, or whoever holds a session cookie. No route with data answers anybody else.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};

use crate::domain::access::Principal;
use crate::domain::users;
use crate::http::Problem;
use crate::http::origin::{self, Site};
use crate::kit::id::UserId;

use super::conventions::Answer;
use super::{Api, cookies};

/// Whoever asks, known. The first argument of every handler of a route with data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Authenticated(pub(super) Principal);

/// What a layer around the handler found out already; found in the request's extensions.
#[derive(Debug, Clone)]
pub(super) struct Known(Answer<Principal>);

impl Known {
    /// Who sent a request with these headers, or why nobody knows.
    pub(super) async fn of(method: &Method, headers: &HeaderMap, api: &Api) -> Self {
        Self(principal(method, headers, api).await)
    }

    /// The user, where there is one.
    pub(super) fn user(&self) -> Option<UserId> {
        self.0.as_ref().ok().map(|principal| principal.user)
    }
}

/// A request without valid credentials, or one that a foreign page sent.
#[derive(Debug)]
pub(super) struct Refused(Problem);

impl FromRequestParts<Api> for Authenticated {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refused> {
        let known = match parts.extensions.remove::<Known>() {
            Some(Known(known)) => known,
            None => principal(&parts.method, &parts.headers, api).await,
        };
        known.map(Self).map_err(Refused)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let unauthorized = self.0.status() == 401;
        let mut response = self.0.into_response();
        if unauthorized {
            let challenge = HeaderValue::from_static("Bearer realm=\"spheroctl\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Refuses a sign-in that a foreign page sent: it would sign its visitor in as somebody else.
///
/// # Errors
/// 403.
pub(super) fn refuse_foreign(headers: &HeaderMap, api: &Api) -> Answer<()> {
    match origin::site(headers, &api.rules.public_url) {
        Site::Foreign => Err(foreign()),
        Site::Ours | Site::Unknown => Ok(()),
    }
}

/// The account with this id, where it may sign in.
///
/// # Errors
/// Only the database's own.
pub(super) async fn active_user(api: &Api, id: UserId) -> Answer<Option<users::User>> {
    let user = users::find(&api.db, id).await?;
    Ok(user.filter(|user| user.disabled_at.is_none()))
}

async fn principal(method: &Method, headers: &HeaderMap, api: &Api) -> Answer<Principal> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        return of_token(value, api).await;
    }
    let Some(token) = cookies::token(headers, &api.rules) else {
        return Err(Problem::unauthorized("an API token or a session is needed"));
    };
    if !method.is_safe() && origin::site(headers, &api.rules.public_url) != Site::Ours {
        return Err(foreign());
    }
    of_session(token, api).await
}

async fn of_token(value: &HeaderValue, api: &Api) -> Answer<Principal> {
    let bearer = value.to_str().ok().and_then(|text| text.split_once(' '));
    let secret = bearer
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, secret)| secret.trim())
        .ok_or_else(|| Problem::unauthorized("Authorization must be of the form: Bearer TOKEN"))?;
    let bearer = api.bearers.principal(secret).await?;
    bearer.ok_or_else(|| Problem::unauthorized("this API token is unknown, expired or revoked"))
}

async fn of_session(token: &str, api: &Api) -> Answer<Principal> {
    let principal = users::signed_in(&api.db, &api.sessions, token).await?;
    principal.ok_or_else(|| Problem::unauthorized("this session has ended"))
}

fn foreign() -> Problem {
    Problem::forbidden(
        "this request was sent by another site, or by a client that does not say where it comes from",
    )
}
