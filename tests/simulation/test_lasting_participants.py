"""Streams of participants without a thread that outlive losses: with a client at the other end, and with each other."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from meshsync import MessageStreamChunk, RoomClient, StreamInterrupted, StreamRejected
from simulator import Simulation, faults
from simulator.errors import SimulationDeadlock
from simulator.participants import Chunk, Offer, Participant, Peer, Rejecting, Sink, Stream, Streamer
from tests.support.streaming import Result, is_tidy
from tests.support.worlds import simulated

KB = 1000
COUNT = 40
OVER_A_MINUTE = 61.0
"""Seconds after which a stream that was not resumed has ended."""


class Returning(Participant):
    """Comes back at once after each loss."""

    def on_end(self) -> None:
        super().on_end()
        self.come_back()


class ReturningSink(Returning, Sink):
    """Keeps the numbers of its chunks, too."""

    def __init__(self, name: str = "sink", **options: Any) -> None:
        super().__init__(name, **options)
        self.numbers: list[int] = []
        self.asked = 0
        self.ends: list[str | None] = []

    def on_stream(self, offer: Offer) -> None:
        self.asked += 1
        super().on_stream(offer)

    def on_chunk(self, stream: Stream, chunk: Chunk) -> None:
        self.numbers.append(chunk.header.get("n", chunk.header.get("index")))
        super().on_chunk(stream, chunk)

    def on_stream_end(self, stream: Stream, error: str | None) -> None:
        self.ends.append(error)


class ReturningStreamer(Returning, Streamer):
    """A streamer that comes back at once."""


def cut(sim: Simulation, name: str, *times: float) -> None:
    """Lose a participant's connection at these times, in seconds from now."""
    for time in times:
        sim.plan(faults.at(sim.now + time, faults.reset(name)))


def away(sim: Simulation, name: str, seconds: float = 10_000) -> None:
    """Lose a participant's connection, and let it have none for so long."""
    sim.plan(faults.during(sim.now, sim.now + seconds, faults.refuse_connect(name)))
    sim.plan(faults.reset(name))


def scene(sim: Simulation, *participants: Participant) -> tuple[Any, RoomClient]:
    """Return a room with these participants, and a client in it."""
    room = sim.room("demo")
    room.add(*participants)
    return room, room.join("alice", enable=True)


def open_to(client: RoomClient, name: str = "sink", **options: Any) -> Any:
    """Have the client open a stream."""
    return client.messaging.create_stream(client.messaging.wait_for_participant(name=name, timeout=30), **options)


def write(sim: Simulation, client: RoomClient, pause: float = 0.1, size: int = 10 * KB) -> None:
    """Have the client write numbered chunks to the sink, and close."""
    writer = open_to(client)
    for number in range(COUNT):
        writer.write(MessageStreamChunk({"n": number}, bytes(size)))
        sim.sleep(pause)
    writer.close()


# --- a client writes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["alice"], ["sink"], ["alice", "sink"]], ids="-".join)
@pytest.mark.parametrize("step", range(12))
def test_a_sink_gets_all_once_whenever_connections_are_lost(names: list[str], step: int) -> None:
    """Five losses of each, from before the offer on; the sink is asked once."""
    sink = ReturningSink()
    with simulated(latency=0.02) as sim:
        _, alice = scene(sim, sink)
        for index, name in enumerate(names):
            cut(sim, name, *(step * 0.03 + index * 0.015 + 0.9 * round for round in range(5)))
        write(sim, alice)
        assert (sink.numbers, sink.bytes_taken, sink.bytes_unread) == (list(range(COUNT)), COUNT * 10 * KB, 0)
        sim.sleep(90)
        assert (sink.asked, sink.ends, sink.streams) == (1, [None], ())
        assert is_tidy(alice)


