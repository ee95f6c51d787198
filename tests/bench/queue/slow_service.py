"""A segmenter that only takes its time, and nothing of the processor: SpheroSeg's protocol, the same found in each image.

usage: slow_service.py PORT [--call-ms N] [--image-ms N] [--large-ms N] [--one-at-a-time] [--objects N]

A call takes `call-ms`, `image-ms` more for each image in it, and `large-ms` more for each of LARGE_SIDE pixels or more in
width. `one-at-a-time`: as a service with one accelerator, which does call after call.
"""

import argparse
import asyncio
import contextlib
import json
import math
import struct

HEAD_BYTES_MAX = 1 << 16
LARGE_SIDE = 1_000
CORNERS, RADIUS = 100, 20.0


class Service:
    def __init__(self, options):
        self.options = options
        self.turn = asyncio.Lock() if options.one_at_a_time else contextlib.nullcontext()
        self.polygons = [polygon(number) for number in range(options.objects)]

    async def serve(self, reader, writer):
        """One connection, kept as long as the client likes."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").lower().split("\r\n")
                fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
                widths = widths_of(await body(reader, fields))
                if lines[0].startswith("post"):
                    async with self.turn:
                        await asyncio.sleep(self.takes_s(widths))
                answers = [self.answer(width) for width in widths]
                answer = json.dumps({"results": answers} if "batch" in lines[0] else next(iter(answers), {})).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer))
                writer.write(answer)
                await writer.drain()
        writer.close()

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


async def body(reader, fields):
    if fields.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(fields.get("content-length", 0)))
    content = b""
    while length := int(await reader.readuntil(b"\r\n"), 16):
        content += (await reader.readexactly(length + 2))[:-2]
    await reader.readexactly(2)
    return content


async def main(options):
    service = Service(options)
    server = await asyncio.start_server(service.serve, "127.0.0.1", options.port, limit=HEAD_BYTES_MAX)
    async with server:
        await server.serve_forever()


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--call-ms", type=int, default=100)
    parser.add_argument("--image-ms", type=int, default=0)
    parser.add_argument("--large-ms", type=int, default=0)
    parser.add_argument("--one-at-a-time", action="store_true")
    parser.add_argument("--objects", type=int, default=0)
    return parser.parse_args()


asyncio.run(main(parse()))
