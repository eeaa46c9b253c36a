"""`FaultyRoom`: what each of a room's faults does to requests, and when acknowledgements go out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar

import pytest

from meshsync.errors import UsageError
from meshsync.protocol.content import Control, Error
from meshsync.protocol.greeting import greeting_form
from meshsync.protocol.operations import (
    AnswerCall,
    AnswerChunk,
    Broadcast,
    CallChunk,
    CallMessage,
    Enable,
    OpenCall,
    Push,
    Reply,
    Request,
    Send,
    SetAttributes,
)
from simulator import faults
from simulator.engine.seeds import Seeds
from simulator.faults.layers import Chance, Fail, Pass, Postpone, RejectOffer, RoomFault, RoomRequest
from simulator.room.faulty import FaultyRoom
from simulator.room.members import Member, Output
from simulator.room.rules import Room

OPEN = {"stream_id": "s-1", "header": {}}


class Notes:
    """A watcher that keeps what it is told, and a clock that goes on when told to."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.late: list[tuple[float, Callable[[], Iterable[Output]]]] = []
        self.streams: dict[str, Random] = {}

    def joined(self, member: Member) -> None:
        self.told.append(("joined", member.name, ""))

    def left(self, member: Member) -> None:
        self.told.append(("left", member.name, ""))

    def received(self, member: Member) -> int:
        return 7

    def handled(self, member: Member, sent_ns: int | None, request: Request, outputs: Iterable[Output]) -> None:
        self.told.append(("handled", member.name, f"{type(request).__name__} of {sent_ns}"))

    def withheld(self, member: Member, request: Send, outcome: str) -> None:
        self.told.append(("withheld", member.name, outcome))

    def lost(self, member: Member, request: Request) -> None:
        self.told.append(("lost", member.name, ""))

    def expired(self, opener: Member, stream_id: str, reason: str) -> None:
        self.told.append(("expired", opener.name, reason))

    def released(self, member: Member, sent_ns: int, request: Request, output: Output) -> None:
        self.told.append(("released", member.name, f"to {output.to[0].name} of {sent_ns}"))

    def blocked(self, member: Member, request: Request, output: Output) -> None:
        self.told.append(("blocked", member.name, f"to {output.to[0].name}"))

    def later(self, seconds: float, outputs: Callable[[], Iterable[Output]]) -> Callable[[], None]:
        entry = (seconds, outputs)
        self.late.append(entry)
        return lambda: self.late.remove(entry) if entry in self.late else None

    def stream(self, purpose: str) -> Random:
        return self.streams.setdefault(purpose, Seeds(7).stream(purpose))


class Hall:
    """A faulty room with alice and bob in it, both enabled."""

    def __init__(self, *in_force: RoomFault, **options: Any) -> None:
        self.notes = Notes()
        ids: dict[str, int] = {}

        def new_id(name: str) -> str:
            ids[name] = ids.get(name, 0) + 1
            return f"{name}-{ids[name]}"

        self.in_force: list[RoomFault] = []
        self.room = FaultyRoom(
            Room("lab", ids=lambda: new_id("a session"), later=self.notes.later),
            new_id=new_id,
            watcher=self.notes,
            in_force=self.in_force,
            later=self.notes.later,
            chance=self.notes.stream,
            **options,
        )
        form = greeting_form(None)
        self.alice, self.bob = (self.room.join(name, form=form)[0] for name in ("alice", "bob"))
        for member in (self.alice, self.bob):
            self.room.handle(member, 1, Enable())
        self.in_force.extend(in_force)
        self.notes.told.clear()

    def send(self, type: str = "chat", body: dict[str, Any] | None = None) -> list[Output]:
        return self.room.handle(self.alice, 5, Send(self.bob.id, type, body or {}))


def shape(outputs: Iterable[Output]) -> list[tuple[str, str]]:
    """Return what goes out to whom: the type of a push, the text of an error, or ``ok``."""
    shapes = []
    for output in outputs:
        match output.what:
            case Push(_, type, _):
                what = type
            case Reply(_, Error(text)):
                what = text
            case _:
                what = "ok"
        shapes.append((",".join(member.name for member in output.to), what))
    return shapes


