"""Streams between whole clients on virtual time: offering, accepting, rejecting, and ends of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import meshsync
from meshsync import (
    InvalidMessage,
    MessageStreamChunk,
    MessagingClient,
    NotEnabled,
    ParticipantNotFound,
    ReceiveTimeout,
    RoomClient,
    StreamCancelled,
    StreamInterrupted,
    StreamRejected,
    StreamTimeout,
    UsageError,
    WouldDeadlock,
)
from meshsync.errors import ClientClosed, ConnectionLost, RoomError
from simulator import faults
from tests.support.streaming import MIB, Pair, Result, accept, is_tidy, scripted, send_all
from tests.support.worlds import simulated

NOT_ALLOWED = "Streams are not allowed by this client"


# --- accepting --------------------------------------------------------------------------------------------------------


def throw(error: BaseException) -> None:
    """Raise an error, in a lambda."""
    raise error


@pytest.mark.parametrize("how", ["returning", "accept", "read", "iterating"])
def test_a_stream_is_accepted_in_each_way(how: str) -> None:
    """It goes whole from one program to the other, with its header, and leaves nothing behind."""
    got: list[Any] = []

    def take(reader: Any) -> None:
        got.append((reader.sender.name, reader.header, reader.stream_id, reader._streamId))
        if how == "accept":
            reader.accept()
            reader.accept()
        if how == "iterating":
            got.extend(reader)
        elif how != "returning":
            while (chunk := reader.read()) is not None:
                got.append(chunk)

    with simulated(latency=0.1) as sim:
        pair = Pair(sim, take)
        begun = sim.now
        with pair.open({"kind": "audio"}) as writer:
            assert sim.now - begun == pytest.approx(0.4)  # there and back, through the room
            assert writer.to.name == "bob"
            writer.write(MessageStreamChunk({"part": 1}, b"one"))
            writer.write(b"two")
        sim.sleep(5)
        assert got[0] == ("alice", {"kind": "audio"}, writer.stream_id, writer.stream_id)
        if how != "returning":
            assert got[1:] == [MessageStreamChunk({"part": 1}, b"one"), MessageStreamChunk({}, b"two")]
        assert pair.are_tidy()


def test_a_mapping_opens_a_stream_too() -> None:
    """``to`` and ``header`` in one object, as for messages."""
    headers: list[Any] = []
    with simulated() as sim:
        pair = Pair(sim, lambda reader: headers.append(reader.header))
        pair.alice.messaging.create_stream({"to": pair.to(), "header": {"n": 1}}).close()
        pair.alice.messaging.create_stream({"to": pair.to()}).close()
        assert headers == [{"n": 1}, {}]
        with pytest.raises(TypeError, match="'chunks', which it may not"):
            pair.alice.messaging.create_stream({"to": pair.to(), "chunks": 1})


def test_programs_are_told_of_streams() -> None:
    """Each end hears ``stream_opened`` with the header and ``stream_closed`` with the reason, in this order."""
    told: list[Any] = []
    with simulated() as sim:
        pair = Pair(sim, accept)
        for client in (pair.alice, pair.bob):
            for name in ("stream_opened", "stream_closed"):
                client.messaging.on(name, lambda event, who=client: told.append((who, event)))
        writer = pair.open({"kind": "audio"})
        writer.abort("enough")
        sim.sleep(1)
        body = {"stream_id": writer.stream_id, "header": {"kind": "audio"}}
        end = {"stream_id": writer.stream_id, "reason": "enough"}
        for client, who in ((pair.alice, "bob"), (pair.bob, "alice")):
            mine = [event for teller, event in told if teller is client]
            assert [event.message.message for event in mine] == [body, end]
            assert [event.message.type for event in mine] == ["stream.open", "stream.close"]
            assert all(event.participant.name == who and event.stream.stream_id == writer.stream_id for event in mine)


@pytest.mark.parametrize("seed", range(5))
def test_programs_are_told_of_the_shortest_stream(seed: int) -> None:
    """However the tasks take turns, one that is opened and closed in a breath is reported as such, in order."""
    told: list[str] = []
    with simulated(seed, schedule="random") as sim:
        pair = Pair(sim, accept)
        for name in ("stream_opened", "stream_closed"):
            pair.alice.messaging.on(name, lambda event: told.append(event.name))
        for _ in range(10):
            pair.open().close()
        sim.sleep(1)
    assert told == ["stream_opened", "stream_closed"] * 10


def test_a_subscription_offers_streams_to_a_script() -> None:
    """In order, each accepted by its first read; its time limit ends the loop."""
    with simulated() as sim:
        pair = Pair(sim)
        with pair.bob.messaging.streams(timeout=1) as offers:
            for number in range(3):
                sim.spawn(lambda number=number: send_all(pair.open({"n": number}), bytes(number)))
            got = [(reader.header["n"], reader.read_all()) for reader in offers]
        assert got == [(0, b""), (1, b"\0"), (2, b"\0\0")]
        assert pair.are_tidy()


def test_a_full_subscription_leaves_more_to_the_callback() -> None:
    """And without one they are rejected."""
    called: list[Any] = []
    with simulated() as sim:
        pair = Pair(sim, called.append)
        with pair.bob.messaging.streams(maxsize=1) as offers:
            waiting = Result(sim, pair.open, {"n": 1})
            sim.sleep(1)
            pair.open({"n": 2})
            pair.bob.messaging.enable(None)
            with pytest.raises(StreamRejected, match=NOT_ALLOWED):
                pair.open({"n": 3})
            offers.get(0).accept()
            assert waiting.get().stream_id
        assert [reader.header for reader in called] == [{"n": 2}]


def test_closing_a_subscription_rejects_what_nobody_took() -> None:
    """And what comes afterwards is not for it any more."""
    with simulated() as sim:
        pair = Pair(sim)
        with pair.bob.messaging.streams() as offers:
            waiting = Result(sim, pair.open)
            sim.sleep(1)
        with pytest.raises(StreamRejected, match=r"^the program takes no more streams$"):
            waiting.get()
        with pytest.raises(StreamRejected, match=NOT_ALLOWED):
            pair.open()
        with pytest.raises(UsageError, match=r"streams\(\)"):
            offers.get(0)
        assert pair.are_tidy()


def test_a_subscription_skips_streams_whose_opener_is_gone() -> None:
    """Nobody is there to be accepted."""
    with simulated() as sim:
        pair = Pair(sim)
        with pair.bob.messaging.streams() as offers:
            with pytest.raises(StreamTimeout):
                pair.open(timeout=1)
            assert offers.pending == 1
            sim.sleep(1)
            with pytest.raises(ReceiveTimeout, match="no stream came"):
                offers.get(1)


def test_a_second_enable_replaces_the_callback() -> None:
    """And keeps the roster; None rejects again."""
    with simulated() as sim:
        first, second = list[Any](), list[Any]()
        pair = Pair(sim, first.append)
        pair.open()
        (alice,) = pair.bob.messaging.remote_participants
        pair.bob.messaging.enable(second.append)
        pair.open()
        assert (len(first), len(second)) == (1, 1)
        assert pair.bob.messaging.remote_participants == (alice,)
        pair.bob.messaging.enable()
        with pytest.raises(StreamRejected):
            pair.open()


def test_a_handshake_of_ones_own_is_a_callback_away() -> None:
    """Here a token in the header decides."""

    def check(reader: Any) -> None:
        if reader.header.get("token") != "sesame":
            raise StreamRejected("wrong token")

    with simulated() as sim:
        pair = Pair(sim, check)
        with pytest.raises(StreamRejected, match=r"^wrong token$"):
            pair.open({"token": "simsim"})
        pair.open({"token": "sesame"}).close()
        assert pair.are_tidy()


def test_the_hook_changes_what_programs_get() -> None:
    """Both the callback and the subscription get what ``offered`` returns; raising rejects, and nobody gets it."""

    class Hooked(MessagingClient):
        def offered(self, reader: Any) -> Any:
            if reader.header.get("n") == 0:
                raise StreamRejected("not this one")
            return Wrapped(reader)

    class Wrapped:
        def __init__(self, reader: Any) -> None:
            self.inner = reader

    with simulated() as sim:
        got: list[Any] = []
        pair = Pair(sim, got.append, messaging=Hooked)
        with pytest.raises(StreamRejected, match=r"^not this one$"):
            pair.open({"n": 0})
        pair.open({"n": 1}).close()
        with pair.bob.messaging.streams() as offers:
            opening = Result(sim, pair.open, {"n": 0})
            with pytest.raises(ReceiveTimeout):
                offers.get(1)
            with pytest.raises(StreamRejected, match=r"^not this one$"):
                opening.get()
            Result(sim, pair.open, {"n": 2})
            got.append(offers.get(1))
        assert [(type(reader), reader.inner.header["n"]) for reader in got] == [(Wrapped, 1), (Wrapped, 2)]


# --- rejecting --------------------------------------------------------------------------------------------------------


def test_a_stream_that_nobody_wants_is_rejected_as_official_clients_do() -> None:
    """The text begins with theirs, and says what to do; the client stays usable."""
    with simulated() as sim:
        pair = Pair(sim)
        with pytest.raises(StreamRejected) as caught:
            pair.open()
        assert str(caught.value) == (
            f"{NOT_ALLOWED}: the program of 'bob' takes none until it calls messaging.enable(callback), or "
            "messaging.streams() to iterate over them"
        )
        assert caught.value.connection_alive
        assert pair.are_tidy()


@pytest.mark.parametrize(
    ("reject", "reason"),
    [
        (lambda reader: reader.reject("busy"), "busy"),
        (lambda reader: reader.reject(), ""),
        (lambda reader: reader.close("later"), "later"),
        (lambda reader: throw(StreamRejected("busy")), "busy"),
        (lambda reader: throw(StreamRejected("x" * 2000)), "x" * 999 + "…"),
        (lambda reader: 1 / 0, "the recipient's program failed"),
    ],
)
def test_a_callback_rejects(reject: Callable[[Any], object], reason: str) -> None:
    """By saying so, by closing, or by raising that: the opener gets the reason, and none of a fault."""
    with simulated(failing_receivers="log") as sim:
        pair = Pair(sim, reject)
        with pytest.raises(StreamRejected) as caught:
            pair.open()
        assert str(caught.value) == reason
        assert len(str(caught.value)) <= 1000
        assert pair.are_tidy()


def test_more_than_64_callbacks_at_once_are_too_many() -> None:
    """The 65th stream is rejected, and there is room again when one callback has returned."""
    with simulated() as sim:
        pair = Pair(sim, lambda reader: reader.read())
        with pair.bob.messaging.streams(maxsize=1):
            pass
        writers = [pair.open({"n": n}) for n in range(64)]
        with pytest.raises(StreamRejected, match=r"^too many streams$"):
            pair.open()
        writers[0].close()
        sim.sleep(1)
        pair.open().close()
        for writer in writers[1:]:
            writer.close()
        sim.sleep(1)
        assert pair.are_tidy()


def test_of_65_offers_in_one_breath_64_are_accepted() -> None:
    """Nobody waits for ever, and nothing is left."""
    with simulated() as sim:
        pair = Pair(sim, lambda reader: reader.read_all())
        results = [Result(sim, pair.open) for _ in range(65)]
        sim.sleep(1)
        rejected = [str(result.error) for result in results if result.error is not None]
        assert rejected == ["too many streams"]
        for result in results:
            if result.value is not None:
                result.value.close()
        sim.sleep(1)
        assert pair.are_tidy()


def test_what_nobody_decides_upon_is_rejected_after_30_seconds() -> None:
    """Taken, but neither accepted nor read: the opener hears why, and later decisions are told so too."""
    with simulated() as sim:
        pair = Pair(sim)
        with pair.bob.messaging.streams() as offers:
            opening = Result(sim, lambda: pair.open(timeout=100))
            reader = offers.get(1)
            sim.sleep(29.9)
            assert opening.error is None
            sim.sleep(0.2)
            with pytest.raises(StreamRejected, match=r"^not decided upon within 30 s$"):
                opening.get()
            with pytest.raises(UsageError, match=r"cannot be accepted: .* rejected it: not decided upon within 30 s"):
                reader.accept()
        assert pair.are_tidy()


def test_a_callback_that_does_not_decide_is_decided_for() -> None:
    """It may go on, but the stream is rejected under it."""
    ends: list[Any] = []

    def dawdle(reader: Any) -> None:
        meshsync.sleep(31)
        with pytest.raises(WouldDeadlock):
            reader.read()
        ends.append(meshsync.monotonic())

    with simulated() as sim:
        pair = Pair(sim, dawdle)
        with pytest.raises(StreamRejected, match="not decided upon"):
            pair.open(timeout=None)
        sim.sleep(2)
        assert len(ends) == 1
        assert pair.are_tidy()


def test_deciding_twice_is_an_error_that_says_so() -> None:
    """Accept after reject and the reverse, and reading what was rejected, which nobody would ever write."""
    caught: list[str] = []

    def reject_first(reader: Any) -> None:
        reader.reject("no")
        for call in (reader.accept, reader.read, lambda: reader.reject("no"), lambda: reader.writer.write(b"")):
            with pytest.raises(UsageError) as error:
                call()
            caught.append(f"{type(error.value).__name__} {error.value}".replace(reader.stream_id, "s"))

    def accept_first(reader: Any) -> None:
        reader.accept()
        with pytest.raises(UsageError) as error:
            reader.reject("no")
        caught.append(f"{type(error.value).__name__} {error.value}".replace(reader.stream_id, "s"))

    with simulated() as sim:
        pair = Pair(sim, reject_first)
        with pytest.raises(StreamRejected, match=r"^no$"):
            pair.open()
        pair.bob.messaging.enable(accept_first)
        pair.open().close()
    assert caught == [
        "UsageError stream s from alice cannot be accepted: this program rejected it: no",
        "WouldDeadlock stream s from alice has nothing that could be read: this program rejected it: no",
        "UsageError stream s from alice cannot be rejected: it was rejected before",
        "UsageError stream s from alice cannot be written to: this program rejected it: no",
        "UsageError stream s from alice cannot be rejected: it was accepted before",
    ]


def test_writing_back_before_accepting_is_an_error() -> None:
    """The other side would not know what to do with it."""

    def write_back(reader: Any) -> None:
        for call in (lambda: reader.writer.write(b"x"), reader.writer.flush, reader.writer.close):
            with pytest.raises(UsageError, match="not accepted yet"):
                call()

    with simulated() as sim:
        pair = Pair(sim, write_back)
        pair.open().close()


# --- opening that comes to nothing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "kind", "text"),
    [
        (lambda pair: pair.bob.close(), StreamInterrupted, "bob has left"),
        (lambda pair: pair.bob.messaging.disable(), StreamRejected, "messaging was disabled"),
        (lambda pair: pair.simulation.plan(faults.reset("bob")), StreamInterrupted, "bob has left"),
        (lambda pair: pair.simulation.plan(faults.reset("alice")), ConnectionLost, "reset|lost"),
        (lambda pair: pair.alice.close(), ClientClosed, "closed by this program"),
        (lambda pair: pair.alice.messaging.disable(), StreamInterrupted, "messaging was disabled"),
    ],
    ids=["left", "disabled", "reset", "lost", "closed", "disabled here"],
)
def test_an_opening_ends_with_its_own_error(end: Callable[[Pair], object], kind: type[Exception], text: str) -> None:
    """Whatever ends it while it waits for the answer, at either side; the acceptor's program is not left waiting."""
    with simulated() as sim:
        pair = Pair(sim)
        offers = pair.bob.messaging.streams()
        opening = Result(sim, lambda: pair.open(resume_for=0))
        reader = offers.get(1)
        end(pair)
        sim.sleep(1)
        with pytest.raises(kind, match=text):
            opening.get()
        with pytest.raises((StreamInterrupted, WouldDeadlock)):
            reader.read(0)
        for client in (pair.alice, pair.bob):
            assert is_tidy(client) or not client.is_connected
            assert not (client._meshsync.streams.streams or client._meshsync.connection.alarms)


