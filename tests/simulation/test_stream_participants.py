"""Participants without a thread that have streams: with the production client at the other end, and with each other.

Each sees a peer with flow control and one without, as programs on the official SDK are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from meshsync import (
    MessageStreamChunk,
    RoomClient,
    StreamCancelled,
    StreamInterrupted,
    StreamRejected,
    StreamTimeout,
    UsageError,
)
from meshsync.streams.interfaces import StreamReader, StreamWriter
from simulator import Simulation, Transcript, faults, participants
from simulator.participants import Chunk, Offer, Participant, Rejecting, Silent, Sink, Stream, Streamer
from tests.support.worlds import simulated, told

KB = 1000
WINDOWS = pytest.mark.parametrize("window", [None, 100 * KB], ids=["official", "flow control"])
OVERHEAD = 256 + len(b'{"index":99}')
"""What a chunk counts beside its data, at most."""


@dataclass
class Scene:
    """A room with a client in it."""

    sim: Simulation
    client: RoomClient
    add: Callable[..., None]
    transcript: Transcript

    def writer(self, to: str, **options: Any) -> StreamWriter:
        """Open a stream from the client."""
        peer = self.client.messaging.wait_for_participant(name=to)
        return self.client.messaging.create_stream(peer, {"purpose": "test"}, **options)

    def reader(self) -> StreamReader:
        """Return the next stream that somebody offers to the client."""
        with self.client.messaging.streams() as streams:
            return streams.get(60)

    def details(self, type: str) -> list[dict[str, Any]]:
        """Return the bodies of a type, without the stream's id."""
        bodies = [dict(record.detail) for record in self.transcript if record.type == type]
        assert all(body.pop("stream_id") for body in bodies)
        return bodies


@contextmanager
def scene(**options: Any) -> Iterator[Scene]:
    """Open a simulation with a client called alice, 50 ms from her room."""
    with simulated(latency=0.05, **options) as sim:
        room = sim.room("demo")
        yield Scene(sim, room.join("alice", enable=True), room.add, room.transcript)


def write(writer: StreamWriter, *, chunks: int = 50, size: int = 10 * KB, **options: Any) -> None:
    """Write chunks of so many bytes, numbered, and close."""
    with writer:
        for number in range(chunks):
            writer.write(MessageStreamChunk({"index": number}, bytes(size)), **options)


# --- the client writes ------------------------------------------------------------------------------------------------


@WINDOWS
def test_a_sink_reads_what_a_client_writes(window: int | None) -> None:
    """All of it; whether it agrees upon flow control is in its acceptance."""
    with scene() as it:
        sink = Sink("sink", window=window)
        it.add(sink)
        write(it.writer("sink"))
        it.sim.sleep(1)
        assert (sink.bytes_taken, sink.bytes_unread, sink.streams) == (500 * KB, 0, ())
        own = {"version": 1, "window": window, "resume": {"seconds": 60.0, "number": 1}}
        assert it.details("stream.accept") == [{} if window is None else {"meshsync": own}]
        assert bool(it.details("stream.meshsync.credit")) == (window is not None)


def test_a_slow_sink_with_flow_control_holds_its_window_and_slows_the_writer_down() -> None:
    """500 kB at 100 kB/s: it holds its window of 100 kB and one chunk, so the writer is at work for nearly 4 s."""
    with scene() as it:
        sink = Sink("sink", rate=100 * KB, window=100 * KB)
        it.add(sink)
        begun = it.sim.now
        write(it.writer("sink"))
        assert 3.5 < it.sim.now - begun < 5
        assert 90 * KB <= sink.most_unread <= 110 * KB
        it.sim.sleep(2)
        assert (sink.bytes_taken, sink.bytes_unread) == (500 * KB, 0)


def test_a_slow_sink_without_flow_control_holds_everything() -> None:
    """The writer is done at once, and the sink has nearly all of the 500 kB to read yet."""
    with scene() as it:
        sink = Sink("sink", rate=100 * KB, window=None)
        it.add(sink)
        begun = it.sim.now
        write(it.writer("sink"))
        assert it.sim.now - begun < 1
        assert sink.most_unread > 400 * KB
        it.sim.sleep(6)
        assert sink.bytes_taken == 500 * KB


