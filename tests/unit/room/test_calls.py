"""Calls between participants of every kind: offered, answered, spoken on, ended, and translated."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.protocol.bridging import NO_HANDLER
from meshsync.protocol.codec import decode_push
from meshsync.protocol.content import Content, Control, Empty, Error, Json
from meshsync.protocol.greeting import GreetingForm
from meshsync.protocol.operations import (
    Accepted,
    AnswerCall,
    AnswerChunk,
    Call,
    CallChunk,
    CallEnded,
    CallMessage,
    Disable,
    Enable,
    OpenCall,
    Push,
    RecipientGone,
    Reply,
    Request,
    Send,
    UnreadableRequest,
    is_answered,
)
from meshsync.protocol.packets import WireMessage
from simulator.room.calls import ANSWER_LIMIT, MAX_CALLS
from simulator.room.members import Member, Output, Rights
from simulator.room.rules import Room, RoomStats
from tests.support.profiles import examples

OPEN, CLOSE, OK = Control("open"), Control("close"), Empty()
A, B = "messaging.enable", "room.invoke_tool"
NOT_FOUND = Error("the participant was not found", 1003)
NO_STREAMS = "the release that this participant uses has no streams"
TOO_LATE = "the participant did not answer within 30 s"

KINDS = {
    "duplex": ("0.56.0", B),
    "classic": ("0.35.6", B),
    "old": ("0.0.21", A),
    "none": ("0.46.4", B),
    "typescript": (None, B),
    "both": ("0.56.0", B),
}
"""Versions and how they speak."""


class Hall:
    """A room with somebody of each kind asked for, and hands for its timers."""

    def __init__(self, **kinds: str) -> None:
        numbers = itertools.count(100)
        self.room = Room("lab", ids=lambda: f"p-{next(numbers)}", later=self.later)
        self.timers: list[tuple[float, Callable[[], Iterable[Output]]]] = []
        self.members: dict[str, Member] = {}
        for name, kind in kinds.items():
            self.join(name, kind)

    def later(self, seconds: float, outputs: Callable[[], Iterable[Output]]) -> Callable[[], None]:
        entry = (seconds, outputs)
        self.timers.append(entry)
        return lambda: self.timers.remove(entry) if entry in self.timers else None

    def join(self, name: str, kind: str, **how: Any) -> None:
        version, type = KINDS[kind]
        member, _ = self.room.join(name, form=GreetingForm.ENVELOPE, version=version, **how)
        member.note_request(type)
        self.room.handle(member, 1, Enable(("classic", "duplex") if kind == "both" else ()))
        self.members[name] = member

    def id(self, name: str) -> str:
        return self.members[name].id

    def ask(self, name: str, request: Request, id: int = 5) -> list[tuple[str, object]]:
        return self.shown(self.room.handle(self.members[name], id, request))

    def send(self, name: str, to: str, word: str, body: Any, data: bytes = b"") -> list[tuple[str, object]]:
        return self.ask(name, Send(self.id(to), f"stream.{word}", body, data), 6)

    def shown(self, outputs: Iterable[Output]) -> list[tuple[str, object]]:
        """Return who gets what, as a client reads it, with names in the place of ids where those show."""
        shown: list[tuple[str, object]] = []
        for output in outputs:
            read = decode_push(WireMessage(output.id, output.type, output.head + bytes(output.payload)))
            assert read == output.what
            names = {member.id: name for name, member in self.members.items()}
            match read:
                case Reply(id, content):
                    what: object = (id, content)
                case Push(sender, type, message, attachment):
                    what = (names[sender], type.removeprefix("stream."), message, attachment)
                case Call(_, call_id, caller, "stream", Control("open")):
                    what = ("call", call_id, names[caller])
                case CallChunk(call_id, CallMessage(type, message, attachment, "", sender)):
                    what = ("to recipient", call_id, type, message, attachment, names.get(sender, sender))
                case CallChunk(call_id, content):
                    what = ("to recipient", call_id, content)
                case AnswerChunk(_, call_id, content):
                    what = ("to caller", call_id, content)
                case _:
                    raise AssertionError(read)
            shown += [(member.name, what) for member in output.to]
        return shown

    def offer(self, caller: str, to: str, id: int = 5) -> int:
        """Call somebody; return the id of the message it came with, if it was a call."""
        self.ask(caller, OpenCall("X"), id)
        outputs = self.room.handle(self.members[caller], 6, CallChunk("X", CallMessage("ask", {}, to=self.id(to))))
        return next((output.id for output in outputs if isinstance(output.what, Call)), 0)

    def connect(self, caller: str, to: str) -> int:
        """Make a call that is accepted."""
        push_id = self.offer(caller, to)
        assert self.ask(to, AnswerCall(push_id, OPEN))
        return push_id


def accepted(name: str, id: int = 5) -> list[tuple[str, object]]:
    """Return what a caller hears when its call is accepted."""
    return [(name, (id, OPEN)), (name, ("to caller", "X", Accepted("X")))]


# --- duplex to duplex -------------------------------------------------------------------------------------------------


def test_call_is_held_until_it_names_its_recipient() -> None:
    """The recipient is called, and told by whom; the caller is told nothing but that its chunk has come."""
    hall = Hall(ada="duplex", ben="duplex")
    assert hall.ask("ada", OpenCall("X")) == []
    first = CallMessage("ask", {"n": 1}, b"\x01", to=hall.id("ben"))
    assert hall.ask("ada", CallChunk("X", first), 6) == [
        ("ada", (6, OK)),
        ("ben", ("call", "X", "ada")),
        ("ben", ("to recipient", "X", "ask", {"n": 1}, b"\x01", "ada")),
    ]


def test_acceptance_answers_the_caller_and_is_said_on_the_call() -> None:
    """The answer to the first request is the recipient's, and what follows it is the room's."""
    hall = Hall(ada="duplex", ben="duplex")
    push_id = hall.offer("ada", "ben")
    assert hall.ask("ben", AnswerCall(push_id, OPEN), push_id) == accepted("ada")
    assert hall.timers == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Error("busy"), Error("busy")),
        (Error("busy", 1005), Error("busy", 1005)),
        (Empty(), Error("the participant answered with neither acceptance nor refusal", 1100)),
        (CLOSE, Error("the participant answered with neither acceptance nor refusal", 1100)),
    ],
)
def test_refusal_answers_the_caller(answer: Content, told: Error) -> None:
    """The reason goes through; what is no answer counts as one."""
    hall = Hall(ada="duplex", ben="duplex")
    push_id = hall.offer("ada", "ben")
    assert hall.ask("ben", AnswerCall(push_id, answer), push_id) == [("ada", (5, told))]
    assert hall.ask("ada", CallChunk("X", CallMessage("t", {})), 7) == [("ada", (7, OK))]
    assert hall.timers == []


def test_both_ends_speak_in_their_own_shape() -> None:
    """What either says goes through; only the caller is answered."""
    hall = Hall(ada="duplex", ben="duplex")
    push_id = hall.connect("ada", "ben")
    assert hall.ask("ada", CallChunk("X", CallMessage("part", {"i": 0}, b"\x01")), 9) == [
        ("ada", (9, OK)),
        ("ben", ("to recipient", "X", "part", {"i": 0}, b"\x01", "")),
    ]
    ack = CallMessage("ack", {"i": 0}, b"\x02")
    assert hall.ask("ben", AnswerChunk(push_id, "X", ack), push_id) == [("ada", ("to caller", "X", ack))]


@pytest.mark.parametrize("content", [Json({"novel": 1}), Error("odd"), Control("open"), Empty()])
def test_what_is_no_message_goes_through(content: Content) -> None:
    """It is for the other end to judge."""
    hall = Hall(ada="duplex", ben="duplex")
    push_id = hall.connect("ada", "ben")
    assert hall.ask("ada", CallChunk("X", content))[1:] == [("ben", ("to recipient", "X", content))]
    assert hall.ask("ben", AnswerChunk(push_id, "X", content)) == [("ada", ("to caller", "X", content))]


@pytest.mark.parametrize("close", [CLOSE, Control("close", 1011, "broken")])
def test_caller_that_closes_ends_the_call_for_both(close: Control) -> None:
    """Its closing goes through, and it gets one back; nothing follows."""
    hall = Hall(ada="duplex", ben="duplex")
    push_id = hall.connect("ada", "ben")
    assert hall.ask("ada", CallChunk("X", close), 9) == [
        ("ada", (9, OK)),
        ("ben", ("to recipient", "X", close)),
        ("ada", ("to caller", "X", CLOSE)),
    ]
    assert hall.ask("ada", CallChunk("X", close), 10) == [("ada", (10, OK))]
    assert hall.ask("ben", AnswerChunk(push_id, "X", CLOSE)) == []


@pytest.mark.parametrize("close", [CLOSE, Control("close", 1007, "broken")])
def test_recipient_that_closes_ends_the_call_for_both(close: Control) -> None:
    """Status and message go through; the recipient gets nothing back."""
    hall = Hall(ada="duplex", ben="duplex")
    push_id = hall.connect("ada", "ben")
    assert hall.ask("ben", AnswerChunk(push_id, "X", close)) == [("ada", ("to caller", "X", close))]
    assert hall.ask("ada", CallChunk("X", CallMessage("late", {})), 9) == [("ada", (9, OK))]
    assert hall.ask("ben", AnswerChunk(push_id, "X", close)) == []


def test_caller_may_call_again_under_an_id_that_is_over() -> None:
    """Nothing of an ended call is left."""
    hall = Hall(ada="duplex", ben="duplex")
    for _ in range(3):
        hall.connect("ada", "ben")
        hall.ask("ada", CallChunk("X", CLOSE))
    assert hall.room.stats().calls == 0
    assert hall.timers == []


def test_calling_oneself_works() -> None:
    """As sending to oneself does."""
    hall = Hall(ada="duplex")
    push_id = hall.offer("ada", "ada")
    assert hall.ask("ada", AnswerCall(push_id, OPEN)) == accepted("ada")
    assert hall.ask("ada", CallChunk("X", CLOSE), 9)[1:] == [
        ("ada", ("to recipient", "X", CLOSE)),
        ("ada", ("to caller", "X", CLOSE)),
    ]


# --- what never becomes a call ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (CallMessage("ask", {}, to="nobody"), NOT_FOUND),
        (CallMessage("ask", {}), Error("the first message names no recipient", 1002)),
        (Json({"to_participant_id": "x"}), Error("the first message names no recipient", 1002)),
        (CLOSE, Error("the first message names no recipient", 1002)),
    ],
)
def test_call_without_a_recipient_is_refused(content: Any, error: Error) -> None:
    """The first request is answered, as every request has to be."""
    hall = Hall(ada="duplex", ben="duplex")
    hall.ask("ada", OpenCall("X"))
    assert hall.ask("ada", CallChunk("X", content), 6) == [("ada", (6, OK)), ("ada", (5, error))]
    assert hall.timers == []


def test_call_to_somebody_who_has_not_enabled_is_refused() -> None:
    """To others it is not there."""
    hall = Hall(ada="duplex", ben="duplex")
    hall.ask("ben", Disable())
    hall.ask("ada", OpenCall("X"))
    assert hall.ask("ada", CallChunk("X", CallMessage("ask", {}, to=hall.id("ben"))))[1:] == [("ada", (5, NOT_FOUND))]


@pytest.mark.parametrize("kind", ["none", "typescript"])
def test_call_to_a_release_without_streams_is_refused(kind: str) -> None:
    """It would never answer."""
    hall = Hall(ada="duplex", ben=kind)
    hall.ask("ada", OpenCall("X"))
    outputs = hall.ask("ada", CallChunk("X", CallMessage("ask", {}, to=hall.id("ben"))))
    assert outputs[1:] == [("ada", (5, Error(NO_STREAMS, 1008)))]


def test_caller_who_may_not_send_is_refused() -> None:
    """A call is a message like any other to the token and to messaging itself."""
    hall = Hall(ada="duplex")
    hall.join("eve", "duplex", rights=Rights(send=False))
    (told,) = hall.ask("eve", OpenCall("X"))
    assert told == ("eve", (5, Error("the token does not allow to send messages", 1001)))
    hall.ask("ada", Disable())
    (told,) = hall.ask("ada", OpenCall("X"))
    assert told == ("ada", (5, Error("messaging is not enabled, so this participant cannot send", 1006)))


@pytest.mark.parametrize("kind", ["duplex", "classic"])
def test_recipient_who_may_not_send_is_not_called(kind: str) -> None:
    """It could not even accept."""
    hall = Hall(ada="duplex")
    hall.join("eve", kind, rights=Rights(send=False))
    hall.ask("ada", OpenCall("X"))
    outputs = hall.ask("ada", CallChunk("X", CallMessage("ask", {}, to=hall.id("eve"))))
    assert outputs[1:] == [("ada", (5, Error("the participant's token does not allow to answer", 1001)))]


def test_id_in_use_is_refused_at_either_end() -> None:
    """By its own caller, and where two callers would reach one recipient with it."""
    hall = Hall(ada="duplex", ben="duplex", eve="duplex")
    hall.connect("ada", "ben")
    assert hall.ask("ada", OpenCall("X"), 9) == [("ada", (9, Error("there is a call 'X' already", 1004)))]
    hall.ask("eve", OpenCall("X"), 9)
    assert hall.ask("eve", CallChunk("X", CallMessage("ask", {}, to=hall.id("ben"))), 10)[1:] == [
        ("eve", (9, Error("the participant has a call 'X' already", 1004)))
    ]
    assert hall.ask("ada", CallChunk("X", CallMessage("t", {})))[1:] != []


def test_calls_of_one_participant_are_bounded() -> None:
    """1024 may be open, and it is those that one opened which count."""
    hall = Hall(ada="duplex", ben="duplex")
    for number in range(MAX_CALLS):
        assert hall.ask("ada", OpenCall(f"X{number}")) == []
        hall.ask("ada", CallChunk(f"X{number}", CallMessage("ask", {}, to=hall.id("ben"))))
    assert hall.ask("ada", OpenCall("Y")) == [("ada", (5, Error("at most 1024 calls may be open at once", 1008)))]
    assert hall.ask("ben", OpenCall("Y")) == []


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (CallChunk("Y", CallMessage("t", {})), [("ada", (5, OK))]),
        (CallChunk("Y", CLOSE), [("ada", (5, OK))]),
        (AnswerCall(77, OPEN), []),
        (AnswerCall(77, Error("no")), []),
        (AnswerChunk(77, "Y", CLOSE), []),
    ],
)
def test_unknown_call_is_ignored(request_: Request, answer: list[Any]) -> None:
    """A chunk is answered all the same; an answer must not be, since its id is none of its sender's."""
    hall = Hall(ada="duplex", ben="duplex")
    assert hall.ask("ada", request_) == answer


