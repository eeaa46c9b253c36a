"""A room that does wrong as it is told, and reports what happens in it.

It stands around a `Room`: each request goes through the lasting faults in force, which give verdicts on it, and the
first one but `PASS` is carried out; replies may be late; acknowledgements may wait for delivery. What each kind of
fault decides, and when one is in force, is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from meshsync.errors import UsageError
from meshsync.protocol.content import Error
from meshsync.protocol.greeting import GreetingForm
from meshsync.protocol.operations import (
    AnswerCall,
    CallChunk,
    CallMessage,
    Push,
    Reply,
    Request,
    Send,
    is_answered,
)
from simulator.faults.layers import Chance, Fail, Pass, Postpone, RejectOffer, RoomFault
from simulator.room.call_ends import OPEN
from simulator.room.calls import NOT_FOUND, Later
from simulator.room.members import EMPTY, Member, Output, Presence, Rights, reply
from simulator.room.rules import Room

__all__ = ["ACKNOWLEDGEMENTS", "FaultyRoom", "Watcher"]

ACKNOWLEDGEMENTS = ("routed", "delivered")
"""When a message to one participant is acknowledged: when it is in the recipient's queue, or when it has arrived."""


class Watcher(Protocol):
    """Whom a room tells what happens in it."""

    def joined(self, member: Member) -> None: ...
    def left(self, member: Member) -> None: ...
    def received(self, member: Member) -> int:
        """Note that a request is about to be handled; return when it was sent, in nanoseconds."""
        ...

    def handled(self, member: Member, sent_ns: int | None, request: Request, outputs: Iterable[Output]) -> None:
        """Note what follows from a request that was sent then, or now if that is None."""
        ...

    def withheld(self, member: Member, request: Send, outcome: str) -> None:
        """Note that a stream was rejected before its recipient heard of it."""
        ...

    def lost(self, member: Member, request: Request) -> None:
        """Note that a request was held back until its sender was gone."""
        ...


@dataclass(frozen=True, slots=True)
class _RoomRequest:
    """A request that the room is about to handle, as faults see it, and as the room does."""

    member: Member
    id: int
    content: Request
    sent_ns: int
    target: Member | None
    """The participant to whom it offers a stream, if it offers one that would be passed on."""

    @property
    def sender(self) -> str:
        return self.member.name

    @property
    def is_answered(self) -> bool:
        return is_answered(self.content)

    @property
    def is_acceptance(self) -> bool:
        match self.content:
            case AnswerCall(_, content):
                return content == OPEN
            case Send(_, type):
                return type == "stream.accept"
        return False

    @property
    def offered_to(self) -> str | None:
        return None if self.target is None else self.target.name