def test_an_opening_is_given_up_in_time() -> None:
    """After 30 s, or what was asked for; the acceptor learns of it, and nothing is left at either side."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        with pair.bob.messaging.streams() as offers:
            opening = Result(sim, lambda: pair.open(timeout=2))
            reader = offers.get()
            begun = sim.now
            with pytest.raises(StreamTimeout, match=r"^bob did not answer the offer of a stream within 2 s$") as caught:
                opening.get()
            assert sim.now - begun == pytest.approx(1.8)
            assert isinstance(caught.value, TimeoutError)
            sim.sleep(1)
            with pytest.raises(StreamInterrupted, match="alice gave up the stream before it was accepted"):
                reader.read()
        assert pair.are_tidy()


def test_a_late_consent_is_answered_with_the_end() -> None:
    """The acceptor would wait for chunks for ever; that it got nothing is not the regular end of an empty stream."""
    ends: list[Any] = []

    def read(reader: Any) -> None:
        with pytest.raises(StreamInterrupted) as caught:
            reader.read()
        ends.append(str(caught.value))

    with simulated(latency=0.1) as sim:
        pair = Pair(sim, read)
        sim.plan(faults.delay_accept("bob", 5))
        with pytest.raises(StreamTimeout):
            pair.open(timeout=2)
        sim.sleep(10)
        assert len(ends) == 1
        assert pair.are_tidy()


@pytest.mark.parametrize("timeout", [None, "default", 50])
def test_a_peer_that_never_answers_costs_the_time_limit(timeout: Any) -> None:
    """30 s by default; with None it is waited for until it leaves."""
    with scripted() as (pair, _):
        begun = pair.simulation.now
        if timeout is None:
            opening = Result(pair.simulation, lambda: pair.open(timeout=None, resume_for=0))
            pair.simulation.sleep(1000)
            pair.bob.close()
            with pytest.raises(StreamInterrupted, match="bob has left"):
                opening.get()
            return
        with pytest.raises(StreamTimeout):
            pair.open(timeout=timeout)
        assert pair.simulation.now - begun == (30 if timeout == "default" else timeout)
        assert is_tidy(pair.alice)


def test_who_is_not_there_is_not_found() -> None:
    """Someone gone, nobody, a name instead of an id, oneself, and without taking part: errors that say so."""
    with simulated() as sim:
        pair = Pair(sim, accept)
        bob, create = pair.to(), pair.alice.messaging.create_stream
        with pytest.raises(ParticipantNotFound, match="is a name and no id"):
            create("bob")
        with pytest.raises(ParticipantNotFound, match="not found"):
            create("p-nobody")
        with pytest.raises(UsageError, match="to oneself"):
            create(pair.alice.local_participant)
        with pytest.raises(TypeError, match="local_participant"):
            create(pair.bob)
        pair.bob.close()
        sim.sleep(1)
        with pytest.raises(ParticipantNotFound, match="has left"):
            create(bob)
        assert is_tidy(pair.alice)
        pair.alice.messaging.disable()
        with pytest.raises(NotEnabled):
            create(bob)
        pair.alice.close()
        with pytest.raises(ClientClosed):
            create(bob)


def test_a_recipient_that_leaves_under_way_is_not_found() -> None:
    """The room knows before this client does."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim, accept)
        bob = pair.to()
        pair.bob.close()
        with pytest.raises(ParticipantNotFound):
            pair.alice.messaging.create_stream(bob)
        assert is_tidy(pair.alice)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ([1], "header: list"),
        ("text", "header: str"),
        ({"score": float("nan")}, r"header'?\]?\['score'\]: nan is not JSON"),
        ({1: 2}, "header"),
        ({"large": "x" * (4 * MIB)}, "large|bytes"),
    ],
)
def test_a_header_that_cannot_be_carried_is_refused_here(header: Any, text: str) -> None:
    """Before anything is sent."""
    offered: list[Any] = []
    with simulated() as sim:
        pair = Pair(sim, offered.append)
        with pytest.raises(InvalidMessage, match=text):
            pair.open(header)
        assert offered == []
        assert pair.are_tidy()


