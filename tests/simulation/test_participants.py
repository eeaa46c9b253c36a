"""Participants without a thread: what each one does, among themselves and with the production client."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from meshsync.errors import InvalidMessage, UsageError
from simulator import Simulation, faults, latency, participants
from simulator.errors import ActorFailed
from simulator.participants import Message, Participant, Peer, Visitor, churn
from simulator.participants.participant import retire
from tests.support.worlds import outcomes, simulated, told


class Noting(Participant):
    """Keeps everything it is told, in order."""

    def __init__(self, name: str = "noting") -> None:
        super().__init__(name)
        self.noted: list[tuple[Any, ...]] = []

    def on_start(self) -> None:
        self.noted.append(("start", *(peer.name for peer in self.peers.values())))

    def on_message(self, message: Message) -> None:
        self.noted.append(("message", message.sender.name, message.type, dict(message.message), message.attachment))

    def on_peer_joined(self, peer: Peer) -> None:
        self.noted.append(("joined", peer.name, peer.role))

    def on_peer_left(self, peer: Peer) -> None:
        self.noted.append(("left", peer.name))

    def on_end(self) -> None:
        self.noted.append(("end",))


# --- one's own --------------------------------------------------------------------------------------------------------


def test_a_participant_is_told_what_happens() -> None:
    """Who is there, who comes and goes, messages, and the end."""
    with simulated() as sim:
        room, noting = sim.room("demo"), Noting()
        room.join("alice", enable=True)
        room.add(noting)
        bob = room.join("bob", role="agent", enable=True)
        bob.messaging.send_message(bob.messaging.wait_for_participant("noting"), "chat", {"n": 1}, b"x")
        bob.close()
        sim.plan(faults.reset("noting"))
        sim.sleep(1)
        assert noting.noted == [
            ("start", "alice"),
            ("joined", "bob", "agent"),
            ("message", "bob", "chat", {"n": 1}, b"x"),
            ("left", "bob"),
            ("end",),
        ]


def test_a_participant_is_a_peer_like_any_other() -> None:
    """A client sees its name, role and attributes, and what it changes."""
    with simulated() as sim:
        room, agent = sim.room("demo"), Participant("agent", "agent", {"mood": "calm"})
        alice = room.join("alice", enable=True)
        room.add(agent)
        seen = alice.messaging.wait_for_participant(name="agent", role="agent")
        assert seen.get_attribute("mood") == "calm"
        agent.set_attribute("mood", "angry")
        sim.sleep(0.1)
        assert seen.get_attribute("mood") == "angry"
        agent.leave()
        sim.sleep(0.1)
        assert not seen.online


def test_it_sees_attributes_change() -> None:
    """Those of clients, as others do."""
    with simulated() as sim:
        room, agent = sim.room("demo"), Participant("agent")
        room.add(agent)
        alice = room.join("alice", enable=True)
        alice.local_participant.set_attribute("mood", "calm")
        sim.sleep(1)
        peer = agent.peer("alice")
        assert peer is not None
        assert peer.attributes == {"name": "alice", "mood": "calm"}


def test_sending_to_oneself_works() -> None:
    """The sender is known, although nobody lists themselves."""
    with simulated() as sim:
        room, noting = sim.room("demo"), Noting()
        room.add(noting)
        noting.send(noting.id, "memo", {})
        sim.sleep(1)
        assert noting.noted[-1] == ("message", "noting", "memo", {}, b"")


def test_what_was_sent_cannot_be_changed_afterwards() -> None:
    """A message is as it was when it was sent, although nothing is cut into packets."""
    with simulated(latency=1) as sim:
        room, noting, agent = sim.room("demo"), Noting(), Participant("agent")
        room.add(noting, agent)
        body = {"list": [1]}
        agent.send(noting.id, "chat", body)
        body["list"].append(2)
        sim.sleep(3)
        assert ("message", "agent", "chat", {"list": [1]}, b"") in noting.noted


def test_what_is_no_json_is_refused_where_it_is_sent() -> None:
    """As clients refuse it, with the place."""
    with simulated() as sim:
        agent = Participant("agent")
        sim.room("demo").add(agent)
        with pytest.raises(InvalidMessage, match="message"):
            agent.broadcast("chat", {"set": {1, 2}})


def test_a_participant_that_raises_fails_in_the_main_thread() -> None:
    """Its error is the cause."""

    class Failing(Participant):
        def on_message(self, message: Message) -> None:
            raise LookupError(message.type)

    with simulated() as sim:
        failing, agent = Failing("failing"), Participant("agent")
        sim.room("demo").add(failing, agent)
        agent.send(failing.id, "chat", {})
        with pytest.raises(ActorFailed) as caught:
            sim.sleep(1)
        assert isinstance(caught.value.__cause__, LookupError)


def test_a_participant_that_blocks_is_refused() -> None:
    """Nothing in one may wait, since nobody else could run."""
    with simulated() as sim:

        class Blocking(Participant):
            def on_start(self) -> None:
                sim.sleep(1)

        sim.room("demo").add(Blocking("blocking"))
        with pytest.raises(ActorFailed, match=r"sleep\(\) in the callback of a timer"):
            sim.sleep(1)


def test_a_participant_is_in_one_room_at_a_time() -> None:
    """Adding it again, or using it before, says what is wrong; after leaving it may be added to another room."""
    with simulated() as sim:
        agent = Participant("agent")
        with pytest.raises(UsageError, match=r"in no room: give it to room\.add\(\)"):
            agent.broadcast("chat", {})
        sim.room("one").add(agent)
        with pytest.raises(UsageError, match="in a room already"):
            sim.room("two").add(agent)
        agent.leave()
        agent.leave()
        with pytest.raises(UsageError, match="has left"):
            agent.broadcast("chat", {})
        sim.room("two").add(agent)
        assert agent.is_here


def test_leaving_comes_behind_what_was_sent() -> None:
    """The last words arrive; a callback that was due later does not happen."""
    with simulated(latency=0.5) as sim:
        room, noting, agent = sim.room("demo"), Noting(), Participant("agent")
        room.add(noting, agent)
        sim.sleep(2)
        agent.after(1, lambda: agent.broadcast("never", {}))
        agent.send(noting.id, "goodbye", {})
        agent.leave()
        sim.sleep(5)
        assert noting.noted[-2:] == [("message", "agent", "goodbye", {}, b""), ("left", "agent")]
        assert outcomes(room.transcript, "never") == []


def test_what_a_fault_cuts_off_is_lost_once() -> None:
    """Of three messages under way, to the room and from it, each has one record."""
    with simulated(latency=0.5) as sim:
        room, noting, agent = sim.room("demo"), Noting(), Participant("agent")
        room.add(noting, agent)
        sim.sleep(2)
        noting.send(agent.id, "coming", {})
        agent.send(noting.id, "early", {})
        sim.sleep(0.6)
        agent.send(noting.id, "late", {})
        sim.plan(faults.reset("agent"))
        sim.sleep(5)
        assert [outcomes(room.transcript, type) for type in ("coming", "early", "late")] == [
            [("noting", "agent", "lost")],
            [("agent", "noting", "delivered")],
            [("agent", "noting", "lost")],
        ]


def test_a_participant_without_answers_to_pings_would_be_sent_away() -> None:
    """It answers: after an hour of silence it is still there."""
    with simulated(latency=0.1) as sim:
        room, noting = sim.room("demo"), Noting()
        room.add(noting)
        sim.sleep(3600)
        assert noting.is_here and room.seated.seats[0].member.name == "noting"


# --- those that are there to be used ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("delay", "seconds"), [(0, 0.4), (0.25, 0.65), (latency.constant(1), 1.4)])
def test_echo_answers_with_the_same(delay: Any, seconds: float) -> None:
    """Type, body and attachment come back, after four ways of 100 ms and the time to think."""
    with simulated(latency=0.1) as sim:
        room = sim.room("demo")
        alice = room.join("alice", enable=True)
        room.add(participants.Echo("bot", delay=delay))
        bot = alice.messaging.wait_for_participant(name="bot", role="agent")
        with alice.messaging.messages(sender=bot) as replies:
            begun = sim.now
            alice.messaging.send_message_nowait(bot, "ask", {"q": 1}, b"data")
            answer = replies.get()
        assert (answer.type, answer.message, answer.attachment) == ("ask", {"q": 1}, b"data")
        assert sim.now - begun == pytest.approx(seconds, abs=1e-6)


def test_chatter_talks_to_all() -> None:
    """After each interval, as often as asked for."""
    with simulated() as sim:
        room, noting = sim.room("demo"), Noting()
        room.add(noting, participants.Chatter("chatter", 2, type="news", limit=3))
        sim.sleep(100)
        assert told(room.transcript, "message") == [
            (2, "news", "chatter"),
            (4, "news", "chatter"),
            (6, "news", "chatter"),
        ]


def test_chatter_talks_to_one_while_that_is_there() -> None:
    """While nobody has the name nothing is said."""
    with simulated() as sim:
        room, noting = sim.room("demo"), Noting()
        room.add(participants.Chatter("chatter", 1, to="noting"), Noting("other"))
        sim.sleep(2.5)
        room.add(noting)
        sim.sleep(2)
        noting.leave()
        sim.sleep(2)
        assert outcomes(room.transcript, "chat") == [("chatter", "noting", "delivered")] * 2


def test_chatter_without_an_interval_is_refused() -> None:
    """It would send for ever at one instant."""
    with pytest.raises(ValueError, match="interval of 0 seconds"):
        participants.Chatter("chatter", 0)


def test_scripted_does_one_step_after_the_other() -> None:
    """Each after its pause; leaving ends it."""
    with simulated() as sim:
        room = sim.room("demo")
        steps = [
            (1, lambda me: me.broadcast("first", {})),
            (2, lambda me: me.set_attribute("mood", "calm")),
            (0, lambda me: me.leave()),
            (1, lambda me: me.broadcast("never", {})),
        ]
        scripted = participants.Scripted("actor", steps)
        room.add(scripted, Noting())
        sim.sleep(10)
        assert told(room.transcript, "message", "attributes", "disconnected") == [
            (1, "first", "actor"),
            (3, "attributes", "actor"),
            (3, "disconnected", "actor"),
        ]


def test_scripted_keeps_what_it_got() -> None:
    """For the test to look at."""
    with simulated() as sim:
        scripted = participants.Scripted("actor", [])
        sim.room("demo").add(scripted, participants.Chatter("chatter", 1, limit=2))
        sim.sleep(5)
        assert [message.message for message in scripted.received] == [{"number": 1}, {"number": 2}]


# --- churn ------------------------------------------------------------------------------------------------------------


def test_a_visitor_comes_and_goes() -> None:
    """It stays and is away for so long, as often as asked for."""
    with simulated() as sim:
        room = sim.room("demo")
        room.add(Visitor("guest", stay=3, away=2, visits=2))
        sim.sleep(100)
        assert told(room.transcript, "connected", "disconnected") == [
            (0, "connected", "guest"),
            (3, "disconnected", "guest"),
            (5, "connected", "guest"),
            (8, "disconnected", "guest"),
        ]


def test_a_visitor_comes_back_after_a_fault() -> None:
    """And waits until it is let in."""
    with simulated() as sim:
        room, guest = sim.room("demo"), Visitor("guest", stay=1000, away=1)
        room.add(guest)
        sim.plan(faults.at(5, faults.reset("guest")), faults.during(5, 20, faults.refuse_connect("guest")))
        sim.sleep(19)
        assert not guest.is_here
        sim.sleep(5)
        assert guest.visited == 2


def test_churn_is_many_visitors() -> None:
    """Each has a name and chance of its own; a client sees them come and go."""
    with simulated() as sim:
        room = sim.room("demo")
        alice = room.join("alice", enable=True)
        crowd = churn(20, stay=latency.exponential(20), away=latency.exponential(10), greeting="hello")
        room.add(*crowd)
        sim.sleep(300)
        assert [visitor.name for visitor in crowd][:2] == ["visitor-1", "visitor-2"]
        assert all(visitor.visited > 3 for visitor in crowd)
        here = {visitor.name for visitor in crowd if visitor.is_here}
        assert {one.name for one in alice.messaging.remote_participants} == here
        assert len(outcomes(room.transcript, "hello")) > 20 * 4


def test_removing_one_participant_leaves_the_others_chance_alone() -> None:
    """Everybody's delays and pauses follow from their own name."""

    def visits(*names: str) -> list[tuple[float, str, str]]:
        with Simulation(3, latency=latency.uniform(0.01, 0.1)) as sim:
            room = sim.room("demo")
            room.add(*(Visitor(name, latency.exponential(5), latency.exponential(5)) for name in names))
            sim.sleep(100)
        return [entry for entry in told(room.transcript, "connected", "disconnected") if entry[2] == "b"]

    assert visits("a", "b", "c") == visits("b")
    assert len(visits("b")) > 5


