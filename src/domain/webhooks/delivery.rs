//! What is sent, and how its sendings end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand::Rng;
use serde::Serialize;
use serde_json::json;

use crate::db::{Db, Tx, run_tx};
use crate::domain::Error;
use crate::domain::access::Principal;
use crate::events::Event;
use crate::kit::clock::Clock;
use crate::kit::id::{DeliveryId, EventId, ProjectId, WebhookId};

use super::store::{self, NewDelivery};
use super::{Secret, Webhook, require};

/// The pauses before the second and later sendings, in seconds: those that the specification proposes. After the last a
/// delivery has failed.
const PAUSES_S: [i64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// Up to this share of a pause is added by chance, so that what failed together does not come back together.
const JITTER: f64 = 0.2;
/// What a delivery says whose receiver is gone.
pub(super) const GONE: &str = "its receiver is gone for good";
/// A sending that has not ended after this is taken to have died with its process: longer than any time-out of the sender.
const CLAIM: TimeDelta = TimeDelta::seconds(120);

/// A sending of an event to a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The `webhook-id` that the receiver sees, the same each time.
    pub id: DeliveryId,
    /// The webhook.
    pub webhook: WebhookId,
    /// The event.
    pub event: EventId,
    /// Its type.
    pub kind: String,
    /// `pending`, `delivered` or `failed`.
    pub status: String,
    /// How often it was sent.
    pub attempts: i64,
    /// Of a pending one: when it is sent next.
    pub next_at: Option<DateTime<Utc>>,
    /// The last status code that was answered.
    pub answer: Option<i64>,
    /// What went wrong the last time.
    pub error: Option<String>,
    /// When the event came.
    pub created_at: DateTime<Utc>,
    /// When it was delivered, or had failed for good.
    pub ended_at: Option<DateTime<Utc>>,
}

/// A delivery that this process sends now.
#[derive(Debug, Clone)]
pub struct Sending {
    /// The delivery.
    pub id: DeliveryId,
    /// The webhook.
    pub webhook: WebhookId,
    /// Where to.
    pub url: String,
    /// What signs it.
    pub secret: Secret,
    /// What is sent.
    pub body: String,
    /// The number of this sending: the fence of its end.
    pub attempt: i64,
}

/// How a sending ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered {
        /// The status code.
        answer: u16,
    },
    /// It is sent again, if any pauses are left.
    Failed {
        /// The status code, where one came.
        answer: Option<u16>,
        /// What went wrong.
        error: String,
        /// The receiver asked for at least this pause.
        retry_after: Option<Duration>,
    },
    /// The receiver says that it is gone for good: nothing more is sent there.
    Gone,
    /// It was not sent at all, because its receiver fails too often; it does not count.
    Postponed {
        /// For so long.
        pause: Duration,
    },
}

/// Of each of these events whether a webhook wants it now.
///
/// # Errors
/// Only the database's own.
pub async fn wanted(db: &Db, events: &[&Event]) -> Result<Vec<bool>, Error> {
    let webhooks = of_projects(&mut db.reader().await?, events).await?;
    let is_wanted = |event: &&Event| webhooks.iter().any(|webhook| webhook.wants(event));
    Ok(events.iter().map(is_wanted).collect())
}

/// The webhooks of all projects in which one of these events happened.
async fn of_projects(tx: &mut Tx, events: &[&Event]) -> Result<Vec<Webhook>, Error> {
    let projects: BTreeSet<ProjectId> = events.iter().map(|event| event.fact.project()).collect();
    Ok(store::of_projects(tx, &Vec::from_iter(projects)).await?)
}

/// Writes what is to be sent of these events: a delivery for each webhook that wants one. Once per event, in the transaction
/// that says so.
///
/// # Errors
/// Only the database's own, and an event that is no JSON.
pub async fn plan(tx: &mut Tx, clock: &dyn Clock, events: &[&Event]) -> Result<(), Error> {
    let webhooks = of_projects(tx, events).await?;
    let mut deliveries = Vec::new();
    for event in events {
        let mut wanting = webhooks.iter().filter(|it| it.wants(event)).peekable();
        if wanting.peek().is_none() {
            continue;
        }
        let body: Arc<str> = body(event)?.into();
        deliveries.extend(wanting.map(|webhook| NewDelivery {
            id: DeliveryId::new(clock),
            webhook_id: webhook.id,
            event_id: event.id,
            kind: event.fact.kind(),
            body: Arc::clone(&body),
            created_at: clock.now(),
        }));
    }
    if deliveries.is_empty() {
        return Ok(());
    }
    Ok(store::insert_deliveries(tx, &deliveries).await?)
}

fn body(event: &Event) -> Result<String, Error> {
    let payload = event.fact.encode()?;
    let data: serde_json::Value = serde_json::from_slice(&payload)
        .map_err(|error| Error::Internal(format!("event {}: {error}", event.id)))?;
    Ok(json!({ "type": event.fact.kind(), "timestamp": event.at, "data": data }).to_string())
}

/// Takes at most `limit` deliveries that are due; nobody else sends them for two minutes.
///
/// # Errors
/// Only the database's own.
pub async fn claim(db: &Db, clock: &dyn Clock, limit: u32) -> Result<Vec<Sending>, Error> {
    run_tx!(db, "webhook.claim", |tx| -> Result<Vec<Sending>, Error> {
        let now = clock.now();
        let ids = store::claim(tx, now, now + CLAIM, limit).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        Ok(store::sendings(tx, &ids).await?)
    })
}

