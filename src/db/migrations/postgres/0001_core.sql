-- Accounts and tenants.

create table users (
    id uuid primary key,
    email text not null unique,                 -- stored in lower case
    name text not null,
    password_hash text,                         -- argon2id PHC string; none: only by link or token
    role text not null check (role in ('user', 'premium', 'admin')),
    created_at timestamptz not null,
    disabled_at timestamptz
);

create table api_tokens (
    id uuid primary key,
    user_id uuid not null references users (id) on delete cascade,
    name text not null,
    secret_sha256 bytea not null unique,        -- the secret itself is shown once and never stored
    created_at timestamptz not null,
    expires_at timestamptz,
    last_used_at timestamptz
);
create index api_tokens_by_user on api_tokens (user_id);

create table projects (
    id uuid primary key,
    name text not null,
    created_by uuid not null references users (id),
    created_at timestamptz not null
);

create table project_members (
    project_id uuid not null references projects (id) on delete cascade,
    user_id uuid not null references users (id) on delete cascade,
    role text not null check (role in ('owner', 'editor', 'viewer')),
    created_at timestamptz not null,
    primary key (project_id, user_id)
);
create index project_members_by_user on project_members (user_id, project_id);

-- Files and the pictures in them.

create table files (
    id uuid primary key,
    project_id uuid not null references projects (id),
    uploaded_by uuid not null references users (id),
    name text not null,
    size_bytes bigint not null,
    sha256 bytea not null,
    media_type text not null,                   -- sniffed, never believed
    object_key text not null unique,
    created_at timestamptz not null
);
create index files_by_project on files (project_id, id);

create table images (
    id uuid primary key,
    project_id uuid not null references projects (id),
    file_id uuid not null references files (id),
    name text not null,
    width bigint not null,
    height bigint not null,
    pages bigint not null,
    bits_per_sample bigint not null,
    pixel_size_um double precision,             -- none where the file does not say
    created_at timestamptz not null
);
create index images_by_project on images (project_id, id);

-- Jobs. `attempt` is the fencing token: it rises at every claim and every later write names it.

create table queue_jobs (
    id uuid primary key,
    task_id text not null unique,               -- the caller's own name for it
    kind text not null check (kind in ('segment', 'export')),
    project_id uuid not null references projects (id),
    image_id uuid not null references images (id),
    page bigint not null,
    owner uuid not null references users (id),
    priority bigint not null check (priority between 1 and 10),
    parameters jsonb not null,
    status text not null check (status in ('queued', 'running', 'completed', 'dead', 'cancelled')),
    attempt bigint not null,
    failures bigint not null,
    max_failures bigint not null,
    crashes bigint not null,
    progress bigint not null check (progress between 0 and 100),
    cancel_requested_at timestamptz,
    lease_owner text,
    lease_expires_at timestamptz,
    error_class text,
    error_text text,
    segmenter text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    scheduled_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz
);
create index queue_jobs_by_project on queue_jobs (project_id, id);
create index queue_jobs_queued on queue_jobs (scheduled_at, id) where status = 'queued';
create index queue_jobs_running on queue_jobs (lease_expires_at) where status = 'running';

create table job_attempts (
    job_id uuid not null references queue_jobs (id) on delete cascade,
    attempt bigint not null,
    lease_owner text not null,
    started_at timestamptz not null,
    ended_at timestamptz,
    outcome text,                               -- completed | failed | crashed | cancelled | handed_back
    error_class text,
    error_text text,
    primary key (job_id, attempt)
);

create table segmentations (
    id uuid primary key,
    job_id uuid not null unique references queue_jobs (id) on delete cascade,
    project_id uuid not null references projects (id),
    image_id uuid not null references images (id),
    page bigint not null,
    attempt bigint not null,
    segmenter text not null,
    object_count bigint not null,
    result_zstd bytea,                          -- zstd JSON up to 8 KiB, else
    result_object_key text,                     -- an object of the file store
    created_at timestamptz not null,
    check ((result_zstd is null) <> (result_object_key is null))
);
create index segmentations_by_image on segmentations (image_id, id);

-- What makes retries and events safe.

create table idempotency_keys (
    principal uuid not null,
    key text not null,
    request_sha256 bytea not null,
    outcome jsonb not null,
    created_at timestamptz not null,
    primary key (principal, key)
);
create index idempotency_keys_by_age on idempotency_keys (created_at);

create table outbox_events (
    seq bigint generated always as identity primary key,
    id uuid not null unique,
    shard bigint not null,                      -- xxh3-64 of the key, modulo 8
    topic text not null,
    key text not null,
    headers jsonb not null,
    payload bytea not null,
    created_at timestamptz not null,
    xid xid8 not null default pg_current_xact_id()  -- seq is not commit order; rows of open transactions are left out
);
create index outbox_events_by_shard on outbox_events (shard, seq);

create table outbox_dead (
    id uuid primary key,
    topic text not null,
    key text not null,
    headers jsonb not null,
    payload bytea not null,
    error text not null,
    created_at timestamptz not null,
    died_at timestamptz not null
);
