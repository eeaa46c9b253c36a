"""Streams between two clients that outlive losses at either end: whole, in order, and ended in time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import meshsync
from meshsync import (
    MessageStreamChunk,
    StreamCancelled,
    StreamInterrupted,
    StreamRejected,
    StreamTimeout,
    UsageError,
)
from meshsync.files.transfer import receive_file, send_file
from simulator import Simulation, faults, latency
from simulator.participants import Sink
from tests.support.streaming import MIB, Pair, Result, Scripted, held, is_tidy
from tests.support.worlds import simulated

COUNT = 12
KIB = 1024


class Reading:
    """Bob's program: it reads each stream to its end, and answers the last chunk."""

    def __init__(self) -> None:
        self.asked = 0
        self.numbers: list[int] = []
        self.ends: list[BaseException | None] = []

    def __call__(self, reader: Any) -> None:
        """Read a stream that is offered."""
        self.asked += 1
        try:
            for chunk in reader:
                self.numbers.append(chunk.header["n"])
                if chunk.header["n"] == COUNT - 1:
                    reader.writer.write(MessageStreamChunk({"got": COUNT}))
            self.ends.append(None)
        except BaseException as error:
            self.ends.append(error)


def cut(sim: Simulation, name: str, *times: float) -> None:
    """Lose a participant's connection at these times, in seconds from now."""
    for time in times:
        sim.plan(faults.at(sim.now + time, faults.reset(name)))


def away(sim: Simulation, name: str, seconds: float) -> None:
    """Lose a participant's connection, and let it have none for so long."""
    sim.plan(faults.during(sim.now, sim.now + seconds, faults.refuse_connect(name)))
    sim.plan(faults.reset(name))


# --- losses at any time -----------------------------------------------------------------------------------------------


def exchange(sim: Simulation, pair: Pair, reading: Reading, pause: float = 0.03) -> None:
    """Have Alice write a stream, wait for the answer, and close it; check what Bob has when that returns."""
    writer = pair.open({"what": "numbers"})
    for number in range(COUNT):
        writer.write(MessageStreamChunk({"n": number}, bytes(100)))
        sim.sleep(pause)
    assert writer.reader.read(90).header == {"got": COUNT}
    writer.close()
    assert reading.numbers == list(range(COUNT))
    sim.sleep(90)
    assert (reading.asked, reading.ends) == (1, [None])
    assert is_tidy(pair.alice)
    assert is_tidy(pair.bob)


@pytest.mark.parametrize("names", [["alice"], ["bob"], ["alice", "bob"], ["bob", "alice"]], ids="-".join)
@pytest.mark.parametrize("step", range(24))
def test_stream_arrives_whole_whenever_connections_are_lost(names: list[str], step: int) -> None:
    """From before the offer to behind the end, at either side or at both; the program is asked once."""
    reading = Reading()
    with simulated(latency=0.02) as sim:
        pair = Pair(sim, reading)
        pair.to()
        for index, name in enumerate(names):
            cut(sim, name, step * 0.03 + index * 0.015)
        exchange(sim, pair, reading)


@pytest.mark.parametrize("seed", range(8))
def test_stream_arrives_whole_over_many_losses(seed: int) -> None:
    """Also where one strikes while the last is not over."""
    reading = Reading()
    with simulated(seed, latency=0.02) as sim:
        pair = Pair(sim, reading)
        pair.to()
        chance = sim.runtime.random("losses")
        for name in ("alice", "bob"):
            cut(sim, name, *(chance.uniform(0, 15) for _ in range(12)))
        exchange(sim, pair, reading, pause=1.0)


