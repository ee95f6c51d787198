"""People who watch: WebSockets through the balancer in the Centrifugo protocol, on the channel of their own. Whoever is cut
off connects again, to whichever instance the balancer chooses, and asks for what came meanwhile."""

import base64
import json
import os
import socket
import struct
import threading
import time
from collections import Counter

SOCKETS = 12
ANSWER_LIMIT_S = 10.0
READ_LIMIT_S = 40.0  # the gateway pings each 25 s
TRY_AGAIN_S = 0.3
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Sockets:
    """All of them. Leaving the context closes them."""

    def __init__(self, door, token, user):
        self.door, self.token, self.channel = door, token, f"user:{user}"
        self.stop = threading.Event()
        self.watchers = [Watcher(self) for _ in range(SOCKETS)]

    def __enter__(self):
        for watcher in self.watchers:
            watcher.thread.start()
        deadline = time.monotonic() + ANSWER_LIMIT_S
        while any(watcher.node is None for watcher in self.watchers) and time.monotonic() < deadline:
            time.sleep(TRY_AGAIN_S)
        return self

    def __exit__(self, *_):
        self.stop.set()
        for watcher in self.watchers:
            watcher.close()
        for watcher in self.watchers:
            watcher.thread.join()

    def by_instance(self):
        return Counter(watcher.node for watcher in self.watchers if watcher.node)

    def missed(self):
        """Reconnections, and those after which the gateway could not say what came meanwhile."""
        return sum(watcher.reconnections for watcher in self.watchers), sum(watcher.unrecovered for watcher in self.watchers)


class Watcher:
    """One socket, again and again."""

    def __init__(self, sockets):
        self.sockets = sockets
        self.thread = threading.Thread(target=self.watch)
        self.stream = None
        self.node = None
        self.position = None
        self.reconnections = self.unrecovered = 0

    def watch(self):
        first = True
        while not self.sockets.stop.is_set():
            try:
                self.connect()
                self.reconnections += not first
                first = False
                while True:
                    self.receive()
            except (OSError, ConnectionError, ValueError, KeyError):
                self.node = None
                self.close()
                self.sockets.stop.wait(TRY_AGAIN_S)

    def connect(self):
        plain = socket.create_connection(("127.0.0.1", self.sockets.door.port), timeout=ANSWER_LIMIT_S)
        self.stream = self.sockets.door.tls().wrap_socket(plain, server_hostname="127.0.0.1")
        self.stream.settimeout(READ_LIMIT_S)
        self.reader = self.stream.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self.stream.sendall(
            f"GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1:{self.sockets.door.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        if b" 101 " not in self.reader.readline():
            raise ConnectionError("no upgrade")
        while self.reader.readline().strip():
            pass
        node = self.call(1, "connect", {"token": self.sockets.token})["node"]
        wish = {"channel": self.sockets.channel}
        if self.position:
            offset, epoch = self.position
            wish |= {"recover": True, "offset": offset, "epoch": epoch}
        subscribed = self.call(2, "subscribe", wish)
        self.unrecovered += bool(self.position) and not subscribed.get("recovered", False)
        self.position = subscribed.get("offset", 0), subscribed.get("epoch", "")
        self.node = node.rsplit("-", 1)[0]

    def call(self, number, name, body):
        self.send(json.dumps({"id": number, name: body}))
        while True:
            for reply in self.frames():
                if reply.get("id") == number:
                    if "error" in reply:
                        raise ConnectionError(f"{name}: {reply['error']}")
                    return reply[name]

    def receive(self):
        for reply in self.frames():
            if not reply:
                self.send("{}")
            elif "push" in reply and "pub" in reply["push"]:
                self.position = reply["push"]["pub"].get("offset", self.position[0]), self.position[1]
            elif "push" in reply and "disconnect" in reply["push"]:
                raise ConnectionError("told to connect again")

    def frames(self):
        """The replies of the next message."""
        while True:
            head = self.read(2)
            length = head[1] & 0x7F
            if length == 126:
                length = struct.unpack(">H", self.read(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", self.read(8))[0]
            body, kind = self.read(length), head[0] & 0x0F
            if kind == TEXT:
                return [json.loads(line) for line in body.splitlines() if line.strip()]
            if kind == CLOSE:
                raise ConnectionError("closed")
            if kind == PING:
                self.send(body, PONG)

    def read(self, count):
        found = self.reader.read(count)
        if len(found) < count:
            raise ConnectionError("cut off")
        return found

    def send(self, content, kind=TEXT):
        content = content.encode() if isinstance(content, str) else content
        mask = os.urandom(4)
        length = bytes([0x80 | len(content)]) if len(content) < 126 else bytes([0x80 | 126]) + struct.pack(">H", len(content))
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(content))
        self.stream.sendall(bytes([0x80 | kind]) + length + mask + masked)

    def close(self):
        try:
            if self.stream:
                self.stream.shutdown(socket.SHUT_RDWR)
                self.stream.close()
        except OSError:
            pass
