//! Sessions of signed-in people. The client holds a random token; the store knows only its
//! hash, so that whoever reads the store cannot sign in with what it finds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

pub use super::sign_in_codes::SignInCodes;
use super::{Error, SharedState, When};
use crate::kit::clock::SharedClock;
use crate::kit::hex::hex;
use crate::kit::id::UserId;
use crate::kit::secret;

/// A session in use is written at most this often by one process; a tenth of the idle time where that is less.
const WRITE_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Sessions that one person may have; one more ends the oldest.
pub const SESSIONS_PER_USER_MAX: usize = 100;

/// Sessions whose uses one process counts between two writes. Above this the counts are dropped: they are information
/// for the owner of the session, no more.
const COUNTED_SESSIONS_MAX: usize = 10_000;

/// What a session was opened with, for the owner's list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The client's `User-Agent`.
    pub user_agent: String,
    /// The client's address.
    pub ip: String,
}

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// SHA-256 of the token in hexadecimal: names the session and opens nothing.
    pub id: String,
    /// Whose it is.
    pub user: UserId,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// When it was last used, to a minute.
    pub last_seen_at: DateTime<Utc>,
    /// How often it was used, without the uses of the last minute.
    pub request_count: u64,
    /// What it was opened with.
    pub metadata: Metadata,
}

/// The sessions in a state store. Clones share the counts of uses.
#[derive(Debug, Clone)]
pub struct Sessions {
    state: SharedState,
    clock: SharedClock,
    idle: Duration,
    absolute: Duration,
    uses: Arc<Mutex<HashMap<String, u64>>>,
}

impl Sessions {
    /// Sessions in `state` that end after `idle` without use (up to a tenth of it, and a minute, earlier) and in any
    /// case after `absolute`.
    pub fn new(state: SharedState, clock: SharedClock, idle: Duration, absolute: Duration) -> Self {
        Self {
            state,
            clock,
            idle,
            absolute,
            uses: Arc::default(),
        }
    }

