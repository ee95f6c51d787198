-- SQLite writes rows where they stand. The file keeps the numbers of both dialects equal; a migration needs a statement.
select 1;
