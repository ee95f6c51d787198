"""How long `BINARY standalone` takes from the start of its process to its first answer on /livez, with an empty data
folder, and what it holds in memory when idle.

usage: answer.py BINARY [ARGUMENTS before `standalone`…]
"""

import json
import pathlib
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

RUNS = 20
MEMORY_RUNS = 3
IDLE_S = 3.0  # from the first answer to the reading of the memory
ANSWER_LIMIT_S = 30.0
CONNECT_LIMIT_S = 1.0
STOP_LIMIT_S = 20.0
LINE_BYTES_MAX = 64 * 1024
PROBE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def main():
    command = sys.argv[1:]
    first, _ = run(command, measure_memory=False)
    times, memory = [], []
    for number in range(RUNS):
        took, resident = run(command, measure_memory=number >= RUNS - MEMORY_RUNS)
        times.append(took)
        memory.extend(resident)
    print(f"| standalone, empty data folder, {RUNS} runs | median | min | max |\n|---|---:|---:|---:|")
    row("process start to first answer on /livez, ms", [1000 * took for took in times])
    row(f"resident memory {IDLE_S:.0f} s later, MiB ({len(memory)} runs)", memory)
    print(f"\nthe run before these, binary perhaps not in the page cache: {1000 * first:.1f} ms")


def row(name, values):
    print(f"| {name} | {statistics.median(values):.1f} | {min(values):.1f} | {max(values):.1f} |")


def run(command, measure_memory):
    """The seconds to the first answer and, where asked for, the resident memory in MiB as a list of one."""
    with tempfile.TemporaryDirectory(prefix="spheroctl-bench-") as data, \
            open(pathlib.Path(data, "log"), "w+b") as log:
        arguments = ["standalone", "--data", str(pathlib.Path(data, "data")), "--port", "0", "--json"]
        begin = time.perf_counter()
        with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=log, bufsize=0) as process:
            try:
                deadline = begin + ANSWER_LIMIT_S
                await_answer(address(process, deadline), deadline)
                took = time.perf_counter() - begin
                resident = [resident_mib(process)] if measure_memory else []
            except Exception:
                log.seek(0)
                sys.stderr.write(log.read().decode(errors="replace")[-4000:])
                raise
            finally:
                stop(process)
    return took, resident


def address(process, deadline):
    """Host and port from the first line of the output."""
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if len(line) > LINE_BYTES_MAX or not selector.select(deadline - time.perf_counter()):
                raise TimeoutError(f"no address in {ANSWER_LIMIT_S} s; so far: {line!r}")
            byte = process.stdout.read(1)
            if not byte:
                raise EOFError(f"ended before it printed its address; exit code {process.wait(STOP_LIMIT_S)}")
            line += byte
    url = urllib.parse.urlsplit(json.loads(line)["address"])
    return url.hostname, url.port


def await_answer(place, deadline):
    """Asks without a rest between two tries, until the answer is 200."""
    answer = b""
    while time.perf_counter() < deadline:
        try:
            with socket.create_connection(place, timeout=CONNECT_LIMIT_S) as connection:
                connection.sendall(PROBE)
                answer = connection.makefile("rb").readline()
            if answer.split()[1:2] == [b"200"]:
                return
        except OSError:
            pass
    raise TimeoutError(f"/livez did not answer with 200 in {ANSWER_LIMIT_S} s; last: {answer!r}")


def resident_mib(process):
    time.sleep(IDLE_S)
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError("the process ended while it was idle")


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        print(f"killed: it did not stop within {STOP_LIMIT_S:.0f} s of SIGTERM", file=sys.stderr)


if __name__ == "__main__":
    main()
