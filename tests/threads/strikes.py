"""Ctrl-C at random moments of one kind of work, again and again: a program, run in a process of its own.

Its main thread works until a timer's signal strikes, which knows no safe moments. ``python -m tests.threads.strikes
KIND ROUNDS SEED`` prints a `Report` as JSON.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import meshsync
from meshsync import MeshsyncError, MessageStreamChunk, RoomClient, StreamInterrupted
from simulator import Emulator
from tests.support.rooms import settle
from tests.threads.kills import open_files

__all__ = ["KINDS", "Report", "strike"]

PATIENCE = 20.0
"""The longest wait for what is due, in seconds."""
LONGEST_ROUND = 1.5 * PATIENCE
"""The longest round, in seconds, before this process tells where each of its threads is, and ends."""
LONGEST = 0.02
"""The longest time until a strike, in seconds: several turns of each kind of work."""
RESULT_IS_LOST = sys.version_info < (3, 11)
"""Whether signals are handled when a function in Python has returned, so that the program's own line may lose it."""


@dataclass
class Report:
    """What came of one kind of work."""

    struck: int = 0
    lost: int = 0
    """After how many strikes the client had to make another connection, or a stream was given up."""
    times: list[float] = field(default_factory=list)
    """Seconds from each strike until the client was known to be usable, or gone."""
    violations: list[str] = field(default_factory=list)


class Work:
    """One kind: what is done, and what must hold after each strike and at the end."""

    def __init__(self, emulator: Emulator, report: Report) -> None:
        self.emulator = emulator
        self.report = report
        self.other = self.join("peer")
        self.room = self.join("victim")
        self.connections = 0

    def join(self, name: str) -> RoomClient:
        token = self.emulator.token("lab", name)
        room = meshsync.connect("lab", url=self.emulator.url, token=token, default_timeout=PATIENCE)
        room.messaging.enable(self.accept)
        return room

    def accept(self, reader: Any) -> None:
        """Take a stream."""

    def turn(self) -> None:
        """Do a bit of work; struck."""

    def recover(self) -> None:
        """Go on after a strike."""
        self.await_usable()

    def await_usable(self) -> None:
        if self.room.state == "offline":
            self.report.lost += 1
        self.room.messaging.enable()
        self.room.messaging.send_message(self.room.local_participant, "usable", {})

    def check(self) -> None:
        """Look at the records when all is over."""

    def violated(self, text: str) -> None:
        self.report.violations.append(f"strike {self.report.struck}: {text}")

    def await_that(self, is_so: Callable[[], bool], what: str) -> None:
        limit = time.monotonic() + PATIENCE
        while not is_so():
            if time.monotonic() > limit:
                self.violated(f"{what}; there are {_threads('')}")
                return
            time.sleep(0.001)


class Send(Work):
    """Messages, of which none comes twice, none out of order, and all that were acknowledged."""

    def __init__(self, emulator: Emulator, report: Report) -> None:
        super().__init__(emulator, report)
        self.number = 0
        self.acknowledged: list[int] = []
        self.received: list[int] = []
        self.other.messaging.on_message("note", lambda event: self.received.append(event.message.message["n"]))
        self.peer = self.room.messaging.wait_for_participant("peer", timeout=PATIENCE)

    def turn(self) -> None:
        self.number += 1
        self.room.messaging.send_message(self.peer, "note", {"n": self.number}, bytes(3000))
        self.acknowledged.append(self.number)

    def check(self) -> None:
        settle(self.other)
        if self.received != sorted(set(self.received)):
            doubled = [n for n, times in Counter(self.received).items() if times > 1]
            self.violated(f"twice: {doubled}, or out of order")
        if missing := set(self.acknowledged) - set(self.received):
            self.violated(f"acknowledged and not received: {sorted(missing)}")
        stats = self.room.stats()
        if stats.pending or stats.bytes_unacknowledged:
            self.violated(f"left behind: {stats}")