@pytest.mark.parametrize("seed", range(8))
def test_a_slow_sink_gets_all_once_over_many_losses(seed: int) -> None:
    """With a small window, chunks that come in parts, and what it had not read when its connection was lost."""
    sink = ReturningSink(rate=400 * KB, window=200 * KB)
    with simulated(seed, latency=0.02) as sim:
        room, alice = scene(sim, sink)
        chance = sim.runtime.random("losses")
        for name in ("alice", "sink"):
            cut(sim, name, *(chance.uniform(0, 12) for _ in range(8)))
        write(sim, alice, size=150 * KB)
        sim.sleep(60)
        assert (sink.numbers, sink.bytes_taken, sink.bytes_unread) == (list(range(COUNT)), COUNT * 150 * KB, 0)
        assert sink.most_unread <= 350 * KB
        assert (sink.asked, sink.ends) == (1, [None])
        assert any(record.type == "stream.meshsync.resume" for record in room.transcript)


def test_a_sink_that_went_silent_gets_all_once() -> None:
    """Its end and the room notice that by their heartbeats."""
    sink = ReturningSink()
    with simulated(latency=0.02) as sim:
        _, alice = scene(sim, sink)
        writer = open_to(alice)
        for number in range(COUNT):
            writer.write(MessageStreamChunk({"n": number}, bytes(KB)))
            if number == 5:
                sim.plan(faults.half_open("sink"))
            sim.sleep(5)
        writer.close()
        assert (sink.numbers, sink.ends) == (list(range(COUNT)), [None])


def test_no_chunk_that_the_sink_has_is_sent_again() -> None:
    """Each that arrived is confirmed when the stream is resumed."""
    sink = ReturningSink()
    with simulated(latency=0.02) as sim:
        room, alice = scene(sim, sink)
        writer = open_to(alice)
        for number in range(6):
            writer.write(MessageStreamChunk({"n": number}, bytes(KB)))
            sim.sleep(1)
            cut(sim, ["alice", "sink"][number % 2], 0)
            sim.sleep(10)
        writer.close()
        assert len(room.transcript.messages(type="stream.chunk")) == 6
        assert sink.numbers == list(range(6))


def test_what_a_program_sees_is_the_peer_of_now() -> None:
    """It can answer whom the stream names."""
    sink = ReturningSink()
    with simulated(latency=0.02) as sim:
        _, alice = scene(sim, sink)
        open_to(alice)
        before = sink.streams[0].peer
        cut(sim, "alice", 0)
        sim.sleep(10)
        (stream,) = sink.streams
        assert stream.outlives_losses
        assert (stream.peer, stream.peer.id != before.id) == (sink.peer("alice"), True)


def test_chunks_go_both_ways_over_losses() -> None:
    """What an acceptor writes while its peer is away waits for it."""

    class Mirror(Returning):
        def on_stream(self, offer: Offer) -> None:
            self.accept(offer)

        def on_chunk(self, stream: Stream, chunk: Chunk) -> None:
            stream.write(chunk.data[::-1], chunk.header)

    with simulated(latency=0.02) as sim:
        _, alice = scene(sim, Mirror("sink"))
        writer = open_to(alice)
        cut(sim, "alice", 0.25, 1.1)
        cut(sim, "sink", 0.55, 1.13)
        for number in range(COUNT):
            writer.write(MessageStreamChunk({"n": number}, b"%03d" % number))
            sim.sleep(0.05)
        answers = [writer.reader.read(60) for _ in range(COUNT)]
        assert [chunk.data[::-1] for chunk in answers] == [b"%03d" % number for number in range(COUNT)]
        writer.close()


