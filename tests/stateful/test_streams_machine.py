"""Streams against a plain model: whole clients in a simulation, whatever they do and whatever befalls them.

Two machines. In the quiet one every word arrives before the next step, so that the model says what each call comes to.
In the crossing one words take their time and tasks take turns at random, so that anything can meet anything under way;
there the model knows only what must hold of any stream. Both have windows so small that flow control is in the game.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import meshsync
from meshsync import (
    MeshsyncError,
    MessageStreamChunk,
    ReceiveTimeout,
    RoomClient,
    StreamCancelled,
    StreamInterrupted,
    StreamRejected,
    StreamTimeout,
    UsageError,
    WouldDeadlock,
)
from meshsync.protocol import flow_control
from simulator import Simulation, faults, latency
from tests.support.profiles import examples
from tests.support.streaming import Result, account, is_tidy

NAMES = ("ada", "ben", "eve")
WINDOW, SHARED, LEAST = 20_000, 60_000, 2_000
"""Bytes; see `meshsync.protocol.stream_messages`."""
INDEX = st.integers(0, 100)
SIZE = st.sampled_from([0, 1, 700, 2_000])
LARGEST = 4 * 2_000 + 300
"""Bytes of the largest chunk: four times the largest size, and what it counts besides."""


class Room(RuleBasedStateMachine):
    """Three clients that take the streams they are offered from subscriptions."""

    simulation: Simulation

    def start(self, seed: int, **options: Any) -> None:
        """Let everybody in."""
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(flow_control, "WINDOW", WINDOW)
        self.patch.setattr(flow_control, "WINDOWS_OF_A_CLIENT", SHARED)
        self.patch.setattr(flow_control, "LEAST_WINDOW", LEAST)
        self.patch.setattr(meshsync.streams.stream, "LEAST_WINDOW", LEAST)
        self.patch.setattr(meshsync.streams.incoming, "LEAST_WINDOW", LEAST)
        self.simulation = Simulation(seed, failing_receivers="log", **options)  # Streams break while they are read.
        self.room = self.simulation.room("demo")
        self.clients: dict[str, RoomClient] = {}
        self.offers: dict[str, Any] = {}
        self.number = count()
        for name in NAMES:
            self.join(name)

    def join(self, name: str) -> None:
        """Let somebody in, or in again; Ada speaks the older dialect."""
        client = self.room.join(name, enable=True, dialect="A" if name == "ada" else "B")
        self.clients[name] = client
        self.offers[name] = client.messaging.streams()

    def find(self, who: str, peer: str) -> Any:
        """Return somebody as another one sees them now, and not as they were before they came back."""
        id = self.clients[peer].local_participant.id
        return self.clients[who].messaging.wait_for_participant(where=lambda one: one.id == id, timeout=10)

    def chunk(self, size: int) -> MessageStreamChunk:
        """Return a chunk like no other."""
        number = next(self.number)
        return MessageStreamChunk({"number": number}, number.to_bytes(4, "big") * size)

    def teardown(self) -> None:
        if hasattr(self, "simulation"):
            self.simulation.close()
            self.patch.undo()


# --- one step after the other -----------------------------------------------------------------------------------------


class Side:
    """What the model knows of one end of a stream."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.unread: deque[MessageStreamChunk] = deque()
        """What has come to it."""
        self.has_left = False
        """Whether it gave up what is unread."""
        self.end_of_reading: type[Exception] | None = None
        """What a read raises after that; None for the regular end."""
        self.end_of_writing: type[Exception] | None = None
        self.reader: Any = None
        self.writer: Any = None


