"""The bytes that a client holds for its program: received and unread, sent and unacknowledged. Whole clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from meshsync import MessagingClient, NotSent, RoomClient, SendTimeout, StreamInterrupted, StreamTimeout, UsageError
from simulator import faults
from tests.support.streaming import MIB, Pair, Scripted, accept, scripted
from tests.support.worlds import simulated

KIB = 1024


def small(client: RoomClient, limit: int = MIB) -> Any:
    """Give a client a small budget for what is unread, and return the client behind it."""
    client._meshsync.budget.limit = limit
    return client._meshsync


@contextmanager
def listening(**options: Any) -> Iterator[Pair]:
    """Let Alice send to Bob, who may hold 1 MiB unread."""
    with simulated() as sim:
        pair = Pair(sim, packet_size=65536, **options)
        small(pair.bob)
        yield pair


def flood(pair: Pair, count: int, size: int = 100 * KIB, **body: Any) -> None:
    """Have Alice send numbered messages of about ``size`` bytes, and let them arrive."""
    to = pair.to()
    for number in range(count):
        pair.alice.messaging.send_message(to, "chat", {"n": number} | body, bytes(size))
    pair.simulation.sleep(1)


# --- unread messages --------------------------------------------------------------------------------------------------


def test_sleeping_receiver_gets_the_newest_that_fit(caplog: pytest.LogCaptureFixture) -> None:
    """10 of 100 KiB are within 1 MiB, behind the one that the receiver is at: of 100 more, 90 are dropped."""
    got, told = list[int](), list[Any]()
    with listening() as pair:
        bob = pair.bob.messaging

        def receive(event: Any) -> None:
            got.append(event.message.message["n"])
            if len(got) == 1:
                pair.simulation.sleep(60)

        bob.on_message("chat", receive)
        bob.on("messages_dropped", lambda event: told.append(event.message.message))
        flood(pair, 101)
        stats = pair.bob.stats()
        assert 10 * 100 * KIB < stats.bytes_unread < MIB
        pair.simulation.sleep(100)
        assert (got, told) == ([0, *range(91, 101)], [{"count": 90}])
        stats = pair.bob.stats()
        assert (stats.bytes_unread, stats.events_dropped) == (0, 90)
    assert [r.getMessage() for r in caplog.records] == ["90 events were dropped: the receivers are too slow"]


def test_dropping_again_and_again_warns_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A receiver that always sleeps is too slow each time, and is told each time; the log says so once a minute."""
    told = list[Any]()
    with listening() as pair:
        pair.bob.messaging.on_message("chat", lambda event: pair.simulation.sleep(10))
        pair.bob.messaging.on("messages_dropped", told.append)
        for _ in range(9):
            flood(pair, 15)
            pair.simulation.sleep(9)
        assert len(told) >= 8
    assert len(caplog.records) == 2


def test_json_counts_about_what_it_takes_in_memory() -> None:
    """A list of 10,000 numbers is 60 kB on the wire and some 360 kB in memory: of 1 MiB, two or three are held."""
    with listening() as pair:
        pair.bob.messaging.on_message("chat", lambda event: pair.simulation.sleep(60))
        flood(pair, 10, 0, numbers=list(range(10_000, 20_000)))
        assert 6 <= pair.bob.stats().events_dropped <= 7


def test_attributes_count_too() -> None:
    """A participant that changes its attributes all the time makes events that hold them."""
    with listening() as pair:
        small(pair.bob, 256 * KIB)
        pair.bob.messaging.on("participant_attributes_updated", lambda event: pair.simulation.sleep(60))
        for _ in range(20):
            pair.alice.local_participant.set_attribute("picture", "x" * 40 * KIB)
            pair.simulation.sleep(0.1)
        pair.simulation.sleep(1)
        assert pair.bob.stats().bytes_unread < 256 * KIB
        assert pair.bob.stats().events_dropped == 20 - 1 - 6