# --- a participant writes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["alice"], ["streamer"], ["alice", "streamer"]], ids="-".join)
@pytest.mark.parametrize("step", range(8))
def test_a_client_gets_all_that_a_streamer_writes(names: list[str], step: int) -> None:
    """Whoever's connection is lost, from before the offer to behind the end."""
    streamer = ReturningStreamer("streamer", "alice", [b"%03d" % number for number in range(COUNT)], 0.1)
    offered: list[list[bytes]] = []

    def read(reader: Any) -> None:
        offered.append(chunks := [])
        chunks.extend(chunk.data for chunk in reader)

    with simulated(latency=0.02) as sim:
        room = sim.room("demo")
        alice = room.join("alice")
        alice.messaging.enable(read)
        room.add(streamer)
        for index, name in enumerate(names):
            cut(sim, name, *(step * 0.03 + index * 0.015 + 0.7 * round for round in range(5)))
        sim.sleep(100)
        assert offered == [[b"%03d" % number for number in range(COUNT)]]
        assert (streamer.outcome, streamer.written, streamer.streams) == ("closed", COUNT, ())
        assert is_tidy(alice)


@pytest.mark.parametrize("moment", [0.05, 1.0, 5.0])
def test_a_streamer_keeps_its_interval_after_a_loss(moment: float) -> None:
    """Whether the loss strikes before the answer or behind it: no two chunks are closer than a second, or nearly so."""
    streamer = ReturningStreamer("streamer", "alice", [b"x"] * 10, 1)
    with simulated(latency=0.1) as sim:
        room, alice = scene(sim, streamer)
        cut(sim, "streamer", moment)
        with alice.messaging.streams() as streams:
            assert streams.get(60).read_all() == b"x" * 10
        times = [record.time_s for record in room.transcript.messages(type="stream.chunk")]
        assert min(after - before for before, after in pairwise(times)) >= 0.999


def test_a_streamer_that_has_closed_its_stream_does_not_begin_anew_after_a_loss() -> None:
    """Its peer has all of it; when it has left, it does."""
    sink, streamer = ReturningSink(), ReturningStreamer("streamer", "sink", [b"x"] * 3)
    with simulated(latency=0.02) as sim:
        sim.room("demo").add(sink, streamer)
        sim.sleep(5)
        cut(sim, "streamer", 0, 5)
        sim.sleep(10)
        assert (streamer.outcome, sink.asked) == ("closed", 1)
        streamer.leave()
        streamer.come_back()
        sim.sleep(5)
        assert (streamer.outcome, sink.asked, sink.bytes_taken) == ("closed", 2, 6)


def test_a_streamer_learns_that_its_end_was_not_confirmed() -> None:
    """Its peer may have all of it, or not."""
    sink, streamer = Sink("sink"), Streamer("streamer", "sink", [b"x"] * 3, 1)
    with simulated(latency=0.1) as sim:
        sim.room("demo").add(sink, streamer)
        sim.sleep(2.9)
        sim.plan(faults.reset("sink"))
        sim.sleep(1)
        assert (streamer.outcome, len(streamer.streams)) == ("closed", 1)
        sim.sleep(OVER_A_MINUTE)
        assert (streamer.outcome, streamer.streams) == (UNCONFIRMED, ())


UNCONFIRMED = "the stream to 'sink' was closed, and was not resumed within 60 s: the peer may have all of it"


def test_a_streamer_that_is_blocked_goes_on_after_a_loss() -> None:
    """Its reader is slow, and the credits come when both are back."""
    streamer = ReturningStreamer("streamer", "alice", [bytes(2**20)] * 30)
    with simulated(latency=0.02) as sim:
        _, alice = scene(sim, streamer)
        with alice.messaging.streams() as streams:
            reader = streams.get(60)
        reader.accept()
        sim.sleep(5)
        assert streamer.written == 8
        cut(sim, "streamer", 0, 20)
        cut(sim, "alice", 10, 20.01)
        size = 0
        while (chunk := reader.read(60)) is not None:
            size += len(chunk.data)
            sim.sleep(1)
        assert (size, streamer.outcome) == (30 * 2**20, "closed")


