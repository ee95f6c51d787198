"""The tables: medians over the rounds, and how many times better one program is than another."""

import statistics

HANDSHAKE = (
    "| in flight | program | processes | jobs | jobs/s | min | max | Redis µs/job | client µs/job | foreign cores |\n"
    "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|"
)
ROUND = (
    "| program | processes | jobs | jobs/s | min | max "
    "| PostgreSQL µs/job | client µs/job | others µs/job | foreign cores |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)
WAITS = (
    "| program | jobs | p50 ms | p99 ms | p99.9 ms | Redis µs/job | client µs/job | foreign cores |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|"
)

PERMITS = "| at once | jobs | jobs/s | ideal | of ideal | foreign cores |\n|---:|---:|---:|---:|---:|---:|"
SCALE = PERMITS.replace("at once", "workers", 1)
EFFECTS = "| what | unit | without | with |\n|---|---|---:|---:|"


def permits(running, ideal, found):
    rate = statistics.median(run.rate for run in found)
    print(f"| {running} |{figures([found[0].jobs])} {rate:,.1f} | {ideal:,.0f} | {rate / ideal:.1%} |{foreign(found)} |")


def effect(what, unit, without, with_it):
    print(f"| {what} | {unit} | {statistics.median(without):,.3g} | {statistics.median(with_it):,.3g} |")


def handshake(in_flight, measured):
    for program, found in measured:
        print(f"| {in_flight} | {program.name} | {program.processes} |{throughput(found)}{foreign(found)} |")


def durable(measured):
    for program, found in measured:
        others = figures([median(found, "others_us")])
        print(f"| {program.name} | {program.processes} |{throughput(found)}{others}{foreign(found)} |")


def installations(measured):
    """What an installation tells beside its round: how fast it took the jobs, and how far its relay was behind."""
    for program, found in measured:
        if program.ours:
            taken = statistics.median(run.jobs / (run.answers[0]["sent"] - run.answers[0]["began"]) for run in found)
            behind = statistics.median(run.answers[0]["outbox_rows"] for run in found)
            print(f"\n{program.name}: {taken:,.0f} jobs/s accepted; outbox rows left at the end of the round: {behind:,.0f}")


def throughput(found):
    rates = [run.rate for run in found]
    of_jobs = [found[0].jobs, statistics.median(rates), min(rates), max(rates)]
    return figures([*of_jobs, median(found, "server_us"), median(found, "client_us")])


def waits(measured):
    for program, found in measured:
        percentiles = "".join(f" {figure:.2f} |" for figure in percentiles_ms(found))
        cpu = figures([median(found, "server_us"), median(found, "client_us")])
        print(f"| {program.name} | {found[0].jobs:,} |{percentiles}{cpu}{foreign(found)} |")


def percentiles_ms(found):
    """The median over the rounds of each round's p50, p99 and p99.9."""
    rounds = [sorted(run.answers[0]["waits_ms"]) for run in found]
    return [statistics.median(of[int(len(of) * share)] for of in rounds) for share in (0.5, 0.99, 0.999)]


def ratios(where, measured, names, costs):
    """How many times less each of ours costs than each peer; `costs` makes a list of costs of the runs of a program."""
    peers = [(program, costs(found)) for program, found in measured if not program.ours]
    ours = [(program, costs(found)) for program, found in measured if program.ours]
    if ours:
        print(f"\n| {where}: times better | than | {' | '.join(names)} |\n|---|---|{'---:|' * len(names)}")
    for program, its in ours:
        for peer, theirs in peers:
            times = "".join(f" {their / our:.1f}× |" if our else " – |" for our, their in zip(its, theirs))
            print(f"| {program.name} | {peer.name} |{times}")


def work(found):
    """Seconds per job, and the processor time of server and clients."""
    seconds = 1 / statistics.median(run.rate for run in found)
    return [seconds, median(found, "server_us"), median(found, "client_us")]


def waiting(found):
    """The percentiles, and the processor time of server and clients."""
    return [*percentiles_ms(found), median(found, "server_us"), median(found, "client_us")]


def figures(values):
    return "".join(f" {value:,.0f} |" for value in values)


def foreign(found):
    return f" {median(found, 'foreign_cores'):.2f}"


def median(found, name):
    return statistics.median(getattr(run, name) for run in found)
