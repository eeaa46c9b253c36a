"""Connections that are reset at random moments of one kind of call, again and again; what may come of that is checked.

The client under test reaches the emulator through a proxy, which delays all bytes a little, so that a call has moments
at which it can be struck, and then resets the connection. Its peer reaches the emulator directly and keeps a record.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

import meshsync
from meshsync import (
    ConnectFailed,
    ConnectionLost,
    DeliveryUnknown,
    MeshsyncError,
    MessageStreamChunk,
    NotSent,
    RoomClient,
    StreamInterrupted,
)
from simulator import Emulator
from tests.support.rooms import settle, start
from tests.support.tcp_proxy import TcpProxy

__all__ = ["KINDS", "Report", "kill", "nothing_left_behind", "open_files"]

LIMIT = 10.0
"""The time limit of each call, in seconds."""
SLACK = 5.0
"""Seconds by which a call may overrun its limit on a busy machine before it counts as hanging."""
DELAY = 0.001
"""By which the proxy passes bytes on later, in seconds."""
CALIBRATIONS = 5
"""Calls that are not struck, to learn how long one takes."""

Errors = tuple[type[BaseException], ...]


@dataclass
class Report:
    """What came of one kind of call."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """How often a call returned, or raised an error of a class."""
    longest_call: float = 0.0
    """Seconds."""
    longest_return: float = 0.0
    """Seconds from the end of the call until the client was usable again, or known to have ended."""
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        outcomes = ", ".join(f"{name} {number}" for name, number in self.outcomes.most_common())
        return f"longest call {self.longest_call:.2f} s, longest return {self.longest_return:.2f} s: {outcomes}"


class Stage:
    """One emulator, the peer, the proxy, and the client that is struck."""

    def __init__(self, emulator: Emulator, proxy: TcpProxy, *, reconnects: bool) -> None:
        self.emulator = emulator
        self.proxy = proxy
        self.reconnects = reconnects
        self.numbers = count()
        self.room: Any = None
        self.peer: Any = None
        """The client's view of the peer."""
        self.received: list[int] = []
        """Numbers of messages, as the peer received them."""
        self.streams: dict[int, tuple[list[int], str]] = {}
        """Of each stream that the peer read to its end: the parts, and the error that ended it, or "whole"."""
        self.made: dict[int, BaseException | None] = {}
        """What became of each message or stream of the client's."""
        self.other = self.join("peer", emulator.port)
        self.other.messaging.on_message("note", lambda event: self.received.append(event.message.message["n"]))
        self.other.messaging.enable(self._read)

    def join(self, name: str, port: int, *, reconnect: bool = True) -> RoomClient:
        token = self.emulator.token("lab", name)
        url = f"ws://127.0.0.1:{port}"
        return meshsync.connect("lab", url=url, token=token, timeout=LIMIT, default_timeout=LIMIT, reconnect=reconnect)

    def connect(self) -> RoomClient:
        """Join through the proxy."""
        return self.join("victim", self.proxy.port, reconnect=self.reconnects)

    def create_stream(self, number: int) -> Any:
        """Offer the peer a stream, which it does not wait for if the client never comes back: it reads only so many."""
        resume_for = "default" if self.reconnects else 0.2
        return self.room.messaging.create_stream(self.peer, {"n": number}, resume_for=resume_for)

    def _read(self, reader: Any) -> None:
        parts: list[int] = []
        end = "whole"
        try:
            parts.extend(chunk.header["part"] for chunk in reader)
        except MeshsyncError as error:
            end = type(error).__name__
        self.streams[reader.header["n"]] = (parts, end)


class Kind:
    """One kind of call. Subclasses say how it is made, and how it may end."""

    name = ""
    errors: Errors = ()
    """Those documented for a client that does not come back."""
    errors_back: Errors = ()
    """Those documented for a client that comes back."""
    is_enabled = True
    """Whether messaging is enabled before the call."""
    ends_client = False
    """Whether each round has a client of its own also where it comes back."""

    def prepare(self, stage: Stage) -> None:
        """Before the clock runs."""

    def call(self, stage: Stage) -> None:
        """Do what is struck."""
        raise NotImplementedError

    def check(self, stage: Stage) -> Iterator[str]:
        """Yield what is wrong with the records, when all has come to rest."""
        return iter(())