def test_a_room_that_refuses_the_offer_is_heard() -> None:
    """The error is the room's."""
    with simulated() as sim:
        pair = Pair(sim, accept)
        sim.plan(faults.error_replies("alice", 1001))
        with pytest.raises(RoomError) as caught:
            pair.open()
        assert caught.value.code == 1001
        assert pair.are_tidy()


def test_a_stream_rejected_by_the_rooms_fault_is_rejected() -> None:
    """As if the recipient had."""
    with simulated() as sim:
        pair = Pair(sim, accept)
        sim.plan(faults.reject_streams("bob", "out of order"))
        with pytest.raises(StreamRejected, match=r"^out of order$"):
            pair.open()
        assert pair.are_tidy()


# --- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (lambda pair: pair.alice.close(), "closed by this program"),
        (lambda pair: pair.simulation.plan(faults.reset("alice")), "cut off|lost|reset"),
        (lambda pair: pair.alice.messaging.disable(), "messaging was disabled"),
    ],
    ids=["close", "reset", "disable"],
)
def test_an_end_of_the_client_ends_its_streams_at_both_sides(end: Callable[[Pair], object], text: str) -> None:
    """Whoever reads or writes hears it at once, here and there, and nothing is left."""
    with simulated() as sim:
        pair = Pair(sim)
        writer, reader = pair.both(resume_for=0)
        back = Result(sim, writer.reader.read)
        there = Result(sim, reader.read)
        sim.sleep(1)
        end(pair)
        sim.sleep(1)
        with pytest.raises(StreamInterrupted, match=text) as caught:
            back.get()
        assert caught.value.connection_alive == pair.alice.is_connected
        with pytest.raises(StreamInterrupted):
            there.get()
        for call in (lambda: writer.write(b"x"), writer.flush, writer.close):
            with pytest.raises(StreamInterrupted, match=text):
                call()
        with pytest.raises((StreamInterrupted, StreamCancelled)):
            reader.writer.write(b"x")
        assert is_tidy(pair.bob)
        assert not (pair.alice._meshsync.streams.streams or pair.alice._meshsync.connection.alarms)


