"""Real WebSockets into rooms: one asyncio loop, and a thread that runs it.

aiohttp does the handshake. Frames go past it, in bulk both ways: what comes in one read is handled in one go, and what
one turn of the loop produced for a participant leaves in one buffer, framed once for all who get it.
Each connection ends by itself, whatever comes: a fault of the protocol, a reader that does not read, a peer that is
gone, a client that presents no token. Not the business of this module: what a request means, and who may join.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web

from meshsync.errors import ConnectFailed, InvalidMessage, ProtocolError, UsageError
from meshsync.protocol import frames
from meshsync.protocol.heartbeat import Beat, Heartbeat
from meshsync.protocol.packets import MAX_MESSAGE_SIZE
from simulator.admission import Admission, admit, find_credentials
from simulator.room.calls import ANSWER_LIMIT
from simulator.room.members import Output
from simulator.room.rules import Room
from simulator.room.seat import QUEUE_LIMIT, Parcel, Seat, SeatedRoom

__all__ = ["Gateway", "LoopThread", "Settings", "url_host"]

_log = logging.getLogger("simulator.emulator")
_T = TypeVar("_T")

_MAX_PACKET = MAX_MESSAGE_SIZE + 64 * 1024
"""Bytes of one WebSocket message: a whole message may come as one packet, and the seat is to judge its size."""

_HIGH_WATER = 256 * 1024
"""Bytes in the transport's buffer beyond which messages wait in their seat's queue, so that pings get in between."""

_BATCH = 1024 * 1024
"""Bytes of messages taken from a queue at once."""

_JOINED = 64 * 1024
"""Bytes up to which a message is copied together with its neighbours instead of being written by itself."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a gateway goes by."""

    secret: str
    acknowledge: str = "routed"
    queue_limit: int = QUEUE_LIMIT
    """Bytes that may wait for one participant."""
    heartbeat: float = 30.0
    """Seconds of silence before a ping; as long again by half, and the connection is given up."""
    linger: float = 2.0
    """Seconds in which a client that was told goodbye may read it and go, before its connection is cut."""
    answer: float = ANSWER_LIMIT
    """Seconds in which a duplex stream has to be answered."""


class Gateway:
    """A WebSocket server with rooms that appear on demand. All methods run in its loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._rooms: dict[str, SeatedRoom] = {}
        self._connections: dict[_Connection, None] = {}
        """In the order of arrival."""
        self._server: asyncio.Server | None = None
        self._base = ""
        app = web.Application()
        app.router.add_get("/rooms/{room}", self._accept)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=settings.linger)

    async def open(self, host: str, port: int) -> int:
        """Listen, and return the port.

        Raises:
            OSError: If that is not possible; nothing is left open.
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
        """Say goodbye to everybody and stop listening; takes little longer than ``linger``."""
        if self._server is not None:
            await _stop_listening(self._server)
        for connection in tuple(self._connections):
            connection.end(1001, "the emulator was closed")
        await self._runner.cleanup()

    async def drop(self, name: str) -> int:
        """Cut the TCP connections of everybody with that name, without a word; return how many."""
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
        offered = (credentials.subprotocol,) if credentials and credentials.subprotocol else ()
        socket = _Socket(
            # The wire is a loopback, and deflating costs 3 us for a packet of 100 bytes, 1.7 ms for 64 KiB at random.
            compress=False,
            autoclose=False,
            protocols=offered,
        )
        await socket.prepare(request)
        if request.transport is not None:
            connection = _Connection(admission.name, request.transport, self.settings)
            await self._serve(name, admission, connection)
        return socket

    async def _serve(self, name: str, admission: Admission, connection: _Connection) -> None:
        room = self._rooms.get(name)
        if room is None:
            url = f"{self._base}/rooms/{name}"
            later = _Later()
            rules = Room(
                name,
                url=url,
                ids=_new_id,
                acknowledge=self.settings.acknowledge,
                later=later,
                answer_limit=self.settings.answer,
            )
            room = later.room = self._rooms[name] = SeatedRoom(rules, queue_limit=self.settings.queue_limit)
        self._connections[connection] = None
        try:
            await connection.run(room, admission)
        finally:
            del self._connections[connection]
            if room.is_empty and self._rooms.get(name) is room:
                del self._rooms[name]


