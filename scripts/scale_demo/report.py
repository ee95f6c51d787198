"""What was found, for people and for programs, and whether it is good enough."""

import dataclasses
import sys
import time
from collections import Counter

# Promised: jobs of a dead worker run again within 12 s, partitions have another reader within 9 s.
JOBS_TAKEN_OVER_MAX_S, PARTITIONS_TAKEN_OVER_MAX_S = 12.0, 9.0


@dataclasses.dataclass
class Report:
    """Filled in stage by stage."""

    copies: dict
    balancer: str
    spread: Counter = dataclasses.field(default_factory=Counter)
    killed: dict = dataclasses.field(default_factory=dict)
    requests: object = None
    jobs: object = None
    by_worker: dict = dataclasses.field(default_factory=dict)
    jobs_taken_over: tuple = None
    partitions_taken_over: tuple = None
    members_before: dict = dataclasses.field(default_factory=dict)
    members_after: dict = dataclasses.field(default_factory=dict)
    sockets_before: Counter = dataclasses.field(default_factory=Counter)
    sockets_after: Counter = dataclasses.field(default_factory=Counter)
    sockets_missed: tuple = (0, 0)
    statistics: int = None
    timeline: list = dataclasses.field(default_factory=list)  # instant and what happened

    def note(self, text):
        """Something that happened now; shown at once, and in the report."""
        self.timeline.append((time.time(), text))
        print(f"\n  {text}", end="", file=sys.stderr, flush=True)

    def happened(self):
        """The timeline with what was found out later, in seconds since the first entry."""
        events = list(self.timeline)
        if self.killed.get("worker"):
            killed_at = self.killed["worker"][1]
            if self.jobs_taken_over and self.jobs_taken_over[0]:
                events.append((killed_at + self.jobs_taken_over[1], "the jobs of the killed worker run again, all of them"))
            if self.partitions_taken_over and self.partitions_taken_over[1]:
                events.append((killed_at + self.partitions_taken_over[1], "its partitions have other readers, all of them"))
        began = events[0][0]
        return [(at - began, text) for at, text in sorted(events)]

    def verdicts(self):
        """What must hold: a name, what was seen, whether it does."""
        yield "every copy of serve answers", table(self.spread), len(self.spread) == self.copies["serve"]
        yield "requests that failed for good", len(self.requests.failed), not self.requests.failed
        yield "acknowledged jobs lost", f"{self.jobs.lost} of {self.jobs.acknowledged}", self.jobs.lost == 0
        yield "jobs done twice", self.jobs.twice, self.jobs.twice == 0
        if self.jobs_taken_over:
            count, seconds, never = self.jobs_taken_over
            good = never == 0 and seconds <= JOBS_TAKEN_OVER_MAX_S
            yield "jobs of the killed worker run again", f"{count} within {seconds:.1f} s (limit {JOBS_TAKEN_OVER_MAX_S:.0f})", good
        if self.partitions_taken_over and self.partitions_taken_over[0]:
            count, seconds = self.partitions_taken_over
            good = seconds is not None and seconds <= PARTITIONS_TAKEN_OVER_MAX_S
            seen = f"{count} within {seconds:.1f} s (limit {PARTITIONS_TAKEN_OVER_MAX_S:.0f})" if seconds else f"{count}, never"
            yield "its partitions have other readers", seen, good
        if self.statistics is not None:
            good = self.statistics == self.jobs.completed
            yield "events counted once each", f"{self.statistics} of {self.jobs.completed} completed jobs", good
        if self.sockets_before:
            again, unrecovered = self.sockets_missed
            good = unrecovered == 0 and sum(self.sockets_after.values()) == sum(self.sockets_before.values())
            yield "sockets connected again", f"{again}, {unrecovered} of them missed something", good

    def holds(self):
        return all(good for _, _, good in self.verdicts())

    def as_text(self):
        seen = self.requests
        lines = [
            "",
            f"{' + '.join(f'{count} {role}' for role, count in self.copies.items())} behind {self.balancer}; 2 of each added after the kill",
            "",
            f"requests      {seen.answered:,} answered in {seen.seconds:.0f} s ({seen.answered / seen.seconds:.0f}/s), slowest {seen.slowest_s:.2f} s",
            f"  by instance {table(seen.by_instance)}",
            f"  tried again {table(seen.failed_tries) or 'none'}",
            f"jobs          {self.jobs.completed:,} completed",
            f"  by worker   {table(self.by_worker)}",
            f"killed        {', '.join(name for name, _ in filter(None, self.killed.values())) or 'none: one copy each'}",
            f"partitions    before {members(self.members_before)}",
            f"              after  {members(self.members_after)}",
            f"sockets       before {table(self.sockets_before)}",
            f"              after  {table(self.sockets_after)}",
            "",
            *(f"{seconds:>8.1f} s  {text}" for seconds, text in self.happened()),
            "",
        ]
        for name, found, good in self.verdicts():
            lines.append(f"{'ok    ' if good else 'FAILED'}  {name:<38} {found}")
        lines += [f"        {failure}" for failure in seen.failed[:5]]
        return "\n".join(lines)

    def as_json(self):
        return {
            "copies": self.copies,
            "balancer": self.balancer,
            "spread": self.spread,
            "killed": {role: name_and_time[0] for role, name_and_time in self.killed.items() if name_and_time},
            "requests": vars(self.requests) | {"jobs": len(self.requests.jobs)},
            "jobs": vars(self.jobs),
            "by_worker": self.by_worker,
            "partitions": {"before": self.members_before, "after": self.members_after},
            "sockets": {"before": self.sockets_before, "after": self.sockets_after},
            "timeline": [{"seconds": round(seconds, 3), "what": what} for seconds, what in self.happened()],
            "verdicts": [{"what": name, "seen": str(found), "ok": good} for name, found, good in self.verdicts()],
            "ok": self.holds(),
        }


def table(counts):
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def members(found):
    """Each worker with its partitions of each group."""
    each = lambda groups: " + ".join(f"{count} {group}" for group, count in sorted(groups.items()))
    return "; ".join(f"{name}: {each(groups)}" for name, groups in sorted(found.items())) or "-"