def test_nobody_else_may_answer_or_speak() -> None:
    """Ids that others know do not help them."""
    hall = Hall(ada="duplex", ben="duplex", eve="duplex")
    push_id = hall.offer("ada", "ben")
    assert hall.ask("eve", AnswerCall(push_id, OPEN)) == []
    hall.ask("ben", AnswerCall(push_id, OPEN))
    assert hall.ask("eve", AnswerChunk(push_id, "X", CLOSE)) == []
    assert hall.ask("eve", CallChunk("X", CLOSE), 9) == [("eve", (9, OK))]
    assert hall.ask("ben", CallChunk("X", CLOSE), 9) == [("ben", (9, OK))]


def test_second_answer_is_ignored() -> None:
    """A call is answered once."""
    hall = Hall(ada="duplex", ben="duplex")
    push_id = hall.connect("ada", "ben")
    assert hall.ask("ben", AnswerCall(push_id, OPEN)) == []
    assert hall.ask("ben", AnswerCall(push_id, Error("after all, no"))) == []
    assert hall.ask("ben", AnswerChunk(push_id, "X", CLOSE)) == [("ada", ("to caller", "X", CLOSE))]


# --- time, and leaving ------------------------------------------------------------------------------------------------


def test_caller_whose_peer_never_answers_is_told_so() -> None:
    """After 30 seconds; the peer is told that it is over, and what it says then is ignored."""
    hall = Hall(ada="duplex", ben="duplex")
    push_id = hall.offer("ada", "ben")
    ((seconds, outputs),) = hall.timers
    assert seconds == ANSWER_LIMIT == 30
    assert hall.shown(outputs()) == [("ada", (5, Error(TOO_LATE, 1009))), ("ben", ("to recipient", "X", CLOSE))]
    assert hall.ask("ben", AnswerCall(push_id, OPEN)) == []
    assert hall.shown(outputs()) == []