@pytest.mark.parametrize("seed", range(4))
def test_joined_chunks_arrive_whole_over_many_losses(seed: int) -> None:
    """As written, each with its header: some come by themselves, and most with others."""
    written = [MessageStreamChunk({"n": number}, bytes([number % 251]) * (number * 37 % 5000)) for number in range(900)]
    got: list[MessageStreamChunk] = []
    with simulated(seed, latency=0.02) as sim:
        pair = Pair(sim, got.extend)
        for client in (pair.alice, pair.bob):
            client._meshsync.streams.join_chunks()
        pair.to()
        chance = sim.runtime.random("losses")
        for name in ("alice", "bob"):
            cut(sim, name, *(chance.uniform(0, 2) for _ in range(5)))
        with pair.open() as writer:
            for chunk in written:
                writer.write(chunk)
        sim.sleep(90)
        assert got == written
        assert is_tidy(pair.alice) and is_tidy(pair.bob)
    # A simulated room records the first chunk of a message. (What was lost is sent again, and recorded again.)
    assert len(pair.room.transcript.messages(type="stream.chunk")) < len(written)


@pytest.mark.parametrize("joins", [False, True])
def test_a_header_that_changes_once_it_is_written_is_sent_as_it_was(joins: bool) -> None:
    """Also for the second time, after a loss."""
    header: dict[str, Any] = {"list": []}
    got: list[Any] = []
    with simulated(latency=0.02) as sim:
        pair = Pair(sim, lambda reader: got.extend(chunk.header for chunk in reader))
        for client in (pair.alice, pair.bob) if joins else ():
            client._meshsync.streams.join_chunks()
        with pair.open() as writer:
            for number in range(3):
                header["list"].append(number)
                writer.write(MessageStreamChunk(header, bytes(150_000 if number else 10)))
            cut(sim, "alice", 0)
            header["list"].append(object())
            sim.sleep(0.01)
    assert got == [{"list": [0]}, {"list": [0, 1]}, {"list": [0, 1, 2]}]


def test_both_ways_outlive_losses() -> None:
    """Whoever writes, whoever has opened it."""
    got: list[bytes] = []

    def answer(reader: Any) -> None:
        for chunk in reader:
            reader.writer.write(chunk.data.upper())

    with simulated(latency=0.02) as sim:
        pair = Pair(sim, answer)
        writer = pair.open()
        cut(sim, "alice", 0.1, 2.1)
        cut(sim, "bob", 0.3, 1.9)
        reading = sim.spawn(lambda: got.extend(writer.reader.read(60).data for _ in range(30)))
        for number in range(30):
            writer.write(f"piece {number}".encode())
            sim.sleep(0.1)
        assert reading.join(60)
        writer.close()
        assert got == [f"PIECE {number}".encode() for number in range(30)]


def test_no_byte_that_the_readers_client_has_is_sent_again() -> None:
    """Its program need not have read it; what is sent twice was lost."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        for number in range(3):
            writer.write(MessageStreamChunk({"n": number}, bytes(KIB)))
        sim.sleep(1)
        assert held(reader) == 3 * KIB
        cut(sim, "alice", 0)
        sim.sleep(10)
        cut(sim, "bob", 0)
        sim.sleep(10)
        writer.write(MessageStreamChunk({"n": 3}))
        writer.close()
        assert len(pair.room.transcript.messages(type="stream.chunk")) == 4
        assert [reader.read().header["n"] for _ in range(4)] == [0, 1, 2, 3]
        assert reader.read() is None


def test_peers_of_a_resumed_stream_are_those_of_now() -> None:
    """A program can answer whom it names."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        cut(sim, "alice", 0)
        cut(sim, "bob", 0.01)
        sim.sleep(10)
        assert (writer.to.online, reader.sender.online) == (True, True)
        assert writer.to is pair.to()


def test_closing_returns_when_the_readers_client_has_all() -> None:
    """Not when the room has; the program at the other end may read it later."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        writer.write(b"x" * 10)
        cut(sim, "bob", 0.15)
        begun = sim.now
        writer.close()
        assert held(reader) == 10
        assert sim.now - begun > 0.4
        assert reader.read_all() == b"x" * 10


@pytest.mark.parametrize("after", [0.25, 0.35, 0.45])
def test_a_lost_confirmation_of_the_end_is_asked_for(after: float) -> None:
    """By then the reader's program has let go of the stream."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim, lambda reader: reader.read_all())
        writer = pair.open()
        sim.sleep(1)
        cut(sim, "alice", after - 0.2)
        writer.close()
        assert pair.are_tidy()