class Modelled:
    """One stream."""

    def __init__(self, opener: str, acceptor: str, opening: Result, until: float) -> None:
        self.opener, self.acceptor = Side(opener), Side(acceptor)
        self.opening = opening
        self.until = until
        """When its opener gives up."""
        self.state = "offered"

    def sides(self, is_opener: bool) -> tuple[Side, Side]:
        """Return one side, and the other."""
        return (self.opener, self.acceptor) if is_opener else (self.acceptor, self.opener)

    def end(self, side: Side, here: type[Exception] | None, there: type[Exception] | None, **ends: Any) -> None:
        """End it at both sides: what reading raises, and what writing does."""
        _, other = self.sides(side is self.opener)
        self.state = "ended"
        side.end_of_reading, other.end_of_reading = here, there
        side.end_of_writing, other.end_of_writing = ends["writing_here"], ends["writing_there"]


class QuietStreams(Room):
    """Each word arrives before the next step."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.start(seed)
        self.streams: list[Modelled] = []

    def pick(self, index: int, *states: str) -> Modelled | None:
        """Return one of the streams in these states."""
        those = [stream for stream in self.streams if stream.state in states]
        return those[index % len(those)] if those else None

    def settle(self) -> None:
        """Let everything arrive."""
        self.simulation.sleep(0.001)

    # --- handshake ----------------------------------------------------------------------------------------------------

    @rule(who=st.sampled_from(NAMES), peer=st.sampled_from(NAMES), is_patient=st.booleans())
    def open(self, who: str, peer: str, is_patient: bool) -> None:
        if who == peer or len(self.streams) > 20:
            return
        timeout = 1000 if is_patient else 20
        to, create = self.find(who, peer), partial(self.clients[who].messaging.create_stream, resume_for=0)
        header = {"number": next(self.number)}
        opening = Result(self.simulation, lambda: create(to, header, timeout=timeout))
        self.settle()
        stream = Modelled(who, peer, opening, self.simulation.now + min(timeout, 30))
        stream.acceptor.reader = reader = self.offers[peer].get(0)
        stream.acceptor.writer = reader.writer
        assert (reader.header, reader.sender.name) == (header, who)
        self.streams.append(stream)

    @rule(index=INDEX, by_reading=st.booleans())
    def accept(self, index: int, by_reading: bool) -> None:
        stream = self.pick(index, "offered")
        if stream is None:
            return
        if by_reading:
            with pytest.raises(ReceiveTimeout):
                stream.acceptor.reader.read(0)
        else:
            stream.acceptor.reader.accept()
        self.settle()
        stream.opener.writer = writer = stream.opening.get(0)
        stream.opener.reader = writer.reader
        assert writer.stream_id == stream.acceptor.reader.stream_id
        stream.state = "open"

    @rule(index=INDEX, reason=st.sampled_from(["", "busy"]))
    def reject(self, index: int, reason: str) -> None:
        stream = self.pick(index, "offered")
        if stream is None:
            return
        stream.acceptor.reader.reject(reason)
        self.settle()
        self.refused(stream, StreamRejected, WouldDeadlock, UsageError)
        assert str(stream.opening.error) == reason

    def refused(
        self, stream: Modelled, error: type[Exception], reading: type[Exception], accepting: type[Exception]
    ) -> None:
        """Check what the two sides of an offer are told that came to nothing."""
        with pytest.raises(error):
            stream.opening.get(0)
        with pytest.raises(reading):
            stream.acceptor.reader.read(0)
        with pytest.raises(accepting):
            stream.acceptor.reader.accept()
        stream.state = "refused"
        self.streams.remove(stream)

    @rule(seconds=st.sampled_from([1, 9, 15]))
    def wait(self, seconds: int) -> None:
        self.simulation.sleep(seconds)
        for stream in [one for one in self.streams if one.state == "offered"]:
            # Nobody decides, or the opener gives up before.
            if stream.until - 0.01 < self.simulation.now:
                if isinstance(stream.opening.error, StreamTimeout):
                    self.refused(stream, StreamTimeout, StreamInterrupted, StreamInterrupted)
                else:
                    self.refused(stream, StreamRejected, WouldDeadlock, UsageError)

    # --- chunks -------------------------------------------------------------------------------------------------------

    @rule(index=INDEX, is_opener=st.booleans(), size=SIZE)
    def write(self, index: int, is_opener: bool, size: int) -> None:
        stream = self.pick(index, "open", "ended")
        if stream is None:
            return
        side, other = stream.sides(is_opener)
        chunk = self.chunk(size)
        if stream.state == "ended":
            with pytest.raises(side.end_of_writing):  # type: ignore[arg-type]
                side.writer.write(chunk)
            return
        held = account(other.reader)
        if held.unread + held.owed < held.window:
            side.writer.write(chunk, timeout=0)
            other.unread.append(chunk)
        else:
            with pytest.raises(StreamTimeout):
                side.writer.write(chunk, timeout=0)
        self.settle()

    @rule(index=INDEX, is_opener=st.booleans())
    def read(self, index: int, is_opener: bool) -> None:
        stream = self.pick(index, "open", "ended")
        if stream is None:
            return
        side, _ = stream.sides(is_opener)
        if side.unread:
            assert side.reader.read(0) == side.unread.popleft()
        elif stream.state == "open":
            with pytest.raises(ReceiveTimeout):
                side.reader.read(0)
        elif side.end_of_reading is None:
            assert side.reader.read(0) is None
        else:
            with pytest.raises(side.end_of_reading):
                side.reader.read(0)
        self.settle()

    @rule(index=INDEX, is_opener=st.booleans())
    def read_all(self, index: int, is_opener: bool) -> None:
        stream = self.pick(index, "open", "ended")
        if stream is None:
            return
        side, _ = stream.sides(is_opener)
        expected = b"".join(chunk.data for chunk in side.unread)
        if stream.state == "ended" and side.end_of_reading is None:
            assert side.reader.read_all(0) == expected
            side.unread.clear()
        else:
            with pytest.raises(side.end_of_reading or ReceiveTimeout):
                side.reader.read_all(0)
        self.settle()

    # --- ends ---------------------------------------------------------------------------------------------------------

    @rule(index=INDEX, is_opener=st.booleans())
    def close(self, index: int, is_opener: bool) -> None:
        stream = self.pick(index, "open")
        if stream is None:
            return
        side, _ = stream.sides(is_opener)
        side.writer.close()
        stream.end(side, None, None, writing_here=UsageError, writing_there=StreamCancelled)
        self.settle()

    @rule(index=INDEX, is_opener=st.booleans(), by_writer=st.booleans())
    def give_up(self, index: int, is_opener: bool, by_writer: bool) -> None:
        stream = self.pick(index, "open")
        if stream is None:
            return
        side, _ = stream.sides(is_opener)
        if by_writer:
            side.writer.abort("enough")
        else:
            side.reader.close("enough")
        side.unread.clear()
        stream.end(side, UsageError, StreamInterrupted, writing_here=UsageError, writing_there=StreamCancelled)
        self.settle()

    @rule(who=st.sampled_from(NAMES), how=st.sampled_from(["close", "lose", "disable"]))
    def leave(self, who: str, how: str) -> None:
        client = self.clients[who]
        if how == "close":
            client.close()
        elif how == "lose":
            self.simulation.plan(faults.reset(who))
        else:
            client.messaging.disable()
        self.settle()
        for stream in list(self.streams):
            side, _ = stream.sides(stream.opener.owner == who)
            if side.owner != who:
                continue
            if stream.state == "offered":
                is_told = how == "disable" and side is stream.acceptor
                expected = StreamRejected if is_told else MeshsyncError if side is stream.opener else StreamInterrupted
                self.refused(stream, expected, StreamInterrupted, StreamInterrupted)
            elif stream.state == "open":
                there = StreamCancelled if how == "disable" else StreamInterrupted
                stream.end(
                    side, StreamInterrupted, StreamInterrupted, writing_here=StreamInterrupted, writing_there=there
                )
        if how == "disable":
            client.messaging.enable()
        else:
            assert not client.messaging._meshsync.streams.streams
            self.join(who)
        self.settle()

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_left_and_bounds_hold(self) -> None:
        for name, client in self.clients.items():
            mine = [stream for stream in self.streams if name in (stream.opener.owner, stream.acceptor.owner)]
            held = list(client.messaging._meshsync.streams.streams)
            assert len(held) == sum(stream.state != "ended" for stream in mine)
            assert sum(stream.account.window for stream in held) <= SHARED + LEAST * len(held)
            assert all(stream.account.unread <= stream.account.window + LARGEST for stream in held)

    def teardown(self) -> None:
        try:
            if hasattr(self, "streams"):
                self.simulation.sleep(100)
                for client in self.clients.values():
                    assert client.stats().pending == len(client._meshsync.connection.alarms) == 0
        finally:
            super().teardown()


TestQuietStreams = QuietStreams.TestCase
TestQuietStreams.settings = examples(150, stateful_step_count=40)


# --- everything at once -----------------------------------------------------------------------------------------------


class Part:
    """What one side does with a stream, said beforehand: write chunks, with pauses, and then end it or not."""

    def __init__(self, sizes: list[int], pause: float, end: str) -> None:
        self.sizes, self.pause, self.end = sizes, pause, end


SIZES = st.lists(SIZE, min_size=2, max_size=12)
PAUSE = st.sampled_from([0.0, 0.0, 0.02])
OPENERS = st.builds(Part, SIZES, PAUSE, st.sampled_from(["close", "close", "close", "abort", "cancel", "fail"]))
ACCEPTORS = st.builds(Part, SIZES, PAUSE, st.sampled_from(["stay", "stay", "stay", "close", "abort", "cancel", "fail"]))


class Crossed:
    """One stream whose ends are used by tasks of their own, and what became of it."""

    def __init__(self, names: set[str], decision: str, parts: dict[str, Part], kind: str) -> None:
        self.names = names
        self.decision = decision
        self.parts = parts
        """By the way in which its chunks go: ``there``, from the opener, or ``back``."""
        self.kind = kind
        self.is_patient = True
        self.opened: BaseException | None = None
        """Why it was not."""
        self.sent: dict[str, list[MessageStreamChunk]] = {"there": [], "back": []}
        """What was written each way without an error."""
        self.got: dict[str, list[MessageStreamChunk]] = {"there": [], "back": []}
        self.end: dict[str, object] = {}
        """How reading ended each way: ``complete``, or the error."""
        self.began_to_end: set[str] = set()
        """Whose writers have called anything that ends the stream."""

    @property
    def is_plain(self) -> bool:
        """Whether nobody means to disturb it."""
        return self.is_patient and self.decision == "accept" and self.parts["there"].end == "close"


class CrossingStreams(Room):
    """Words take their time, and tasks their turns."""

    @initialize(seed=st.integers(0, 2**32), schedule=st.sampled_from(["fifo", "random", "pct"]))
    def begin(self, seed: int, schedule: str) -> None:
        self.streams: dict[int, Crossed] = {}
        self.troubled: set[str] = set()
        """Who has left or lost a connection at some time."""
        self.start(seed, schedule=schedule, latency=latency.exponential(0.02))

    def join(self, name: str) -> None:
        super().join(name)
        self.clients[name].messaging.enable(self.take)
        self.offers.pop(name).close()

    # --- tasks --------------------------------------------------------------------------------------------------------

    def take(self, reader: Any) -> None:
        """Decide on a stream as it was decided before it was opened."""
        stream = self.streams[reader.header["number"]]
        if stream.decision == "raise":
            raise RuntimeError("no")
        if stream.decision == "reject":
            reader.reject("no")
            return
        if stream.decision == "late":
            meshsync.sleep(0.1)
        reader.accept()
        talking = meshsync.spawn(lambda: self.talk(stream, "back", reader.writer))
        self.listen(stream, "there", reader)
        talking.join(100)

    def call(self, stream: Crossed, create: Callable[[], Any]) -> None:
        """Open a stream and use both of its ends."""
        try:
            writer = create()
        except MeshsyncError as error:
            stream.opened = error
            return
        listening = meshsync.spawn(lambda: self.listen(stream, "back", writer.reader))
        self.talk(stream, "there", writer)
        listening.join(100)

    def talk(self, stream: Crossed, way: str, writer: Any) -> None:
        """Play a part until something is refused."""
        part = stream.parts[way]
        try:
            for size in part.sizes:
                chunk = self.chunk(size)
                writer.write(chunk, timeout=20)
                stream.sent[way].append(chunk)
                meshsync.sleep(part.pause)
            if part.end != "stay":
                stream.began_to_end.add(way)
                {"close": writer.close, "abort": writer.abort, "cancel": writer.reader.close, "fail": fail}[part.end]()
        except MeshsyncError:
            stream.began_to_end.add(way)
            writer.abort()

    def listen(self, stream: Crossed, way: str, reader: Any) -> None:
        """Read to whatever end."""
        try:
            while (chunk := reader.read()) is not None:
                stream.got[way].append(chunk)
                meshsync.sleep(0.001)
        except (StreamInterrupted, UsageError) as error:
            stream.end[way] = error
        else:
            stream.end[way] = "complete"

    # --- steps --------------------------------------------------------------------------------------------------------

    @rule(
        pair=st.permutations(NAMES),
        decision=st.sampled_from(["accept", "accept", "accept", "late", "reject", "raise"]),
        timeout=st.sampled_from([0.08, 20, 20, 20]),
        kind=st.sampled_from(["auto", "classic", "duplex"]),
        there=OPENERS,
        back=ACCEPTORS,
    )
    def open(self, pair: list[str], decision: str, timeout: float, kind: Any, there: Part, back: Part) -> None:
        who, peer, _ = pair
        number, to = next(self.number), self.find(who, peer)
        create = partial(self.clients[who].messaging.create_stream, resume_for=0)
        self.streams[number] = stream = Crossed({who, peer}, decision, {"there": there, "back": back}, kind)
        stream.is_patient = timeout == 20
        self.simulation.spawn(self.call, stream, partial(create, to, {"number": number}, timeout=timeout, kind=kind))

    @rule(seconds=st.sampled_from([0.01, 0.05, 0.2]))
    def wait(self, seconds: float) -> None:
        self.simulation.sleep(seconds)

    @rule(who=st.sampled_from(NAMES), how=st.sampled_from(["close", "lose", "disable"]))
    def leave(self, who: str, how: str) -> None:
        self.troubled.add(who)
        if how == "disable":
            self.clients[who].messaging.disable()
            self.clients[who].messaging.enable(self.take)
            return
        if how == "close":
            self.clients[who].close()
        else:
            self.simulation.plan(faults.reset(who))
            self.simulation.sleep(0.5)
        self.join(who)

    def teardown(self) -> None:
        try:
            if hasattr(self, "simulation"):
                self.simulation.sleep(200)
                for stream in self.streams.values():
                    self.check(stream)
                assert all(is_tidy(client) for client in self.clients.values())
        finally:
            super().teardown()

    def check(self, stream: Crossed) -> None:
        """Compare what came with what was sent."""
        for way, back in (("there", "back"), ("back", "there")):
            sent, got, end = stream.sent[way], stream.got[way], stream.end.get(way)
            # Whole, in order, from the first; one more may have gone out whose writer was told of an error.
            assert got[: len(sent)] == sent[: len(got)]
            assert len(got) <= len(sent) + 1
            if end == "complete" and back not in stream.began_to_end:
                assert way in stream.began_to_end  # Somebody closed it,
                assert got == sent  # and nothing was lost.
        if stream.is_plain and not stream.names & self.troubled and stream.parts["back"].end == "stay":
            assert stream.opened is None
            assert stream.end == {"there": "complete", "back": "complete"}
            assert len(stream.got["there"]) == len(stream.parts["there"].sizes)


def fail() -> None:
    """Fail as a program does that hears of a refusal."""
    raise MeshsyncError("oh")


TestCrossingStreams = CrossingStreams.TestCase
TestCrossingStreams.settings = examples(200, stateful_step_count=12)