def test_caller_that_never_names_a_recipient_is_told_so() -> None:
    """A call that is held does not stay for ever."""
    hall = Hall(ada="duplex")
    hall.ask("ada", OpenCall("X"))
    assert hall.shown(hall.timers[0][1]()) == [("ada", (5, Error(TOO_LATE, 1009)))]
    assert hall.room.stats().calls == 0


def test_caller_that_closes_before_the_answer_is_answered() -> None:
    """Its opening is answered, and the recipient told."""
    hall = Hall(ada="duplex", ben="duplex")
    push_id = hall.offer("ada", "ben")
    assert hall.ask("ada", CallChunk("X", CLOSE), 9) == [
        ("ada", (9, OK)),
        ("ben", ("to recipient", "X", CLOSE)),
        ("ada", (5, Error("closed before it was answered", 1006))),
    ]
    assert hall.ask("ben", AnswerCall(push_id, Error("messaging stream closed before acceptance"))) == []


def test_recipient_that_speaks_before_it_accepts_is_not_heard() -> None:
    """What a caller hears first has to be that it was accepted."""
    hall = Hall(ada="duplex", ben="duplex")
    push_id = hall.offer("ada", "ben")
    assert hall.ask("ben", AnswerChunk(push_id, "X", CallMessage("t", {}))) == []
    assert hall.ask("ben", AnswerChunk(push_id, "X", CLOSE)) == [
        ("ada", (5, Error("closed before it was answered", 1006)))
    ]


LEAVINGS: dict[str, Callable[[Hall, str], list[tuple[str, object]]]] = {
    "gone": lambda hall, name: hall.shown(hall.room.leave(hall.members[name])),
    "disabled": lambda hall, name: hall.ask(name, Disable())[1:],
}


@pytest.mark.parametrize("how", LEAVINGS)
def test_caller_that_leaves_closes(how: str) -> None:
    """The recipient has heard of the leaving: it is no regular end. Who only disabled gets a closing too."""
    hall = Hall(ada="duplex", ben="duplex")
    hall.connect("ada", "ben")
    assert LEAVINGS[how](hall, "ada") == [
        ("ben", ("ada", "participant.disabled", {"id": hall.id("ada")}, b"")),
        ("ben", ("to recipient", "X", CLOSE)),
        ("ada", ("to caller", "X", CLOSE)),
    ]
    assert hall.room.stats().calls == 0


@pytest.mark.parametrize("how", LEAVINGS)
def test_recipient_that_leaves_is_told_of_and_closes(how: str) -> None:
    """The caller hears who has gone, and then that it is over."""
    hall = Hall(ada="duplex", ben="duplex")
    hall.connect("ada", "ben")
    assert LEAVINGS[how](hall, "ben") == [
        ("ada", ("ben", "participant.disabled", {"id": hall.id("ben")}, b"")),
        ("ada", ("to caller", "X", RecipientGone(hall.id("ben")))),
        ("ada", ("to caller", "X", CLOSE)),
    ]
    assert hall.timers == []


