"""Real WebSockets into rooms: one asyncio loop, and a thread that runs it.

aiohttp does the handshake. Frames bypass it, in bulk both ways: all frames of one read are handled at once, and all
messages of one turn of the loop to a participant are written in one buffer, each framed once for all its recipients.
Each connection ends without effect on others: by a protocol error, a client that does not read, a lost client, a client
without a token. The meaning of requests and the admission of clients are not this module's business, nor is a
connection before its handshake.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import logging
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiohttp import web

from meshsync.errors import ConnectFailed
from meshsync.excerpts import hide_tokens, show_name, show_text
from meshsync.runtime.allocation import keep_freed_memory
from simulator.admission import Admission, admit, find_credentials, is_room_name
from simulator.emulator.connection import READ_SIZE, GatewayConnection, HandshakeSocket
from simulator.emulator.event_log import EventLog, RoomLog
from simulator.emulator.flushes import Flushes
from simulator.emulator.limits import system_descriptors
from simulator.emulator.memory import Memory
from simulator.emulator.newcomers import Newcomer, Newcomers
from simulator.emulator.rates import Rate
from simulator.emulator.recording import Recordings, claimed_name
from simulator.emulator.refusals import STRANGERS, HttpLog, Refusals
from simulator.emulator.rooms import EmulatedRoom, Occupant
from simulator.emulator.settings import EmulatorStats, Settings
from simulator.emulator.stage import Stage
from simulator.faults.fault import Fault
from simulator.faults.plans import Planned
from simulator.network.network import SimulatedConnection
from simulator.participants import Participant
from simulator.room.members import Member, Output
from simulator.room.rules import Room
from simulator.room.seat import PACKET_SIZE
from simulator.room.watched import Watcher

__all__ = ["Gateway", "new_secret", "url_host"]

_log = logging.getLogger("simulator.emulator")

_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Errors of a system that has no descriptor left, or no memory for one."""

_RETRY_AFTER = 5
"""Seconds after which one who is refused may try again."""

_LONGEST_RETRY = 3600.0
"""Seconds; the longest time that one who is refused is told to wait."""

