//! Statements on `webhooks` and `webhook_deliveries`.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use crate::db::{Error, Tx, batch, execute, on_tx};
use crate::kit::id::{DeliveryId, EventId, ProjectId, UserId, WebhookId};

use super::delivery::{Ended, GONE};
use super::{Delivery, Made, Secret, Sending, Webhook};

const INSERT: &str = "
    insert into webhooks (id, project_id, url, events, secret, created_by, created_at)
    values ($1, $2, $3, $4, $5, $6, $7)";

const OF_PROJECTS_POSTGRES: &str = "
    select id, project_id, url, events, created_by, created_at, disabled_at
    from webhooks
    where project_id = any (array(select value::uuid from json_array_elements_text($1::json)))
    order by id";

const OF_PROJECTS_SQLITE: &str = "
    select id, project_id, url, events, created_by, created_at, disabled_at
    from webhooks
    where project_id in (select unhex(value, '-') from json_each($1))
    order by id";

const FIND: &str = "
    select id, project_id, url, events, created_by, created_at, disabled_at
    from webhooks
    where id = $1";

const COUNT: &str = "select count(*) from webhooks where project_id = $1";

const REMOVE: &str = "delete from webhooks where id = $1";

const DISABLE: &str = "
    update webhooks
    set disabled_at = $2
    where id = $1 and disabled_at is null";

const ABANDON: &str = "
    update webhook_deliveries
    set status = 'failed', error = $3, ended_at = $2
    where webhook_id = $1 and status = 'pending'";

const INSERT_DELIVERIES_POSTGRES: &str = "
    insert into webhook_deliveries (id, webhook_id, event_id, kind, body, status, attempts, next_at, created_at)
    select id, webhook_id, event_id, kind, body, 'pending', 0, created_at, created_at
    from json_to_recordset($1::json) as row
        (id uuid, webhook_id uuid, event_id uuid, kind text, body text, created_at timestamptz)
    on conflict (webhook_id, event_id) do nothing";

const INSERT_DELIVERIES_SQLITE: &str = "
    insert into webhook_deliveries (id, webhook_id, event_id, kind, body, status, attempts, next_at, created_at)
    select unhex(value ->> 'id', '-'), unhex(value ->> 'webhook_id', '-'), unhex(value ->> 'event_id', '-'),
        value ->> 'kind', value ->> 'body', 'pending', 0, value ->> 'created_at', value ->> 'created_at'
    from json_each($1)
    where true on conflict (webhook_id, event_id) do nothing";

/// Workers take different rows.
const CLAIM_POSTGRES: &str = "
    update webhook_deliveries
    set attempts = attempts + 1, next_at = $2
    where id = any (array(
        select d.id
        from webhook_deliveries d
        join webhooks w on w.id = d.webhook_id
        where d.status = 'pending' and d.next_at <= $1 and w.disabled_at is null
        order by d.next_at, d.id
        limit $3
        for update of d skip locked))
    returning id";

const CLAIM_SQLITE: &str = "
    update webhook_deliveries
    set attempts = attempts + 1, next_at = $2
    where id in (
        select d.id
        from webhook_deliveries d
        join webhooks w on w.id = d.webhook_id
        where d.status = 'pending' and d.next_at <= $1 and w.disabled_at is null
        order by d.next_at, d.id
        limit $3)
    returning id";

const SENDINGS_POSTGRES: &str = "
    select d.id, d.webhook_id, w.url, w.secret, d.body, d.attempts
    from webhook_deliveries d
    join webhooks w on w.id = d.webhook_id
    where d.id = any (array(select value::uuid from json_array_elements_text($1::json)))";

const SENDINGS_SQLITE: &str = "
    select d.id, d.webhook_id, w.url, w.secret, d.body, d.attempts
    from webhook_deliveries d
    join webhooks w on w.id = d.webhook_id
    where d.id in (select unhex(value, '-') from json_each($1))";

/// The fence is the number of the sending; a redelivery begins to count anew.
const END: &str = "
    update webhook_deliveries
    set status = $3, attempts = $4, next_at = $5, answer = $6, error = $7, ended_at = $8
    where id = $1 and attempts = $2 and status = 'pending'";

