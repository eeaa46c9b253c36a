"""Chunks between whole clients on virtual time: both directions, reading, writing."""

from __future__ import annotations

import gc
from typing import Any

import pytest

import meshsync
from meshsync import (
    InvalidMessage,
    MessageStreamChunk,
    ReceiveTimeout,
    StreamCancelled,
    StreamInterrupted,
    StreamTimeout,
    UsageError,
)
from meshsync.errors import RoomError
from meshsync.streams.life import Phase
from simulator import faults
from tests.support.streaming import MIB, Pair, Result, accept, account, held, is_tidy
from tests.support.worlds import simulated

# --- both directions --------------------------------------------------------------------------------------------------


def test_a_stream_goes_both_ways() -> None:
    """Each side writes and reads; closing one end ends both directions after what was written."""

    def answer(reader: Any) -> None:
        for chunk in reader:
            if chunk.data == b"last":
                break
            reader.writer.write(MessageStreamChunk({"to": chunk.header["n"]}, chunk.data.upper()))
        reader.writer.close()

    with simulated(latency=0.05) as sim:
        pair = Pair(sim, answer)
        writer = pair.open()
        for n in range(20):
            writer.write(MessageStreamChunk({"n": n}, b"abc"))
        writer.write(b"last")
        assert [(chunk.header["to"], chunk.data) for chunk in writer.reader] == [(n, b"ABC") for n in range(20)]
        assert writer.reader.sender is writer.to
        with pytest.raises(StreamCancelled, match="bob closed it"):
            writer.write(b"more")
        writer.close()
        assert pair.are_tidy()


def test_the_end_of_the_stream_ends_the_way_back() -> None:
    """After the opener's close the acceptor reads to the end, and can write no more."""
    with simulated() as sim:
        writer, reader = Pair(sim).both()
        writer.write(b"x")
        writer.close()
        assert reader.read_all() == b"x"
        assert writer.reader.read() is None
        with pytest.raises(StreamCancelled, match="alice closed it"):
            reader.writer.write(b"y")
        with pytest.raises(UsageError, match="cannot be written to: this program closed it"):
            writer.write(b"y")
        with pytest.raises(UsageError, match="this program closed it"):
            writer.flush()
        writer.close()


@pytest.mark.parametrize("seed", range(10))
def test_a_task_may_write_back_while_another_accepts(seed: int) -> None:
    """However they take turns, the opener gets what was written after the acceptance."""
    with simulated(seed, schedule="random") as sim:
        pair = Pair(sim)
        with pair.bob.messaging.streams() as offers:
            opening = Result(sim, pair.open)
            reader: Any = offers.get(5)

            def write() -> None:
                while reader._stream.life.phase is Phase.OFFERED:
                    meshsync.sleep(0)
                reader.writer.write(b"x")

            writing = Result(sim, write)
            reader.accept()
            writing.get()
            assert opening.get().reader.read(1).data == b"x"


# --- reading ----------------------------------------------------------------------------------------------------------


def test_dropped_writer_leaves_the_run_as_it_is() -> None:
    """Nothing in a simulation depends on garbage: the time-out says what may be, and the client's end is told."""
    with simulated() as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        writer.write(b"x")
        del writer
        gc.collect()
        assert reader.read(1).data == b"x"
        with pytest.raises(ReceiveTimeout, match="alice has not closed it, so it is slow, or its program dropped"):
            reader.read(100)
        pair.alice.close()
        with pytest.raises(StreamInterrupted, match="alice has left"):
            reader.read(1)


def test_reading_waits_polls_and_times_out() -> None:
    """In virtual seconds; what comes later is read later."""
    with simulated() as sim:
        writer, reader = Pair(sim).both()
        begun = sim.now
        for timeout in (0, 2.5):
            with pytest.raises(ReceiveTimeout, match=f"no chunk came within {timeout} s") as caught:
                reader.read(timeout)
            assert caught.value.retryable
        assert sim.now - begun == 2.5
        writer.write(b"x")
        assert reader.read(1) == MessageStreamChunk({}, b"x")


def test_a_time_limit_of_reading_all_loses_nothing() -> None:
    """What came before it was over is read again, in order, by whatever call."""
    with simulated() as sim:
        writer, reader = Pair(sim).both()
        for n in range(3):
            writer.write(bytes([n]))
        with pytest.raises(ReceiveTimeout):
            reader.read_all(5)
        assert sim.now == 5
        assert reader.read(0).data == b"\0"
        with pytest.raises(ReceiveTimeout):
            reader.read_all(1)
        writer.write(b"\3")
        writer.close()
        assert reader.read_all() == b"\1\2\3"
        assert account(reader).unread == 0