def test_credits_come_at_each_half_window() -> None:
    """Each is for half of the window at least, and no more is given than was read."""
    with scene() as it:
        it.add(Sink("sink", rate=100 * KB, window=100 * KB))
        write(it.writer("sink"))
        it.sim.sleep(2)
        credits = [body["bytes"] for body in it.details("stream.meshsync.credit") if body["bytes"]]  # Else a position.
        assert len(credits) >= 8
        assert all(50 * KB <= size <= 65 * KB for size in credits)
        assert sum(credits) <= 50 * (10 * KB + OVERHEAD)


@WINDOWS
def test_a_sink_that_wants_no_more_cancels(window: int | None) -> None:
    """The writer's next call says so; with flow control it knows why."""
    with scene() as it:
        sink = Sink("sink", rate=100 * KB, window=window, cancel_after=120 * KB)
        it.add(sink)
        writer = it.writer("sink")
        with pytest.raises(StreamCancelled, match="no more than 120000 bytes" if window else "sink closed it"):
            for _ in range(100):
                writer.write(bytes(10 * KB))
                it.sim.sleep(0.05)
        it.sim.sleep(5)
        assert (sink.bytes_taken, sink.bytes_unread, sink.streams) == (120 * KB, 0, ())
        assert len(it.details("stream.meshsync.cancel")) == (window is not None)


@WINDOWS
def test_a_sink_that_disappears_interrupts_the_writer(window: int | None) -> None:
    """It leaves in the midst of it, and the client goes on with somebody else."""
    with scene() as it:
        sink = Sink("sink", rate=100 * KB, window=window, leave_after=200 * KB)
        it.add(sink, Sink("another"))
        writer = it.writer("sink")
        with pytest.raises(StreamInterrupted, match="sink has left"):
            for _ in range(100):
                writer.write(bytes(10 * KB))
                it.sim.sleep(0.05)
        assert (sink.bytes_taken, sink.is_here) == (200 * KB, False)
        write(it.writer("another"))


class MortalSink(Sink):
    """A sink whose streams end with their connection."""

    resumes = False


@WINDOWS
@pytest.mark.parametrize("fault", [faults.reset, faults.half_open], ids=["reset", "half open"])
def test_a_fault_makes_a_sink_disappear(fault: Callable[[str], Any], window: int | None) -> None:
    """At its third chunk. A connection that has gone silent is noticed after at most 45 s, with its window full."""
    with scene() as it:
        it.add(MortalSink("sink", window=window))
        it.sim.plan(faults.on("stream.chunk", to="sink", nth=3).do(fault("sink")))
        writer = it.writer("sink")
        begun = it.sim.now
        with pytest.raises(StreamInterrupted, match="sink has left"):
            while it.sim.now - begun < 60:
                writer.write(bytes(KB), timeout=60)
                it.sim.sleep(0.1)
        assert it.sim.now - begun < (1 if fault is faults.reset else 46)


def test_rejecting_rejects_a_clients_stream() -> None:
    """With its reason."""
    with scene() as it:
        it.add(Rejecting("busy", "in a call"))
        with pytest.raises(StreamRejected, match="in a call"):
            it.writer("busy")


@pytest.mark.parametrize(
    ("reason", "said"), [("caf\udce9", r"caf\?"), ("x" * 5_000_000, "x{999}…"), (None, "")], ids=range(3)
)
@pytest.mark.parametrize("kind", ["classic", "duplex"])
def test_rejecting_rejects_whatever_its_reason(kind: Any, reason: Any, said: str) -> None:
    """The opener is told at once."""
    with scene() as it:
        it.add(Rejecting("busy", reason))
        begun = it.sim.now
        with pytest.raises(StreamRejected, match=f"^{said}$"):
            it.writer("busy", kind=kind)
        assert it.sim.now - begun < 1


def test_silent_answers_nothing() -> None:
    """The client waits as long as it wants to, and tells that it has given up."""
    with scene() as it:
        it.add(Silent("silent"))
        it.client.messaging.wait_for_participant(name="silent")
        begun = it.sim.now
        with pytest.raises(StreamTimeout, match="silent did not answer"):
            it.writer("silent", timeout=5)
        assert it.sim.now - begun == pytest.approx(5)
        it.sim.sleep(1)
        assert [type for _, type, _ in told(it.transcript, "stream")] == ["stream.open", "stream.close"]


