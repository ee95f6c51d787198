//! What the other instances can know of our connections: `ws:user:{id}:conns` lists a person's, `ws:conn:{id}` tells one. Both
//! last an hour beyond the last refresh; those of an instance that is gone do not count before that.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Handles;
use crate::kit::clock::SharedClock;
use crate::kit::id::UserId;
use crate::state::instances::Instances;
use crate::state::{Error, SharedState, When};

/// Lifetime of both entries; refreshed with every look at what a connection may hear, which comes each minute.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// One open connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tracked {
    /// Whose it is.
    user: UserId,
    /// The gateway that holds it.
    instance: String,
    /// Since when.
    connected_at: DateTime<Utc>,
}

/// The lists in the state store.
#[derive(Debug)]
pub(super) struct Tracking {
    state: SharedState,
    clock: SharedClock,
    instance: String,
}

fn list_key(user: UserId) -> String {
    format!("ws:user:{user}:conns")
}

fn key(client: &str) -> String {
    format!("ws:conn:{client}")
}

impl Tracking {
    pub(super) fn new(handles: &Handles) -> Self {
        Self {
            state: handles.state.clone(),
            clock: handles.clock.clone(),
            instance: handles.instance.unique().to_owned(),
        }
    }

    /// How many connections this person has on instances that live.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) async fn connections(&self, user: UserId) -> Result<usize, Error> {
        let listed = self.state.members(&list_key(user)).await?;
        if listed.is_empty() {
            return Ok(0);
        }
        let live = Instances::new(self.state.clone()).list().await?;
        let mut live: HashSet<String> = live.into_iter().map(|line| line.instance).collect();
        // Its own line is written at the start, and may be late.
        live.insert(self.instance.clone());
        let tracked = listed
            .iter()
            .filter_map(|(_, json)| serde_json::from_slice::<Tracked>(json).ok());
        Ok(tracked
            .filter(|tracked| live.contains(&tracked.instance))
            .count())
    }

    /// Now that a connection is known.
    pub(super) fn begin(&self, user: UserId) -> Tracked {
        Tracked {
            user,
            instance: self.instance.clone(),
            connected_at: self.clock.now(),
        }
    }

    /// Writes a connection's entries, or lets them last for longer.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) async fn keep(&self, client: &str, tracked: &Tracked) -> Result<(), Error> {
        let json = serde_json::to_vec(tracked)
            .map_err(|error| Error::Unexpected(format!("a connection that is no JSON: {error}")))?;
        let json = Bytes::from(json);
        let list = list_key(tracked.user);
        self.state
            .join(&list, client, json.clone(), LIFETIME)
            .await?;
        self.state
            .put(&key(client), json, LIFETIME, When::Always)
            .await?;
        Ok(())
    }

    /// Takes a connection's entries out.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) async fn end(&self, client: &str, user: UserId) -> Result<(), Error> {
        self.state.leave(&list_key(user), client).await?;
        self.state.delete(&key(client)).await?;
        Ok(())
    }
}