class Hooked(MessagingClient):
    """Sleeps over the first message that passes its hook."""

    sleeps = True

    def received(self, message: Any) -> Any:
        if self.sleeps and message.type == "chat":
            self.sleeps = False
            self._meshsync.runtime.sleep(60)
        return message


def test_what_waits_for_the_hook_counts() -> None:
    """As what waits for receivers: of 30 messages the ten last wait, behind the one that is in the hook."""
    got: list[int] = []
    with listening(messaging=Hooked) as pair:
        pair.bob.messaging.on_message("chat", lambda event: got.append(event.message.message["n"]))
        flood(pair, 30)
        assert pair.bob.stats().bytes_unread < MIB
        pair.simulation.sleep(100)
        assert got[-10:] == list(range(20, 30))
        assert pair.bob.stats().events_dropped == 30 - len(got)


def test_subscription_that_holds_too_much_ends_loudly(caplog: pytest.LogCaptureFixture) -> None:
    """After ten messages of 100 KiB, with an error that says why; the others, and the client, go on."""
    received: list[int] = []
    with listening() as pair:
        pair.bob.messaging.on_message("chat", lambda event: received.append(event.message.message["n"]))
        subscription = pair.bob.messaging.messages(timeout=0)
        flood(pair, 40)
        stats = pair.bob.stats()
        assert (stats.subscriptions_failed, stats.events_dropped, received) == (1, 0, list(range(40)))
        assert [subscription.get().message["n"] for _ in range(10)] == list(range(10))
        with pytest.raises(UsageError, match=r"^10 messages of this .*, and all that a client holds .*, when"):
            subscription.get()
        assert pair.bob.stats().bytes_unread == 0
        assert pair.bob.messaging.messages(timeout=0).pending == 0
    assert [r.getMessage() for r in caplog.records] == ["a subscription ended: too much of it was unread"]


def test_subscription_that_drops_keeps_the_newest_bytes() -> None:
    """Ten of 100 KiB; the rest is counted, at the subscription and at the client."""
    with listening() as pair:
        subscription = pair.bob.messaging.messages(timeout=0, overflow="drop_oldest")
        flood(pair, 40)
        assert (subscription.dropped, pair.bob.stats().messages_dropped) == (30, 30)
        assert [message.message["n"] for message in subscription] == list(range(30, 40))


def test_forgotten_subscription_starves_nobody() -> None:
    """It holds all there is; receivers have a part of their own, and a second subscription its least."""
    received: list[int] = []
    with listening() as pair:
        forgotten = pair.bob.messaging.messages(overflow="drop_oldest")
        flood(pair, 20)

        def receive(event: Any) -> None:
            received.append(event.message.message["n"])
            pair.simulation.sleep(1)

        # An eighth of 1 MiB is the receivers' own: behind the message that one is at, two of 100 KiB can wait.
        pair.bob.messaging.on_message("chat", receive)
        flood(pair, 3)
        pair.simulation.sleep(5)
        assert (received, pair.bob.stats().events_dropped) == ([0, 1, 2], 0)
        with pair.bob.messaging.messages(timeout=1) as read:
            for _ in range(5):
                flood(pair, 1)
                assert len(read.get().attachment) == 100 * KIB
        assert forgotten.pending == 10


# --- unread streams ---------------------------------------------------------------------------------------------------


def write(bob: Scripted, to: Any, stream_ids: list[str], count: int) -> None:
    """Have Bob, who knows no flow control, write chunks of 100 KiB to streams, in turn."""
    for _ in range(count):
        for stream_id in stream_ids:
            bob.say(to, "stream.chunk", stream_id, header={}, data=bytes(100 * KIB))
    bob._meshsync.runtime.sleep(1)


