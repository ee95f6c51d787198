"""What the copies share: the services, a database, a file store, an account, images."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import subprocess
import uuid

COMMAND_LIMIT_S = 120
SERVICES_LIMIT_S = 900
ADMIN = "demo@localhost"
SAMPLES = 12
IMAGE_TYPES = {".png": "image/png", ".tif": "image/tiff", ".tiff": "image/tiff", ".jpg": "image/jpeg", ".bmp": "image/bmp"}


class Unavailable(Exception):
    """Something that the demonstration needs is not there."""


@dataclasses.dataclass
class Services:
    """Addresses."""

    postgres: str
    redis: str
    kafka: str


@contextlib.contextmanager
def services(root, folder):
    """PostgreSQL, Redis and Kafka by scripts/services, with data of their own that goes with them."""
    environment = {**os.environ, "SPHEROCTL_SERVICES_DIR": str(folder / "services")}
    script = lambda word: subprocess.run(
        [root / "scripts/services", word], env=environment, capture_output=True, text=True, timeout=SERVICES_LIMIT_S
    )
    try:
        up = script("up")
        if up.returncode != 0:
            raise Unavailable(f"scripts/services up: {up.stderr.strip()}")
        words = dict(line.removeprefix("export ").split("=", 1) for line in script("env").stdout.splitlines())
        yield Services(*(words[f"SPHEROCTL_TEST_{name}"].strip("'") for name in ("POSTGRES_URL", "REDIS_URL", "KAFKA_BOOTSTRAP")))
    finally:
        script("down")


class Laboratory:
    """An installation on these services."""

    def __init__(self, binary, services, folder, concurrency):
        self.binary, self.services, self.folder = binary, services, folder
        self.mark = uuid.uuid4().hex[:8]
        self.database = f"scale_demo_{self.mark}"
        self.token = None
        settings = {
            "database.url": self.database_url(),
            "redis.enabled": "true",
            "redis.url": services.redis,
            "redis.prefix": f"demo-{self.mark}:",
            "kafka.bootstrap_servers": services.kafka,
            "kafka.topic_prefix": f"demo-{self.mark}.",
            "kafka.group_prefix": f"demo-{self.mark}.",
            "files.dir": str(folder / "files"),
            "http.trusted_proxies": "127.0.0.1",
            # One address and one account make the whole load.
            "rate_limit.enabled": "false",
            "worker.concurrency": str(concurrency),
            "log.filter": "warn",
        }
        names = {f"SPHEROCTL__{key.upper().replace('.', '__')}": value for key, value in settings.items()}
        self.environment = {"PATH": os.environ["PATH"], **names}

    def database_url(self):
        base, _, _ = self.services.postgres.partition("?")
        return base.rsplit("/", 1)[0] + f"/{self.database}"

    def prepare(self):
        """A database with this version's schema, topics, and an administrator with a token."""
        psql(self.services.postgres, f"create database {self.database}")
        self.command("migrate")
        self.command("user", "create", ADMIN, "--role", "admin")
        self.token = self.command("token", "create", ADMIN, "--name", "demo")

    def command(self, *words):
        answer = subprocess.run(
            [self.binary, *words], env=self.environment, capture_output=True, text=True, timeout=COMMAND_LIMIT_S
        )
        if answer.returncode != 0:
            raise Unavailable(f"spheroctl {' '.join(words)}: {answer.stderr.strip()}")
        return answer.stdout.strip()

    def images(self, given):
        """The images of the given folder, or drawn ones."""
        if given is None:
            out = self.folder / "drawn"
            self.command("segment", "--samples", str(SAMPLES), "--out", str(out))
            given = out / "samples"
        found = sorted(path for path in given.iterdir() if path.suffix.lower() in IMAGE_TYPES)
        if not found:
            raise Unavailable(f"{given} holds no image ({' '.join(IMAGE_TYPES)})")
        return [(path, IMAGE_TYPES[path.suffix.lower()]) for path in found]


def psql(url, statement):
    """The rows of the answer, each a list of texts."""
    answer = subprocess.run(
        [psql_path(), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, url],
        capture_output=True, text=True, timeout=COMMAND_LIMIT_S,
    )
    if answer.returncode != 0:
        raise Unavailable(f"psql: {answer.stderr.strip()}")
    return [line.split("|") for line in answer.stdout.splitlines()]


def psql_path():
    """Debian keeps the newest in a folder of its own."""
    kept = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/psql"))
    path = shutil.which("psql") or (kept[-1] if kept else None)
    if path is None:
        raise Unavailable("psql is missing (Debian: postgresql-client)")
    return path