const DELIVERIES: &str = "
    select id, webhook_id, event_id, kind, status, attempts, next_at, answer, error, created_at, ended_at
    from webhook_deliveries
    where webhook_id = $1 and id < $2
    order by id desc
    limit $3";

const SEND_AGAIN: &str = "
    update webhook_deliveries
    set status = 'pending', attempts = 0, next_at = $3, ended_at = null
    where id = $2 and webhook_id = $1
    returning id, webhook_id, event_id, kind, status, attempts, next_at, answer, error, created_at, ended_at";

const EXPIRE: &str = "
    delete from webhook_deliveries
    where id in (select id from webhook_deliveries where ended_at < $1 order by ended_at limit $2)";

#[derive(FromRow)]
struct WebhookRow {
    id: WebhookId,
    project_id: ProjectId,
    url: String,
    events: String,
    created_by: UserId,
    created_at: DateTime<Utc>,
    disabled_at: Option<DateTime<Utc>>,
}

impl WebhookRow {
    fn into_webhook(self) -> Result<Webhook, Error> {
        let events = serde_json::from_str(&self.events);
        Ok(Webhook {
            events: events.map_err(|error| Error::Inconsistent {
                table: "webhooks",
                id: self.id.to_string(),
                what: error.to_string(),
            })?,
            id: self.id,
            project: self.project_id,
            url: self.url,
            created_by: self.created_by,
            created_at: self.created_at,
            disabled_at: self.disabled_at,
        })
    }
}

#[derive(FromRow)]
struct DeliveryRow {
    id: DeliveryId,
    webhook_id: WebhookId,
    event_id: EventId,
    kind: String,
    status: String,
    attempts: i64,
    next_at: DateTime<Utc>,
    answer: Option<i64>,
    error: Option<String>,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

impl From<DeliveryRow> for Delivery {
    fn from(row: DeliveryRow) -> Self {
        Self {
            next_at: Some(row.next_at).filter(|_| row.status == "pending"),
            id: row.id,
            webhook: row.webhook_id,
            event: row.event_id,
            kind: row.kind,
            status: row.status,
            attempts: row.attempts,
            answer: row.answer,
            error: row.error,
            created_at: row.created_at,
            ended_at: row.ended_at,
        }
    }
}

#[derive(FromRow)]
struct SendingRow {
    id: DeliveryId,
    webhook_id: WebhookId,
    url: String,
    secret: String,
    body: String,
    attempts: i64,
}

impl From<SendingRow> for Sending {
    fn from(row: SendingRow) -> Self {
        Self {
            id: row.id,
            webhook: row.webhook_id,
            url: row.url,
            secret: Secret::kept(row.secret),
            body: row.body,
            attempt: row.attempts,
        }
    }
}

pub(super) async fn insert(tx: &mut Tx, made: &Made) -> Result<(), Error> {
    let webhook = &made.webhook;
    execute!(
        tx,
        INSERT,
        webhook.id,
        webhook.project,
        &webhook.url,
        batch::list(&webhook.events)?,
        made.secret.expose(),
        webhook.created_by,
        webhook.created_at,
    )?;
    Ok(())
}

pub(super) async fn of_projects(
    tx: &mut Tx,
    projects: &[ProjectId],
) -> Result<Vec<Webhook>, Error> {
    let projects = batch::list(projects)?;
    let statement = tx.dialect().pick(OF_PROJECTS_POSTGRES, OF_PROJECTS_SQLITE);
    let rows: Vec<WebhookRow> = on_tx!(tx, |conn| sqlx::query_as(statement)
        .bind(projects)
        .fetch_all(conn)
        .await)?;
    rows.into_iter().map(WebhookRow::into_webhook).collect()
}

pub(super) async fn find(tx: &mut Tx, id: WebhookId) -> Result<Option<Webhook>, Error> {
    let row: Option<WebhookRow> = on_tx!(tx, |conn| sqlx::query_as(FIND)
        .bind(id)
        .fetch_optional(conn)
        .await)?;
    row.map(WebhookRow::into_webhook).transpose()
}

pub(super) async fn count(tx: &mut Tx, project: ProjectId) -> Result<i64, Error> {
    Ok(on_tx!(tx, |conn| sqlx::query_scalar(COUNT)
        .bind(project)
        .fetch_one(conn)
        .await)?)
}

pub(super) async fn remove(tx: &mut Tx, id: WebhookId) -> Result<(), Error> {
    execute!(tx, REMOVE, id)?;
    Ok(())
}

/// Nothing is sent there any more; what waits has failed.
pub(super) async fn disable(tx: &mut Tx, id: WebhookId, now: DateTime<Utc>) -> Result<(), Error> {
    execute!(tx, DISABLE, id, now)?;
    execute!(tx, ABANDON, id, now, GONE)?;
    Ok(())
}

/// A delivery to insert.
#[derive(Debug, Serialize)]
pub(super) struct NewDelivery<'e> {
    pub(super) id: DeliveryId,
    pub(super) webhook_id: WebhookId,
    pub(super) event_id: EventId,
    pub(super) kind: &'e str,
    pub(super) body: Arc<str>,
    #[serde(serialize_with = "batch::instant")]
    pub(super) created_at: DateTime<Utc>,
}