@pytest.mark.parametrize("how", LEAVINGS)
def test_recipient_that_leaves_without_an_answer_is_not_found(how: str) -> None:
    """The caller's request is answered."""
    hall = Hall(ada="duplex", ben="duplex")
    hall.offer("ada", "ben")
    assert LEAVINGS[how](hall, "ben")[1] == ("ada", (5, NOT_FOUND))
    assert hall.timers == []


@pytest.mark.parametrize("how", LEAVINGS)
def test_caller_that_leaves_without_an_answer_closes(how: str) -> None:
    """Held, it is forgotten; offered, the recipient is told."""
    hall = Hall(ada="duplex", ben="duplex")
    hall.offer("ada", "ben")
    hall.ask("ada", OpenCall("held"), 8)
    assert LEAVINGS[how](hall, "ada")[1:] == [
        ("ben", ("to recipient", "X", CLOSE)),
        ("ada", (5, Error("closed before it was answered", 1006))),
        ("ada", (8, Error("closed before it was answered", 1006))),
    ]
    assert (hall.room.stats().calls, hall.timers) == (0, [])


def test_others_calls_go_on() -> None:
    """Only the calls of who leaves end."""
    hall = Hall(ada="duplex", ben="duplex", eve="duplex", joe="classic")
    hall.connect("ada", "ben")
    hall.offer("eve", "joe")
    hall.send("joe", "eve", "accept", {"stream_id": "X"})
    hall.room.leave(hall.members["eve"])
    assert len(hall.ask("ada", CallChunk("X", CallMessage("t", {})))) == 2


# --- bridges: classic to duplex ---------------------------------------------------------------------------------------

OFFER = {"stream_id": "S", "header": {"kind": "audio"}}


def bridge_to_duplex(opener: str = "classic") -> tuple[Hall, int]:
    """Return a hall in which ada has opened a classic stream to ben, who knows calls, and accepted."""
    hall = Hall(ada=opener, ben="duplex")
    outputs = hall.room.handle(hall.members["ada"], 6, Send(hall.id("ben"), "stream.open", OFFER))
    push_id = outputs[1].id
    hall.ask("ben", AnswerCall(push_id, OPEN))
    return hall, push_id


@pytest.mark.parametrize("opener", ["classic", "old"])
def test_classic_opening_becomes_a_call(opener: str) -> None:
    """The header is the first message; extensions between classic ends stay behind."""
    hall = Hall(ada=opener, ben="duplex")
    assert hall.send("ada", "ben", "open", OFFER | {"meshsync": {"version": 1}}) == [
        ("ada", (6, OK)),
        ("ben", ("call", "S", "ada")),
        ("ben", ("to recipient", "S", "stream.open", {"kind": "audio"}, b"", "ada")),
    ]


def test_classic_opening_is_accepted() -> None:
    """In the recipient's name, and in the opener's words."""
    hall = Hall(ada="classic", ben="duplex")
    outputs = hall.room.handle(hall.members["ada"], 6, Send(hall.id("ben"), "stream.open", OFFER))
    assert hall.ask("ben", AnswerCall(outputs[1].id, OPEN)) == [("ada", ("ben", "accept", {"stream_id": "S"}, b""))]


def test_classic_opening_is_rejected() -> None:
    """With the recipient's reason."""
    hall = Hall(ada="classic", ben="duplex")
    outputs = hall.room.handle(hall.members["ada"], 6, Send(hall.id("ben"), "stream.open", OFFER))
    assert hall.ask("ben", AnswerCall(outputs[1].id, Error("busy"))) == [
        ("ada", ("ben", "reject", {"stream_id": "S", "error": "busy"}, b""))
    ]
    assert hall.timers == []


def test_chunks_cross_from_classic_to_duplex_and_back() -> None:
    """Header and data are message and attachment; a type of the recipient's own shows in the header."""
    hall, push_id = bridge_to_duplex()
    assert hall.send("ada", "ben", "chunk", {"stream_id": "S", "header": {"i": 0}}, b"\x01") == [
        ("ada", (6, OK)),
        ("ben", ("to recipient", "S", "stream.chunk", {"i": 0}, b"\x01", "")),
    ]
    back = {"stream_id": "S", "header": {"n": 2, "meshsync.type": "ack"}}
    assert hall.ask("ben", AnswerChunk(push_id, "S", CallMessage("ack", {"n": 2}, b"\x02"))) == [
        ("ada", ("ben", "chunk", back, b"\x02"))
    ]
    assert hall.ask("ben", AnswerChunk(push_id, "S", CallMessage("stream.chunk", {"n": 3}))) == [
        ("ada", ("ben", "chunk", {"stream_id": "S", "header": {"n": 3}}, b""))
    ]


def test_classic_opener_closes_a_call() -> None:
    """It is acknowledged, and gets no closing back."""
    hall, push_id = bridge_to_duplex()
    assert hall.send("ada", "ben", "close", {"stream_id": "S"}) == [
        ("ada", (6, OK)),
        ("ben", ("to recipient", "S", CLOSE)),
    ]
    assert hall.ask("ben", AnswerChunk(push_id, "S", CallMessage("t", {}))) == []
    assert hall.send("ada", "ben", "close", {"stream_id": "S"}) == [("ada", (6, OK))]


@pytest.mark.parametrize("close", [CLOSE, Control("close", 1007, "broken")])
def test_duplex_recipient_closes_a_classic_stream(close: Control) -> None:
    """However it ends, there is one word for it; an error before that has none."""
    hall, push_id = bridge_to_duplex()
    assert hall.ask("ben", AnswerChunk(push_id, "S", Error("broken"))) == []
    assert hall.ask("ben", AnswerChunk(push_id, "S", close)) == [("ada", ("ben", "close", {"stream_id": "S"}, b""))]


@pytest.mark.parametrize("how", LEAVINGS)
def test_duplex_recipient_that_leaves_closes_a_classic_stream(how: str) -> None:
    """The roster says so first; without the closing clients up to 0.9.3 would hang."""
    hall, _ = bridge_to_duplex("old")
    assert LEAVINGS[how](hall, "ben") == [
        ("ada", ("ben", "participant.disabled", {"id": hall.id("ben")}, b"")),
        ("ada", ("ben", "close", {"stream_id": "S"}, b"")),
    ]


def test_classic_opener_that_leaves_closes_a_call() -> None:
    """The recipient gets a closing."""
    hall, _ = bridge_to_duplex()
    assert LEAVINGS["gone"](hall, "ada")[1] == ("ben", ("to recipient", "S", CLOSE))