# --- no fault ---------------------------------------------------------------------------------------------------------


def test_without_a_fault_it_is_a_room_like_any_other() -> None:
    """Requests go through, and are told with the instant of their sending."""
    hall = Hall()
    assert shape(hall.send()) == [("bob", "chat"), ("alice", "ok")]
    assert hall.notes.told == [("handled", "alice", "Send of 7")]


def test_ids_follow_from_the_name() -> None:
    """Each participant's ids are drawn for it, so that one participant less leaves the others' alone."""
    hall = Hall()
    assert (hall.alice.id, hall.bob.id) == ("alice-1", "bob-1")


# --- rejected streams -------------------------------------------------------------------------------------------------


def test_a_stream_is_rejected_in_the_recipients_name() -> None:
    """The offer never reaches it; the opener is acknowledged, and told why."""
    hall = Hall(faults.reject_streams("bob", "in a call"))
    outputs = hall.send("stream.open", OPEN)
    assert shape(outputs) == [("alice", "ok"), ("alice", "stream.reject")]
    assert isinstance(outputs[1].what, Push)
    assert outputs[1].what.message == {"stream_id": "s-1", "error": "in a call"}
    assert outputs[1].what.sender == hall.bob.id
    assert hall.notes.told == [("withheld", "alice", "rejected: in a call"), ("handled", "bob", "Send of None")]


@pytest.mark.parametrize(("reason", "said"), [("caf\udce9", "caf?"), ("x" * 5_000_000, "x" * 999 + "…")], ids=range(2))
def test_a_stream_is_rejected_whatever_the_reason(reason: str, said: str) -> None:
    """A plan keeps the reason as it can be sent."""
    fault = faults.reject_streams("bob", reason)
    assert fault.reason == said
    outputs = Hall(fault).send("stream.open", OPEN)
    assert isinstance(outputs[1].what, Push)
    assert outputs[1].what.message == {"stream_id": "s-1", "error": said}


def test_only_streams_to_the_named_one_are_rejected() -> None:
    """Messages pass, and so do offers to others."""
    hall = Hall(faults.reject_streams("alice"))
    assert shape(hall.send("stream.open", OPEN)) == [("bob", "stream.open"), ("alice", "ok")]
    hall.in_force[:] = [faults.reject_streams("bob")]
    assert shape(hall.send()) == [("bob", "chat"), ("alice", "ok")]


# --- calls ------------------------------------------------------------------------------------------------------------


def called(hall: Hall) -> list[Output]:
    """Return what follows when alice opens a duplex stream to bob, who knows them."""
    hall.bob.streams = ("duplex",)
    hall.room.handle(hall.alice, 4, OpenCall("X"))
    return hall.room.handle(hall.alice, 5, CallChunk("X", CallMessage("ask", {}, to=hall.bob.id)))


def test_a_call_is_rejected_in_the_recipients_name() -> None:
    """It never reaches it, and the caller's request is answered with the reason."""
    hall = Hall(faults.reject_streams("bob", "in a call"))
    assert shape(called(hall)) == [("alice", "ok"), ("alice", "in a call")]
    assert ("withheld", "alice", "rejected: in a call") in hall.notes.told
    assert [output.to[0].name for output in called(Hall(faults.reject_streams("alice")))] == ["alice", "bob", "bob"]


def test_an_acceptance_of_a_call_can_be_held_back() -> None:
    """It is handled after the delay, as if it had come then; a refusal is not."""
    hall = Hall(faults.delay_accept("bob", 3))
    push_id = called(hall)[1].id
    assert hall.room.handle(hall.bob, push_id, AnswerCall(push_id, Control("open"))) == []
    seconds, outputs = hall.notes.late[-1]
    assert (seconds, [output.to[0].name for output in outputs()]) == (3, ["alice", "alice"])
    hall = Hall(faults.delay_accept("bob", 3))
    push_id = called(hall)[1].id
    assert shape(hall.room.handle(hall.bob, push_id, AnswerCall(push_id, Error("no")))) == [("alice", "no")]


