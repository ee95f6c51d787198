"""A segmenter that takes 100 ms for each call and nothing of the processor: SpheroSeg's protocol, nothing found.

usage: slow_service.py PORT
"""

import asyncio
import json
import sys

TAKES_S = 0.1
HEAD_BYTES_MAX = 1 << 16
ANSWER = json.dumps(
    {
        "success": True,
        "model_used": "slow",
        "threshold_used": 0.5,
        "image_size": {"width": 1, "height": 1},
        "polygons": [],
        "warning": "nothing is looked for",
    }
).encode()


async def serve(reader, writer):
    """One connection, kept as long as the client likes."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode("latin-1").lower().split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
            await body(reader, fields)
            if lines[0].startswith("post"):
                await asyncio.sleep(TAKES_S)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER))
            writer.write(ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def body(reader, fields):
    if fields.get("transfer-encoding") != "chunked":
        await reader.readexactly(int(fields.get("content-length", 0)))
        return
    while length := int(await reader.readuntil(b"\r\n"), 16):
        await reader.readexactly(length + 2)
    await reader.readexactly(2)


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), limit=HEAD_BYTES_MAX)
    async with server:
        await server.serve_forever()


asyncio.run(main())