def test_duplex_recipient_that_leaves_without_an_answer_rejects() -> None:
    """A classic opener waits for ever otherwise."""
    hall = Hall(ada="classic", ben="duplex")
    hall.send("ada", "ben", "open", OFFER)
    body = {"stream_id": "S", "error": "the participant was not found"}
    assert LEAVINGS["gone"](hall, "ben")[-1] == ("ada", ("ben", "reject", body, b""))


def test_classic_opener_whose_peer_never_answers_is_told_so() -> None:
    """A duplex client without a handler never answers; the opener has no time limit either."""
    hall = Hall(ada="old", ben="duplex")
    hall.send("ada", "ben", "open", OFFER)
    assert hall.shown(hall.timers[0][1]()) == [
        ("ada", ("ben", "reject", {"stream_id": "S", "error": TOO_LATE}, b"")),
        ("ben", ("to recipient", "S", CLOSE)),
    ]


def test_classic_stream_opened_twice_under_one_id_is_rejected() -> None:
    """The first one goes on."""
    hall, push_id = bridge_to_duplex()
    body = {"stream_id": "S", "error": "there is a call 'S' already"}
    assert hall.send("ada", "ben", "open", OFFER)[1:] == [("ada", ("ben", "reject", body, b""))]
    assert hall.ask("ben", AnswerChunk(push_id, "S", CallMessage("stream.chunk", {})))


@pytest.mark.parametrize("body", [
    {"stream_id": "S"}, {"stream_id": "S", "header": 5}, {"stream_id": "S", "header": None},
])  # fmt: skip
def test_chunk_without_a_header_is_dropped(body: dict[str, Any]) -> None:
    """As classic clients drop it; it is acknowledged all the same."""
    hall, _ = bridge_to_duplex()
    assert hall.send("ada", "ben", "chunk", body) == [("ada", (6, OK))]


@pytest.mark.parametrize("word", ["meshsync.credit", "meshsync.cancel", "accept", "reject", "novel"])
def test_what_a_call_has_no_word_for_is_dropped(word: str) -> None:
    """Extensions do not cross a bridge, and an opener answers nothing."""
    hall, push_id = bridge_to_duplex()
    assert hall.send("ada", "ben", word, {"stream_id": "S"}) == [("ada", (6, OK))]
    assert hall.ask("ben", AnswerChunk(push_id, "S", CallMessage("stream.chunk", {})))


@pytest.mark.parametrize("word", ["chunk", "close", "reject", "meshsync.credit"])
def test_classic_word_for_no_stream_does_not_reach_a_client_without_them(word: str) -> None:
    """Its program would take it for a message; classic clients drop it."""
    hall = Hall(ada="classic", ben="duplex", eve="none", joe="classic")
    body = {"stream_id": "S", "header": {}}
    assert hall.send("ada", "ben", word, body) == hall.send("ada", "eve", word, body) == [("ada", (6, OK))]
    assert hall.send("ada", "joe", word, body)[0] == ("joe", ("ada", word, body, b""))


def test_classic_client_may_not_touch_what_is_anothers() -> None:
    """A bridged stream is known by its two ends, and not by its id alone."""
    hall, _ = bridge_to_duplex()
    hall.join("eve", "classic")
    body = {"stream_id": "S", "header": {}}
    for word in ("chunk", "close", "accept", "reject"):
        hall.send("eve", "ben", word, body)
        hall.send("eve", "ada", word, body)
    assert hall.send("ada", "ben", "chunk", body)[1:]


def test_classic_client_that_addresses_another_does_not_reach_its_peer() -> None:
    """An id alone is no address."""
    hall, _ = bridge_to_duplex()
    hall.join("eve", "duplex")
    for word in ("chunk", "close"):
        assert hall.send("ada", "eve", word, {"stream_id": "S", "header": {}}) == [("ada", (6, OK))]
    assert hall.send("ada", "ben", "close", {"stream_id": "S"})[1:]


@pytest.mark.parametrize("word", ["accept", "reject"])
def test_classic_opener_cannot_answer_itself(word: str) -> None:
    """The recipient still can."""
    hall = Hall(ada="classic", ben="duplex")
    outputs = hall.room.handle(hall.members["ada"], 6, Send(hall.id("ben"), "stream.open", OFFER))
    assert hall.send("ada", "ben", word, {"stream_id": "S"}) == [("ada", (6, OK))]
    assert hall.ask("ben", AnswerCall(outputs[1].id, OPEN))


# --- bridges: duplex to classic ---------------------------------------------------------------------------------------


def bridge_to_classic(acceptor: str = "classic") -> Hall:
    """Return a hall in which ada has called ben, who knows classic streams, and accepted."""
    hall = Hall(ada="duplex", ben=acceptor)
    hall.offer("ada", "ben")
    assert hall.send("ben", "ada", "accept", {"stream_id": "X"})[1:] == accepted("ada")
    return hall


@pytest.mark.parametrize("acceptor", ["classic", "old"])
def test_call_becomes_a_classic_opening(acceptor: str) -> None:
    """The first message is the header, its type beside it if it is one of the caller's own."""
    hall = Hall(ada="duplex", ben=acceptor)
    hall.ask("ada", OpenCall("X"))
    first = CallMessage("ask", {"n": 1}, b"\x01", to=hall.id("ben"))
    header = {"n": 1, "meshsync.type": "ask"}
    assert hall.ask("ada", CallChunk("X", first), 6) == [
        ("ada", (6, OK)),
        ("ben", ("ada", "open", {"stream_id": "X", "header": header}, b"\x01")),
    ]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"stream_id": "X", "error": "busy"}, "busy"),
        ({"stream_id": "X", "error": ""}, ""),
        ({"stream_id": "X"}, "the participant gave no reason"),
        ({"stream_id": "X", "error": 5}, "the participant gave no reason"),
    ],
)
def test_classic_rejection_answers_the_caller(body: dict[str, Any], told: str) -> None:
    """With the reason, if there is one."""
    hall = Hall(ada="duplex", ben="classic")
    hall.offer("ada", "ben")
    assert hall.send("ben", "ada", "reject", body) == [("ben", (6, OK)), ("ada", (5, Error(told, 1008)))]
    assert hall.timers == []


def test_chunks_cross_from_duplex_to_classic_and_back() -> None:
    """Either end reads what the other wrote."""
    hall = bridge_to_classic()
    assert hall.ask("ada", CallChunk("X", CallMessage("stream.chunk", {"i": 0}, b"\x01")), 9)[1:] == [
        ("ben", ("ada", "chunk", {"stream_id": "X", "header": {"i": 0}}, b"\x01"))
    ]
    assert hall.send("ben", "ada", "chunk", {"stream_id": "X", "header": {"meshsync.type": "ack"}}, b"\x02") == [
        ("ben", (6, OK)),
        ("ada", ("to caller", "X", CallMessage("ack", {}, b"\x02"))),
    ]