def test_streams_that_nobody_has_accepted_are_rejected_when_they_hold_too_much() -> None:
    """16 with 1 MiB each where 1 MiB is held: they are rejected until one is left, which holds what it may."""
    with scripted() as (pair, bob):
        alice, ids = pair.alice, [f"s-{n}" for n in range(16)]
        small(alice)
        offers = alice.messaging.streams(timeout=0, maxsize=16)
        me = bob.wait_for_participant(name="alice")
        for stream_id in ids:
            bob.say(me, "stream.open", stream_id, header={})
        write(bob, me, ids, 10)
        rejections = bob.heard("stream.reject")
        assert len({rejection["stream_id"] for rejection in rejections}) == len(rejections) == 15
        assert "the client holds 1048576 bytes unread" in rejections[0]["error"]
        assert 9 * 100 * KIB < alice.stats().bytes_unread < MIB
        assert alice.stats().streams_refused == 15
        (reader,) = offers
        assert len(reader.read().data) == 100 * KIB
        reader.close()
        pair.simulation.sleep(1)
        assert alice.stats().bytes_unread == 0


def test_hasty_stream_is_rejected_where_others_hold_all() -> None:
    """No peer that keeps to the protocol writes before it is accepted, so it has no part of its own."""
    with scripted() as (pair, bob):
        small(pair.alice)
        unread, offers = pair.alice.messaging.messages(), pair.alice.messaging.streams(timeout=0)
        me = bob.wait_for_participant(name="alice")
        for _ in range(10):
            bob.send_message(me, "chat", {}, bytes(100 * KIB))
        bob.say(me, "stream.open", "s-1", header={})
        write(bob, me, ["s-1"], 1)
        assert [body["stream_id"] for body in bob.heard("stream.reject")] == ["s-1"]
        assert (unread.pending, list(offers)) == (10, [])


def test_offers_themselves_count() -> None:
    """Streams with headers of 300 KiB, where 1 MiB is held: the fourth is rejected; deciding makes room."""
    with scripted() as (pair, bob):
        small(pair.alice)
        offers = pair.alice.messaging.streams(timeout=0, maxsize=16)
        me = bob.wait_for_participant(name="alice")
        for n in range(4):
            bob.say(me, "stream.open", f"s-{n}", header={"picture": "x" * 300 * KIB})
        pair.simulation.sleep(1)
        assert bob.heard("stream.reject") == [{"stream_id": "s-3", "error": "the recipient holds all that it can"}]
        for reader in offers:
            reader.accept()
        pair.simulation.sleep(1)
        assert pair.alice.stats().bytes_unread == 0


def test_accepted_streams_without_flow_control_share_the_bytes(caplog: pytest.LogCaptureFixture) -> None:
    """Each that is not read fails when the bytes are used up; what came can be read, and then says why."""
    with scripted() as (pair, bob):
        readers: list[Any] = []
        pair.alice.messaging.enable(readers.append)
        small(pair.alice)
        me = bob.wait_for_participant(name="alice")
        for stream_id in ("s-1", "s-2"):
            bob.say(me, "stream.open", stream_id, header={})
        pair.simulation.sleep(1)
        write(bob, me, ["s-1", "s-2"], 20)
        assert [body["stream_id"] for body in bob.heard("stream.close")] == ["s-1", "s-2"]
        assert pair.alice.stats().bytes_unread < MIB
        with pytest.raises(StreamInterrupted, match="the client holds 1048576 bytes unread, its limit, 51"):
            while readers[0].read(0) is not None:
                pass
        assert pair.alice.stats().streams_refused == 2
        # A program that lets go of a stream has no more of it in memory, whether it has read it or not.
        readers.clear()
        assert pair.alice.stats().bytes_unread == 0
    assert [r.getMessage() for r in caplog.records] == ["a stream was rejected or failed: too much of it was unread"]


