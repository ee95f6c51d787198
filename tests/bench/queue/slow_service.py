"""A segmenter that only takes its time, and nothing of the processor: SpheroSeg's protocol, the same found in each image.

usage: slow_service.py PORT [--call-ms N] [--image-ms N] [--large-ms N] [--one-at-a-time] [--objects N]

A call takes `call-ms`, `image-ms` more for each image in it, and `large-ms` more for each of LARGE_SIDE pixels or more in
width. `one-at-a-time`: as a service with one accelerator, which does call after call.
"""

import argparse
import contextlib
import json
import math
import socket
import struct
import threading
import time

LARGE_SIDE = 1_000
CORNERS, RADIUS = 100, 20.0


class Service:
    """A thread for each connection: a thread's sleep is exact to 0.1 ms, a timer of asyncio's to 1 ms."""

    def __init__(self, options):
        self.options = options
        self.turn = threading.Lock() if options.one_at_a_time else contextlib.nullcontext()
        self.polygons = [polygon(number) for number in range(options.objects)]

    def serve(self, connection):
        """One connection, kept as long as the client likes."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError), connection, connection.makefile("rb") as reader:
            while lines := list(head(reader)):
                fields = dict(line.split(": ", 1) for line in lines[1:])
                widths = widths_of(body(reader, fields))
                if lines[0].startswith("post"):
                    with self.turn:
                        time.sleep(self.takes_s(widths))
                answers = [self.answer(width) for width in widths]
                answer = json.dumps({"results": answers} if "batch" in lines[0] else next(iter(answers), {})).encode()
                start = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)
                connection.sendall(start + answer)

    def takes_s(self, widths):
        large = sum(width >= LARGE_SIDE for width in widths)
        return (self.options.call_ms + self.options.image_ms * len(widths) + self.options.large_ms * large) / 1e3

    def answer(self, width):
        """All test images are square."""
        return {
            "success": True,
            "model_used": "slow",
            "threshold_used": 0.5,
            "image_size": {"width": width, "height": width},
            "polygons": self.polygons,
        }


def polygon(number):
    """A circle, each at another place of the first 500 pixels."""
    x, y = 30 + number % 10 * 48, 30 + number // 10 % 10 * 48
    angles = [2 * math.pi * corner / CORNERS for corner in range(CORNERS)]
    points = [{"x": round(x + RADIUS * math.cos(angle), 2), "y": round(y + RADIUS * math.sin(angle), 2)} for angle in angles]
    return {"id": f"object-{number}", "points": points, "type": "external", "confidence": 0.9}


def widths_of(content):
    """The width of each PNG in a form."""
    heads = content.split(b"IHDR")[1:]
    return [struct.unpack(">I", head[:4])[0] for head in heads]


def head(reader):
    """The lines of a request's head, in lower case; none where the client has gone."""
    while line := reader.readline().decode("latin-1").strip().lower():
        yield line


def body(reader, fields):
    if fields.get("transfer-encoding") != "chunked":
        return reader.read(int(fields.get("content-length", 0)))
    content = b""
    while length := int(reader.readline(), 16):
        content += reader.read(length)
        reader.readline()
    reader.readline()
    return content


def main(options):
    service = Service(options)
    with socket.create_server(("127.0.0.1", options.port), backlog=128) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=service.serve, args=[connection], daemon=True).start()


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--call-ms", type=int, default=100)
    parser.add_argument("--image-ms", type=int, default=0)
    parser.add_argument("--large-ms", type=int, default=0)
    parser.add_argument("--one-at-a-time", action="store_true")
    parser.add_argument("--objects", type=int, default=0)
    return parser.parse_args()


main(parse())