def test_delays_follow_the_simulations_law_in_both_directions() -> None:
    """Up and down are drawn apart, and nothing overtakes."""
    with simulated(latency=latency.lognormal(0.04, 1.0)) as sim:
        room, noting = sim.room("demo"), Noting()
        room.add(noting, participants.Chatter("chatter", 0.01, limit=500))
        sim.sleep(60)
        numbers = [entry[3]["number"] for entry in noting.noted if entry[0] == "message"]
        assert numbers == list(range(1, 501))
        delays = [record.latency_s for record in room.transcript.messages()]
        assert all(delay > 0.01 for delay in delays if delay is not None)
        assert len(set(pairwise(delays))) > 100


def test_a_participant_whose_room_is_no_more_comes_back_to_none_but_can_enter_another() -> None:
    """It leaves for good; coming back does nothing, being added does."""
    with simulated() as sim:
        bot = participants.Echo("bot")
        sim.room("lab").add(bot)
        retire(bot)
        sim.sleep(1)
        bot.come_back()
        assert not bot.is_here
        sim.room("den").add(bot)
        assert bot.is_here


# --- coming back by itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [faults.reset, faults.leave, faults.drop], ids=lambda fault: str(fault.__name__))
def test_a_participant_comes_back_after_so_long(fault: Any) -> None:
    """With another id, its handlers, and the attributes that it had, those included that it has set."""

    class Greeter(Noting):
        returns_after = 2.5

        def on_start(self) -> None:
            super().on_start()
            if len(self.noted) == 1:
                self.set_attribute("mood", "fine")

    with simulated(latency=0.1) as sim:
        room, bot = sim.room("demo"), Greeter("bot")
        room.add(bot)
        ada = room.join("ada", enable=True)
        first = ada.messaging.wait_for_participant(name="bot")
        sim.sleep(1)
        sim.plan(fault("bot"))
        sim.sleep(2.4)
        assert ada.messaging.remote_participants == ()
        sim.sleep(0.5)
        (second,) = ada.messaging.remote_participants
        assert second.id == bot.id != first.id
        assert second.attributes["mood"] == "fine"
        ada.messaging.send_message(second, "chat", {})
        sim.sleep(1)
        assert [entry[0] for entry in bot.noted] == ["start", "joined", "end", "start", "message"]


