"""One copy of each role is killed with -9 under load, then two of each are added. People try again what was cut off; nothing that
was acknowledged is lost or done twice, and the others take over."""

from load import Pace

# Together some 30 jobs and 120 requests a second.
PACE = Pace(clients=16, looks=3, rest_s=0.35)
ADDED = 2
# Promised: jobs of a dead worker run again within 12 s, partitions have another reader within 9 s, and a heartbeat later
# where others join meanwhile, as they do here.
JOBS_TAKEN_OVER_MAX_S, PARTITIONS_TAKEN_OVER_MAX_S = 12.0, 11.0


def run(stand):
    found, copies = stand.found, stand.copies
    killed = {}
    with stand.load(PACE) as pressure:
        found.note("load begins")
        pressure.run_for(stand.seconds / 4)
        found.members_before = stand.looking.members()
        for role in found.copies:
            killed[role] = copies.kill_one(role)
        names = [name for name, _ in filter(None, killed.values())]
        found.note(f"killed with -9: {', '.join(names) or 'none, there is one copy each'}")
        found.row("killed", ", ".join(names) or "none: one copy each")
        pressure.run_for(stand.seconds / 4)
        for role in found.copies:
            copies.start(role, ADDED)
        copies.await_ready()
        stand.front.reload()
        found.note(f"{ADDED} of each role added and ready, the balancer knows them")
        pressure.run_for(stand.seconds / 2)
    found.requests = pressure.requests()
    found.figures["killed"] = {role: one[0] for role, one in killed.items() if one}
    if killed["worker"]:
        name, at = killed["worker"]
        partitions(found, at, *stand.looking.taken_over(name, at))
        return lambda auditor: jobs(found, at, *auditor.taken_over(name, at))
    return None


def partitions(found, killed_at, count, seconds):
    if not count:
        return
    found.expect(
        "its partitions have other readers",
        f"{count} within {seconds:.1f} s (limit {PARTITIONS_TAKEN_OVER_MAX_S:.0f})" if seconds else f"{count}, never",
        seconds is not None and seconds <= PARTITIONS_TAKEN_OVER_MAX_S,
    )
    if seconds:
        found.happened(killed_at + seconds, "its partitions have other readers, all of them")


def jobs(found, killed_at, count, seconds, never):
    found.expect(
        "jobs of the killed worker run again",
        f"{count} within {seconds:.1f} s (limit {JOBS_TAKEN_OVER_MAX_S:.0f})",
        never == 0 and seconds <= JOBS_TAKEN_OVER_MAX_S,
    )
    if count:
        found.happened(killed_at + seconds, "the jobs of the killed worker run again, all of them")