def test_an_offer_that_meets_a_loss_is_offered_again() -> None:
    """Under the same id; the acceptor decides once, whenever."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim)
        with pair.bob.messaging.streams() as offers:
            opening = Result(sim, pair.open)
            reader = offers.get(1)
            cut(sim, "bob", 0.1)
            cut(sim, "alice", 0.12)
            sim.sleep(10)
            reader.accept()
            writer = opening.get(1)
            assert offers.pending == 0
        writer.write(b"x")
        writer.close()
        assert reader.read_all() == b"x"


def test_a_rejection_that_is_lost_comes_again() -> None:
    """The program is not asked another time."""
    asked: list[Any] = []

    def decline(reader: Any) -> None:
        asked.append(reader)
        raise StreamRejected("not now")

    with simulated(latency=0.1) as sim:
        pair = Pair(sim, decline)
        pair.to()
        cut(sim, "alice", 0.25)
        with pytest.raises(StreamRejected, match="not now"):
            pair.open()
        assert len(asked) == 1
        assert sim.now > 1


def test_a_stream_accepted_while_offline_goes_on() -> None:
    """The consent follows with the connection."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim)
        with pair.bob.messaging.streams() as offers:
            opening = Result(sim, pair.open)
            reader = offers.get(1)
            away(sim, "bob", 2)
            sim.sleep(1)
            reader.accept()
            reader.writer.write(b"early")
        assert opening.get().reader.read(30).data == b"early"


# --- losses that last -------------------------------------------------------------------------------------------------


def kill(pair: Pair, name: str) -> None:
    """Lose a connection for good."""
    away(pair.simulation, name, 10_000)


CALLS: list[tuple[str, Callable[[Any], object]]] = [
    ("read", lambda writer: writer.reader.read()),
    ("write", lambda writer: [writer.write(bytes(MIB)) for _ in range(20)]),
    ("flush", lambda writer: (writer.write(b"x"), writer.flush())),
    ("close", lambda writer: writer.close()),
]


@pytest.mark.parametrize("call", [call for _, call in CALLS], ids=[name for name, _ in CALLS])
@pytest.mark.parametrize("name", ["alice", "bob"])
def test_a_loss_that_lasts_too_long_ends_what_waits(name: str, call: Callable[[Any], object]) -> None:
    """A minute after the loss, whichever side does not come back; also at the side that stays offline."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        kill(pair, name)
        sim.sleep(1)
        begun = sim.now
        with pytest.raises(StreamInterrupted):
            call(writer)
        assert sim.now - begun == pytest.approx(59, abs=0.1)
        with pytest.raises(StreamInterrupted, match="not resumed within 60 s"):
            reader.read(1)


def test_a_loss_while_a_call_waits_ends_it_in_time() -> None:
    """It began without knowing of one."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim)
        writer, _ = pair.both()
        reading = Result(sim, writer.reader.read)
        writing = Result(sim, lambda: [writer.write(bytes(MIB)) for _ in range(20)])
        sim.sleep(5)
        kill(pair, "alice")
        for result in (reading, writing):
            with pytest.raises(StreamInterrupted, match="not resumed"):
                result.get(61)


def test_nobody_need_wait_for_a_lost_stream_to_end() -> None:
    """The side that is online reports it in time."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim)
        ended: list[float] = []
        pair.bob.messaging.on("stream_closed", lambda event: ended.append(sim.now))
        _, reader = pair.both()
        kill(pair, "alice")
        begun = sim.now
        sim.sleep(70)
        assert [round(time - begun, 1) for time in ended] == [60.0]
        assert is_tidy(pair.bob)
        with pytest.raises(StreamInterrupted):
            reader.read(0)


def test_a_close_without_an_answer_tells_that_the_reader_may_have_all() -> None:
    """It cannot be known."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        writer.write(b"all of it")
        sim.spawn(lambda: (sim.sleep(0.45), kill(pair, "bob")))
        with pytest.raises(StreamInterrupted, match="it may have all of it"):
            writer.close()
        assert reader.read_all() == b"all of it"


