"""Streams under real threads: many writers, and exceptions that strike who waits."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from meshsync import MeshsyncError, MessageStreamChunk, StreamError, StreamRejected, UsageError
from meshsync.streams.incoming import Incoming
from meshsync.streams.stream import ClientStream
from simulator import Emulator
from tests.support.rooms import PATIENCE, Join, start
from tests.threads.test_client_threads import await_frame, interrupt


def pair(join: Join, **options: Any) -> tuple[Any, Any, Any, Any]:
    """Return a writer and the reader of its stream, accepted, and their clients."""
    alice, bob = join("alice"), join("bob")
    offers = bob.messaging.streams()
    to = alice.messaging.wait_for_participant(name="bob", timeout=PATIENCE)
    opening = start(alice.messaging.create_stream, to, **options)
    reader: Any = offers.get(PATIENCE)
    reader.accept()
    offers.close()
    return opening.result(PATIENCE), reader, alice, bob


def test_many_threads_write_one_stream(join: Join) -> None:
    """Chunks stay whole; those of one thread come in its order, and all of them come."""
    writer, reader, *_ = pair(join)

    def write(who: int) -> None:
        for n in range(200):
            writer.write(MessageStreamChunk({"who": who, "n": n}, bytes([who]) * (n * 31 % 3000)))

    reading = start(list, reader)
    writing = [start(write, who) for who in range(8)]
    for task in writing:
        task.result(30)
    writer.close()
    chunks: list[Any] = reading.result(30)
    assert len(chunks) == 8 * 200
    for who in range(8):
        mine = [chunk for chunk in chunks if chunk.header["who"] == who]
        assert [chunk.header["n"] for chunk in mine] == list(range(200))
        assert all(bytes(chunk.data) == bytes([who]) * (chunk.header["n"] * 31 % 3000) for chunk in mine)


def test_an_exception_that_strikes_a_waiting_reader_loses_no_chunk(join: Join) -> None:
    """Nor does it keep others from reading; again and again."""
    writer, reader, *_ = pair(join)
    got: list[int] = []
    struck = threading.Semaphore(0)

    def read() -> None:
        while True:
            try:
                chunk = reader.read()
                if chunk is None:
                    return
                got.append(chunk.header["n"])
            except KeyboardInterrupt:
                struck.release()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    for n in range(20):
        await_frame(thread, Incoming.read)
        interrupt(thread)
        writer.write(MessageStreamChunk({"n": n}))  # What strikes in a lock is raised when the lock is there.
        assert struck.acquire(timeout=PATIENCE)
    writer.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert got == list(range(20))


def test_an_exception_that_strikes_an_opener_leaves_nothing_behind(join: Join) -> None:
    """The program of the peer learns that no task waits any more."""
    alice, bob = join("alice"), join("bob")
    with bob.messaging.streams() as offers:
        to = alice.messaging.wait_for_participant(name="bob", timeout=PATIENCE)
        outcome: list[BaseException] = []

        def open() -> None:
            try:
                alice.messaging.create_stream(to)
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=open, daemon=True)
        thread.start()
        reader: Any = offers.get(PATIENCE)
        await_frame(thread, ClientStream.wait_answer)
        interrupt(thread)
        stream = next(iter(alice.messaging._meshsync.streams.streams))
        with stream.life.condition:
            stream.life.condition.notify_all()  # So that it wakes, and is struck.
        thread.join(PATIENCE)
        assert isinstance(outcome[0], KeyboardInterrupt)
        with pytest.raises(StreamError, match=r"gave up the stream|the offer was withdrawn"):
            while True:
                reader.accept()
                time.sleep(0.01)
    assert alice.messaging._meshsync.streams.streams == ()


@pytest.mark.parametrize("end", ["close", "drop"])
def test_an_end_wakes_every_thread_that_waits_on_a_stream(join: Join, emulated: Emulator, end: str) -> None:
    """Readers, writers without credit and openers, at both sides, in less than a few seconds."""
    writer, reader, alice, bob = pair(join, resume_for=0)
    quiet = start(reader.read)
    to = alice.messaging.wait_for_participant(name="bob")
    with bob.messaging.streams() as offers:
        opening = start(alice.messaging.create_stream, to, resume_for=0)
        offers.get(PATIENCE)

        def fill() -> None:
            while True:
                reader.writer.write(bytes(100_000), timeout=None)

        stuck = start(fill)
        await_that(lambda: writer._stream.account.unread > 200_000)
        if end == "close":
            alice.close()
        else:
            emulated.drop("alice")
        for waiting in (quiet, opening, stuck):
            with pytest.raises(MeshsyncError):
                waiting.result(PATIENCE)


def test_streams_opened_and_closed_by_many_threads_leave_nothing(join: Join) -> None:
    """Half of them rejected, all over one connection each."""
    alice, bob = join("alice"), join("bob", enable=False)
    got: list[bytes] = []

    def take(reader: Any) -> None:
        if reader.header["n"] % 2:
            raise StreamRejected("odd")
        got.append(reader.read_all(PATIENCE))

    bob.messaging.enable(take)
    to = alice.messaging.wait_for_participant(name="bob", timeout=PATIENCE)
    rejected: list[str] = []

    def send(who: int) -> None:
        for n in range(10):
            try:
                with alice.messaging.create_stream(to, {"n": n}) as writer:
                    for _ in range(3):
                        writer.write(bytes([who, n]))
            except StreamRejected as error:
                rejected.append(str(error))

    for task in [start(send, who) for who in range(8)]:
        task.result(30)
    await_that(lambda: not bob.messaging._meshsync.streams.streams and not bob.messaging._meshsync.streams.callbacks)
    assert alice.messaging._meshsync.streams.streams == ()
    assert sorted(got) == sorted(bytes([who, n]) * 3 for who in range(8) for n in range(0, 10, 2))
    assert rejected == ["odd"] * 40


def await_that(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def short_switches() -> Iterator[None]:
    """Have threads take turns as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("short_switches")
def test_writes_that_returned_are_there_before_the_end_that_another_thread_makes(join: Join) -> None:
    """Four threads write until they are refused, while one closes: in 40 streams, none loses a chunk."""
    alice, bob = join("alice"), join("bob", enable=False)
    got: dict[int, list[tuple[int, int]]] = {}

    def take(reader: Any) -> None:
        got[reader.header["stream"]] = [tuple(chunk.header["id"]) for chunk in reader]

    bob.messaging.enable(take)
    to = alice.messaging.wait_for_participant(name="bob", timeout=PATIENCE)
    for number in range(40):
        writer = alice.messaging.create_stream(to, {"stream": number})
        begun = threading.Semaphore(0)

        def write(who: int, writer: Any = writer, begun: threading.Semaphore = begun) -> int:
            for n in count():
                try:
                    writer.write(MessageStreamChunk({"id": [who, n]}, b"x"))
                except UsageError:
                    return n
                begun.release()
            raise AssertionError

        writing = [start(write, who) for who in range(4)]
        begun.acquire()
        writer.close()
        written = {(who, n) for who, task in enumerate(writing) for n in range(task.result(PATIENCE))}
        await_that(lambda number=number: number in got)  # type: ignore[misc]
        assert set(got[number]) == written
        assert len(got[number]) == len(written)
