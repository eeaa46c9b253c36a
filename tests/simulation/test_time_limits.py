"""Time limits of whole clients on virtual time: each call keeps its own, whatever the network does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import meshsync
from meshsync import MeshsyncError, ReceiveTimeout, SendTimeout
from meshsync.filters.compression import compression
from meshsync.filters.filtering import filtered
from simulator import faults
from tests.support.streaming import Pair, Result, scripted
from tests.support.worlds import simulated

LIMIT = 2.0
"""Seconds."""


class Stalled:
    """Alice, whose network takes nothing more and whose buffer is full, and her streams with Bob."""

    def __init__(self, pair: Pair, bob: Any) -> None:
        self.pair = pair
        self.alice, self.messaging = pair.alice, pair.alice.messaging
        bob.answers["stream.open"] = ("stream.accept", {})
        self.writers = [pair.open() for _ in range(12)]
        bob.answers.clear()
        self.offers = self.messaging.streams()
        alice = bob.get_participant_by_name("alice")
        for number in range(2):
            bob.say(alice, "stream.open", f"s-{number}", header={}, meshsync={"version": 1, "window": 99})
        self.offered = [self.offers.get(1) for _ in range(2)]
        self.read = self.offered.pop()
        self.read.accept()
        bob.say(alice, "stream.chunk", "s-1", data=b"here", header={})
        pair.simulation.sleep(1)
        self.bob = pair.to()
        now = pair.simulation.now
        pair.simulation.plan(faults.during(now, now + 10, faults.partition({"alice"})))
        for size in (100_000, 0):
            with suppress(SendTimeout):
                while True:
                    self.messaging.send_message_nowait(self.bob, "x", {}, bytes(size), timeout=0)

    def took(self, call: Callable[[], object]) -> float:
        """Return the virtual seconds that a call took, whether or not it raised an error of ours."""
        begun = self.pair.simulation.now
        with suppress(MeshsyncError):
            call()
        return self.pair.simulation.now - begun


@contextmanager
def stalled() -> Iterator[Stalled]:
    """Open a simulation in which Alice's network is stalled."""
    with scripted() as (pair, bob):
        yield Stalled(pair, bob)


CALLS: dict[str, Callable[[Stalled], object]] = {
    "send_message": lambda s: s.messaging.send_message(s.bob, "x", {}, timeout=LIMIT),
    "send_message_nowait": lambda s: s.messaging.send_message_nowait(s.bob, "x", {}, timeout=LIMIT),
    "broadcast_message": lambda s: s.messaging.broadcast_message("x", {}, timeout=LIMIT),
    "create_stream": lambda s: s.messaging.create_stream(s.bob, {}, timeout=LIMIT),
    "create_stream by a call": lambda s: s.messaging.create_stream(s.bob, {}, timeout=LIMIT, kind="duplex"),
    "write": lambda s: s.writers[0].write(b"more", timeout=LIMIT),
    "flush": lambda s: s.writers[0].flush(timeout=LIMIT),
    "close of a writer": lambda s: s.writers[0].close(timeout=LIMIT),
    "read": lambda s: (s.read.read(0), s.read.read(LIMIT)),
    "read of an offer": lambda s: s.offered[0].read(LIMIT),
    "read_all": lambda s: s.read.read_all(LIMIT),
    "disable": lambda s: s.messaging.disable(timeout=LIMIT),
    "close": lambda s: s.alice.close(LIMIT),
}
"""Calls with a time limit."""


@pytest.mark.parametrize("name", CALLS)
def test_a_stalled_network_extends_no_time_limit(name: str) -> None:
    """Not even with a dozen streams whose peers have to be notified of the end."""
    with stalled() as alice:
        assert alice.took(lambda: CALLS[name](alice)) <= LIMIT + 1e-6


WITHOUT_A_LIMIT: dict[str, Callable[[Stalled], object]] = {
    "abort": lambda s: s.writers[0].abort("enough"),
    "close of a reader": lambda s: s.read.close("enough"),
    "reject": lambda s: s.offered[0].reject("no"),
    "accept": lambda s: s.offered[0].accept(),
    "read of a chunk that is there": lambda s: s.read.read(),
    "close without time": lambda s: s.alice.close(0),
}


