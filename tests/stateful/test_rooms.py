"""A room against a model of it: what its participants are told adds up to who is there."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from meshsync.protocol.content import Empty, Error
from meshsync.protocol.operations import (
    Broadcast,
    Connected,
    Disable,
    Enable,
    Push,
    Reply,
    RoomReady,
    Send,
    SetAttributes,
)
from simulator.room.seat import Seat
from tests.support.profiles import examples
from tests.support.seats import Hall, packets_of, read

ATTRIBUTES = st.dictionaries(st.sampled_from("ab"), st.integers(0, 3), max_size=2)


class Person:
    """A client that keeps what it was told."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.id = seat.member.id
        self.attributes: dict[str, Any] = {"name": seat.member.name}
        self.is_enabled = False
        self.peers: dict[str, dict[str, Any]] = {}
        """Attributes by id, of those it was told are there."""
        self.heard: list[tuple[str, int]] = []
        """Messages it got: sender and number."""
        self.replies: list[int] = []

    def read(self) -> None:
        """Take in what was sent; each push has to fit what was said before."""
        for item in read(self.seat):
            match item:
                case RoomReady() | Connected():
                    assert not self.replies
                case Reply(id, content):
                    assert isinstance(content, (Empty, Error))
                    self.replies.append(id)
                case Push(_, "messaging.enabled", message):
                    self.peers = {peer["id"]: peer["attributes"] for peer in message["participants"]}
                case Push(sender, "participant.enabled", message):
                    assert sender == message["id"] not in self.peers
                    self.peers[sender] = message["attributes"]
                case Push(sender, "participant.disabled", message):
                    assert sender == message["id"]
                    del self.peers[sender]
                case Push(sender, "participant.attributes", message):
                    self.peers[sender] |= message["attributes"]
                case Push(sender, "chat", message):
                    assert sender in self.peers or sender == self.id  # Nobody is heard who was not announced.
                    self.heard.append((sender, message["n"]))


class Rooms(RuleBasedStateMachine):
    """Joining, enabling, talking and leaving in any order."""

    people = Bundle("people")

    def __init__(self) -> None:
        super().__init__()
        self.hall = Hall()
        self.present: dict[str, Person] = {}
        self.number = 0
        self.expected: dict[str, list[tuple[str, int]]] = {}
        self.asked: dict[str, list[int]] = {}

    def ask(self, person: Person, request: Any) -> None:
        """Send a request; it is to be answered unless it sets attributes."""
        self.number += 1
        person.seat.feed(packets_of(request, self.number))
        if not isinstance(request, SetAttributes):
            self.asked[person.id].append(self.number)

    @rule(target=people, name=st.sampled_from(["ada", "ben"]))
    def join(self, name: str) -> Person:
        person = Person(self.hall.take(name))
        self.present[person.id] = person
        self.expected[person.id], self.asked[person.id] = [], []
        return person

    @rule(person=people)
    def enable(self, person: Person) -> None:
        self.ask(person, Enable())
        person.is_enabled = True

    @rule(person=people)
    def disable(self, person: Person) -> None:
        self.ask(person, Disable())
        person.is_enabled = False

    @rule(person=people, attributes=ATTRIBUTES)
    def change(self, person: Person, attributes: dict[str, int]) -> None:
        self.ask(person, SetAttributes(attributes))
        person.attributes |= attributes

    @rule(person=people, to=people)
    def send(self, person: Person, to: Person) -> None:
        self.ask(person, Send(to.id, "chat", {"n": self.number}))
        if person.is_enabled and to.is_enabled:
            self.expected[to.id].append((person.id, self.number - 1))

    @rule(person=people)
    def broadcast(self, person: Person) -> None:
        self.ask(person, Broadcast("chat", {"n": self.number}))
        for other in self.present.values():
            if person.is_enabled and other.is_enabled and other is not person:
                self.expected[other.id].append((person.id, self.number - 1))

    @rule(person=consumes(people), is_fault=st.booleans())
    def leave(self, person: Person, is_fault: bool) -> None:
        if is_fault:
            person.seat.feed([b"nonsense"])
            assert person.seat.fault is not None
        else:
            person.seat.leave()
        person.read()
        del self.present[person.id]

    @invariant()
    def everybody_knows_who_is_there(self) -> None:
        for person in self.present.values():
            person.read()
            assert person.heard == self.expected[person.id]
            assert person.replies == self.asked[person.id]
            if person.is_enabled:
                there = {p.id: p.attributes for p in self.present.values() if p.is_enabled and p is not person}
                assert person.peers == there


TestRooms = Rooms.TestCase
TestRooms.settings = examples(100, stateful_step_count=40)