def test_the_smaller_time_of_both_sides_counts() -> None:
    """Here that of the opener."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim)
        _, reader = pair.both(resume_for=5)
        kill(pair, "alice")
        begun = sim.now
        with pytest.raises(StreamInterrupted, match="not resumed within 5 s"):
            reader.read()
        assert sim.now - begun == pytest.approx(5, abs=0.1)


def test_time_limits_of_a_program_hold_during_a_loss() -> None:
    """And by default a call has its thirty seconds once the stream goes on."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim, lambda reader: reader.accept())
        writer = pair.open()
        for _ in range(8):
            writer.write(bytes(MIB))
        away(sim, "bob", 40)
        sim.sleep(1)
        begun = sim.now
        with pytest.raises(StreamTimeout, match="not resumed within 3 s"):
            writer.write(bytes(MIB), timeout=3)
        assert sim.now - begun == 3
        with pytest.raises(StreamTimeout, match="has read nothing of it for 30 s"):
            for _ in range(3):
                writer.write(bytes(MIB))
        assert sim.now - begun > 60


# --- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("leave", "error"),
    [
        (lambda pair: pair.bob.close(), "bob has left"),
        (lambda pair: pair.bob.messaging.disable(), "messaging was disabled"),
    ],
    ids=["close", "disable"],
)
def test_a_regular_leave_ends_streams_at_once(leave: Callable[[Pair], object], error: str) -> None:
    """Nobody waits a minute for a peer that left."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        with pair.alice.messaging.streams() as offers:
            opening = Result(sim, lambda: pair.bob.messaging.create_stream(pair.alice.local_participant, {}))
            undecided = offers.get(1)
            reading = Result(sim, writer.reader.read)
            leave(pair)
            begun = sim.now
            with pytest.raises(StreamInterrupted, match=error):
                reading.get()
            with pytest.raises((StreamInterrupted, StreamCancelled), match=error):
                writer.write(b"x")
            with pytest.raises(StreamInterrupted):
                undecided.read()
            assert sim.now - begun < 0.1
        for call in (opening.get, reader.read):
            with pytest.raises(meshsync.MeshsyncError):
                call()
        assert not (pair.alice._meshsync.streams.streams or pair.bob._meshsync.streams.streams)


def test_giving_up_during_a_loss_reaches_the_peer_after_it() -> None:
    """The writer aborts offline; the reader gets what came, and the reason."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        writer.write(b"x")
        sim.sleep(1)
        away(sim, "alice", 2)
        sim.sleep(1)
        writer.abort("enough")
        assert reader.read().data == b"x"
        with pytest.raises(StreamInterrupted, match="alice ended the stream early: enough"):
            reader.read()
        assert pair.are_tidy()


def test_a_reader_that_closes_during_a_loss_ends_the_writer_after_it() -> None:
    """With its reason."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        away(sim, "bob", 2)
        sim.sleep(1)
        reader.close("full")
        with pytest.raises(StreamCancelled, match="full"):
            for _ in range(20):
                writer.write(bytes(MIB))
        assert pair.are_tidy()


def test_closing_again_after_a_time_out_waits_on() -> None:
    """Nothing is written meanwhile."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        writer.write(b"x")
        away(sim, "bob", 10)
        sim.sleep(1)
        with pytest.raises(StreamTimeout, match="bob has not confirmed within 2 s that it has all of it"):
            writer.close(timeout=2)
        with pytest.raises(UsageError, match="is closing it"):
            writer.write(b"y")
        writer.close()
        writer.close()
        assert reader.read_all() == b"x"