class _Later:
    """Has a room do something later, in the loop's time."""

    room: SeatedRoom
    """Set as soon as there is one: the rules are made before it."""

    def __call__(self, seconds: float, outputs: Callable[[], Iterable[Output]]) -> Callable[[], None]:
        loop = asyncio.get_running_loop()
        return loop.call_later(seconds, lambda: self.room.route(outputs())).cancel


async def _stop_listening(server: asyncio.Server) -> None:
    """Close the listening sockets, but not while a connection is being accepted.

    A connection takes some turns of the loop from the listening socket to aiohttp. asyncio loses one whose server is
    closed meanwhile, with its socket open (CPython 3.13.0: an assertion in ``Server._attach``).
    """
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # The loop of Windows accepts in another way, which has no such gap.
        for listener in server.sockets:
            loop.remove_reader(listener.fileno())
    for _ in range(5):
        await asyncio.sleep(0)
    server.close()


def _new_id() -> str:
    """Return a UUID of version 4, as official servers seem to give."""
    digits = bytearray(os.urandom(16))
    digits[6] = digits[6] & 0x0F | 0x40
    digits[8] = digits[8] & 0x3F | 0x80
    text = digits.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def url_host(host: str) -> str:
    """Return what stands for a listening address in a URL on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


class _Socket(web.WebSocketResponse):
    """aiohttp's end of a WebSocket, which makes the handshake and nothing after it."""

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:
        return False


class _Connection(asyncio.Protocol):
    """One client's connection and its seat. It takes the transport over once aiohttp has made the handshake.

    aiohttp gives frames one by one, which for a stream costs more than all that the room does with them.
    """

    def __init__(self, name: str, transport: asyncio.Transport, settings: Settings) -> None:
        self.name = name
        self._transport = transport
        self._linger = settings.linger
        self._loop = asyncio.get_running_loop()
        self._decoder = frames.FrameDecoder(masked=True, max_size=_MAX_PACKET)
        self._heartbeat = Heartbeat(self._loop.time(), interval=settings.heartbeat, timeout=settings.heartbeat / 2)
        self._timer: asyncio.TimerHandle | None = None
        self._seat: Seat | None = None
        self._is_scheduled = False
        """Whether a flush is."""
        self._pending: deque[bytes] = deque()
        """Whole frames that were drained from the seat's queue and not written."""
        self._is_full = False
        """Whether the client has to read before more is written."""
        self._has_said_goodbye = False
        self._ended: asyncio.Future[None] = self._loop.create_future()
        """Done when the connection is."""
        self._aiohttp = transport.get_protocol()
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        transport.set_protocol(self)

    async def run(self, room: SeatedRoom, admission: Admission) -> None:
        """Serve the client until its connection ends."""
        try:
            self._seat = room.take(
                admission.name,
                wake=self._wake,
                role=admission.role,
                rights=admission.rights,
                version=admission.version,
                token_version=admission.token_version,
            )
        except InvalidMessage as error:
            self.end(1008, str(error))
        self._beat()
        try:
            await self._ended
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._seat is not None:
                self._seat.leave()
            self._transport.abort()

    # --- reading ------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what came. After goodbye it is thrown away.

        It has to be read all the same: closing a socket with unread bytes resets the connection, and the client would
        never see why.
        """
        seat = self._seat
        if seat is None or self._has_said_goodbye:
            return
        self._heartbeat.alive(self._loop.time())
        try:
            self._take(data, seat)
        except Exception:
            _log.exception("a connection failed for no fault of its client's")
            self.end(1011, "internal error")

    def _take(self, data: bytes, seat: Seat) -> None:
        decoder = self._decoder
        packets: list[bytes] = []
        fault: ProtocolError | None = None
        try:
            decoder.feed(data, packets)
        except ProtocolError as error:
            fault = error
        ping = decoder.take_ping()
        if ping is not None:
            self._transport.write(frames.encode_control(frames.Opcode.PONG, ping, None))
        if packets:
            # Its own flush goes before its recipients': whoever asked waits for the answer, one write earlier.
            self._schedule()
            seat.feed(packets)
        if fault is not None:
            seat.lose(fault)
        elif decoder.close is not None:
            seat.leave()
            self.end(decoder.close.code or 1000, "")

    def eof_received(self) -> bool:
        """Let the transport close: a client that sends no more reads no more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end; aiohttp has to know too."""
        self._aiohttp.connection_lost(exc)
        if not self._ended.done():
            self._ended.set_result(None)

    def _beat(self) -> None:
        """Ping a client that is silent, and give up one that stays so."""
        beat = self._heartbeat.look(self._loop.time())
        if beat is Beat.ASKED:
            self._transport.write(frames.encode_control(frames.Opcode.PING, b"", None))
        elif beat is Beat.DEAD:
            self._transport.abort()
        if self._heartbeat.deadline is not None:
            self._timer = self._loop.call_at(self._heartbeat.deadline, self._beat)

    # --- writing ------------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """Let messages wait in the seat's queue, so that pings get in between."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Write on."""
        self._is_full = False
        self._schedule()

    def _wake(self) -> None:
        if not self._is_full:
            self._schedule()
        elif self._seat is not None and self._seat.fault is not None:
            self.end(self._seat.fault.code, str(self._seat.fault))  # One who does not read is not waited for.

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        seat, transport = self._seat, self._transport
        if seat is None or self._has_said_goodbye or transport.is_closing():
            return
        pending = self._pending
        if not pending and not self._is_full:
            pending.extend(_join(seat.drain(_BATCH)))
        # Never much more than what the transport takes: it would move the rest forward at each write.
        while pending and not self._is_full:
            transport.write(pending.popleft())
        is_empty = not pending and not seat.queued
        if seat.fault is not None and (self._is_full or is_empty):
            self.end(seat.fault.code, str(seat.fault))
        elif not is_empty and not self._is_full:
            self._schedule()

    # --- ending -------------------------------------------------------------------------------------------------------

    def end(self, code: int, reason: str) -> None:
        """Say goodbye, and give the client a moment to read it. Again does nothing."""
        if self._has_said_goodbye:
            return
        self._has_said_goodbye = True
        transport = self._transport
        if transport.is_closing():
            return
        transport.resume_reading()
        transport.write(frames.encode_close(code, reason, None))
        transport.write_eof()
        self._loop.call_later(self._linger, transport.abort)

    def cut(self) -> None:
        """End the TCP connection without a word."""
        self._transport.abort()