@pytest.mark.parametrize("names", [["streamer"], ["sink"], ["streamer", "sink"]], ids="-".join)
def test_two_participants_resume(names: list[str]) -> None:
    """Among themselves it is the same."""
    sink = ReturningSink(rate=10 * KB, window=5 * KB)
    streamer = ReturningStreamer("streamer", "sink", [bytes(KB)] * COUNT, 0.1)
    with simulated(latency=0.02) as sim:
        sim.room("demo").add(sink, streamer)
        for index, name in enumerate(names):
            cut(sim, name, *(0.01 * index + 0.53 * round for round in range(8)))
        sim.sleep(100)
        assert (streamer.outcome, streamer.written, sink.numbers) == ("closed", COUNT, list(range(COUNT)))
        assert (sink.asked, sink.ends, sink.streams, streamer.streams) == (1, [None], (), ())


def test_a_sink_without_flow_control_gets_what_a_streamer_writes() -> None:
    """It accepts without, and the stream ends with its connection."""
    sink, streamer = Sink("sink", window=None), Streamer("streamer", "sink", [b"x"] * 10, 1)
    with simulated() as sim:
        sim.room("demo").add(sink, streamer)
        sim.sleep(4.5)
        assert [stream.outlives_losses for stream in (*sink.streams, *streamer.streams)] == [False, False]
        cut(sim, "sink", 0)
        sim.sleep(1)
        assert (streamer.outcome, streamer.streams, sink.streams) == ("'sink' has left", (), ())


# --- the offer --------------------------------------------------------------------------------------------------------


class Deciding(Returning):
    """Decides later about each offer."""

    def __init__(self) -> None:
        super().__init__("sink")
        self.offers: list[Offer] = []
        self.ends: list[str | None] = []
        self.data = b""

    def on_stream(self, offer: Offer) -> None:
        self.offers.append(offer)

    def on_chunk(self, stream: Stream, chunk: Chunk) -> None:
        self.data += chunk.data

    def on_stream_end(self, stream: Stream, error: str | None) -> None:
        self.ends.append(error)


@pytest.mark.parametrize("name", ["alice", "sink"])
@pytest.mark.parametrize("pause", [0.0, 10.0])
def test_an_offer_that_meets_a_loss_is_decided_once(name: str, pause: float) -> None:
    """Its acceptor may decide before the opener is back, or later."""
    deciding = Deciding()
    with simulated(latency=0.02) as sim:
        _, alice = scene(sim, deciding)
        opening = Result(sim, lambda: open_to(alice))
        sim.sleep(1)
        cut(sim, name, 0)
        sim.sleep(pause)
        stream = deciding.accept(deciding.offers[0])
        stream.write(b"early")
        writer = opening.get(60)
        assert writer.reader.read(30).data == b"early"
        writer.write(b"all")
        writer.close()
        assert (len(deciding.offers), deciding.data, deciding.ends) == (1, b"all", [None])


def test_a_rejection_that_is_lost_comes_again() -> None:
    """The participant is not asked another time."""
    deciding = Deciding()
    with simulated(latency=0.1) as sim:
        _, alice = scene(sim, deciding)
        opening = Result(sim, lambda: open_to(alice))
        sim.sleep(1)
        cut(sim, "alice", 0.05)
        deciding.reject(deciding.offers[0], "not now")
        with pytest.raises(StreamRejected, match="not now"):
            opening.get(60)
        assert len(deciding.offers) == 1


def test_an_offer_that_meets_a_loss_may_be_accepted_without_flow_control() -> None:
    """It goes on to the peer of now, and ends with that connection."""
    deciding, streamer = Deciding(), Streamer("streamer", "sink", [b"x"] * 10, 1)
    with simulated(latency=0.02) as sim:
        sim.room("demo").add(deciding, streamer)
        sim.sleep(1)
        cut(sim, "sink", 0)
        sim.sleep(1)
        deciding.accept(deciding.offers[0], window=None)
        sim.sleep(4.5)
        assert (deciding.data, streamer.written) == (b"x" * 5, 5)
        cut(sim, "sink", 0)
        sim.sleep(1)
        assert (streamer.outcome, deciding.streams, len(deciding.offers)) == ("'sink' has left", (), 1)


