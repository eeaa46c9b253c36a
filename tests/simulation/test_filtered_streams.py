"""Filters on real streams, between simulated clients: the end, errors and both directions pass through."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import meshsync
from examples import filtered_client, own_filter
from examples.filtered_client import FilteredMessaging
from meshsync.errors import StreamCancelled, StreamError, StreamInterrupted, StreamRejected
from meshsync.filters.buffering import buffered
from meshsync.filters.compression import compression
from meshsync.filters.encryption import encryption
from meshsync.filters.negotiation import accept_filtered, open_filtered
from meshsync.streams.interfaces import StreamReader
from simulator import latency
from tests.support.worlds import simulated

KEY = bytes(range(32))
FILTERS = (compression(), encryption(KEY))


def lines_of(code: type) -> int:
    """Return how many lines of code a class has, without its docstring."""
    source = inspect.getsource(code).replace(code.__doc__ or "", "")
    return len([line for line in source.splitlines() if line.strip(' "')])


def encrypted(room: Any) -> FilteredMessaging:
    """Make the example's client."""
    return FilteredMessaging(room, KEY)


# --- the examples -----------------------------------------------------------------------------------------------------


def test_example_of_an_own_filter_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """It shows what Bob reads, and has fewer than 30 lines of code."""
    own_filter.main()
    assert capsys.readouterr().out.splitlines() == [
        f"bob reads {{'line': {number}}} b'all is well\\n'" for number in range(3)
    ]
    assert lines_of(own_filter.Checksummed) < 30


def test_example_of_a_filtered_client_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Alice is read, Mallory is rejected; the client has fewer than 30 lines of code."""
    filtered_client.main()
    assert capsys.readouterr().out.splitlines() == [
        "bob reads {'from': 'alice'} b'meet at noon'",
        "mallory is refused: filter 'aead': the two sides have different keys, "
        "or the stream's header was changed on its way",
    ]
    assert lines_of(FilteredMessaging) < 30


# --- whole streams ----------------------------------------------------------------------------------------------------


def pair(simulation: Any, on_stream: Callable[[StreamReader], object], **options: Any) -> tuple[Any, Any]:
    """Return alice's messaging, and bob as she sees him; he takes streams."""
    demo = simulation.room("demo")
    bob = demo.join("bob", **options)
    bob.messaging.enable(on_stream)
    alice = demo.join("alice", enable=True, **options)
    return alice.messaging, alice.messaging.wait_for_participant(name="bob", timeout=10)


def test_both_directions_pass_through_filters_and_time() -> None:
    """Questions and answers of any size arrive as they were written; buffered ones are joined."""

    def answer(reader: StreamReader) -> None:
        assert reader.header == {"purpose": "echo"}
        for chunk in reader:
            reader.writer.write(meshsync.MessageStreamChunk({"answer": chunk.header}, bytes(chunk.data)[::-1]))

    with simulated(latency=latency.uniform(0.01, 0.05)) as simulation:
        messaging, bob = pair(simulation, answer, messaging=encrypted)
        with messaging.create_stream(bob, {"purpose": "echo"}) as writer:
            small = buffered(writer, 1000, max_delay=0.1)
            for size in (0, 1, 70_000, 1_000_000):
                writer.write(meshsync.MessageStreamChunk({"size": size}, b"ab" * size))
                got = writer.reader.read(10)
                assert got == meshsync.MessageStreamChunk({"answer": {"size": size}}, b"ba" * size)
            for _ in range(5):
                small.write(b"ab")
            assert writer.reader.read(1) == meshsync.MessageStreamChunk({"answer": {}}, b"ba" * 5)


def test_streams_without_a_callback_are_filtered_too() -> None:
    """``streams()`` hands out readers through the client's filters, whose own header is gone."""
    with simulated() as simulation:
        demo = simulation.room("demo")
        bob = demo.join("bob", enable=True, messaging=encrypted)
        alice = demo.join("alice", enable=True, messaging=encrypted)

        def write() -> None:
            with alice.messaging.create_stream({"to": bob.local_participant, "header": {"a": 1}}) as writer:
                writer.write(b"data")

        with bob.messaging.streams(timeout=5) as streams:
            task = simulation.spawn(write)
            reader = next(iter(streams))
            assert (reader.header, reader.read_all()) == ({"a": 1}, b"data")
        assert task.join(5)


