//! The relay: carries the outbox to the event log. Every row arrives at least once, the rows of one key in the order of
//! their commits; a row that the log refuses for good goes to `outbox_dead` and its shard goes on.
//!
//! * PostgreSQL: any number of relays share the shards; a shard is held by an advisory lock of the transaction that
//!   reads and deletes. This is the one transaction that waits for something else than its statements, bounded by
//!   [`APPEND_MAX`]; it holds no row while it waits.
//! * SQLite: one relay at a time holds a lease row. A transaction held over an append would keep the only writer, which
//!   the embedded log needs for that append.

mod verdict;

use std::ops::ControlFlow;
use std::time::Duration;

use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use self::verdict::Verdict;
use super::Error;
use super::log::{self, NewRecord, SharedLog};
use super::outbox::OutboxBell;
use super::outbox::store::{self, Row, Waiting};
use crate::db::{Db, Dialect, Tx, run_tx};
use crate::kit::clock::SharedClock;
use crate::kit::metrics;
use crate::kit::retry::Backoff;
use crate::settings;

/// Longest wait for the log's answers about one batch, 8 s: above `kafka.delivery_timeout_ms`'s default nothing comes
/// any more, and the shard is free again within 10 s.
const APPEND_MAX: Duration = Duration::from_secs(8);

/// SQLite: how long the lease holds without renewal; longer than an append and its settlement take.
const LEASE: Duration = Duration::from_secs(10);

/// PostgreSQL: shards relayed side by side by one process; each takes a database connection.
const SHARDS_AT_ONCE: usize = 4;

/// Waits after a pass in which the database or the log failed.
const FAILURE_BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};

/// Carries the outbox to the event log.
#[derive(Debug)]
pub struct Relay {
    db: Db,
    log: SharedLog,
    clock: SharedClock,
    bell: OutboxBell,
    owner: String,
    poll_interval: Duration,
    /// Rows that other processes commit meanwhile need no pass of their own.
    gather: Duration,
    batch_max: u32,
}

/// What one pass over the outbox did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pass {
    /// Rows that the log now holds.
    pub relayed: u64,
    /// Rows that the log refused for good.
    pub dead: u64,
    /// Rows that stay because the log failed.
    pub held_back: u64,
    /// Whether a batch was full, so that more rows may wait.
    pub more: bool,
}

impl Relay {
    /// A relay; `owner` is the unique name of this instance.
    pub fn new(
        db: Db,
        log: SharedLog,
        clock: SharedClock,
        bell: OutboxBell,
        owner: &str,
        settings: &settings::Outbox,
    ) -> Self {
        let dialect = db.dialect();
        Self {
            db,
            log,
            clock,
            bell,
            owner: owner.to_owned(),
            poll_interval: Duration::from_millis(settings.poll_interval_ms),
            // SQLite's rows are this process's own.
            gather: match dialect {
                Dialect::Postgres => Duration::from_millis(settings.gather_ms),
                Dialect::Sqlite => Duration::ZERO,
            },
            batch_max: settings.batch_max,
        }
    }

    /// Relays until `drain` is cancelled; a batch that was begun is finished first.
    pub async fn run(self, drain: CancellationToken) {
        let mut failures = 0;
        while !drain.is_cancelled() {
            let outcome = self.pass().await;
            let failed = match &outcome {
                Ok(pass) => pass.held_back > 0,
                Err(error) => {
                    tracing::warn!(%error, "the outbox was not relayed: {error}");
                    true
                }
            };
            failures = if failed { failures + 1 } else { 0 };
            let rest = async {
                match outcome {
                    _ if failed => tokio::time::sleep(FAILURE_BACKOFF.wait(failures)).await,
                    Ok(Pass { more: true, .. }) => {}
                    // Whoever was rung meanwhile found the shard taken.
                    Ok(Pass { relayed: 1.., .. }) => tokio::time::sleep(self.gather).await,
                    _ => {
                        self.bell.rung(self.poll_interval).await;
                        tokio::time::sleep(self.gather).await;
                    }
                }
            };
            tokio::select! {
                () = drain.cancelled() => {}
                () = rest => {}
            }
        }
        self.give_lease_back().await;
    }

    /// One pass over every shard that has rows, at most `outbox.batch_max` rows of each.
    ///
    /// # Errors
    /// When the database fails; a log that fails is told by [`Pass::held_back`].
    pub async fn pass(&self) -> Result<Pass, Error> {
        let shards = self.waiting().await?;
        if shards.is_empty() {
            return Ok(Pass::default());
        }
        let pass = match self.db.dialect() {
            Dialect::Postgres => self.pass_postgres(&shards).await?,
            Dialect::Sqlite => self.pass_sqlite().await?,
        };
        metrics::outbox_relayed(pass.relayed);
        metrics::outbox_dead(pass.dead);
        Ok(pass)
    }

    /// The shards with rows that no other relay has; tells the metric how old the oldest row is.
    async fn waiting(&self) -> Result<Vec<i64>, Error> {
        let look = self.db.one_statement();
        let shards = run_tx!(look, "outbox.look", |tx| -> Result<Vec<Waiting>, Error> {
            Ok(store::waiting_to_relay(tx).await?)
        })?;
        let oldest = shards.iter().map(|shard| shard.oldest).min();
        let age = oldest.map(|oldest| self.clock.now() - oldest);
        let age = age.and_then(|age| age.to_std().ok()).unwrap_or_default();
        metrics::outbox_oldest_age(age);
        let free = shards.into_iter().filter(|shard| shard.is_free);
        Ok(free.map(|shard| shard.shard).collect())
    }

