"""An installation of spheroctl for one round after another: `serve` and `worker` as processes of their own on PostgreSQL,
Redis and Kafka, with an account, a project and an image. The image is of one pixel: a job on it does all that a job does
and nearly no segmenting."""

import contextlib
import dataclasses
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import urllib.request
import uuid
import zlib

import runs
import servers

SERVICES = pathlib.Path(__file__).parents[3] / "scripts/services"
KAFKA_LIMIT_S = 180.0
COMMAND_LIMIT_S = 60.0
ANSWER_LIMIT_S = 30.0
ADMIN = "bench@localhost"


@contextlib.contextmanager
def beside(postgres, options):
    """What makes installations on this PostgreSQL; nothing where spheroctl is not measured."""
    if not options.binary:
        yield None
        return
    with kafka(postgres) as (bootstrap, kafka_pid):
        yield Installation(postgres, bootstrap, kafka_pid, options)


@contextlib.contextmanager
def kafka(postgres):
    """Kafka by scripts/services, which is told that the others are there already."""
    with tempfile.TemporaryDirectory(prefix="spheroctl-bench-kafka-") as folder, servers.redis() as given:
        environment = {
            **os.environ,
            "SPHEROCTL_SERVICES_DIR": folder,
            "SPHEROCTL_TEST_POSTGRES_URL": postgres.url("postgres"),
            "SPHEROCTL_TEST_REDIS_URL": given.url,
        }
        environment.pop("SPHEROCTL_TEST_KAFKA_BOOTSTRAP", None)
        services = lambda word: subprocess.run(
            [SERVICES, word], env=environment, check=True, timeout=KAFKA_LIMIT_S, stderr=subprocess.DEVNULL
        )
        try:
            services("up")
            place = pathlib.Path(folder, "kafka")
            yield (place / "url").read_text().strip(), int((place / "pid").read_text().split()[1])
        finally:
            services("down")


@contextlib.contextmanager
def slow_service(*options):
    """The address of a remote segmenter that only takes its time."""
    port = servers.free_port()
    ready = lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=ANSWER_LIMIT_S).status == 200
    program = pathlib.Path(__file__).with_name("slow_service.py")
    with tempfile.TemporaryDirectory(prefix="spheroctl-bench-service-") as folder:
        with servers.running([sys.executable, program, str(port), *options], ready, folder):
            yield f"http://127.0.0.1:{port}"


