-- Consumer groups: what each has done, and what the projector has made of it.

create table inbox (
    consumer text not null,                     -- the group, without prefix
    event_id blob not null,
    attempts integer not null,                  -- starts of the handler; written before it runs
    ended integer not null,                     -- starts whose end is known; fewer: the last one took its process with it, or runs
    started_by text not null,                   -- the run that counted the last start
    last_error text,
    received_at text not null,
    done_at text,                               -- written with the effect
    dead_at text,                               -- written when the dead letters hold it
    primary key (consumer, event_id)
);
create index inbox_by_age on inbox (received_at);

-- A projection follows the log, which may tell of what is gone meanwhile: no references.

create table activities (
    id blob primary key not null,               -- the event's
    project_id blob not null,
    user_id blob not null,                      -- whose job, file or membership it is
    kind text not null,                         -- the event's type
    subject blob not null,                      -- the job, file or member
    details text not null,
    happened_at text not null
);
create index activities_by_project on activities (project_id, id);
create index activities_by_age on activities (happened_at);

create table activity_statistics (
    scope text not null check (scope in ('project', 'user')),
    id blob not null,
    images integer not null,
    image_bytes integer not null,
    jobs_submitted integer not null,
    jobs_completed integer not null,
    jobs_dead integer not null,
    jobs_cancelled integer not null,
    segmentations integer not null,
    objects integer not null,
    updated_at text not null,
    primary key (scope, id)
);
