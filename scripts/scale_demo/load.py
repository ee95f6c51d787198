"""People at work: clients that submit jobs and look at them."""

import dataclasses
import json
import random
import threading
import time

from client import JSON, Client, Requests

LOOK_S = 0.1


@dataclasses.dataclass(frozen=True)
class Pace:
    """Each client submits a job, looks at it so many times, and rests."""

    clients: int
    looks: int
    rest_s: float
    # Asks again until it has an answer; else a refusal is an answer.
    patient: bool = True


class Load:
    """The clients work until the context is left."""

    def __init__(self, door, token, images, pace):
        self.clients = [Client(door, token, pace.patient) for _ in range(pace.clients)]
        self.images, self.pace = images, pace
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

    def until_answered(self, requests, limit_s):
        """Until so many were answered since the beginning, at most for the limit."""
        self.until(lambda: self.answered() >= requests, limit_s)

    def until_answered_by(self, instances, limit_s):
        """Until each of them has answered, at most for the limit."""
        self.until(lambda: all(any(client.seen.by_instance[name] for client in self.clients) for name in instances), limit_s)

    def until(self, happened, limit_s):
        deadline = time.monotonic() + limit_s
        while not happened() and time.monotonic() < deadline:
            time.sleep(LOOK_S)

    def answered(self):
        return sum(client.seen.answered for client in self.clients)

    def work(self, client):
        choose = random.Random(id(client))
        # Not all at the same place of their round, nor at the same instant.
        self.stop.wait(self.pace.rest_s * choose.random())
        self.look(client, "/api/v1/session", choose.randrange(self.pace.looks))
        while not self.stop.is_set():
            job = client.ask("POST", "/api/v1/jobs", json.dumps({"image_id": choose.choice(self.images)}), JSON)
            if job:
                client.seen.jobs.append(job["id"])
            self.look(client, f"/api/v1/jobs/{job['id']}" if job else "/api/v1/session", self.pace.looks)
            self.stop.wait(self.pace.rest_s * choose.uniform(0.5, 1.5))

    def look(self, client, path, times):
        for _ in range(times):
            if self.stop.is_set():
                return
            client.ask("GET", path)

    def requests(self):
        all_seen = Requests(seconds=self.seconds)
        for client in self.clients:
            all_seen.add(client.seen)
        return all_seen
