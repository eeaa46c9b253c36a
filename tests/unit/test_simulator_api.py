"""The classes that users meet in the simulator: exactly the public names of a table, and those to subclass are free."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import simulator
from simulator import Emulator, Simulation, faults, participants
from simulator.participants import Message, Offer, Participant, Peer, Stream
from simulator.simulation import SimulatedRoom
from tests.support.worlds import simulated

PARTICIPANT = """
    name role id peers now is_here random streams
    after send broadcast set_attribute peer open_stream accept reject read leave come_back
    confirms resumes returns_after
    on_start on_message on_request on_stream on_stream_answer on_arrival on_chunk on_credit on_stream_end on_peer_joined
    on_peer_left on_end
"""

MEMBERS = {
    "Simulation": """
        room rooms plan now spawn sleep advance step run run_until_idle close seed always never eventually
        crash restart crashes disk
        pause slow skew
        kernel network runtime world failing_receivers
    """,
    "SimulatedRoom": "name join add names participants transcript simulation recorder rules seated",
    "Emulator": """
        start close is_open host port url env secret token drop stats transcript recorded
        rooms participants connect add plan failing_receivers
    """,
    "Participant": PARTICIPANT,
    "Chatter": f"{PARTICIPANT} interval to type limit said",
    "Echo": f"{PARTICIPANT} delay",
    "Rejecting": f"{PARTICIPANT} reason",
    "Scripted": f"{PARTICIPANT} steps received",
    "Silent": PARTICIPANT,
    "Sink": f"{PARTICIPANT} rate cancel_after leave_after window messages bytes_taken bytes_unread most_unread",
    "Streamer": f"{PARTICIPANT} to chunks interval header window leave_after written outcome",
    "Visitor": f"{PARTICIPANT} stay away visits greeting visited",
}

SOURCES = Path(simulator.__file__).parent
OURS = {"_simulator"}
THOUGHT_OF = """
    enter heard received went_on resumed ended start stop run join handle end close state connection room stay timers
    _end _stay _streams _timers _here _state _forget _resume _send _room _queue
"""
"""What a subclass would be likely to define; the sources add some hundreds."""


def public(thing: object) -> set[str]:
    """Return the public names of an object."""
    return {name for name in dir(thing) if not name.startswith("_")}


def ready_made() -> tuple[Participant, ...]:
    """Return one of each class of participants that the package has."""
    return (
        Participant("nobody"),
        participants.Chatter("chatter", limit=2),
        participants.Echo("echo"),
        participants.Rejecting("rejecting"),
        participants.Scripted("scripted", [(1, lambda one: one.broadcast("scripted", {}))]),
        participants.Silent("silent"),
        participants.Sink("sink"),
        participants.Streamer("streamer", "sink", [b"one", b"two"]),
        participants.Visitor("visitor", 1, 1, visits=2),
    )


def test_what_users_meet_has_the_public_names_of_the_table_and_no_others() -> None:
    """A name that only our own code calls would be one that programs rely on."""
    with simulated() as sim:
        met: list[object] = [sim, sim.room("demo"), Emulator(), *ready_made()]
        seen = {type(one).__name__: public(one) for one in met}
    assert seen == {name: set(names.split()) for name, names in MEMBERS.items()}


def test_the_table_has_every_class_of_participants() -> None:
    """A new one has to be added to it."""
    made = [getattr(participants, name) for name in participants.__all__]
    kinds = {one.__name__ for one in made if isinstance(one, type) and issubclass(one, Participant)}
    assert set(MEMBERS) == kinds | {Simulation.__name__, SimulatedRoom.__name__, Emulator.__name__}


# --- subclasses -------------------------------------------------------------------------------------------------------


def names_of_ours() -> set[str]:
    """Return every name of a function or an attribute in the simulator's sources, and some besides."""
    names = set(THOUGHT_OF.split())
    for file in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                names.add(node.name)
            elif isinstance(node, ast.Attribute):
                names.add(node.attr)
    return {name for name in names if not name.startswith("__")} - OURS