def test_caller_closes_a_classic_stream() -> None:
    """The caller gets a closing back, as on any call."""
    hall = bridge_to_classic()
    assert hall.ask("ada", CallChunk("X", CLOSE), 9)[1:] == [
        ("ben", ("ada", "close", {"stream_id": "X"}, b"")),
        ("ada", ("to caller", "X", CLOSE)),
    ]


def test_classic_acceptor_closes_a_call() -> None:
    """And is acknowledged; again is ignored."""
    hall = bridge_to_classic()
    assert hall.send("ben", "ada", "close", {"stream_id": "X"}) == [
        ("ben", (6, OK)),
        ("ada", ("to caller", "X", CLOSE)),
    ]
    assert hall.send("ben", "ada", "close", {"stream_id": "X"}) == [("ben", (6, OK))]


@pytest.mark.parametrize("how", LEAVINGS)
def test_classic_acceptor_that_leaves_is_told_of_and_closes(how: str) -> None:
    """The caller hears what it would of any recipient."""
    hall = bridge_to_classic()
    assert LEAVINGS[how](hall, "ben")[1:] == [
        ("ada", ("to caller", "X", RecipientGone(hall.id("ben")))),
        ("ada", ("to caller", "X", CLOSE)),
    ]


@pytest.mark.parametrize("how", LEAVINGS)
def test_caller_that_leaves_closes_a_classic_stream(how: str) -> None:
    """The roster says so first; without the closing clients up to 0.9.3 would hang."""
    hall = bridge_to_classic("old")
    outputs = LEAVINGS[how](hall, "ada")
    assert outputs[0] == ("ben", ("ada", "participant.disabled", {"id": hall.id("ada")}, b""))
    assert outputs[1] == ("ben", ("ada", "close", {"stream_id": "X"}, b""))


def test_classic_acceptor_that_never_answers() -> None:
    """The caller is told in time; an acceptance that comes later is undone."""
    hall = Hall(ada="duplex", ben="classic")
    hall.offer("ada", "ben")
    closed = ("ben", ("ada", "close", {"stream_id": "X"}, b""))
    assert hall.shown(hall.timers[0][1]()) == [("ada", (5, Error(TOO_LATE, 1009))), closed]
    assert hall.send("ben", "ada", "accept", {"stream_id": "X"}) == [("ben", (6, OK)), closed]


def test_classic_client_without_a_handler_is_asked_once_more() -> None:
    """Right behind the reply to enabling it only seems to have none; the second time it is believed."""
    hall = Hall(ada="duplex", ben="classic")
    hall.offer("ada", "ben")
    body = {"stream_id": "X", "error": NO_HANDLER}
    assert hall.send("ben", "ada", "reject", body) == [("ben", (6, OK))]
    seconds, outputs = hall.timers[-1]
    assert 0.05 <= seconds <= 1
    header = {"meshsync.type": "ask"}
    assert hall.shown(outputs()) == [("ben", ("ada", "open", {"stream_id": "X", "header": header}, b""))]
    assert hall.send("ben", "ada", "reject", body) == [("ben", (6, OK)), ("ada", (5, Error(NO_HANDLER, 1008)))]


def test_classic_client_that_has_a_handler_by_then_accepts() -> None:
    """The caller never knows."""
    hall = Hall(ada="duplex", ben="classic")
    hall.offer("ada", "ben")
    hall.send("ben", "ada", "reject", {"stream_id": "X", "error": NO_HANDLER})
    hall.shown(hall.timers[-1][1]())
    assert hall.send("ben", "ada", "accept", {"stream_id": "X"})[1:] == accepted("ada")


def test_second_offer_comes_to_nothing_when_the_call_is_over() -> None:
    """The caller has left in between."""
    hall = Hall(ada="duplex", ben="classic")
    hall.offer("ada", "ben")
    hall.send("ben", "ada", "reject", {"stream_id": "X", "error": NO_HANDLER})
    outputs = hall.timers[-1][1]
    hall.room.leave(hall.members["ada"])
    assert hall.shown(outputs()) == []


def test_second_acceptance_is_acknowledged_and_ignored() -> None:
    """So is a rejection after it."""
    hall = bridge_to_classic()
    assert hall.send("ben", "ada", "accept", {"stream_id": "X"}) == [("ben", (6, OK))]
    assert hall.send("ben", "ada", "reject", {"stream_id": "X", "error": "no"}) == [("ben", (6, OK))]
    assert hall.ask("ada", CallChunk("X", CallMessage("stream.chunk", {})))[1:]


# --- who knows what ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["none", "typescript"])
@pytest.mark.parametrize("opener", ["classic", "old"])
def test_classic_opening_to_a_release_without_streams_is_rejected(opener: str, kind: str) -> None:
    """In the opener's own words, where silence would keep it waiting for ever."""
    hall = Hall(ada=opener, ben=kind)
    body = {"stream_id": "S", "error": NO_STREAMS}
    assert hall.send("ada", "ben", "open", OFFER) == [("ada", (6, OK)), ("ada", ("ben", "reject", body, b""))]


@pytest.mark.parametrize("opener", ["classic", "old", "both"])
@pytest.mark.parametrize("acceptor", ["classic", "old", "both"])
def test_classic_streams_between_those_who_know_them_pass_unchanged(opener: str, acceptor: str) -> None:
    """With whatever they have agreed upon beside what is documented."""
    hall = Hall(ada=opener, ben=acceptor)
    for word, body in (
        ("open", OFFER | {"meshsync": {"version": 1, "window": 5}}),
        ("accept", {"stream_id": "S", "meshsync": {"version": 1}}),
        ("chunk", {"stream_id": "S", "header": {}}),
        ("meshsync.credit", {"stream_id": "S", "bytes": 5}),
        ("close", {"stream_id": "S"}),
    ):
        assert hall.send("ada", "ben", word, body, b"\x01") == [
            ("ben", ("ada", word, body, b"\x01")),
            ("ada", (6, OK)),
        ]
    assert hall.room.stats().calls == 0


