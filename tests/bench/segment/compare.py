"""Our segmenter against the OpenCV pipeline, image by image, round by round by turns, one thread each on one core.

usage: compare.py SEGMENT_BENCH [--data DIR] [--image FILE]… [--rounds N] [--work DIR]

SEGMENT_BENCH is the executable of the bench `segment`. Without --data only the two synthetic images are timed; with it
the real spheroid in DIR too, at two sizes. Every figure of a round is of a process of its own: the time from the first
byte read to the last contour measured, and the process's largest resident size. `again` is the median of the same work
done WARM times more in one process, whose memory and code are warm.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np

REAL = "sph_bf_single_clean.png"
WARM = 5
PIPELINE = pathlib.Path(__file__).with_name("opencv_pipeline.py")


def main():
    options = parse()
    core = max(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="spheroctl-bench-") as scratch:
        work = pathlib.Path(options.work or scratch)
        images = inputs(options, work)
        runs = [run_image(options, path, core) for _, path in images]
    bandwidth = ask([options.bench, "bandwidth"], core)[0]
    names = [name for name, _ in images]
    print_speed(names, runs, options.rounds, core)
    for name, run in zip(names, runs):
        print_profile(name, run, bandwidth)
    print_opencv_steps(names, runs)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--image", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work")
    return parser.parse_args()


def inputs(options, work):
    """Names and paths of the images; drawn and scaled ones are made in the work folder."""
    subprocess.run([options.bench, "draw", str(work)], check=True)
    images = []
    if options.data:
        real = options.data / REAL
        if real.exists():
            images += scaled(real, work)
        else:
            print(f"{real}: not found, so the real images are left out\n")
    images.append(("40 drawn spheroids, 2048² 8-bit PNG", work / "synthetic-2048.png"))
    images.append(("40 drawn spheroids, 4096² 16-bit TIFF", work / "synthetic-4096.tif"))
    return images + [(path.name, path) for path in options.image]


def scaled(real, work):
    """The real image in grey, cubically enlarged; in floating point first, so that 16 bits hold more than 8 did."""
    grey = cv2.cvtColor(cv2.imread(str(real)), cv2.COLOR_BGR2GRAY).astype(np.float32)

    def at(side):
        return np.clip(cv2.resize(grey, (side, side), interpolation=cv2.INTER_CUBIC), 0, 255)

    png, tiff = work / "real-2048.png", work / "real-4096.tif"
    cv2.imwrite(str(png), at(2048).round().astype(np.uint8))
    uncompressed = [cv2.IMWRITE_TIFF_COMPRESSION, 1]
    cv2.imwrite(str(tiff), (at(4096) * 257).round().astype(np.uint16), uncompressed)
    return [("real brightfield, 2048² 8-bit PNG", png), ("real brightfield, 4096² 16-bit TIFF", tiff)]


def run_image(options, path, core):
    ours_command = [options.bench, "time", str(path)]
    theirs_command = [sys.executable, str(PIPELINE), str(path)]
    ours, theirs = [], []
    for number in range(options.rounds + 1):
        first, second = ask(ours_command, core), ask(theirs_command, core)
        if number > 0:  # the round before only fills the page cache
            ours.append(first)
            theirs.append(second)
    return {
        "ours": ours,
        "theirs": theirs,
        "ours_warm": ask([*ours_command, str(WARM + 1)], core)[0],
        "theirs_warm": ask([*theirs_command, str(WARM + 1)], core)[0],
    }


def ask(command, core):
    """The JSON that a process prints, its wall time in ms and its peak resident size in MB (10⁶)."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        env={**os.environ, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"},
    )
    with process.stdout as pipe:
        text = pipe.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = 1000 * (time.perf_counter() - begin)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return json.loads(text), took, usage.ru_maxrss * 1024 / 1e6


def our_ms(round_):
    return round_["decode_ms"] + round_["segment_ms"]


def their_ms(round_):
    return sum(round_["steps"].values())


def print_speed(names, runs, rounds, core):
    print(f"{rounds} rounds by turns, one thread on core {core}; OpenCV {runs[0]['theirs_warm']['opencv']}\n")
    print(
        "| image | program | median ms | min ms | again ms | process ms | peak RSS MB | objects |\n"
        "|---|---|---:|---:|---:|---:|---:|---:|"
    )
    ratios = []
    for name, run in zip(names, runs):
        ours = row(name, "spheroctl", run["ours"], run["ours_warm"], our_ms)
        theirs = row(name, "OpenCV", run["theirs"], run["theirs_warm"], their_ms)
        ratios.append((name, theirs, ours))
    print("\n| OpenCV ÷ spheroctl | median | min | again | process | peak RSS |\n|---|---:|---:|---:|---:|---:|")
    for name, theirs, ours in ratios:
        cells = " | ".join(f"{their / our:.1f}×" for their, our in zip(theirs, ours))
        print(f"| {name} | {cells} |")


def row(name, program, runs, warm, ms_of):
    times = [ms_of(answer["rounds"][0]) for answer, _, _ in runs]
    again = statistics.median(ms_of(round_) for round_ in warm["rounds"][1:])
    process = statistics.median(took for _, took, _ in runs)
    peak = max(size for _, _, size in runs)
    objects = runs[0][0].get("objects", runs[0][0]["rounds"][0].get("objects"))
    figures = [statistics.median(times), min(times), again, process, peak]
    print(f"| {name} | {program} | " + " | ".join(f"{figure:.0f}" for figure in figures) + f" | {objects} |")
    return figures


def print_profile(name, run, bandwidth):
    """Median of each step when warm, and the time that the memory alone needs for the bytes the step cannot avoid."""
    warm = run["ours_warm"]
    rounds = warm["rounds"][1:]
    total = statistics.median(our_ms(round_) for round_ in rounds)
    print(
        f"\n{name}: where the time goes when warm (memory: read {bandwidth['read_gb_s']:.1f}, "
        f"copy {bandwidth['copy_gb_s']:.1f} GB/s)\n\n"
        "| step | ms | share | MB moved at least | memory needs ms | times that |\n|---|---:|---:|---:|---:|---:|"
    )
    for index, step in enumerate(rounds[0]["steps"]):
        ms = statistics.median(round_["steps"][index]["ms"] for round_ in rounds)
        print_step(step["name"], ms, total, step.get("bytes"), bandwidth)
    # Whatever the steps are: the file is read, the plane written, and read once.
    plane = warm["width"] * warm["height"] * warm["bytes_per_sample"]
    print_step("together", total, total, warm["file_bytes"] + 2 * plane, bandwidth)


def print_step(name, ms, total, moved, bandwidth):
    row = f"| {name} | {ms:.1f} | {100 * ms / total:.0f} % |"
    if moved is None:
        print(f"{row} | | |")
        return
    limit = moved / bandwidth["copy_gb_s"] / 1e6
    print(f"{row} {moved / 1e6:.1f} | {limit:.2f} | {ms / limit:.0f}× |")


def print_opencv_steps(names, runs):
    print("\nOpenCV's steps when warm, median ms\n")
    steps = list(runs[0]["theirs_warm"]["rounds"][0]["steps"])
    print("| image | " + " | ".join(steps) + " |\n|---" + "|---:" * len(steps) + "|")
    for name, run in zip(names, runs):
        rounds = run["theirs_warm"]["rounds"][1:]
        cells = [f"{statistics.median(round_['steps'][step] for round_ in rounds):.0f}" for step in steps]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