def test_a_callers_answer_is_late_whoever_gave_it() -> None:
    """The fault is about whom the answer is for."""
    hall = Hall(faults.late_replies("alice", 40))
    push_id = called(hall)[0].id
    (answer,) = hall.room.handle(hall.bob, push_id, AnswerCall(push_id, Control("open")))
    assert isinstance(answer.what, AnswerChunk)
    assert [seconds for seconds, _ in hall.notes.late] == [40, 40]
    hall = Hall(faults.late_replies("bob", 40))
    push_id = called(hall)[1].id
    assert len(hall.room.handle(hall.bob, push_id, AnswerCall(push_id, Control("open")))) == 2


def test_what_a_recipient_says_is_never_answered_with_an_error() -> None:
    """The id of its messages is the room's, and an answer under it would be to something else."""
    hall = Hall(faults.error_replies("bob", 1011))
    push_id = called(hall)[1].id
    assert len(hall.room.handle(hall.bob, push_id, AnswerCall(push_id, Control("open")))) == 2
    assert len(hall.room.handle(hall.bob, push_id, AnswerChunk(push_id, "X", Control("close")))) == 1


def test_a_translated_message_is_acknowledged_when_routed() -> None:
    """Nobody could say which delivery counts."""
    hall = Hall(acknowledge="delivered")
    hall.bob.streams = ("duplex",)
    assert [output.to[0].name for output in hall.send("stream.open", OPEN)] == ["alice", "bob", "bob"]


# --- errors -----------------------------------------------------------------------------------------------------------


def test_error_replies_answer_the_named_ones_requests() -> None:
    """Nothing comes of the request, and the code is the one asked for."""
    hall = Hall(faults.error_replies("alice", 1011))
    (output,) = hall.send()
    assert isinstance(output.what, Reply)
    assert isinstance(output.what.content, Error)
    assert output.what.content.code == 1011
    assert shape(hall.room.handle(hall.bob, 5, Broadcast("news", {}))) == [("alice", "news"), ("bob", "ok")]


def test_attributes_cannot_be_answered_with_an_error() -> None:
    """They have no answer: the fault passes by, and draws nothing."""
    hall = Hall(faults.error_replies("alice", 1011, rate=0.5))
    outputs = hall.room.handle(hall.alice, 5, SetAttributes({"mood": "calm"}))
    assert shape(outputs) == [("bob", "participant.attributes")]
    assert hall.notes.streams == {}


# --- late -------------------------------------------------------------------------------------------------------------


def test_late_replies_hold_back_answers_and_nothing_else() -> None:
    """The message goes out at once; its acknowledgement after so many seconds."""
    hall = Hall(faults.late_replies("alice", 40))
    assert shape(hall.send()) == [("bob", "chat")]
    ((seconds, outputs),) = hall.notes.late
    assert (seconds, shape(outputs())) == (40, [("alice", "ok")])


def test_an_error_of_a_fault_can_be_late_too() -> None:
    """Delays add up."""
    hall = Hall(faults.late_replies("alice", 40), faults.error_replies("alice", 1011), faults.late_replies("alice", 2))
    assert shape(hall.send()) == []
    ((seconds, outputs),) = hall.notes.late
    assert (seconds, shape(outputs())) == (42, [("alice", "a fault of this simulation")])


def test_an_answer_to_a_stream_can_be_held_back() -> None:
    """The accept is handled after the delay, as if it had come then; it was sent when it was sent."""
    hall = Hall(faults.delay_accept("alice", 3))
    assert hall.send("stream.accept", {"stream_id": "s-1"}) == []
    ((seconds, outputs),) = hall.notes.late
    assert (seconds, shape(outputs())) == (3, [("bob", "stream.accept"), ("alice", "ok")])
    assert hall.notes.told == [("handled", "alice", "Send of 7")]


