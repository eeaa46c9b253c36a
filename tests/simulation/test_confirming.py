"""Confirmed messages between whole clients: handled exactly once, in order, whatever connections break meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import meshsync
from meshsync import (
    DeliveryUnknown,
    InvalidMessage,
    MessagingClient,
    NotSent,
    ParticipantNotFound,
    RemoteParticipant,
    RoomClient,
    RoomError,
    RoomMessage,
    SendTimeout,
    UsageError,
)
from meshsync.confirming.bodies import ATTRIBUTE
from simulator import Simulation, faults, latency, participants
from simulator.participants import Participant
from simulator.simulation import SimulatedRoom
from tests.support import confirmed_room
from tests.support.seeds import sweep
from tests.support.worlds import simulated


class Pair:
    """Alice and Bob in a room, both enabled, and the numbers that Bob's receiver got."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.room: SimulatedRoom = sim.room("demo")
        self.alice = self.room.join("alice", enable=True)
        self.bob = self.room.join("bob", enable=True)
        self.peer = self.alice.messaging.wait_for_participant("bob")
        self.bob.messaging.wait_for_participant("alice")
        self.got: list[int] = []
        self.bob.messaging.on_message("chat", lambda event: self.got.append(event.message.message["n"]))

    def send(self, n: int, to: RemoteParticipant | None = None, timeout: float = 10, **options: Any) -> float:
        """Send a confirmed number to Bob, and return the seconds that took."""
        before = self.sim.now
        self.alice.messaging.send_message(to or self.peer, "chat", {"n": n}, confirm=True, timeout=timeout, **options)
        return round(self.sim.now - before, 3)

    def cut(self, name: str, seconds: float) -> None:
        """Lose a connection, and get none for a while."""
        self.sim.plan(faults.during(self.sim.now, self.sim.now + seconds, faults.refuse_connect(name)))
        self.sim.plan(faults.reset(name))
        self.sim.sleep(0.05)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return the two, on links of 10 ms."""
    with simulated(seed=5, latency=0.01) as sim:
        yield Pair(sim)


# --- the promise ------------------------------------------------------------------------------------------------------


def test_returns_when_the_recipient_has_it(pair: Pair) -> None:
    """Two times two ways of 10 ms; the first exchange has another two times two for the proofs."""
    assert (pair.send(1), pair.got) == (0.08, [1])
    assert (pair.send(2), pair.got) == (0.04, [1, 2])
    mapping = {"to": pair.peer, "type": "chat", "message": {"n": 3}, "attachment": b"\x01"}
    with pair.bob.messaging.messages() as came:
        pair.alice.messaging.send_message(mapping, confirm=True)
        assert came.get(0).attachment == b"\x01"
    assert pair.got == [1, 2, 3]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", sweep(range(1, 4), everywhere=1))
def test_ten_thousand_messages_under_resets_are_handled_once_and_in_order(seed: int) -> None:
    """Ten clients, each reset every 2 s on average, and the server restarted twice."""
    report = confirmed_room.run(seed)
    assert report.failures == []
    assert sum(map(len, report.handled.values())) == 10_000
    assert report.handled == report.sent


def test_all_succeed_among_four_clients_that_are_reset_every_three_seconds() -> None:
    """Whatever the schedule: none gives up within 60 s."""
    for seed in range(5):
        report = confirmed_room.run(seed, clients=4, messages=400, mean=3.0, restarts=())
        assert report.failures == []
        assert report.handled == report.sent


@pytest.mark.parametrize("seconds", [0.005, 0.015, 0.025, 0.035, 0.045, 0.055, 0.065, 0.075])
@pytest.mark.parametrize("name", ["alice", "bob"])
def test_a_reset_at_any_step_costs_nothing(pair: Pair, name: str, seconds: float) -> None:
    """On the way there, on the way back, and in the midst of the proofs."""
    pair.sim.plan(faults.at(pair.sim.now + seconds, faults.reset(name)))
    pair.send(1)
    pair.send(2)
    assert pair.got == [1, 2]


def test_message_that_is_begun_while_offline_is_sent_afterwards(pair: Pair) -> None:
    """It waits for this client's connection, or is refused if it may not."""
    pair.cut("alice", 3)
    with pytest.raises(NotSent, match="offline"):
        pair.send(1, if_offline="raise")
    assert pair.send(2, timeout=60) > 2.5
    assert pair.got == [2]


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "never confirmed before"])
def test_the_instance_is_what_is_addressed(pair: Pair, *, is_known: bool) -> None:
    """A message to the object of a client between two connections waits until it is back under another id."""
    if is_known:
        pair.send(0)
    pair.cut("bob", 3)
    assert not pair.peer.online
    assert pair.send(1, timeout=60) > 2.5
    assert pair.got == [0, 1][not is_known :]
    assert pair.alice.messaging.get_participant(pair.peer.id) is None


