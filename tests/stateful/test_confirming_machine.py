"""Confirmed messages between two clients over connections that end anywhere, against a plain model.

Queues of a connection keep their order and lose all that is in them at its end; the room may miss the end for a
while, may refuse single messages, and may hold a third participant that copies claims and repeats what it has got. The
model: each message is handled once and in order; one given up, once or not at all, and not at all if it never went out.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from meshsync.confirming.bodies import Hello, Proof, encode_body
from meshsync.confirming.exchange import Direct
from meshsync.confirming.sender import ConfirmedSend, SendState
from tests.support.confirming import Endpoint, Room
from tests.support.profiles import examples

NAMES = st.sampled_from(["ada", "ben"])
SOME = st.integers(1, 8)
MOVE = st.tuples(NAMES, st.sampled_from(["handle", "arrive", "place"]), SOME)


class ConfirmingMachine(RuleBasedStateMachine):
    """Two clients that send to each other, and one who listens."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Room("ada", "ben")
        self.sent: dict[str, list[ConfirmedSend]] = {"ada": [], "ben": []}
        """By recipient, in order; the index is the number in the message."""
        self.ghosts: list[str] = []
        self.eve = Endpoint("eve")
        """The impostor, whose queue keeps all that it gets."""
        self.eve.id = ""

    @initialize(is_known=st.booleans())
    def begin(self, is_known: bool) -> None:
        """Begin with two that have a secret, or that never met."""
        if is_known:
            self.program_sends("ada", 1)
            self.room.settle()

    def other(self, name: str) -> Endpoint:
        """Return the client that sends to another."""
        return self.room.ends["ben" if name == "ada" else "ada"]

    # --- the programs -------------------------------------------------------------------------------------------------

    @rule(to=NAMES, count=SOME)
    def program_sends(self, to: str, count: int) -> None:
        """A program sends some messages."""
        for _ in range(count):
            send = self.room.submit(self.other(to), self.room.ends[to], len(self.sent[to]))
            if send is not None:
                self.sent[to].append(send)

    @rule(to=NAMES, which=st.integers(0, 10))
    def program_gives_up(self, to: str, which: int) -> None:
        """A time limit passes."""
        waiting = [send for send in self.sent[to] if not send.is_settled]
        if waiting:
            self.other(to).exchange.give_up(waiting[which % len(waiting)])
            self.room.collect(self.other(to))

    # --- the room -----------------------------------------------------------------------------------------------------

    @rule(moves=st.lists(MOVE, min_size=3, max_size=15))
    def traffic_moves(self, moves: list[tuple[str, str, int]]) -> None:
        """Messages reach the room, events reach clients, and what came is placed, each as far as it goes."""
        for name, kind, count in moves:
            end = self.room.ends[name]
            for _ in range(count):
                if kind == "handle" and end.id and end.up:
                    self.handle(end)
                elif kind == "arrive" and end.id and end.down:
                    self.room.receive(end)
            if kind == "place":
                self.room.place(end)

    def handle(self, end: Endpoint) -> None:
        """Have the room handle a message, which may be for the impostor."""
        direct = end.up[0]
        self.room.route(end)
        if direct.to == self.eve.id:
            self.eve.down.append((end.id, direct))

    @rule(of=NAMES)
    def room_refuses(self, of: str) -> None:
        """A message is answered with an error."""
        end = self.room.ends[of]
        if end.id and end.up:
            self.room.route(end, is_refused=True)

    @rule(of=NAMES, is_noticed=st.booleans(), is_back=st.booleans())
    def connection_ends(self, of: str, is_noticed: bool, is_back: bool) -> None:
        """A connection is cut; the client is back at once, or later."""
        end = self.room.ends[of]
        if end.id:
            if not is_noticed:
                self.ghosts.append(end.id)
            self.room.drop(end, is_noticed=is_noticed)
        if is_back or not end.id:
            self.room.join(end)

    @precondition(lambda self: self.ghosts)
    @rule()
    def room_notices(self) -> None:
        """A half-open connection is missed at last."""
        self.room.remove(self.ghosts.pop())

    @rule()
    def room_restarts(self) -> None:
        """The room forgets everybody."""
        for end in self.room.ends.values():
            if end.id:
                self.room.drop(end, is_noticed=False)
        self.room.members.clear()
        self.ghosts.clear()
        self.eve.id = ""

    @rule(seconds=st.sampled_from([1, 5, 60]))
    def time_passes(self, seconds: int) -> None:
        """Challenges are repeated."""
        self.room.wait(seconds)

    # --- the impostor -------------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.eve.id and all(end.proven for end in self.room.ends.values()))
    @rule(as_=NAMES)
    def impostor_comes(self, as_: str) -> None:
        """Eve copies a claim, name and all; the two have a secret already."""
        self.eve.id = f"eve-{len(self.room.members)}-{self.room.now}"
        self.room.enter(self.eve.id, self.room.ends[as_].attributes)

    @precondition(lambda self: self.eve.id)
    @rule(to=NAMES, which=st.integers(0, 100), is_replayed=st.booleans())
    def impostor_sends(self, to: str, which: int, is_replayed: bool) -> None:
        """Eve says hello in another's name, answers at random, and repeats to one what another sent her."""
        target, other = self.room.ends[to], self.other(to)
        if not target.id:
            return
        got: list[tuple[str, Direct]] = list(self.eve.down)
        heard = [bytes.fromhex(direct.message["nonce"]) for _, direct in got]
        nonce = heard[which % len(heard)] if heard else bytes(32)
        forged: list[Any] = [
            Hello(other.exchange.instance, nonce),
            Hello(other.exchange.instance, nonce, bytes(32)),
            Proof(bytes(32), nonce, bytes(32), which, which, bytes(32)),
        ]
        if is_replayed and got:
            direct = got[which % len(got)][1]
            type, message = direct.type, direct.message
        else:
            type, message = encode_body(forged[which % 3])
        self.room.deliver(self.eve.id, Direct(target.id, type, message))

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def impostor_gets_nothing(self) -> None:
        """Whoever does not know the secret is never proven, and gets challenges and answers alone."""
        assert all(direct.type in ("meshsync.hello", "meshsync.proof") for _, direct in self.eve.down)
        assert not any(
            proven.participant_id.startswith("eve") for end in self.room.ends.values() for proven in end.proven
        )

    @invariant()
    def each_once_and_in_order(self) -> None:
        """What was placed is in order, has none twice, and has all that was confirmed and none that was withdrawn."""
        for name, sent in self.sent.items():
            placed = self.room.numbers(self.room.ends[name])
            assert placed == sorted(set(placed))
            states = {number: send.state for number, send in enumerate(sent)}
            assert {number for number, state in states.items() if state is SendState.CONFIRMED} <= set(placed)
            assert not any(states[number] is SendState.WITHDRAWN for number in placed)

    def teardown(self) -> None:
        """In the end all that was not given up is confirmed, within a few repetitions of what the room refused."""
        self.eve.id = ""
        for end in self.room.ends.values():
            if not end.id:
                self.room.join(end)
        for _ in range(4):
            self.room.settle()
            self.room.wait(61)
        self.room.settle()
        for name, sent in self.sent.items():
            end = self.room.ends[name]
            assert all(send.is_settled for send in sent), [send.state for send in sent]
            numbered = [send for send in sent if send.number]
            unknown = [send for send in numbered if send.state is SendState.UNKNOWN]
            confirmed = [send for send in numbered if send.state is SendState.CONFIRMED]
            assert len(confirmed) <= len(end.placed) <= len(confirmed) + len(unknown)
            assert len(end.placed) + end.missed <= len(numbered)
        self.each_once_and_in_order()