def test_an_answer_held_back_is_lost_with_its_sender() -> None:
    """Who has left by then accepts nothing."""
    hall = Hall(faults.delay_accept("alice", 3))
    hall.send("stream.accept", {"stream_id": "s-1"})
    hall.room.leave(hall.alice)
    assert list(hall.notes.late[0][1]()) == []
    assert hall.notes.told == [("left", "alice", ""), ("lost", "alice", "")]


# --- verdicts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stubborn(RoomFault):
    """A kind of fault that gives one verdict on everything."""

    word: ClassVar[str] = "stubborn"
    verdict: Any = field(metadata={"check": lambda _, value: value})

    def on_request(self, request: RoomRequest, chance: Chance) -> Any:
        return self.verdict


def test_the_first_verdict_that_does_not_pass_wins() -> None:
    """In the order in which the faults struck; those behind it are not asked."""
    hall = Hall(Stubborn(Pass()), Stubborn(Fail(7, "first")), faults.error_replies("alice", 1011, 0.5))
    assert shape(hall.send()) == [("alice", "first")]
    assert hall.notes.streams == {}


def test_any_request_can_be_postponed() -> None:
    """It is handled after the delay; that of one who has left by then is lost."""
    hall = Hall(Stubborn(Postpone(3)))
    assert hall.send() == hall.send() == []
    (seconds, outputs), (_, too_late) = hall.notes.late
    assert (seconds, shape(outputs())) == (3, [("bob", "chat"), ("alice", "ok")])
    hall.room.leave(hall.alice)
    assert list(too_late()) == []


def test_a_verdict_that_does_not_fit_is_a_mistake_of_its_kind() -> None:
    """What is not answered cannot fail, and what offers no stream cannot be rejected; the text names the kind."""
    with pytest.raises(UsageError, match="stubborn: a request that is not answered cannot fail"):
        hall = Hall(Stubborn(Fail(7, "no")))
        hall.room.handle(hall.alice, 5, SetAttributes({}))
    with pytest.raises(UsageError, match="stubborn: only a request that offers a stream can be rejected"):
        Hall(Stubborn(RejectOffer("no"))).send()


# --- chance -----------------------------------------------------------------------------------------------------------

RATED: dict[str, Callable[[float], RoomFault]] = {
    "reject_streams": lambda rate: faults.reject_streams("bob", rate=rate),
    "error_replies": lambda rate: faults.error_replies("alice", 1011, rate),
}


@pytest.mark.parametrize("kind", RATED)
@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_certainty_draws_nothing(kind: str, rate: float) -> None:
    """Rates of 0 and 1 leave every stream of chance untouched."""
    hall = Hall(RATED[kind](rate))
    is_hit = shape(hall.send("stream.open", OPEN))[0] != ("bob", "stream.open")
    assert is_hit == bool(rate)
    assert all(stream.getstate() == Seeds(7).stream(name).getstate() for name, stream in hall.notes.streams.items())


@pytest.mark.parametrize("kind", RATED)
def test_a_rate_is_kept(kind: str) -> None:
    """Of 2,000 requests a rate of 0.3 hits 0.27 to 0.33: three standard deviations are 0.031."""
    hall = Hall(RATED[kind](0.3))
    hits = sum(shape(hall.send("stream.open", OPEN))[0] != ("bob", "stream.open") for _ in range(2000))
    assert 0.27 <= hits / 2000 <= 0.33


# --- acknowledgements -------------------------------------------------------------------------------------------------


def test_an_acknowledgement_can_wait_for_delivery() -> None:
    """The push goes out at once, the answer when it is known to have arrived."""
    hall = Hall(acknowledge="delivered")
    (push,) = hall.send()
    hall.room.settle(push.id, True)
    ((seconds, outputs),) = hall.notes.late
    assert (seconds, shape(outputs())) == (0, [("alice", "ok")])