class FaultyRoom:
    """A room with lasting faults in force.

    Args:
        watcher: Told what happens, before anything of it goes out.
        in_force: The lasting faults that are in force, in the order in which they struck; its owner changes it.
        later: Has outputs routed after so many seconds.
        chance: Returns the random stream of a purpose.
        acknowledge: One of `ACKNOWLEDGEMENTS`. Broadcasts are acknowledged when routed in either case.
    """

    def __init__(
        self,
        name: str,
        *,
        url: str,
        new_id: Callable[[str], str],
        watcher: Watcher,
        in_force: Sequence[RoomFault],
        later: Later,
        chance: Chance,
        acknowledge: str = "routed",
    ) -> None:
        if acknowledge not in ACKNOWLEDGEMENTS:
            raise ValueError(f"acknowledge must be one of {', '.join(ACKNOWLEDGEMENTS)}, not {acknowledge!r}")
        self._joining = ""
        self._room = Room(name, url=url, ids=lambda: new_id(self._joining), later=later)
        self._in_force = in_force
        self._watcher = watcher
        self._later = later
        self._chance = chance
        self._waits_for_delivery = acknowledge == "delivered"
        self._unacknowledged: dict[int, tuple[Member, Output]] = {}
        """By the id of the push, its sender and the acknowledgement that waits for it."""

    def join(
        self,
        name: str,
        *,
        form: GreetingForm,
        role: str = "user",
        rights: Rights | None = None,
        version: str | None = None,
    ) -> tuple[Member, list[Output]]:
        """Let a participant in; see `Room.join`."""
        # Ids follow from the name, so that one participant less leaves the others' alone.
        self._joining = name
        member, greeting = self._room.join(name, form=form, role=role, rights=rights, version=version)
        self._watcher.joined(member)
        return member, greeting

    def leave(self, member: Member) -> list[Output]:
        """Take note of an end; see `Room.leave`."""
        outputs = self._room.leave(member)
        self._watcher.left(member)
        return outputs

    def handle(self, member: Member, request_id: int, request: Request) -> list[Output]:
        """Return what follows from a request, as far as no fault is in the way; see `Room.handle`."""
        sent_ns = self._watcher.received(member)
        if not self._in_force:
            return self._handle(member, sent_ns, request_id, request)
        asked = _RoomRequest(member, request_id, request, sent_ns, self._target(member, request))
        return self._hold_back(self._judge(asked))

    def _judge(self, asked: _RoomRequest) -> list[Output]:
        """Carry out the first verdict on a request that is not to pass it on."""
        for fault in self._in_force:
            match fault.on_request(asked, self._chance):
                case Pass():
                    continue
                case Postpone(seconds):
                    self._later(seconds, partial(self._handle_late, asked))
                    return []
                case Fail(code, text):
                    if not asked.is_answered:
                        raise UsageError(f"{fault.word}: a request that is not answered cannot fail")
                    outputs = [reply(asked.member, asked.id, Error(text, code))]
                    self._watcher.handled(asked.member, asked.sent_ns, asked.content, outputs)
                    return outputs
                case RejectOffer(reason):
                    if asked.target is None:
                        raise UsageError(f"{fault.word}: only a request that offers a stream can be rejected")
                    return self._reject(asked, asked.target, reason)
        return self._handle(asked.member, asked.sent_ns, asked.id, asked.content)

    def _handle(self, member: Member, sent_ns: int, request_id: int, request: Request) -> list[Output]:
        outputs = self._room.handle(member, request_id, request)
        self._watcher.handled(member, sent_ns, request, outputs)
        # (A message that was translated for another kind of stream is acknowledged when routed, in front of it.)
        if self._waits_for_delivery and isinstance(request, Send) and isinstance(outputs[0].what, Push):
            push, acknowledgement = outputs
            self._unacknowledged[push.id] = (member, acknowledgement)
            return [push]
        return outputs

    def _handle_late(self, asked: _RoomRequest) -> list[Output]:
        if asked.member.presence is Presence.GONE:
            self._watcher.lost(asked.member, asked.content)
            return []
        return self._handle(asked.member, asked.sent_ns, asked.id, asked.content)

    def settle(self, push_id: int, is_delivered: bool) -> None:
        """Take note that a push has come to the end of its way; its sender is told, if that waits for it."""
        member, acknowledgement = self._unacknowledged.pop(push_id, (None, None))
        if member is not None and acknowledgement is not None:
            answer = acknowledgement if is_delivered else reply(member, acknowledgement.id, NOT_FOUND)
            # Whoever tells this must not be called back: it is in the midst of a packet.
            self._later(0, lambda: self._hold_back([answer]))

    def _hold_back(self, outputs: list[Output]) -> list[Output]:
        """Return what goes out now, and see to the replies that are to be late."""
        now: list[Output] = []
        for output in outputs:
            delay = self._delay(output.to[0].name) if isinstance(output.what, Reply) else 0
            if delay:
                self._later(delay, partial(_only, output))
            else:
                now.append(output)
        return now

    def _delay(self, name: str) -> float:
        """Return by how many seconds a reply to a participant is late: delays add up."""
        verdicts = [fault.on_reply(name) for fault in self._in_force]
        return sum(verdict.seconds for verdict in verdicts if isinstance(verdict, Postpone))

    # --- rejecting streams --------------------------------------------------------------------------------------------

    def _target(self, member: Member, request: Request) -> Member | None:
        match request:
            case Send(to, "stream.open") if member.presence is Presence.ENABLED:
                return self._room.find(to)
            case CallChunk(_, CallMessage() as first):
                return self._room.find(first.to)
        return None

    def _reject(self, asked: _RoomRequest, target: Member, reason: str) -> list[Output]:
        # As if the recipient had: the offer never reaches it, and the opener learns why.
        member, request = asked.member, asked.content
        acknowledgement = reply(member, asked.id, EMPTY)
        outcome = f"rejected: {reason}"
        if isinstance(request, CallChunk) and isinstance(request.content, CallMessage):
            body = {"stream_id": request.call_id, "header": request.content.message}
            self._watcher.withheld(member, Send(target.id, "stream.open", body), outcome)
            return [acknowledgement, *self._room.refuse_call(member, request.call_id, Error(reason))]
        assert isinstance(request, Send)
        self._watcher.withheld(member, request, outcome)
        answer = {"stream_id": request.message.get("stream_id"), "error": reason}
        rejection = self._room.push(member, Push(target.id, "stream.reject", answer))
        self._watcher.handled(target, None, Send(member.id, "stream.reject", answer), [rejection])
        return [acknowledgement, rejection]


def _only(output: Output) -> list[Output]:
    return [output]
