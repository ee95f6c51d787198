"""Our job queue against its peers, part by part, round by round by turns: throughput, processor time, waiting time.

usage: compare.py PART --peers DIR [--bench FILE --binary FILE] [--rounds N] [--seconds S]

PART is redis, latency, postgres, permits, scale or effects (these three of ours alone), or all. DIR holds the peers' programs; the two files are the executables of the bench
`queue` and of spheroctl; without them the peers are measured alone. Each figure is the median of the rounds, each round a
run of fresh processes against a server with fresh data.
"""

import argparse
import dataclasses
import pathlib
import signal
import sys

import effects
import product
import runs
import servers
import tables

IN_FLIGHT = 64
RATE_PER_S = 500
LATENCY_S = 20
# What runs at once, for how long, on a service that takes so long for a call.
RUNNING, PERMITS_S, SERVICE_S = (1, 2, 4, 8, 16), 30, 0.1
# What is sent together then: the first jobs run while the others are still being submitted.
PERMITS_BATCH = 100
# Worker processes, and what each runs at once.
WORKERS, RUNNING_EACH = (1, 2, 4, 8), 2
# What is sent together where a program can: the largest batch that the API takes.
BATCH = 1_000
# Of an installation that is not measured: a new Kafka is busy compiling itself.
WARM_UP_JOBS = 30_000
# A run is sized by a short one of so many jobs, and by others of half its time.
SIZING_JOBS, SIZING_RUNS = 4_000, 2
JOBS_MIN, JOBS_MAX = 1_000, 1_000_000


@dataclasses.dataclass
class Program:
    """Something that can be measured: how it is started, and in how many processes."""

    name: str
    command: list
    ours: bool = False
    processes: int = 1
    processes_max: int = 2
    # Instead of the server's.
    url: str = ""

    def commands(self, url, jobs, in_flight):
        modes = ["both"] if self.processes == 1 else ["work", "produce"]
        return [[*self.command, mode, url, str(jobs), str(in_flight), str(in_flight)] for mode in modes]


def main():
    options = parse()
    # What was started is ended on the way out.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(128 + number))
    parts = {"redis": redis, "latency": latency, "postgres": postgres, "permits": permits, "scale": scale, "effects": measured_effects}
    for name, part in parts.items():
        if options.part in (name, "all"):
            part(options)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["redis", "latency", "postgres", "permits", "scale", "effects", "all"])
    parser.add_argument("--peers", type=pathlib.Path, required=True)
    parser.add_argument("--bench")
    parser.add_argument("--binary")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    return parser.parse_args()


def bullmq(options):
    return Program("BullMQ (bullmq-official)", [str(options.peers / "bullmq")])


def asynq(options):
    return Program("Asynq", [str(options.peers / "asynq")])


def ours(options):
    return [Program("spheroctl", [options.bench], ours=True)] if options.bench else []


def redis(options):
    with servers.redis() as server:
        version = server.info("server")["redis_version"]
    heading("Whole handshake: offers, claims and acknowledgements at once", redis_name(version), options)
    print(tables.HANDSHAKE)
    measured = {}
    for in_flight in (1, IN_FLIGHT):
        programs = [bullmq(options), asynq(options), *ours(options)]
        measured[in_flight] = by_turns(programs, options, lambda program, jobs: on_redis(program, jobs, in_flight))
        tables.handshake(in_flight, measured[in_flight])
    for in_flight, found in measured.items():
        tables.ratios(f"{in_flight} in flight", found, ["jobs/s", "Redis CPU", "client CPU"], tables.work)


def on_redis(program, jobs, in_flight):
    with servers.redis() as server:
        return runs.run(program.commands(server.url, jobs, in_flight), jobs, server.cpu_s)


def latency(options):
    jobs = RATE_PER_S * LATENCY_S
    programs = [bullmq(options), *ours(options)]
    programs += [dataclasses.replace(program, name="spheroctl, in memory", url="memory:") for program in ours(options)]
    measured = [(program, []) for program in programs]
    for _ in range(options.rounds):
        for program, found in measured:
            found.append(runs.quietest(lambda: paced(program, jobs)))
    with servers.redis() as server:
        version = server.info("server")["redis_version"]
    heading(f"From send to start at a steady {RATE_PER_S} jobs/s, each sent at its instant", redis_name(version), options)
    print(tables.WAITS)
    tables.waits(measured)
    tables.ratios("at this rate", measured, ["p50", "p99", "p99.9", "Redis CPU", "client CPU"], tables.waiting)


def paced(program, jobs):
    with servers.redis() as server:
        words = ["latency", program.url or server.url, str(jobs), str(IN_FLIGHT), str(IN_FLIGHT), str(RATE_PER_S)]
        return runs.run([[*program.command, *words]], jobs, server.cpu_s)


def postgres(options):
    with servers.postgres() as server:
        version = server.ask("postgres", "show server_version").split()[0]
        name = f"PostgreSQL {version}, fsync and synchronous_commit on"
        heading(f"Durable round: {IN_FLIGHT} producers one by one, to the row that says finished", name, options)
        river = Program("River, FetchCooldown 1 ms", [str(options.peers / "river")])
        with product.beside(server, options) as installation:
            if installation:
                installation.round(WARM_UP_JOBS, IN_FLIGHT, BATCH)
            programs = [river, *ours_on_postgres(options)]
            measured = by_turns(programs, options, lambda program, jobs: on_postgres(server, installation, program, jobs))
        print(tables.ROUND)
        tables.durable(measured)
        tables.installations(measured)
        tables.ratios("durable", measured, ["jobs/s", "PostgreSQL CPU", "client CPU"], tables.work)


