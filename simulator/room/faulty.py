"""A room that does wrong as it is told, and reports what happens in it.

It adds to `Room` what a fault plan can ask of a room: streams rejected, requests answered with an error, or late. Who
asks for it, and when, is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Protocol

from meshsync.protocol.content import Empty, Error
from meshsync.protocol.dialects import GreetingForm, Push, Reply, Request, Send
from simulator.network import mishaps
from simulator.room.rules import Member, Output, Rights, Room, reply

__all__ = ["CONDITIONS", "FaultyRoom", "Watcher"]

CONDITIONS = (mishaps.RejectStreams, mishaps.DelayAccept, mishaps.ErrorReplies, mishaps.LateReplies)
"""The faults that are a room's."""


class Watcher(Protocol):
    """Whom a room tells what happens in it."""

    def joined(self, member: Member) -> None: ...
    def left(self, member: Member) -> None: ...
    def handled(self, member: Member, request: Request, outputs: Iterable[Output]) -> None: ...


class FaultyRoom(Room):
    """A room with conditions in force.

    Args:
        later: Has outputs routed after so many seconds.
        stream: Returns the random stream of a purpose.
    """

    def __init__(
        self,
        name: str,
        *,
        url: str,
        ids: Callable[[], str],
        watcher: Watcher,
        later: Callable[[float, Callable[[], Iterable[Output]]], None],
        stream: Callable[[str], Random],
        acknowledge: str = "routed",
    ) -> None:
        super().__init__(name, url=url, ids=ids, acknowledge=acknowledge)
        self.in_force: list[mishaps.Fault] = []
        """The conditions that hold, in the order in which they struck."""
        self._watcher = watcher
        self._later = later
        self._stream = stream

    def join(
        self, name: str, *, form: GreetingForm, role: str = "user", rights: Rights | None = None
    ) -> tuple[Member, list[Output]]:
        """Let somebody in; see `Room.join`."""
        member, greeting = super().join(name, form=form, role=role, rights=rights)
        self._watcher.joined(member)
        return member, greeting

    def leave(self, member: Member) -> list[Output]:
        """Take note of an end; see `Room.leave`."""
        outputs = super().leave(member)
        self._watcher.left(member)
        return outputs

    def handle(self, member: Member, request_id: int, request: Request) -> list[Output]:
        """Return what follows from a request, as far as no fault is in the way; see `Room.handle`."""
        if not self.in_force:
            return self._handle(member, request_id, request)
        for fault in self.in_force:
            outputs = self._intervene(fault, member, request_id, request)
            if outputs is not None:
                return outputs
        outputs = self._handle(member, request_id, request)
        for fault in self.in_force:
            if isinstance(fault, mishaps.LateReplies) and fault.name == member.name:
                replies = [output for output in outputs if isinstance(output.what, Reply)]
                outputs = [output for output in outputs if not isinstance(output.what, Reply)]
                if replies:
                    self._later(fault.seconds, lambda late=replies: late)  # type: ignore[misc]
        return outputs

    def _handle(self, member: Member, request_id: int, request: Request) -> list[Output]:
        outputs = super().handle(member, request_id, request)
        self._watcher.handled(member, request, outputs)
        return outputs

    def _intervene(
        self, fault: mishaps.Fault, member: Member, request_id: int, request: Request
    ) -> list[Output] | None:
        """Return what follows instead of what would, or None if the fault is not about this request."""
        match fault:
            case mishaps.ErrorReplies(name, code, rate) if name == member.name:
                if mishaps.happens(rate, self._stream(f"error_replies/{name}")):
                    outputs = [reply(member, request_id, Error("a fault of this simulation", code))]
                    self._watcher.handled(member, request, outputs)
                    return outputs
            case mishaps.RejectStreams(name, reason, rate) if isinstance(request, Send):
                target = self._enabled.get(request.to)
                if target is None or target.name != name or request.type != "stream.open":
                    return None
                if mishaps.happens(rate, self._stream(f"reject_streams/{name}")):
                    return self._reject(member, request_id, request, target, reason)
            case mishaps.DelayAccept(name, delay) if name == member.name and isinstance(request, Send):
                if request.type == "stream.accept":
                    seconds = delay.draw(self._stream(f"delay_accept/{name}"))
                    self._later(seconds, lambda: self._handle(member, request_id, request))
                    return []
        return None

    def _reject(self, member: Member, request_id: int, request: Send, target: Member, reason: str) -> list[Output]:
        # As if the recipient had: its offer never reaches it, and the opener learns why.
        acknowledgement = reply(member, request_id, Empty())
        self._watcher.handled(member, request, [acknowledgement])
        body = {"stream_id": request.message.get("stream_id"), "error": reason}
        rejection = self._push((member,), Push(target.id, "stream.reject", body))
        self._watcher.handled(target, Send(member.id, "stream.reject", body), [rejection])
        return [acknowledgement, rejection]
