"""A room that does wrong as it is told, and reports what happens in it.

It adds to `Room` what a fault plan can ask of a room: streams rejected, requests answered with an error, or late; and
acknowledgements that wait for delivery. Who asks for it, and when, is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random
from typing import Protocol

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
from simulator.faults import kinds
from simulator.room.call_ends import OPEN
from simulator.room.calls import NOT_FOUND, Later
from simulator.room.members import EMPTY, Member, Output, Presence, Rights, reply
from simulator.room.rules import Room

__all__ = ["ACKNOWLEDGEMENTS", "CONDITIONS", "FaultyRoom", "Watcher"]

CONDITIONS = (kinds.RejectStreams, kinds.DelayAccept, kinds.ErrorReplies, kinds.LateReplies)
"""The faults that are a room's."""

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


class FaultyRoom(Room):
    """A room with conditions in force.

    Args:
        watcher: Told what happens, before anything of it goes out.
        in_force: The conditions that hold, in the order in which they struck; its owner changes it.
        later: Has outputs routed after so many seconds.
        stream: Returns the random stream of a purpose.
        acknowledge: One of `ACKNOWLEDGEMENTS`. Broadcasts are acknowledged when routed in either case.
    """

    def __init__(
        self,
        name: str,
        *,
        url: str,
        new_id: Callable[[str], str],
        watcher: Watcher,
        in_force: Sequence[kinds.Fault],
        later: Later,
        stream: Callable[[str], Random],
        acknowledge: str = "routed",
    ) -> None:
        if acknowledge not in ACKNOWLEDGEMENTS:
            raise ValueError(f"acknowledge must be one of {', '.join(ACKNOWLEDGEMENTS)}, not {acknowledge!r}")
        super().__init__(name, url=url, ids=lambda: new_id(self._joining), later=later)
        self._joining = ""
        self._in_force = in_force
        self._watcher = watcher
        self._later = later
        self._stream = stream
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
        """Let somebody in; see `Room.join`."""
        # Ids follow from the name, so that one participant less leaves the others' alone.
        self._joining = name
        member, greeting = super().join(name, form=form, role=role, rights=rights, version=version)
        self._watcher.joined(member)
        return member, greeting

    def leave(self, member: Member) -> list[Output]:
        """Take note of an end; see `Room.leave`."""
        outputs = super().leave(member)
        self._watcher.left(member)
        return outputs

    def handle(self, member: Member, request_id: int, request: Request) -> list[Output]:
        """Return what follows from a request, as far as no fault is in the way; see `Room.handle`."""
        sent_ns = self._watcher.received(member)
        for fault in self._in_force:
            outputs = self._intervene(fault, member, sent_ns, request_id, request)
            if outputs is not None:
                return self._hold_back(outputs)
        return self._hold_back(self._handle(member, sent_ns, request_id, request))

    def _handle(self, member: Member, sent_ns: int, request_id: int, request: Request) -> list[Output]:
        outputs = super().handle(member, request_id, request)
        self._watcher.handled(member, sent_ns, request, outputs)
        # (A message that was translated for another kind of stream is acknowledged when routed, in front of it.)
        if self._waits_for_delivery and isinstance(request, Send) and isinstance(outputs[0].what, Push):
            push, acknowledgement = outputs
            self._unacknowledged[push.id] = (member, acknowledgement)
            return [push]
        return outputs

    def settle(self, push_id: int, is_delivered: bool) -> None:
        """Take note that a push has come to the end of its way; its sender is told, if that waits for it."""
        member, acknowledgement = self._unacknowledged.pop(push_id, (None, None))
        if member is not None and acknowledgement is not None:
            answer = acknowledgement if is_delivered else reply(member, acknowledgement.id, NOT_FOUND)
            # Whoever tells this must not be called back: it is in the midst of a packet.
            self._later(0, lambda: self._hold_back([answer]))

    def _hold_back(self, outputs: list[Output]) -> list[Output]:
        """Return what goes out now, and see to the replies that are to be late."""
        delays: dict[str, float] = {}
        for fault in self._in_force:
            if isinstance(fault, kinds.LateReplies):
                delays[fault.name] = delays.get(fault.name, 0) + fault.seconds
        if not delays:
            return outputs
        now: list[Output] = []
        for output in outputs:
            delay = delays.get(output.to[0].name, 0) if isinstance(output.what, Reply) else 0
            if delay:
                self._later(delay, partial(_only, output))
            else:
                now.append(output)
        return now

    def _intervene(
        self, fault: kinds.Fault, member: Member, sent_ns: int, request_id: int, request: Request
    ) -> list[Output] | None:
        """Return what follows instead of what would, or None if the fault is not about this request."""
        match fault:
            # What is not answered cannot be answered with an error.
            case kinds.ErrorReplies(name, code, rate) if name == member.name and is_answered(request):
                if kinds.happens(rate, self._stream(f"error_replies/{name}")):
                    outputs = [reply(member, request_id, Error("a fault of this simulation", code))]
                    self._watcher.handled(member, sent_ns, request, outputs)
                    return outputs
            case kinds.RejectStreams(name, reason, rate) if isinstance(request, Send):
                target = self._enabled.get(request.to)
                is_meant = target is not None and target.name == name and request.type == "stream.open"
                if not is_meant or target is None or member.presence is not Presence.ENABLED:
                    return None
                if kinds.happens(rate, self._stream(f"reject_streams/{name}")):
                    return self._reject(member, request_id, request, target, reason)
            case kinds.RejectStreams(name, reason, rate) if isinstance(request, CallChunk):
                content = request.content
                target = self._enabled.get(content.to) if isinstance(content, CallMessage) else None
                if target is None or target.name != name or not isinstance(content, CallMessage):
                    return None
                if kinds.happens(rate, self._stream(f"reject_streams/{name}")):
                    offer = Send(target.id, "stream.open", {"stream_id": request.call_id, "header": content.message})
                    self._watcher.withheld(member, offer, f"rejected: {reason}")
                    refusal = self._calls.refuse(member, request.call_id, Error(reason))
                    return [reply(member, request_id, EMPTY), *refusal]
            case kinds.DelayAccept(name, delay) if name == member.name and isinstance(request, (Send, AnswerCall)):
                is_acceptance = request.content == OPEN if isinstance(request, AnswerCall) else False
                if is_acceptance or (isinstance(request, Send) and request.type == "stream.accept"):
                    seconds = delay.draw(self._stream(f"delay_accept/{name}"))
                    self._later(seconds, lambda: self._accept_late(member, sent_ns, request_id, request))
                    return []
        return None

    def _reject(self, member: Member, request_id: int, request: Send, target: Member, reason: str) -> list[Output]:
        # As if the recipient had: its offer never reaches it, and the opener learns why.
        self._watcher.withheld(member, request, f"rejected: {reason}")
        body = {"stream_id": request.message.get("stream_id"), "error": reason}
        rejection = self._push((member,), Push(target.id, "stream.reject", body))
        self._watcher.handled(target, None, Send(member.id, "stream.reject", body), [rejection])
        return [reply(member, request_id, EMPTY), rejection]

    def _accept_late(self, member: Member, sent_ns: int, request_id: int, request: Send | AnswerCall) -> list[Output]:
        if member.presence is Presence.GONE:
            self._watcher.lost(member, request)
            return []
        return self._handle(member, sent_ns, request_id, request)


def _only(output: Output) -> list[Output]:
    return [output]
