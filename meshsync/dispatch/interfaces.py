"""What the router hands messages to, besides receivers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from meshsync.errors import MeshsyncError
from meshsync.messages import RoomMessage, RoomMessageEvent

__all__ = ["Fed", "Questioning"]


class Fed(Protocol):
    """What gets messages on the reader: a subscription, or a question that a message may answer."""

    def _offer(self, message: RoomMessage[Any], size: int = 0, *, is_kept: bool = False) -> bool: ...
    def _has_room(self, message: RoomMessage[Any], size: int) -> bool: ...
    def _misses(self, sender: str) -> bool: ...
    def _look_again(self) -> None: ...
    def _end(self, cause: MeshsyncError) -> None: ...


class Questioning(Protocol):
    """Questions and answers among the messages, as the router needs them."""

    @property
    def is_listening(self) -> bool:
        """Whether a handler of questions is registered."""

    def take(self, event: RoomMessageEvent, size: int, *, is_kept: bool) -> bool:
        """Take a message on the reader if it is an answer, or a handler is for it; return whether it ends there."""

    def has_room(self, event: RoomMessageEvent, size: int) -> bool:
        """Return whether a message could be kept for its handler, if it has one."""

    def is_bodiless(self, event: RoomMessageEvent) -> bool:
        """Return whether no program wrote the body of a message."""

    def dropped(self, event: RoomMessageEvent) -> None:
        """Note that the hook dropped a message."""

    def handled(self, event: RoomMessageEvent) -> None:
        """Note that the receivers of a question have run."""

    def returned(self, event: RoomMessageEvent, receiver: Callable[..., object]) -> None:
        """Note that a receiver returned an object, as a handler of questions does."""

    def refused(self, event: RoomMessageEvent, reason: str) -> None:
        """Note that the body of a message is not what its receiver's model says."""

    def failed(self, event: RoomMessageEvent, error: BaseException) -> str | None:
        """Note that a receiver raised; return a note for the log, or None where there is nothing to log."""

    def end(self) -> None:
        """Hand out no questions any more."""
