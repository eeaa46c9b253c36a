"""A session against a plain model of its room, in any order of what rooms and clients do.

The model is a room that tells one client, in order, what it has to: it knows who takes part and what the client has
asked. The client's side is told by the session's events alone, so that an event too many, too few or out of order makes
the two disagree.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from meshsync.protocol import events
from meshsync.protocol.content import Empty, Error
from meshsync.protocol.dialects import dialect
from meshsync.protocol.operations import Connected, Disable, Enable, Push, Reply, Request, RoomReady, Send
from meshsync.protocol.session import Session
from tests.support.profiles import examples
from tests.support.scripted import packets_of

PEERS = st.sampled_from(["p-2", "p-3", "p-4"])
ATTRIBUTES = st.dictionaries(st.sampled_from(["name", "mood"]), st.integers(0, 3), max_size=2)


class SessionMachine(RuleBasedStateMachine):
    """What the room knows, and what the client was told."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(dialect("A3"))
        self.room: dict[str, dict[str, Any]] = {}
        """Attributes of the others who take part, in order of arrival."""
        self.takes_part = False
        """Whether the room counts this client in."""
        self.asked: dict[int, Request] = {}
        """Requests that the room has not answered."""
        self.answered: list[int] = []
        self.outstanding: list[Push] = []
        """The roster of an enabling whose answer goes first, and all that follows it."""
        self.seen: dict[str, dict[str, Any]] = {}
        """Whom the client's events say to be there."""
        self.is_enabled = False
        self.acknowledged: list[int] = []
        self.hear(RoomReady("lab", "", "s-1"), Connected("p-1", {}))

    # --- the client, as its events tell it ----------------------------------------------------------------------------

    def hear(self, *messages: Any) -> None:
        """Have messages arrive, and believe what is reported."""
        for event in self.session.receive(packets_of(*messages)):
            match event:
                case events.Enabled(members):
                    assert not self.is_enabled
                    assert not self.seen
                    self.is_enabled = True
                    self.announced = [member.id for member in members]
                case events.Disabled():
                    assert self.is_enabled
                    assert not self.seen
                    self.is_enabled = False
                case events.MemberAdded(member):
                    assert self.is_enabled
                    assert member.id not in self.seen
                    self.seen[member.id] = dict(member.attributes)
                case events.MemberRemoved(member):
                    assert self.seen.pop(member.id) == member.attributes
                case events.MemberChanged(member, changes):
                    self.seen[member.id] |= changes
                    assert self.seen[member.id] == member.attributes
                case events.Answered(number):
                    assert number not in self.acknowledged
                    self.acknowledged.append(number)

    def tell(self, push: Push) -> None:
        """Have the room tell something of the others, behind what it has not told yet."""
        if self.outstanding:
            self.outstanding.append(push)
        elif self.takes_part:
            self.hear(push)

    # --- what happens -------------------------------------------------------------------------------------------------

    @rule(request=st.sampled_from([Enable(), Disable(), Send("p-2", "chat", {})]))
    def client_asks(self, request: Request) -> None:
        """Send a request; the room gets to it later."""
        number, _ = self.session.issue(request, self.session.encode(request))
        assert number not in self.asked
        self.asked[number] = request

    @precondition(lambda self: self.asked)
    @rule(is_refused=st.booleans(), is_roster_first=st.booleans())
    def room_answers_the_oldest(self, is_refused: bool, is_roster_first: bool) -> None:
        """Requests of one connection are handled in order; answer and roster come in either order."""
        self.room_tells_what_it_owes()
        number = min(self.asked)
        request = self.asked.pop(number)
        self.answered.append(number)
        reply = Reply(number, Error("no", 1001) if is_refused else Empty())
        if isinstance(request, Disable) and not is_refused:
            self.takes_part = False
        if not isinstance(request, Enable) or is_refused:
            self.hear(reply)
            return
        listed = [{"id": id, "role": "user", "attributes": dict(known)} for id, known in self.room.items()]
        roster = Push("p-1", "messaging.enabled", {"participants": listed})
        self.takes_part = True
        if is_roster_first:
            self.hear(roster, reply)
        else:
            self.hear(reply)
            self.outstanding = [roster]

    @rule()
    def room_tells_what_it_owes(self) -> None:
        """The roster behind an answer arrives, with all that happened since."""
        owed, self.outstanding = self.outstanding, []
        self.hear(*owed)

    @rule(id=PEERS, attributes=ATTRIBUTES)
    def somebody_comes(self, id: str, attributes: dict[str, Any]) -> None:
        """A peer enables messaging."""
        if id not in self.room:
            self.room[id] = dict(attributes)
            self.tell(Push(id, "participant.enabled", {"id": id, "role": "user", "attributes": dict(attributes)}))

    @rule(id=PEERS)
    def somebody_goes(self, id: str) -> None:
        """A peer leaves; also, a room may say so of somebody who is not there."""
        self.room.pop(id, None)
        self.tell(Push(id, "participant.disabled", {"id": id}))

    @rule(id=PEERS, attributes=ATTRIBUTES)
    def somebody_changes(self, id: str, attributes: dict[str, Any]) -> None:
        """A peer sets attributes; also, a room may say so of somebody who is not there."""
        if id in self.room:
            self.room[id] |= attributes
        self.tell(Push(id, "participant.attributes", {"attributes": dict(attributes)}))

    @rule(number=st.integers(1, 30))
    def room_repeats_itself(self, number: int) -> None:
        """Answers that were given already, or to requests never made, change nothing."""
        if number not in self.asked:
            before = (dict(self.seen), self.is_enabled, list(self.acknowledged))
            self.hear(Reply(number, Empty()))
            assert before == (self.seen, self.is_enabled, self.acknowledged)

    @precondition(lambda self: not self.takes_part)
    @rule(id=PEERS, kind=st.sampled_from(["participant.enabled", "participant.disabled", "participant.attributes"]))
    def room_talks_to_one_who_is_out(self, id: str, kind: str) -> None:
        """What concerns nobody who takes part leaves no trace, unless this client is about to."""
        if not any(isinstance(request, Enable) for request in self.asked.values()):
            self.hear(Push(id, kind, {"id": id, "role": "user", "attributes": {"mood": 9}}))

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def client_and_room_agree(self) -> None:
        """When the room owes nothing, the client has been told who is there and what they are like."""
        assert self.acknowledged == self.answered
        if not self.outstanding:
            assert self.is_enabled == self.takes_part
            assert list(self.seen.items()) == (list(self.room.items()) if self.takes_part else [])
        assert {member.id: member.attributes for member in self.session.roster} == self.seen or not self.is_enabled

    def teardown(self) -> None:
        """At the end everybody is removed, once."""
        gone = [event.member.id for event in self.session.end() if isinstance(event, events.MemberRemoved)]
        assert gone == list(self.seen)


TestSession = SessionMachine.TestCase
TestSession.settings = examples(100, stateful_step_count=30)