pub(super) async fn insert_deliveries(tx: &mut Tx, new: &[NewDelivery<'_>]) -> Result<(), Error> {
    let new = batch::list(new)?;
    let statement = tx
        .dialect()
        .pick(INSERT_DELIVERIES_POSTGRES, INSERT_DELIVERIES_SQLITE);
    execute!(tx, statement, new)?;
    Ok(())
}

pub(super) async fn claim(
    tx: &mut Tx,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<DeliveryId>, Error> {
    let statement = tx.dialect().pick(CLAIM_POSTGRES, CLAIM_SQLITE);
    Ok(on_tx!(tx, |conn| sqlx::query_scalar(statement)
        .bind(now)
        .bind(until)
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await)?)
}

pub(super) async fn sendings(tx: &mut Tx, ids: &[DeliveryId]) -> Result<Vec<Sending>, Error> {
    let ids = batch::list(ids)?;
    let statement = tx.dialect().pick(SENDINGS_POSTGRES, SENDINGS_SQLITE);
    let rows: Vec<SendingRow> = on_tx!(tx, |conn| sqlx::query_as(statement)
        .bind(ids)
        .fetch_all(conn)
        .await)?;
    Ok(rows.into_iter().map(Sending::from).collect())
}

pub(super) async fn end(
    tx: &mut Tx,
    sending: &Sending,
    end: &Ended,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let ended_at = (end.status != "pending").then_some(now);
    execute!(
        tx,
        END,
        sending.id,
        sending.attempt,
        end.status,
        end.attempts,
        end.next_at,
        end.answer,
        end.error.as_deref(),
        ended_at,
    )?;
    Ok(())
}

pub(super) async fn deliveries(
    tx: &mut Tx,
    webhook: WebhookId,
    before: Option<DeliveryId>,
    limit: u32,
) -> Result<Vec<Delivery>, Error> {
    let before = before.unwrap_or(DeliveryId::from_uuid(Uuid::max()));
    let rows: Vec<DeliveryRow> = on_tx!(tx, |conn| sqlx::query_as(DELIVERIES)
        .bind(webhook)
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await)?;
    Ok(rows.into_iter().map(Delivery::from).collect())
}

pub(super) async fn send_again(
    tx: &mut Tx,
    webhook: WebhookId,
    id: DeliveryId,
    now: DateTime<Utc>,
) -> Result<Option<Delivery>, Error> {
    let row: Option<DeliveryRow> = on_tx!(tx, |conn| sqlx::query_as(SEND_AGAIN)
        .bind(webhook)
        .bind(id)
        .bind(now)
        .fetch_optional(conn)
        .await)?;
    Ok(row.map(Delivery::from))
}

pub(super) async fn expire(tx: &mut Tx, before: DateTime<Utc>, limit: u32) -> Result<u64, Error> {
    Ok(execute!(tx, EXPIRE, before, i64::from(limit))?)
}