# --- without ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_a_stream_that_is_to_end_with_its_connections_does(name: str) -> None:
    """``resume_for=0``: at once, and its peer is told nothing of resumption."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim)
        writer, reader = pair.both(resume_for=0)
        cut(sim, name, 0)
        sim.sleep(0.5)
        for call in (lambda: writer.write(b"x"), lambda: reader.read(0)):
            with pytest.raises(StreamInterrupted):
                call()
        assert writer._stream.resumption is None


def test_a_duplex_stream_cannot_outlive_a_loss() -> None:
    """To ask for that is an error, and by default it does not."""
    with simulated() as sim:
        pair = Pair(sim, lambda reader: reader.read_all())
        with pytest.raises(UsageError, match="a duplex stream ends with its connection"):
            pair.open(kind="duplex", resume_for=10)
        with pytest.raises(ValueError, match="resume_for"):
            pair.open(resume_for=-1)
        with pair.open(kind="duplex") as writer:
            assert writer._stream.resumption is None


def test_other_peers_see_nothing_of_it() -> None:
    """A stream to one that does not say that it resumes is carried as before."""
    with simulated() as sim:
        room = sim.room("demo")
        alice = room.join("alice", enable=True)
        sink = Sink("sink")
        sink.resumes = False
        room.add(sink)
        with alice.messaging.create_stream(alice.messaging.wait_for_participant("sink"), {}) as writer:
            for _ in range(40):
                writer.write(bytes(64 * KIB))
        sim.sleep(1)
        types = {record.type for record in room.transcript if record.type.startswith("stream.")}
        assert types <= {"stream.open", "stream.accept", "stream.chunk", "stream.meshsync.credit", "stream.close"}


def test_programs_do_not_see_the_attribute_by_which_it_is_agreed_upon() -> None:
    """Nor may they set it."""
    with simulated() as sim:
        pair = Pair(sim)
        assert pair.to().attributes == {"name": "bob"}
        with pytest.raises(UsageError, match="this package's own"):
            pair.alice.local_participant.set_attribute("meshsync", {})


# --- impostors --------------------------------------------------------------------------------------------------------


def imposing(pair: Pair) -> Scripted:
    """Have somebody join who has copied Bob's name and attribute, and says what it likes."""
    client = pair.room.join("mallory", messaging=Scripted)
    client._meshsync.confirmation._exchange.instance = pair.bob._meshsync.confirmation._exchange.instance
    client.local_participant.set_attribute("name", "bob")
    client.messaging.enable()
    assert isinstance(client.messaging, Scripted)
    return client.messaging


