"""Streams on virtual time with peers that read slowly or never, know no flow control, or misbehave."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

import meshsync
from meshsync import (
    MessageStreamChunk,
    ReceiveTimeout,
    StreamCancelled,
    StreamInterrupted,
    StreamTimeout,
)
from meshsync.protocol import events
from tests.support.streaming import MIB, Pair, Result, Scripted, accept, account, held, is_tidy, scripted
from tests.support.worlds import simulated

# --- flow control -----------------------------------------------------------------------------------------------------


def test_a_reader_that_never_reads_bounds_both_ends() -> None:
    """8 MiB and one chunk beyond: then writing waits, and says after 30 s who does not read.

    100 MB as MeshAgent's documentation has it: accepted by printing its id, never read.
    """
    printed: list[str] = []
    with simulated() as sim:
        pair = Pair(sim, lambda reader: printed.append(reader._streamId), packet_size=65536)
        readers: list[Any] = []
        pair.bob.messaging.on("stream_opened", lambda event: readers.append(event.stream))
        writer = pair.open()
        written, begun = 0, 0.0
        with pytest.raises(StreamTimeout, match="bob has read nothing of it for 30 s, and holds what it can") as caught:
            while written < 100_000_000:
                begun = sim.now
                writer.write(bytes(MIB))
                written += MIB
        assert printed == [writer.stream_id]
        assert (written, sim.now - begun) == (8 * MIB, 30)
        (reader,) = readers
        assert held(reader) == 8 * MIB
        assert account(reader).unread < 9 * MIB
        assert caught.value.connection_alive
        sim.sleep(1)
        assert pair.alice.stats().pending == 0
        writer.abort()
        sim.sleep(1)
        assert pair.are_tidy()


def test_a_slow_reader_lets_the_writer_go_on() -> None:
    """A reader that takes 1 MiB a second is sent 30 MiB in 30 s, less the window, and never holds more than that."""
    most = 0

    def read(reader: Any) -> None:
        nonlocal most
        while reader.read() is not None:
            most = max(most, account(reader).unread)
            meshsync.sleep(1)

    with simulated() as sim:
        pair = Pair(sim, read, packet_size=65536)
        with pair.open() as writer:
            for _ in range(30):
                writer.write(bytes(MIB))
            assert 30 - 8 - 2 <= sim.now <= 30
        sim.sleep(60)
        assert 6 * MIB < most <= 8 * MIB + 256 * 9
        assert pair.are_tidy()


def test_the_streams_of_a_client_share_32_mib() -> None:
    """Later ones get less, but never less than 256 KiB: 8, 8, 8, 4, 2, 1, 0.5 and then the least."""
    with simulated() as sim:
        pair = Pair(sim, accept)
        readers: list[Any] = []
        pair.bob.messaging.on("stream_opened", lambda event: readers.append(event.stream))
        writers = [pair.open() for _ in range(10)]
        sim.sleep(1)
        windows = [account(reader).window for reader in readers]
        assert windows == [8 * MIB] * 3 + [4 * MIB, 2 * MIB, MIB, MIB // 2] + [MIB // 4] * 3
        assert [account(writer)._room for writer in writers] == windows
        for writer in writers:
            writer.close()
        pair.open()
        sim.sleep(1)
        assert account(readers[-1]).window == 8 * MIB


def test_the_way_back_has_a_small_window_until_it_is_read() -> None:
    """256 KiB, since most openers read nothing; a full one with the first read."""
    with simulated() as sim:
        writer, reader = Pair(sim, packet_size=65536).both()
        back, count = reader.writer, 0
        with pytest.raises(StreamTimeout):
            while count < 100:
                back.write(bytes(100_000), timeout=1)
                count += 1
        assert (count, account(writer).window) == (3, MIB // 4)
        for _ in range(2):
            writer.reader.read()
        sim.sleep(1)
        assert account(writer).window == 8 * MIB
        for _ in range(80):
            back.write(bytes(100_000), timeout=1)
        back.close()
        assert len(writer.reader.read_all()) == (3 - 2 + 80) * 100_000


def test_one_chunk_may_be_larger_than_the_window() -> None:
    """A chunk goes whenever anything is left of the window; the next has to wait until it is read."""
    with simulated() as sim:
        pair = Pair(sim)
        keep = [pair.both() for _ in range(8)]
        writer, reader = keep[-1]
        assert account(reader).window == MIB // 4
        for _ in range(3):
            Result(sim, lambda: writer.write(bytes(MIB))).get()
            sim.sleep(1)
            with pytest.raises(StreamTimeout):
                writer.write(b"", timeout=0)
            assert len(reader.read().data) == MIB
            with pytest.raises(ReceiveTimeout):  # Asking for the next says that this one is done with.
                reader.read(0)
            sim.sleep(1)


def test_a_peer_without_flow_control_is_cut_off_at_64_mib() -> None:
    """What came can be read, then the error says why; the writer is told, and the client is usable."""
    with scripted() as (pair, bob):
        alice, readers = pair.alice, list[Any]()
        alice.messaging.enable(readers.append)
        me = bob.wait_for_participant(name="alice")
        bob.say(me, "stream.open", "s-1", header={})
        pair.simulation.sleep(1)
        assert bob.heard("stream.accept") == [{"stream_id": "s-1"}]
        for _ in range(70):
            bob.say(me, "stream.chunk", "s-1", header={}, data=bytes(MIB))
        pair.simulation.sleep(1)
        assert bob.heard("stream.close") == [{"stream_id": "s-1"}]
        assert held(readers[0]) == 63 * MIB
        chunks = 0
        with pytest.raises(StreamInterrupted, match="bytes are unread, and the other side knows no flow control"):
            for _ in readers[0]:
                chunks += 1
        assert chunks == 63
        assert is_tidy(alice)


def test_a_peer_that_exceeds_its_credit_is_cut_off() -> None:
    """The window and the largest chunk are kept: a peer that goes on beyond that is cancelled."""
    with scripted() as (pair, bob):
        readers = list[Any]()
        pair.alice.messaging.enable(readers.append)
        me = bob.wait_for_participant(name="alice")
        bob.say(me, "stream.open", "s-1", header={}, meshsync={"version": 1, "window": 1000})
        pair.simulation.sleep(1)
        assert bob.heard("stream.accept") == [{"stream_id": "s-1", "meshsync": {"version": 1, "window": 8 * MIB}}]
        for _ in range(20):
            bob.say(me, "stream.chunk", "s-1", header={}, data=bytes(MIB))
        pair.simulation.sleep(1)
        (cancel,) = bob.heard("stream.meshsync.cancel")
        assert "despite flow control" in cancel["reason"]
        assert held(readers[0]) <= 12 * MIB
        assert is_tidy(pair.alice)


# --- with peers that know nothing of it -------------------------------------------------------------------------------


def test_a_classic_acceptor_gets_what_official_openers_say_and_one_member_more() -> None:
    """No credit, no cancel: the abnormal end is a close, for want of another word."""
    with scripted(open=("accept", {})) as (pair, bob):
        writer = pair.open({"kind": "audio"}, resume_for=0)
        writer.write(MessageStreamChunk({"n": 1}, b"one"))
        me = bob.wait_for_participant(name="alice")
        for n in range(3):
            bob.say(me, "stream.chunk", writer.stream_id, header={"n": n}, data=bytes(MIB))
        assert len([writer.reader.read(1) for _ in range(3)]) == 3
        with pytest.raises(ReceiveTimeout):
            writer.reader.read(1)
        writer.abort("enough")
        pair.simulation.sleep(1)
        id = {"stream_id": writer.stream_id}
        assert bob.words == [
            ("stream.open", id | {"header": {"kind": "audio"}, "meshsync": {"version": 1, "window": MIB // 4}}, b""),
            ("stream.chunk", id | {"header": {"n": 1}}, b"one"),
            ("stream.close", id, b""),
        ]
        assert is_tidy(pair.alice)


def test_a_classic_acceptor_that_reads_nothing_is_sent_all() -> None:
    """There is no flow control to hold the writer."""
    with scripted(open=("accept", {})) as (pair, bob):
        with pair.open() as writer:
            for _ in range(300):
                writer.write(bytes(40_000))
        assert sum(len(data) for _, _, data in bob.words) == 300 * 40_000


def test_a_classic_acceptor_that_closes_cancels() -> None:
    """What is written afterwards would reach nobody."""
    with scripted(open=("accept", {})) as (pair, bob):
        writer = pair.open()
        bob.say(bob.wait_for_participant(name="alice"), "stream.close", writer.stream_id)
        pair.simulation.sleep(1)
        with pytest.raises(StreamCancelled, match="bob closed it"):
            writer.write(b"x")
        assert writer.reader.read() is None
        writer.close()


@pytest.mark.parametrize(
    "member",
    [
        None, 1, [], "yes", {}, {"version": 1}, {"window": 100}, {"version": 2, "window": 100},
        {"version": 1, "window": -1}, {"version": 1, "window": 0}, {"version": 1, "window": True},
        {"version": 1, "window": "100"}, {"version": 1, "window": 1.5},
    ],
)  # fmt: skip
def test_a_malformed_agreement_is_none(member: Any) -> None:
    """In an acceptance and in an offer: the stream goes on as a classic one."""
    with scripted(open=("accept", {"meshsync": member})) as (pair, bob):
        writer = pair.open()
        assert not account(writer).is_agreed
        readers = list[Any]()
        pair.alice.messaging.enable(readers.append)
        bob.say(bob.wait_for_participant(name="alice"), "stream.open", "s-1", header={}, meshsync=member)
        pair.simulation.sleep(1)
        assert not account(readers[0]).is_agreed
        assert bob.heard("stream.accept") == [{"stream_id": "s-1"}]


def test_further_members_of_an_agreement_are_ignored() -> None:
    """A later release may add some."""
    with scripted(open=("accept", {"meshsync": {"version": 1, "window": 5000, "more": []}, "else": 1})) as (pair, _):
        writer = pair.open()
        assert (account(writer).is_agreed, account(writer)._room) == (True, 5000)


def test_an_opener_of_another_kind_may_leave_out_the_header() -> None:
    """It is empty then."""
    with scripted() as (pair, bob):
        readers = list[Any]()
        pair.alice.messaging.enable(readers.append)
        bob.say(bob.wait_for_participant(name="alice"), "stream.open", "s-1")
        pair.simulation.sleep(1)
        assert [reader.header for reader in readers] == [{}]


# --- peers that misbehave ---------------------------------------------------------------------------------------------


def _reuse(bob: Scripted, me: Any, id: str) -> None:
    bob.say(me, "stream.open", id, header={})


BAD_MANNERS: dict[str, tuple[Callable[[Scripted, Any, str], None], str]] = {
    "a chunk of an unknown stream": (
        lambda bob, me, id: bob.say(me, "stream.chunk", "s-unknown", header={}),
        "skipped a chunk of {bob} for a stream that is not there",
    ),
    "a close of an unknown stream": (
        lambda bob, me, id: bob.say(me, "stream.close", "s-unknown"),
        "skipped a close of {bob} for a stream that is not there",
    ),
    "an acceptance of what was never offered": (
        lambda bob, me, id: bob.say(me, "stream.accept", "s-unknown"),
        "skipped a accept of {bob} for a stream that is not there",
    ),
    "a rejection of what was never offered": (
        lambda bob, me, id: bob.say(me, "stream.reject", "s-unknown", error="no"),
        "skipped a reject of {bob} for a stream that is not there",
    ),
    "a second acceptance": (
        lambda bob, me, id: bob.say(me, "stream.accept", id),
        "skipped a consent to stream {id} to bob, which needs none",
    ),
    "a rejection after acceptance": (
        lambda bob, me, id: bob.say(me, "stream.reject", id, error="no"),
        "skipped a rejection of stream {id} to bob, which was accepted",
    ),
    "an id that is in use": (
        lambda bob, me, id: bob.say(me, "stream.open", id, header={}),
        "skipped the offer of a stream of {bob}: its id is in use",
    ),
    "a chunk without a header": (
        lambda bob, me, id: bob.say(me, "stream.chunk", id, data=b"x"),
        "skipped a stream.chunk of {bob}: stream.chunk lacks 'header'",
    ),
    "an offer whose header is no object": (
        lambda bob, me, id: bob.say(me, "stream.open", "s-2", header=[1]),
        "skipped a stream.open of {bob}: stream.open has a wrong type of 'header'",
    ),
    "a word without an id": (
        lambda bob, me, id: bob.send_message_nowait(me, "stream.chunk", {"header": {}}) and None,
        "skipped a stream.chunk of {bob}: stream.chunk lacks 'stream_id'",
    ),
    "an id that is no text": (
        lambda bob, me, id: bob.say(me, "stream.close", 7),
        "skipped a stream.close of {bob}: stream.close has a wrong type of 'stream_id'",
    ),
    "a negative credit": (
        lambda bob, me, id: bob.say(me, "stream.meshsync.credit", id, bytes=-1),
        "skipped a stream.meshsync.credit of {bob}: stream.meshsync.credit of -1 bytes",
    ),
    "a credit that is true": (
        lambda bob, me, id: bob.say(me, "stream.meshsync.credit", id, bytes=True),
        "skipped a stream.meshsync.credit of {bob}: stream.meshsync.credit has a wrong type of 'bytes'",
    ),
    "a credit without a size": (
        lambda bob, me, id: bob.say(me, "stream.meshsync.credit", id),
        "skipped a stream.meshsync.credit of {bob}: stream.meshsync.credit lacks 'bytes'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("manner", BAD_MANNERS)
def test_bad_manners_cost_a_log_line(manner: str, caplog: pytest.LogCaptureFixture) -> None:
    """And nothing else: the stream that is open goes on, and the client is usable."""
    misbehave, line = BAD_MANNERS[manner]
    with scripted(open=("accept", {})) as (pair, bob):
        pair.alice.messaging.enable(accept)
        writer = pair.open()
        me = bob.wait_for_participant(name="alice")
        with caplog.at_level(logging.WARNING, logger="meshsync"):
            misbehave(bob, me, writer.stream_id)
            pair.simulation.sleep(1)
        ids = {"bob": pair.bob.local_participant.id, "id": writer.stream_id}
        assert [record.getMessage() for record in caplog.records] == [line.format(**ids)]
        writer.write(b"x")
        writer.close()
        pair.simulation.sleep(1)
        assert bob.words[-2][2] == b"x"
        assert is_tidy(pair.alice)


def test_closing_twice_and_late_words_are_borne(caplog: pytest.LogCaptureFixture) -> None:
    """What was on its way to a stream that has ended is no fault, so it isn't even logged."""
    with scripted(open=("accept", {"meshsync": {"version": 1, "window": 9000}})) as (pair, bob):
        writer = pair.open()
        me = bob.wait_for_participant(name="alice")
        with caplog.at_level(logging.WARNING, logger="meshsync"):
            for _ in range(2):
                bob.say(me, "stream.close", writer.stream_id)
                bob.say(me, "stream.chunk", writer.stream_id, header={})
                bob.say(me, "stream.meshsync.credit", writer.stream_id, bytes=1)
            pair.simulation.sleep(1)
        assert caplog.records == []
        assert writer.reader.read() is None
        assert is_tidy(pair.alice)


