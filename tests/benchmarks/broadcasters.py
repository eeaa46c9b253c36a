"""Bare WebSocket servers for comparison: what one client sends goes to all others, as it is, and nothing else happens.

    python -m tests.benchmarks.broadcasters aiohttp|websockets|picows|loop [uvloop]

Each prints a line of JSON with its URL, and serves until it is terminated. It knows no rooms, tokens, requests and
replies: what a server of that library, on asyncio or uvloop, could do at best. ``loop`` uses no library at all.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from typing import cast

HOST = "127.0.0.1"
BACKLOG = 1024
"""Connections that may wait to be accepted."""


def announce(port: int) -> None:
    """Tell where the server is."""
    print(json.dumps({"url": f"ws://{HOST}:{port}"}), flush=True)


async def serve_aiohttp() -> None:
    """Broadcast with aiohttp."""
    from aiohttp import WSMsgType, web

    clients: set[web.WebSocketResponse] = set()

    async def handle(request: web.Request) -> web.WebSocketResponse:
        mine = web.WebSocketResponse(compress=False)
        await mine.prepare(request)
        clients.add(mine)
        try:
            async for message in mine:
                if message.type is WSMsgType.BINARY:
                    for client in clients:
                        if client is not mine:
                            await client.send_bytes(message.data)
        finally:
            clients.discard(mine)
        return mine

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, backlog=BACKLOG).start()
    announce(runner.addresses[0][1])
    await asyncio.Event().wait()


async def serve_websockets() -> None:
    """Broadcast with websockets."""
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    clients: set[ServerConnection] = set()

    async def handle(mine: ServerConnection) -> None:
        clients.add(mine)
        try:
            async for message in mine:
                broadcast(clients - {mine}, message)
        finally:
            clients.discard(mine)

    async with serve(handle, HOST, 0, compression=None, ping_interval=None, backlog=BACKLOG) as server:
        announce(next(iter(server.sockets)).getsockname()[1])
        await asyncio.Event().wait()


async def serve_picows() -> None:
    """Broadcast with picows."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

    clients: set[WSTransport] = set()

    class Broadcaster(WSListener):  # type: ignore[misc]
        def on_ws_connected(self, transport: WSTransport) -> None:
            clients.add(transport)

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            clients.discard(transport)

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type is WSMsgType.CLOSE:
                transport.disconnect()
            elif frame.msg_type is WSMsgType.BINARY:
                data = frame.get_payload_as_bytes()
                for client in clients:
                    if client is not transport:
                        client.send(WSMsgType.BINARY, data)

    server = await ws_create_server(lambda _: Broadcaster(), HOST, 0, backlog=BACKLOG)
    announce(server.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


async def serve_loop() -> None:
    """Broadcast with the loop alone: what is read is written to all others, unmasked; one frame in each read."""
    from base64 import b64encode
    from hashlib import sha1

    from meshsync.protocol.frames import FrameDecoder, encode

    clients: set[asyncio.Transport] = set()

    class Broadcaster(asyncio.Protocol):
        decoder: FrameDecoder | None = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)  # That of uvloop is none by its class.

        def connection_lost(self, exc: Exception | None) -> None:
            clients.discard(self.transport)

        def data_received(self, data: bytes) -> None:
            decoder = self.decoder
            if decoder is None:
                _, _, rest = data.partition(b"Sec-WebSocket-Key: ")
                key = rest.partition(b"\r\n")[0] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
                answer = b64encode(sha1(key, usedforsecurity=False).digest())
                upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                self.transport.write(upgrade + b"Sec-WebSocket-Accept: " + answer + b"\r\n\r\n")
                self.decoder = FrameDecoder(masked=True)
                clients.add(self.transport)
                return
            packets: list[bytes] = []
            decoder.feed(data, packets)
            wire = encode(packets, None)
            for client in clients:
                if client is not self.transport:
                    client.write(wire)

    server = await asyncio.get_running_loop().create_server(Broadcaster, HOST, 0, backlog=BACKLOG)
    announce(server.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


SERVERS = {
    "aiohttp": serve_aiohttp,
    "websockets": serve_websockets,
    "picows": serve_picows,
    "loop": serve_loop,
}


def main() -> None:
    """Serve."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    server = SERVERS[sys.argv[1]]()
    if sys.argv[2:] == ["uvloop"]:
        import uvloop

        uvloop.run(server)
    else:
        asyncio.run(server)


if __name__ == "__main__":
    main()