@pytest.mark.parametrize("before", [True, False], ids=["there before", "there in between"])
def test_an_impostor_neither_gets_a_chunk_nor_ends_the_stream(before: bool) -> None:
    """It is met, since it claims to be the peer; what it says without the stream's secret is nothing."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        mallory = imposing(pair) if before else None
        away(sim, "bob", 10)
        sim.sleep(1)
        mallory = mallory or imposing(pair)
        sim.sleep(1)
        (asked,) = mallory.heard("stream.meshsync.resume")
        closing = Result(sim, lambda: (writer.write(b"secret"), writer.close()))
        me, proof = mallory.wait_for_participant(name="alice"), {"proof": asked["proof"]}
        for type, body in (
            ("resume", proof | {"position": 1, "granted": 9 * MIB, "number": 9, "seen": asked["number"]}),
            ("closed", proof),
            ("cancel", proof | {"reason": "haha"}),
            ("credit", {"bytes": 9, "position": 1}),
        ):
            mallory.say(me, f"stream.meshsync.{type}", writer.stream_id, **body)
        mallory.say(me, "stream.close", writer.stream_id)
        sim.sleep(1)
        assert not mallory.heard("stream.chunk")
        closing.get()
        assert reader.read_all() == b"secret"
        assert not mallory.heard("stream.chunk")


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_what_is_held_counts_in_the_budget() -> None:
    """Until the peer's client has it; with nothing left, each stream may still hold its least."""
    with simulated(latency=0.02) as sim:
        pair = Pair(sim)
        writer, _ = pair.both()
        budget = pair.alice._meshsync.budget
        budget.limit = 2 * MIB
        before = budget.held
        away(sim, "bob", 2)
        sim.sleep(1)
        with pytest.raises(StreamTimeout, match="this client holds all the bytes that it may"):
            for _ in range(10):
                writer.write(bytes(MIB // 2), timeout=1)
        assert MIB < budget.held - before <= 2 * MIB
        sim.sleep(10)
        assert budget.held == before


@pytest.mark.parametrize(
    ("law", "longest"),
    [(latency.lognormal(median=0.04, sigma=0.5), 5.0), (latency.uniform(0.01, 0.2), 10.0), (0.04, 1.6)],
    ids=["lognormal", "uniform", "constant"],
)
def test_jitter_does_not_hide_what_a_way_holds(law: Any, longest: float) -> None:
    """16 MiB, where 256 KiB for each time there and back would take 6 to 15 s."""
    with simulated(7, latency=law) as sim:
        pair = Pair(sim, lambda reader: reader.read_all())
        alice = pair.room.join("sender", enable=True, dialect="A")
        begin = sim.now
        with alice.messaging.create_stream(alice.messaging.wait_for_participant("bob"), {}) as writer:
            for _ in range(64):
                writer.write(bytes(256 * KIB))
        assert sim.now - begin < longest


def transfer(size: int, losses: int, chunk_size: int, folder: Path | None = None) -> float:
    """Send so much on links of 2 MB/s and 40 ms; return how many bytes went out for each byte.

    The dialect is one whose messages are as large on the wire as their attachments.

    Args:
        folder: To send a file, and receive one; else a stream.
    """
    with simulated(3, latency=0.04) as sim:
        got: list[int] = []

        def receive(reader: Any) -> None:
            if folder is not None:
                got.append(receive_file(reader, folder / "inbox").size)
                return
            for number, chunk in enumerate(reader):
                assert chunk.header == {"n": number}
                got.append(len(chunk.data))

        pair = Pair(sim, receive, packet_size=65536, dialect="A")
        alice = pair.room.join("sender", enable=True, packet_size=65536, dialect="A")
        to = alice.messaging.wait_for_participant("bob")
        chance, seconds = sim.runtime.random("losses"), size / 2e6
        for name in ("sender", "bob"):
            sim.plan(faults.throttle(name, 2_000_000))
        for index in range(losses):
            cut(sim, chance.choice(["sender", "bob"]), (index + chance.random()) * seconds / losses)
        if folder is not None:
            send_file(alice.messaging, folder / "film.mp4", to)
        else:
            writer = alice.messaging.create_stream(to, {})
            for number in range(size // chunk_size):
                writer.write(MessageStreamChunk({"n": number}, bytes(chunk_size)))
            writer.close()
        sim.sleep(1)
        assert sum(got) == size
        return alice.stats().bytes_sent / size


@pytest.mark.parametrize("chunk_size", [16 * KIB, 64 * KIB, 256 * KIB, MIB])
def test_little_is_sent_again(chunk_size: int) -> None:
    """A tenth of what has to hold, 64 MiB over 20 losses, is tried here; the whole is left to ``tox -e soak``."""
    assert transfer(64 * MIB // 10 // chunk_size * chunk_size, 2, chunk_size) <= 1.1


def test_files_outlive_losses(tmp_path: Path) -> None:
    """A tenth of 256 MiB over 50 losses."""
    (tmp_path / "inbox").mkdir()
    size = 256 * MIB // 10
    (tmp_path / "film.mp4").write_bytes(bytes(size))
    assert transfer(size, 5, 0, tmp_path) <= 1.1
    assert (tmp_path / "inbox" / "film.mp4").read_bytes() == bytes(size)
