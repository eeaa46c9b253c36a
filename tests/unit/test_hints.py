"""The table of names that programs try in vain: of classes that there are, and of nothing that they have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType

import pytest

import meshsync
from meshsync import hints
from meshsync.streams.endpoints import MessageStreamReader, MessageStreamWriter
from meshsync.tokens import ParticipantToken
from simulator import Emulator, Simulation, faults, latency, participants
from simulator.faults.spellings import SPELLINGS as faults_spellings
from simulator.latency.spellings import SPELLINGS as latency_spellings
from simulator.participants.spellings import SPELLINGS as participants_spellings
from simulator.simulation import SimulatedRoom


def kinds(base: type) -> Iterator[type]:
    """Yield all subclasses of a class."""
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.mark.parametrize("name", list(hints._SPELLINGS))
def test_names_that_are_answered_are_missing(name: str) -> None:
    """Else the answer would never be given: by the class itself, or for a room by its messaging."""
    # The last of that name: a dataclass with slots is made twice.
    named = {kind.__name__: kind for kind in kinds(hints.Hinted) if kind.__module__.startswith("meshsync.")}
    kind = named[name]
    there = set(dir(kind))
    if kind is meshsync.RoomClient:
        there |= set(dir(meshsync.MessagingClient))
    assert there & set(hints._SPELLINGS[name]) == set()


@pytest.mark.parametrize(
    ("module", "spellings"),
    [
        (meshsync, hints._MODULE),
        (latency, latency_spellings),
        (faults, faults_spellings),
        (participants, participants_spellings),
    ],
)
def test_names_that_a_package_answers_are_missing(module: ModuleType, spellings: dict[str, str]) -> None:
    """As above; and what is to be written in their place is there."""
    assert set(dir(module)) & set(spellings) == set()
    if module is not meshsync:
        for answer in spellings.values():
            named = re.findall(r"(\w+)(?=\()", re.sub(r"\w+\.[\w.()]+", "", answer)) or re.findall(r"^\w+$", answer)
            assert set(named) <= {*dir(module), "on_message", "do"}


@pytest.mark.parametrize(
    ("module", "name", "answer"),
    [
        (latency, "gaussian", ": it is lognormal(median, sigma), since no delay is below 0"),
        (faults, "kill", ": it is crash(program), of one that sim.spawn began"),
        (participants, "Listener", ": it is Sink"),
        (latency, "lognorml", ""),  # The interpreter adds its own.
    ],
)
def test_name_that_a_package_of_the_simulator_has_not_is_answered(module: ModuleType, name: str, answer: str) -> None:
    """As those of meshsync are."""
    with pytest.raises(AttributeError) as caught:
        getattr(module, name)
    assert str(caught.value) == f"module {module.__name__!r} has no attribute {name!r}{answer}"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("from_jwt", ": it is ParticipantToken.decode, or peek, which verifies nothing"),
        ("create", ": it is ParticipantToken.for_room(room, name, role=…)"),
        ("forRoom", ": it is for_room"),
        ("for_rom", ": did you mean for_room?"),
        ("colour", ""),
        ("_hidden", ""),
    ],
)
def test_name_that_the_class_of_tokens_has_not_is_answered(name: str, answer: str) -> None:
    """Its own methods make tokens, so that it is asked without an object."""
    with pytest.raises(AttributeError) as caught:
        getattr(ParticipantToken, name)
    assert str(caught.value) == f"type object 'ParticipantToken' has no attribute {name!r}{answer}"
    assert not hasattr(ParticipantToken, name)


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        # What other libraries call it.
        (meshsync.MessagingClient, "request_reply", ": it is ask"),
        (meshsync.MessagingClient, "rpc", ": it is ask"),
        (meshsync.MessagingClient, "on_call", ": it is on_request"),
        (meshsync.MessagingClient, "respond", f": it is {hints._REPLY}"),
        (meshsync.MessagingClient, "refuse", ": it is raise meshsync.Refuse(text), in a handler of on_request"),
        (meshsync.RoomMessageEvent, "respond", ": it is reply"),
        (meshsync.Answers, "get", ": it is iteration: for answer in answers"),
        (participants.Echo, "send_message", ": it is send"),
        # What the official SDK calls it.
        (meshsync.MessagingClient, "online", ": it is remote_participants"),
        (MessageStreamWriter, "send_message", ": it is write"),
        (
            MessageStreamReader,
            "message",
            ": it is header, the object that came with the offer; chunks come by iteration",
        ),
        (ParticipantToken, "toJwt", ": it is encode"),
        (ParticipantToken, "add_room_grant", ": it is ParticipantToken.for_room(room, name, role=…)"),
        (participants.Question, "answer", ": it is reply"),
        # Camel case, of both.
        (meshsync.MessagingClient, "askAll", ": it is ask_all"),
        (meshsync.MessagingClient, "onRequest", ": it is on_request"),
        (meshsync.MessagingClient, "sendRequest", ": it is ask"),
        # Typing errors, of both.
        (meshsync.MessagingClient, "on_requst", ": did you mean on_request?"),
        (meshsync.MessagingClient, "reqest", ": it is ask"),
        (participants.Echo, "sned", ": did you mean send?"),
        (meshsync.MessagingClient, "completely_different", ""),
    ],
)
def test_name_is_answered(kind: type, name: str, hint: str) -> None:
    """By what to write."""
    assert hints.hint_for(kind, name) == hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("request", ": it is room.messaging.ask"),
        ("onRequest", ": it is room.messaging.on_request"),
        ("ask", ": it is room.messaging.ask"),
        ("reply", f": it is {hints._REPLY}"),
        ("send_mesage", ": did you mean room.messaging.send_message?"),
        ("disconnect", ": it is room.close"),
        ("emit", ": it is room.messaging.send_message, or broadcast_message: events come from the room"),
        ("wait_until_connected", ": it is nothing: meshsync.connect returns when the room is joined"),
        ("completely_different", ""),
    ],
)
def test_name_that_a_room_has_not_may_be_its_messagings(name: str, hint: str) -> None:
    """With where that is."""
    with Simulation(seed=1) as sim:
        room = sim.room("lab").join("ada")
        with pytest.raises(AttributeError) as caught:
            getattr(room, name)
    assert str(caught.value) == f"'RoomClient' object has no attribute {name!r}{hint}"


def test_what_a_room_has_not_cannot_be_set(sim_room: SimulatedRoom) -> None:
    """Where a program would think that it has an effect; names of its own are free."""
    room = sim_room.join("ada")
    with pytest.raises(AttributeError, match=r"'timeout' that could be set: it is room\.default_timeout"):
        room.timeout = 5
    room.default_timeout = 5
    room.colour = "green"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("RequestRejected", ": it is RequestRefused; a handler raises Refuse"),
        ("Client", ": it is connect, which returns a RoomClient"),
        ("conect", ""),  # The interpreter adds its own.
    ],
)
def test_name_that_the_package_has_not_is_answered(name: str, hint: str) -> None:
    """As those of classes are."""
    with pytest.raises(AttributeError) as caught:
        getattr(meshsync, name)
    assert str(caught.value) == f"module 'meshsync' has no attribute {name!r}{hint}"


@pytest.mark.parametrize(
    "kind",
    [
        *(Simulation, SimulatedRoom, Emulator),
        *(participants.Participant, participants.Peer, participants.Message, participants.Question),
    ],
)
def test_names_that_the_simulator_answers_are_missing(kind: type) -> None:
    """As above."""
    answered = next(vars(base)["_spellings"] for base in kind.__mro__ if "_spellings" in vars(base))
    assert set(dir(kind)) & set(answered) == set()


def test_a_property_that_raises_keeps_its_error() -> None:
    """Its own AttributeError is not taken for a missing name."""

    class Broken(hints.Hinted):
        @property
        def size(self) -> int:
            return self.no_such_part  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="no_such_part"):
        print(Broken().size)