def test_a_message_that_never_arrives_is_answered_with_an_error() -> None:
    """As if the recipient had not been there."""
    hall = Hall(acknowledge="delivered")
    (push,) = hall.send()
    hall.room.settle(push.id, False)
    assert shape(hall.notes.late[0][1]()) == [("alice", "the participant was not found")]


def test_broadcasts_never_wait_for_delivery() -> None:
    """Nobody could say whose delivery counts."""
    hall = Hall(acknowledge="delivered")
    outputs = hall.room.handle(hall.alice, 5, Broadcast("news", {}))
    assert shape(outputs) == [("bob", "news"), ("alice", "ok")]


def test_an_unknown_acknowledgement_is_refused() -> None:
    """The text lists what there is."""
    with pytest.raises(ValueError, match="one of routed, delivered, not 'read'"):
        Hall(acknowledge="read")


# --- what is kept from some participants ------------------------------------------------------------------------------


class Block(Hall):
    """The same with carol, and alice's messages kept from bob."""

    def __init__(self, *, loses: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.carol = self.room.join("carol", form=greeting_form(None))[0]
        self.room.handle(self.carol, 1, Enable())
        self.fault = faults.block("alice", "bob", loses=loses)
        self.in_force.append(self.fault)
        self.notes.told.clear()

    def broadcast(self, type: str) -> list[Output]:
        return self.room.handle(self.alice, 6, Broadcast(type, {}))

    def lift(self) -> list[tuple[str, str]]:
        """End the fault; return what goes out then."""
        self.in_force.clear()
        return shape(self.room.release())


def test_what_is_kept_from_one_participant_reaches_the_others() -> None:
    """The sender gets its acknowledgements; what is held goes out in its order when the fault is over."""
    hall = Block()
    assert shape(hall.send("to bob")) == [("alice", "ok")]
    assert shape(hall.broadcast("to all")) == [("carol", "to all"), ("alice", "ok")]
    assert shape(hall.room.handle(hall.bob, 7, Send(hall.alice.id, "back", {}))) == [("alice", "back"), ("bob", "ok")]
    assert hall.room.release() == []
    assert hall.lift() == [("bob", "to bob"), ("bob", "to all")]
    assert [told for told in hall.notes.told if told[0] != "handled"] == [
        ("released", "alice", "to bob of 7"),
        ("released", "alice", "to bob of 7"),
    ]
    assert hall.lift() == []


def test_what_is_lost_between_two_participants_never_comes() -> None:
    """The sender does not learn of it, unless acknowledgements wait for delivery."""
    hall = Block(loses=True)
    assert shape(hall.send()) == [("alice", "ok")]
    assert hall.notes.told[-1] == ("blocked", "alice", "to bob")
    assert hall.lift() == []
    hall = Block(loses=True, acknowledge="delivered")
    assert shape(hall.send()) == []
    ((_, outputs),) = hall.notes.late
    assert shape(outputs()) == [("alice", "the participant was not found")]


def test_what_is_held_for_a_participant_is_lost_when_it_leaves() -> None:
    """And what is held is lost if another fault loses it by then."""
    hall = Block()
    hall.send()
    hall.room.leave(hall.bob)
    assert hall.notes.told[-2:] == [("blocked", "alice", "to bob"), ("left", "bob", "")]
    assert hall.lift() == []
    hall = Block()
    hall.send()
    hall.in_force.insert(0, faults.block("alice", "bob", loses=True))
    assert hall.room.release() == []
    assert hall.notes.told[-1] == ("blocked", "alice", "to bob")


def test_the_roster_is_not_kept_from_anyone() -> None:
    """It is the room's own: arrivals, departures and attributes."""
    hall = Block()
    assert shape(hall.room.handle(hall.alice, 8, SetAttributes({"mood": "fine"}))) == [
        ("bob,carol", "participant.attributes")
    ]
    assert shape(hall.room.leave(hall.alice)) == [("bob,carol", "participant.disabled")]