class Connect(Kind):
    name = "connect"
    errors = errors_back = (ConnectFailed,)
    ends_client = True

    def call(self, stage: Stage) -> None:
        stage.room = stage.connect()


class Enable(Kind):
    name = "enable"
    errors = (ConnectionLost,)
    is_enabled = False

    def call(self, stage: Stage) -> None:
        stage.room.messaging.enable()


class Disable(Kind):
    name = "disable"
    errors = (ConnectionLost,)

    def call(self, stage: Stage) -> None:
        stage.room.messaging.disable()


class SetAttribute(Kind):
    name = "set_attribute"
    errors = (ConnectionLost,)

    def call(self, stage: Stage) -> None:
        for n in range(20):  # None of them waits for the room.
            stage.room.local_participant.set_attribute("mood", n)


class Close(Kind):
    name = "close"
    ends_client = True

    def call(self, stage: Stage) -> None:
        for n in range(5):
            with suppress(NotSent, meshsync.NotEnabled):
                stage.room.messaging.send_message_nowait(stage.peer, "late", {"n": n})
        stage.room.close(LIMIT)
        if str(stage.room.state) not in ("closed", "lost"):
            raise AssertionError(f"close() returned while {stage.room.state}")


class SendMessage(Kind):
    name = "send_message"
    errors = (NotSent, DeliveryUnknown)
    errors_back = (DeliveryUnknown,)

    def send(self, stage: Stage, n: int) -> None:
        stage.room.messaging.send_message(stage.peer, "note", {"n": n}, bytes(2000))

    def call(self, stage: Stage) -> None:
        n = next(stage.numbers)
        stage.made[n] = None
        try:
            self.send(stage, n)
        except BaseException as error:
            stage.made[n] = error
            raise

    def check(self, stage: Stage) -> Iterator[str]:
        times = Counter(stage.received)
        if stage.received != sorted(stage.received):
            yield "out of order"
        for n, error in stage.made.items():
            allowed = (1,) if error is None else (0,) if isinstance(error, NotSent) else (0, 1)
            if times[n] not in allowed:
                yield f"message {n} came {times[n]} times, and its sender got {error!r}"


class SendAndWait(SendMessage):
    name = "send_message_nowait, wait"

    def send(self, stage: Stage, n: int) -> None:
        stage.room.messaging.send_message_nowait(stage.peer, "note", {"n": n}, bytes(2000)).wait(LIMIT)


class BroadcastMessage(SendMessage):
    name = "broadcast_message"

    def send(self, stage: Stage, n: int) -> None:
        stage.room.messaging.broadcast_message("note", {"n": n}, bytes(2000))


class CreateStream(Kind):
    name = "create_stream"
    errors = errors_back = (ConnectionLost, StreamInterrupted)

    def prepare(self, stage: Stage) -> None:
        if (writer := getattr(self, "writer", None)) is not None:
            writer.abort()  # Its peer has only so many tasks that read.

    def call(self, stage: Stage) -> None:
        self.writer = stage.create_stream(next(stage.numbers))


class Write(Kind):
    name = "write, close"
    errors = errors_back = (StreamInterrupted,)

    def prepare(self, stage: Stage) -> None:
        self.number = next(stage.numbers)
        self.writer = stage.create_stream(self.number)

    def call(self, stage: Stage) -> None:
        try:
            for part in range(20):
                self.writer.write(MessageStreamChunk({"part": part}, bytes(3000)))
            self.writer.close()
            stage.made[self.number] = None
        except BaseException as error:
            stage.made[self.number] = error
            raise

    def check(self, stage: Stage) -> Iterator[str]:
        for n, error in stage.made.items():
            parts, end = stage.streams.get(n, ([], "nothing"))
            if parts != list(range(len(parts))):
                yield f"stream {n} has a hole: {parts}"
            if end == "whole" and len(parts) != 20:
                yield f"stream {n} ended regularly after {len(parts)} parts of 20"
            if error is None and end != "whole":
                yield f"stream {n} was closed, and its reader got {end}"


