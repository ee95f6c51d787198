"""Clients of the HTTP interface through the balancer, and what they saw."""

import dataclasses
import http.client
import json
import random
import threading
import time
import urllib.parse
import uuid
from collections import Counter

ANSWER_LIMIT_S = 30.0
START_LIMIT_S = 30.0
ENDS_LIMIT_S = 180.0
STATISTICS_LIMIT_S = 30.0
POLL_S = 0.1
CLIENTS = 16
# A client submits, looks at its job a few times, and rests: together some 30 jobs and 120 requests a second.
LOOKS, REST_S = 3, 0.35
# Who is told to come back, or not answered, asks again with the same key.
TRIES_MAX, TRY_AGAIN_S = 20, 0.25
AGAIN = {429, 502, 503, 504}


@dataclasses.dataclass
class Requests:
    """What the clients of a load saw."""

    answered: int = 0
    failed_tries: Counter = dataclasses.field(default_factory=Counter)  # by method and what came instead
    failed: list = dataclasses.field(default_factory=list)  # for good
    by_instance: Counter = dataclasses.field(default_factory=Counter)
    jobs: list = dataclasses.field(default_factory=list)  # acknowledged
    seconds: float = 0.0
    slowest_s: float = 0.0

    def add(self, other):
        self.answered += other.answered
        self.failed_tries += other.failed_tries
        self.failed += other.failed
        self.by_instance += other.by_instance
        self.jobs += other.jobs
        self.slowest_s = max(self.slowest_s, other.slowest_s)


class Client:
    """One connection, kept alive; what goes wrong on it is tried again on a new one."""

    def __init__(self, front, token):
        self.front, self.token = front, token
        self.connection = None
        self.seen = Requests()

    def ask(self, method, path, body=None, headers=()):
        """Status, instance and JSON of the answer, after as many tries as it needs; none where all failed."""
        key = {"idempotency-key": uuid.uuid4().hex} if method == "POST" else {}
        headers = {"authorization": f"Bearer {self.token}", **key, **dict(headers)}
        why = None
        for _ in range(TRIES_MAX):
            try:
                status, instance, answer = self.once(method, path, body, headers)
            except (OSError, http.client.HTTPException) as error:
                status, why = None, type(error).__name__
                self.close()
            if status is not None and status not in AGAIN:
                self.seen.answered += 1
                self.seen.by_instance[name_of(instance)] += 1
                if status >= 400:
                    self.seen.failed.append(f"{method} {path}: {status} {answer}")
                    return None
                return json.loads(answer) if answer else {}
            self.seen.failed_tries[f"{method} {status or why}"] += 1
            time.sleep(TRY_AGAIN_S)
        self.seen.failed.append(f"{method} {path}: {status or why} {TRIES_MAX} times")
        return None

    def once(self, method, path, body=None, headers=()):
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(
                "127.0.0.1", self.front.port, timeout=ANSWER_LIMIT_S, context=self.front.tls()
            )
        began = time.monotonic()
        self.connection.request(method, path, body, dict(headers))
        answer = self.connection.getresponse()
        content = answer.read()
        self.seen.slowest_s = max(self.seen.slowest_s, time.monotonic() - began)
        if answer.will_close:
            self.close()
        return answer.status, answer.headers.get("X-Instance-Id", "?"), content

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Api(Client):
    """What the demonstration itself asks."""

    def await_answer(self):
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                if self.once("GET", "/whoami")[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                self.close()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the balancer does not answer: {(self.front.folder / 'log').read_text()}")
            time.sleep(POLL_S)

    def spread(self, count):
        """How many of so many requests, each on a new connection, each instance answered."""
        seen = Counter()
        for _ in range(count):
            seen[name_of(self.once("GET", "/whoami")[1])] += 1
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
            status, _, body = self.once(
                "GET", f"/api/v1/projects/{project}/statistics", headers=[("authorization", f"Bearer {self.token}")]
            )
            if status == 404:
                return None
            counted = json.loads(body).get("jobs_completed")
            if counted == expected or time.monotonic() > deadline:
                return counted
            time.sleep(POLL_S)


class Load:
    """Clients that submit jobs and look at them, until the context is left."""

    def __init__(self, api, images):
        self.clients = [Client(api.front, api.token) for _ in range(CLIENTS)]
        self.images = images
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=[client]) for client in self.clients]
        self.began = None
        self.seconds = 0.0

    def __enter__(self):
        self.began = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.seconds = time.monotonic() - self.began

    def run_for(self, seconds):
        time.sleep(seconds)

    def work(self, client):
        choose = random.Random(id(client))
        while not self.stop.is_set():
            job = client.ask("POST", "/api/v1/jobs", json.dumps({"image_id": choose.choice(self.images)}), JSON)
            if job:
                client.seen.jobs.append(job["id"])
                for _ in range(LOOKS):
                    client.ask("GET", f"/api/v1/jobs/{job['id']}")
            self.stop.wait(REST_S * choose.uniform(0.5, 1.5))

    def requests(self):
        all_seen = Requests(seconds=self.seconds)
        for client in self.clients:
            all_seen.add(client.seen)
        return all_seen


JSON = [("content-type", "application/json")]


def name_of(instance):
    """The name of the copy without the digits of its boot."""
    return instance.rsplit("-", 1)[0]