    /// Opens a session for `user` and returns its token.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn create(&self, user: UserId, metadata: Metadata) -> Result<String, Error> {
        self.make_room(user).await?;
        let token = secret::random();
        let now = self.clock.now();
        let session = Session {
            id: hex(secret::digest(&token)),
            user,
            created_at: now,
            last_seen_at: now,
            request_count: 0,
            metadata,
        };
        let lifetime = self.idle.min(self.absolute);
        let key = session_key(&session.id);
        let record = encode(&session)?;
        self.state.put(&key, record, lifetime, When::Always).await?;
        let opened = Bytes::from(now.timestamp_micros().to_string());
        self.state
            .join(&list_key(user), &session.id, opened, self.absolute)
            .await?;
        Ok(token)
    }

    /// The session that `token` opens, which is thereby used; `None` where there is none, or no more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn lookup(&self, token: &str) -> Result<Option<Session>, Error> {
        let id = hex(secret::digest(token));
        let Some(record) = self.state.get(&session_key(&id)).await? else {
            return Ok(None);
        };
        let Some(session) = decode(&record) else {
            return Ok(None);
        };
        let left = self.left(&session);
        if left.is_zero() {
            self.end_by_id(session.user, &id).await?;
            return Ok(None);
        }
        self.count_use(&id);
        let silent = self.clock.now() - session.last_seen_at;
        if silent.to_std().unwrap_or_default() < self.write_interval() {
            return Ok(Some(session));
        }
        self.write_use(session, record, left).await.map(Some)
    }

    /// Ends the session of `token`; false where there was none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn end(&self, token: &str) -> Result<bool, Error> {
        let id = hex(secret::digest(token));
        let Some(record) = self.state.take(&session_key(&id)).await? else {
            return Ok(false);
        };
        if let Some(session) = decode(&record) {
            self.end_by_id(session.user, &id).await?;
        }
        Ok(true)
    }

    /// Ends the session `id` of `user`; false where the user has none with this id.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn end_by_id(&self, user: UserId, id: &str) -> Result<bool, Error> {
        let listed = self.state.leave(&list_key(user), id).await?;
        if listed {
            self.state.delete(&session_key(id)).await?;
            self.uses.lock().remove(id);
        }
        Ok(listed)
    }

    /// The open sessions of `user`, the oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self, user: UserId) -> Result<Vec<Session>, Error> {
        let mut sessions = Vec::new();
        for (id, _) in self.state.members(&list_key(user)).await? {
            match self.state.get(&session_key(&id)).await? {
                Some(record) => sessions.extend(decode(&record)),
                // It ended by silence.
                None => drop(self.state.leave(&list_key(user), &id).await?),
            }
        }
        sessions.retain(|session| !self.left(session).is_zero());
        sessions.sort_by_key(|session| session.created_at);
        Ok(sessions)
    }

    /// Ends every session of `user` (sign out everywhere, changed password); how many there were.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn end_all(&self, user: UserId) -> Result<usize, Error> {
        let mut ended = 0;
        for (id, _) in self.state.members(&list_key(user)).await? {
            let existed = self.state.delete(&session_key(&id)).await?;
            self.end_by_id(user, &id).await?;
            ended += usize::from(existed);
        }
        Ok(ended)
    }

    async fn make_room(&self, user: UserId) -> Result<(), Error> {
        let mut sessions = self.state.members(&list_key(user)).await?;
        let surplus = (sessions.len() + 1).saturating_sub(SESSIONS_PER_USER_MAX);
        sessions.sort_by(|(_, left), (_, right)| left.cmp(right));
        for (id, _) in sessions.into_iter().take(surplus) {
            self.end_by_id(user, &id).await?;
        }
        Ok(())
    }

    /// What is left of the absolute limit.
    fn left(&self, session: &Session) -> Duration {
        let age = self.clock.now() - session.created_at;
        self.absolute
            .saturating_sub(age.max(TimeDelta::zero()).to_std().unwrap_or_default())
    }

    fn write_interval(&self) -> Duration {
        WRITE_INTERVAL_MAX.min(self.idle / 10)
    }

    fn count_use(&self, id: &str) {
        let mut uses = self.uses.lock();
        if uses.len() >= COUNTED_SESSIONS_MAX && !uses.contains_key(id) {
            uses.clear();
        }
        *uses.entry(id.to_owned()).or_default() += 1;
    }

    /// Writes the uses counted here and the new end. Only over the record that was read: another process may have
    /// written meanwhile (then its end is as good), or have ended the session, which must not come back.
    async fn write_use(
        &self,
        mut session: Session,
        read: Bytes,
        left: Duration,
    ) -> Result<Session, Error> {
        let counted = self.uses.lock().remove(&session.id).unwrap_or(0);
        session.last_seen_at = self.clock.now();
        session.request_count += counted;
        let lifetime = self.idle.min(left);
        let key = session_key(&session.id);
        let when = When::Equals(read);
        if !self
            .state
            .put(&key, encode(&session)?, lifetime, when)
            .await?
        {
            *self.uses.lock().entry(session.id.clone()).or_default() += counted;
        }
        Ok(session)
    }
}

fn session_key(id: &str) -> String {
    format!("session:{id}")
}

fn list_key(user: UserId) -> String {
    format!("sessions-of:{user}")
}

fn encode(session: &Session) -> Result<Bytes, Error> {
    let json = serde_json::to_vec(session);
    json.map(Bytes::from)
        .map_err(|error| Error::Unexpected(format!("a session that is no JSON: {error}")))
}

