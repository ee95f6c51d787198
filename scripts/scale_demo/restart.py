"""Every copy of every role is told to end and started again, one after the other, under load. Nobody notices: no request has to
be tried a second time."""

import time

from load import Pace

PACE = Pace(clients=16, looks=30, rest_s=0.5)
# Longest wait for the number of requests that proves something.
ENOUGH_LIMIT_S = 300.0


def run(stand):
    found = stand.found
    codes = []
    with stand.load(PACE) as pressure:
        found.note("load begins")
        pressure.run_for(stand.seconds / 4)
        found.members_before = stand.looking.members()
        for role in found.copies:
            for copy in stand.copies.living(role):
                codes.append(restart(found, stand.copies, copy))
        found.row("restarted", f"{len(codes)} copies, {pressure.answered():,} requests by then")
        pressure.run_for(stand.seconds / 4)
        pressure.until_answered(stand.requests, ENOUGH_LIMIT_S)
    found.requests = pressure.requests()
    found.figures["restarted"] = len(codes)
    found.expect_unnoticed(stand.requests)
    found.expect("copies that ended well", f"{codes.count(0)} of {len(codes)}", not any(codes))


def restart(found, copies, copy):
    began = time.monotonic()
    copy.tell_to_end()
    code = copy.await_end()
    ended = time.monotonic()
    copies.run(copy)
    copies.await_ready()
    found.note(f"{copy.name} ended in {ended - began:.1f} s and was ready again after {time.monotonic() - ended:.1f} s")
    return code