# --- who can ----------------------------------------------------------------------------------------------------------


def test_who_does_not_confirm_is_refused_before_anything_is_sent(pair: Pair) -> None:
    """A participant without the attribute, one that is told not to, and this client itself."""
    quiet = participants.Echo("quiet")
    quiet.confirms = False
    pair.room.add(quiet, _Claiming("other", {"v": 2, "instance": "0" * 32, "confirm": 1}))
    before = pair.alice.stats().packets_sent
    for name in ("quiet", "other"):
        peer = pair.alice.messaging.wait_for_participant(name)
        with pytest.raises(UsageError, match="does not confirm messages"):
            pair.send(1, peer)
    with pytest.raises(UsageError, match="oneself"):
        pair.alice.messaging.send_message(pair.alice.local_participant, "chat", {}, confirm=True)
    with pytest.raises(ParticipantNotFound, match="'nobody'"):
        pair.alice.messaging.send_message("nobody", "chat", {}, confirm=True)
    for type in ("stream.open", "participant.enabled"):
        with pytest.raises(UsageError, match="not a program's"):
            pair.alice.messaging.send_message(pair.peer, type, {}, confirm=True)
    with pytest.raises(InvalidMessage, match=r"message\['n'\]"):
        pair.alice.messaging.send_message(pair.peer, "chat", {"n": object()}, confirm=True)
    assert pair.alice.stats().packets_sent == before


def test_programs_have_no_part_in_what_is_our_own(pair: Pair) -> None:
    """The attribute is hidden and cannot be set, the types can neither be sent nor received."""
    seen: list[Any] = []
    pair.bob.messaging.on("message", seen.append)
    for event in ("participant_added", "participant_attributes_updated", "messaging_enabled"):
        pair.bob.messaging.on(event, lambda event: seen.append(event.message.message))
    pair.send(1)
    pair.cut("alice", 1)
    pair.sim.sleep(10)
    alice = pair.bob.messaging.get_participant_by_name("alice")
    assert alice is not None
    for participant in (alice, pair.alice.local_participant):
        assert dict(participant.attributes) == {"name": "alice"}
        assert participant.get_attribute(ATTRIBUTE) is None
    assert [item["attributes"] for item in seen[1:]] == [{"name": "alice"}]
    with pytest.raises(UsageError, match="'meshsync'"):
        pair.alice.local_participant.set_attribute(ATTRIBUTE, 1)
    for send in (pair.alice.messaging.send_message_nowait, pair.alice.messaging.send_message):
        with pytest.raises(InvalidMessage, match="meshsync's own"):
            send(alice, "meshsync.hello", {})
    with pytest.raises(InvalidMessage, match="meshsync's own"):
        pair.alice.messaging.broadcast_message("meshsync.new", {})
    pair.room.add(_Meddling("meddler"))
    pair.sim.sleep(1)
    assert all(getattr(item, "name", "") == "message" or item["id"] != pair.peer.id for item in seen)
    assert [item.message.type for item in seen if not isinstance(item, dict)] == ["chat"]


@pytest.mark.parametrize("type", ["stream.open", "participant.disabled", "meshsync.message", ""])
def test_what_no_program_sends_reaches_none_in_a_confirmed_message(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, type: str
) -> None:
    """A peer that is not as careful as ours is confirmed all the same, and what it sent is dropped."""
    for check in ("is_of_programs", "check_text", "check_own_type"):
        monkeypatch.setattr(f"meshsync.confirmation.{check}", lambda *_: True)
    with pair.bob.messaging.messages() as came:
        pair.alice.messaging.send_message(pair.peer, type, {"id": "p-1"}, confirm=True, timeout=5)
        pair.send(1)
        assert came.get(0).type == "chat"