/// Writes how a sending ended. One that somebody else has taken over meanwhile is left alone.
///
/// # Errors
/// Only the database's own; the delivery is then sent again, under the same id.
pub async fn end(
    db: &Db,
    clock: &dyn Clock,
    sending: &Sending,
    outcome: &Outcome,
) -> Result<(), Error> {
    let now = clock.now();
    run_tx!(db, "webhook.end", |tx| -> Result<(), Error> {
        let end = Ended::of(sending.attempt, outcome, now);
        store::end(tx, sending, &end, now).await?;
        if *outcome == Outcome::Gone {
            store::disable(tx, sending.webhook, now).await?;
        }
        Ok(())
    })
}

/// What a row says after a sending.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) status: &'static str,
    pub(super) attempts: i64,
    pub(super) next_at: DateTime<Utc>,
    pub(super) answer: Option<i64>,
    pub(super) error: Option<String>,
}

impl Ended {
    fn of(attempt: i64, outcome: &Outcome, now: DateTime<Utc>) -> Self {
        let row = |status, answer: Option<u16>, error: Option<String>| Self {
            status,
            attempts: attempt,
            next_at: now,
            answer: answer.map(i64::from),
            error,
        };
        match outcome {
            Outcome::Delivered { answer } => row("delivered", Some(*answer), None),
            Outcome::Gone => row("failed", Some(410), Some(GONE.into())),
            Outcome::Postponed { pause } => Self {
                attempts: attempt - 1,
                next_at: now + lasting(*pause),
                ..row("pending", None, Some("its receiver fails too often".into()))
            },
            Outcome::Failed {
                answer,
                error,
                retry_after,
            } => match pause_after(attempt) {
                None => row("failed", *answer, Some(error.clone())),
                Some(pause) => Self {
                    next_at: now + pause.max(retry_after.map_or(TimeDelta::zero(), lasting)),
                    ..row("pending", *answer, Some(error.clone()))
                },
            },
        }
    }
}

fn pause_after(attempt: i64) -> Option<TimeDelta> {
    let pause_s = PAUSES_S.get(usize::try_from(attempt - 1).ok()?)?;
    let jitter = rand::rng().random_range(0.0..JITTER);
    Some(TimeDelta::milliseconds(
        (*pause_s as f64 * 1e3 * (1.0 + jitter)) as i64,
    ))
}

fn lasting(pause: Duration) -> TimeDelta {
    TimeDelta::from_std(pause)
        .unwrap_or(TimeDelta::days(1))
        .min(TimeDelta::days(1))
}

/// The deliveries of a webhook, newest first, at most `limit`, older than `before`.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::Forbidden`] for others than owners.
pub async fn deliveries(
    db: &Db,
    principal: &Principal,
    webhook: WebhookId,
    before: Option<DeliveryId>,
    limit: u32,
) -> Result<Vec<Delivery>, Error> {
    let mut tx = db.reader().await?;
    require(&mut tx, principal, webhook).await?;
    Ok(store::deliveries(&mut tx, webhook, before, limit).await?)
}

/// Sends a delivery again, however it ended, under the same id and with all its tries.
///
/// # Errors
/// [`Error::NotFound`] for strangers and for what is no delivery of the webhook, [`Error::Forbidden`] for others than
/// owners, [`Error::Conflict`] where the receiver is gone.
pub async fn redeliver(
    db: &Db,
    clock: &dyn Clock,
    principal: &Principal,
    webhook: WebhookId,
    id: DeliveryId,
) -> Result<Delivery, Error> {
    let now = clock.now();
    run_tx!(db, "webhook.redeliver", |tx| -> Result<Delivery, Error> {
        if require(tx, principal, webhook).await?.disabled_at.is_some() {
            return Err(Error::Conflict(format!("{GONE}; make a webhook anew")));
        }
        let again = store::send_again(tx, webhook, id, now).await?;
        again.ok_or_else(|| Error::not_found("delivery", id))
    })
}

/// Removes deliveries that ended before `before`, at most `limit`, and says how many.
///
/// # Errors
/// Only the database's own.
pub async fn expire(tx: &mut Tx, before: DateTime<Utc>, limit: u32) -> Result<u64, Error> {
    Ok(store::expire(tx, before, limit).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(retry_after: Option<Duration>) -> Outcome {
        Outcome::Failed {
            answer: Some(500),
            error: "500".into(),
            retry_after,
        }
    }

    #[test]
    fn pauses_grow_until_none_is_left() {
        let now = DateTime::from_timestamp(0, 0).unwrap();
        for (attempt, pause_s) in (1..).zip(PAUSES_S) {
            let end = Ended::of(attempt, &failed(None), now);
            let pause = (end.next_at - now).num_milliseconds();
            assert_eq!((end.status, end.attempts), ("pending", attempt));
            assert!(
                (pause_s * 1_000..=pause_s * 1_200).contains(&pause),
                "{pause}"
            );
        }
        let last = Ended::of(10, &failed(None), now);
        assert_eq!((last.status, last.answer), ("failed", Some(500)));
    }

    #[test]
    fn the_receiver_may_ask_for_a_longer_pause() {
        let now = DateTime::from_timestamp(0, 0).unwrap();
        let end = Ended::of(1, &failed(Some(Duration::from_secs(60))), now);
        assert_eq!(end.next_at - now, TimeDelta::seconds(60));
        let end = Ended::of(1, &failed(Some(Duration::MAX)), now);
        assert_eq!(end.next_at - now, TimeDelta::days(1));
    }

    #[test]
    fn what_was_not_sent_does_not_count() {
        let now = DateTime::from_timestamp(0, 0).unwrap();
        let pause = Duration::from_secs(30);
        let end = Ended::of(3, &Outcome::Postponed { pause }, now);
        assert_eq!((end.status, end.attempts), ("pending", 2));
        assert_eq!(end.next_at - now, TimeDelta::seconds(30));
    }
}
