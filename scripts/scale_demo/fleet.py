"""The copies: processes of the one program, each with ports and a name of its own."""

import dataclasses
import http.client
import json
import pathlib
import random
import signal
import socket
import subprocess
import time
import urllib.request

READY_LIMIT_S = 60.0
STOP_LIMIT_S = 60.0
PROBE_LIMIT_S = 2.0
POLL_S = 0.05
PUBLIC = {"serve": "HTTP", "realtime": "REALTIME"}
# Below the range from which outgoing connections take theirs: a port stays a copy's while it starts again.
PORTS = range(20_000, 32_000)


class Failed(Exception):
    """A copy did not become ready."""


@dataclasses.dataclass
class Copy:
    """One process, and where it is asked; another process takes its place when it is started again."""

    name: str
    role: str
    ops: int
    public: int | None
    log: pathlib.Path
    process: subprocess.Popen = None
    leaving: bool = False

    @property
    def lives(self):
        # Others look while one is being started.
        return self.process is not None and self.process.poll() is None

    def tell_to_end(self):
        self.leaving = True
        self.process.send_signal(signal.SIGTERM)

    def await_end(self):
        """Its exit code."""
        return self.process.wait(STOP_LIMIT_S)

    def ask(self, path):
        """The JSON that its operator listener answers; none where it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ops}{path}", timeout=PROBE_LIMIT_S) as answer:
                return json.load(answer)
        except (OSError, http.client.HTTPException, ValueError):
            return None


class Fleet:
    """All copies. Leaving the context stops them."""

    def __init__(self, binary, environment, folder):
        self.binary, self.environment, self.folder = binary, environment, folder
        self.copies = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # The second signal ends at once: nobody asks any more.
        for _ in range(2):
            for copy in self.copies:
                if copy.lives:
                    copy.tell_to_end()
        for copy in self.copies:
            try:
                copy.await_end()
            except subprocess.TimeoutExpired:
                copy.process.kill()

    def start(self, role, count):
        for _ in range(count):
            name = f"{role}-{1 + sum(copy.role == role for copy in self.copies)}"
            public = free_port() if role in PUBLIC else None
            self.copies.append(Copy(name, role, free_port(), public, self.folder / f"{name}.log"))
            self.run(self.copies[-1])

    def run(self, copy):
        settings = {"SPHEROCTL__INSTANCE__ID": copy.name, "SPHEROCTL__OPS__PORT": str(copy.ops)}
        if copy.public:
            settings[f"SPHEROCTL__{PUBLIC[copy.role]}__PORT"] = str(copy.public)
        with open(copy.log, "ab") as output:
            copy.process = subprocess.Popen(
                [self.binary, copy.role], env={**self.environment, **settings}, stdout=output, stderr=output, cwd=self.folder
            )
        copy.leaving = False

    def await_ready(self):
        deadline = time.monotonic() + READY_LIMIT_S
        for copy in self.living():
            while copy.ask("/readyz") is None:
                if not copy.lives or time.monotonic() > deadline:
                    raise Failed(f"{copy.name} is not ready: {copy.log.read_text(errors='replace')[-2_000:]}")
                time.sleep(POLL_S)

    def living(self, role=None):
        """Those that run and were not told to end."""
        return [copy for copy in self.copies if copy.lives and not copy.leaving and role in (None, copy.role)]

    def kill_one(self, role):
        """Kills the first of the role and says which and when; none where there is only one."""
        living = self.living(role)
        if len(living) < 2:
            return None
        # Before it: whoever sees it gone saw that later.
        at = time.time()
        living[0].process.kill()
        living[0].await_end()
        return living[0].name, at

    def addresses(self, role):
        return [f"127.0.0.1:{copy.public}" for copy in self.living(role)]


def free_port():
    """One that nobody listens on, and that this process has not given away."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in given:
            given.add(port)
            return port


given = set()