@pytest.mark.parametrize("name", WITHOUT_A_LIMIT)
def test_what_has_no_caller_to_wait_takes_no_time(name: str) -> None:
    """Ends, rejections, consents and credits go into the reserve of the buffer."""
    with stalled() as alice:
        assert alice.took(lambda: WITHOUT_A_LIMIT[name](alice)) == 0


def test_ends_from_the_reserve_arrive_once_the_network_is_well() -> None:
    """Of twelve streams that were aborted meanwhile each peer gets the end."""
    with scripted() as (pair, bob):
        alice = Stalled(pair, bob)
        for writer in alice.writers:
            writer.abort("enough")
        pair.simulation.sleep(20)
        assert len(bob.heard("stream.close")) == 12


def test_a_credit_without_room_is_given_once_there_is_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that waits for a writer that waits for credit would wait for ever."""
    with simulated() as sim:
        pair = Pair(sim)
        writer, reader = pair.both(resume_for=0)
        request, begun = pair.bob._meshsync.connection.request, sim.now

        def refuse(*arguments: Any, is_reserved: bool = False, **options: Any) -> Any:
            if is_reserved and sim.now < begun + 5:
                raise SendTimeout("no room", retryable=True)
            return request(*arguments, is_reserved=is_reserved, **options)

        monkeypatch.setattr(pair.bob._meshsync.connection, "request", refuse)
        chunk, count = bytes(1_000_000), 40
        writing = Result(sim, lambda: [writer.write(chunk) for _ in range(count)])
        assert [len(reader.read(20).data) for _ in range(count)] == [len(chunk)] * count
        writing.get()
        assert 5 <= sim.now - begun < 6


# --- the default ------------------------------------------------------------------------------------------------------

DEFAULTED: dict[str, Callable[[Any, Any], object]] = {
    "wait_for_participant": lambda room, writer: room.messaging.wait_for_participant(name="nobody"),
    "wait_for_message": lambda room, writer: room.messaging.wait_for_message(),
    "get of messages": lambda room, writer: room.messaging.messages().get(),
    "get of streams": lambda room, writer: room.messaging.streams().get(),
    "read": lambda room, writer: writer.reader.read(),
    "read_all": lambda room, writer: writer.reader.read_all(),
    "read through a filter": lambda room, writer: filtered(writer, compression()).reader.read(),
    "read_all through a filter": lambda room, writer: filtered(writer, compression()).reader.read_all(),
}


@pytest.mark.parametrize("name", DEFAULTED)
def test_default_timeout_is_that_of_every_call_without_one(name: str) -> None:
    """Waiting for participants, messages, streams and chunks included."""
    with simulated() as sim:
        pair = Pair(sim)
        writer, _ = pair.both()
        pair.alice.default_timeout = 1.5
        begun = sim.now
        with pytest.raises(ReceiveTimeout):
            DEFAULTED[name](pair.alice, writer)
        assert sim.now - begun == pytest.approx(1.5)


def test_default_timeout_is_that_of_waiting_for_the_end_and_for_acknowledgements() -> None:
    """``wait_closed`` returns, and a delivery raises."""
    with simulated() as sim:
        pair = Pair(sim)
        pair.alice.default_timeout = 1.5
        begun = sim.now
        assert pair.alice.wait_closed() is False
        assert sim.now - begun == pytest.approx(1.5)
        bob = pair.to()
        sim.plan(faults.partition({"alice"}))
        delivery = pair.alice.messaging.send_message_nowait(bob, "x", {})
        with pytest.raises(SendTimeout):
            delivery.wait()
        assert sim.now - begun == pytest.approx(3.0)


def test_a_loop_has_its_own_time_limit_alone() -> None:
    """The default for calls ends neither the loop over messages nor that over chunks."""
    with simulated() as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        pair.alice.default_timeout = 1.5
        with pair.alice.messaging.messages() as messages:
            looping = Result(sim, lambda: next(iter(messages)).type)
            reading = Result(sim, lambda: next(iter(writer.reader)).data)
            sim.sleep(10)
            pair.bob.messaging.send_message(pair.alice.local_participant, "late", {})
            reader.writer.write(b"late")
            assert (looping.get(), reading.get()) == ("late", b"late")


@pytest.mark.parametrize("limit", [math.inf, 1e300])
def test_infinity_is_a_default_too(limit: float) -> None:
    """A call waits for ever then, that to close the room as long as it would by itself."""
    with simulated() as sim:
        pair = Pair(sim, default_timeout=limit)
        bob, wait = pair.bob.messaging, pair.bob.messaging.wait_for_message
        waiting = Result(sim, lambda: wait().type)
        sim.sleep(1000)
        pair.alice.messaging.send_message(bob._meshsync.local_participant, "late", {}, timeout=limit)
        assert waiting.get() == "late"
        pair.bob.close()
        assert pair.bob.wait_closed(0)


# --- what is no time limit --------------------------------------------------------------------------------------------

REFUSING: dict[str, Callable[[Pair, Any, Any], object]] = {
    "enable": lambda pair, writer, limit: pair.alice.messaging.enable(timeout=limit),
    "disable": lambda pair, writer, limit: pair.alice.messaging.disable(timeout=limit),
    "send_message": lambda pair, writer, limit: pair.alice.messaging.send_message(pair.to(), "x", {}, timeout=limit),
    "send_message_nowait": lambda pair, writer, limit: pair.alice.messaging.send_message_nowait(
        pair.to(), "x", {}, timeout=limit
    ),
    "broadcast_message": lambda pair, writer, limit: pair.alice.messaging.broadcast_message("x", {}, timeout=limit),
    "create_stream": lambda pair, writer, limit: pair.alice.messaging.create_stream(pair.to(), timeout=limit),
    "wait_for_participant": lambda pair, writer, limit: pair.alice.messaging.wait_for_participant(timeout=limit),
    "wait_for_message": lambda pair, writer, limit: pair.alice.messaging.wait_for_message(timeout=limit),
    "messages": lambda pair, writer, limit: pair.alice.messaging.messages(timeout=limit),
    "get": lambda pair, writer, limit: pair.alice.messaging.messages().get(limit),
    "streams": lambda pair, writer, limit: pair.alice.messaging.streams(timeout=limit),
    "streams().get": lambda pair, writer, limit: pair.alice.messaging.streams().get(limit),
    "write": lambda pair, writer, limit: writer.write(b"x", timeout=limit),
    "flush": lambda pair, writer, limit: writer.flush(timeout=limit),
    "close of a writer": lambda pair, writer, limit: writer.close(timeout=limit),
    "read": lambda pair, writer, limit: writer.reader.read(limit),
    "read_all": lambda pair, writer, limit: writer.reader.read_all(limit),
    "wait": lambda pair, writer, limit: pair.alice.messaging.broadcast_message_nowait("x", {}).wait(limit),
    "wait_closed": lambda pair, writer, limit: pair.alice.wait_closed(limit),
    "close": lambda pair, writer, limit: pair.alice.close(limit),
    "join": lambda pair, writer, limit: pair.room.join("eve", timeout=limit),
    "default_timeout": lambda pair, writer, limit: setattr(pair.alice, "default_timeout", limit),
    "join with a default": lambda pair, writer, limit: pair.room.join("eve", default_timeout=limit),
    "sleep": lambda pair, writer, limit: meshsync.sleep(limit),
    "sleep of a simulation": lambda pair, writer, limit: pair.simulation.sleep(limit),
    "advance": lambda pair, writer, limit: pair.simulation.advance(limit),
    "run": lambda pair, writer, limit: pair.simulation.run(limit),
}


@pytest.mark.parametrize("limit", [-1, -1e-9, -math.inf, math.nan, "5", True], ids=str)
@pytest.mark.parametrize("name", REFUSING)
def test_what_is_no_time_is_refused_by_name_and_changes_nothing(name: str, limit: Any) -> None:
    """Every call with a time limit or a duration refuses negative numbers, NaN, texts and truth values."""
    with simulated() as sim:
        pair = Pair(sim)
        writer, _ = pair.both()
        begun = sim.now
        with pytest.raises((TypeError, ValueError), match=r"(timeout|seconds) is a number"):
            REFUSING[name](pair, writer, limit)
        assert (sim.now, pair.alice.is_connected, pair.alice.messaging.is_enabled) == (begun, True, True)
        writer.close()