def test_an_offer_that_was_withdrawn_cannot_be_accepted_any_more() -> None:
    """Whoever accepts it is told that it has ended."""
    deciding = Deciding()
    with simulated(latency=0.02) as sim:
        _, alice = scene(sim, deciding)
        with pytest.raises(TimeoutError):
            open_to(alice, timeout=1)
        sim.sleep(1)
        deciding.accept(deciding.offers[0])
        sim.sleep(1)
        assert (deciding.streams, deciding.ends) == ((), ["'alice' gave it up before it was accepted"])


def test_a_rejecting_participant_rejects_a_streamer_that_resumes() -> None:
    """It learns why."""
    with simulated(latency=0.02) as sim:
        streamer = Streamer("streamer", "busy", [b"x"])
        sim.room("demo").add(Rejecting("busy", "in a call"), streamer)
        sim.sleep(1)
        assert (streamer.outcome, streamer.streams) == ("rejected: in a call", ())


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_peer_that_does_not_come_back_ends_the_stream_after_a_minute() -> None:
    """Both sides learn it: the sink that waited, and the client that could not connect."""
    sink = ReturningSink()
    with simulated(latency=0.02) as sim:
        _, alice = scene(sim, sink)
        writer = open_to(alice)
        writer.write(b"x")
        sim.sleep(1)
        away(sim, "alice")
        sim.sleep(59)
        assert (len(sink.streams), sink.ends) == (1, [])
        sim.sleep(OVER_A_MINUTE - 59)
        assert (sink.streams, sink.ends) == ((), ["the stream from 'alice' was not resumed within 60 s"])
        with pytest.raises(StreamInterrupted, match="not resumed"):
            writer.write(b"x")


def test_a_sink_that_does_not_come_back_ends_the_stream_after_a_minute() -> None:
    """It learns that outside of the room, too; coming back later does not change it."""
    sink = Sink("sink")
    ended: list[tuple[float, str | None]] = []
    sink.on_stream_end = lambda stream, error: ended.append((sim.now, error))  # type: ignore[method-assign]
    with simulated(latency=0.02) as sim:
        _, alice = scene(sim, sink)
        writer = open_to(alice)
        sim.sleep(1)
        begun = sim.now
        sim.plan(faults.reset("sink"))
        with pytest.raises(StreamInterrupted, match="not resumed within 60 s"):
            writer.reader.read()
        assert sim.now - begun == pytest.approx(60, abs=0.1)
        sim.sleep(1)
        (end,) = ended
        assert end == (pytest.approx(begun + 60, abs=0.1), "the stream from 'alice' was not resumed within 60 s")
        sink.come_back()
        sim.sleep(5)
        assert (sink.streams, len(ended)) == ((), 1)
        write(sim, alice)


@pytest.mark.parametrize("pause", [50.0, 70.0])
def test_a_streamer_comes_back_in_time_or_begins_anew(pause: float) -> None:
    """Within a minute it goes on with its stream; after that it has ended."""
    sink, streamer = ReturningSink(), Streamer("streamer", "sink", [b"x"] * 10, 1)
    with simulated() as sim:
        sim.room("demo").add(sink, streamer)
        sim.sleep(3.5)
        sim.plan(faults.reset("streamer"))
        sim.sleep(pause)
        streamer.come_back()
        sim.sleep(30)
        late = pause > 60
        assert sink.numbers == [*range(4 if late else 0), *range(10)]
        assert sink.ends == (["the stream from 'streamer' was not resumed within 60 s", None] if late else [None])
        assert (streamer.outcome, sink.asked) == ("closed", 2 if late else 1)


@pytest.mark.parametrize("is_offline", [False, True])
def test_who_leaves_ends_its_streams_at_once(is_offline: bool) -> None:
    """Nobody waits for it; if it had no connection then, its peer learns it when it comes back."""
    sink = Sink("sink")
    with simulated(latency=0.02) as sim:
        _, alice = scene(sim, sink)
        writer = open_to(alice)
        sim.sleep(1)
        if is_offline:
            sim.plan(faults.reset("sink"))
            sim.sleep(1)
        begun = sim.now
        sink.leave()
        assert sink.streams == ()
        if is_offline:
            sim.sleep(5)
            sink.come_back()
        with pytest.raises(StreamInterrupted, match=r"sink has left|left the room"):
            writer.reader.read()
        assert sim.now - begun < 6


