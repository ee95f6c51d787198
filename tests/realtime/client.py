"""The published client of the realtime protocol, driven by lines of JSON: reads commands, writes what happens.

    client.py json|protobuf TOKEN < commands > events

Commands: {"connect": ADDRESS} {"disconnect": true} {"subscribe": CHANNEL} {"unsubscribe": CHANNEL}
{"publish": [CHANNEL, DATA]} {"history": CHANNEL} {"presence": CHANNEL}. Connecting to another address keeps the
subscriptions with their positions, as a client does whose balancer sends it elsewhere.
"""

import asyncio
import json
import sys

from centrifuge import CentrifugeError, Client, ClientEventHandler, SubscriptionEventHandler


def tell(event, **more):
    # The binary form hands payloads over as bytes.
    print(json.dumps({"event": event, **more}, default=json.loads), flush=True)


class Connection(ClientEventHandler):
    async def on_connecting(self, ctx):
        tell("connecting", code=ctx.code, reason=ctx.reason)

    async def on_connected(self, ctx):
        tell("connected", client=ctx.client, data=ctx.data)

    async def on_disconnected(self, ctx):
        tell("disconnected", code=ctx.code, reason=ctx.reason)


class Channel(SubscriptionEventHandler):
    def __init__(self, name):
        self.name = name

    async def on_subscribing(self, ctx):
        tell("subscribing", channel=self.name, code=ctx.code)

    async def on_subscribed(self, ctx):
        tell(
            "subscribed",
            channel=self.name,
            recovered=ctx.recovered,
            was_recovering=ctx.was_recovering,
            offset=ctx.stream_position.offset if ctx.stream_position else None,
        )

    async def on_unsubscribed(self, ctx):
        tell("unsubscribed", channel=self.name, code=ctx.code, reason=ctx.reason)

    async def on_publication(self, ctx):
        info = ctx.pub.info
        tell(
            "publication",
            channel=self.name,
            data=ctx.pub.data,
            offset=ctx.pub.offset,
            user=info.user if info else None,
        )

    async def on_join(self, ctx):
        tell("join", channel=self.name, client=ctx.info.client)

    async def on_leave(self, ctx):
        tell("leave", channel=self.name, client=ctx.info.client)


async def obey(client, command):
    [(name, value)] = command.items()
    if name == "connect":
        client._address = value
        await client.connect()
    elif name == "disconnect":
        await client.disconnect()
    elif name == "subscribe":
        subscription = client.get_subscription(value)
        if subscription is None:
            subscription = client.new_subscription(value, Channel(value), join_leave=True)
        await subscription.subscribe()
    elif name == "unsubscribe":
        await client.get_subscription(value).unsubscribe()
    elif name == "publish":
        channel, data = value
        await client.publish(channel, json.dumps(data).encode() if client._use_protobuf else data)
        tell("published", channel=value[0])
    elif name == "history":
        result = await client.history(value, limit=-1)
        tell("history", offsets=[one.offset for one in result.publications])
    elif name == "presence":
        result = await client.presence(value)
        tell("presence", clients=sorted(result.clients))


async def main():
    form, token = sys.argv[1:]
    # The address is set by `connect`; a short time between tries, because tests wait for them.
    client = Client(
        "ws://127.0.0.1:1/",
        Connection(),
        token=token,
        use_protobuf=form == "protobuf",
        max_reconnect_delay=0.5,
        proxy=None,
    )
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            await obey(client, json.loads(line))
        except CentrifugeError as error:
            tell("error", code=getattr(error, "code", None), text=str(error))
    await client.disconnect()


asyncio.run(main())
