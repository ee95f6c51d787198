-- Jobs on heavy images go to a lane of their own; workers say which lanes they serve.
alter table queue_jobs add column lane text not null default 'default' check (lane in ('default', 'large'));