def test_participants_answer_calls_too() -> None:
    """The room bridges: a client that opens duplex streams is read, rejected, given up and left, as by messages."""
    with scene() as it:
        sink = Sink("sink")
        it.add(sink, Rejecting("busy"), Sink("modest", cancel_after=KB), Sink("brief", leave_after=KB))
        write(it.writer("sink", kind="duplex"))
        it.sim.sleep(1)
        assert (sink.bytes_taken, sink.streams) == (500 * KB, ())
        with pytest.raises(StreamRejected, match="busy"):
            it.writer("busy", kind="duplex")
        for name in ("modest", "brief"):
            writer = it.writer(name, kind="duplex")
            with pytest.raises((StreamCancelled, StreamInterrupted)):
                for _ in range(50):
                    writer.write(bytes(KB))
                    it.sim.sleep(0.1)


# --- the client reads -------------------------------------------------------------------------------------------------


@WINDOWS
def test_a_client_reads_what_a_streamer_writes(window: int | None) -> None:
    """Chunks with their numbers, and the header."""
    with scene() as it:
        streamer = Streamer("streamer", "alice", [b"a", b"b"], 0.5, header={"kind": "text"}, window=window)
        it.add(streamer)
        reader = it.reader()
        assert reader.header == {"kind": "text"}
        assert [(chunk.header, chunk.data) for chunk in reader] == [({"index": 0}, b"a"), ({"index": 1}, b"b")]
        assert (streamer.outcome, streamer.written) == ("closed", 2)


def test_a_streamer_with_flow_control_waits_for_a_slow_client() -> None:
    """The client takes 8 MiB unread, its window, and one chunk: 9 of 1 MiB; the rest follows as it reads."""
    with scene() as it:
        streamer = Streamer("streamer", "alice", [bytes(2**20)] * 20)
        it.add(streamer)
        reader = it.reader()
        reader.accept()
        it.sim.sleep(60)
        assert streamer.written == 8
        assert len(reader.read_all()) == 20 * 2**20
        assert streamer.outcome == "closed"


def test_a_streamer_without_flow_control_overruns_a_client_that_does_not_read() -> None:
    """65 chunks of 1 MiB are above the 64 MiB that a client keeps: it gives the stream up, and the streamer hears."""
    with scene() as it:
        streamer = Streamer("streamer", "alice", [bytes(2**20)] * 80, 0.2, window=None)
        it.add(streamer)
        reader = it.reader()
        reader.accept()
        it.sim.sleep(60)
        assert streamer.outcome == "closed by the other side"
        with pytest.raises(StreamInterrupted, match="knows no flow control"):
            reader.read_all()


@WINDOWS
def test_a_streamer_that_disappears_interrupts_the_reader(window: int | None) -> None:
    """After what came."""
    with scene() as it:
        streamer = Streamer("streamer", "alice", [b"x"] * 5, 0.1, window=window, leave_after=3)
        it.add(streamer)
        reader = it.reader()
        assert [reader.read(1) is not None for _ in range(3)] == [True] * 3
        with pytest.raises(StreamInterrupted, match="streamer has left"):
            reader.read()
        assert (streamer.outcome, streamer.written) == ("left", 3)


@pytest.mark.parametrize(
    ("window", "outcome"), [(None, "closed by the other side"), (KB, "cancelled: enough")], ids=["official", "flow"]
)
def test_a_client_that_reads_no_more_ends_the_streamers_work(window: int | None, outcome: str) -> None:
    """With flow control it is told why."""
    with scene() as it:
        streamer = Streamer("streamer", "alice", [b"x"] * 50, 0.1, window=window)
        it.add(streamer)
        reader = it.reader()
        reader.read()
        reader.close("enough")
        it.sim.sleep(1)
        assert streamer.outcome == outcome
        assert 1 < streamer.written < 5