def ours_on_postgres(options):
    if not options.binary:
        return []
    programs = [
        Program("spheroctl serve + worker", ["1"]),
        Program(f"… in batches of {BATCH:,}", [str(BATCH)]),
        Program("… one by one, without consumer groups", ["1", "worker.groups="]),
        Program(f"… in batches of {BATCH:,}, without consumer groups", [str(BATCH), "worker.groups="]),
    ]
    return [dataclasses.replace(program, ours=True, processes=3, processes_max=3) for program in programs]


def on_postgres(server, installation, program, jobs):
    if program.ours:
        batch, *settings = program.command
        settings = [setting.split("=", 1) for setting in settings]
        return installation.round(jobs, IN_FLIGHT, int(batch), settings)
    url = server.fresh("river")
    runs.run([[*program.command, "prepare", url]], jobs, server.cpu_s)
    found = runs.run(program.commands(url, jobs, IN_FLIGHT), jobs, server.cpu_s)
    finished = int(server.ask("river", "select count(*) from river_job where state = 'completed'"))
    if finished != jobs:
        raise SystemExit(f"{program.name}: {finished} of {jobs} rows say that they are completed")
    return found


def permits(options):
    """How throughput grows with what runs at once, where the work is not bound by this machine."""
    if not options.binary:
        return
    with servers.postgres() as server, product.beside(server, options) as installation, product.slow_service() as url:
        heading(f"Jobs on a remote segmenter that takes {SERVICE_S * 1e3:.0f} ms a call", "one worker", options)
        print(tables.PERMITS)
        for running in RUNNING:
            jobs = round(running * PERMITS_S / SERVICE_S)
            sent = {"clients": 1, "batch": min(PERMITS_BATCH, jobs), "settings": on_service(url, running)}
            found = [runs.quietest(lambda: installation.round(jobs, **sent)) for _ in range(options.rounds)]
            tables.permits(running, running / SERVICE_S, found)


def scale(options):
    """How throughput grows with worker processes, where the work is not bound by this machine."""
    if not options.binary:
        return
    with servers.postgres() as server, product.beside(server, options) as installation, product.slow_service() as url:
        what = f"Jobs on a remote segmenter that takes {SERVICE_S * 1e3:.0f} ms a call, {RUNNING_EACH} at once per worker"
        heading(what, "worker processes", options)
        print(tables.SCALE)
        for workers in WORKERS:
            ideal = workers * RUNNING_EACH / SERVICE_S
            jobs = round(ideal * PERMITS_S)
            settings = on_service(url, RUNNING_EACH)
            sent = {"clients": 1, "batch": min(PERMITS_BATCH, jobs), "settings": settings, "workers": workers}
            found = [runs.quietest(lambda: installation.round(jobs, **sent)) for _ in range(options.rounds)]
            tables.permits(workers, ideal, found)


def measured_effects(options):
    """What batching, routing and compression are worth, each against the same without it."""
    if not options.binary:
        return
    with servers.postgres() as server, product.beside(server, options) as installation:
        heading("Jobs with and without batching, routing, compression", "a segmenter that only takes its time", options)
        print(tables.EFFECTS)
        of_rounds = lambda measure, *how: [measure(installation, *how) for _ in range(options.rounds)]
        one, eight = of_rounds(effects.batching, 1), of_rounds(effects.batching, 8)
        tables.effect("batching: 1 image a call, or up to 8", "jobs/s", one, eight)
        mixed = of_rounds(effects.routing, 1 << 40, ["all", "all"])
        apart = of_rounds(effects.routing, effects.HEAVY_SIDE**2, ["default", "large"])
        for place, name in enumerate(["p50", "p95"]):
            what = f"routing: wait of light jobs behind {effects.HEAVY_JOBS} heavy ones, {name}"
            tables.effect(what, "s", [of[place] for of in mixed], [of[place] for of in apart])
        plain, packed = of_rounds(effects.compression, effects.UNLIMITED), of_rounds(effects.compression, "1024")
        for place, (name, unit) in enumerate([("bytes of a result of 50 objects", "bytes"), ("with them", "jobs/s")]):
            tables.effect(f"compression: {name}", unit, [of[place] for of in plain], [of[place] for of in packed])


def on_service(url, running):
    """The settings of a worker that runs so many jobs at once on this service."""
    return {
        "worker.concurrency": str(running),
        "ml.segmenter": "spheroseg",
        "ml.url": url,
        # One call a job: several would share one, and the figure would not be of the permits.
        "ml.batch_max": "1",
    }


def by_turns(programs, options, measure):
    """The runs of each program. Runs before them decide how many jobs there are, and in how many processes the program
    does best."""
    sizes = [size(program, options.seconds, measure) for program in programs]
    measured = [(program, []) for program in programs]
    for _ in range(options.rounds):
        for (program, found), jobs in zip(measured, sizes):
            found.append(runs.quietest(lambda: measure(program, jobs)))
    return measured


def size(program, seconds, measure):
    """The jobs of a run; the program is left in the number of processes in which it is fastest."""
    rates = {}
    for program.processes in range(program.processes, program.processes_max + 1):
        half = round_jobs(measure(program, SIZING_JOBS).rate * seconds / 2)
        tries = [runs.quietest(lambda: measure(program, half)).rate for _ in range(SIZING_RUNS)]
        rates[program.processes] = max(tries)
    program.processes = max(rates, key=rates.get)
    return round_jobs(rates[program.processes] * seconds)


def round_jobs(jobs):
    return int(min(JOBS_MAX, max(JOBS_MIN, round(jobs, -3))))


def redis_name(version):
    return f"Redis {version}, appendfsync everysec"


def heading(what, server, options):
    print(f"\n{what}; {server}; {options.rounds} rounds by turns, medians\n", flush=True)


if __name__ == "__main__":
    main()
