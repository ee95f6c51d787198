-- The embedded event log and the relay's lease exist in SQLite only: beside PostgreSQL the log is Kafka, and the relay
-- holds an advisory lock. The file keeps the numbers of both dialects equal; a migration needs a statement.
select 1;
