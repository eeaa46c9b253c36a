"""A client has one clock: what is put around its streams lives in its runtime, in whichever task or world."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

from meshsync import world as worlds
from meshsync.files import receive_file, send_file
from meshsync.filters.buffering import buffered
from meshsync.filters.compression import compression
from meshsync.filters.encryption import encryption
from meshsync.filters.negotiation import accept_filtered, open_filtered
from meshsync.protocol.operations import Send
from meshsync.runtime.interfaces import Runtime
from meshsync.runtime.threads import ThreadCondition, ThreadRuntime
from meshsync.transport.interfaces import Endpoint
from meshsync.world import World, runtime_of
from tests.support.scripted import PATIENCE
from tests.support.switchboard import connect_two

FILTERS = [compression(), encryption(bytes(range(32)))]


class RecordingRuntime(ThreadRuntime):
    """Real threads; notes what was made, asked and drawn, and draws bytes that tell whose they are."""

    def __init__(self, mark: int) -> None:
        super().__init__()
        self.mark = mark
        self.conditions = self.readings = 0
        self.spawned: list[str] = []
        self.drawn: list[int] = []
        """The sizes in bytes."""

    def monotonic(self) -> float:
        self.readings += 1
        return super().monotonic()

    def condition(self) -> ThreadCondition:
        self.conditions += 1
        return super().condition()

    def spawn(self, target: Callable[[], None], *, name: str) -> Any:
        self.spawned.append(name)
        return super().spawn(target, name=name)

    def entropy(self, size: int) -> bytes:
        self.drawn.append(size)
        return bytes([self.mark]) * size if size == 32 else super().entropy(size)


class NoRuntime(ThreadRuntime):
    """The runtime of a world in which nothing is to happen."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise AssertionError(f"the world of the calling task was asked for {name}")


def no_connector(endpoint: Endpoint, runtime: Runtime) -> NoReturn:
    """Refuse to join rooms of that world."""
    raise AssertionError("the world of the calling task was asked for a connection")


@pytest.fixture
def runtimes(monkeypatch: pytest.MonkeyPatch) -> tuple[RecordingRuntime, RecordingRuntime]:
    """Return Alice's and Bob's runtimes, in a process where every task's own world is unusable."""
    monkeypatch.setattr(worlds, "REAL_WORLD", World(NoRuntime(), no_connector, {}))
    return RecordingRuntime(1), RecordingRuntime(2)


def test_filters_and_buffering_use_the_runtime_of_the_client(
    runtimes: tuple[RecordingRuntime, RecordingRuntime],
) -> None:
    """Conditions, delays, tasks and salts, at both ends; the salts of the two differ by whose client drew them."""
    alice, bob = connect_two(*runtimes)
    with alice, bob:
        bob.messaging.enable(lambda reader: answer(accept_filtered(reader, FILTERS)))
        to = alice.messaging.wait_for_participant(name="bob", timeout=PATIENCE)
        before = runtimes[0].conditions
        opened = open_filtered(alice.messaging.create_stream, to, {}, filters=FILTERS)
        with buffered(opened, max_delay=0) as writer:
            assert runtime_of(writer) is runtime_of(writer.reader) is runtimes[0]
            assert runtimes[0].conditions > before
            readings = runtimes[0].readings
            writer.write(b"question", timeout=PATIENCE)
            got = writer.reader.read(PATIENCE)
            assert got is not None and got.data == b"answer to question"
            assert runtimes[0].readings > readings
    assert any(name.startswith("hand on what is written") for name in runtimes[0].spawned)
    sent = [
        [m for _, m in room._meshsync.connection._transport.requests if isinstance(m, Send)] for room in (alice, bob)
    ]
    entries = sent[0][0].message["header"]["meshsync.filters"]
    assert entries[1]["salt"] == b64encode(b"\1" * 32).decode()
    (salted,) = [send.message["header"] for send in sent[1] if "salt" in send.message.get("header", {})]
    assert salted["salt"] == b64encode(b"\2" * 32).decode()


def answer(reader: Any) -> None:
    """Answer the first chunk of a stream, and read to its end."""
    with buffered(reader.writer, max_delay=0) as writer:
        writer.write(b"answer to " + bytes(reader.read(PATIENCE).data))
        writer.flush(timeout=PATIENCE)
        assert reader.read_all(PATIENCE) == b""


@pytest.mark.parametrize("bind", [lambda method: method, lambda method: partial(partial(method, kind="classic"))])
def test_salts_are_those_of_the_client_though_the_method_has_arguments_bound(
    runtimes: tuple[RecordingRuntime, RecordingRuntime], bind: Callable[[Any], Any]
) -> None:
    """What is announced is drawn before there is a stream, from the client whose method opens it."""
    alice, bob = connect_two(*runtimes)
    with alice, bob:
        bob.messaging.enable(lambda reader: accept_filtered(reader, FILTERS))
        to = alice.messaging.wait_for_participant(name="bob", timeout=PATIENCE)
        open_filtered(bind(alice.messaging.create_stream), to, {}, filters=FILTERS).abort()
    assert runtimes[0].drawn.count(32) == 1


def test_files_use_the_runtime_of_the_client(
    runtimes: tuple[RecordingRuntime, RecordingRuntime], tmp_path: Path
) -> None:
    """The temporary name is drawn from the receiver's, and the time limits are counted on the sender's."""
    (tmp_path / "here").mkdir()
    (tmp_path / "sent").write_bytes(b"data" * 1000)
    alice, bob = connect_two(*runtimes)
    with alice, bob:
        bob.messaging.enable(lambda reader: receive_file(reader, tmp_path / "here", timeout=PATIENCE))
        to = alice.messaging.wait_for_participant(name="bob", timeout=PATIENCE)
        before = runtimes[1].drawn.count(8)
        assert send_file(alice.messaging, tmp_path / "sent", to, confirm=True, timeout=PATIENCE).is_confirmed
        assert runtimes[1].drawn.count(8) > before
    assert (tmp_path / "here" / "sent").read_bytes() == b"data" * 1000


class OwnWriter:
    """A program's own writer around one of ours: it passes on what is asked of it, and has no runtime."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.reader = inner.reader
        self.stream_id = inner.stream_id
        self.to = inner.to
        self.write = inner.write
        self.flush = inner.flush
        self.close = inner.close
        self.abort = inner.abort


class MarkedWriter(OwnWriter):
    """One that stores something else under the name of our runtime."""

    _runtime = "mine"


class OwnReader:
    """A program's own reader, of whose stream the writer alone shows the runtime."""

    def __init__(self, inner: Any) -> None:
        self.writer = inner.writer


@pytest.mark.parametrize("kind", [OwnWriter, MarkedWriter])
def test_what_is_put_around_a_programs_own_writer_has_the_clock_of_its_reader(
    runtimes: tuple[RecordingRuntime, RecordingRuntime], kind: type[OwnWriter]
) -> None:
    """The other end of the stream shows the client, and so does the other end of a program's own reader."""
    alice, bob = connect_two(*runtimes)
    with alice, bob:
        bob.messaging.enable(lambda reader: reader.read_all(PATIENCE))
        to = alice.messaging.wait_for_participant(name="bob", timeout=PATIENCE)
        own: Any = kind(alice.messaging.create_stream(to, {}))
        with buffered(own, max_delay=0) as writer:
            assert runtime_of(own) is runtime_of(writer) is runtime_of(OwnReader(own.reader)) is runtimes[0]
            writer.write(b"data", timeout=PATIENCE)
