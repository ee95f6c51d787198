//! The inbox: what each consumer group has done, so that a record which is delivered twice has one effect, and how often
//! it was tried, so that a record which kills its process ends in the dead letters.
//!
//! A start is counted in a committed transaction of its own before the handler runs, and has an end when the handler
//! failed or its effect was committed. A row whose last start has no end is a *suspect*: that start may have taken its
//! process with it. Starts of neighbours must not be counted with it, so a suspect runs alone ([`super::group`]).

pub(super) mod store;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::TimeDelta;

use crate::db::{Db, Error, Tx, run_tx};
use crate::kit::clock::{Clock, SharedClock};
use crate::kit::id::EventId;

use super::topics;
use store::Row;

/// Starts of a handler for one event; after them it goes to the dead letters.
pub const ATTEMPTS_MAX: i64 = 3;

/// Longest error text that a row keeps, in characters.
const ERROR_CHARS_MAX: usize = 1_000;

/// Rows stay for so much longer than the log keeps any record: nothing can be delivered again after that.
const MARGIN: TimeDelta = TimeDelta::days(1);

/// The inbox of one group in this process.
#[derive(Debug)]
pub struct Inbox {
    db: Db,
    clock: SharedClock,
    consumer: &'static str,
    owner: String,
    starts: AtomicU64,
}

/// What is to be done about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// A start was counted: run the handler.
    Started {
        /// Its number, from 1.
        attempt: i64,
    },
    /// Its last start has no end.
    Suspect,
    /// All its starts were used.
    Exhausted {
        /// How many there were.
        attempts: i64,
        /// Why the last one failed, where that is known.
        error: Option<String>,
    },
    /// Its effect was committed before.
    Done,
    /// The dead letters hold it.
    Dead,
}

/// Starts that were counted together; they end by this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start(String);

impl Inbox {
    /// The inbox of `consumer`; `owner` is the unique name of this instance.
    pub fn new(db: Db, clock: SharedClock, consumer: &'static str, owner: &str) -> Self {
        Self {
            db,
            clock,
            consumer,
            owner: owner.to_owned(),
            starts: AtomicU64::new(0),
        }
    }

    /// The database, for the transaction of the effect.
    pub(super) const fn db(&self) -> &Db {
        &self.db
    }

    /// Counts a start of each of these events that may be started, and says how each stands. No id may occur twice.
    ///
    /// # Errors
    /// When the database fails; nothing is counted then.
    pub async fn begin(&self, events: &[EventId]) -> Result<(Start, Vec<Standing>), Error> {
        let (start, now) = (self.next_start(), self.clock.now());
        let rows = run_tx!(self.db, "inbox.begin", |tx| -> Result<Vec<Row>, Error> {
            store::begin(tx, self.consumer, events, &start.0, now, ATTEMPTS_MAX).await
        })?;
        let rows: HashMap<_, _> = rows.into_iter().map(|row| (row.event_id, row)).collect();
        let standing = |event: &EventId| {
            let row = rows.get(event);
            row.map_or(Standing::Suspect, |row| standing(row, &start))
        };
        let standings = events.iter().map(standing).collect();
        Ok((start, standings))
    }

    /// Counts a start of a suspect, which runs alone now, and says how it stands.
    ///
    /// # Errors
    /// When the database fails; nothing is counted then.
    pub async fn begin_alone(&self, event: EventId) -> Result<(Start, Standing), Error> {
        let start = self.next_start();
        let row = run_tx!(self.db, "inbox.begin_alone", |tx| -> Result<
            Option<Row>,
            Error,
        > {
            store::begin_again(tx, self.consumer, event, &start.0, ATTEMPTS_MAX).await
        })?;
        if let Some(row) = row {
            let attempt = row.attempts;
            return Ok((start, Standing::Started { attempt }));
        }
        // It has an end by now, or used all its starts.
        let (start, mut standings) = self.begin(&[event]).await?;
        Ok((start, standings.pop().unwrap_or(Standing::Suspect)))
    }

    /// Marks events as done in the transaction of their effect, and answers those whose effect is to be made: of the
    /// others it was made by another process meanwhile. The rows stay locked until the transaction ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish(&self, tx: &mut Tx, events: &[EventId]) -> Result<Vec<EventId>, Error> {
        store::finish(tx, self.consumer, events, self.clock.now()).await
    }

    /// The start has ended without its effect.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fail(&self, start: &Start, event: EventId, why: &str) -> Result<(), Error> {
        let why = cut(why);
        run_tx!(self.db, "inbox.fail", |tx| -> Result<(), Error> {
            store::fail(tx, self.consumer, event, &start.0, &why).await
        })
    }

    /// The starts of these events are not counted after all: they were not to blame for what ended them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_back(&self, start: &Start, events: &[EventId]) -> Result<(), Error> {
        run_tx!(self.db, "inbox.take_back", |tx| -> Result<(), Error> {
            store::take_back(tx, self.consumer, events, &start.0).await
        })
    }

    /// The dead letters hold the event: delivered again, it is passed over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bury(&self, event: EventId, why: &str) -> Result<(), Error> {
        let (now, why) = (self.clock.now(), cut(why));
        run_tx!(self.db, "inbox.bury", |tx| -> Result<(), Error> {
            store::bury(tx, self.consumer, event, now, &why).await
        })
    }

    fn next_start(&self) -> Start {
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        Start(format!("{}#{number}", self.owner))
    }
}

/// Removes rows of events that no log can deliver any more, at most `limit`, and says how many there were.
///
/// # Errors
/// When the database fails.
pub async fn expire(tx: &mut Tx, clock: &dyn Clock, limit: u32) -> Result<u64, Error> {
    let age = TimeDelta::milliseconds(topics::longest_retention_ms()) + MARGIN;
    store::expire(tx, clock.now() - age, limit).await
}

fn standing(row: &Row, start: &Start) -> Standing {
    if row.dead_at.is_some() {
        Standing::Dead
    } else if row.done_at.is_some() {
        Standing::Done
    } else if row.started_by == start.0 {
        let attempt = row.attempts;
        Standing::Started { attempt }
    } else if row.attempts >= ATTEMPTS_MAX {
        Standing::Exhausted {
            attempts: row.attempts,
            // Of a start without an end nothing is known; the text is an earlier one's.
            error: row.last_error.clone().filter(|_| row.ended == row.attempts),
        }
    } else {
        Standing::Suspect
    }
}

fn cut(text: &str) -> String {
    text.chars().take(ERROR_CHARS_MAX).collect()
}
