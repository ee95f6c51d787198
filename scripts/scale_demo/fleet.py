"""The copies: processes of the one program, each with ports and a name of its own."""

import dataclasses
import json
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

READY_LIMIT_S = 60.0
STOP_LIMIT_S = 60.0
PROBE_LIMIT_S = 2.0
POLL_S = 0.05
PUBLIC = {"serve": "HTTP", "realtime": "REALTIME"}


class Failed(Exception):
    """A copy did not become ready."""


@dataclasses.dataclass
class Copy:
    """One process."""

    name: str
    role: str
    ops: int
    public: int | None
    process: subprocess.Popen
    log: pathlib.Path

    @property
    def lives(self):
        return self.process.poll() is None

    def ask(self, path):
        """The JSON that its operator listener answers; none where it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ops}{path}", timeout=PROBE_LIMIT_S) as answer:
                return json.load(answer)
        except (OSError, urllib.error.HTTPError, json.JSONDecodeError):
            return None


class Fleet:
    """All copies. Leaving the context stops them."""

    def __init__(self, binary, environment, folder):
        self.binary, self.environment, self.folder = binary, environment, folder
        self.copies = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for copy in self.copies:
            if copy.lives:
                copy.process.send_signal(signal.SIGTERM)
        # The second signal ends at once: nobody asks any more.
        for copy in self.copies:
            if copy.lives:
                copy.process.send_signal(signal.SIGTERM)
        for copy in self.copies:
            try:
                copy.process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                copy.process.kill()

    def start(self, role, count):
        for _ in range(count):
            number = 1 + sum(copy.role == role for copy in self.copies)
            self.copies.append(self.started(role, f"{role}-{number}"))

    def started(self, role, name):
        ops, public = free_port(), free_port() if role in PUBLIC else None
        settings = {"SPHEROCTL__INSTANCE__ID": name, "SPHEROCTL__OPS__PORT": str(ops)}
        if public:
            settings[f"SPHEROCTL__{PUBLIC[role]}__PORT"] = str(public)
        log = self.folder / f"{name}.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [self.binary, role], env={**self.environment, **settings}, stdout=output, stderr=output, cwd=self.folder
            )
        return Copy(name, role, ops, public, process, log)

    def await_ready(self):
        deadline = time.monotonic() + READY_LIMIT_S
        for copy in self.living():
            while copy.ask("/readyz") is None:
                if not copy.lives or time.monotonic() > deadline:
                    raise Failed(f"{copy.name} is not ready: {copy.log.read_text(errors='replace')[-2_000:]}")
                time.sleep(POLL_S)

    def living(self, role=None):
        return [copy for copy in self.copies if copy.lives and role in (None, copy.role)]

    def kill_one(self, role):
        """Kills the first of the role and says which and when; none where there is only one."""
        living = self.living(role)
        if len(living) < 2:
            return None
        living[0].process.kill()
        living[0].process.wait(STOP_LIMIT_S)
        return living[0].name, time.time()

    def addresses(self, role):
        return [f"127.0.0.1:{copy.public}" for copy in self.living(role)]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