def test_client_that_does_not_reconnect_confirms_too(pair: Pair) -> None:
    """And the attribute costs one request for each enabling."""
    carol = pair.room.join("carol", reconnect=False)
    carol.local_participant.set_attribute("mood", "calm")
    carol.messaging.enable()
    carol.messaging.disable()
    carol.messaging.enable()
    with carol.messaging.messages() as came:
        pair.send(1, pair.alice.messaging.wait_for_participant("carol"))
        assert came.get(0).message == {"n": 1}
    # A head and a body each: four requests of the program's, one of its client's, and a proof and a report.
    ups = [packet for packet in pair.room.transcript.packets if (packet.link, packet.direction) == ("carol", "up")]
    assert len(ups) == 2 * (4 + 1 + 2)


def test_attributes_are_restored_by_one_request(pair: Pair) -> None:
    """The program's own and this one."""
    pair.bob.local_participant.set_attribute("mood", "calm")
    pair.cut("bob", 1)
    pair.sim.sleep(10)
    set_by_bob = [list(r.detail) for r in pair.room.transcript if r.kind == "attributes" and r.sender == "bob"]
    assert set_by_bob == [["mood"], ["mood", ATTRIBUTE]]


def test_scripted_participants_confirm_and_transcripts_show_the_message(pair: Pair) -> None:
    """Also one that left and comes back; its own type is in the record, not that of the envelope."""
    person = participants.Scripted("person", [])
    pair.room.add(person)
    peer = pair.alice.messaging.wait_for_participant("person")
    pair.send(1, peer)
    person.leave()
    pair.sim.sleep(1)
    task = pair.sim.spawn(lambda: pair.send(2, peer, timeout=60))
    pair.sim.sleep(1)
    person.come_back()
    task.join(60)
    assert task.error is None
    assert [dict(message.message) for message in person.received] == [{"n": 1}, {"n": 2}]
    shown = pair.room.transcript.messages("chat", "alice", "person")
    assert [(record.outcome, dict(record.detail)) for record in shown] == [
        ("delivered", {"n": 1}),
        ("delivered", {"n": 2}),
    ]


# --- who it is --------------------------------------------------------------------------------------------------------


class _Claiming(Participant):
    """One that makes a claim, true or not, and notes what it gets."""

    def __init__(self, name: str, claim: Any) -> None:
        super().__init__(name, attributes={ATTRIBUTE: claim})
        self.got: list[str] = []

    def on_message(self, message: Any) -> None:
        """Note its type."""
        self.got.append(message.type)


class _Meddling(Participant):
    """One that sends our own types to all, as nonsense and as messages that no one proved to be allowed to send."""

    def on_start(self) -> None:
        """Send them."""
        for peer in self.peers:
            self.send(peer, "meshsync.later", {"n": 1})
            self.send(peer, "meshsync.message", {"n": 1, "base": 1, "type": "chat", "message": {"n": 5}})
            self.send(peer, "meshsync.message", {"n": "x"})
            self.send(peer, "meshsync.confirmed", {"upto": 5, "arrived": 5})


def test_impostor_with_a_copied_instance_gets_nothing(pair: Pair) -> None:
    """Neither while the real one is away nor beside it; and it ends nobody's entry."""
    pair.send(1)
    claim = pair.bob._meshsync.confirmation.attribute
    pair.cut("bob", 5)
    impostor = _Claiming("bob", claim)
    pair.room.add(impostor)
    pair.sim.sleep(1)
    with pytest.raises(SendTimeout) as caught:
        pair.send(2, timeout=2)
    assert caught.value.retryable
    assert pair.send(3, timeout=60) > 1
    assert "meshsync.message" not in impostor.got
    with pytest.raises(ParticipantNotFound, match="has left"):
        pair.cut("bob", 5)
        pair.alice.messaging.send_message(pair.peer, "chat", {"n": 4})
    assert pair.got == [1, 3]


def test_restarted_process_is_another_one(pair: Pair) -> None:
    """It inherits nothing, though its name is the same."""
    pair.send(1)
    pair.bob.close()
    again = pair.room.join("bob", enable=True)
    with again.messaging.messages() as came:
        with pytest.raises(SendTimeout, match="'chat' to bob: its recipient was not reached within 5 s; not sent"):
            pair.send(2, timeout=5)
        assert came.pending == 0
        pair.send(3, pair.alice.messaging.wait_for_participant("bob"))
        assert came.get(0).message == {"n": 3}


