"""The lines about a room: what they say, what they have for programs, and how many there are."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from meshsync.protocol.content import Control, Error
from meshsync.protocol.greeting import greeting_form
from meshsync.protocol.operations import (
    AnswerCall,
    Broadcast,
    Call,
    CallChunk,
    CallMessage,
    Disable,
    Enable,
    OpenCall,
    Request,
    Send,
    SetAttributes,
)
from simulator.emulator.event_log import EventLog, RoomLog
from simulator.room.members import Member
from simulator.room.rules import Room
from simulator.room.watched import WatchedRoom

FORM = greeting_form(None)


class Lab:
    """A room that is watched, on a clock that stands."""

    def __init__(self, caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> None:
        caplog.set_level(level, "simulator.emulator")
        self._caplog = caplog
        self.now = 0.0
        self.due: list[Callable[[], None]] = []
        self.log = RoomLog(EventLog(lambda: self.now, lambda seconds, work: self.due.append(work)), "lab")
        ids = count(1)
        self.room = WatchedRoom(Room("lab", ids=lambda: f"id{next(ids)}"), self.log)

    def join(self, name: str, *streams: str) -> Member:
        """Let a participant in, which enables messaging; what that logs is forgotten."""
        member, _ = self.room.join(name, form=FORM)
        self.room.handle(member, 1, Enable(streams or ("classic", "duplex")))
        self._caplog.clear()
        return member

    def handle(self, member: Member, request: Request) -> Any:
        """Handle a request and return its outputs."""
        return self.room.handle(member, 2, request)

    @property
    def lines(self) -> list[str]:
        """What was logged since the last look."""
        lines = self._caplog.messages
        self._caplog.clear()
        return lines

    @property
    def members(self) -> dict[str, Any]:
        """The members of the only line since the last look."""
        (record,) = self._caplog.records
        self._caplog.clear()
        own = vars(logging.makeLogRecord({})).keys() | {"message"}
        return {name: value for name, value in vars(record).items() if name not in own}


def test_coming_and_going(caplog: pytest.LogCaptureFixture) -> None:
    """With the role, the reason and how many are there; nothing else of it is logged at INFO."""
    lab = Lab(caplog)
    ada, _ = lab.room.join("ada", form=FORM)
    bob, _ = lab.room.join("bob leaves", form=FORM, role="agent")
    for request in (Enable(), SetAttributes({"mood": "calm"}), Disable()):
        lab.handle(ada, request)
    bob.departure = "closed with code 1000: see\nyou"
    lab.room.leave(bob)
    assert lab.lines == [
        "lab: ada arrives as user; there are 1",
        "lab: 'bob leaves' arrives as agent; there are 2",
        r"lab: 'bob leaves' leaves: closed with code 1000: see\nyou; there are 1",
    ]
    lab.room.leave(ada)
    assert lab.members == {
        "event": "left",
        "room": "lab",
        "participant": "ada",
        "id": ada.id,
        "reason": "its connection ended",
        "participants": 0,
    }


def test_a_classic_stream(caplog: pytest.LogCaptureFixture) -> None:
    """Its opening, acceptance, rejection and end; its chunks are messages like others."""
    lab = Lab(caplog)
    ada, bob = lab.join("ada", "classic"), lab.join("bob", "classic")
    lab.handle(ada, Send(bob.id, "stream.open", {"stream_id": "0123456789", "header": {}}))
    lab.handle(bob, Send(ada.id, "stream.accept", {"stream_id": "0123456789"}))
    lab.handle(ada, Send(bob.id, "stream.chunk", {"stream_id": "0123456789", "header": {}}))
    lab.handle(ada, Send(bob.id, "stream.close", {"stream_id": "0123456789"}))
    lab.handle(ada, Send(bob.id, "stream.open", {"stream_id": "x y", "header": {}}))
    assert lab.lines == [
        "lab: ada opens stream 01234567 to bob",
        "lab: bob accepts stream 01234567 of ada",
        "lab: ada ends stream 01234567 with bob",
        "lab: ada opens stream 'x y' to bob",
    ]
    lab.handle(bob, Send(ada.id, "stream.reject", {"stream_id": "x y", "error": "no\nway"}))
    assert lab.members == {
        "event": "stream_rejected",
        "room": "lab",
        "participant": "bob",
        "id": bob.id,
        "to": "ada",
        "stream": "x y",
        "reason": r"no\nway",
    }


def test_a_duplex_stream(caplog: pytest.LogCaptureFixture) -> None:
    """The same words; that a close is answered by another one is no event."""
    lab = Lab(caplog)
    ada, bob = lab.join("ada", "duplex"), lab.join("bob", "duplex")
    for id, answer in (("call-one", Control("open")), ("call-two", Error("busy"))):
        lab.handle(ada, OpenCall(id))
        outputs = lab.handle(ada, CallChunk(id, CallMessage("open", {"n": 1}, to=bob.id)))
        (push_id,) = [output.what.push_id for output in outputs if isinstance(output.what, Call)]
        lab.handle(bob, AnswerCall(push_id, answer))
    lab.handle(ada, CallChunk("call-one", Control("close", 1000)))
    assert lab.lines == [
        "lab: ada opens stream call-one to bob",
        "lab: bob accepts stream call-one of ada",
        "lab: ada opens stream call-two to bob",
        "lab: bob rejects stream call-two of ada: busy",
        "lab: ada ends stream call-one with bob",
    ]


def test_a_stream_ends_with_its_end_unless_it_can_go_on(caplog: pytest.LogCaptureFixture) -> None:
    """Of two open ones the resumable one is not said to end; one that was closed is not mentioned again."""
    lab = Lab(caplog)
    ada, bob = lab.join("ada", "classic"), lab.join("bob", "classic")
    for id, own in (("plain", {}), ("lasting", {"meshsync": {"resume": {}}}), ("closed", {})):
        lab.handle(ada, Send(bob.id, "stream.open", {"stream_id": id, "header": {}, **own}))
    lab.handle(ada, Send(bob.id, "stream.close", {"stream_id": "closed"}))
    assert len(lab.lines) == 4
    lab.room.leave(bob)
    assert lab.lines == [
        "lab: bob leaves: its connection ended; there are 1",
        "lab: bob has left, which ends stream plain with ada",
    ]


def test_a_refused_request(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it was; the error's code is its kind."""
    lab = Lab(caplog)
    ada = lab.join("ada")
    lab.handle(ada, Send("nobody", "ask", {}))
    assert lab.members == {
        "event": "refused",
        "room": "lab",
        "participant": "ada",
        "id": ada.id,
        "kind": "1003",
        "request": "send",
        "reason": "the participant was not found",
    }
    lab.handle(ada, Broadcast("participant.enabled", {}))
    lab.handle(ada, SetAttributes({"text": "x" * 70_000}))
    assert lab.lines == [
        "lab: ada is refused its broadcast: error 1002, the type 'participant.enabled' is the room's own",
        "lab: ada is refused its set_attributes: error 1002, attributes of 70024 bytes; at most 65536 are kept",
    ]


