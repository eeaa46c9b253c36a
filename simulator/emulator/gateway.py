"""Real WebSockets into rooms: one asyncio loop, and a thread that runs it.

aiohttp does the handshake. Frames bypass it, in bulk both ways: all frames of one read are handled at once, and all
messages of one turn of the loop to a participant are written in one buffer, each framed once for all its recipients.
Each connection ends without effect on others: by a protocol error, a client that does not read, a lost client, a client
without a token. The meaning of requests and the admission of clients are not this module's business.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from aiohttp import web

from meshsync.errors import ConnectFailed
from simulator.admission import Admission, admit, find_credentials
from simulator.emulator.connection import GatewayConnection, HandshakeSocket
from simulator.emulator.framing import FramedParcel
from simulator.emulator.memory import Memory
from simulator.emulator.settings import EmulatorStats, Settings
from simulator.room.members import Output
from simulator.room.rules import Room
from simulator.room.seat import SeatedRoom

__all__ = ["Gateway", "url_host"]

_log = logging.getLogger("simulator.emulator")


class Gateway:
    """A WebSocket server with rooms that appear on demand. All methods run in its loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._rooms: dict[str, SeatedRoom] = {}
        self._connections: dict[GatewayConnection, None] = {}
        """In the order of arrival."""
        self._memory = Memory(settings.memory)
        self._server: asyncio.Server | None = None
        self._base = ""
        app = web.Application()
        app.router.add_get("/rooms/{room}", self._accept)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=settings.linger)

    async def open(self, host: str, port: int) -> int:
        """Listen, and return the port.

        Raises:
            OSError: If the address cannot be listened on; nothing is left open.
        """
        await self._runner.setup()
        serve = self._runner.server
        assert serve is not None
        try:
            self._server = await asyncio.get_running_loop().create_server(serve, host, port)
        except BaseException:
            await self._runner.cleanup()
            raise
        bound = int(self._server.sockets[0].getsockname()[1])
        self._base = f"ws://{url_host(host)}:{bound}"
        return bound

    async def close(self) -> None:
        """Send a close frame to every client and stop listening; lasts little longer than ``linger`` seconds."""
        if self._server is not None:
            await _stop_listening(self._server)
        for connection in tuple(self._connections):
            connection.end(1001, "the emulator was closed")
        await self._runner.cleanup()

    def stats(self) -> EmulatorStats:
        """Return the current counts."""
        seats = [seat for room in self._rooms.values() for seat in room.seats]
        return EmulatorStats(
            rooms=len(self._rooms),
            participants=len(seats),
            connections=len(self._connections),
            queued=sum(seat.queued for seat in seats),
            held=self._memory.used,
        )

    async def drop(self, name: str) -> int:
        """Cut the TCP connections of all participants with that name, without a close frame; return how many."""
        found = [connection for connection in self._connections if connection.name == name]
        for connection in found:
            connection.cut()
        return len(found)

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["room"]
        credentials = find_credentials(request.headers, request.query)
        version = request.query.get("v")
        try:
            admission = admit(name, credentials, version=version, secret=self.settings.secret, now=time.time())
        except ConnectFailed as error:
            headers = {"WWW-Authenticate": "Bearer"} if error.http_status == 401 else None
            return web.Response(status=error.http_status or 403, text=str(error), headers=headers)
        if self._memory.is_scarce:
            text = f"the emulator's memory is full: {self._memory.used} of {self._memory.limit} bytes are held"
            return web.Response(status=503, text=text, headers={"Retry-After": "5"})
        offered = (credentials.subprotocol,) if credentials and credentials.subprotocol else ()
        socket = HandshakeSocket(
            # The wire is a loopback, and deflating costs 3 us for a packet of 100 bytes, 1.7 ms for 64 KiB at random.
            compress=False,
            autoclose=False,
            protocols=offered,
        )
        await socket.prepare(request)
        if request.transport is not None:
            connection = GatewayConnection(admission.name, request.transport, self.settings, self._memory)
            await self._serve(name, admission, connection)
        return socket

    async def _serve(self, name: str, admission: Admission, connection: GatewayConnection) -> None:
        room = self._rooms.get(name)
        if room is None:
            url = f"{self._base}/rooms/{name}"
            later = _Later()
            rules = Room(name, url=url, ids=_new_id, later=later, answer_limit=self.settings.answer, is_decoded=True)
            room = later.room = self._rooms[name] = SeatedRoom(
                rules,
                queue_limit=self.settings.queue_limit,
                is_patient=True,
                make_parcel=FramedParcel,
                held=self._memory.queues,
            )
        self._connections[connection] = None
        try:
            await connection.run(room, admission)
        finally:
            del self._connections[connection]
            if room.is_empty and self._rooms.get(name) is room:
                del self._rooms[name]


class _Later:
    """Routes outputs of a room later, in the loop's time."""

    room: SeatedRoom
    """Set once the room is made: its rules are made before it."""

    def __call__(self, seconds: float, outputs: Callable[[], Iterable[Output]]) -> Callable[[], None]:
        loop = asyncio.get_running_loop()
        return loop.call_later(seconds, lambda: self.room.route(outputs())).cancel


async def _stop_listening(server: asyncio.Server) -> None:
    """Close the listening sockets, but not while a connection is being accepted.

    A connection takes some turns of the loop from the listening socket to aiohttp. asyncio loses one whose server is
    closed meanwhile, with its socket open (CPython 3.13.0: an assertion in ``Server._attach``).
    """
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # The loop of Windows accepts without this gap.
        for listener in server.sockets:
            loop.remove_reader(listener.fileno())
    for _ in range(5):
        await asyncio.sleep(0)
    server.close()


def _new_id() -> str:
    """Return a UUID of version 4, as official servers seem to use."""
    digits = bytearray(os.urandom(16))
    digits[6] = digits[6] & 0x0F | 0x40
    digits[8] = digits[8] & 0x3F | 0x80
    text = digits.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def url_host(host: str) -> str:
    """Return the host for a listening address in a URL on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host
