"""A Redis and a PostgreSQL of their own for one measurement: on free loopback ports, with data in a temporary folder
that is removed with them, and set to keep what they acknowledged."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

READY_LIMIT_S = 60.0
STOP_LIMIT_S = 30.0
PROBE_LIMIT_S = 5.0
POLL_S = 0.02
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

# One acknowledged second may be lost: what a queue whose jobs stand in a database may be given.
REDIS = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]

# No acknowledged commit may be lost. The rest is sized for the machine, as a person would do it.
POSTGRES = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 512MB
max_wal_size = 2GB
max_connections = 200
timezone = 'UTC'
"""


class Redis:
    """A server that runs."""

    def __init__(self, port):
        self.url = f"redis://127.0.0.1:{port}"
        self.port = port

    def info(self, section):
        lines = self.ask(f"INFO {section}").decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def cpu_s(self):
        """What the server has used so far, with the children that rewrote its log."""
        info = self.info("cpu")
        names = ["sys", "user", "sys_children", "user_children"]
        return sum(float(info[f"used_cpu_{name}"]) for name in names)

    def ask(self, command):
        with socket.create_connection(("127.0.0.1", self.port), timeout=PROBE_LIMIT_S) as connection:
            connection.sendall(f"{command}\r\n".encode())
            answer = connection.makefile("rb")
            head = answer.readline()
            return answer.read(int(head[1:])) if head.startswith(b"$") else head


@contextlib.contextmanager
def redis():
    with tempfile.TemporaryDirectory(prefix="spheroctl-bench-redis-") as folder:
        port = free_port()
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, *REDIS]
        server = Redis(port)
        with running(command, lambda: server.ask("PING").startswith(b"+PONG"), folder):
            yield server


class Postgres:
    """A server that runs."""

    def __init__(self, port, bin_, root):
        self.port, self.bin, self.root = port, bin_, root

    def url(self, database):
        return f"postgres://bench@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def fresh(self, database):
        """An empty database of that name, and the address of it."""
        self.ask("postgres", f"drop database if exists {database} with (force)")
        self.ask("postgres", f"create database {database}")
        self.ask("postgres", "checkpoint")
        return self.url(database)

    def ask(self, database, statement):
        """The first column of the first row."""
        command = [self.bin / "psql", "-XAtq", "-c", statement, self.url(database)]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=READY_LIMIT_S)
        if answer.returncode != 0:
            raise SystemExit(f"{statement}: {answer.stderr.strip()}")
        return answer.stdout.strip()

    def cpu_s(self):
        """What the server, its back ends and those that have ended have used so far."""
        return tree_cpu_s(self.root)


@contextlib.contextmanager
def postgres():
    bin_ = postgres_bin()
    # PostgreSQL refuses root, and what it runs as must be able to enter the folder.
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="spheroctl-bench-postgres-") as folder:
        if user:
            shutil.chown(folder, "postgres", "postgres")
        data, port = pathlib.Path(folder, "data"), free_port()
        init = [bin_ / "initdb", "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.run(init, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)
        with open(data / "postgresql.conf", "a") as conf:
            conf.write(f"{POSTGRES}port = {port}\n")
        ready = [bin_ / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        is_ready = lambda: subprocess.run(ready, timeout=PROBE_LIMIT_S).returncode == 0
        with running([bin_ / "postgres", "-D", data], is_ready, folder, **user) as process:
            yield Postgres(port, bin_, process.pid)


@contextlib.contextmanager
def running(command, is_ready, folder, **options):
    """The process, once it answers; ended at the end whatever happens."""
    with open(pathlib.Path(folder, "output"), "w+b") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, **options)
        try:
            await_ready(process, is_ready, output)
            yield process
        finally:
            stop(process)


def await_ready(process, is_ready, output):
    deadline = time.monotonic() + READY_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            if is_ready():
                return
        time.sleep(POLL_S)
    output.seek(0)
    raise SystemExit(f"{process.args[0]} does not start:\n{output.read().decode(errors='replace')[-4000:]}")


def stop(process):
    """By SIGINT: PostgreSQL's fast shutdown, and the end of the others too."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_LIMIT_S)


def tree_cpu_s(root):
    """The processor time of a process and all below it, those that have ended and were waited for included."""
    parents, used = {}, {}
    for folder in pathlib.Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                parents[int(folder.name)] = int(fields[1])
                used[int(folder.name)] = sum(map(int, fields[11:15])) / TICKS_PER_S
    return sum(seconds for pid, seconds in used.items() if is_below(pid, root, parents))


def is_below(pid, root, parents):
    while pid != root and pid in parents:
        pid = parents[pid]
    return pid == root


def postgres_bin():
    """The newest that is installed; Debian keeps it out of PATH."""
    found = sorted(
        pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]), reverse=True
    )
    on_path = shutil.which("initdb")
    found += [pathlib.Path(on_path)] if on_path else []
    if not found:
        raise SystemExit("PostgreSQL's initdb is missing (Debian: postgresql)")
    return found[0].parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