/// `None` for a session that another version wrote in another form: its owner signs in again.
fn decode(record: &Bytes) -> Option<Session> {
    serde_json::from_slice(record)
        .inspect_err(|error| tracing::warn!(%error, "a session cannot be read: {error}"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::clock::{Clock, ManualClock, SystemClock};
    use crate::state::memory::Memory;

    const DAY: Duration = Duration::from_secs(86_400);

    fn sessions() -> (Sessions, ManualClock, UserId) {
        let clock = ManualClock::at(SystemClock.now());
        let shared: SharedClock = Arc::new(clock.clone());
        let state = Arc::new(Memory::new(Arc::clone(&shared)));
        let user = UserId::new(&clock);
        (Sessions::new(state, shared, DAY, DAY * 7), clock, user)
    }

    #[tokio::test]
    async fn a_session_slides_while_it_is_used_and_ends_at_its_absolute_limit() {
        let (sessions, clock, user) = sessions();
        let token = sessions.create(user, Metadata::default()).await.unwrap();
        for _ in 0..13 {
            clock.advance(DAY / 2);
            assert!(sessions.lookup(&token).await.unwrap().is_some());
        }
        clock.advance(DAY / 2);
        assert_eq!(sessions.lookup(&token).await.unwrap(), None);
        assert_eq!(sessions.list(user).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_session_ends_by_silence() {
        let (sessions, clock, user) = sessions();
        let token = sessions.create(user, Metadata::default()).await.unwrap();
        clock.advance(DAY);
        assert_eq!(sessions.lookup(&token).await.unwrap(), None);
    }

    #[tokio::test]
    async fn uses_are_counted_and_written_once_a_minute() {
        let (sessions, clock, user) = sessions();
        let token = sessions.create(user, Metadata::default()).await.unwrap();
        for _ in 0..5 {
            clock.advance(Duration::from_secs(1));
            let session = sessions.lookup(&token).await.unwrap().unwrap();
            assert_eq!(session.request_count, 0);
            assert_eq!(session.last_seen_at, session.created_at);
        }
        clock.advance(Duration::from_secs(60));
        let session = sessions.lookup(&token).await.unwrap().unwrap();
        assert_eq!(session.request_count, 6);
        assert_eq!(session.last_seen_at, clock.now());
    }

    #[tokio::test]
    async fn ending_all_ends_every_session_of_one_person_only() {
        let (sessions, clock, user) = sessions();
        let other = UserId::new(&clock);
        let mine = sessions.create(user, Metadata::default()).await.unwrap();
        let second = sessions.create(user, Metadata::default()).await.unwrap();
        let theirs = sessions.create(other, Metadata::default()).await.unwrap();
        assert_eq!(sessions.end_all(user).await.unwrap(), 2);
        assert_eq!(sessions.lookup(&mine).await.unwrap(), None);
        assert_eq!(sessions.lookup(&second).await.unwrap(), None);
        assert!(sessions.lookup(&theirs).await.unwrap().is_some());
        assert!(!sessions.end(&mine).await.unwrap());
    }

    #[tokio::test]
    async fn one_session_too_many_ends_the_oldest() {
        let (sessions, clock, user) = sessions();
        let oldest = sessions.create(user, Metadata::default()).await.unwrap();
        for _ in 0..SESSIONS_PER_USER_MAX {
            clock.advance(Duration::from_secs(1));
            sessions.create(user, Metadata::default()).await.unwrap();
        }
        assert_eq!(sessions.lookup(&oldest).await.unwrap(), None);
        let open = sessions.list(user).await.unwrap();
        assert_eq!(open.len(), SESSIONS_PER_USER_MAX);
    }

    #[tokio::test]
    async fn nobody_ends_the_session_of_another_by_its_id() {
        let (sessions, clock, user) = sessions();
        let token = sessions.create(user, Metadata::default()).await.unwrap();
        let id = sessions.list(user).await.unwrap()[0].id.clone();
        let stranger = UserId::new(&clock);
        assert!(!sessions.end_by_id(stranger, &id).await.unwrap());
        assert!(sessions.lookup(&token).await.unwrap().is_some());
        assert!(sessions.end_by_id(user, &id).await.unwrap());
        assert_eq!(sessions.lookup(&token).await.unwrap(), None);
    }
}