def test_cancelling_twice_is_cancelling() -> None:
    """Also if an end of another kind follows."""
    with scripted(open=("accept", {"meshsync": {"version": 1, "window": 9000}})) as (pair, bob):
        writer = pair.open()
        me = bob.wait_for_participant(name="alice")
        for type in ("stream.meshsync.cancel", "stream.meshsync.cancel", "stream.close"):
            bob.say(me, type, writer.stream_id, reason="enough")
        pair.simulation.sleep(1)
        with pytest.raises(StreamCancelled, match=r"^bob ended the stream early: enough$"):
            writer.write(b"x")


def test_an_id_can_be_used_again_when_its_stream_has_ended() -> None:
    """Each is a stream of its own."""
    with scripted() as (pair, bob):
        got: list[bytes] = []
        pair.alice.messaging.enable(lambda reader: got.append(reader.read_all()))
        me = bob.wait_for_participant(name="alice")
        for data in (b"one", b"two"):
            bob.say(me, "stream.open", "s-1", header={})
            pair.simulation.sleep(1)
            bob.say(me, "stream.chunk", "s-1", header={}, data=data)
            bob.say(me, "stream.close", "s-1")
            pair.simulation.sleep(1)
        assert got == [b"one", b"two"]
        assert is_tidy(pair.alice)


