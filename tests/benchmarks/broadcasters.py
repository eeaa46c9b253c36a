"""Bare WebSocket servers for comparison: what one client sends goes to all others, as it is, and nothing else happens.

    python -m tests.benchmarks.broadcasters aiohttp|websockets|picows

Each prints a line of JSON with its URL, and serves until it is terminated. It knows no rooms, tokens, requests and
replies: what a server of that library could do at best.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys

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


SERVERS = {"aiohttp": serve_aiohttp, "websockets": serve_websockets, "picows": serve_picows}


if __name__ == "__main__":
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    asyncio.run(SERVERS[sys.argv[1]]())