class SendConfirmed(Send):
    """Likewise messages that are confirmed."""

    def turn(self) -> None:
        self.number += 1
        self.room.messaging.send_message(self.peer, "note", {"n": self.number}, bytes(3000), confirm=True)
        self.acknowledged.append(self.number)

    def recover(self) -> None:
        super().recover()
        self.room.messaging.send_message(self.peer, "still here", {}, confirm=True, timeout=PATIENCE)


class Ask(Work):
    """Questions, each of which gets its own answer, and none of which is handled twice or kept for ever."""

    def __init__(self, emulator: Emulator, report: Report) -> None:
        super().__init__(emulator, report)
        self.number = 0
        self.handled: list[int] = []
        self.other.messaging.on_request("double", self._double)
        self.peer = self.room.messaging.wait_for_participant("peer", timeout=PATIENCE)

    def _double(self, event: Any) -> dict[str, int]:
        n = event.message.message["n"]
        self.handled.append(n)
        return {"double": 2 * n}

    def turn(self) -> None:
        self.number += 1
        n = self.number
        doubled = self.room.messaging.ask(self.peer, "double", {"n": n}, bytes(3000)).message["double"]
        if doubled != 2 * n:
            self.violated(f"the answer to {n} is {doubled}")

    def recover(self) -> None:
        super().recover()
        self.turn()

    def check(self) -> None:
        doubled = [n for n, times in Counter(self.handled).items() if times > 1]
        if doubled or self.handled[-1] != self.number:
            self.violated(f"handled twice: {doubled}; the last is {self.handled[-1]} of {self.number}")
        asking, answering = self.room._meshsync.asking, self.other._meshsync.answering
        self.await_that(lambda: not asking._asked, "questions are kept whose callers were struck")
        self.await_that(lambda: not answering._open, "questions stay open that were answered")
        if left := self.room._meshsync.router.stats().subscriptions:
            self.violated(f"{left} questions are offered messages")


class SendLocked(Send):
    """Likewise where each is sent within a lock, which another thread wants, too."""

    def __init__(self, emulator: Emulator, report: Report) -> None:
        super().__init__(emulator, report)
        self.lock = meshsync.Lock()
        self.is_over = meshsync.Event()
        self.wanting = threading.Thread(target=self._want)
        self.wanting.start()

    def _want(self) -> None:
        while not self.is_over.wait(0.0005):
            with self.lock:
                self.room.stats()

    def turn(self) -> None:
        with self.lock:
            super().turn()

    def recover(self) -> None:
        super().recover()
        if not self.lock.acquire(timeout=PATIENCE):
            self.violated("the lock stays held")
        self.lock.release()

    def check(self) -> None:
        super().check()
        self.is_over.set()
        self.wanting.join(PATIENCE)
        if self.wanting.is_alive():
            self.violated("the other thread waits for ever")


class Streaming(Work):
    """One stream at a time, whose both ends this process has."""

    def __init__(self, emulator: Emulator, report: Report) -> None:
        self.got: list[int] = []
        self.writer: Any = None
        self.reader: Any = None
        super().__init__(emulator, report)

    def open(self, source: RoomClient, target: RoomClient) -> None:
        self.got = []
        with target.messaging.streams() as offers:
            to = source.messaging.wait_for_participant(target.local_participant.name, timeout=PATIENCE)
            opening = threading.Thread(target=lambda: setattr(self, "writer", source.messaging.create_stream(to)))
            self.writer = None
            opening.start()
            self.reader = offers.get(PATIENCE)
            self.reader.accept()
            opening.join(PATIENCE)

    def check_window(self) -> None:
        """When all is read: what the writer may send and what the reader owes it are the window together."""
        writing, reading = self.writer._stream, self.reader._stream
        self.await_that(
            lambda: (
                writing.account._room + reading.account.owed == reading.account.window and not reading.account.unread
            ),
            f"the window is not whole: room {writing.account._room}, owed {reading.account.owed}, "
            f"unread {reading.account.unread}, window {reading.account.window}",
        )
        if self.writer._ends.outgoing._unacknowledged_size or self.writer._ends.outgoing._unacknowledged:
            self.violated("bytes of the stream count as unacknowledged")

    def check_order(self) -> None:
        if self.got != list(range(len(self.got))):
            holes = [n for place, n in enumerate(self.got) if n != place][:3]
            self.violated(f"the stream has a hole or a chunk twice near {holes}")


