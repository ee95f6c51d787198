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
        let rows = run_tx!(self.db.one_statement(), "inbox.begin", |tx| -> Result<
            Vec<Row>,
            Error,
        > {
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
        let row = run_tx!(
            self.db.one_statement(),
            "inbox.begin_alone",
            |tx| -> Result<Option<Row>, Error> {
                store::begin_again(tx, self.consumer, event, &start.0, ATTEMPTS_MAX).await
            }
        )?;
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
        run_tx!(self.db.one_statement(), "inbox.fail", |tx| -> Result<
            (),
            Error,
        > {
            store::fail(tx, self.consumer, event, &start.0, &why).await
        })
    }

    /// The starts of these events are not counted after all: they were not to blame for what ended them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_back(&self, start: &Start, events: &[EventId]) -> Result<(), Error> {
        run_tx!(self.db.one_statement(), "inbox.take_back", |tx| -> Result<
            (),
            Error,
        > {
            store::take_back(tx, self.consumer, events, &start.0).await
        })
    }

    /// The dead letters hold the event: delivered again, it is passed over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bury(&self, event: EventId, why: &str) -> Result<(), Error> {
        let (now, why) = (self.clock.now(), cut(why));
        run_tx!(self.db.one_statement(), "inbox.bury", |tx| -> Result<
            (),
            Error,
        > {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kit::clock::{ManualClock, SystemClock};
    use crate::settings::{Sources, load};

    struct World {
        db: Db,
        clock: ManualClock,
        _folder: tempfile::TempDir,
    }

    impl World {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite:{}/test.sqlite", folder.path().display());
            let sources = Sources {
                flags: [("database.url".to_owned(), url)].into(),
                ..Sources::default()
            };
            let db = Db::open(&load(&sources).unwrap().settings.database).await;
            let db = db.unwrap();
            db.migrate().await.unwrap();
            Self {
                db,
                clock: ManualClock::at(SystemClock.now()),
                _folder: folder,
            }
        }

        /// The inbox of the same group in a process of this name.
        fn inbox(&self, owner: &str) -> Inbox {
            let clock = Arc::new(self.clock.clone());
            Inbox::new(self.db.clone(), clock, "g", owner)
        }
    }

    async fn begin_one(inbox: &Inbox, event: EventId) -> (Start, Standing) {
        let (start, standings) = inbox.begin(&[event]).await.unwrap();
        (start, standings[0].clone())
    }

    async fn finish(inbox: &Inbox, event: EventId) -> usize {
        let finished: Result<_, Error> =
            run_tx!(inbox.db, "test", |tx| -> Result<Vec<EventId>, Error> {
                inbox.finish(tx, &[event]).await
            });
        finished.unwrap().len()
    }

    const fn started(attempt: i64) -> Standing {
        Standing::Started { attempt }
    }

    #[tokio::test]
    async fn a_start_without_an_end_makes_a_suspect_that_is_counted_alone() {
        let world = World::new().await;
        let event = EventId::new(&SystemClock);
        let (killed, next) = (world.inbox("killed"), world.inbox("next"));
        for attempt in 1..=ATTEMPTS_MAX {
            match attempt {
                1 => assert_eq!(begin_one(&killed, event).await.1, started(1)),
                _ => {
                    assert_eq!(begin_one(&next, event).await.1, Standing::Suspect);
                    let (_, standing) = next.begin_alone(event).await.unwrap();
                    assert_eq!(standing, started(attempt));
                }
            }
        }
        let exhausted = Standing::Exhausted {
            attempts: 3,
            error: None,
        };
        assert_eq!(begin_one(&killed, event).await.1, exhausted);
        assert_eq!(next.begin_alone(event).await.unwrap().1, exhausted);
    }

    #[tokio::test]
    async fn failures_are_counted_and_what_is_taken_back_is_not() {
        let world = World::new().await;
        let (inbox, event) = (world.inbox("a"), EventId::new(&SystemClock));
        for _ in 0..10 {
            let (start, standing) = begin_one(&inbox, event).await;
            assert_eq!(standing, started(1));
            inbox.take_back(&start, &[event]).await.unwrap();
        }
        for attempt in 1..=ATTEMPTS_MAX {
            let (start, standing) = begin_one(&inbox, event).await;
            assert_eq!(standing, started(attempt));
            inbox.fail(&start, event, "no luck").await.unwrap();
        }
        let exhausted = Standing::Exhausted {
            attempts: 3,
            error: Some("no luck".to_owned()),
        };
        assert_eq!(begin_one(&inbox, event).await.1, exhausted);
        inbox.bury(event, "no luck").await.unwrap();
        assert_eq!(begin_one(&inbox, event).await.1, Standing::Dead);
    }

    #[tokio::test]
    async fn of_two_who_began_one_makes_the_effect() {
        let world = World::new().await;
        let event = EventId::new(&SystemClock);
        let (zombie, owner) = (world.inbox("zombie"), world.inbox("owner"));
        let (of_zombie, _) = begin_one(&zombie, event).await;
        owner.begin_alone(event).await.unwrap();
        assert_eq!(finish(&owner, event).await, 1);
        assert_eq!(finish(&zombie, event).await, 0);
        zombie.fail(&of_zombie, event, "late").await.unwrap();
        zombie.take_back(&of_zombie, &[event]).await.unwrap();
        assert_eq!(begin_one(&zombie, event).await.1, Standing::Done);
    }

    #[tokio::test]
    async fn rows_go_when_no_log_can_deliver_the_event_any_more() {
        let world = World::new().await;
        let (inbox, event) = (world.inbox("a"), EventId::new(&SystemClock));
        begin_one(&inbox, event).await;
        finish(&inbox, event).await;
        for (days, removed) in [(7, 0), (2, 1)] {
            world
                .clock
                .advance(std::time::Duration::from_secs(days * 86_400));
            let expired: Result<u64, Error> =
                run_tx!(world.db, "test", |tx| -> Result<u64, Error> {
                    expire(tx, &world.clock, 10).await
                });
            assert_eq!(expired.unwrap(), removed, "after {days} days more");
        }
    }
}
