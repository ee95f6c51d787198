"""The event backbone, part by part, by turns: our consumer groups against librdkafka's own loop, the inbox, the way from
the outbox to a handler, and the embedded log.

usage: compare.py --bench FILE --brokers HOST:PORT --broker-pid PID [--rounds N] [--records N]

FILE is the executable of the bench `events`. Each figure is the median of the rounds; each run is a fresh process with a
group and a database of its own. PostgreSQL is one of this measurement's own, with fsync on.
"""

import argparse
import pathlib
import signal
import statistics
import sys
import tempfile
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "queue"))

import runs  # noqa: E402
import servers  # noqa: E402

# Of those that are consumed with an inbox, and in the embedded log: each takes about as long as the large number without.
INBOX_SHARE, EMBEDDED_SHARE = 10, 20
RATE_PER_S, LATENCY_S = 500, 20

CONSUMED = (
    "| program | records | records/s | min | max | of librdkafka's | Kafka µs/record | PostgreSQL µs/record "
    "| client µs/record | foreign cores |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)
WAITED = "| way | events | p50 ms | p99 ms | p99.9 ms | max ms | foreign cores |\n|---|---:|---:|---:|---:|---:|---:|"


def main():
    options = parse()
    # What was started is ended on the way out.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(128 + number))
    with servers.postgres() as postgres:
        consume(options, postgres)
        wait(options, postgres)
    embedded(options)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", required=True)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--broker-pid", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, default=600_000)
    return parser.parse_args()


def consume(options, postgres):
    """Rows (a) and (b): by turns over the same topic; with an inbox over a smaller one."""
    database = postgres.fresh("events")
    large, small = options.records, options.records // INBOX_SHARE
    topics = {size: topic(options, database, size) for size in (large, small)}
    programs = {
        "librdkafka's own loop": (large, ["plain"]),
        "group, effect outside": (large, ["group", "outside"]),
        "group, inbox and a row": (small, ["group", "inside"]),
    }
    found = {name: [] for name in programs}
    for _ in range(options.rounds):
        for name, (size, (what, *more)) in programs.items():
            rest = [options.brokers, topics[size], str(size), *more]
            found[name].append(measured(options, postgres, what, rest, size))
    print(f"\nConsumed with commits, records of 1 KiB in 12 partitions; PostgreSQL {version(postgres)}, fsync on:\n\n{CONSUMED}")
    own = rate(found["librdkafka's own loop"])
    for name, (size, _) in programs.items():
        print(consumed(name, size, found[name], own))


def wait(options, postgres):
    """Row (c)."""
    prefix, events = prefix_of_its_own(), RATE_PER_S * LATENCY_S
    found = []
    for _ in range(options.rounds):
        rest = [options.brokers, prefix, str(events), str(RATE_PER_S)]
        found.append(measured(options, postgres, "outbox", rest, events))
    print(f"\nFrom the call that stages an event to its handler, {RATE_PER_S} events/s:\n\n{WAITED}")
    print(waited("PostgreSQL, relay, Kafka, group", events, found))


def embedded(options):
    """Row (d)."""
    records = options.records // EMBEDDED_SHARE
    append, effects = "append, 500 at once", {"group, effect outside": "outside", "group, inbox and a row": "inside"}
    found, waits = {name: [] for name in (append, *effects)}, []
    for _ in range(options.rounds):
        # A file for each: the positions of the group are kept in it.
        for name, effect in effects.items():
            with tempfile.TemporaryDirectory(prefix="spheroctl-bench-events-") as folder:
                rest = [f"sqlite:{folder}/events.sqlite", "-", "", str(records)]
                found[append].append(alone([options.bench, "fill", *rest], records))
                found[name].append(alone([options.bench, "group", *rest, effect], records))
        with tempfile.TemporaryDirectory(prefix="spheroctl-bench-events-") as folder:
            command = [options.bench, "outbox", f"sqlite:{folder}/events.sqlite", "-", "", str(RATE_PER_S * LATENCY_S // 4), str(RATE_PER_S)]
            waits.append(alone(command, RATE_PER_S * LATENCY_S // 4))
    print(f"\nThe embedded log, in SQLite:\n\n{CONSUMED}")
    for name, of_name in found.items():
        print(consumed(name, records, of_name, None))
    print(f"\n{WAITED}")
    print(waited("SQLite, relay, embedded log, group", RATE_PER_S * LATENCY_S // 4, waits))


def topic(options, database, records):
    """A prefix under which a topic holds so many records."""
    prefix = prefix_of_its_own()
    alone([options.bench, "fill", database, options.brokers, prefix, str(records)], records)
    return prefix


def prefix_of_its_own():
    return f"bench{uuid.uuid4().hex[:12]}-"


def measured(options, postgres, what, rest, records):
    """A run with a fresh database: the inbox of an earlier one would hold the records as done."""
    broker = lambda: servers.tree_cpu_s(options.broker_pid)

    def attempt():
        command = [options.bench, what, postgres.fresh("events"), *rest]
        return runs.run([command], records, broker, others_cpu_s=postgres.cpu_s)

    return runs.quietest(attempt)


def alone(command, records):
    return runs.run([command], records, lambda: 0.0)


def rate(found):
    return statistics.median(run.rate for run in found)


def consumed(name, records, found, own):
    rates = [run.rate for run in found]
    share = f"{rate(found) / own:.0%}" if own else "–"
    middle = lambda figure: statistics.median(getattr(run, figure) for run in found)
    return (
        f"| {name} | {records:,} | {rate(found):,.0f} | {min(rates):,.0f} | {max(rates):,.0f} | {share} "
        f"| {middle('server_us'):,.1f} | {middle('others_us'):,.1f} | {middle('client_us'):,.1f} | {middle('foreign_cores'):.2f} |"
    )


def waited(name, events, found):
    rounds = [sorted(run.answers[0]["waits_ms"]) for run in found]
    at = lambda share: statistics.median(of[min(len(of) - 1, int(len(of) * share))] for of in rounds)
    figures = "".join(f" {at(share):.1f} |" for share in (0.5, 0.99, 0.999, 1.0))
    foreign = statistics.median(run.foreign_cores for run in found)
    return f"| {name} | {events:,} |{figures} {foreign:.2f} |"


def version(postgres):
    return postgres.ask("postgres", "show server_version").split()[0]


main()
