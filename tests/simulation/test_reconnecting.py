"""A client that comes back: what is restored, in which order, and what becomes of the calls around a loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import meshsync
from meshsync import (
    ClientClosed,
    ConnectionLost,
    DeliveryUnknown,
    Dismissed,
    MeshsyncError,
    NotSent,
    ParticipantToken,
    ReceiveTimeout,
    RoomClient,
    SendTimeout,
    StreamInterrupted,
)
from simulator import Simulation, faults, latency
from simulator.errors import SimulationDeadlock
from simulator.simulation import SimulatedRoom
from tests.support.worlds import simulated


class Pair:
    """Alice and Bob in a room, both enabled, and what each heard."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.room: SimulatedRoom = sim.room("demo")
        self.alice = self.room.join("alice", enable=True)
        self.bob = self.room.join("bob", enable=True)
        self.alice.messaging.wait_for_participant("bob")
        self.bob.messaging.wait_for_participant("alice")
        self.heard: dict[str, list[tuple[str, Any]]] = {"alice": [], "bob": []}
        for name, client in (("alice", self.alice), ("bob", self.bob)):
            self._note(name, client)

    def _note(self, name: str, client: RoomClient) -> None:
        for event in ("message", "participant_added", "participant_removed", "participant_attributes_updated"):
            client.messaging.on(event, lambda event: self.heard[name].append((event.name, event.message.message)))
        for event in ("disconnected", "reconnected", "messaging_enabled", "messaging_disabled"):
            client.messaging.on(event, lambda event: self.heard[name].append((event.name, event.message.message)))

    def events(self, name: str) -> list[str]:
        """Return the names of the events that one of them heard."""
        return [event for event, _ in self.heard[name]]

    def numbers(self, name: str) -> list[int]:
        """Return the numbers in the messages that came."""
        return [body["n"] for event, body in self.heard[name] if event == "message" and body]

    def cut(self, name: str = "alice") -> None:
        """Lose a connection, and wait until its client knows."""
        self.sim.plan(faults.reset(name))
        self.sim.sleep(0.01)

    def cut_for(self, seconds: float, name: str = "alice") -> None:
        """Lose a connection, and get none for a while."""
        self.sim.plan(faults.during(self.sim.now, self.sim.now + seconds, faults.refuse_connect(name)))
        self.cut(name)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return the two, on links of 10 ms."""
    with simulated(seed=5, latency=0.01) as sim:
        yield Pair(sim)


# --- the loss and the return ------------------------------------------------------------------------------------------


def test_client_goes_offline_and_comes_back_under_another_id(pair: Pair) -> None:
    """The same object stands for this client all the time, and its state tells where it is."""
    me = pair.alice.local_participant
    before = me.id
    assert (pair.alice.state, pair.alice.is_connected) == ("online", True)
    pair.cut()
    assert (pair.alice.state, pair.alice.is_connected) == ("offline", False)
    pair.sim.sleep(5)
    assert (pair.alice.state, pair.alice.is_connected) == ("online", True)
    assert pair.alice.local_participant is me
    assert me.id != before
    lost, back = pair.heard["alice"][-2:]
    assert lost == ("disconnected", {"reason": "the connection broke: Connection reset by peer", "will_retry": True})
    assert back[0] == "reconnected"
    assert 0.1 <= back[1]["seconds"] < 1
    assert pair.events("bob") == ["participant_removed", "participant_added"]


def test_those_who_are_still_there_are_the_same_objects_and_no_arrivals(pair: Pair) -> None:
    """The roster is taken as a difference: who left, who came, and what changed meanwhile."""
    carol = pair.room.join("carol", enable=True)
    bob, away = pair.alice.messaging.get_participant_by_name("bob"), pair.alice.messaging.wait_for_participant("carol")
    pair.sim.sleep(1)
    pair.heard["alice"].clear()
    pair.cut_for(5)
    assert pair.alice.messaging.remote_participants == (bob, away)
    assert bob is not None
    assert bob.online
    carol.close()
    pair.room.join("dora", enable=True)
    pair.bob.local_participant.set_attribute("mood", "calm")
    pair.sim.sleep(60)
    assert [p.name for p in pair.alice.messaging.remote_participants] == ["bob", "dora"]
    assert pair.alice.messaging.get_participant_by_name("bob") is bob
    assert (bob.attributes["mood"], away.online) == ("calm", False)
    assert pair.events("alice") == [
        "disconnected",
        "participant_removed",
        "participant_attributes_updated",
        "participant_added",
        "reconnected",
    ]
    assert pair.heard["alice"][2][1] == {"attributes": {"mood": "calm"}}


def test_attributes_are_set_before_messaging_is_enabled(pair: Pair) -> None:
    """Nobody sees the client without them."""
    pair.alice.local_participant.set_attribute("mood", "calm")
    pair.sim.sleep(1)
    pair.heard["bob"].clear()
    pair.cut()
    pair.sim.sleep(5)
    (added,) = [body for event, body in pair.heard["bob"] if event == "participant_added"]
    assert added["attributes"] == {"name": "alice", "mood": "calm"}
    assert "participant_attributes_updated" not in pair.events("bob")


def test_what_is_decided_offline_is_what_is_restored(pair: Pair) -> None:
    """Attributes, enabling and disabling return at once, and are found by the others afterwards."""
    pair.alice.messaging.disable()
    pair.cut_for(5)
    begun = pair.sim.now
    pair.alice.local_participant.set_attribute("mood", "calm")
    pair.alice.messaging.enable()
    assert (pair.sim.now, pair.alice.messaging.is_enabled) == (begun, True)
    assert pair.alice.local_participant.attributes["mood"] == "calm"
    pair.sim.sleep(60)
    found = pair.bob.messaging.get_participant_by_name("alice")
    assert found is not None
    assert found.attributes["mood"] == "calm"
    assert pair.events("alice")[-4:] == ["disconnected", "messaging_enabled", "participant_added", "reconnected"]


def test_disabling_offline_empties_the_roster_and_stays(pair: Pair) -> None:
    """The removals are signalled at once, and the client comes back without messaging."""
    pair.cut_for(5)
    pair.alice.messaging.disable()
    assert pair.alice.messaging.remote_participants == ()
    pair.sim.sleep(60)
    assert pair.events("alice")[-4:] == ["disconnected", "participant_removed", "messaging_disabled", "reconnected"]
    assert (pair.alice.state, pair.alice.messaging.is_enabled) == ("online", False)
    assert pair.bob.messaging.remote_participants == ()


def test_enabling_that_a_loss_cuts_goes_on_after_it(pair: Pair) -> None:
    """It returns when the peers are known, on whichever connection."""
    carol = pair.room.join("carol")
    pair.sim.plan(faults.at(pair.sim.now + 0.005, faults.reset("carol")))
    carol.messaging.enable()
    assert {p.name for p in carol.messaging.remote_participants} == {"alice", "bob"}
    assert carol.state == "online"


def test_waits_and_subscriptions_live_on(pair: Pair) -> None:
    """A subscription gives what comes after the loss, and a wait ends with who comes then."""
    with pair.alice.messaging.messages() as messages:
        pair.cut()
        pair.sim.spawn(lambda: (meshsync.sleep(3), pair.room.join("carol", enable=True)))
        assert pair.alice.messaging.wait_for_participant("carol", timeout=60).name == "carol"
        alice = pair.bob.messaging.get_participant_by_name("alice")
        assert alice is not None
        pair.bob.messaging.send_message(alice, "chat", {"n": 1})
        assert messages.get(10).message == {"n": 1}


def test_streams_end_with_their_connection_and_new_ones_wait_for_the_next(pair: Pair) -> None:
    """A writer raises what happened; opening one while offline waits."""
    pair.sim.failing_receivers = "log"  # Bob's, of the stream that breaks.
    pair.bob.messaging.enable(lambda reader: reader.read_all())
    bob = pair.alice.messaging.get_participant_by_name("bob")
    assert bob is not None
    writer = pair.alice.messaging.create_stream(bob, {}, resume_for=0)
    pair.cut()
    with pytest.raises(StreamInterrupted):
        writer.write(b"more")
    begun = pair.sim.now
    with pair.alice.messaging.create_stream(bob, {}) as again:
        again.write(b"whole")
    assert pair.sim.now > begun + 0.1
    assert pair.alice.state == "online"


# --- calls around a loss ----------------------------------------------------------------------------------------------


def test_calls_that_begin_offline_wait_and_keep_their_order(pair: Pair) -> None:
    """Those that wait are sent ahead of later ones, each once."""
    bob = pair.alice.messaging.get_participant_by_name("bob")
    assert bob is not None
    pair.cut_for(3)
    held = [pair.alice.messaging.send_message_nowait(bob, "chat", {"n": n}) for n in range(5)]
    pair.alice.messaging.broadcast_message_nowait("chat", {"n": 5})
    assert pair.alice.stats().pending == 6
    pair.alice.messaging.send_message(bob, "chat", {"n": 6}, timeout=60)
    assert pair.sim.now > 3
    pair.alice.messaging.send_message(bob, "chat", {"n": 7})
    pair.sim.sleep(1)
    assert pair.numbers("bob") == [*range(8)]
    assert all(delivery.is_done and delivery.error is None for delivery in held)


def test_call_that_does_not_want_to_wait_is_refused(pair: Pair) -> None:
    """``if_offline="raise"`` says at once that nothing was sent, and nothing is."""
    pair.cut()
    for call in (
        lambda: pair.alice.messaging.send_message(pair.bob.local_participant.id, "chat", {"n": 1}, if_offline="raise"),
        lambda: pair.alice.messaging.send_message_nowait(pair.bob.local_participant.id, "c", {}, if_offline="raise"),
        lambda: pair.alice.messaging.broadcast_message("chat", {"n": 1}, if_offline="raise"),
        lambda: pair.alice.messaging.broadcast_message_nowait("chat", {"n": 1}, if_offline="raise"),
    ):
        with pytest.raises(NotSent, match="offline"):
            call()
    pair.sim.sleep(10)
    assert pair.numbers("bob") == []
    with pytest.raises(ValueError, match="'wait' or 'raise', not 'maybe'"):
        pair.alice.messaging.broadcast_message("chat", {}, if_offline="maybe")  # type: ignore[call-overload]


def test_call_whose_time_passes_offline_is_not_sent_later(pair: Pair) -> None:
    """It says that repeating is safe, which would be untrue if it were sent after all."""
    pair.cut_for(5)
    bob = pair.bob.local_participant.id
    with pytest.raises(SendTimeout, match="offline; not sent") as caught:
        pair.alice.messaging.send_message(bob, "chat", {"n": 1}, timeout=2)
    assert caught.value.retryable
    pair.sim.sleep(60)
    assert (pair.alice.state, pair.numbers("bob")) == ("online", [])


def test_what_was_written_is_never_repeated(pair: Pair) -> None:
    """Its caller is told that it may have arrived."""
    bob = pair.bob.local_participant.id
    delivery = pair.alice.messaging.send_message_nowait(bob, "chat", {"n": 1})
    pair.cut()
    with pytest.raises(DeliveryUnknown):
        delivery.wait(60)
    pair.sim.sleep(10)
    assert pair.numbers("bob") == []


def test_what_was_not_written_is_sent_on_the_next_connection(pair: Pair) -> None:
    """Behind a message that fills the wire, others wait in the buffer; they go first after the loss, in order."""
    pair.sim.plan(faults.throttle("alice", 1000))
    bob = pair.bob.local_participant.id
    big, *_ = [pair.alice.messaging.send_message_nowait(bob, "big", {}, bytes(1_900_000)) for _ in range(2)]
    held = [pair.alice.messaging.send_message_nowait(bob, "chat", {"n": n}) for n in range(3)]
    pair.sim.sleep(1)
    pair.sim.plan(faults.during(pair.sim.now, pair.sim.now + 2, faults.refuse_connect("alice")))
    pair.cut()
    pair.alice.messaging.send_message_nowait(bob, "chat", {"n": 3})
    with pytest.raises(DeliveryUnknown):
        big.wait(0)
    for delivery in held:
        delivery.wait(600)
    pair.sim.sleep(60)
    assert pair.numbers("bob") == [0, 1, 2, 3]


def test_recipient_that_does_not_come_back_gets_nothing(pair: Pair) -> None:
    """A message that waited for a connection is for that participant, and not for whoever has its name now."""
    bob = pair.alice.messaging.get_participant_by_name("bob")
    assert bob is not None
    pair.cut_for(3)
    delivery = pair.alice.messaging.send_message_nowait(bob, "chat", {"n": 1})
    pair.bob.close()
    again = pair.room.join("bob", enable=True)
    with pair.sim.room("demo").join("carol").messaging.messages(), pytest.raises(NotSent, match="'bob' has not come"):
        delivery.wait(60)
    assert again.stats().packets_received > 0
    with again.messaging.messages() as came, pytest.raises(ReceiveTimeout):
        came.get(10)


def test_message_to_oneself_follows_the_new_id(pair: Pair) -> None:
    """This client is itself, whatever id it has."""
    pair.cut()
    pair.alice.messaging.send_message(pair.alice.local_participant, "chat", {"n": 1}, timeout=60)
    pair.sim.sleep(1)
    assert pair.numbers("alice") == [1]


def test_more_than_fits_the_budget_is_refused(pair: Pair) -> None:
    """What waits for a connection is bounded in bytes."""
    pair.cut_for(3)
    bob, held = pair.bob.local_participant.id, 0
    with pytest.raises(NotSent, match="bytes wait for the next connection; not sent"):
        for _ in range(100):
            pair.alice.messaging.send_message_nowait(bob, "big", {}, bytes(3_000_000))
            held += 1
    assert held == 64 * 1024 * 1024 // 4_000_000  # They are in base64.


# --- the end ----------------------------------------------------------------------------------------------------------


def test_client_that_may_not_come_back_is_lost(pair: Pair) -> None:
    """``reconnect=False``: the first loss is the end, and who waits for it is told."""
    carol = pair.room.join("carol", enable=True, reconnect=False)
    pair.sim.plan(faults.at(pair.sim.now + 1, faults.reset("carol")))
    with pytest.raises(ConnectionLost, match="reset by peer"):
        carol.wait_closed(60)
    assert carol.state == "lost"
    with pytest.raises(NotSent):
        carol.messaging.send_message(pair.bob.local_participant.id, "chat", {})


def test_time_limit_of_coming_back_ends_the_client() -> None:
    """All that waits is told, and so are the receivers."""
    with simulated(seed=5, latency=0.01) as sim:
        room = sim.room("demo")
        alice = room.join("alice", enable=True, reconnect_timeout=20)
        ends: list[tuple[bool, float]] = []
        alice.messaging.on("disconnected", lambda e: ends.append((e.message.message["will_retry"], sim.now)))
        sim.plan(faults.at(1, faults.refuse_connect("alice")), faults.at(1, faults.reset("alice")))
        sim.sleep(2)
        waiting = alice.messaging.broadcast_message_nowait("chat", {})
        with pytest.raises(ConnectionLost, match=r"not back within 20 s; the last attempt: cannot reach"):
            alice.wait_closed(600)
        assert sim.now == pytest.approx(21, abs=0.1)
        assert isinstance(waiting.error, NotSent)
        assert [will_retry for will_retry, _ in ends] == [True, False]
        with pytest.raises(NotSent):
            alice.messaging.broadcast_message("chat", {})


def test_closing_offline_ends_at_once(pair: Pair) -> None:
    """No attempt is waited for; what waits is told; `disconnected` is the last event."""
    pair.cut_for(600)
    pair.sim.sleep(60)
    waiting = pair.alice.messaging.broadcast_message_nowait("chat", {})
    begun = pair.sim.now
    pair.alice.close()
    assert (pair.sim.now, pair.alice.state) == (begun, "closed")
    assert isinstance(waiting.error, NotSent)
    assert pair.alice.wait_closed(0)
    assert pair.heard["alice"][-1] == ("disconnected", {"reason": "closed by this program", "will_retry": False})
    assert all(task.is_done for task in pair.alice._meshsync.tasks)
    with pytest.raises(ClientClosed):
        pair.alice.messaging.broadcast_message("chat", {})


def test_call_that_waits_ends_with_the_client(pair: Pair) -> None:
    """Another task closes; nobody waits for ever."""
    pair.cut_for(600)
    outcomes: list[str] = []

    def send() -> None:
        try:
            pair.alice.messaging.broadcast_message("chat", {}, timeout=None)
        except MeshsyncError as error:
            outcomes.append(type(error).__name__)

    def open_stream() -> None:
        try:
            pair.alice.messaging.create_stream(pair.bob.local_participant.id, {}, timeout=None)
        except MeshsyncError as error:
            outcomes.append(type(error).__name__)

    tasks = [pair.sim.spawn(send), pair.sim.spawn(open_stream)]
    pair.sim.sleep(1)
    pair.alice.close()
    assert all(task.join(1) for task in tasks)
    assert sorted(outcomes) == ["ClientClosed", "NotSent"]


def test_being_wanted_now_cuts_the_delay_short(pair: Pair) -> None:
    """``reconnect_now`` is for a program that knows that the network is back."""
    pair.cut_for(300)
    pair.sim.sleep(300)
    assert pair.alice.state == "offline"
    pair.alice.reconnect_now()
    pair.sim.sleep(0.2)
    assert pair.alice.state == "online"


def test_client_that_tries_for_ever_hides_no_deadlock() -> None:
    """Its timers are no sign that anything is going to happen."""
    with Simulation(seed=5, latency=0.01) as sim:
        alice = sim.room("demo").join("alice", enable=True)
        sim.plan(faults.at(1, faults.refuse_connect("alice")), faults.at(1, faults.reset("alice")))
        with pytest.raises(SimulationDeadlock):
            alice.messaging.wait_for_participant("nobody")


def test_restarted_server_is_come_back_to_spread_over_time() -> None:
    """Full jitter: those who were lost together do not return together."""
    with simulated(seed=5, latency=0.01) as sim:
        room, backs = sim.room("demo"), list[float]()
        clients = [room.join(f"agent {n}", enable=True) for n in range(20)]
        for client in clients:
            client.messaging.on("reconnected", lambda event: backs.append(sim.now))
        sim.plan(faults.restart(down=5))
        sim.sleep(120)
        assert len(backs) == 20
        assert max(backs) - min(backs) > 1
        assert all(len(client.messaging.remote_participants) == 19 for client in clients)


def test_dismissed_client_stays_away(pair: Pair) -> None:
    """Whoever says so; the message is delivered first. Other dialects only hear it."""
    old = pair.room.join("old", enable=True, dialect="B2")
    pair.sim.sleep(1)
    pair.bob.messaging.send_message(pair.alice.local_participant.id, "dismiss", {"n": 1})
    pair.bob.messaging.send_message(old.local_participant.id, "dismiss", {"n": 1})
    with pytest.raises(Dismissed):
        pair.alice.wait_closed(60)
    assert pair.numbers("alice") == [1]
    assert pair.heard["alice"][-1][1]["will_retry"] is False
    assert (pair.alice.state, old.state) == ("lost", "online")


def test_token_function_is_called_at_each_attempt_and_may_fail() -> None:
    """Its exception is a failed attempt, and not the end."""
    with simulated(seed=5, latency=0.01) as sim:
        room, calls = sim.room("demo"), list[float]()
        good = ParticipantToken.for_room("demo", "alice").encode(sim.world.environ["MESHAGENT_SECRET"])

        def token() -> str:
            calls.append(sim.now)
            if len(calls) in (2, 3):
                raise ValueError("the vault is closed")
            return good

        alice = room.join("alice", token=token)
        sim.plan(faults.reset("alice"))
        sim.sleep(60)
        assert (alice.state, len(calls)) == ("online", 4)


# --- the promise ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_what_is_acknowledged_is_handled_once_and_in_order(seed: int) -> None:
    """Four clients are reset every 3 s on average; most plain sends succeed, and no acknowledgement lies."""
    names = ("a", "b", "c", "d")
    with simulated(seed=seed, latency=latency.uniform(0.005, 0.05)) as sim:
        room = sim.room("demo", acknowledge="delivered")
        clients = {name: room.join(name, enable=True) for name in names}
        handled: dict[tuple[str, str], list[int]] = {}
        acknowledged: dict[tuple[str, str], list[int]] = {}
        for name, client in clients.items():

            def handle(event: Any, name: str = name) -> None:
                body = event.message.message
                handled.setdefault((body["from"], name), []).append(body["n"])

            client.messaging.on_message("order", handle)
            sim.plan(faults.every(latency.exponential(3.0), faults.reset(name)))

        def send(name: str) -> None:
            messaging, others = clients[name].messaging, [other for other in names if other != name]
            for n in range(60):
                other = others[n % 3]
                try:
                    peer = messaging.wait_for_participant(other, timeout=20)
                    messaging.send_message(peer, "order", {"from": name, "n": n})
                    acknowledged.setdefault((name, other), []).append(n)
                except MeshsyncError:
                    pass
                meshsync.sleep(0.2)

        for task in [sim.spawn(send, name) for name in names]:
            assert task.join(600)
        sim.sleep(60)
        for pair, numbers in acknowledged.items():
            got = handled[pair]
            assert got == sorted(set(got))
            assert set(numbers) <= set(got)
        assert sum(map(len, acknowledged.values())) >= 0.7 * 240