class Read(Kind):
    name = "read"
    errors = errors_back = (StreamInterrupted,)

    def prepare(self, stage: Stage) -> None:
        with stage.room.messaging.streams() as offers:
            me = stage.other.messaging.wait_for_participant(
                where=lambda one: one.id == stage.room.local_participant.id, timeout=LIMIT
            )
            self.writing = start(self._write, stage, me)
            self.reader: Any = offers.get(LIMIT)
            self.reader.accept()

    def _write(self, stage: Stage, me: Any) -> None:
        with suppress(MeshsyncError):
            writer = stage.other.messaging.create_stream(me)
            for part in range(20):
                writer.write(MessageStreamChunk({"part": part}, bytes(3000)))
            writer.close()

    def call(self, stage: Stage) -> None:
        parts: list[int] = []
        try:
            while (chunk := self.reader.read(LIMIT)) is not None:
                parts.append(chunk.header["part"])
            if len(parts) != 20:
                raise AssertionError(f"it ended regularly after {len(parts)} parts of 20")
        finally:
            if parts != list(range(len(parts))):
                raise AssertionError(f"it has a hole: {parts}")


class Wait(Kind):
    """Waits that live on where the client does, so that what the peer does later ends them."""

    name = "wait_for_participant, messages.get"
    errors = (ConnectionLost,)

    def prepare(self, stage: Stage) -> None:
        self.number = next(stage.numbers)
        self.messages = stage.room.messaging.messages("tick")
        self.is_over = threading.Event()
        self.ticking = start(self._tick, stage)

    def _tick(self, stage: Stage) -> None:
        while not self.is_over.wait(0.003):
            stage.other.messaging.broadcast_message_nowait("tick", {"n": self.number})
            stage.other.local_participant.set_attribute("number", self.number)

    def call(self, stage: Stage) -> None:
        try:
            with self.messages:
                if self.number % 2:
                    while self.messages.get(LIMIT).message["n"] != self.number:
                        pass
                else:
                    stage.room.messaging.wait_for_participant(where=self._is_it, timeout=LIMIT)
        finally:
            self.is_over.set()
            self.ticking.result(LIMIT)

    def _is_it(self, participant: Any) -> bool:
        return participant.attributes.get("number") == self.number


KINDS: dict[str, Callable[[], Kind]] = {
    kind.name: kind
    for kind in (
        Connect,
        Enable,
        Disable,
        SendMessage,
        SendAndWait,
        BroadcastMessage,
        CreateStream,
        Write,
        Read,
        Wait,
        Close,
        SetAttribute,
    )
}


