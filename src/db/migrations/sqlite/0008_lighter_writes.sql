-- Only PostgreSQL has what this takes away: here it would mean to write the tables anew. The file keeps the numbers of both
-- dialects equal; a migration needs a statement.
select 1;
