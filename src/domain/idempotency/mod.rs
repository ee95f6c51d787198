//! Requests that may be repeated: a record of (principal, key, request, outcome) is written in the transaction of the
//! effect, so that a repetition finds the outcome or nothing at all. The outcome is the domain's own JSON.
//!
//! While a request is in flight a marker in the state store answers its twin at once; without the state store the
//! twin waits for the row and replays.

mod store;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::db::{self, Db, Tx};
use crate::kit::id::UserId;
use crate::state::{StateStore, When};

use super::Error;

/// How long a record answers repetitions; `worker` deletes older ones.
pub const KEPT: TimeDelta = TimeDelta::hours(24);
/// How long a marker outlives a process that died with its request, or a client that went away. Twins of a request that
/// takes longer meet at the row, where the first commit wins.
const MARKER_LIFETIME: Duration = Duration::from_secs(10);
/// Longest key, in characters.
const KEY_CHARS_MAX: usize = 64;

/// The key of one request of one principal, and the digest of what was asked.
#[derive(Debug, Clone)]
pub struct Request {
    principal: UserId,
    key: String,
    sha256: [u8; 32],
}

/// An outcome, and whether it is one that a record replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome<T> {
    /// What the effect was.
    pub value: T,
    /// True when this request had its effect before.
    pub replayed: bool,
}

/// What `effect` makes inside the caller's transaction, recorded for a `request` that may be repeated; of a repetition what
/// the first one made.
///
/// # Errors
/// Those of `effect`, of [`Request::replay`] and of [`Request::record`].
pub async fn once<T, F>(
    tx: &mut Tx,
    request: Option<&Request>,
    now: DateTime<Utc>,
    effect: F,
) -> Result<Outcome<T>, Error>
where
    T: Serialize + DeserializeOwned,
    F: AsyncFnOnce(&mut Tx) -> Result<T, Error>,
{
    if let Some(request) = request
        && let Some(value) = request.replay(tx).await?
    {
        let replayed = true;
        return Ok(Outcome { value, replayed });
    }
    let value = effect(tx).await?;
    if let Some(request) = request {
        request.record(tx, &value, now).await?;
    }
    let replayed = false;
    Ok(Outcome { value, replayed })
}

impl Request {
    /// A request with this key; `parts` is everything that makes it this request and no other.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key that is empty, longer than 64 characters or not `[A-Za-z0-9_-]`.
    pub fn new(principal: UserId, key: &str, parts: &[&[u8]]) -> Result<Self, Error> {
        let key = key.trim().trim_matches('"');
        let sane = key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if key.is_empty() || key.len() > KEY_CHARS_MAX || !sane {
            return Err(Error::invalid(
                "Idempotency-Key",
                format!("1 to {KEY_CHARS_MAX} characters of A-Z, a-z, 0-9, _ and - are expected"),
            ));
        }
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Ok(Self {
            principal,
            key: key.to_owned(),
            sha256: digest.finalize().into(),
        })
    }

    /// Whether this principal's key has a record, whatever was asked; a look before expensive work.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn is_recorded(&self, db: &Db) -> Result<bool, Error> {
        let mut tx = db.reader().await?;
        Ok(store::find(&mut tx, self.principal, &self.key)
            .await?
            .is_some())
    }

    /// The outcome of an earlier run of this request, inside the transaction of the effect.
    ///
    /// # Errors
    /// [`Error::IdempotencyMismatch`] when the key belongs to another request.
    pub async fn replay<T: DeserializeOwned>(&self, tx: &mut Tx) -> Result<Option<T>, Error> {
        let record = store::find(tx, self.principal, &self.key).await?;
        record.map(|record| self.outcome(record)).transpose()
    }

    fn outcome<T: DeserializeOwned>(&self, record: store::Record) -> Result<T, Error> {
        if record.request_sha256 != self.sha256 {
            return Err(Error::IdempotencyMismatch);
        }
        serde_json::from_value(record.outcome)
            .map_err(|error| Error::Internal(format!("idempotency record {}: {error}", self.key)))
    }

    fn store_key(&self) -> store::Key {
        store::Key {
            principal: self.principal,
            key: self.key.clone(),
        }
    }

    /// Writes the record, inside the transaction of the effect.
    ///
    /// # Errors
    /// [`Error::InFlight`] when a twin committed first: the next repetition finds its outcome.
    pub async fn record<T: Serialize>(
        &self,
        tx: &mut Tx,
        outcome: &T,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let outcome =
            serde_json::to_value(outcome).map_err(|error| Error::Internal(error.to_string()))?;
        match store::insert(tx, self.principal, &self.key, &self.sha256, outcome, now).await {
            Err(db::Error::AlreadyExists { .. }) => Err(Error::InFlight),
            written => Ok(written?),
        }
    }

    /// Marks the request as in flight. Where the state store is away there is no marker, and twins meet at the row.
    ///
    /// # Errors
    /// [`Error::InFlight`] when a twin is being worked on.
    pub async fn enter<'s>(&self, state: &'s dyn StateStore) -> Result<InFlight<'s>, Error> {
        let key = format!("idempotency:{}:{}", self.principal, self.key);
        match state
            .put(
                &key,
                Bytes::from_static(b"1"),
                MARKER_LIFETIME,
                When::Absent,
            )
            .await
        {
            Ok(true) => Ok(InFlight {
                state,
                key: Some(key),
            }),
            Ok(false) => Err(Error::InFlight),
            Err(error) => {
                tracing::warn!(%error, "no in-flight marker: {error}");
                Ok(InFlight { state, key: None })
            }
        }
    }
}