def test_an_interruption_comes_after_what_came() -> None:
    """Also if it was read in one go, which shows nothing incomplete, but keeps it."""
    with simulated() as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        writer.write(b"one")
        writer.write(b"two")
        writer.flush()
        pair.alice.close()
        for _ in range(2):
            with pytest.raises(StreamInterrupted, match="alice has left"):
                reader.read_all()
        assert [reader.read().data, reader.read().data] == [b"one", b"two"]
        for _ in range(2):
            with pytest.raises(StreamInterrupted, match="alice has left") as caught:
                reader.read()
        assert caught.value.connection_alive
        assert is_tidy(pair.bob)


def test_only_one_task_reads_at_a_time() -> None:
    """The second is refused; the first gets the chunk."""
    with simulated() as sim:
        writer, reader = Pair(sim).both()
        first = Result(sim, reader.read)
        sim.sleep(1)
        with pytest.raises(UsageError, match="being read by another task"):
            reader.read(0)
        writer.write(b"x")
        assert first.get().data == b"x"
        writer.close()
        assert reader.read() is None


def test_a_reader_that_is_closed_reads_no_more() -> None:
    """Not even what came; one that waits in ``read`` is woken, and the writer is told."""
    with simulated() as sim:
        writer, reader = Pair(sim).both()
        waiting = Result(sim, reader.read)
        sim.sleep(1)
        reader.close("seen enough")
        with pytest.raises(UsageError, match="cannot be read: this program closed it"):
            waiting.get()
        sim.sleep(1)
        with pytest.raises(StreamCancelled, match=r"^bob ended the stream early: seen enough$"):
            writer.flush()
        reader.close()
        assert held(reader) == 0


def test_an_abandoned_reader_is_cleaned_up_when_its_writer_goes() -> None:
    """Accepted, never read, forgotten by the program."""
    with simulated() as sim:
        pair = Pair(sim, accept)
        writer = pair.open()
        writer.write(bytes(100))
        writer.flush()
        assert len(pair.bob.messaging._meshsync.streams.streams) == 1
        pair.alice.close()
        sim.sleep(1)
        assert is_tidy(pair.bob)


# --- writing ----------------------------------------------------------------------------------------------------------


def test_writing_does_not_wait_for_each_acknowledgement() -> None:
    """200 chunks at 50 ms round trip: a writer that waits takes 10 s; ours is to take at most a 20th of that."""
    with simulated(latency=0.025) as sim:
        pair = Pair(sim, lambda reader: reader.read_all())
        took = []
        for waits in (True, False):
            with pair.open() as writer:
                begun = sim.now
                for _ in range(200):
                    writer.write(bytes(1000))
                    if waits:
                        writer.flush()
                writer.flush()
                took.append(sim.now - begun)
        assert took[0] == pytest.approx(10)
        assert took[0] / took[1] >= 20


def test_so_many_chunks_are_unacknowledged_at_most() -> None:
    """256 chunks, or 8 MiB: the next waits for the first acknowledgement, and gives up in time."""
    with simulated() as sim:
        pair = Pair(sim, lambda reader: reader.read_all())
        writer = pair.open(resume_for=0)
        sim.plan(faults.late_replies("alice", 10))
        for _ in range(256):
            writer.write(b"x", timeout=0)
        with pytest.raises(StreamTimeout, match="not acknowledged within 1 s"):
            writer.write(b"y", timeout=1)
        begun = sim.now
        writer.write(b"y")
        assert sim.now - begun == 9
        with pytest.raises(StreamTimeout):
            writer.flush(timeout=1)
        writer.close()
        assert pair.are_tidy()