@pytest.mark.parametrize("kind", ["duplex", "none", "typescript"])
def test_word_of_classic_streams_is_a_message_to_who_does_not_know_them(kind: str) -> None:
    """Programs on such releases may use it for anything else."""
    hall = Hall(ada=kind, ben="duplex", eve="none")
    for to in ("ben", "eve"):
        for body in ({"stream_id": "S"}, {"stream_id": "S", "header": "my own"}, {"header": {}}):
            assert hall.send("ada", to, "open", body)[0] == (to, ("ada", "open", body, b""))
        assert hall.send("ada", to, "chunk", OFFER)[0] == (to, ("ada", "chunk", OFFER, b""))


@pytest.mark.parametrize("kind", ["duplex", "none", "typescript"])
def test_who_opens_a_classic_stream_knows_them(kind: str) -> None:
    """Whatever its release says; from then on it is also offered them."""
    hall = Hall(ada=kind, ben="classic", eve="duplex")
    assert hall.send("ada", "ben", "open", OFFER)[0] == ("ben", ("ada", "open", OFFER, b""))
    assert hall.send("ben", "ada", "accept", {"stream_id": "S"})[0] == (
        "ada",
        ("ben", "accept", {"stream_id": "S"}, b""),
    )
    assert hall.send("ada", "eve", "open", OFFER)[1] == ("eve", ("call", "S", "ada"))
    assert hall.send("ben", "ada", "open", OFFER)[0] == ("ada", ("ben", "open", OFFER, b""))


def test_who_knows_both_is_addressed_in_the_openers_kind() -> None:
    """Nothing is translated that need not be."""
    hall = Hall(ada="duplex", ben="both", eve="classic")
    assert hall.offer("ada", "ben") > 0
    assert hall.send("eve", "ben", "open", OFFER)[0] == ("ben", ("eve", "open", OFFER, b""))


def test_who_knows_both_may_open_either_to_who_knows_one() -> None:
    """A bridge is built from what the opener said."""
    hall = Hall(ada="both", ben="duplex", eve="classic")
    assert hall.send("ada", "ben", "open", OFFER)[1] == ("ben", ("call", "S", "ada"))
    assert hall.offer("ada", "eve") == 0
    assert hall.send("eve", "ada", "accept", {"stream_id": "X"})[1:] == accepted("ada")


def test_words_without_an_id_are_messages() -> None:
    """Nothing can be told about a stream that has no name."""
    hall = Hall(ada="classic", ben="duplex")
    for body in ({}, {"stream_id": 5}, {"stream_id": ""}):
        assert hall.send("ada", "ben", "open", body)[0] == ("ben", ("ada", "open", body, b""))


# --- what is the room's -----------------------------------------------------------------------------------------------

WORDS_OF_THE_ROOM = [
    Accepted("X"),
    RecipientGone("p-1"),
    CallEnded("done"),
    Json({"kind": "accepted"}),
    Json({"kind": "client_disconnected", "participant_id": 5}),
    Json({"kind": "closed", "attachment_base64": "AAAA"}),
]


@pytest.mark.parametrize("is_answered", [True, False])
@pytest.mark.parametrize("word", WORDS_OF_THE_ROOM, ids=repr)
def test_recipient_cannot_use_the_rooms_words(word: Any, is_answered: bool) -> None:
    """The caller gets none of it, before the answer and after, and the call goes on."""
    hall = Hall(ada="duplex", ben="duplex")
    push_id = hall.connect("ada", "ben") if is_answered else hall.offer("ada", "ben")
    assert hall.ask("ben", AnswerChunk(push_id, "X", word), push_id) == []
    if not is_answered:
        assert hall.ask("ben", AnswerCall(push_id, OPEN), push_id) == accepted("ada")
    following = CallMessage("t", {})
    assert hall.ask("ben", AnswerChunk(push_id, "X", following), push_id) == [("ada", ("to caller", "X", following))]


def test_word_of_a_classic_recipient_is_its_programs() -> None:
    """A chunk with such a header is data: it comes as a message, and not as the room's word."""
    hall = Hall(ada="duplex", ben="classic")
    hall.offer("ada", "ben")
    hall.send("ben", "ada", "accept", {"stream_id": "X"})
    body = {"stream_id": "X", "header": {"kind": "closed"}}
    assert hall.send("ben", "ada", "chunk", body)[1] == (
        "ada",
        ("to caller", "X", CallMessage("stream.chunk", {"kind": "closed"})),
    )


def test_sender_of_a_chunk_is_the_rooms_to_state() -> None:
    """In the first message it is added; in a later one it is left out, or set right where one is claimed."""
    hall = Hall(ada="duplex", ben="duplex", eve="duplex")
    hall.ask("ada", OpenCall("X"), 5)
    first = CallMessage("ask", {}, to=hall.id("ben"), sender=hall.id("eve"))
    assert hall.ask("ada", CallChunk("X", first), 6)[2] == ("ben", ("to recipient", "X", "ask", {}, b"", "ada"))
    for claimed, stated in (("eve", "ada"), ("", "")):
        later = CallMessage("t", {}, to=hall.id("eve"), sender=claimed and hall.id(claimed))
        assert hall.ask("ada", CallChunk("X", later), 7)[1:] == [("ben", ("to recipient", "X", "t", {}, b"", stated))]
    odd = Json({"from_participant_id": hall.id("eve")})
    stamped = Json({"from_participant_id": hall.id("ada")})
    assert hall.ask("ada", CallChunk("X", odd), 8)[1:] == [("ben", ("to recipient", "X", stamped))]


# --- what cannot be read ----------------------------------------------------------------------------------------------

CHUNK, ANSWER, ANSWER_CHUNK = "room.tool_call_request_chunk", "room.tool_call_response", "room.tool_call_response_chunk"
BROKEN = Control("close", 1007, "no JSON")


def test_first_message_that_cannot_be_read_refuses_its_call() -> None:
    """The caller waits for an answer to its call, and nobody is called."""
    hall = Hall(ada="duplex", ben="duplex")
    hall.ask("ada", OpenCall("X"), 5)
    refusal = Error("no JSON", 1002)
    assert hall.ask("ada", UnreadableRequest(CHUNK, "no JSON", "X"), 6) == [
        ("ada", (6, refusal)),
        ("ada", (5, refusal)),
    ]
    assert hall.room.stats() == RoomStats(0, 0, 0)


def test_chunk_that_cannot_be_read_costs_itself() -> None:
    """Its sender has the refusal, under its id, and the call goes on."""
    hall = Hall(ada="duplex", ben="duplex")
    hall.connect("ada", "ben")
    unreadable = UnreadableRequest(CHUNK, "no JSON", "X")
    assert hall.ask("ada", unreadable, 7) == [("ada", (7, Error("no JSON", 1002)))]
    assert hall.ask("ada", CallChunk("X", CallMessage("t", {})), 8)[1] == (
        "ben",
        ("to recipient", "X", "t", {}, b"", ""),
    )