/// Many requests at once, for effects that share a transaction.
#[derive(Debug, Default)]
pub struct Records {
    found: HashMap<store::Key, store::Record>,
    new: Vec<store::NewRow>,
}

impl Records {
    /// The records that earlier runs of these requests left.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn find(
        tx: &mut Tx,
        requests: impl Iterator<Item = &Request>,
    ) -> Result<Self, Error> {
        let keys: Vec<store::Key> = requests.map(Request::store_key).collect();
        let found = match keys.is_empty() {
            true => HashMap::new(),
            false => store::find_many(tx, &keys).await?,
        };
        let new = Vec::new();
        Ok(Self { found, new })
    }

    /// As [`Request::replay`].
    ///
    /// # Errors
    /// As [`Request::replay`].
    pub fn replay<T: DeserializeOwned>(&mut self, request: &Request) -> Result<Option<T>, Error> {
        let record = self.found.remove(&request.store_key());
        record.map(|record| request.outcome(record)).transpose()
    }

    /// As [`Request::record`]; [`Records::write`] writes it.
    ///
    /// # Errors
    /// [`Error::Internal`] for an outcome that has no JSON form.
    pub fn record<T: Serialize>(
        &mut self,
        request: &Request,
        outcome: &T,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let outcome =
            serde_json::to_value(outcome).map_err(|error| Error::Internal(error.to_string()))?;
        self.new.push(store::NewRow {
            principal: request.principal,
            key: request.key.clone(),
            request_sha256: request.sha256,
            outcome,
            created_at: now,
        });
        Ok(())
    }

    /// Writes the new records.
    ///
    /// # Errors
    /// As [`Request::record`].
    pub async fn write(self, tx: &mut Tx) -> Result<(), Error> {
        if self.new.is_empty() {
            return Ok(());
        }
        Ok(store::insert_many(tx, &self.new).await?)
    }
}

/// The marker of a request that is being worked on; leave it when the answer is known. One that is dropped by a
/// broken connection ends by itself after ten seconds.
#[derive(Debug)]
#[must_use]
pub struct InFlight<'s> {
    state: &'s dyn StateStore,
    key: Option<String>,
}

impl InFlight<'_> {
    /// Removes the marker.
    pub async fn leave(self) {
        if let Some(key) = &self.key
            && let Err(error) = self.state.delete(key).await
        {
            tracing::warn!(%error, "the in-flight marker stays until its lifetime ends: {error}");
        }
    }
}

/// Deletes at most `limit` records older than [`KEPT`] and says how many.
///
/// # Errors
/// Only the database's own.
pub async fn expire(tx: &mut Tx, now: DateTime<Utc>, limit: u32) -> Result<u64, Error> {
    Ok(store::delete_older(tx, now - KEPT, limit).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_checked_and_parts_do_not_run_together() {
        let user = UserId::from_uuid(uuid::Uuid::nil());
        assert!(Request::new(user, "", &[]).is_err());
        assert!(Request::new(user, "a b", &[]).is_err());
        assert!(Request::new(user, &"x".repeat(65), &[]).is_err());
        let one = Request::new(user, "\"k\"", &[b"ab", b"c"]).unwrap();
        let two = Request::new(user, "k", &[b"a", b"bc"]).unwrap();
        assert_eq!(one.key, two.key);
        assert_ne!(one.sha256, two.sha256);
    }
}