def test_a_client_rejects_a_streamer() -> None:
    """By a callback that raises; without one, as official clients do."""

    def refuse(reader: StreamReader) -> None:
        raise StreamRejected("no room on the disk")

    with scene() as it:
        streamers = [Streamer(name, "alice", [b"x"]) for name in ("early", "late")]
        it.add(streamers[0])
        it.sim.sleep(1)
        it.client.messaging.enable(refuse)
        it.add(streamers[1])
        it.sim.sleep(1)
        assert [streamer.outcome for streamer in streamers] == [
            "rejected: Streams are not allowed by this client",
            "rejected: no room on the disk",
        ]


# --- both directions --------------------------------------------------------------------------------------------------


class Mirror(Participant):
    """Sends each chunk back, and closes a stream at the word."""

    def __init__(self, window: int | None) -> None:
        super().__init__("mirror")
        self.window = window

    def on_stream(self, offer: Offer) -> None:
        self.accept(offer, window=self.window)

    def on_chunk(self, stream: Stream, chunk: Chunk) -> None:
        stream.write(chunk.data[::-1], chunk.header)
        if chunk.data == b"end":
            stream.close()


@WINDOWS
def test_chunks_come_back_on_the_same_stream(window: int | None) -> None:
    """What the mirror writes waits in it: the client reads only when it has written 1 MB, and its window is less."""
    with scene() as it:
        it.add(Mirror(window))
        writer = it.writer("mirror")
        for number in range(100):
            writer.write(MessageStreamChunk({"number": number}, number.to_bytes(2, "big") * 5 * KB))
        writer.write(b"end")
        chunks = list(writer.reader)
        assert [chunk.header.get("number") for chunk in chunks] == [*range(100), None]
        assert chunks[7].data == b"\x07\x00" * 5 * KB
        assert chunks[-1].data == b"dne"


def test_a_client_answers_on_a_streamers_stream() -> None:
    """The acceptor writes back before the end."""

    class Asking(Participant):
        def __init__(self) -> None:
            super().__init__("asking")
            self.answers: list[bytes] = []

        def on_start(self) -> None:
            self.open_stream(self.peers[next(iter(self.peers))])

        def on_stream_answer(self, stream: Stream, error: str | None) -> None:
            stream.write(b"question")

        def on_chunk(self, stream: Stream, chunk: Chunk) -> None:
            self.answers.append(chunk.data)
            stream.close()

    with scene() as it:
        asking = Asking()
        it.add(asking)
        reader = it.reader()
        question = reader.read()
        assert question is not None and question.data == b"question"
        reader.writer.write(b"answer")
        assert reader.read() is None
        it.sim.sleep(1)
        assert (asking.answers, asking.streams) == ([b"answer"], ())


# --- faults of the room -----------------------------------------------------------------------------------------------


def test_a_fault_rejects_a_clients_stream_in_a_name() -> None:
    """The sink is never asked; when the fault is over, it is."""
    with scene() as it:
        it.add(Sink("sink"))
        it.sim.plan(faults.during(0, 5, faults.reject_streams("sink", "out of order")))
        it.sim.sleep(1)
        with pytest.raises(StreamRejected, match="out of order"):
            it.writer("sink")
        it.sim.sleep(5)
        write(it.writer("sink"))


def test_a_fault_rejects_streams_that_are_offered_to_a_client() -> None:
    """Its callback never hears of them."""
    offered: list[StreamReader] = []
    with scene() as it:
        it.client.messaging.enable(offered.append)
        it.sim.plan(faults.reject_streams("alice", "out of order"))
        streamer = Streamer("streamer", "alice", [b"x"])
        it.add(streamer)
        it.sim.sleep(1)
        assert (streamer.outcome, offered) == ("rejected: out of order", [])


def test_a_fault_delays_an_acceptance() -> None:
    """By its seconds, on the way to the client: 3 s besides the four ways of 50 ms."""
    with scene() as it:
        it.add(Sink("sink"))
        it.client.messaging.wait_for_participant(name="sink")
        it.sim.plan(faults.delay_accept("sink", 3))
        begun = it.sim.now
        writer = it.writer("sink")
        assert it.sim.now - begun == pytest.approx(3.2, abs=1e-6)
        write(writer)


def test_an_acceptance_that_comes_too_late_is_taken_back() -> None:
    """The client has given up after 2 s, so the sink is told that there is no stream."""
    with scene() as it:
        sink = Sink("sink")
        it.add(sink)
        it.sim.plan(faults.delay_accept("sink", 3))
        with pytest.raises(StreamTimeout, match="sink did not answer"):
            it.writer("sink", timeout=2)
        it.sim.sleep(5)
        assert sink.streams == ()
        assert it.client.is_connected


