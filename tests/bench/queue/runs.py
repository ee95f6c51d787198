"""One run of one or more programs beside a server: bounded in time, with the processor time of the server, of the
programs and of everything else on the machine."""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import tempfile
import time

RUN_LIMIT_S = 120.0
POLL_S = 0.01
# Before a run: no more than this of others' work, in cores, looked at for this long, waited for this long.
QUIET_CORES, QUIET_LOOK_S, QUIET_WAIT_S = 0.3, 0.5, 20.0
# A run that others disturbed by more is done again; the quietest counts.
DISTURBED_CORES, TRIES = 0.5, 3
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass
class Run:
    """What one run gave."""

    jobs: int
    seconds: float
    server_us: float  # of processor time per job, as the next two
    client_us: float
    others_us: float
    foreign_cores: float
    answers: list = dataclasses.field(repr=False)

    @property
    def rate(self):
        return self.jobs / self.seconds


def quietest(attempt):
    """The run that was disturbed least, of at most TRIES; the first that was not disturbed ends it."""
    found = []
    while len(found) < TRIES and not (found and found[-1].foreign_cores <= DISTURBED_CORES):
        await_quiet()
        found.append(attempt())
    return min(found, key=lambda run: run.foreign_cores)


def run(commands, jobs, server_cpu_s, beside_cpu_s=lambda: 0.0, others_cpu_s=lambda: 0.0):
    """Starts the programs in order and waits for all. Each prints a line of JSON with the instants `began` and `ended`,
    in seconds since 1970; the run is from the latest begin (all are ready) to the last end. `beside` are clients that run
    already, `others` are servers that are counted apart."""
    counters = [busy_s, server_cpu_s, beside_cpu_s, others_cpu_s]
    with tempfile.TemporaryDirectory(prefix="spheroctl-bench-run-") as folder:
        begin, before = time.monotonic(), [counter() for counter in counters]
        answers, client = wait(start(commands, pathlib.Path(folder)))
        used = [counter() - then for counter, then in zip(counters, before)]
        wall = time.monotonic() - begin
    busy, server, beside, others = used
    seconds = max(answer["ended"] for answer in answers) - max(answer["began"] for answer in answers)
    foreign = max(0.0, busy - server - beside - others - client) / wall
    per_job = [1e6 * cpu / jobs for cpu in (server, client + beside, others)]
    return Run(jobs, seconds, *per_job, foreign, answers)


def start(commands, folder):
    started = []
    for number, command in enumerate(commands):
        output, errors = open(folder / f"{number}.out", "w+b"), open(folder / f"{number}.err", "w+b")
        process = subprocess.Popen(command, stdout=output, stderr=errors, stdin=subprocess.DEVNULL)
        started.append((process, output, errors))
    return started


def wait(started):
    """What they answered, and the processor time that all took together."""
    deadline = time.monotonic() + RUN_LIMIT_S
    usage = [None] * len(started)
    try:
        while None in usage:
            if time.monotonic() > deadline:
                raise SystemExit(f"{started[usage.index(None)][0].args}: not done in {RUN_LIMIT_S:.0f} s")
            for number, (process, _, errors) in enumerate(started):
                usage[number] = usage[number] or reap(process, errors)
            time.sleep(POLL_S)
    finally:
        end([process for process, _, _ in started])
    return [json.loads(read(output)) for _, output, _ in started], sum(usage)


def reap(process, errors):
    """The processor time of a process that has ended well, else nothing."""
    pid, status, used = os.wait4(process.pid, os.WNOHANG)
    if pid == 0:
        return None
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{process.args}: exit status {process.returncode}\n{read(errors)[-4000:]}")
    return used.ru_utime + used.ru_stime


def end(processes):
    for process in processes:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


def read(file):
    file.seek(0)
    return file.read().decode(errors="replace")


def await_quiet():
    deadline = time.monotonic() + QUIET_WAIT_S
    while time.monotonic() < deadline:
        busy = busy_s()
        time.sleep(QUIET_LOOK_S)
        if (busy_s() - busy) / QUIET_LOOK_S <= QUIET_CORES:
            return


def busy_s():
    """The time that all cores together were not idle, what the host took away included."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS_PER_S
