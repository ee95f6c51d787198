"""Two copies of serve and of worker are added under load, then all but one of each are told to end at the same moment, and nobody
tells the balancer. Nobody notices: no request has to be tried a second time."""

from load import Pace

PACE = Pace(clients=16, looks=30, rest_s=0.5)
ROLES = ("serve", "worker")
ADDED, LEFT = 2, 1
# Longest waits: until the balancer has sent requests to all that were added, and for the number of requests that proves something.
KNOWN_LIMIT_S, ENOUGH_LIMIT_S = 60.0, 120.0


def run(stand):
    found, copies = stand.found, stand.copies
    with stand.load(PACE) as pressure:
        found.note(f"load begins: {sizes(copies)}")
        pressure.run_for(stand.seconds / 4)
        found.members_before = stand.looking.members()
        for role in ROLES:
            copies.start(role, ADDED)
        copies.await_ready()
        stand.front.reload()
        found.note(f"added and ready, the balancer knows them: {sizes(copies)}")
        pressure.run_for(stand.seconds / 4)
        serving = [copy.name for copy in copies.living("serve")]
        pressure.until_answered_by(serving, KNOWN_LIMIT_S)
        surplus = [copy for role in ROLES for copy in copies.living(role)[LEFT:]]
        for copy in surplus:
            copy.tell_to_end()
        found.note(f"told to end: {', '.join(copy.name for copy in surplus)}")
        codes = [copy.await_end() for copy in surplus]
        found.note(f"they have ended: {sizes(copies)}")
        pressure.run_for(stand.seconds / 2)
        pressure.until_answered(stand.requests, ENOUGH_LIMIT_S)
    found.requests = pressure.requests()
    found.figures["ended"] = len(codes)
    found.expect_unnoticed(stand.requests, stand.front.cuts_kept_connections())
    answered = [name for name in serving if found.requests.by_instance[name]]
    found.expect("copies of serve that answered", f"{len(answered)} of {len(serving)}", answered == serving)
    found.expect("copies that ended well", f"{codes.count(0)} of {len(codes)}", not any(codes))


def sizes(copies):
    return ", ".join(f"{len(copies.living(role))} {role}" for role in ROLES)
