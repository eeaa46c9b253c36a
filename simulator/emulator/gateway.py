"""Real WebSockets into rooms: one asyncio loop, and a thread that runs it.

aiohttp does the handshake and reads frames, so that what our client writes is judged by an independent reader. Writing
goes past it: what one turn of the loop produced for a participant leaves in one buffer, framed once for all who get it.
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
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from meshsync.errors import ConnectFailed, InvalidMessage, ProtocolError, UsageError
from meshsync.protocol import frames
from meshsync.protocol.packets import MAX_MESSAGE_SIZE
from simulator.emulator.admission import Admission, admit, find_credentials
from simulator.room.rules import Room
from simulator.room.seat import QUEUE_LIMIT, Parcel, Seat, SeatedRoom

__all__ = ["Gateway", "LoopThread", "Settings", "url_host"]

_log = logging.getLogger("simulator.emulator")
_T = TypeVar("_T")

_MAX_PACKET = MAX_MESSAGE_SIZE + 64 * 1024
"""Bytes of one WebSocket message: a whole message may come as one packet, and the seat is to judge its size.

aiohttp before 3.14 judges a frame only when all of it has come.
"""

_HIGH_WATER = 256 * 1024
"""Bytes in the transport's buffer beyond which messages wait in their seat's queue, so that pings get in between."""

_BATCH = 1024 * 1024
"""Bytes of messages taken from a queue at once."""

_JOINED = 64 * 1024
"""Bytes up to which a message is copied together with its neighbours instead of being written by itself."""


_TURN = 64
"""Packets of one client that are handled before the others', and before what they caused is written."""


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
            heartbeat=self.settings.heartbeat,
            max_msg_size=_MAX_PACKET,
            # The wire is a loopback, and deflating costs 3 us for a packet of 100 bytes, 1.7 ms for 64 KiB at random.
            compress=False,
            autoclose=False,
            protocols=offered,
        )
        writer = await socket.prepare(request)
        if request.transport is not None:
            connection = _Connection(admission.name, socket, writer, request.transport, self.settings.linger)
            await self._serve(name, admission, connection)
        return socket

    async def _serve(self, name: str, admission: Admission, connection: _Connection) -> None:
        room = self._rooms.get(name)
        if room is None:
            url = f"{self._base}/rooms/{name}"
            rules = Room(name, url=url, ids=_new_id, acknowledge=self.settings.acknowledge)
            room = self._rooms[name] = SeatedRoom(rules, queue_limit=self.settings.queue_limit)
        self._connections[connection] = None
        try:
            await connection.run(room, admission)
        finally:
            del self._connections[connection]
            if room.is_empty and self._rooms.get(name) is room:
                del self._rooms[name]


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
    """aiohttp's end of a WebSocket, which leaves closing to us: it would not give a reason, nor wait to be read."""

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:
        return False


