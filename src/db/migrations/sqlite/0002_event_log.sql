-- The embedded event log. Instants are milliseconds since 1970: they are compared and added to.

create table log_topics (
    name text primary key,
    partitions integer not null check (partitions > 0),
    retention_ms integer not null
) without rowid;

create table log_partitions (
    topic text not null references log_topics (name) on delete cascade,
    number integer not null,
    start_offset integer not null,              -- the first record kept
    next_offset integer not null,               -- of the record that is appended next
    primary key (topic, number)
) without rowid;

create table log_records (
    topic text not null,
    number integer not null,
    record_offset integer not null,
    timestamp_ms integer not null,
    key text not null,
    headers text not null,                      -- JSON: [[name, value], …]
    value blob not null,
    primary key (topic, number, record_offset)
) without rowid;

-- Groups. The generation rises whenever the members must look again at who reads what.

create table log_groups (
    group_name text primary key,
    generation integer not null
) without rowid;

create table log_members (
    group_name text not null,
    member_id text not null,
    client_id text not null,
    topics text not null,                       -- JSON: [name, …]
    expires_ms integer not null,                -- a member that is silent until then is dead
    primary key (group_name, member_id)
) without rowid;

create table log_assignments (
    group_name text not null,
    topic text not null,
    number integer not null,
    owner text,                                 -- member_id; none while it moves
    epoch integer not null,                     -- rises with every change of owner: fences the former one's commits
    release_by_ms integer,                      -- the owner was told to let go, and is overdue after this
    primary key (group_name, topic, number)
) without rowid;

create table log_positions (
    group_name text not null,
    topic text not null,
    number integer not null,
    position integer not null,                  -- the next offset to read
    primary key (group_name, topic, number)
) without rowid;

-- One process at a time relays the outbox.

create table log_relay_leases (
    name text primary key,
    owner text not null,
    expires_ms integer not null
) without rowid;
