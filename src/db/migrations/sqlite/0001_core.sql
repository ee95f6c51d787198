-- Accounts and tenants. The twin of the PostgreSQL file: ids are 16-byte blobs, instants RFC 3339 text, JSON text.
-- `not null` stands with every primary key, because SQLite lets a null in without it.

create table users (
    id blob primary key not null,
    email text not null unique,                 -- stored in lower case
    name text not null,
    password_hash text,                         -- argon2id PHC string; none: only by link or token
    role text not null check (role in ('user', 'premium', 'admin')),
    created_at text not null,
    disabled_at text
);

create table api_tokens (
    id blob primary key not null,
    user_id blob not null references users (id) on delete cascade,
    name text not null,
    secret_sha256 blob not null unique,        -- the secret itself is shown once and never stored
    created_at text not null,
    expires_at text,
    last_used_at text
);
create index api_tokens_by_user on api_tokens (user_id);

create table projects (
    id blob primary key not null,
    name text not null,
    created_by blob not null references users (id),
    created_at text not null
);

create table project_members (
    project_id blob not null references projects (id) on delete cascade,
    user_id blob not null references users (id) on delete cascade,
    role text not null check (role in ('owner', 'editor', 'viewer')),
    created_at text not null,
    primary key (project_id, user_id)
);
create index project_members_by_user on project_members (user_id, project_id);

-- Files and the pictures in them.

create table files (
    id blob primary key not null,
    project_id blob not null references projects (id),
    uploaded_by blob not null references users (id),
    name text not null,
    size_bytes integer not null,
    sha256 blob not null,
    media_type text not null,                   -- sniffed, never believed
    object_key text not null unique,
    created_at text not null
);
create index files_by_project on files (project_id, id);

create table images (
    id blob primary key not null,
    project_id blob not null references projects (id),
    file_id blob not null references files (id),
    name text not null,
    width integer not null,
    height integer not null,
    pages integer not null,
    bits_per_sample integer not null,
    pixel_size_um real,             -- none where the file does not say
    created_at text not null
);
create index images_by_project on images (project_id, id);

-- Jobs. `attempt` is the fencing token: it rises at every claim and every later write names it.

create table queue_jobs (
    id blob primary key not null,
    task_id text not null unique,               -- the caller's own name for it
    kind text not null check (kind in ('segment', 'export')),
    project_id blob not null references projects (id),
    image_id blob not null references images (id),
    page integer not null,
    owner blob not null references users (id),
    priority integer not null check (priority between 1 and 10),
    parameters text not null,
    status text not null check (status in ('queued', 'running', 'completed', 'dead', 'cancelled')),
    attempt integer not null,
    failures integer not null,
    max_failures integer not null,
    crashes integer not null,
    progress integer not null check (progress between 0 and 100),
    cancel_requested_at text,
    lease_owner text,
    lease_expires_at text,
    error_class text,
    error_text text,
    segmenter text,
    created_at text not null,
    updated_at text not null,
    scheduled_at text not null,
    started_at text,
    finished_at text
);
create index queue_jobs_by_project on queue_jobs (project_id, id);
create index queue_jobs_queued on queue_jobs (scheduled_at, id) where status = 'queued';
create index queue_jobs_running on queue_jobs (lease_expires_at) where status = 'running';

create table job_attempts (
    job_id blob not null references queue_jobs (id) on delete cascade,
    attempt integer not null,
    lease_owner text not null,
    started_at text not null,
    ended_at text,
    outcome text,                               -- completed | failed | crashed | cancelled | handed_back
    error_class text,
    error_text text,
    primary key (job_id, attempt)
);

create table segmentations (
    id blob primary key not null,
    job_id blob not null unique references queue_jobs (id) on delete cascade,
    project_id blob not null references projects (id),
    image_id blob not null references images (id),
    page integer not null,
    attempt integer not null,
    segmenter text not null,
    object_count integer not null,
    result_zstd blob,                          -- zstd JSON up to 8 KiB, else
    result_object_key text,                     -- an object of the file store
    created_at text not null,
    check ((result_zstd is null) <> (result_object_key is null))
);
create index segmentations_by_image on segmentations (image_id, id);

-- What makes retries and events safe.

create table idempotency_keys (
    principal blob not null,
    key text not null,
    request_sha256 blob not null,
    outcome text not null,
    created_at text not null,
    primary key (principal, key)
);
create index idempotency_keys_by_age on idempotency_keys (created_at);

create table outbox_events (
    seq integer primary key autoincrement,
    id blob not null unique,
    shard integer not null,                      -- xxh3-64 of the key, modulo 8
    topic text not null,
    key text not null,
    headers text not null,
    payload blob not null,
    created_at text not null
);
create index outbox_events_by_shard on outbox_events (shard, seq);

create table outbox_dead (
    id blob primary key not null,
    topic text not null,
    key text not null,
    headers text not null,
    payload blob not null,
    error text not null,
    created_at text not null,
    died_at text not null
);