def trap(name: str) -> Callable[..., None]:
    """Return a method of a program's, which nobody else may call."""

    def method(self: object, *arguments: object, **options: object) -> None:
        raise AssertionError(f"{name} was called by {sys._getframe(1).f_code.co_name}")

    return method


def trapped(participant: Participant) -> Participant:
    """Make a participant one of a subclass with a trap for each of our names, but those of its own class."""
    kind = type(participant)
    names = names_of_ours() - public(participant) - {name for name in vars(kind) if kind is not Participant}
    participant.__class__ = type(f"Own{kind.__name__}", (kind,), {name: trap(name) for name in sorted(names)})
    return participant


class Noting(Participant):
    """Notes what it is told, and accepts streams."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.notes: list[str] = []

    def on_start(self) -> None:
        self.notes.append("start")
        self.after(0.5, lambda: self.notes.append("timer"))

    def on_message(self, message: Message) -> None:
        self.notes.append(message.type)

    def on_stream(self, offer: Offer) -> None:
        self.notes.append("offer")
        self.accept(offer)

    def on_stream_answer(self, stream: Stream, error: str | None) -> None:
        self.notes.append("answer")
        stream.write(b"data")
        stream.close()

    def on_stream_end(self, stream: Stream, error: str | None) -> None:
        self.notes.append("stream end")

    def on_peer_joined(self, peer: Peer) -> None:
        self.notes.append(f"{peer.name} joined")

    def on_peer_left(self, peer: Peer) -> None:
        self.notes.append(f"{peer.name} left")

    def on_end(self) -> None:
        self.notes.append("end")
        self.after_the_end()

    def after_the_end(self) -> None:
        self.come_back()


def test_many_names_are_tried() -> None:
    """Those that a subclass would think of are among them, and so are those that `Participant` had in public once."""
    assert len(names_of_ours()) > 500
    assert {"enter", "received", "resumed", "ended", "_forget", "_stay"} <= set(vars(type(trapped(Participant("a")))))


def told(make: Callable[[Any], Any]) -> Iterator[list[str]]:
    """Return what two participants were told in a run with messages, streams, a pause, a fault and a refusal."""
    with simulated(latency=0.01) as sim:
        room = sim.room("demo")
        bob, zoe = make(Noting("bob")), make(Noting("zoe"))
        room.add(bob)
        sim.sleep(1)
        room.add(zoe)
        sim.sleep(1)
        bob.send(bob.peer("zoe"), "hello", {})
        bob.set_attribute("mood", "good")
        bob.open_stream(bob.peer("zoe"))
        sim.sleep(1)
        sim.plan(faults.pause("zoe", 2))
        zoe.after(1, lambda: zoe.notes.append("late timer"))
        bob.broadcast("news", {})
        sim.sleep(3)
        sim.plan(faults.during(sim.now, sim.now + 3, faults.refuse_connect("zoe")), faults.reset("zoe"))
        sim.sleep(6)
        assert zoe.is_here
        zoe.leave()
        sim.sleep(1)
        yield bob.notes
        yield zoe.notes


def test_a_subclass_may_define_any_name_of_ours() -> None:
    """What it defines is never called, and it is told the same as without."""
    plain, own = list(told(lambda one: one)), list(told(trapped))
    assert own == plain
    assert plain == [
        ["start", "timer", "zoe joined", "answer", "zoe left", "zoe joined", "zoe left"],
        ["start", "timer", "hello", "offer", "stream end", "news", "late timer", "end", "start", "timer"],
    ]


@pytest.mark.one_python
def test_ready_made_participants_may_be_subclassed_with_any_name_of_ours() -> None:
    """Each does the same, message by message, as one of the class itself; its own private names are its own."""

    def digest(make: Callable[[Any], Any]) -> str:
        with simulated(latency=0.01) as sim:
            room = sim.room("demo")
            room.add(*(make(one) for one in ready_made()))
            sim.sleep(10)
        return room.transcript.digest()

    assert digest(trapped) == digest(lambda one: one)