    async fn pass_postgres(&self, shards: &[i64]) -> Result<Pass, Error> {
        let passes: Vec<Result<Pass, Error>> = futures::stream::iter(shards.to_vec())
            .map(|shard| self.relay_shard(shard))
            .buffer_unordered(SHARDS_AT_ONCE)
            .collect()
            .await;
        passes
            .into_iter()
            .try_fold(Pass::default(), |sum, pass| Ok(sum.and(pass?)))
    }

    /// Begins and ends the transaction itself, because [`run_tx`] allows nothing but statements inside.
    async fn relay_shard(&self, shard: i64) -> Result<Pass, Error> {
        let mut attempts = self.db.attempts("outbox.relay");
        loop {
            let mut tx = attempts.begin().await?;
            let outcome = self.relay_locked(&mut tx, shard).await;
            if let ControlFlow::Break(outcome) = attempts.end(tx, outcome).await {
                return outcome;
            }
        }
    }

    async fn relay_locked(&self, tx: &mut Tx, shard: i64) -> Result<Pass, Error> {
        if !store::lock_shard(tx, shard).await? {
            return Ok(Pass::default());
        }
        let rows = store::next_of_shard(tx, shard, self.batch_max).await?;
        let verdict = self.append(&rows).await;
        self.settle(tx, &verdict).await?;
        Ok(self.pass_of(&rows, &verdict))
    }

    async fn pass_sqlite(&self) -> Result<Pass, Error> {
        let now_ms = self.clock.now().timestamp_millis();
        let expires_ms = now_ms + LEASE.as_millis() as i64;
        let taken = run_tx!(self.db, "outbox.lease", |tx| -> Result<bool, Error> {
            Ok(store::take_lease(tx, &self.owner, now_ms, expires_ms).await?)
        })?;
        if !taken {
            return Ok(Pass::default());
        }
        let rows = store::next(&mut self.db.reader().await?, self.batch_max).await?;
        let verdict = self.append(&rows).await;
        run_tx!(self.db, "outbox.settle", |tx| -> Result<(), Error> {
            self.settle(tx, &verdict).await
        })?;
        Ok(self.pass_of(&rows, &verdict))
    }

    /// Appends the rows and judges the answers.
    async fn append(&self, rows: &[Row]) -> Verdict {
        if rows.is_empty() {
            return Verdict::default();
        }
        let records = rows.iter().map(record).collect();
        let answers = tokio::time::timeout(APPEND_MAX, self.log.append(records)).await;
        let answers = answers.unwrap_or_else(|_| {
            let silent = || log::Error::Unavailable(format!("no answer in {APPEND_MAX:?}"));
            rows.iter().map(|_| Err(silent())).collect()
        });
        let verdict = verdict::judge(rows, answers);
        if let Some(error) = &verdict.first_failure {
            tracing::warn!(
                rows = verdict.held_back,
                error,
                "{} outbox rows wait for the event log: {error}",
                verdict.held_back
            );
        }
        verdict
    }

    /// Deletes what is durable and moves what was refused.
    async fn settle(&self, tx: &mut Tx, verdict: &Verdict) -> Result<(), Error> {
        store::delete(tx, &verdict.durable).await?;
        store::bury(tx, &verdict.refused, self.clock.now()).await?;
        Ok(())
    }

    fn pass_of(&self, rows: &[Row], verdict: &Verdict) -> Pass {
        for dead in &verdict.refused {
            let row = rows.iter().find(|row| row.seq == dead.seq);
            let (id, topic) = row.map(|row| (row.id, row.topic.as_str())).unzip();
            tracing::error!(
                id = id.map(tracing::field::display),
                topic,
                error = dead.error,
                "the event log refuses an outbox row for good; it is in outbox_dead: {}",
                dead.error
            );
        }
        Pass {
            relayed: verdict.durable.len() as u64,
            dead: verdict.refused.len() as u64,
            held_back: verdict.held_back,
            more: rows.len() as u64 >= u64::from(self.batch_max),
        }
    }

    async fn give_lease_back(&self) {
        if self.db.dialect() != Dialect::Sqlite {
            return;
        }
        let outcome = run_tx!(self.db, "outbox.lease", |tx| -> Result<(), Error> {
            Ok(store::give_lease_back(tx, &self.owner).await?)
        });
        if let Err(error) = outcome {
            tracing::warn!(%error, "the outbox lease ends by itself in 10 s: {error}");
        }
    }
}

impl Pass {
    fn and(self, other: Self) -> Self {
        Self {
            relayed: self.relayed + other.relayed,
            dead: self.dead + other.dead,
            held_back: self.held_back + other.held_back,
            more: self.more || other.more,
        }
    }
}

fn record(row: &Row) -> NewRecord {
    NewRecord {
        topic: row.topic.clone(),
        key: row.key.clone(),
        headers: row.headers.0.clone(),
        value: row.payload.clone().into(),
    }
}