class _Connection:
    """One client's WebSocket and its seat."""

    def __init__(
        self,
        name: str,
        socket: _Socket,
        writer: AbstractStreamWriter,
        transport: asyncio.Transport,
        linger: float,
    ) -> None:
        self.name = name
        self._socket = socket
        self._writer = writer
        self._transport = transport
        self._linger = linger
        self._loop = asyncio.get_running_loop()
        self._seat: Seat | None = None
        self._is_scheduled = False
        """Whether a flush is."""
        self._draining: asyncio.Task[None] | None = None
        """Waits for the client to read before the next flush."""
        self._goodbye: asyncio.Future[None] | None = None
        """Set once a close frame was written; done when the connection is."""

    async def run(self, room: SeatedRoom, admission: Admission) -> None:
        """Serve the client until its connection ends."""
        try:
            self._seat = room.take(
                admission.name,
                wake=self._wake,
                role=admission.role,
                rights=admission.rights,
                version=admission.version,
            )
            await self._read(self._seat)
        except InvalidMessage as error:
            self.end(1008, str(error))
        except Exception:
            _log.exception("a connection failed for no fault of its client's")
            self.end(1011, "internal error")
        finally:
            if self._seat is not None:
                self._seat.leave()
        try:
            if self._goodbye is not None:
                await self._goodbye
        finally:
            self._transport.abort()

    async def _read(self, seat: Seat) -> None:
        receive = self._socket.receive
        taken = 0
        while self._goodbye is None:
            message = await receive()  # Which doesn't give way while there is more of what was read from the socket.
            taken += 1
            if taken % _TURN == 0:
                await asyncio.sleep(0)
            if message.type is WSMsgType.BINARY:
                # Its own flush goes before its recipients': whoever asked waits for the answer, one write earlier.
                self._schedule()
                seat.feed((message.data,))
            elif message.type is WSMsgType.TEXT:
                seat.lose(ProtocolError("a text frame came; packets are binary", code=1003))
            elif message.type is WSMsgType.CLOSE:
                seat.leave()
                self.end(message.data if message.data in _ECHOED else 1000, "")
            elif message.type is WSMsgType.ERROR:
                code = getattr(message.data, "code", None)
                if code is None:  # No frame was at fault: the connection is gone, or no pong came.
                    return
                seat.lose(ProtocolError(str(message.data), code=int(code)))
            else:
                return

    # --- writing ------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._draining is not None:
            # One who does not read is not waited for.
            if self._seat is not None and self._seat.fault is not None:
                self.end(self._seat.fault.code, str(self._seat.fault))
        else:
            self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled and self._draining is None:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        seat, transport = self._seat, self._transport
        if seat is None or self._goodbye is not None or transport.is_closing():
            return
        if transport.get_write_buffer_size() <= _HIGH_WATER:
            for buffer in _join(seat.drain(_BATCH)):
                transport.write(buffer)
        elif seat.fault is None:
            self._draining = self._loop.create_task(self._flush_later())
            return
        if seat.queued and seat.fault is None:
            self._wake()
        elif seat.fault is not None:
            self.end(seat.fault.code, str(seat.fault))

    async def _flush_later(self) -> None:
        try:
            await self._writer.drain()
        except ConnectionError:
            return  # The reader finds out by itself.
        finally:
            self._draining = None
        self._flush()

    # --- ending -------------------------------------------------------------------------------------------------------

    def end(self, code: int, reason: str) -> None:
        """Say goodbye, and give the client a moment to read it. Again does nothing."""
        if self._goodbye is not None:
            return
        self._goodbye = self._loop.create_future()
        transport = self._transport
        if transport.is_closing():
            self._goodbye.set_result(None)
            return
        # What still comes has to be read and thrown away: closing a socket with unread bytes resets the connection, and
        # the client would never see why.
        transport.set_protocol(_Lingering(transport.get_protocol(), self._goodbye))
        transport.resume_reading()
        transport.write(frames.encode_close(code, reason, None))
        transport.write_eof()
        self._loop.call_later(self._linger, transport.abort)

    def cut(self) -> None:
        """End the TCP connection without a word."""
        self._transport.abort()


_ECHOED = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
"""Close codes that may be sent, and so returned. Source: RFC 6455, section 7.4."""


def _join(parcels: list[Parcel]) -> list[bytes]:
    """Return what to write for these messages: small ones copied together, large ones by themselves."""
    buffers: list[bytes] = []
    small: list[bytes] = []
    for parcel in parcels:
        wire = parcel.wire
        if wire is None:
            wire = parcel.wire = frames.encode(parcel.packets(), None)
        if len(wire) <= _JOINED:
            small.append(wire)
            continue
        buffers += (b"".join(small), wire)
        small.clear()
    buffers.append(b"".join(small))
    return [buffer for buffer in buffers if buffer]


class _Lingering(asyncio.Protocol):
    """Throws away what a client sends after goodbye; all else still goes to aiohttp."""

    def __init__(self, inner: asyncio.BaseProtocol, done: asyncio.Future[None]) -> None:
        self._inner = inner
        self._done = done

    def data_received(self, data: bytes) -> None:
        pass

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)
        if not self._done.done():
            self._done.set_result(None)


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
