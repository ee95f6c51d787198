//! Requests that may be repeated: a twin of one in flight is told so, and a replay says that it is one.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue};

use crate::domain::Error;
use crate::domain::idempotency::{Outcome, Request};

use super::Api;

/// Says that an answer is that of an earlier request with the same key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Runs `effect` while `request` is marked as in flight.
///
/// # Errors
/// [`Error::InFlight`] while a twin runs; otherwise what `effect` answers.
pub(super) async fn once<T>(
    api: &Api,
    request: &Request,
    effect: impl Future<Output = Result<Outcome<T>, Error>>,
) -> Result<Outcome<T>, Error> {
    match request.enter(&*api.state).await {
        Ok(marker) => {
            let outcome = effect.await;
            marker.leave().await;
            outcome
        }
        // A broken connection left its marker behind, but its effect is there.
        Err(Error::InFlight) if request.is_recorded(&api.db).await? => effect.await,
        Err(error) => Err(error),
    }
}

/// `answer`, marked where it is a replay.
pub(super) fn rendered(answer: impl IntoResponse, replayed: bool) -> Response {
    let mut response = answer.into_response();
    if replayed {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}
