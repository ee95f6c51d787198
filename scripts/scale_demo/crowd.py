"""300 clients at once that never rest; then four times as many, and then as many against the limits as they are shipped. What is
too much is told to come back, by 429 or 503 with Retry-After; nothing else, and nobody ends."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import balancer
import footprint
from client import Requests
from load import Load, Pace

CLIENTS, FLOOD = 300, 1_200
LOOKS = 40
# Python runs one thread of a process at a time.
PROCESSES = 4
RATE_MIN, PEAK_MAX_MB, COMPUTE_MAX = 150.0, 200.0, 10
SPREAD_REQUESTS = 60


def run(stand):
    found, front = stand.found, stand.front
    found.note(f"{CLIENTS} clients")
    found.requests = press(stand, CLIENTS, stand.seconds / 2, patient=True)
    prints = {copy.name: footprint.of(copy.process) for copy in stand.copies.living("serve")}
    found.note(f"{FLOOD} clients")
    flood = press(stand, FLOOD, stand.seconds / 4, patient=False)
    front.reload(balancer.SHIPPED)
    found.note(f"{CLIENTS} clients against the limits as they are shipped")
    limited = press(stand, CLIENTS, stand.seconds / 4, patient=False)
    front.reload()
    found.note("afterwards")
    judge_sizing(found, prints)
    judge_excess(found, "flood", f"{FLOOD:,} clients", flood)
    judge_excess(found, "limited", "as shipped", limited)
    found.expect("refused beyond the limits", sum(limited.refused.values()), bool(limited.refused))
    ready = [copy.name for copy in stand.copies.living() if copy.ask("/readyz")]
    alive = sum(found.copies.values())
    found.expect("copies that are well afterwards", f"{len(ready)} of {alive}", len(ready) == alive)
    spread = stand.api.spread(SPREAD_REQUESTS)
    found.expect("copies of serve that answer afterwards", len(spread), len(spread) == found.copies["serve"])
    for more in (flood, limited):
        found.requests.jobs += more.jobs


def judge_sizing(found, prints):
    seen = found.requests
    found.row("answers within", f"p50 {seen.percentile(0.5):.2f} s, p95 {seen.percentile(0.95):.2f} s, p99 {seen.percentile(0.99):.2f} s")
    found.row("memory, peak", ", ".join(f"{name} {one.peak_mb:.0f} MB" for name, one in sorted(prints.items())))
    for name, one in sorted(prints.items()):
        found.row(f"{name} runs", ", ".join(f"{count} {kind}" for kind, count in sorted(one.threads.items())) + " threads")
    peak = max(one.peak_mb for one in prints.values())
    compute = max(one.compute_threads for one in prints.values())
    found.figures["sizing"] = {
        "requests_per_s": seen.rate(), "peak_mb": peak, "compute_threads": compute, "p95_s": seen.percentile(0.95),
    }
    found.expect("requests a second", f"{seen.rate():.0f} (at least {RATE_MIN:.0f})", seen.rate() >= RATE_MIN)
    found.expect("memory of a copy of serve, peak", f"{peak:.0f} MB (at most {PEAK_MAX_MB:.0f})", peak <= PEAK_MAX_MB)
    found.expect("compute threads of a copy of serve", f"{compute} (at most {COMPUTE_MAX})", compute <= COMPUTE_MAX)


def judge_excess(found, key, name, seen):
    refused = ", ".join(f"{count:,} × {what}" for what, count in sorted(seen.refused.items())) or "none refused"
    found.row(name, f"{seen.answered:,} answered ({seen.rate():.0f}/s), {refused}")
    found.figures[key] = {"answered": seen.answered, "refused": seen.refused, "failed": seen.failed}
    found.expect(f"{name}: neither answered nor told later", len(seen.failed), not seen.failed)
    found.failures += seen.failed


def press(stand, clients, seconds, patient):
    """What so many clients saw in that time, spread over processes."""
    pace = Pace(clients // PROCESSES, LOOKS, 0.0, patient)
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        work = [pool.submit(work_for, seconds, stand.front.door, stand.api.token, stand.images, pace) for _ in range(PROCESSES)]
        seen = Requests()
        for one in work:
            seen.add(one.result())
            seen.seconds = max(seen.seconds, one.result().seconds)
        return seen


def work_for(seconds, *load):
    with Load(*load) as pressure:
        pressure.run_for(seconds)
    return pressure.requests()
