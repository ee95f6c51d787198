-- Consumer groups: what each has done, and what the projector has made of it.

create table inbox (
    consumer text not null,                     -- the group, without prefix
    event_id uuid not null,
    attempts bigint not null,                   -- starts of the handler; written before it runs
    ended bigint not null,                      -- starts whose end is known; fewer: the last one took its process with it, or runs
    started_by text not null,                   -- the run that counted the last start
    last_error text,
    received_at timestamptz not null,
    done_at timestamptz,                        -- written with the effect
    dead_at timestamptz,                        -- written when the dead letters hold it
    primary key (consumer, event_id)
);
create index inbox_by_age on inbox (received_at);

-- A projection follows the log, which may tell of what is gone meanwhile: no references.

create table activities (
    id uuid primary key,                        -- the event's
    project_id uuid not null,
    user_id uuid not null,                      -- whose job, file or membership it is
    kind text not null,                         -- the event's type
    subject uuid not null,                      -- the job, file or member
    details jsonb not null,
    happened_at timestamptz not null
);
create index activities_by_project on activities (project_id, id);
create index activities_by_age on activities (happened_at);

create table activity_statistics (
    scope text not null check (scope in ('project', 'user')),
    id uuid not null,
    images bigint not null,
    image_bytes bigint not null,
    jobs_submitted bigint not null,
    jobs_completed bigint not null,
    jobs_dead bigint not null,
    jobs_cancelled bigint not null,
    segmentations bigint not null,
    objects bigint not null,
    updated_at timestamptz not null,
    primary key (scope, id)
);