def _join(parcels: list[Parcel]) -> list[bytes]:
    """Return what to write for these messages: small ones copied together, large ones a frame at a time."""
    buffers: list[bytes] = []
    small: list[bytes] = []
    for parcel in parcels:
        wire: list[bytes] | None = parcel.wire
        if wire is None:
            packets = parcel.packets()
            is_small = parcel.output.size <= _JOINED
            wire = [frames.encode(part, None) for part in ([packets] if is_small else ([p] for p in packets))]
            parcel.wire = wire
        if len(wire) == 1:
            small += wire
            continue
        buffers += (b"".join(small), *wire)
        small.clear()
    buffers.append(b"".join(small))
    return [buffer for buffer in buffers if buffer]


class LoopThread:
    """A gateway's loop in a thread of its own, driven from others."""

    def __init__(self, gateway: Gateway, host: str, port: int) -> None:
        """Start the thread and wait until it listens.

        Raises:
            UsageError: If the address cannot be had; no thread is left.
        """
        self.gateway = gateway
        self._closing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened: concurrent.futures.Future[int] = concurrent.futures.Future()
        # A daemon: a program that never closes its emulator ends all the same.
        self._thread = threading.Thread(target=self._run, args=(host, port), name="simulator.emulator", daemon=True)
        self._thread.start()
        try:
            self.port = self._opened.result()
        except OSError as error:
            self._thread.join()
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise UsageError(f"cannot listen on {host} port {port}: {why}; port=0 picks a free one") from None
        except BaseException:
            self.close()
            raise

    def call(self, work: Coroutine[Any, Any, _T], *, timeout: float) -> _T:
        """Run ``work`` in the loop and return what it returns, from any other thread."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def close(self) -> None:
        """Close the gateway and end the thread, within a few seconds."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(self.gateway.settings.linger + 5)
        if self._thread.is_alive():
            _log.warning("the emulator did not end in time")

    def _run(self, host: str, port: int) -> None:
        try:
            asyncio.run(self._main(host, port))
        except BaseException as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)

    async def _main(self, host: str, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._opened.set_result(await self.gateway.open(host, port))
        await self._closing.wait()
        await self.gateway.close()