class Write(Streaming):
    """Chunks, of which those that count as sent come once and in order."""

    def __init__(self, emulator: Emulator, report: Report) -> None:
        super().__init__(emulator, report)
        self.begin()

    def begin(self) -> None:
        self.open(self.room, self.other)
        self.end: list[str] = []
        self.reading = threading.Thread(target=self._read, args=(self.reader, self.got, self.end))
        self.reading.start()

    def _read(self, reader: Any, got: list[int], end: list[str]) -> None:
        try:
            got.extend(chunk.header["n"] for chunk in reader)
            end.append("whole")
        except MeshsyncError as error:
            end.append(type(error).__name__)

    def turn(self) -> None:
        self.writer.write(MessageStreamChunk({"n": self.writer._sent}, bytes(3000)))

    def recover(self) -> None:
        super().recover()
        if self.writer._stream.life.phase.is_over or not self.reading.is_alive():
            self.report.lost += 1
            self.reading.join(PATIENCE)
            self.check_order()
            if self.end != ["StreamInterrupted"]:
                self.violated(f"its reader got {self.end}")
            try:
                self.writer.write(b"")
                self.violated("its writer still writes")
            except MeshsyncError:
                pass
            self.begin()
            return
        self.writer.flush()
        self.await_that(lambda: len(self.got) == self.writer._sent, "chunks that were sent do not come")
        self.check_order()
        self.check_window()

    def check(self) -> None:
        self.writer.close()
        self.reading.join(PATIENCE)
        if self.end != ["whole"] or len(self.got) != self.writer._sent:
            self.violated(f"{len(self.got)} of {self.writer._sent} chunks, {self.end}")


class Read(Streaming):
    """Chunks, each of which is read once, and its bytes credited."""

    def __init__(self, emulator: Emulator, report: Report) -> None:
        super().__init__(emulator, report)
        self.may_write = threading.Event()
        self.is_resting = threading.Event()
        self.is_over = False
        self.written = 0
        self.begin()

    def begin(self) -> None:
        self.open(self.other, self.room)
        self.written = 0
        self.may_write.set()
        self.writing = threading.Thread(target=self._write, args=(self.writer,))
        self.writing.start()

    def _write(self, writer: Any) -> None:
        try:
            while not self.is_over:
                if not self.may_write.is_set():
                    self.is_resting.set()
                    self.may_write.wait()
                    continue
                writer.write(MessageStreamChunk({"n": self.written}, bytes(3000)))
                self.written += 1
        except MeshsyncError:
            self.is_resting.set()

    def turn(self) -> None:
        chunk = self.reader.read()
        self.got.append(chunk.header["n"])

    def recover(self) -> None:
        super().recover()
        self.is_resting.clear()
        self.may_write.clear()
        missed = 0
        try:
            while not self.is_resting.is_set() or (self.written and self.got[-1:] != [self.written - 1]):
                if self.is_resting.is_set() and not self.writing.is_alive():
                    raise StreamInterrupted("at its writer")
                try:
                    self.got.append(self.reader.read(0.05).header["n"])
                except meshsync.ReceiveTimeout:
                    missed += 1
                    if missed * 0.05 > PATIENCE:
                        self.violated(f"chunks that were written do not come: {self.got[-1:]} of {self.written}")
                        break
        except StreamInterrupted:
            self.report.lost += 1
            self.check_order()
            self.may_write.set()
            self.writing.join(PATIENCE)
            self.begin()
            return
        if RESULT_IS_LOST and self.got == sorted(set(self.got)):
            self.got = list(range(len(self.got)))
        self.check_order()
        self.writer.flush()
        self.check_window()
        self.got = []
        self.written = 0
        self.may_write.set()

    def check(self) -> None:
        self.is_over = True
        self.may_write.set()
        self.reader.close()
        self.writing.join(PATIENCE)


