//! Who is subscribed to a channel: a list in the state store that every connection keeps itself on, and words to those who
//! want to know. Both are soon true, not at once: an instance that dies leaves its clients listed for a minute.

use std::time::Duration;

use super::super::hub::broadcast::client_info;
use super::super::protocol::ClientInfo;
use super::Handles;
use crate::domain::Error;
use crate::domain::push::{Author, Channel, Told};

/// For how long a client is listed without a refresh, which comes with every ping.
const LIFETIME: Duration = Duration::from_secs(60);

fn key(channel: Channel) -> String {
    format!("ws:presence:{channel}")
}

/// Lists a client; tells the others where it is new.
pub(super) async fn keep(handles: &Handles, channel: Channel, author: &Author) {
    let Ok(json) = serde_json::to_vec(author) else {
        return;
    };
    let list = key(channel);
    let joined = handles
        .state
        .join(&list, &author.client, json.into(), LIFETIME);
    match joined.await {
        Ok(true) => tell(handles, channel, &Told::Joined(author.clone())).await,
        Ok(false) => {}
        Err(error) => tracing::debug!(%error, "a client is not listed on {channel}: {error}"),
    }
}

/// Takes a client from the list, and tells the others.
pub(super) async fn leave(handles: &Handles, channel: Channel, author: &Author) {
    match handles.state.leave(&key(channel), &author.client).await {
        Ok(true) => tell(handles, channel, &Told::Left(author.clone())).await,
        Ok(false) => {}
        Err(error) => tracing::debug!(%error, "a client stays listed on {channel}: {error}"),
    }
}

/// Who is subscribed.
///
/// # Errors
/// When the state store does not answer.
pub(super) async fn list(handles: &Handles, channel: Channel) -> Result<Vec<ClientInfo>, Error> {
    let members = handles.state.members(&key(channel)).await?;
    let authors = members
        .iter()
        .filter_map(|(_, json)| serde_json::from_slice::<Author>(json).ok());
    Ok(authors.map(client_info).collect())
}

async fn tell(handles: &Handles, channel: Channel, told: &Told) {
    if let Err(error) = handles.push.tell(channel, told).await {
        tracing::debug!(%error, "nobody was told who is on {channel}: {error}");
    }
}