def test_a_callback_may_close_its_own_client() -> None:
    """It returns at once; the streams end, the callback's included."""
    caught: list[Exception] = []

    def close(reader: Any) -> None:
        reader.accept()
        pair.bob.close()
        try:
            reader.read()
        except StreamInterrupted as error:
            caught.append(error)

    with simulated() as sim:
        pair = Pair(sim, close)
        writer = pair.open()
        assert pair.bob.wait_closed(10)
        with pytest.raises(StreamInterrupted, match="bob has left"):
            writer.reader.read()
        assert len(caught) == 1
        assert not caught[0].connection_alive  # type: ignore[attr-defined]
        assert [task for task in pair.bob._meshsync.tasks if not task.is_done] == []


def test_closing_the_client_waits_for_no_callback_for_ever() -> None:
    """Callbacks that read hear the end at once."""
    with simulated() as sim:
        pair = Pair(sim, lambda reader: reader.read())
        for _ in range(3):
            pair.open()
        begun = sim.now
        pair.bob.close()
        assert sim.now == begun
        assert [task for task in pair.bob._meshsync.tasks if not task.is_done] == []


def test_a_callback_that_raises_after_accepting_cancels() -> None:
    """The writer learns why, ``receiver_failed`` names the callback, and the client is usable."""
    reports: list[Any] = []

    def fail(reader: Any) -> None:
        reader.read()
        raise RuntimeError("disk full")

    with simulated(failing_receivers="log") as sim:
        pair = Pair(sim, fail)
        pair.bob.messaging.on("receiver_failed", reports.append)
        writer = pair.open()
        writer.write(b"x")
        sim.sleep(1)
        with pytest.raises(StreamCancelled, match=r"^bob ended the stream early: the recipient's program failed$"):
            writer.write(b"y")
        with pytest.raises(StreamCancelled):
            writer.close()
        (report,) = reports
        assert report.message.message["event"] == "on_stream_accept"
        assert "fail" in report.message.message["receiver"]
        assert str(report.error) == "disk full"
        assert pair.are_tidy()