TestConfirming = ConfirmingMachine.TestCase
TestConfirming.settings = examples(150, stateful_step_count=50)


# --- long walks -------------------------------------------------------------------------------------------------------


def walk(seed: int, steps: int) -> ConfirmingMachine:
    """Take random steps of the machine, of which most move the traffic; a machine that Hypothesis drives is short."""
    chance = Random(seed)
    machine = ConfirmingMachine()
    machine.begin(chance.random() < 0.5)

    def name() -> str:
        return chance.choice(["ada", "ben"])

    for _ in range(steps):
        kind = chance.random()
        if kind < 0.55:
            kinds = ["handle", "arrive", "arrive", "place"]
            machine.traffic_moves([(name(), chance.choice(kinds), chance.randint(1, 8)) for _ in range(8)])
        elif kind < 0.75:
            machine.program_sends(name(), chance.choice([1, 2, 8, 70]))
        elif kind < 0.80:
            machine.program_gives_up(name(), chance.randint(0, 100))
        elif kind < 0.83:
            machine.room_refuses(name())
        elif kind < 0.88:
            machine.connection_ends(name(), chance.random() < 0.7, chance.random() < 0.8)
        elif kind < 0.90 and machine.ghosts:
            machine.room_notices()
        elif kind < 0.905:
            machine.room_restarts()
        elif kind < 0.94:
            machine.time_passes(5)
        elif not machine.eve.id and all(end.proven for end in machine.room.ends.values()):
            machine.impostor_comes(name())
        elif machine.eve.id:
            machine.impostor_sends(name(), chance.randint(0, 100), chance.random() < 0.5)
        machine.impostor_gets_nothing()
        machine.each_once_and_in_order()
    machine.teardown()
    return machine


@pytest.mark.parametrize("seed", range(20))
def test_long_walks_lose_nothing(seed: int) -> None:
    """Hundreds of messages over dozens of connections are handled once, in order, and by nobody else."""
    machine = walk(seed, 300)
    states = [send.state for sent in machine.sent.values() for send in sent]
    assert states.count(SendState.CONFIRMED) > 100
    assert sum(len(end.proven) for end in machine.room.ends.values()) >= 4