def test_a_fault_delays_a_clients_acceptance() -> None:
    """What the client's program has accepted reaches the streamer later, and the chunks come after that."""
    with scene() as it:
        it.sim.plan(faults.delay_accept("alice", 3))
        streamer = Streamer("streamer", "alice", [b"x"])
        it.add(streamer)
        reader = it.reader()
        begun = it.sim.now
        assert reader.read_all() == b"x"
        assert it.sim.now - begun == pytest.approx(3.2, abs=0.01)


# --- among themselves -------------------------------------------------------------------------------------------------


def test_rejecting_rejects_with_its_reason() -> None:
    """The streamer learns why."""
    with simulated(latency=0.1) as sim:
        streamer = Streamer("streamer", "busy", [b"data"])
        sim.room("demo").add(Rejecting("busy", reason="in a call"), streamer)
        sim.sleep(5)
        assert streamer.outcome == "rejected: in a call"


def test_by_default_streams_are_rejected_as_official_clients_do() -> None:
    """The text is theirs."""
    with simulated() as sim:
        streamer = Streamer("streamer", "agent", [b"data"])
        sim.room("demo").add(Participant("agent"), streamer)
        sim.sleep(5)
        assert streamer.outcome == "rejected: Streams are not allowed by this client"


def test_streamer_waits_for_its_recipient_and_streams() -> None:
    """Chunks in their intervals, with their data, then the end."""
    with simulated() as sim:
        room, streamer = sim.room("demo"), Streamer("streamer", "sink", [b"a", b"b"], 0.5)
        room.add(streamer)
        sim.sleep(2)
        assert streamer.outcome == "waits for 'sink'"
        room.add(Sink("sink"))
        sim.sleep(2)
        assert streamer.outcome == "closed"
        assert [entry for entry in told(room.transcript) if entry[1].startswith("stream.")] == [
            (2.0, "stream.open", "streamer"),
            (2.0, "stream.accept", "sink"),
            (2.0, "stream.chunk", "streamer"),
            (2.5, "stream.chunk", "streamer"),
            (3.0, "stream.close", "streamer"),
            (3.0, "stream.meshsync.closed", "sink"),
        ]


def test_streamer_stops_when_its_recipient_leaves() -> None:
    """It writes nothing more."""
    with simulated() as sim:
        sink, streamer = Sink("sink"), Streamer("streamer", "sink", [b"x"] * 10, 1)
        sim.room("demo").add(sink, streamer)
        sim.sleep(3.5)
        sink.leave()
        sim.sleep(20)
        assert (streamer.outcome, streamer.streams) == ("'sink' has left", ())
        assert sink.bytes_taken == 4


def test_a_streamer_that_comes_back_streams_anew() -> None:
    """Its stream ended with its connection, as its sink wants it."""
    with simulated() as sim:
        sink, streamer = MortalSink("sink"), Streamer("streamer", "sink", [b"x"] * 10, 1)
        room = sim.room("demo")
        room.add(sink, streamer)
        sim.sleep(3.5)
        sim.plan(faults.reset("streamer"))
        sim.sleep(1)
        assert (streamer.outcome, streamer.streams, sink.streams) == ("the connection ended", (), ())
        streamer.come_back()
        sim.sleep(20)
        assert (streamer.outcome, sink.bytes_taken) == ("closed", 14)


def test_a_streamer_whose_offer_was_never_answered_comes_back_and_offers_anew() -> None:
    """Whatever had become of its first stream, it waits for its recipient again."""
    with simulated() as sim:
        silent, streamer = Silent("sink"), Streamer("streamer", "sink", [b"x"])
        room = sim.room("demo")
        room.add(silent, streamer)
        sim.sleep(1)
        assert streamer.outcome == "offered"
        streamer.leave()
        silent.leave()
        sim.sleep(1)
        streamer.come_back()
        sim.sleep(1)
        assert streamer.outcome == "waits for 'sink'"
        room.add(Sink("sink"))
        sim.sleep(1)
        assert streamer.outcome == "closed"