@pytest.mark.parametrize("name", ["alice", "sink"])
@pytest.mark.parametrize("after", [0.03, 0.05, 0.07])
def test_a_lost_confirmation_of_the_end_is_asked_for(after: float, name: str) -> None:
    """By then the sink has ended the stream, and answers for it."""
    sink = ReturningSink()
    with simulated(latency=0.02) as sim:
        _, alice = scene(sim, sink)
        writer = open_to(alice)
        writer.write(MessageStreamChunk({"n": 0}, b"x"))
        sim.sleep(1)
        cut(sim, name, after)
        begun = sim.now
        writer.close()
        assert sim.now - begun < 30
        sim.sleep(1)
        assert (sink.numbers, sink.ends) == ([0], [None])
        assert is_tidy(alice)


def test_a_streamer_learns_at_once_that_a_client_leaves() -> None:
    """As `close` says it to all peers of its streams."""
    streamer = Streamer("streamer", "alice", [b"x"] * 100, 1)
    with simulated(latency=0.02) as sim:
        room = sim.room("demo")
        alice = room.join("alice")
        alice.messaging.enable(lambda reader: reader.accept())
        room.add(streamer)
        sim.sleep(5)
        alice.close()
        sim.sleep(1)
        assert (streamer.outcome, streamer.streams) == ("'alice' has left", ())


def test_a_cancellation_outlives_a_loss() -> None:
    """A client learns from a sink that comes back why it wanted no more."""
    sink = ReturningSink()
    with simulated(latency=0.02) as sim:
        _, alice = scene(sim, sink)
        writer = open_to(alice)
        away(sim, "alice", 10)
        sim.sleep(5)
        sink.streams[0].cancel("enough")
        with pytest.raises(StreamInterrupted, match="enough"):
            writer.reader.read(60)


def test_another_room_knows_nothing_of_the_streams() -> None:
    """A participant that is added to another one has ended them."""
    sink = Sink("sink")
    with simulated(latency=0.02) as sim:
        _, alice = scene(sim, sink)
        open_to(alice)
        sim.plan(faults.reset("sink"))
        sim.sleep(1)
        assert len(sink.streams) == 1
        sim.room("other").add(sink)
        sim.sleep(1)
        assert sink.streams == ()


# --- without ----------------------------------------------------------------------------------------------------------


class Mortal(ReturningSink):
    """Its streams end with their connection."""

    resumes = False


class Unconfirming(ReturningSink):
    """As an official client, but for flow control."""

    confirms = False


@pytest.mark.parametrize("kind", [Mortal, Unconfirming])
@pytest.mark.parametrize("name", ["alice", "sink"])
def test_streams_end_with_a_connection_where_that_is_wanted(kind: type[ReturningSink], name: str) -> None:
    """At once, at both sides; the client does not even ask for more."""
    sink = kind()
    with simulated(latency=0.02) as sim:
        room, alice = scene(sim, sink)
        writer = open_to(alice)
        assert not sink.streams[0].outlives_losses
        cut(sim, name, 0)
        begun = sim.now
        with pytest.raises(StreamInterrupted):
            writer.reader.read()
        assert sim.now - begun < 1
        sim.sleep(1)
        assert sink.streams == ()
        bodies = [record.detail["meshsync"] for record in room.transcript if record.type in OPENING]
        assert [sorted(body) for body in bodies] == [["version", "window"]] * 2


OPENING = ("stream.open", "stream.accept")