class Enabling(Work):
    """Messaging, taken part in and left."""

    def turn(self) -> None:
        self.room.messaging.enable()
        self.room.messaging.disable()

    def check(self) -> None:
        self.await_usable()
        if not self.room.messaging.is_enabled:
            self.violated("messaging is not enabled")


class Connecting(Work):
    """Clients that come and go, of which none stays."""

    def __init__(self, emulator: Emulator, report: Report) -> None:
        super().__init__(emulator, report)
        self.token = emulator.token("lab", "guest")
        self.guest: Any = None

    def turn(self) -> None:
        self.guest = meshsync.connect("lab", url=self.emulator.url, token=self.token)
        self.guest.close()
        self.guest = None

    def recover(self) -> None:
        if self.guest is not None:
            self.guest.close()
            self.guest.wait_closed(PATIENCE)
            self.guest = None
        self.await_that(lambda: not _threads(" guest "), f"threads are left: {_threads(' guest ')}")
        # Those of an attempt that was given up end by themselves.
        self.await_that(lambda: self.emulator.stats().connections == 2, "connections are left")


KINDS = {
    "send": Send,
    "send, confirmed": SendConfirmed,
    "send, locked": SendLocked,
    "ask": Ask,
    "write": Write,
    "read": Read,
    "enable, disable": Enabling,
    "connect, close": Connecting,
}


def _threads(part: str) -> list[str]:
    # Where Ctrl-C strikes in `Thread.start`, Python lists a thread for ever that was never started.
    there = [one.name for one in threading.enumerate() if one.is_alive()]
    return [name for name in there if name.startswith("meshsync ") and part in name]


class Timer:
    """Strikes the main thread once, after a time."""

    def __init__(self) -> None:
        self.has_struck = False
        signal.signal(signal.SIGALRM, self._strike)

    def _strike(self, *_: object) -> None:
        self.has_struck = True
        raise KeyboardInterrupt

    def work(self, turn: Callable[[], None], seconds: float) -> None:
        """Work until it strikes."""
        self.has_struck = False
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, seconds)
                self._repeat(turn)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            pass

    def _repeat(self, turn: Callable[[], None]) -> None:
        """Work until it strikes. A function of its own: in a `try` Python 3.13 may miss it (python/cpython#130279)."""
        while not self.has_struck:  # Where Python swallows exceptions, as in finalizers, this ends it.
            turn()


def main(name: str, rounds: int, seed: int) -> Report:
    """Strike one kind of work so many times."""
    chance, report, timer = Random(seed), Report(), Timer()
    with Emulator() as emulator:
        files = open_files()
        work = KINDS[name](emulator, report)
        try:
            for _ in range(rounds):
                faulthandler.dump_traceback_later(LONGEST_ROUND, exit=True)
                timer.work(work.turn, chance.uniform(0.00005, LONGEST))
                report.struck += 1
                begun = time.monotonic()
                try:
                    work.recover()
                except MeshsyncError as error:
                    work.violated(f"not usable: {error!r}, {work.room!r}")
                report.times.append(time.monotonic() - begun)
            work.check()
        finally:
            work.room.close()
            work.other.close()
        work.await_that(lambda: not _threads(""), "threads are left")
        work.await_that(lambda: open_files() <= files, "files are left")
    return report


def strike(name: str, rounds: int, seed: int) -> Report:
    """Do as `main` in a process of its own, whose main thread has no other signals than these."""
    command = [sys.executable, "-m", "tests.threads.strikes", name, str(rounds), str(seed)]
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *filter(None, sys.path)])
    done = subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return Report(**json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(asdict(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