def test_a_huge_credit_lifts_the_limit_and_nothing_else() -> None:
    """The peer says how much it holds."""
    with scripted(open=("accept", {"meshsync": {"version": 1, "window": 1}})) as (pair, bob):
        writer = pair.open()
        bob.say(bob.wait_for_participant(name="alice"), "stream.meshsync.credit", writer.stream_id, bytes=10**300)
        pair.simulation.sleep(1)
        for _ in range(100):
            writer.write(bytes(1000))
        writer.close()
        pair.simulation.sleep(1)
        assert [type for type, *_ in bob.words] == ["stream.open", *["stream.chunk"] * 100, "stream.close"]


def test_words_of_somebody_else_do_not_count() -> None:
    """Who knows a stream's id can neither write to it, nor end it, nor accept it, nor lift its limits."""
    with simulated() as sim:
        pair = Pair(sim)
        carol: Any = pair.room.join("carol", enable=True, messaging=Scripted).messaging
        with pair.bob.messaging.streams() as offers:
            opening = Result(sim, pair.open)
            reader = offers.get(1)
            for word in ("accept", "reject", "close"):
                carol.say(pair.alice.local_participant.id, f"stream.{word}", reader.stream_id)
            sim.sleep(1)
            assert opening.value is opening.error is None
            reader.accept()
            writer = opening.get()
        room = account(writer)._room
        for to in (pair.alice, pair.bob):
            for word, body in (
                ("chunk", {"header": {}}),
                ("meshsync.credit", {"bytes": 5}),
                ("meshsync.cancel", {}),
                ("close", {}),
            ):
                carol.say(to.local_participant.id, f"stream.{word}", writer.stream_id, **body)
        sim.sleep(1)
        assert account(writer)._room == room
        writer.write(b"x")
        writer.close()
        assert reader.read_all() == b"x"