def test_an_unacknowledged_size_holds_writers_too() -> None:
    """8 MiB are three chunks of 2.5 MiB; one chunk alone always goes."""
    with simulated() as sim:
        pair = Pair(sim, lambda reader: reader.read_all(), packet_size=65536)
        writer = pair.open(resume_for=0)
        sim.plan(faults.late_replies("alice", 10))
        for _ in range(3):
            writer.write(bytes(5 * MIB // 2), timeout=1)
        with pytest.raises(StreamTimeout, match="not acknowledged"):
            writer.write(bytes(MIB), timeout=1)


def test_a_refused_chunk_fails_the_next_call() -> None:
    """With the room's error as the cause; both ends learn that the stream is not whole."""
    with simulated() as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        writer.write(b"one")
        sim.plan(faults.during(sim.now + 1, sim.now + 2, faults.error_replies("alice", 1008)))
        sim.sleep(1.5)
        writer.write(b"two")
        sim.sleep(1)
        for call in (lambda: writer.write(b"three"), writer.flush, writer.close):
            with pytest.raises(StreamInterrupted, match="a fault of this simulation") as caught:
                call()
            cause = caught.value.__cause__
            assert isinstance(cause, RoomError)
            assert cause.code == 1008
        assert reader.read().data == b"one"
        with pytest.raises(StreamInterrupted, match="alice ended the stream early"):
            reader.read()
        assert pair.are_tidy()


@pytest.mark.parametrize("call", ["flush", "close"])
def test_flushing_and_closing_tell_of_a_refused_chunk(call: str) -> None:
    """Even if the refusal comes while they wait."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        sim.plan(faults.during(sim.now, sim.now + 0.15, faults.error_replies("alice", 1008)))
        sim.sleep(0.01)
        writer.write(b"lost")
        with pytest.raises(StreamInterrupted, match="a fault of this simulation"):
            getattr(writer, call)()
        with pytest.raises(StreamInterrupted):
            reader.read()
        assert pair.are_tidy()


def test_closing_waits_for_what_is_outstanding() -> None:
    """Its own word included: a round trip for the chunks, one for the end, and half a one until the peer has it all."""
    with simulated(latency=0.1) as sim:
        writer, reader = Pair(sim).both()
        begun = sim.now
        writer.write(b"x")
        writer.close()
        assert sim.now - begun == pytest.approx(0.6)
        assert reader.read_all() == b"x"


def test_an_exception_inside_with_aborts() -> None:
    """The reader gets what came and an error that names the exception's class, never a regular end."""
    with simulated() as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        with pytest.raises(ZeroDivisionError), writer:
            writer.write(b"x")
            raise ZeroDivisionError("oh")
        assert reader.read().data == b"x"
        with pytest.raises(
            StreamInterrupted, match=r"^alice ended the stream early: the program failed \(ZeroDivisionError\)$"
        ):
            reader.read()
        with pytest.raises(UsageError):
            writer.write(b"y")
        assert pair.are_tidy()


def test_the_text_of_an_exception_stays_here_and_the_programs_own_words_go() -> None:
    """The first may be a secret, of which no packet has a part; the second are meant for the peer."""
    secret = "cannot log in at postgres://admin:hunter2@db"
    with simulated() as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        with pytest.raises(RuntimeError), writer:
            raise RuntimeError(secret)
        with pytest.raises(StreamInterrupted) as caught:
            reader.read()
        assert "hunter2" not in str(caught.value) + "".join(map(str, pair.room.transcript))
        writer, reader = pair.both()
        with pytest.raises(RuntimeError), writer:
            writer.abort("the database is away")
            raise RuntimeError(secret)
        with pytest.raises(StreamInterrupted, match=r"^alice ended the stream early: the database is away$"):
            reader.read()


def test_a_with_block_whose_closing_fails_leaves_nothing_open() -> None:
    """Nobody closes it after that, so it is aborted."""
    with simulated() as sim:
        pair = Pair(sim)
        writer, reader = pair.both(resume_for=0)
        sim.plan(faults.during(sim.now, sim.now + 100, faults.late_replies("alice", 50)))
        with pytest.raises(StreamTimeout), writer:
            writer.write(b"x")
        sim.sleep(1)
        assert reader.read().data == b"x"
        with pytest.raises(
            StreamInterrupted, match=r"^alice ended the stream early: the program failed \(StreamTimeout\)$"
        ):
            reader.read()
        sim.sleep(200)
        assert pair.are_tidy()


def test_a_chunk_that_cannot_be_carried_costs_nothing() -> None:
    """Neither the stream nor any credit: the next goes through."""
    with simulated() as sim:
        pair = Pair(sim)
        writer, reader = pair.both()
        before = account(writer)._room
        for chunk in (bytes(5 * MIB), MessageStreamChunk({"x": {1}}), MessageStreamChunk([1]), "text", 7):  # type: ignore[arg-type]
            with pytest.raises(InvalidMessage):
                writer.write(chunk)
        assert account(writer)._room == before
        writer.write(MessageStreamChunk({}, None))  # type: ignore[arg-type]
        writer.write(memoryview(b"view"))
        writer.close()
        assert [chunk.data for chunk in reader] == [b"", b"view"]


def test_a_chunk_is_what_it_was_when_it_was_written() -> None:
    """Changing the buffer and the header afterwards changes nothing, and what arrives is bytes."""
    with simulated() as sim:
        writer, reader = Pair(sim).both()
        data, header = bytearray(b"before"), {"n": [1]}
        writer.write(MessageStreamChunk(header, data))
        data[:] = b"after!"
        header["n"].append(2)
        chunk = reader.read()
        assert (type(chunk.data), chunk.data, chunk.header) == (bytes, b"before", {"n": [1]})