@pytest.mark.parametrize("type", [ANSWER, ANSWER_CHUNK])
def test_answer_that_cannot_be_read_refuses_the_call(type: str) -> None:
    """It bears the room's id of the call, under which its sender may have asked for something else."""
    hall = Hall(ada="duplex", ben="duplex")
    push_id = hall.offer("ada", "ben")
    assert hall.ask("ben", UnreadableRequest(type, "no JSON", push_id=push_id), push_id) == [
        ("ada", (5, Error("no JSON", 1100))),
        ("ben", ("to recipient", "X", BROKEN)),
    ]
    assert hall.room.stats() == RoomStats(0, 0, 0)


def test_chunk_of_a_recipient_that_cannot_be_read_ends_the_call_for_both() -> None:
    """There is no reply that could tell its sender, and the caller must not miss a part of the stream unnoticed."""
    hall = Hall(ada="duplex", ben="duplex")
    push_id = hall.connect("ada", "ben")
    assert hall.ask("ben", UnreadableRequest(ANSWER_CHUNK, "no JSON", push_id=push_id), push_id) == [
        ("ada", ("to caller", "X", BROKEN)),
        ("ben", ("to recipient", "X", BROKEN)),
    ]
    assert hall.room.stats() == RoomStats(0, 0, 0)


def test_second_answer_that_cannot_be_read_is_ignored() -> None:
    """As is one that can: the call has been answered. And nobody else can end it."""
    hall = Hall(ada="duplex", ben="duplex", eve="duplex")
    push_id = hall.connect("ada", "ben")
    assert hall.ask("ben", UnreadableRequest(ANSWER, "no JSON", push_id=push_id, is_answer=True), push_id) == []
    assert hall.ask("eve", UnreadableRequest(ANSWER_CHUNK, "no JSON", push_id=push_id), push_id) == []
    assert hall.room.stats().calls == 1


# --- whatever they do -------------------------------------------------------------------------------------------------

WHO = st.sampled_from(["dup", "dup2", "cla", "old", "both", "none"])
IDS = st.sampled_from(["X", "Y", "Z"])
CONTENTS = st.one_of(
    st.builds(
        CallMessage, st.sampled_from(["ask", "stream.chunk"]), st.just({"meshsync.type": "t"}), st.binary(max_size=1)
    ),
    st.sampled_from([CLOSE, OPEN, Control("close", 1007, "x"), Error("no"), Json({"kind": "accepted"}), OK]),
)
BODIES = st.one_of(
    st.builds(lambda id: {"stream_id": id, "header": {}}, IDS),
    st.builds(lambda id, reason: {"stream_id": id, "error": reason}, IDS, st.sampled_from([NO_HANDLER, "busy", None])),
    st.sampled_from([{}, {"stream_id": 5}]),
)
WORDS = st.sampled_from(["open", "accept", "reject", "chunk", "close", "meshsync.credit"])
STEPS = st.one_of(
    st.tuples(st.just("open"), WHO, IDS),
    st.tuples(st.just("address"), WHO, IDS, WHO),
    st.tuples(st.just("say"), WHO, IDS, CONTENTS),
    st.tuples(st.just("answer"), WHO, st.sampled_from([OPEN, OPEN, OPEN, Error("no"), OK])),
    st.tuples(st.just("say back"), WHO, IDS, CONTENTS),
    st.tuples(st.just("send"), WHO, WHO, WORDS, BODIES),
    st.tuples(st.just("toggle"), WHO),
    st.tuples(st.just("leave"), WHO),
    st.tuples(st.just("time"), st.integers(0, 5)),
)


class Crowd(Hall):
    """Participants of every kind who do anything, and an account of what they are owed."""

    def __init__(self) -> None:
        super().__init__(dup="duplex", dup2="duplex", cla="classic", old="old", both="both", none="none")
        self.next_id = 1000
        self.owed: dict[tuple[str, int], int] = {}
        """By name and id of each request that is to be answered, how often it was."""
        self.called: dict[str, int] = {}
        """By name, the latest message that it was called with."""

    def see(self, outputs: Iterable[Output]) -> None:
        outputs = list(outputs)
        self.shown(outputs)
        for output in outputs:
            (name,) = {member.name for member in output.to} if len(output.to) == 1 else {""}
            if isinstance(output.what, Reply):
                self.owed[name, output.id] += 1
            elif isinstance(output.what, Call):
                self.called[name] = output.id

    def do(self, name: str, request: Request, id: int | None = None) -> None:
        if name in self.members:
            self.next_id += 1
            if (id is None and is_answered(request)) or isinstance(request, CallChunk):
                self.owed[name, self.next_id] = 0
            self.see(self.room.handle(self.members[name], id or self.next_id, request))

    def take(self, step: tuple[Any, ...]) -> None:
        match step:
            case "open", name, id:
                self.do(name, OpenCall(id))
            case "address", name, id, to if to in self.members:
                self.do(name, CallChunk(id, CallMessage("ask", {}, to=self.id(to))))
            case "say", name, id, content:
                self.do(name, CallChunk(id, content))
            case "answer", name, content if name in self.called:
                self.do(name, AnswerCall(self.called[name], content), self.called[name])
            case "say back", name, id, content if name in self.called:
                self.do(name, AnswerChunk(self.called[name], id, content), self.called[name])
            case "send", name, to, word, body if to in self.members:
                self.do(name, Send(self.id(to), f"stream.{word}", body))
            case "toggle", name if name in self.members:
                is_in = self.members[name] in self.room.enabled
                self.do(name, Disable() if is_in else Enable())
            case "leave", name if name in self.members and len(self.members) > 3:
                self.leave(name)
            case "time", place if place < len(self.timers):
                self.see(self.timers.pop(place)[1]())

    def leave(self, name: str) -> None:
        member = self.members[name]
        self.see(self.room.leave(member))
        del self.members[name]


@examples(300)
@given(st.lists(STEPS, max_size=40))
def test_whatever_they_do_each_request_is_answered_once_and_nothing_is_left(steps: list[tuple[Any, ...]]) -> None:
    """Requests of calls that nobody answers are answered when their time is up, or when somebody leaves."""
    crowd = Crowd()
    for step in steps:
        crowd.take(step)
    while crowd.timers:
        crowd.see(crowd.timers.pop(0)[1]())
    assert {key: count for key, count in crowd.owed.items() if count != 1} == {}
    for name in list(crowd.members):
        crowd.leave(name)
    assert crowd.room.stats() == RoomStats(calls=0, call_entries=0, classic_streams=0)
