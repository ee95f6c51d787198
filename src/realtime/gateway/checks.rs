//! The regular look at a connection that lasts: is its credential still good, may it still hear what it hears?

use std::collections::HashMap;
use std::sync::Arc;

use super::super::rules::Grant;
use super::Gateway;
use super::asks::Identity;
use crate::domain::push::Channel;

/// What a look found.
#[derive(Debug)]
pub(super) enum Found {
    /// The credential opens nothing any more.
    Revoked,
    /// These channels are no longer the client's.
    Lost(Vec<Channel>),
    /// Nobody could be asked; the next look will tell.
    Unknown,
}

/// Looks.
pub(super) async fn look(
    gateway: Gateway,
    client: Arc<str>,
    identity: Arc<Identity>,
    grants: HashMap<Channel, Grant>,
) -> Found {
    let rules = &gateway.0.handles.rules;
    let found = async {
        let Some(principal) = rules.identify(&identity.credential).await? else {
            return Ok(Found::Revoked);
        };
        let holds = rules
            .still_hold(&principal, grants.values().copied())
            .await?;
        let lost = grants
            .iter()
            .filter(|(_, grant)| holds.get(grant) == Some(&false));
        Ok(Found::Lost(lost.map(|(channel, _)| *channel).collect()))
    };
    if let Err(error) = gateway.0.tracking.keep(&client, &identity.tracked).await {
        tracing::debug!(%error, "a connection is not listed for longer: {error}");
    }
    found.await.unwrap_or_else(|error: crate::domain::Error| {
        tracing::warn!(%error, "the rights of a client are not known: {error}");
        Found::Unknown
    })
}