def test_ghost_is_removed_when_its_client_is_back(pair: Pair) -> None:
    """At once and once, although the room lists it for another 30 s and more, also to a client that reconnects."""
    pair.send(1)
    removed: list[str] = []
    pair.alice.messaging.on("participant_removed", lambda event: removed.append(event.message.message["id"]))
    pair.sim.plan(faults.half_open("bob"))
    pair.sim.sleep(0.1)
    pair.bob._meshsync.connection.close_transport(0)  # Bob's end notices; the room's has to wait for its heartbeat.
    pair.send(2)
    assert removed == [pair.peer.id]
    assert [p.name for p in pair.alice.messaging.remote_participants] == ["bob"]
    pair.cut("alice", 0.5)
    pair.sim.sleep(5)
    assert (pair.alice.state, pair.sim.now < 30) == ("online", True)
    assert [p.id for p in pair.alice.messaging.remote_participants] == [pair.bob.local_participant.id]
    pair.sim.sleep(120)
    assert removed == [pair.peer.id]
    assert [p.id for p in pair.alice.messaging.remote_participants] == [pair.bob.local_participant.id]


def test_plain_messages_and_filters_follow_a_proven_instance(pair: Pair) -> None:
    """The old object stands for the client; so does its old id."""
    with pair.alice.messaging.messages(sender=pair.peer) as answers:
        pair.sim.sleep(1)
        pair.cut("bob", 1)
        pair.sim.sleep(10)
        alice = pair.bob.messaging.wait_for_participant("alice")
        pair.bob.messaging.send_message(alice, "answer", {"n": 1})
        assert answers.get(5).message == {"n": 1}
    pair.alice.messaging.send_message(pair.peer, "chat", {"n": 2})
    pair.alice.messaging.send_message(pair.peer.id, "chat", {"n": 3})
    pair.bob.messaging.enable(lambda reader: pair.got.append(len(reader.read_all())))
    with pair.alice.messaging.create_stream(pair.peer) as writer:
        writer.write(b"four")
    pair.sim.sleep(1)
    assert pair.got == [2, 3, 4]