class TwoStreams(Streamer):
    """Opens a second stream besides its own, to somebody who rejects it."""

    def on_stream_answer(self, stream: Stream, error: str | None) -> None:
        super().on_stream_answer(stream, error)
        if error is None:
            self.open_stream(self.peer("busy") or "")


def test_a_second_stream_of_a_streamer_does_not_change_its_outcome() -> None:
    """The rejection of another stream is none of its own."""
    with simulated() as sim:
        streamer = TwoStreams("streamer", "sink", [b"x"] * 3, 1)
        sim.room("demo").add(Sink("sink"), Rejecting("busy"), streamer)
        sim.sleep(10)
        assert (streamer.outcome, streamer.written) == ("closed", 3)


def test_sink_takes_what_comes() -> None:
    """It counts messages and bytes."""
    with simulated() as sim:
        sink = Sink("sink")
        sim.room("demo").add(
            sink, Streamer("streamer", "sink", [b"x" * 100] * 3), participants.Chatter("c", 1, limit=2)
        )
        sim.sleep(5)
        assert (sink.messages, sink.bytes_taken, sink.streams) == (2, 300, ())


def test_a_slow_sink_takes_its_time() -> None:
    """300 bytes at 100 in a second take three."""
    with simulated() as sim:
        sink = Sink("sink", rate=100)
        sim.room("demo").add(sink, Streamer("streamer", "sink", [b"x" * 100] * 3))
        taken = []
        sim.sleep(0.5)
        for _ in range(4):
            sim.sleep(1)
            taken.append(sink.bytes_taken)
        assert taken == [100, 200, 300, 300]


def test_a_streamer_waits_for_a_sink_with_flow_control() -> None:
    """Of 20 chunks of 100 bytes, which count 356 and their headers, a window of 1,000 lets three go unread."""
    with simulated() as sim:
        sink, streamer = Sink("sink", rate=100, window=1000), Streamer("streamer", "sink", [bytes(100)] * 20)
        sim.room("demo").add(sink, streamer)
        sim.sleep(0.5)
        assert streamer.written == 3
        sim.sleep(60)
        assert (streamer.outcome, sink.bytes_taken, sink.most_unread) == ("closed", 2000, 300)


def test_nobody_else_has_a_say_in_a_stream() -> None:
    """Chunks, a close and credits of a third one, with the right id, change nothing."""

    def intrude(me: participants.Scripted) -> None:
        for peer in list(me.peers.values()):
            body = {"stream_id": streamer.streams[0].id, "header": {}, "bytes": 10**6}
            for word in ("chunk", "meshsync.credit", "meshsync.cancel", "close"):
                me.send(peer, f"stream.{word}", body, b"false")

    with simulated() as sim:
        sink, streamer = Sink("sink", rate=1000, window=100), Streamer("streamer", "sink", [bytes(1000)] * 10)
        sim.room("demo").add(sink, streamer, participants.Scripted("intruder", [(2.5, intrude)]))
        sim.sleep(3.2)
        assert (streamer.outcome, streamer.written) == ("open", 4)
        sim.sleep(60)
        assert (streamer.outcome, sink.bytes_taken) == ("closed", 10_000)


def test_a_stream_that_is_over_cannot_be_written_to() -> None:
    """Neither by a participant without a thread; closing it again does nothing."""

    class Hasty(Participant):
        def on_start(self) -> None:
            stream = self.open_stream(next(iter(self.peers.values())))
            with pytest.raises(UsageError, match="cannot be written to: it is offered"):
                stream.write(b"early")
            stream.close()
            stream.close()
            with pytest.raises(UsageError, match="cannot be written to: it is ended"):
                stream.write(b"late")

    with simulated() as sim:
        room = sim.room("demo")
        room.add(Sink("sink"), Hasty("hasty"))
        sim.sleep(1)
        assert [type for _, type, _ in told(room.transcript, "stream")].count("stream.close") == 1


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_of_nothing_is_refused(window: int) -> None:
    """Nothing could ever be sent."""
    with simulated() as sim:
        agent = Participant("agent")
        sim.room("demo").add(agent)
        with pytest.raises(ValueError, match="window must be above 0 bytes, or None"):
            agent.open_stream(agent.id, window=window)
