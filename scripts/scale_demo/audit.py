"""What the database says of the jobs, which is the truth."""

import dataclasses
import datetime
from collections import Counter

import laboratory
from client import name_of


@dataclasses.dataclass
class Jobs:
    """Acknowledged jobs, and where they are."""

    acknowledged: int
    completed: int
    lost: int  # not there, or not completed
    twice: int  # completed by two runs, or with two results


class Auditor:
    """Asks the database itself."""

    def __init__(self, url, database):
        base, _, query = url.partition("?")
        self.url = base.rsplit("/", 1)[0] + f"/{database}" + (f"?{query}" if query else "")

    def jobs(self, acknowledged):
        completed = {row[0] for row in self.ask("select id from queue_jobs where status = 'completed'")}
        twice = self.ask(
            "select job_id from job_attempts where outcome = 'completed' group by job_id having count(*) > 1"
            " union select job_id from segmentations group by job_id having count(*) > 1"
        )
        return Jobs(len(acknowledged), len(completed), len(set(acknowledged) - completed), len(twice))

    def jobs_by_worker(self):
        """How many jobs each worker completed."""
        rows = self.ask("select lease_owner, count(*) from job_attempts where outcome = 'completed' group by lease_owner")
        by_worker = Counter()
        for owner, count in rows:
            by_worker[name_of(owner)] += int(count)
        return by_worker

    def taken_over(self, worker, killed_at):
        """The jobs that the worker ran when it was killed, and the seconds until the last of them began again."""
        rows = self.ask(
            "select extract(epoch from min(later.started_at)) from job_attempts as cut"
            " left join job_attempts as later on later.job_id = cut.job_id and later.attempt > cut.attempt"
            f" where cut.lease_owner like '{worker}-%' and cut.outcome is distinct from 'completed'"
            f" and cut.started_at <= timestamptz '{instant(killed_at)}' group by cut.job_id"
        )
        starts = [float(row[0]) for row in rows if row[0]]
        return len(rows), max((start - killed_at for start in starts), default=0.0), len(rows) - len(starts)

    def ask(self, statement):
        return laboratory.psql(self.url, statement)


def instant(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()