def test_messages_are_shown_at_debug_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Each has type, ends, size and the beginning of its body, without secrets; at INFO there is no line."""
    lab = Lab(caplog)
    ada, bob = lab.join("ada"), lab.join("bob")
    ask = Send(bob.id, "ask", {"password": "1234", "n": 1}, b"abc")
    lab.handle(ada, ask)
    lab.handle(ada, Broadcast("news", {}))
    assert lab.lines == []

    caplog.set_level(logging.DEBUG, "simulator.emulator")
    (push, _) = lab.handle(ada, ask)
    assert lab.members == {
        "event": "message",
        "room": "lab",
        "participant": "ada",
        "id": ada.id,
        "request": "send",
        "to": "bob",
        "type": "ask",
        "size": push.size,
        "attachment": 3,
        "body": '{"password": "[hidden]", "n": 1}',
    }
    lab.handle(ada, ask)
    lab.handle(ada, Broadcast("news\n", {"x": "y" * 300}))
    lab.handle(ada, Send("nobody", "ask", {}))
    lab.handle(ada, SetAttributes({"mood": "calm"}))
    lines, body = lab.lines, '{"password": "[hidden]", "n": 1}'
    assert lines[0] == f"lab: ada sends ask to bob, {push.size} bytes, 3 of them attached: {body}"
    assert lines[1].startswith(r"lab: ada sends 'news\n' to all, ")
    assert lines[1].endswith("yyy…")
    assert lines[2] == "lab: ada sends ask to nobody, not passed on: {}"
    assert lines[4] == 'lab: ada requests set_attributes {"mood": "calm"}'


def test_messages_on_calls_are_shown_too(caplog: pytest.LogCaptureFixture) -> None:
    """From their sender to the other end, as what they mean."""
    lab = Lab(caplog, logging.DEBUG)
    ada, bob = lab.join("ada", "duplex"), lab.join("bob", "duplex")
    lab.handle(ada, OpenCall("call"))
    lab.handle(ada, CallChunk("call", CallMessage("open", {"n": 1}, b"abc", to=bob.id)))
    lines = lab.lines
    assert lines[0].startswith("lab: ada requests open_call")
    assert lines[1].startswith("lab: ada sends stream.open to bob, ")
    assert lines[1].endswith(' 3 of them attached: {"stream_id": "call", "header": {"n": 1}}')


def test_a_flood_is_bounded_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """50 a second, with two seconds' worth saved up: of 1000 arrivals at once 100 are logged, departures likewise."""
    lab = Lab(caplog)
    for _ in range(1000):
        member, _ = lab.room.join("mal", form=FORM)
        lab.room.leave(member)
    assert len(lab.lines) == 200
    (report,) = lab.due
    report()
    assert lab.members == {"event": "left_out", "arrived": 900, "left": 900}

    lab.now = 1.0
    for _ in range(1000):
        lab.room.join("mal", form=FORM)
    assert len(lab.lines) == 50
    assert len(lab.due) == 2


def test_streams_and_calls_that_never_end_are_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """Of 5000 that a client opens the log remembers the last 1000."""
    lab = Lab(caplog)
    ada, bob = lab.join("ada", "classic"), lab.join("bob", "classic")
    for number in range(5000):
        lab.handle(ada, Send(bob.id, "stream.open", {"stream_id": f"s{number}", "header": {}}))
    assert len(lab.log._streams) == 1000


def test_an_answer_that_does_not_come(caplog: pytest.LogCaptureFixture) -> None:
    """The room rejects the stream, and says why."""
    lab = Lab(caplog)
    lab.log.expired(lab.join("ada"), "one", "did not answer\nwithin 30 s")
    assert lab.members == {
        "event": "stream_rejected",
        "room": "lab",
        "participant": "",
        "to": "ada",
        "reason": r"did not answer\nwithin 30 s",
    }


def test_what_faults_prevent(caplog: pytest.LogCaptureFixture) -> None:
    """A stream that never reached its recipient, and a request whose sender had left."""
    lab = Lab(caplog, logging.DEBUG)
    ada, bob = lab.join("ada"), lab.join("bob")
    lab.log.withheld(ada, Send(bob.id, "stream.open", {"stream_id": "one"}), "rejected: busy")
    lab.log.lost(ada, Send(bob.id, "ask", {}))
    assert lab.lines == [
        "lab: ada opens stream one to bob, and a fault intervenes: rejected: busy",
        "lab: ada has left before a fault let go of what it asked for: send",
    ]