def test_a_claim_to_be_the_peer_is_not_enough() -> None:
    """Who copies its attribute and its name is asked for a proof, and gets nothing of the stream."""
    sink = ReturningSink()
    got: list[str] = []

    class Copying(Participant):
        confirms = False

        def on_message(self, message: Any) -> None:
            got.append(message.type)

        def on_stream(self, offer: Offer) -> None:
            got.append("stream.open")

    with simulated(latency=0.02) as sim:
        room, alice = scene(sim, sink)
        writer = open_to(alice)
        attribute = sink._simulator.here.attributes[sink.streams[0].peer.id]["meshsync"]
        away(sim, "alice", 20)
        sim.sleep(1)
        room.add(Copying("copy", attributes={"meshsync": attribute, "name": "alice"}))
        sim.sleep(1)
        sink.streams[0].write(b"secret")
        assert writer.reader.read(60).data == b"secret"
        chunks = room.transcript.messages(type="stream.chunk")
        assert ([record.recipient for record in chunks], got) == (["alice"], [])


# --- the simulation ---------------------------------------------------------------------------------------------------


def run(seed: int) -> str:
    """Return the digest of a run with losses of both sides."""
    sink, streamer = ReturningSink(rate=50 * KB), ReturningStreamer("streamer", "sink", [bytes(KB)] * COUNT, 0.1)
    with simulated(seed, latency=0.02) as sim:
        room, alice = scene(sim, sink, streamer)
        cut(sim, "sink", 0.5, 1.7, 2.2)
        cut(sim, "streamer", 0.51, 1.1)
        cut(sim, "alice", 0.4, 1.9)
        write(sim, alice)
        return str(room.transcript.digest())


def test_the_same_seed_gives_the_same_bytes() -> None:
    """Secrets and proofs included."""
    assert run(3) == run(3) != run(4)


def test_waiting_for_a_peer_keeps_no_simulation_going() -> None:
    """Its timer is in the background: when all programs are over, time stands still."""
    sink, streamer = Sink("sink"), Streamer("streamer", "sink", [b"x"] * 3, 1)
    with simulated() as sim:
        sim.room("demo").add(sink, streamer)
        sim.sleep(1.5)
        sim.plan(faults.reset("sink"))
        sim.run_until_idle()
        assert sim.now < 10
        assert (len(sink.streams), len(streamer.streams)) == (1, 1)


def test_waiting_for_a_peer_hides_no_deadlock() -> None:
    """A program that waits for ever is found out, also while a stream is interrupted."""
    sink, streamer = Sink("sink"), Streamer("streamer", "sink", [b"x"] * 3, 1)
    with pytest.raises(SimulationDeadlock), simulated() as sim:
        sim.room("demo").add(sink, streamer)
        sim.sleep(1.5)
        sim.plan(faults.reset("sink"))
        condition = sim.runtime.condition()
        with condition:
            condition.wait()


def test_times_that_pass_in_a_pause_count() -> None:
    """A participant that is paused learns afterwards that its stream has ended."""
    sink = ReturningSink()
    with simulated(latency=0.02) as sim:
        _, alice = scene(sim, sink)
        open_to(alice)
        away(sim, "alice")
        sim.sleep(55)
        sim.plan(faults.pause("sink", 10))
        sim.sleep(9)
        assert sink.ends == []
        sim.sleep(2)
        assert sink.ends == ["the stream from 'alice' was not resumed within 60 s"]


def test_who_is_there_is_told_as_before() -> None:
    """A peer whose stream goes on has left and joined all the same."""
    seen: list[tuple[str, str]] = []

    class Watching(ReturningSink):
        def on_peer_joined(self, peer: Peer) -> None:
            seen.append(("joined", peer.name))

        def on_peer_left(self, peer: Peer) -> None:
            seen.append(("left", peer.name))

    with simulated(latency=0.02) as sim:
        _, alice = scene(sim, Watching())
        open_to(alice)
        cut(sim, "alice", 0)
        sim.sleep(5)
        assert seen == [("joined", "alice"), ("left", "alice"), ("joined", "alice")]