def test_a_participant_that_leaves_comes_back_unless_it_has_no_more_to_return_to() -> None:
    """Each of the ready-made ones takes it; a law is drawn each time, and 0 is a millisecond."""
    steps: list[tuple[float, Any]] = [(1, lambda one: one.leave())]
    with simulated() as sim:
        room = sim.room("demo")
        law = latency.uniform(1, 2)
        someone = participants.Scripted("someone", steps, returns_after=law)
        hasty = participants.Scripted("hasty", steps, returns_after=0)
        room.add(someone, hasty, participants.Streamer("streamer", "sink", [b"x"], leave_after=1, returns_after=3))
        room.add(participants.Sink("sink", leave_after=1, returns_after=3))
        sim.sleep(10)
        joined = {
            name: [when for when, _, who in told(room.transcript, "connected") if who == name]
            for name in ("someone", "hasty", "streamer", "sink")
        }
        assert joined["hasty"][:3] == [0, 1.001, 2.002]
        gaps = [round(later - earlier - 1, 6) for earlier, later in pairwise(joined["someone"])]
        assert len(gaps) == len(set(gaps)) == 3
        assert all(1 <= gap <= 2 for gap in gaps)
        assert len(joined["streamer"]) >= 2
        someone.returns_after = None
        retire(hasty)
        before = len(room.transcript)
        sim.sleep(60)
        assert not someone.is_here
        assert not hasty.is_here
        assert len(room.transcript) > before


def test_who_is_back_earlier_does_not_come_back_again() -> None:
    """A fault or the program brought it back; and a server that is down is waited for."""
    with simulated() as sim:
        room, bot = sim.room("demo"), participants.Echo("bot", returns_after=5)
        room.add(bot)
        sim.plan(faults.at(1, faults.reset("bot")), faults.at(2, faults.join("bot")))
        sim.plan(faults.at(20, faults.restart(down=7.5)))
        sim.sleep(4)
        bot.leave()
        sim.sleep(4)
        assert not bot.is_here  # The first time was to be 6 s.
        sim.sleep(1.5)
        assert bot.is_here
        sim.sleep(20)
        times = [when for when, _, _ in told(room.transcript, "connected")]
        assert times == [0, 2, 9, 27.5]


def test_what_is_no_time_to_return_after_is_refused() -> None:
    """When it is made."""
    with pytest.raises(ValueError, match="at least 0"):
        participants.Silent("bot", returns_after=-1)
    with pytest.raises(TypeError, match=r"a delay is a law of simulator.latency, or a number"):
        participants.Chatter("bot", returns_after="soon")  # type: ignore[arg-type]
