"""Who reads which partitions, looked at all the time: each worker says it on its operator listener."""

import threading
import time

LOOK_S = 0.2


class Watch:
    """Looks until the context is left."""

    def __init__(self, copies):
        self.copies = copies
        self.looks = []  # instant, {(group, topic, partition): name of the copy}
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.look_on)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def look_on(self):
        while not self.stop.wait(LOOK_S):
            owners = self.owners()
            # The instant after it: a look that a kill interrupted is one of the time after the kill.
            self.looks.append((time.time(), owners))

    def owners(self):
        owners = {}
        for copy in self.copies.living("worker"):
            info = copy.ask("/api/v1/scaling/info") or {}
            # A process that begins or ends says less.
            for group in (info.get("figures") or {}).get("groups") or []:
                for part in group.get("partitions") or []:
                    owners[group["group"], part["topic"], part["partition"]] = copy.name
        return owners

    def members(self):
        """Partitions of each worker by group, as of the last look."""
        members = {}
        for (group, _, _), name in (self.looks[-1][1] if self.looks else {}).items():
            members.setdefault(name, {}).setdefault(group, 0)
            members[name][group] += 1
        return members

    def taken_over(self, name, killed_at):
        """Partitions that the worker had, and the seconds until all of them had another reader; none if never."""
        before = [owners for at, owners in self.looks if at <= killed_at]
        had = {part for part, owner in (before[-1] if before else {}).items() if owner == name}
        for at, owners in self.looks:
            if at > killed_at and all(owners.get(part, name) != name for part in had):
                return len(had), at - killed_at
        return len(had), None