def test_chunks_before_the_acceptance_count_for_the_acceptor_alone(caplog: pytest.LogCaptureFixture) -> None:
    """As among official clients; an opener takes none before it knows that it has a stream."""
    with scripted() as (pair, bob):
        me = bob.wait_for_participant(name="alice")
        with pair.alice.messaging.streams() as offers:
            bob.say(me, "stream.open", "s-1", header={})
            bob.say(me, "stream.chunk", "s-1", header={}, data=b"early")
            assert offers.get(1).read(1).data == b"early"
        bob.answers["stream.open"] = ("stream.chunk", {"header": {}, "data": b"impatient"})
        opening = Result(pair.simulation, lambda: pair.open(resume_for=0))
        pair.simulation.sleep(1)
        bob.say(me, "stream.accept", bob.heard("stream.open")[0]["stream_id"])
        writer = opening.get()
        with pytest.raises(ReceiveTimeout):
            writer.reader.read(1)
        assert [record.getMessage() for record in caplog.records] == [
            f"skipped a chunk of stream {writer.stream_id} to bob, which was not accepted"
        ]


def test_a_classic_opener_that_gives_up_early_has_not_sent_an_empty_stream() -> None:
    """Its close says nothing of that, but comes before the acceptance."""
    with scripted() as (pair, bob):
        with pair.alice.messaging.streams() as offers:
            me = bob.wait_for_participant(name="alice")
            bob.say(me, "stream.open", "s-1", header={})
            reader = offers.get(1)
            bob.say(me, "stream.close", "s-1")
            pair.simulation.sleep(1)
            for call in (reader.read, reader.accept):
                with pytest.raises(StreamInterrupted, match="bob gave up the stream before it was accepted"):
                    call()
        assert is_tidy(pair.alice)


def test_an_offer_from_somebody_unknown_is_rejected() -> None:
    """The client was told of nobody by that id, and answers all the same; here the room knows nobody either."""
    with scripted() as (pair, _):
        called: list[Any] = []
        pair.alice.messaging.enable(called.append)
        offer = events.Received("p-stranger", "stream.open", {"stream_id": "s-1", "header": {}}, b"")
        pair.alice._meshsync.received(offer)
        assert is_tidy(pair.alice)
        assert called == []
        (rejection,) = (record for record in pair.room.transcript if record.type == "stream.reject")
        assert (rejection.type, rejection.sender, rejection.outcome[:10]) == ("stream.reject", "alice", "error 1003")
