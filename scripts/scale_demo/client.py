"""A client of the HTTP interface through the balancer, and what it saw."""

import dataclasses
import functools
import http.client
import json
import pathlib
import select
import ssl
import time
import uuid
from collections import Counter

ANSWER_LIMIT_S = 30.0
# Who is told to come back, or not answered, asks again with the same key: for longer than the 10 s for which a request of a
# process that died counts as in flight.
PATIENCE_S, TRY_AGAIN_S = 25.0, 0.25
LATER = {409, 429, 503}  # with Retry-After
NO_ANSWER = {502, 503, 504}
# What came instead of an answer on a connection that had answered before: whoever is in front closed it.
KEPT_CLOSED = "kept connection closed"
CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
JSON = [("content-type", "application/json")]


@dataclasses.dataclass(frozen=True)
class Door:
    """Where the balancer is, and whom it is trusted as."""

    port: int
    certificate: pathlib.Path

    def tls(self):
        return trusting(self.certificate)


@functools.cache
def trusting(certificate):
    """Trusts this certificate and no other."""
    return ssl.create_default_context(cafile=certificate)


@dataclasses.dataclass
class Answer:
    """Of one try."""

    status: int
    instance: str
    content: bytes
    later: bool  # it says when to come back


@dataclasses.dataclass
class Requests:
    """What clients saw."""

    answered: int = 0
    failed_tries: Counter = dataclasses.field(default_factory=Counter)  # by method and what came instead
    refused: Counter = dataclasses.field(default_factory=Counter)  # told to come back, and left it at that
    failed: list = dataclasses.field(default_factory=list)  # for good
    by_instance: Counter = dataclasses.field(default_factory=Counter)
    jobs: list = dataclasses.field(default_factory=list)  # acknowledged
    connections: int = 0
    seconds: float = 0.0
    took_s: list = dataclasses.field(default_factory=list)  # of each that was answered

    def add(self, other):
        self.answered += other.answered
        self.failed_tries += other.failed_tries
        self.refused += other.refused
        self.failed += other.failed
        self.by_instance += other.by_instance
        self.jobs += other.jobs
        self.connections += other.connections
        self.took_s += other.took_s

    def rate(self):
        return self.answered / self.seconds if self.seconds else 0.0

    def percentile(self, share):
        """Seconds within which this share of the answers came."""
        ordered = sorted(self.took_s)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


class Client:
    """One connection, kept alive. What goes wrong on it is tried again on a new one, unless the client is impatient."""

    def __init__(self, door, token, patient=True):
        self.door, self.token, self.patient = door, token, patient
        self.connection = None
        self.seen = Requests()

    def ask(self, method, path, body=None, headers=()):
        """The JSON of the answer, after as many tries as it needs; none where all failed."""
        key = {"idempotency-key": uuid.uuid4().hex} if method == "POST" else {}
        headers = {"authorization": f"Bearer {self.token}", **key, **dict(headers)}
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer, why = self.tried(method, path, body, headers)
            if answer and answer.status < 400:
                self.seen.answered += 1
                self.seen.by_instance[name_of(answer.instance)] += 1
                return json.loads(answer.content) if answer.content else {}
            later = answer and answer.later and answer.status in LATER
            if later and not self.patient:
                self.seen.refused[f"{answer.status} with Retry-After"] += 1
                time.sleep(TRY_AGAIN_S)
                return None
            again = self.patient and (later or answer is None or answer.status in NO_ANSWER)
            if not again or time.monotonic() > deadline:
                self.seen.failed.append(f"{method} {path}: {why}")
                return None
            self.seen.failed_tries[f"{method} {answer.status if answer else why}"] += 1
            time.sleep(TRY_AGAIN_S)

    def tried(self, method, path, body, headers):
        """The answer, if one came, and how to call what came instead of a good one."""
        made = self.seen.connections
        try:
            answer = self.once(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            kept = self.seen.connections == made and isinstance(error, CLOSED)
            return None, KEPT_CLOSED if kept else type(error).__name__
        return answer, f"{answer.status} {answer.content[:300]}"

    def once(self, method, path, body=None, headers=()):
        self.connect()
        began = time.monotonic()
        self.connection.request(method, path, body, dict(headers))
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status < 400:
            self.seen.took_s.append(time.monotonic() - began)
        if answer.will_close:
            self.close()
        later = answer.headers.get("Retry-After") is not None
        return Answer(answer.status, answer.headers.get("X-Instance-Id", "?"), content, later)

    def connect(self):
        """As libraries do: a kept connection that was closed meanwhile is not asked."""
        if self.connection and select.select([self.connection.sock], [], [], 0)[0]:
            self.close()
        if self.connection is None:
            fresh = http.client.HTTPSConnection(
                "127.0.0.1", self.door.port, timeout=ANSWER_LIMIT_S, context=self.door.tls()
            )
            fresh.connect()
            self.connection = fresh
            self.seen.connections += 1

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def name_of(instance):
    """The name of the copy without the digits of its boot."""
    return instance.rsplit("-", 1)[0]
