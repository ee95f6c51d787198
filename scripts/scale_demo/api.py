"""What the demonstration itself asks."""

import http.client
import json
import time
import urllib.parse
from collections import Counter

from client import JSON, Client, name_of

START_LIMIT_S = 30.0
ENDS_LIMIT_S = 300.0
STATISTICS_LIMIT_S = 30.0
POLL_S = 0.1


class Api(Client):
    """Through the balancer, as everybody."""

    def await_answer(self, log):
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                if self.once("GET", "/whoami").status == 200:
                    return
            except (OSError, http.client.HTTPException):
                self.close()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the balancer does not answer: {log.read_text()}")
            time.sleep(POLL_S)

    def spread(self, count):
        """How many of so many requests, each on a new connection, each instance answered."""
        seen = Counter()
        for _ in range(count):
            seen[name_of(self.once("GET", "/whoami").instance)] += 1
            self.close()
        return seen

    def user(self):
        return self.ask("GET", "/api/v1/session")["id"]

    def upload(self, images):
        """A project with these images: its id and theirs."""
        project = self.ask("POST", "/api/v1/projects", json.dumps({"name": "scale demo"}), JSON)["id"]
        path = f"/api/v1/projects/{project}/images?name="
        sent = [
            self.ask("POST", path + urllib.parse.quote(image.name), image.read_bytes(), [("content-type", kind)])
            for image, kind in images
        ]
        return project, [image["id"] for image in sent if image]

    def await_ends(self, project, jobs):
        """Waits until every acknowledged job has ended."""
        waiting = set(jobs)
        deadline = time.monotonic() + ENDS_LIMIT_S
        while waiting and time.monotonic() < deadline:
            path = f"/api/v1/projects/{project}/jobs?limit=200&status="
            open_now = {
                job["id"] for status in ("queued", "running") for job in self.ask("GET", path + status)["items"]
            }
            # A page may be full of others: who is not on it is asked for.
            ended = {job for job in waiting - open_now if self.ask("GET", f"/api/v1/jobs/{job}")["status"] not in ("queued", "running")}
            waiting -= ended
            time.sleep(POLL_S)

    def completed_in_statistics(self, project, expected):
        """Jobs that the project's statistics count as completed: what the consumers of the events made of them."""
        deadline = time.monotonic() + STATISTICS_LIMIT_S
        while True:
            counted = self.ask("GET", f"/api/v1/projects/{project}/statistics")["jobs_completed"]
            if counted == expected or time.monotonic() > deadline:
                return counted
            time.sleep(POLL_S)
