"""The stages of the demonstration, in order. See scripts/scale-demo for what it is."""

import argparse
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import api
import audit
import balancer
import crowd
import fleet
import kill
import laboratory
import report
import resize
import restart
import sockets
import stand
import watch

ROOT = pathlib.Path(__file__).parents[2]
ROLES = ("serve", "worker", "realtime")
EXERCISES = {"kill": kill.run, "restart": restart.run, "resize": resize.run, "crowd": crowd.run}
SPREAD_REQUESTS = 300
BUILD_LIMIT_S = 1_800
COPIES_MAX = 20
# Jobs that a worker runs at once: few, so that several workers have something to do.
CONCURRENCY = 2


def main():
    options = parse()
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spheroctl-scale-demo-")))
        try:
            found = demonstrate(options, folder, stack)
        except (laboratory.Unavailable, fleet.Failed) as error:
            print(f"scripts/scale-demo: {error}", file=sys.stderr)
            return 69
    if options.report:
        options.report.write_text(found.as_text() + "\n")
    print(json.dumps(found.as_json(), indent=2) if options.json else found.as_text())
    return 0 if found.holds() else 1


def parse():
    parser = argparse.ArgumentParser(prog="scripts/scale-demo")
    parser.add_argument("--exercise", choices=EXERCISES, default="kill")
    for role in ROLES:
        parser.add_argument(f"--{role}", type=copies, default=3, metavar="N")
    parser.add_argument("--balancer", choices=["nginx", "haproxy"], default="nginx")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S")
    parser.add_argument("--requests", type=int, default=10_000, metavar="N")
    parser.add_argument("--images", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--binary", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--report", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def copies(text):
    number = int(text)
    if not 1 <= number <= COPIES_MAX:
        raise argparse.ArgumentTypeError(f"1 to {COPIES_MAX} copies are expected, not {number}")
    return number


def demonstrate(options, folder, stack):
    found = report.Report(options.exercise, {role: getattr(options, role) for role in ROLES}, options.balancer)
    with stage("the program"):
        binary = (options.binary or build()).resolve()
    with stage("PostgreSQL, Redis, Kafka"):
        services = stack.enter_context(laboratory.services(ROOT, folder))
    with stage("schema, topics, an account"):
        lab = laboratory.Laboratory(binary, services, folder, CONCURRENCY)
        lab.prepare()
    running = stack.enter_context(fleet.Fleet(binary, lab.environment, folder))
    with stage(" ".join(f"{count} {role}" for role, count in found.copies.items())):
        for role, count in found.copies.items():
            running.start(role, count)
        running.await_ready()
    with stage(options.balancer):
        front = stack.enter_context(balancer.Balancer(ROOT, options.balancer, folder, running))
        asking = api.Api(front.door, lab.token)
        asking.await_answer(front.log_file)
    with stage(f"who answers {SPREAD_REQUESTS} requests"):
        found.spread = asking.spread(SPREAD_REQUESTS)
    with stage("images through the balancer"):
        project, images = asking.upload(lab.images(options.images))
    with stage("sockets through the balancer"):
        watchers = stack.enter_context(sockets.Sockets(front.door, lab.token, asking.user()))
        found.sockets_before = watchers.by_instance()
    with stage(f"exercise: {options.exercise}"), watch.Watch(running) as looking:
        exercise = EXERCISES[options.exercise]
        judge = exercise(
            stand.Stand(options.seconds, options.requests, running, front, asking, looking, images, found)
        )
        found.note("load ends")
        found.members_after = looking.members()
        found.members_before = found.members_before or found.members_after
        found.sockets_after, found.sockets_missed = watchers.by_instance(), watchers.missed()
    with stage("every acknowledged job ends"):
        asking.await_ends(project, found.requests.jobs)
    found.note("every acknowledged job has ended")
    with stage("what the database says"):
        auditor = audit.Auditor(services.postgres, lab.database)
        found.jobs = auditor.jobs(found.requests.jobs)
        found.by_worker = auditor.jobs_by_worker()
        if judge:
            judge(auditor)
        found.statistics = asking.completed_in_statistics(project, found.jobs.completed)
    return found


@contextlib.contextmanager
def stage(name):
    began = time.monotonic()
    print(f"… {name}", end="", file=sys.stderr, flush=True)
    try:
        yield
    except BaseException:
        print(file=sys.stderr)
        raise
    print(f"\r✓ {name} ({time.monotonic() - began:.1f} s)", file=sys.stderr, flush=True)


def build():
    command = ["cargo", "build", "--release", "--locked", "--message-format=json", "--bin", "spheroctl"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=BUILD_LIMIT_S)
    if built.returncode != 0:
        raise laboratory.Unavailable("the program could not be built")
    lines = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    return pathlib.Path(next(line["executable"] for line in lines if line.get("executable")))


if __name__ == "__main__":
    sys.exit(main())
