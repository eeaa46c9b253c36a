"""Whole clients against a plain model of who is there and what arrives, in any order of what programs and networks do.

Every word arrives before the next step, so that the model says what each call comes to: who may send, who gets it, what
each client knows of the others, and how many events its receivers got. What may happen to messages under way is the
business of ``tests/simulation/test_chaos.py``; streams have machines of their own.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from meshsync import (
    ClientClosed,
    ConnectionLost,
    InvalidMessage,
    MeshsyncError,
    NotEnabled,
    ParticipantNotFound,
    RoomClient,
)
from simulator import Simulation, faults
from tests.support.profiles import examples

NAMES = ("ada", "ben", "cyd")
WHO = st.sampled_from(NAMES)
VALUES = st.dictionaries(st.sampled_from(["mood", "name"]), st.integers(0, 3), min_size=1, max_size=2)


class Modelled:
    """One client, and what the model says of it."""

    def __init__(self, name: str, client: RoomClient) -> None:
        self.name = name
        self.client = client
        self.id = client.local_participant.id
        self.state = "open"
        """Or ``closed`` or ``lost``."""
        self.is_enabled = False
        self.attributes: dict[str, Any] = {"name": name}
        self.expected: list[tuple[str, int]] = []
        """Messages that its receivers ought to have got: sender's id and number."""
        self.got: list[tuple[str, int]] = []
        self.news: list[str] = []
        """Beginnings and ends of which its receivers were told."""
        self.happened: list[str] = []
        """Those that there were. The end of a connection is one, and that of messaging with it is none beside it."""
        client.messaging.on_message("note", self.note)
        for event in ("messaging_enabled", "messaging_disabled", "disconnected"):
            client.messaging.on(event, lambda event: self.news.append(event.name))

    def note(self, event: Any) -> None:
        self.got.append((event.message.from_participant_id, event.message.message["number"]))

    def refusal(self) -> type[MeshsyncError] | None:
        """Return what sending raises."""
        if self.state == "open":
            return None if self.is_enabled else NotEnabled
        return ClientClosed if self.state == "closed" else ConnectionLost


class Clients(RuleBasedStateMachine):
    """Connecting, enabling, talking, changing attributes, leaving and being cut off."""

    simulation: Simulation

    @initialize(seed=st.integers(0, 2**32), schedule=st.sampled_from(["fifo", "random", "pct"]))
    def begin(self, seed: int, schedule: str) -> None:
        self.simulation = Simulation(seed, schedule=schedule)
        self.room = self.simulation.room("lab")
        self.numbers = count(1)
        self.clients = {name: self.join(name) for name in NAMES}
        self.gone: list[Modelled] = []

    def join(self, name: str) -> Modelled:
        return Modelled(name, self.room.join(name, dialect="A" if name == "ada" else "B", reconnect=False))

    def settle(self) -> None:
        """Let everything arrive."""
        self.simulation.sleep(0.001)

    @rule(who=WHO)
    def enable(self, who: str) -> None:
        one = self.clients[who]
        if one.state == "open":
            one.client.messaging.enable()
            one.happened += [] if one.is_enabled else ["messaging_enabled"]
            one.is_enabled = True
        else:
            with pytest.raises(one.refusal() or MeshsyncError):
                one.client.messaging.enable()
        self.settle()

    @rule(who=WHO)
    def disable(self, who: str) -> None:
        one = self.clients[who]
        one.client.messaging.disable()  # Where nothing is to be done, it does nothing.
        one.happened += ["messaging_disabled"] if one.is_enabled else []
        one.is_enabled = False
        self.settle()

    @rule(who=WHO, values=VALUES)
    def change_attributes(self, who: str, values: dict[str, int]) -> None:
        one = self.clients[who]
        for name, value in values.items():
            if one.state == "open":
                one.client.local_participant.set_attribute(name, value)
                one.attributes[name] = value
            else:
                with pytest.raises((ConnectionLost, ClientClosed)):
                    one.client.local_participant.set_attribute(name, value)
        self.settle()

    @rule(who=WHO, to=WHO, waits=st.booleans())
    def send(self, who: str, to: str, waits: bool) -> None:
        one, other, number = self.clients[who], self.clients[to], next(self.numbers)
        send = one.client.messaging.send_message if waits else one.client.messaging.send_message_nowait
        refusal = one.refusal()
        if refusal is not None:
            with pytest.raises(refusal):
                send(other.id, "note", {"number": number})
            return
        if other.is_enabled:
            send(other.id, "note", {"number": number})
            other.expected.append((one.id, number))
        elif waits:
            with pytest.raises(ParticipantNotFound):
                send(other.id, "note", {"number": number})
        else:
            delivery: Any = send(other.id, "note", {"number": number})
            with pytest.raises(ParticipantNotFound):
                delivery.wait(10)
        self.settle()

    @rule(who=WHO)
    def broadcast(self, who: str) -> None:
        one, number = self.clients[who], next(self.numbers)
        refusal = one.refusal()
        if refusal is not None:
            with pytest.raises(refusal):
                one.client.messaging.broadcast_message("note", {"number": number})
            return
        one.client.messaging.broadcast_message("note", {"number": number})
        for other in self.clients.values():
            if other.is_enabled and other is not one:
                other.expected.append((one.id, number))
        self.settle()

    @rule(who=WHO)
    def send_what_cannot_be_sent(self, who: str) -> None:
        one = self.clients[who]
        with pytest.raises(one.refusal() or InvalidMessage):
            one.client.messaging.send_message(one.id, "note", {"number": {1, 2}})

    @rule(who=WHO, how=st.sampled_from(["close", "close", "lose", "be dismissed"]))
    def leave(self, who: str, how: str) -> None:
        one = self.clients[who]
        if one.state != "open":
            one.client.close()  # Closing again only waits.
            return
        if how == "close":
            one.client.close()
            one.state = "closed"
        else:
            self.simulation.plan(faults.reset(who) if how == "lose" else faults.leave(who))
            with pytest.raises(ConnectionLost):
                one.client.wait_closed(10)
            one.state = "lost"
        one.happened.append("disconnected")
        one.is_enabled = False
        self.settle()

    @rule(who=WHO)
    def come_back(self, who: str) -> None:
        if self.clients[who].state != "open":
            self.gone.append(self.clients[who])
            self.clients[who] = self.join(who)
            self.settle()

    @invariant()
    def each_knows_who_is_there_and_got_what_was_sent(self) -> None:
        if not hasattr(self, "clients"):
            return
        for one in self.clients.values():
            assert one.client.is_connected == (one.state == "open")
            assert one.client.messaging.is_enabled == one.is_enabled
            assert one.got == one.expected
            there = {p.id: p.attributes for p in self.clients.values() if p.is_enabled and p is not one}
            known = {p.id: dict(p.attributes) for p in one.client.messaging.remote_participants}
            assert known == (there if one.is_enabled else {})
            if one.state == "open":
                assert dict(one.client.local_participant.attributes) == one.attributes
            stats = one.client.stats()
            assert (stats.pending, stats.bytes_buffered, stats.events_dropped) == (0, 0, 0)

    def teardown(self) -> None:
        if not hasattr(self, "clients"):
            return
        try:
            for one in (*self.gone, *self.clients.values()):
                assert one.got == one.expected
                assert one.news == one.happened
        finally:
            self.simulation.close()


TestClients = Clients.TestCase
TestClients.settings = examples(100, stateful_step_count=30)
