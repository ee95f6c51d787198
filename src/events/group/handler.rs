//! What a consumer group does with an event: one implementation per group.

use async_trait::async_trait;

use crate::db::{self, Db, Transient, Tx};
use crate::events::Event;

/// The work of one consumer group. The group runner sees to everything else: order per key, attempts, the inbox, dead
/// letters, commits.
///
/// * [`handle`](Handler::handle) does its effect in the transaction that it is given, in which the event is marked as
///   done: both happen or neither, once per group. It opens no other transaction and awaits nothing but the `tx`.
/// * [`committed`](Handler::committed) is for effects outside of the database. It runs after that commit and again when
///   the record is delivered again, so that a process killed in between loses nothing: at least once, hence it must be
///   idempotent by [`Event::id`]. The position moves on only after it.
///
/// Events of one key come in order and one at a time; those of different keys side by side. Events of types that do not
/// concern the group come as well: answer `Ok(())`.
#[async_trait]
pub trait Handler: Send + Sync + std::fmt::Debug + 'static {
    /// The group's name without the prefix of the settings, such as `projector`. Frozen with the first record: the
    /// positions and the inbox belong to it.
    fn name(&self) -> &'static str;

    /// The topics that the group reads, of [`crate::events::topics`].
    fn topics(&self) -> &'static [&'static str];

    /// Where its effects are.
    fn effect(&self) -> Effect {
        Effect::Inside
    }

    /// Of each of these events whether it concerns the group, where a look at the database tells that. The others are done at
    /// once, without a row of the inbox. Not asked for each: an event that does not concern the group may be handled, too.
    async fn concerned(&self, db: &Db, events: &[&Event]) -> Result<Vec<bool>, HandlerError> {
        let _ = db;
        Ok(vec![true; events.len()])
    }

    /// The effects of these events, in this order, written with `tx`: better in a few statements than in some for each.
    /// May be run several times; what a failed run wrote is rolled back. Where it fails for several, it is run for each of
    /// them alone, and only such a failure counts.
    async fn handle(&self, tx: &mut Tx, events: &[&Event]) -> Result<(), HandlerError>;

    /// The effects of these events outside of the database, in this order. Where that fails for several, it is run for each of
    /// them alone, and only such a failure counts.
    async fn committed(&self, events: &[&Event]) -> Result<(), HandlerError> {
        let _ = events;
        Ok(())
    }
}

/// Where the effects of a handler are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// In the database, perhaps outside too: each event has a row of the inbox and is handled in a transaction.
    Inside,
    /// Outside alone: [`Handler::committed`] does everything, and doing it again does no harm, so that a row of the inbox
    /// would promise nothing more. Its attempts are counted in memory: it must not be able to end the process.
    Outside,
}

/// Why an event was not handled, named by what happens to it.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// It can never be handled: to the dead letters at once.
    #[error("{0}")]
    Refused(String),
    /// This attempt failed; after three the event goes to the dead letters.
    #[error("{0}")]
    Failed(String),
    /// Something that the handler needs is away: no attempt is used, and the events of the same lane wait.
    #[error("{0}")]
    Unavailable(String),
    /// The database failed: away as [`HandlerError::Unavailable`], else as [`HandlerError::Failed`].
    #[error(transparent)]
    Db(#[from] db::Error),
}

impl HandlerError {
    /// Whether something that is needed is away, so that the event is not to blame.
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Db(error) => matches!(
                error,
                db::Error::Unavailable(_)
                    | db::Error::Unreachable { .. }
                    | db::Error::PoolExhausted
                    | db::Error::Conflict(_)
            ),
            Self::Refused(_) | Self::Failed(_) => false,
        }
    }

    /// The class that the dead letter shows.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Unavailable(_) => "unavailable",
            Self::Db(_) => "database",
        }
    }
}

impl Transient for HandlerError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Db(error) if error.is_transient())
    }
}