def test_stream_that_is_read_goes_on_while_others_hold_all() -> None:
    """A receiver that sleeps on 1 MiB does not cost a stream that its program reads."""
    with scripted() as (pair, bob):
        readers: list[Any] = []
        pair.alice.messaging.enable(readers.append)
        small(pair.alice)
        pair.alice.messaging.on_message("chat", lambda event: pair.simulation.sleep(60))
        me = bob.wait_for_participant(name="alice")
        bob.say(me, "stream.open", "s-1", header={})
        for _ in range(20):
            bob.send_message(me, "chat", {}, bytes(100 * KIB))
        for _ in range(20):
            write(bob, me, ["s-1"], 1)
            assert len(readers[0].read(0).data) == 100 * KIB


def test_streams_with_flow_control_do_not_count() -> None:
    """They have bounds of their own, agreed with their peers."""
    with simulated() as sim:
        pair = Pair(sim, packet_size=65536)
        writer, reader = pair.both()
        small(pair.bob)
        for _ in range(3):
            writer.write(bytes(MIB))
        sim.sleep(1)
        assert pair.bob.stats().bytes_unread == 0
        assert [len(reader.read(0).data) for _ in range(3)] == [MIB] * 3


# --- unacknowledged ---------------------------------------------------------------------------------------------------


def test_senders_wait_for_acknowledgements_within_their_time() -> None:
    """Seven of 100 KiB, in base64, are within 1 MiB; the next is not sent in time, or waits for the first answer."""
    with simulated() as sim:
        pair = Pair(sim, packet_size=65536)
        alice, to = pair.alice.messaging, pair.to()
        pair.alice._meshsync.connection.send_room.limit = MIB
        sim.plan(faults.late_replies("alice", 10))
        for _ in range(7):
            alice.send_message_nowait(to, "chat", {}, bytes(100 * KIB), timeout=0)
        assert 7 * 133 * KIB < pair.alice.stats().bytes_unacknowledged < MIB
        for timeout in (0, 1):
            with pytest.raises(SendTimeout, match="are sent and were not acknowledged within") as info:
                alice.send_message_nowait(to, "chat", {}, bytes(100 * KIB), timeout=timeout)
            assert (info.value.retryable, info.value.connection_alive) == (True, True)
        begun = sim.now
        alice.send_message_nowait(to, "chat", {}, bytes(100 * KIB), timeout=20)
        assert sim.now - begun == 9
        sim.sleep(20)
        assert pair.alice.stats().bytes_unacknowledged == 0


def test_streams_wait_too_and_their_control_messages_do_not() -> None:
    """While all is unacknowledged no chunk goes out; credits, rejections and ends do."""
    with simulated() as sim:
        pair = Pair(sim, accept, packet_size=65536)
        writer = pair.open(resume_for=0)
        with pair.alice.messaging.streams() as offers:
            answer = sim.spawn(
                lambda: pair.bob.messaging.create_stream(pair.alice.local_participant.id, {}, resume_for=0)
            )
            offered = offers.get(10)
            pair.alice._meshsync.connection.send_room.limit = MIB
            sim.plan(faults.late_replies("alice", 10))
            pair.alice.messaging.send_message_nowait(pair.to(), "chat", {}, bytes(2 * MIB))
            with pytest.raises(StreamTimeout):
                writer.write(b"x", timeout=1)
            begun = sim.now
            offered.reject("no")
            writer.abort("enough")
            assert sim.now == begun
            answer.join(1)
            assert answer.error is not None
            assert str(answer.error) == "no"


def test_end_of_the_connection_ends_the_wait_for_room() -> None:
    """Nothing was sent of what waited; the next connection begins with all its room."""
    with simulated() as sim:
        pair = Pair(sim, packet_size=65536)
        alice, to = pair.alice.messaging, pair.to()
        pair.alice._meshsync.connection.send_room.limit = MIB
        sim.plan(faults.late_replies("alice", 1000), faults.at(sim.now + 5, faults.reset("alice")))
        alice.send_message_nowait(to, "chat", {}, bytes(MIB))
        with pytest.raises(NotSent):
            alice.send_message_nowait(to, "chat", {}, bytes(MIB), timeout=100, if_offline="raise")
        assert sim.now < 10
        assert pair.alice.stats().bytes_unacknowledged == 0
