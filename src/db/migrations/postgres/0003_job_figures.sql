-- What operators ask of the queue, as index scans with an end: how many wait, in what order, since when; what is dead;
-- what ended lately; what is old enough to go.

create index queue_jobs_waiting on queue_jobs (priority, scheduled_at, id) where status = 'queued';
create index queue_jobs_dead on queue_jobs (id, priority) where status = 'dead';
create index queue_jobs_ended on queue_jobs (finished_at, status, priority) where finished_at is not null;
create index queue_jobs_without_result on queue_jobs (finished_at) where status in ('dead', 'cancelled');
create index job_attempts_ended on job_attempts (ended_at, outcome) where ended_at is not null;
