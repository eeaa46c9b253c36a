"""A room that reports its events, for records, logs and faults that follow an event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from meshsync.protocol.greeting import GreetingForm
from meshsync.protocol.operations import Request, Send
from simulator.room.members import Member, Output, Rights
from simulator.room.seat import RoomRules

__all__ = ["WatchedRoom", "Watcher", "Watchers"]


class Watcher(Protocol):
    """The object that a room notifies of its events."""

    def joined(self, member: Member) -> None: ...
    def left(self, member: Member) -> None: ...
    def received(self, member: Member) -> int:
        """Note that a request is about to be handled; return when it was sent, in nanoseconds of virtual time."""
        ...

    def handled(self, member: Member, sent_ns: int | None, request: Request, outputs: Iterable[Output]) -> None:
        """Note the outputs of a request that was sent at ``sent_ns``, now if that is None.

        One without a recipient was kept from all of them; what becomes of it is reported later.
        """
        ...

    def withheld(self, member: Member, request: Send, outcome: str) -> None:
        """Note that a stream was rejected before it was offered to its recipient."""
        ...

    def lost(self, member: Member, request: Request) -> None:
        """Note that a request was held back until its sender had left."""
        ...

    def expired(self, opener: Member, stream_id: str, reason: str) -> None:
        """Note that the room rejects a stream by itself, since its recipient did not answer in time."""
        ...

    def released(self, member: Member, sent_ns: int, request: Request, output: Output) -> None:
        """Note that what followed from a request, and was kept from one recipient, goes out to it now."""
        ...

    def blocked(self, member: Member, request: Request, output: Output) -> None:
        """Note that what followed from a request never reaches one recipient."""
        ...


class Watchers:
    """Several watchers as one. The times of requests are those of the first."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = tuple(watchers)

    def joined(self, member: Member) -> None:
        """Notify all; so do the methods below."""
        for watcher in self._watchers:
            watcher.joined(member)

    def left(self, member: Member) -> None:
        for watcher in self._watchers:
            watcher.left(member)

    def received(self, member: Member) -> int:
        first, *_ = [watcher.received(member) for watcher in self._watchers]
        return first

    def handled(self, member: Member, sent_ns: int | None, request: Request, outputs: Iterable[Output]) -> None:
        outputs = tuple(outputs)
        for watcher in self._watchers:
            watcher.handled(member, sent_ns, request, outputs)

    def withheld(self, member: Member, request: Send, outcome: str) -> None:
        for watcher in self._watchers:
            watcher.withheld(member, request, outcome)

    def lost(self, member: Member, request: Request) -> None:
        for watcher in self._watchers:
            watcher.lost(member, request)

    def expired(self, opener: Member, stream_id: str, reason: str) -> None:
        for watcher in self._watchers:
            watcher.expired(opener, stream_id, reason)

    def released(self, member: Member, sent_ns: int, request: Request, output: Output) -> None:
        for watcher in self._watchers:
            watcher.released(member, sent_ns, request, output)

    def blocked(self, member: Member, request: Request, output: Output) -> None:
        for watcher in self._watchers:
            watcher.blocked(member, request, output)


class WatchedRoom:
    """A room that notifies a `Watcher` of its events."""

    def __init__(self, room: RoomRules, watcher: Watcher) -> None:
        self._room = room
        self._watcher = watcher

    def join(
        self,
        name: str,
        *,
        form: GreetingForm,
        role: str = "user",
        rights: Rights | None = None,
        version: str | None = None,
    ) -> tuple[Member, list[Output]]:
        """Add a participant; see `Room.join`."""
        member, greeting = self._admit(name, form=form, role=role, rights=rights, version=version)
        self._watcher.joined(member)
        return member, greeting

    def _admit(self, name: str, **options: Any) -> tuple[Member, list[Output]]:
        return self._room.join(name, **options)

    def leave(self, member: Member) -> list[Output]:
        """Remove a participant; see `Room.leave`."""
        outputs = self._room.leave(member)
        self._watcher.left(member)
        return outputs

    def handle(self, member: Member, request_id: int, request: Request) -> list[Output]:
        """Return what follows from a request; see `Room.handle`."""
        sent_ns = self._watcher.received(member)
        outputs = self._room.handle(member, request_id, request)
        self._watcher.handled(member, sent_ns, request, outputs)
        return outputs