class Installation:
    """Makes a fresh one for each round."""

    def __init__(self, postgres, bootstrap, kafka_pid, options):
        self.postgres, self.bootstrap, self.kafka_pid = postgres, bootstrap, kafka_pid
        self.binary, self.bench = options.binary, options.bench

    def round(self, jobs, clients, batch, settings=(), workers=1):
        """`jobs` sent by `clients` that each wait for their answer, to the last row that says completed."""
        with self.started(settings, [{}] * workers) as copies:
            words = ["http", copies.api.url, copies.api.image(pixel()), str(jobs), str(clients), str(batch), copies.database]
            return runs.run(
                [["env", f"SPHEROCTL_BENCH_TOKEN={copies.api.token}", self.bench, *words]],
                jobs,
                self.postgres.cpu_s,
                lambda: sum(servers.tree_cpu_s(pid) for pid in [copies.serve, *copies.workers]),
                lambda: copies.redis.cpu_s() + servers.tree_cpu_s(self.kafka_pid),
            )

    @contextlib.contextmanager
    def started(self, settings, workers):
        """A fresh installation with a worker for each of `workers`, which are settings of its own."""
        with servers.redis() as redis, tempfile.TemporaryDirectory(prefix="spheroctl-bench-product-") as folder:
            database = self.postgres.fresh("spheroctl")
            environment = self.environment(database, redis, folder, settings)
            self.command(environment, "migrate")
            self.command(environment, "user", "create", ADMIN, "--role", "admin")
            token = self.command(environment, "token", "create", ADMIN, "--name", "bench")
            with contextlib.ExitStack() as copies:
                serve = copies.enter_context(self.role("serve", environment, folder))
                of_workers = [
                    copies.enter_context(self.role("worker", {**environment, **names(own)}, folder, number))
                    for number, own in enumerate(workers, 1)
                ]
                api = Api(f"http://127.0.0.1:{environment['SPHEROCTL__HTTP__PORT']}", token)
                yield Started(api, database, serve.pid, [worker.pid for worker in of_workers], redis, pathlib.Path(folder, "files"))

    def ask(self, statement):
        """The first column of the first row, of the database of the installation that runs."""
        return self.postgres.ask("spheroctl", statement)

    def environment(self, database, redis, folder, more):
        settings = {
            "database.url": database,
            "redis.enabled": "true",
            "redis.url": redis.url,
            "kafka.bootstrap_servers": self.bootstrap,
            "kafka.topic_prefix": f"bench-{uuid.uuid4().hex[:8]}.",
            "kafka.group_prefix": f"bench-{uuid.uuid4().hex[:8]}.",
            "files.dir": f"{folder}/files",
            "http.port": str(servers.free_port()),
            "ops.port": "0",
            "worker.concurrency": "64",
            "shutdown.lame_duck_ms": "0",
            "rate_limit.enabled": "false",
            "log.filter": "warn",
            **dict(more),
        }
        return {"PATH": os.environ["PATH"], **names(settings)}

    def command(self, environment, *words):
        answer = subprocess.run(
            [self.binary, *words], env=environment, capture_output=True, text=True, timeout=COMMAND_LIMIT_S
        )
        if answer.returncode != 0:
            raise SystemExit(f"spheroctl {' '.join(words)}: {answer.stderr.strip()}")
        return answer.stdout.strip()

    def role(self, role, environment, folder, number=1):
        """A copy of a role that is ready. The port of its operator listener is chosen here, to be asked for that."""
        name = f"{role}-{number}"
        own = pathlib.Path(folder, name)
        own.mkdir()
        port = servers.free_port()
        ready = lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=ANSWER_LIMIT_S).status == 200
        settings = {**environment, "SPHEROCTL__OPS__PORT": str(port), "SPHEROCTL__INSTANCE__ID": name}
        return servers.running([self.binary, role], ready, own, env=settings)


@dataclasses.dataclass
class Started:
    """A running installation: its API, its database, its processes."""

    api: "Api"
    database: str
    serve: int
    workers: list
    redis: object
    files: pathlib.Path

    def result_files(self):
        """Where results are that do not stand in their rows."""
        return self.files.glob("projects/*/results/*/*")


def names(settings):
    """As variables of the environment."""
    return {f"SPHEROCTL__{key.upper().replace('.', '__')}": value for key, value in settings.items()}


class Api:
    """A client with the administrator's token."""

    def __init__(self, url, token):
        self.url, self.token = url, token

    def image(self, png):
        """The id of this image in a new project."""
        project = self.post("/api/v1/projects", json.dumps({"name": "bench"}).encode(), "application/json")
        return self.post(f"/api/v1/projects/{project['id']}/images?name=bench.png", png, "image/png")["id"]

    def jobs(self, image, count):
        """Submits so many in one batch."""
        jobs = {"jobs": [{"image_id": image}] * count}
        return self.post("/api/v1/jobs/batch", json.dumps(jobs).encode(), "application/json")

    def post(self, path, body, kind):
        headers = {
            "authorization": f"Bearer {self.token}",
            "content-type": kind,
            "idempotency-key": uuid.uuid4().hex,
        }
        request = urllib.request.Request(self.url + path, body, headers, method="POST")
        with urllib.request.urlopen(request, timeout=ANSWER_LIMIT_S) as answer:
            return json.load(answer)


def pixel():
    """A PNG of one pixel."""
    return grey(1)


def grey(side):
    """A grey PNG of this many pixels in width and height."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = zlib.compress((b"\0" + b"\x80" * side) * side)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