def test_filter_for_a_stranger_that_has_left_warns_once(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """An official client's next connection is another participant."""
    quiet = participants.Echo("quiet")
    quiet.confirms = False
    pair.room.add(quiet)
    peer = pair.alice.messaging.wait_for_participant("quiet")
    with caplog.at_level(logging.WARNING, "meshsync"), pair.alice.messaging.messages(sender=peer):
        for _ in range(2):
            quiet.leave()
            pair.sim.sleep(1)
            quiet.come_back()
            pair.sim.sleep(1)
    assert [r.getMessage() for r in caplog.records if "subscription" in r.getMessage()] == [
        f"a subscription is for messages of {peer.id} alone, which has left: it gets no more"
    ]


# --- where there is no room -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", ["error", "drop_oldest"])
def test_full_subscription_makes_the_sender_wait(pair: Pair, overflow: Any) -> None:
    """Nothing is dropped, and nothing confirmed that is not in it."""
    with pair.bob.messaging.messages("chat", maxsize=2, overflow=overflow) as unread:
        pair.send(1)
        pair.send(2)
        with pytest.raises(DeliveryUnknown) as caught:
            pair.send(3, timeout=2)
        assert caught.value.connection_alive
        task = pair.sim.spawn(lambda: pair.send(4, timeout=60))
        pair.sim.sleep(3)
        assert (task.is_done, unread.pending) == (False, 2)
        assert [unread.get(0).message["n"] for _ in range(2)] == [1, 2]
        task.join(5)
        assert task.error is None
        assert [unread.get(0).message["n"] for _ in range(2)] == [3, 4]
        assert unread.dropped == 0
    assert pair.got == [1, 2, 3, 4]


def test_plain_messages_drop_no_confirmed_ones(pair: Pair) -> None:
    """They are dropped themselves, where all else is confirmed."""
    with pair.bob.messaging.messages("chat", maxsize=2, overflow="drop_oldest") as unread:
        pair.alice.messaging.send_message(pair.peer, "chat", {"n": 0})
        pair.send(1)
        pair.send(2)
        pair.alice.messaging.send_message(pair.peer, "chat", {"n": 3})
        pair.sim.sleep(1)
        assert [unread.get(0).message["n"] for _ in range(unread.pending)] == [1, 2]
        assert unread.dropped == 2


def test_message_that_waited_for_room_names_its_sender_as_it_is_now(pair: Pair) -> None:
    """So that it can be answered, although its sender has another id meanwhile."""
    with pair.bob.messaging.messages("chat", maxsize=1) as unread:
        pair.send(1)
        task = pair.sim.spawn(lambda: pair.send(2, timeout=60))
        pair.sim.sleep(1)
        before = pair.alice.local_participant.id
        pair.cut("alice", 1)
        pair.sim.sleep(10)
        assert unread.get(0).from_participant_id == before
        task.join(5)
        waited = unread.get(0)
    assert waited.from_participant_id == pair.alice.local_participant.id
    assert waited.sender is pair.bob.messaging.get_participant_by_name("alice")


def test_closed_subscription_stands_in_nobodys_way(pair: Pair) -> None:
    """What waited for room in it goes on to the receivers."""
    unread = pair.bob.messaging.messages("chat", maxsize=1)
    pair.send(1)
    task = pair.sim.spawn(lambda: pair.send(2, timeout=60))
    pair.sim.sleep(1)
    assert not task.is_done
    unread.close()
    task.join(5)
    assert (task.error, pair.got) == (None, [1, 2])


class _Hooked(MessagingClient):
    """Drops odd numbers."""

    def received(self, message: RoomMessage) -> RoomMessage | None:
        """Drop it or not."""
        return None if message.message["n"] % 2 else message


def test_hook_that_drops_has_handled_it(pair: Pair) -> None:
    """And one whose messages find no room behind it makes the sender wait in the end, and ends all the same."""
    carol = pair.room.join("carol", enable=True, messaging=_Hooked)
    peer = pair.alice.messaging.wait_for_participant("carol")
    unread = carol.messaging.messages("chat", maxsize=2)
    for n in range(9):
        pair.send(n, peer)
    pair.sim.sleep(1)
    assert unread.pending == 2
    assert [unread.get(1).message["n"] for _ in range(4)] == [0, 2, 4, 6]
    pair.send(10, peer)
    carol.close()
    assert carol.state == "closed"


# --- giving up --------------------------------------------------------------------------------------------------------


def test_message_that_was_sent_and_given_up_is_unknown_and_missed(pair: Pair) -> None:
    """The recipient is told how many it missed, when the next comes."""
    missed: list[tuple[str, int]] = []
    pair.bob.messaging.on("messages_missed", lambda event: missed.append(tuple(event.message.message.values())))
    pair.send(1)
    pair.sim.plan(faults.half_open("bob"))
    pair.sim.sleep(0.1)
    with pytest.raises(DeliveryUnknown, match="'chat' to bob: not confirmed within 1 s: handled once, or not at all"):
        pair.send(2, timeout=1)
    pair.sim.sleep(100)
    pair.send(3, timeout=60)
    assert pair.got == [1, 3]
    assert missed == [(pair.alice.local_participant.id, 1)]


def test_message_that_was_never_sent_may_be_repeated(pair: Pair) -> None:
    """Its recipient did not come back in time."""
    pair.send(1)
    pair.cut("bob", 20)
    with pytest.raises(SendTimeout) as caught:
        pair.send(2, timeout=3)
    assert caught.value.retryable
    delivery = pair.alice.messaging.send_message_nowait(pair.peer, "chat", {"n": 3}, confirm=True, timeout=4)
    pair.sim.sleep(5)
    assert isinstance(delivery.error, SendTimeout)
    pair.sim.sleep(60)
    pair.send(4)
    assert pair.got == [1, 4]


def test_more_than_fits_waits_for_room(pair: Pair) -> None:
    """64 messages may be unconfirmed to one recipient."""
    pair.cut("bob", 5)
    deliveries = [
        pair.alice.messaging.send_message_nowait(pair.peer, "chat", {"n": n}, confirm=True, timeout=60)
        for n in range(64)
    ]
    with pytest.raises(SendTimeout, match="64 messages or 1 MiB were unconfirmed") as caught:
        pair.send(64, timeout=1)
    assert caught.value.retryable
    pair.send(65, timeout=60)
    for delivery in deliveries:
        delivery.wait(0)
    assert pair.got == [*range(64), 65]


def test_refusals_of_the_room_are_tried_again_unless_they_last(pair: Pair) -> None:
    """1003 and 1011 may pass, the former since only the room's report tells who has left; 1001 is for the caller."""
    pair.send(0)
    pair.sim.plan(faults.during(pair.sim.now, pair.sim.now + 1, faults.error_replies("alice", 1003)))
    assert pair.send(-1, timeout=60) >= 5
    pair.sim.plan(faults.during(pair.sim.now, pair.sim.now + 1, faults.error_replies("alice", 1011)))
    assert pair.send(1, timeout=60) >= 1
    pair.sim.plan(faults.during(pair.sim.now, pair.sim.now + 1, faults.error_replies("alice", 1001)))
    with pytest.raises(RoomError):
        pair.send(2, timeout=60)
    pair.sim.sleep(2)
    pair.send(3)
    assert pair.got == [0, -1, 1, 3]


# --- the end ----------------------------------------------------------------------------------------------------------


def test_receiver_that_closes_its_client_has_confirmed_what_told_it_to() -> None:
    """The sender need not wait for its time-out."""
    for seed in range(10):
        with simulated(seed, latency=0.01, schedule="random") as sim:
            pair = Pair(sim)
            pair.send(1)
            pair.bob.messaging.on_message("stop", lambda event: pair.bob.close())  # noqa: B023
            pair.alice.messaging.send_message(pair.peer, "stop", {}, confirm=True, timeout=5)


def _close(pair: Pair) -> None:
    pair.alice.close()


def _disable(pair: Pair) -> None:
    pair.alice.messaging.disable()


@pytest.mark.parametrize("end", [_close, _disable], ids=["close", "disable"])
@pytest.mark.parametrize(("is_sent", "error"), [(True, DeliveryUnknown), (False, NotSent)])
def test_what_is_unconfirmed_at_the_end_is_told_so(
    pair: Pair, end: Callable[[Pair], None], *, is_sent: bool, error: type[Exception]
) -> None:
    """Whether it may have arrived, as ever."""
    if is_sent:
        unread = pair.bob.messaging.messages("chat", maxsize=1)
        pair.send(0)
        assert unread.pending == 1
    else:
        pair.cut("bob", 60)
    delivery = pair.alice.messaging.send_message_nowait(pair.peer, "chat", {"n": 1}, confirm=True, timeout=None)
    pair.sim.sleep(1)
    end(pair)
    with pytest.raises(error):
        delivery.wait(1)


def test_client_that_closes_with_unplaced_messages_has_not_confirmed_them(pair: Pair) -> None:
    """They were nowhere where the program could find them."""
    unread = pair.bob.messaging.messages("chat", maxsize=1)
    pair.send(1)
    task = pair.sim.spawn(lambda: pair.send(2, timeout=5))
    pair.sim.sleep(1)
    pair.bob.close()
    task.join(10)
    assert isinstance(task.error, DeliveryUnknown)
    assert (unread.pending, pair.got) == (1, [1])


def test_subclass_sees_what_is_confirmed(pair: Pair) -> None:
    """All sending goes through ``send_message_nowait``, this too."""
    seen: list[dict[str, Any]] = []

    class Counting(MessagingClient):
        def send_message_nowait(self, *arguments: Any, **options: Any) -> Any:
            seen.append(options)
            return super().send_message_nowait(*arguments, **options)

    carol: RoomClient = pair.room.join("carol", enable=True, messaging=Counting)
    bob = carol.messaging.wait_for_participant("bob")
    carol.messaging.send_message(bob, "chat", {"n": 1}, confirm=True)
    carol.messaging.send_message(bob, "chat", {"n": 2})
    meshsync.sleep(1)
    assert [options.get("confirm") for options in seen] == [True, None]
    assert pair.got == [1, 2]


def test_latency_and_a_busy_receiver_change_nothing() -> None:
    """A receiver may itself send what is to be confirmed, to whoever waits for it."""
    with simulated(seed=3, latency=latency.uniform(0.005, 0.2)) as sim:
        pair = Pair(sim)
        alice = pair.bob.messaging.wait_for_participant("alice")
        back: list[int] = []
        pair.alice.messaging.on_message("back", lambda event: back.append(event.message.message["n"]))
        pair.bob.messaging.on_message(
            "chat",
            lambda event: pair.bob.messaging.send_message(alice, "back", event.message.message, confirm=True),
        )
        for n in range(20):
            pair.send(n)
        sim.sleep(5)
        assert back == [*range(20)]