@pytest.mark.parametrize(
    "filters", [(), (compression(),), (compression(), encryption(bytes(32))), (own_filter.Checksummed, *FILTERS)]
)
def test_stream_with_other_filters_is_rejected(filters: Any) -> None:
    """None, too few, another key, one too many: the callback never sees it, and the client goes on."""
    read: list[bytes] = []

    def save(reader: StreamReader) -> None:
        read.append(accept_filtered(reader, FILTERS).read_all())

    with simulated() as simulation:
        messaging, bob = pair(simulation, save)
        with pytest.raises(StreamRejected, match=r"only streams with|different keys|not known here"):
            open_filtered(messaging.create_stream, bob, filters=filters)
        with open_filtered(messaging.create_stream, bob, filters=FILTERS) as writer:
            writer.write(b"good")
        simulation.sleep(1)
        assert read == [b"good"]


def test_abort_and_cancel_pass_through() -> None:
    """The reader gets what came and then the interruption; the writer gets the reader's reason."""
    heard: list[object] = []

    def listen(reader: StreamReader) -> None:
        reader = accept_filtered(reader, FILTERS)
        try:
            for chunk in reader:
                heard.append(bytes(chunk.data))
                if chunk.data == b"enough":
                    reader.close("no more, thanks")
                    return
        except StreamError as error:
            heard.append(type(error))
            heard.append(str(error))

    with simulated() as simulation:
        messaging, bob = pair(simulation, listen)
        with pytest.raises(KeyError), open_filtered(messaging.create_stream, bob, filters=FILTERS) as writer:
            writer.write(b"first")
            writer.flush()
            raise KeyError("gone")
        simulation.sleep(1)
        assert heard == [b"first", StreamInterrupted, "alice ended the stream early: the program failed (KeyError)"]
        with pytest.raises(StreamCancelled, match="no more, thanks"):
            with open_filtered(messaging.create_stream, bob, filters=FILTERS) as writer:
                writer.write(b"enough")
                simulation.sleep(1)
                writer.write(b"more")


def test_decoding_failure_is_told_to_the_writer() -> None:
    """One end that forgets a filter: the other fails, says so, and both clients go on."""
    raised: list[str] = []

    def forget(reader: StreamReader) -> None:
        reader = accept_filtered(reader, [compression()])
        with pytest.raises(StreamError) as info:
            reader.read()
        raised.append(str(info.value))

    with simulated() as simulation:
        messaging, bob = pair(simulation, forget)
        writer = open_filtered(messaging.create_stream, bob, filters=[compression()])
        writer._inner.write(b"not compressed")  # type: ignore[attr-defined]
        simulation.sleep(1)
        text = "filter 'zlib': the other side sent what is no continuation of its zlib data"
        assert len(raised) == 1 and text in raised[0]
        with pytest.raises(StreamCancelled, match="no continuation of its zlib data"):
            writer.write(b"more")
        assert messaging.is_enabled


def test_connection_that_is_cut_interrupts_a_filtered_stream() -> None:
    """The reader hears of the loss, not of a missing end."""
    raised: list[str] = []

    def listen(reader: StreamReader) -> None:
        reader = accept_filtered(reader, FILTERS)
        assert reader.read() is not None
        with pytest.raises(StreamInterrupted) as info:
            reader.read()
        raised.append(str(info.value))

    with simulated() as simulation:
        messaging, bob = pair(simulation, listen)
        writer = open_filtered(partial(messaging.create_stream, resume_for=0), bob, filters=FILTERS)
        writer.write(b"data")
        simulation.sleep(1)
        messaging._meshsync.close(0, None)
        simulation.sleep(1)
        assert raised == ["alice has left"]


def test_same_seed_same_transcript_with_encryption() -> None:
    """Salts come from the world's entropy."""

    def run() -> str:
        with simulated(3) as simulation:
            messaging, bob = pair(simulation, lambda reader: reader.read_all(), messaging=encrypted)
            with messaging.create_stream(bob, {}) as writer:
                writer.write(b"data")
            simulation.sleep(1)
            return str(simulation.room("demo").transcript.digest())

    assert run() == run()
