-- Webhooks: where a project's events are sent, and each sending.

create table webhooks (
    id blob primary key not null,
    project_id blob not null references projects (id) on delete cascade,
    url text not null,
    events text not null,                       -- a JSON list of event types; empty: all
    secret text not null,                       -- base64; signing needs the secret itself
    created_by blob not null references users (id),
    created_at text not null,
    disabled_at text                     -- its server said that it is gone
);
create index webhooks_by_project on webhooks (project_id, id);

create table webhook_deliveries (
    id blob primary key not null,                        -- the webhook-id that receivers see
    webhook_id blob not null references webhooks (id) on delete cascade,
    event_id blob not null,
    kind text not null,
    body text not null,
    status text not null check (status in ('pending', 'delivered', 'failed')),
    attempts integer not null,                   -- starts of a sending; the fence of its end
    next_at text not null,               -- of a pending one: when it is sent next, or again where its sender died
    answer integer,                              -- the last status code
    error text,
    created_at text not null,
    ended_at text,
    unique (webhook_id, event_id)
);
create index webhook_deliveries_due on webhook_deliveries (next_at, id) where status = 'pending';
create index webhook_deliveries_by_webhook on webhook_deliveries (webhook_id, id);
create index webhook_deliveries_ended on webhook_deliveries (ended_at) where ended_at is not null;
