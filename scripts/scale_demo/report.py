"""What was found, for people and for programs, and whether it is good enough."""

import dataclasses
import sys
import time
from collections import Counter

from client import KEPT_CLOSED

FAILURES_SHOWN = 5


@dataclasses.dataclass
class Report:
    """Filled in stage by stage."""

    exercise: str
    copies: dict
    balancer: str
    spread: Counter = dataclasses.field(default_factory=Counter)
    requests: object = None
    jobs: object = None
    by_worker: dict = dataclasses.field(default_factory=dict)
    members_before: dict = dataclasses.field(default_factory=dict)
    members_after: dict = dataclasses.field(default_factory=dict)
    sockets_before: Counter = dataclasses.field(default_factory=Counter)
    sockets_after: Counter = dataclasses.field(default_factory=Counter)
    sockets_missed: tuple = (0, 0)
    statistics: int = 0
    # What the exercise has found out: lines for people, figures for programs, what must hold.
    rows: list = dataclasses.field(default_factory=list)
    figures: dict = dataclasses.field(default_factory=dict)
    expected: list = dataclasses.field(default_factory=list)
    failures: list = dataclasses.field(default_factory=list)
    events: list = dataclasses.field(default_factory=list)  # instant and what happened

    def note(self, text):
        """Something that happened now; shown at once, and in the report."""
        self.happened(time.time(), text)
        print(f"\n  {text}", end="", file=sys.stderr, flush=True)

    def happened(self, at, text):
        self.events.append((at, text))

    def row(self, name, text):
        self.rows.append((name, text))

    def expect(self, what, seen, good):
        self.expected.append((what, seen, good))

    def expect_unnoticed(self, requests, cut=False):
        """Nobody had to ask twice, of at least so many; `cut` where the balancer's reload closes kept connections."""
        seen = self.requests
        self.expect("requests", f"{seen.answered:,} (at least {requests:,})", seen.answered >= requests)
        again = sum(seen.failed_tries.values())
        if cut:
            kept = sum(count for what, count in seen.failed_tries.items() if what.endswith(KEPT_CLOSED))
            self.row("sent again", f"{kept}, on a kept connection that the balancer closed when it was loaded anew")
            again -= kept
        self.expect("requests that did not succeed at once", again, again == 0)

    def timeline(self):
        """In seconds since the first event."""
        events = sorted(self.events)
        return [(at - events[0][0], text) for at, text in events]

    def verdicts(self):
        """What must hold: a name, what was seen, whether it does."""
        yield "every copy of serve answers", table(self.spread), len(self.spread) == self.copies["serve"]
        yield "requests that failed for good", len(self.requests.failed), not self.requests.failed
        yield from self.expected
        yield "acknowledged jobs lost", f"{self.jobs.lost} of {self.jobs.acknowledged}", self.jobs.lost == 0
        yield "jobs done twice", self.jobs.twice, self.jobs.twice == 0
        good = self.statistics == self.jobs.completed
        yield "events counted once each", f"{self.statistics} of {self.jobs.completed} completed jobs", good
        again, unrecovered = self.sockets_missed
        good = unrecovered == 0 and sum(self.sockets_after.values()) == sum(self.sockets_before.values()) > 0
        yield "sockets connected again", f"{again}, {unrecovered} of them missed something", good

    def holds(self):
        return all(good for _, _, good in self.verdicts())

    def as_text(self):
        seen = self.requests
        lines = [
            "",
            f"{self.exercise}: {' + '.join(f'{count} {role}' for role, count in self.copies.items())} behind {self.balancer}",
            "",
            f"requests      {seen.answered:,} answered in {seen.seconds:.0f} s ({seen.rate():.0f}/s), slowest {max(seen.took_s, default=0):.2f} s",
            f"  by instance {table(seen.by_instance)}",
            f"  tried again {table(seen.failed_tries) or 'none'}",
            f"  connections {seen.connections:,}",
            f"jobs          {self.jobs.completed:,} completed",
            f"  by worker   {table(self.by_worker)}",
            f"partitions    before {members(self.members_before)}",
            f"              after  {members(self.members_after)}",
            f"sockets       before {table(self.sockets_before)}",
            f"              after  {table(self.sockets_after)}",
            *(f"{name:<13} {text}" for name, text in self.rows),
            "",
            *(f"{seconds:>8.1f} s  {text}" for seconds, text in self.timeline()),
            "",
        ]
        for name, found, good in self.verdicts():
            lines.append(f"{'ok    ' if good else 'FAILED'}  {name:<38} {found}")
        lines += [f"        {failure}" for failure in (seen.failed + self.failures)[:FAILURES_SHOWN]]
        return "\n".join(lines)

    def as_json(self):
        seen = vars(self.requests) | {"jobs": len(self.requests.jobs), "slowest_s": max(self.requests.took_s, default=0)}
        del seen["took_s"]
        return {
            "exercise": self.exercise,
            "copies": self.copies,
            "balancer": self.balancer,
            "spread": self.spread,
            "requests": seen,
            "jobs": vars(self.jobs),
            "by_worker": self.by_worker,
            "partitions": {"before": self.members_before, "after": self.members_after},
            "sockets": {"before": self.sockets_before, "after": self.sockets_after},
            **self.figures,
            "timeline": [{"seconds": round(seconds, 3), "what": what} for seconds, what in self.timeline()],
            "verdicts": [{"what": name, "seen": str(found), "ok": good} for name, found, good in self.verdicts()],
            "ok": self.holds(),
        }


def table(counts):
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def members(found):
    """Each worker with its partitions of each group."""
    each = lambda groups: " + ".join(f"{count} {group}" for group, count in sorted(groups.items()))
    return "; ".join(f"{name}: {each(groups)}" for name, groups in sorted(found.items())) or "-"
