-- The figures of the queue are per priority and lane.

drop index queue_jobs_waiting;
drop index queue_jobs_dead;
drop index queue_jobs_ended;
create index queue_jobs_waiting on queue_jobs (priority, lane, scheduled_at, id) where status = 'queued';
create index queue_jobs_dead on queue_jobs (id, priority, lane) where status = 'dead';
create index queue_jobs_ended on queue_jobs (finished_at, status, priority, lane) where finished_at is not null;
