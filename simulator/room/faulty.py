"""A room under faults, which reports its events to a `Watcher`.

It wraps a `Room`: each lasting fault in force gives a verdict on each request, and the first verdict but `PASS` is
carried out; replies may be late; acknowledgements may wait for delivery. What each kind of fault decides, and when one
is in force, is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from meshsync.errors import UsageError
from meshsync.protocol.content import Error
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
from meshsync.reasons import safe_text
from simulator.faults.asking import ask
from simulator.faults.layers import Chance, Fail, Pass, Postpone, RejectOffer, RoomFault
from simulator.room.call_ends import OPEN
from simulator.room.calls import NOT_FOUND, Later
from simulator.room.members import EMPTY, Member, Output, Presence, reply
from simulator.room.passages import Kept, Passages
from simulator.room.rules import Room
from simulator.room.watched import WatchedRoom, Watcher

__all__ = ["ACKNOWLEDGEMENTS", "FaultyRoom"]

ACKNOWLEDGEMENTS = ("routed", "delivered")
"""When a message to one participant is acknowledged: once it is in the recipient's queue, or once it has arrived."""


@dataclass(frozen=True, slots=True)
class _RoomRequest:
    """A request that the room is about to handle, for faults and for the room."""

    member: Member
    id: int
    content: Request
    sent_ns: int
    target: Member | None
    """The participant that it offers a stream to; None if it offers none that would be passed on."""

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


class FaultyRoom(WatchedRoom):
    """A room with lasting faults in force.

    Args:
        room: The room, which may have participants.
        watcher: Notified of each event, before any of its outputs goes out.
        in_force: The lasting faults that are in force, in the order in which they struck; its owner changes it.
        later: Routes outputs after a delay in seconds.
        chance: Returns the random stream of a purpose.
        acknowledge: One of `ACKNOWLEDGEMENTS`. Broadcasts are acknowledged when routed in either case.
        region_of: Returns the region of a participant, by its name; None if it has none.
        new_id: Returns a new id for a participant of that name; the room's own ids if None.
    Raises:
        ValueError: If ``acknowledge`` is neither.
    """

    _room: Room

    def __init__(
        self,
        room: Room,
        *,
        watcher: Watcher,
        in_force: Sequence[RoomFault],
        later: Later,
        chance: Chance,
        acknowledge: str = "routed",
        new_id: Callable[[str], str] | None = None,
        region_of: Callable[[str], str | None] = lambda name: None,
    ) -> None:
        if acknowledge not in ACKNOWLEDGEMENTS:
            raise ValueError(f"acknowledge must be one of {', '.join(ACKNOWLEDGEMENTS)}, not {acknowledge!r}")
        super().__init__(room, watcher)
        self._new_id = new_id
        self._in_force = in_force
        self._later = later
        self._chance = chance
        self._waits_for_delivery = acknowledge == "delivered"
        self._unacknowledged: dict[int, tuple[Member, Output]] = {}
        """By the id of the push, its sender and the acknowledgement that waits for it."""
        self._passages = Passages(in_force, watcher, partial(self.settle, is_delivered=False), region_of)

    def _admit(self, name: str, **options: Any) -> tuple[Member, list[Output]]:
        # Ids are derived from the name, so that one participant less leaves the other ids as they are.
        ids = None if self._new_id is None else partial(self._new_id, name)
        return self._room.join(name, ids=ids, **options)

    def handle(self, member: Member, request_id: int, request: Request) -> list[Output]:
        """Return the outputs of a request, unless a fault prevents them; see `Room.handle`."""
        sent_ns = self._watcher.received(member)
        if not self._in_force:
            return self._handle(member, sent_ns, request_id, request)
        asked = _RoomRequest(member, request_id, request, sent_ns, self._target(member, request))
        return self._hold_back(self._judge(asked))

    def _judge(self, asked: _RoomRequest) -> list[Output]:
        """Carry out the first verdict on a request that is not `PASS`."""
        for fault in self._in_force:
            match ask(RoomFault.on_request, fault, asked, self._chance):
                case Pass():
                    continue
                case Postpone(seconds):
                    self._later(seconds, partial(self._handle_late, asked))
                    return []
                case Fail(code, text):
                    if not asked.is_answered:
                        raise UsageError(f"{fault.word}: a request that is not answered cannot fail")
                    outputs = [reply(asked.member, asked.id, Error(safe_text(text), code))]
                    self._watcher.handled(asked.member, asked.sent_ns, asked.content, outputs)
                    return outputs
                case RejectOffer(reason):
                    if asked.target is None:
                        raise UsageError(f"{fault.word}: only a request that offers a stream can be rejected")
                    return self._reject(asked, asked.target, safe_text(reason))
        return self._handle(asked.member, asked.sent_ns, asked.id, asked.content)

    def leave(self, member: Member) -> list[Output]:
        """Remove a participant; see `Room.leave`. What is held for it is lost."""
        self._passages.forget(member)
        return super().leave(member)

    def release(self) -> list[Output]:
        """Return what no fault withholds from its recipient any more."""
        return self._hold_back(self._passages.release())

    def _handle(self, member: Member, sent_ns: int, request_id: int, request: Request) -> list[Output]:
        outputs = self._room.handle(member, request_id, request)
        kept: Sequence[Kept] = ()
        if self._in_force and self._passages.is_watched:
            outputs, kept = self._passages.sift(member, outputs)
        self._watcher.handled(member, sent_ns, request, outputs)
        # (A message translated for another kind of stream is acknowledged when routed, ahead of its push.)
        if self._waits_for_delivery and isinstance(request, Send) and isinstance(outputs[0].what, Push):
            push, acknowledgement = outputs
            self._unacknowledged[push.id] = (member, acknowledgement)
            outputs = [push]
        if kept:
            self._passages.keep(member, sent_ns, request, kept)
            outputs = [output for output in outputs if output.to]
        return outputs

    def _handle_late(self, asked: _RoomRequest) -> list[Output]:
        if asked.member.presence is Presence.GONE:
            self._watcher.lost(asked.member, asked.content)
            return []
        return self._handle(asked.member, asked.sent_ns, asked.id, asked.content)

    def settle(self, push_id: int, is_delivered: bool) -> None:
        """Acknowledge a push that was delivered or lost, if its sender waits for that."""
        member, acknowledgement = self._unacknowledged.pop(push_id, (None, None))
        if member is not None and acknowledgement is not None:
            answer = acknowledgement if is_delivered else reply(member, acknowledgement.id, NOT_FOUND)
            # The caller is in the midst of a packet and must not be called back.
            self._later(0, lambda: self._hold_back([answer]))

    def _hold_back(self, outputs: list[Output]) -> list[Output]:
        """Return the outputs that go out now, and schedule the late replies."""
        now: list[Output] = []
        for output in outputs:
            delay = self._delay(output.to[0].name) if isinstance(output.what, Reply) else 0
            if delay:
                self._later(delay, partial(_only, output))
            else:
                now.append(output)
        return now

    def _delay(self, name: str) -> float:
        """Return the delay of a reply to a participant, in seconds: delays add up."""
        verdicts = [ask(RoomFault.on_reply, fault, name) for fault in self._in_force]
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
        # As if the recipient had: the offer never reaches it, and the opener gets the reason.
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
