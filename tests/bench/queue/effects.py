"""What batching, smart routing and compression are worth: the same work with and without each, on a segmenter that only
takes its time."""

import time

import product

# A service with one accelerator: most of a call's time is the call's.
CALL = ("--one-at-a-time", "--call-ms", "80", "--image-ms", "10")
BATCHED_JOBS, AT_ONCE = 200, 16
# A heap of heavy images, then light ones at a steady rate.
HEAVY = ("--call-ms", "50", "--large-ms", "1950")
HEAVY_JOBS, LIGHT_JOBS, LIGHT_INTERVAL_S, HEAVY_SIDE = 12, 80, 0.1, 1_000
# Outlines of one image: 5,000 corners.
COMPRESSED_JOBS, OBJECTS, SIDE = 400, "50", 512
UNLIMITED = str(1 << 30)
ENDS_LIMIT_S, POLL_S = 120.0, 0.05

ENDED = "select count(*) from queue_jobs where status = 'completed'"
SECONDS = "select extract(epoch from max(finished_at) - min(created_at)) from queue_jobs"
WAITS = (
    "select percentile_cont(array[0.5, 0.95]) within group (order by extract(epoch from started_at - scheduled_at))"
    " from queue_jobs where image_id = '%s'"
)
KEPT = "select sum(coalesce(octet_length(result_zstd), 0)) from segmentations"


def on(url, **more):
    """The settings of an installation on this service."""
    return {"ml.segmenter": "spheroseg", "ml.url": url, "worker.concurrency": str(AT_ONCE), **more}


def batching(installation, images_per_call):
    """Jobs per second."""
    with product.slow_service(*CALL) as url:
        with installation.started(on(url, **{"ml.batch_max": str(images_per_call)}), [{}]) as copies:
            copies.api.jobs(copies.api.image(product.grey(SIDE)), BATCHED_JOBS)
            await_ends(installation, BATCHED_JOBS)
            return BATCHED_JOBS / float(installation.ask(SECONDS))


def routing(installation, large_pixels_min, lanes):
    """How long the light jobs waited, p50 and p95 in seconds, behind a heap of heavy ones; two workers, two jobs each."""
    settings = {"worker.concurrency": "2", "queue.large_pixels_min": str(large_pixels_min), "ml.batch_max": "1"}
    with product.slow_service(*HEAVY) as url:
        with installation.started(on(url, **settings), [{"worker.lanes": lane} for lane in lanes]) as copies:
            light, heavy = copies.api.image(product.pixel()), copies.api.image(product.grey(HEAVY_SIDE))
            copies.api.jobs(heavy, HEAVY_JOBS)
            for _ in range(LIGHT_JOBS):
                copies.api.jobs(light, 1)
                time.sleep(LIGHT_INTERVAL_S)
            await_ends(installation, HEAVY_JOBS + LIGHT_JOBS)
            waits = installation.ask(WAITS % light)
            return [float(wait) for wait in waits.strip("{}").split(",")]


def compression(installation, above_bytes):
    """Bytes of a result as it is kept, and jobs per second."""
    with product.slow_service("--call-ms", "5", "--objects", OBJECTS) as url:
        settings = on(url, **{"queue.compress_above_bytes": above_bytes, "ml.batch_max": "1"})
        with installation.started(settings, [{}]) as copies:
            copies.api.jobs(copies.api.image(product.grey(SIDE)), COMPRESSED_JOBS)
            await_ends(installation, COMPRESSED_JOBS)
            kept = int(installation.ask(KEPT)) + sum(file.stat().st_size for file in copies.result_files())
            return kept / COMPRESSED_JOBS, COMPRESSED_JOBS / float(installation.ask(SECONDS))


def await_ends(installation, jobs):
    deadline = time.monotonic() + ENDS_LIMIT_S
    while int(installation.ask(ENDED)) < jobs:
        if time.monotonic() > deadline:
            raise SystemExit(f"not all of {jobs} jobs ended within {ENDS_LIMIT_S:.0f} s")
        time.sleep(POLL_S)