def test_a_rejection_by_raising_is_no_failure() -> None:
    """A callback that raises `StreamRejected` means it."""
    reports: list[Any] = []
    with simulated() as sim:
        pair = Pair(sim, lambda reader: throw(StreamRejected("busy")))
        pair.bob.messaging.on("receiver_failed", reports.append)
        with pytest.raises(StreamRejected, match=r"^busy$"):
            pair.open()
        sim.sleep(1)
        assert reports == []


@pytest.mark.parametrize(
    ("callback", "told"),
    [
        (lambda reader: False, True),
        (lambda reader: None, False),
        (lambda reader: True, False),
        (lambda reader: reader.accept() or False, False),
    ],
)
def test_a_callback_that_returns_false_is_told_that_it_rejects_nothing(
    callback: Callable[[Any], Any], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream is accepted, as ever; of what was accepted before, False may be any result."""
    with simulated() as sim:
        pair = Pair(sim, callback)
        pair.open().close()
        sim.sleep(1)
    text = "<lambda> returned False, which rejects nothing: raise StreamRejected(reason)"
    assert (text in caplog.text) == told


def test_a_fault_of_the_callback_is_reported_where_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """The acceptor's program gets the traceback and ``receiver_failed``, and the opener no word of it."""
    reports: list[Any] = []
    with simulated(failing_receivers="log") as sim:
        pair = Pair(sim, lambda reader: reader.header["nmae"])
        pair.bob.messaging.on("receiver_failed", reports.append)
        with pytest.raises(StreamRejected) as caught:
            pair.open({"name": "x"})
        sim.sleep(1)
        assert str(caught.value) == "the recipient's program failed"
        assert [repr(report.error) for report in reports] == ["KeyError('nmae')"]
        assert "Traceback" in caplog.text and "KeyError: 'nmae'" in caplog.text


def test_a_callback_that_returns_a_coroutine_rejects_and_is_reported() -> None:
    """A plain function may hide a coroutine function, whose stream no task would ever read."""
    reports: list[Any] = []

    async def read(reader: Any) -> None: ...

    def start(reader: Any) -> Any:
        return read(reader)

    with simulated(failing_receivers="log") as sim:
        pair = Pair(sim, start)
        pair.bob.messaging.on("receiver_failed", reports.append)
        with pytest.raises(StreamRejected, match=r"^the recipient's program failed$"):
            pair.open()
        sim.sleep(1)
        (report,) = reports
        assert isinstance(report.error, TypeError)
        assert pair.are_tidy()


def test_a_fault_of_the_hook_is_reported_by_its_name() -> None:
    """For a callback and for a subscription, which goes on."""
    reports: list[Any] = []

    class Hooked(MessagingClient):
        def offered(self, reader: Any) -> Any:
            return reader.header["nmae"]

    with simulated(failing_receivers="log") as sim:
        pair = Pair(sim, accept, messaging=Hooked)
        pair.bob.messaging.on("receiver_failed", reports.append)
        with pytest.raises(StreamRejected, match=r"^the recipient's program failed$"):
            pair.open()
        with pair.bob.messaging.streams() as offers:
            opening = Result(sim, pair.open, {})
            with pytest.raises(ReceiveTimeout):
                offers.get(1)
            with pytest.raises(StreamRejected, match=r"^the recipient's program failed$"):
                opening.get()
        sim.sleep(1)
        assert [report.message.message["receiver"].rpartition(".")[2] for report in reports] == ["offered"] * 2


def test_a_callback_that_dies_of_more_than_an_exception_is_reported() -> None:
    """pytest's failures, say: the stream is rejected, and the program told."""
    reports: list[Any] = []

    def fail(reader: Any) -> None:
        pytest.fail("unexpected")

    with simulated(failing_receivers="log") as sim:
        pair = Pair(sim, fail)
        pair.bob.messaging.on("receiver_failed", reports.append)
        with pytest.raises(StreamRejected, match=r"^the recipient's program failed$"):
            pair.open()
        sim.sleep(1)
        assert len(reports) == 1


def test_a_reader_that_leaves_in_the_middle_interrupts_the_writer() -> None:
    """Its next call says so, also one that waits for credit; the client is usable."""
    with simulated() as sim:
        pair = Pair(sim, accept, packet_size=65536)
        writer = pair.open()
        for _ in range(8):
            writer.write(bytes(MIB))
        waiting = Result(sim, writer.write, b"more")
        sim.sleep(1)
        pair.bob.close()
        with pytest.raises(StreamInterrupted, match="bob has left"):
            waiting.get(1)
        with pytest.raises(StreamInterrupted, match="bob has left"):
            writer.close()
        assert is_tidy(pair.alice)


def test_closing_may_find_the_reader_gone() -> None:
    """The chunks were acknowledged, the end was not."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        writer, _ = pair.both()
        pair.bob.close()
        with pytest.raises(StreamInterrupted, match=r"not found|has left"):
            writer.close()
        assert is_tidy(pair.alice)


# --- many -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["fifo", "random"])
def test_a_hundred_streams_between_ten_clients_arrive_whole_and_in_order(schedule: str) -> None:
    """10 clients, each with 10 streams to others, all interleaved: 100 streams of 12 chunks."""
    got: dict[tuple[str, str, int], list[Any]] = {}

    def read(client: RoomClient, reader: Any) -> None:
        key = (reader.sender.name, client.local_participant.name, reader.header["n"])
        got[key] = [(chunk.header["part"], chunk.data) for chunk in reader]

    def write(client: RoomClient, to: Any, n: int) -> None:
        with client.messaging.create_stream(to, {"n": n}) as writer:
            for part in range(12):
                writer.write(MessageStreamChunk({"part": part}, bytes([n, part]) * 100 * part))
                meshsync.sleep(0.001 * (n % 3))

    with simulated(schedule=schedule, latency=0.01) as sim:
        room = sim.room("demo")
        clients = [room.join(f"client-{n}") for n in range(10)]
        for client in clients:
            client.messaging.enable(lambda reader, client=client: read(client, reader))
        tasks = []
        for index, client in enumerate(clients):
            for n in range(10):
                peer = client.messaging.wait_for_participant(name=f"client-{(index + 1 + n % 9) % 10}", timeout=10)
                tasks.append(sim.spawn(write, client, peer, n))
        for task in tasks:
            assert task.join(100)
            assert task.error is None
        sim.sleep(1)
        assert len(got) == 100
        for (_, _, n), chunks in got.items():
            assert chunks == [(part, bytes([n, part]) * 100 * part) for part in range(12)]
        order = [record.stream_id for record in room.transcript.messages(type="stream.chunk")]
        assert len(order) == 1200
        assert sum(one != other for one, other in zip(order[1:], order[:-1], strict=True)) > 600
        assert all(is_tidy(client) for client in clients)


def test_many_tasks_write_one_stream() -> None:
    """Chunks stay whole, and each writer's are in order."""
    with simulated(schedule="random") as sim:
        pair = Pair(sim)
        writer, reader = pair.both()

        def write(who: int) -> None:
            for n in range(20):
                writer.write(MessageStreamChunk({"who": who, "n": n}, bytes([who]) * n))

        tasks = [sim.spawn(write, who) for who in range(10)]
        assert all(task.join(10) for task in tasks)
        writer.close()
        chunks = list(reader)
        assert len(chunks) == 200
        for who in range(10):
            mine = [chunk for chunk in chunks if chunk.header["who"] == who]
            assert [(chunk.header["n"], chunk.data) for chunk in mine] == [(n, bytes([who]) * n) for n in range(20)]
