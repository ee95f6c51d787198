//! Who answers: lets anybody see through a balancer which copy is behind it.

use axum::Extension;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::http::{Client, Json, RequestId};
use crate::kit::instance::InstanceId;

use super::Api;

/// Who answers.
#[derive(Debug, Clone)]
pub struct Identity {
    /// This boot of this process.
    pub instance: InstanceId,
    /// Whether strangers are told its name.
    pub exposed: bool,
    /// The command that runs: `serve` or `standalone`.
    pub role: &'static str,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// Cancelled when it begins to drain.
    pub draining: CancellationToken,
}

#[derive(Debug, Serialize)]
pub(super) struct Answer {
    instance: Option<String>,
    role: &'static str,
    version: &'static str,
    started_at: DateTime<Utc>,
    draining: bool,
    /// The instance's clock.
    now: DateTime<Utc>,
    /// The client as this instance sees it.
    peer: Option<String>,
    scheme: Option<&'static str>,
    request_id: Option<String>,
}

pub(super) async fn whoami(
    State(api): State<Api>,
    client: Option<Extension<Client>>,
    request: Option<Extension<RequestId>>,
) -> Json<Answer> {
    let identity = &api.identity;
    let instance = identity.instance.unique().to_owned();
    Json(Answer {
        instance: identity.exposed.then_some(instance),
        role: identity.role,
        version: env!("CARGO_PKG_VERSION"),
        started_at: identity.started_at,
        draining: identity.draining.is_cancelled(),
        now: api.clock.now(),
        peer: client.as_ref().map(|client| client.address.to_string()),
        scheme: client.map(|Extension(client)| client.scheme),
        request_id: request.map(|Extension(id)| id.to_string()),
    })
}