def kill(name: str, rounds: int, seed: int, *, reconnects: bool) -> Report:
    """Strike one kind of call so many times; return what came of it."""
    kind, chance, report = KINDS[name](), Random(seed), Report()
    with nothing_left_behind(report), Emulator() as emulator, TcpProxy(emulator.port) as proxy:
        proxy.delay(DELAY)
        stage = Stage(emulator, proxy, reconnects=reconnects)
        try:
            durations = [_round(kind, stage, None, report) for _ in range(CALIBRATIONS)]
            report.outcomes.clear()
            usual = sorted(durations)[CALIBRATIONS // 2]
            for _ in range(rounds):
                _round(kind, stage, chance.uniform(0, 1.2 * usual), report)
            if stage.room is not None:
                stage.room.close(LIMIT)
            meshsync.sleep(0.1)  # What arrived at the room before the reset is on its way to the peer.
            settle(stage.other)
            report.violations += kind.check(stage)
        finally:
            stage.other.close(LIMIT)
            if stage.room is not None:
                stage.room.close(0)
    return report


def _round(kind: Kind, stage: Stage, delay: float | None, report: Report) -> float:
    """Make one call and strike it after ``delay`` seconds; return how long it took."""
    _make_ready(kind, stage)
    accepted, room = stage.proxy.accepted, stage.room
    killing = None if delay is None else start(_reset, stage.proxy, delay)
    begun = time.monotonic()
    calling: Future[None] = start(kind.call, stage)
    error: BaseException | None = None
    try:
        error = calling.exception(LIMIT + SLACK)
    except TimeoutError:
        report.violations.append(f"it hangs:\n{_stacks()}")
        raise AssertionError(report.violations[-1]) from None
    took = time.monotonic() - begun
    report.longest_call = max(report.longest_call, took)
    allowed = kind.errors_back if stage.reconnects else kind.errors
    if error is not None and not isinstance(error, allowed):
        report.violations.append(f"{kind.name} raised {error!r}, with {error.__cause__!r} as its cause")
    report.outcomes["returned" if error is None else type(error).__name__] += 1
    if killing is not None:
        killing.result(LIMIT)
    begun = time.monotonic()
    was_struck = killing is not None and room is not None
    if complaint := _await_rest(kind, stage, accepted if was_struck else None):
        report.violations.append(f"{complaint}, after {error!r}")
    report.longest_return = max(report.longest_return, time.monotonic() - begun)
    return took


def _reset(proxy: TcpProxy, delay: float) -> None:
    time.sleep(delay)
    proxy.reset()


def _make_ready(kind: Kind, stage: Stage) -> None:
    if isinstance(kind, Connect):
        stage.room = None
        return
    if stage.room is None or kind.ends_client or not stage.room.is_connected:
        stage.room = stage.connect()
    messaging = stage.room.messaging
    if kind.is_enabled:
        messaging.enable()
        stage.peer = messaging.wait_for_participant("peer", timeout=LIMIT)
    else:
        messaging.disable()
    kind.prepare(stage)


def _await_rest(kind: Kind, stage: Stage, accepted: int | None) -> str:
    """Wait until the client has come back or ended; return what is wrong with it.

    Args:
        accepted: The connections up to that which was reset; None if none was, or none for certain.
    """
    room = stage.room
    if room is None:
        return ""  # It did not connect.
    limit = time.monotonic() + LIMIT
    if kind.name == "close" or (accepted is not None and not stage.reconnects):
        try:
            has_ended = room.wait_closed(LIMIT)
        except ConnectionLost:
            has_ended = True
        room.close()
        return "" if has_ended and room.state in ("closed", "lost") else f"it has not ended: {room!r}"
    if stage.reconnects:
        while not room.is_connected or (accepted is not None and stage.proxy.accepted <= accepted):
            room.reconnect_now()
            if time.monotonic() > limit or room.state in ("closed", "lost"):
                return f"it does not come back: {room!r}"
            time.sleep(0.002)
    complaint = ""
    try:
        room.messaging.enable()
        room.messaging.send_message(room.local_participant, "usable", {})
    except MeshsyncError as error:
        # After a strike that may have missed the handshake, the connection may have been struck just now.
        if accepted is not None or stage.reconnects or not isinstance(error, ConnectionLost):
            complaint = f"it is not usable: {error!r}"
    if kind.ends_client or (not stage.reconnects and accepted is not None):
        room.close()
    return complaint


# --- what is left -----------------------------------------------------------------------------------------------------


def open_files() -> int:
    """Return how many files this process has open; 0 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


@contextmanager
def nothing_left_behind(report: Report) -> Iterator[None]:
    """Note as violations threads of clients and files that are there afterwards and were not before."""
    before = open_files()
    yield
    limit = time.monotonic() + LIMIT
    while time.monotonic() < limit:
        threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("meshsync ")]
        files = open_files()
        if not threads and files <= before:
            return
        time.sleep(0.02)
    report.violations.append(f"left behind: {files} files, were {before}; threads {threads}")


def _stacks() -> str:
    import sys
    import traceback

    names: dict[int | None, str] = defaultdict(str, {one.ident: one.name for one in threading.enumerate()})
    frames = sys._current_frames().items()
    return "\n".join(f"{names[ident]}:\n{''.join(traceback.format_stack(frame))}" for ident, frame in frames)