_LONGEST_NAME = 64
"""Characters of a stranger's room that are logged."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gateway:
    """A WebSocket server with rooms that appear on demand. All methods run in its loop."""

    def __init__(self, settings: Settings) -> None:
        keep_freed_memory()
        self.settings = settings
        self.recordings: Recordings | None = None
        """What is kept of what happens; None for nothing."""
        if settings.record is not None:
            self.recordings = Recordings(settings.record, _call_soon)
        self._rooms: dict[str, EmulatedRoom] = {}
        self._connections: dict[GatewayConnection, None] = {}
        """In the order of arrival."""
        self._memory = Memory(settings.limits.memory)
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._server: asyncio.Server | None = None
        self._is_closing = False
        self._base = ""
        self._descriptors = system_descriptors()
        self._refusals = Refusals(_now)
        self._event_log = EventLog(_now, lambda seconds, work: asyncio.get_running_loop().call_later(seconds, work))
        self._newcomers = Newcomers(settings.limits, self._refusals, self._most_waiting)
        self._joins: Rate | None = None
        self._stage: Stage
        """Made when it opens, since it lives by the loop's time."""
        app = web.Application(middlewares=[self._screen])
        app.router.add_get("/rooms/{room}", self._accept)
        app.router.add_get("/health", self._tell_health)
        self._runner = web.AppRunner(
            app,
            access_log=None,  # It would write URLs, and with them tokens.
            logger=HttpLog(self._refusals),
            handle_signals=False,
            shutdown_timeout=settings.limits.linger,
            keepalive_timeout=settings.limits.keep_alive,
            lingering_time=0.0,  # No request has a body that would be read.
            auto_decompress=False,
            tcp_keepalive=False,  # The heartbeat does it sooner; and on a connection that was reset it may raise.
        )

    async def open(self, host: str, port: int) -> int:
        """Listen, and return the port.

        Raises:
            OSError: If the address cannot be listened on; nothing is left open.
        """
        await self._runner.setup()
        http = self._runner.server
        assert http is not None
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._report)
        first = None if self.recordings is None else self.recordings.flush
        self._flushes = Flushes(loop.call_soon, first, getattr(loop, "_ready", None))
        self._stage = Stage(self.settings, self._room, self._note_fault)
        if self.settings.limits.joins is not None:
            self._joins = Rate(self.settings.limits.joins, loop.time())
        try:
            self._server = await loop.create_server(lambda: Newcomer(http(), self._newcomers), host, port)
        except BaseException:
            await self._runner.cleanup()
            raise
        bound = int(self._server.sockets[0].getsockname()[1])
        self._base = f"ws://{url_host(host)}:{bound}"
        return bound

    async def close(self) -> None:
        """Send a close frame to every client and stop listening; lasts little longer than ``linger`` seconds.

        Whatever fails for one connection, the others are told.
        """
        self._is_closing = True
        if self._server is not None:
            await _stop_listening(self._server)
        self._stage.calm()
        told = 0
        for connection in tuple(self._connections):
            try:
                told += connection.end(1001, "the emulator was closed")
            except Exception:
                _log.exception("a connection could not be told that the emulator is closing")
                connection.cut()
        if self._connections:
            told_of = (told, len(self._connections))
            _log.info("the emulator is closing: %d of %d connections are told", *told_of, extra={"event": "closing"})
        try:
            await self._runner.cleanup()
        finally:
            for connection in tuple(self._connections):
                connection.cut()
            for room in tuple(self._rooms.values()):
                room.retire()
            self._stage.close()

    def stats(self) -> EmulatorStats:
        """Return the current counts."""
        seats = [seat for room in self._rooms.values() for seat in room.seats]
        return EmulatorStats(
            rooms=len(self._rooms),
            participants=len(seats),
            connections=len(self._connections),
            queued=sum(seat.queued for seat in seats),
            waiting=len(self._newcomers),
            refused=dict(self._refusals.counts),
            held=self._memory.used,
            unwritten=0 if self.recordings is None else self.recordings.unwritten,
        )

    async def drop(self, name: str) -> int:
        """Cut the TCP connections of all participants with that name, without a close frame; return how many."""
        found = [connection for connection in self._connections if connection.name == name]
        if self.recordings is not None:
            for room, opened in self._rooms.items():
                if any(seat.member.name == name for seat in opened.seats):
                    self.recordings.recorder(room).struck("drop", (name,), "struck", {"name": name})
        for connection in found:
            connection.cut("cut by drop()")
        if found:
            text = "the connection of %s is cut by drop()"
            self._event_log.write("fault", text, show_name(name), fault="drop", participants=[name])
        return len(found)

    # --- for programs -------------------------------------------------------------------------------------------------

    def rooms(self) -> tuple[str, ...]:
        """Return the names of the rooms that are open, in the order of opening."""
        return tuple(self._rooms)

    def occupants(self, room: str) -> tuple[Occupant, ...]:
        """Return the participants of a room; none if it is not open."""
        return self._rooms[room].occupants() if room in self._rooms else ()

    def add(self, name: str, participants: Sequence[Participant]) -> None:
        """Let participants without a thread into a room, which stays open from then on.

        Raises:
            UsageError: If one of them is in a room already; those before it were let in.
        """
        room = self._room(name)
        room.is_kept = True
        self._stage.add(room, participants)

    def plan(self, entries: Sequence[Planned | Fault]) -> None:
        """Add the entries of a fault plan; see `FaultInjector.add`."""
        self._stage.plan(entries, self._rooms.values(), self._connections)

    # --- requests -----------------------------------------------------------------------------------------------------

    @web.middleware
    async def _screen(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Refuse a page or a host that is not let in; see `Doorway`. Whoever is answered may ask again."""
        at = None if request.transport is None else request.transport.get_extra_info("sockname")
        refusal = self.settings.doorway.refusal(
            request.headers.getall("Origin", []),
            request.headers.getall("Host", []),
            at[0] if isinstance(at, tuple) else None,
        )
        newcomer = None if request.transport is None else request.transport.get_protocol()
        try:
            if refusal is None:
                return await handler(request)
            kind, text = refusal
            self._note_refusal(request, kind, 403, text, logging.INFO)
            return web.Response(status=403, text=f"{text}\n")
        except web.HTTPException:
            raise
        except Exception:
            # Not left to aiohttp, whose reports are all taken for faults of strangers.
            _log.exception("a request failed for no fault of its client's")
            return web.Response(status=500, text="internal error\n")
        finally:
            if isinstance(newcomer, Newcomer) and request.transport is not None:
                newcomer.answered()

    async def _tell_health(self, request: web.Request) -> web.Response:
        figures = self.stats()
        counts = {name: getattr(figures, name) for name in ("rooms", "participants", "connections", "waiting")}
        return web.json_response({"status": "closing" if self._is_closing else "ok", **counts})

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["room"]
        credentials = find_credentials(request.headers, request.query)
        version = request.query.get("v")
        try:
            admission = admit(name, credentials, version=version, secret=self.settings.secret, now=time.time())
        except ConnectFailed as error:
            status = error.http_status or 403
            self._note_refusal(request, "name" if status == 404 else "token", status, str(error), logging.INFO)
            headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
            return web.Response(status=status, text=str(error), headers=headers)
        reached = self._reached_limit(name)
        if reached is not None:
            kind, text, seconds = reached
            level = logging.INFO if self._is_closing else logging.WARNING
            self._note_refusal(request, kind, 503, text, level)
            return web.Response(status=503, text=f"{text}\n", headers={"Retry-After": str(seconds)})
        self._stage.appeared(admission.name, name)
        place: SimulatedConnection | None = None
        if self._stage.is_wired and request.transport is not None:
            place = await self._stage.attempt(admission.name, request.transport)
            if place is None:
                self._note_prevented(admission.name, name)
                return web.Response(status=503)  # It goes nowhere: the connection was reset.
        offered = (credentials.subprotocol,) if credentials and credentials.subprotocol else ()
        socket = HandshakeSocket(
            # The wire is a loopback, and deflating costs 3 us for a packet of 100 bytes, 1.7 ms for 64 KiB at random.
            compress=False,
            autoclose=False,
            protocols=offered,
        )
        try:
            await socket.prepare(request)
        except STRANGERS:  # It has gone meanwhile. What is returned goes nowhere.
            if place is not None:
                self._stage.abandon(place)
            self._refusals.add("lost", "a connection was lost in its handshake", logging.INFO)
            return web.Response(status=400)
        transport = request.transport
        if transport is not None:
            newcomer = transport.get_protocol()
            carrier, place = self._stage.carry(transport, place, admission.name)
            connection = GatewayConnection(
                admission.name, carrier, self.settings, self._memory, self._flushes, socket.early, self._buffer
            )
            connection.place = place
            if isinstance(newcomer, Newcomer):
                newcomer.seated()
            await self._serve(name, admission, connection)
            await self._stage.parted(connection)
        elif place is not None:
            self._stage.abandon(place)
        return socket

    def _reached_limit(self, name: str) -> tuple[str, str, int] | None:
        """Return which limit keeps one more participant out of a room: kind, text, and the seconds to wait."""
        limits = self.settings.limits
        room = self._rooms.get(name)
        connections = limits.connections_of(self._descriptors)
        if self._is_closing:
            return "closing", "the emulator is closing", _RETRY_AFTER
        if connections is not None and len(self._connections) >= connections:
            return "connections", f"connections are limited to {connections}", _RETRY_AFTER
        if room is None and limits.rooms is not None and len(self._rooms) >= limits.rooms:
            return "rooms", f"rooms are limited to {limits.rooms}", _RETRY_AFTER
        if room is not None and limits.participants is not None and len(room.seats) >= limits.participants:
            return "participants", f"the participants of a room are limited to {limits.participants}", _RETRY_AFTER
        if self._memory.is_scarce:
            held = f"{self._memory.used} of {self._memory.limit} bytes are held"
            return "memory", f"the emulator's memory is full: {held}", _RETRY_AFTER
        now = asyncio.get_running_loop().time()
        if self._joins is not None and not self._joins.take(1, now):
            seconds = math.ceil(min(1 / self._joins.per_second, _LONGEST_RETRY))
            return "joins", f"the participants that join in a second are limited to {self._joins.per_second:g}", seconds
        return None

    def _room(self, name: str) -> EmulatedRoom:
        """Return the open room of that name, made now unless there is one."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = self._make_room(name)
            if self.settings.populate is not None:
                try:
                    self._stage.add(room, self.settings.populate(name))
                except Exception:
                    _log.exception("room %s begins without all the participants that it was to have", name)
        return room

    def _make_room(self, name: str) -> EmulatedRoom:
        limits, notes, later = self.settings.limits, self._stage.notes_of(name), _Later()
        url = f"{self._base}/rooms/{name}"
        watchers: list[Watcher] = []
        if self.recordings is not None:
            recorder = self.recordings.recorder(name)
            recorder.notice = self._stage.faults.notice
            watchers.append(recorder)
        if _log.isEnabledFor(logging.INFO):  # Else no message pays for it, not even a question.
            watchers.append(RoomLog(self._event_log, name))
        room = later.room = notes.room = EmulatedRoom(
            Room(
                name,
                url=url,
                ids=_new_id,
                later=later,
                answer_limit=limits.answer,
                expired=later.expired,
                is_decoded=True,
                told={"packet_size": PACKET_SIZE, "message_size": limits.message},
            ),
            watchers,
            notes,
            queue_limit=limits.queue,
            message_limit=limits.message,
            held=self._memory.queues,
            flushes=self._flushes,
            vacated=self._close_if_deserted,
        )
        self._stage.put_under_faults(room)
        return room

    def _close_if_deserted(self, room: EmulatedRoom) -> None:
        """Close a room whose last client has left, unless it is kept open."""
        if not room.has_clients and not room.is_kept and self._rooms.get(room.name) is room:
            del self._rooms[room.name]
            self._stage.notes_of(room.name).room = None
            room.retire()

    async def _serve(self, name: str, admission: Admission, connection: GatewayConnection) -> None:
        room = self._room(name)
        room.connections += 1
        self._connections[connection] = None
        if self._is_closing:  # Its handshake was under way when the others were told.
            connection.end(1001, "the emulator was closed")
        try:
            await connection.run(room, admission)
        finally:
            del self._connections[connection]
            room.connections -= 1
            self._close_if_deserted(room)
            if connection.refusal is not None and self.recordings is not None:
                self.recordings.refused(name, admission.name, connection.refusal)
            fault = connection.fault
            if fault is not None:
                reason = show_text(str(fault))
                text = f"{name}: {show_name(admission.name)} was disconnected with code {fault.code}: {reason}"
                level = logging.WARNING if fault.code in (1008, 1009) else logging.INFO
                members = {"room": name, "participant": admission.name, "reason": reason}
                self._refusals.add(str(fault.code), text, level, **members)

    def _note_refusal(self, request: web.Request, kind: str, status: int, reason: str, level: int) -> None:
        room = hide_tokens(request.match_info.get("room", ""))[:_LONGEST_NAME]
        credentials = find_credentials(request.headers, request.query)
        name = claimed_name(None if credentials is None else credentials.token)
        if self.recordings is not None and is_room_name(room):
            self.recordings.refused(room, name, reason)
        who = f"{show_name(room) if room else 'no room'}: {show_name(name) if name else 'a request'}"
        members = {"room": room, "participant": name, "status": status, "reason": reason}
        self._refusals.add(kind, f"{who} is refused with status {status}: {reason}", level, **members)

    def _note_prevented(self, name: str, room: str) -> None:
        text = f"{room}: {show_name(name)} is reset while it connects, by a fault or the network's latency"
        self._refusals.add("fault", text, logging.INFO, room=room, participant=name, reason="fault")
        if self.recordings is not None:
            self.recordings.refused(room, name, "reset while it connects")

    def _note_fault(self, room: str, word: str, names: Sequence[str], outcome: str, detail: Mapping[str, Any]) -> None:
        who = " of " + ", ".join(map(show_name, names)) if names else ""
        members = {"room": room, "fault": word, "participants": list(names), "outcome": outcome, "detail": detail}
        self._event_log.write("fault", "%s: fault %s%s %s", room, word, who, outcome, **members)
        if self.recordings is not None:
            self.recordings.recorder(room).struck(word, names, outcome, dict(detail))

    # --- what the system refuses --------------------------------------------------------------------------------------

    def _most_waiting(self) -> int:
        return self.settings.limits.waiting_of(self._descriptors, len(self._connections))

    def _report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Judge what fails in the loop outside of any task: what a stranger can cause is no fault of ours."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _SCARCE:
            # asyncio goes on listening after a second; those who keep silent make room for those who talk.
            text = f"no more connections can be accepted for now: {os.strerror(error.errno)}"
            self._refusals.extend("descriptors", text)
            self._newcomers.halve()
        elif isinstance(error, STRANGERS):
            self._refusals.add("lost", f"a connection failed: {type(error).__name__}", logging.INFO)
        elif self._is_closing and isinstance(error, ValueError):
            _log.debug("asyncio would have listened again: %s", error)  # On a socket that is closed meanwhile.
        else:
            loop.default_exception_handler(context)


class _Later:
    """Routes outputs of a room later, in the loop's time."""

    room: EmulatedRoom
    """Set once the room is made: its rules are made before it."""

    def __call__(self, seconds: float, outputs: Callable[[], Iterable[Output]]) -> Callable[[], None]:
        return asyncio.get_running_loop().call_later(seconds, lambda: self.room.route(outputs())).cancel

    def expired(self, opener: Member, stream_id: str, reason: str) -> None:
        """Tell the room's watchers that it rejects a stream by itself."""
        for watcher in self.room.watchers:
            watcher.expired(opener, stream_id, reason)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _call_soon(callback: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(callback)


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


def new_secret() -> str:
    """Return a secret to sign tokens with that nobody can guess: 43 characters, 256 bits."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")


def url_host(host: str) -> str:
    """Return the host for a listening address in a URL on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host
