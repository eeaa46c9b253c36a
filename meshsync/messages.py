"""What receivers and subscriptions are given: a message, and the event it came with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshsync.errors import InvalidMessage
from meshsync.participants import LocalParticipant, RemoteParticipant

__all__ = ["Buffer", "RoomMessage", "RoomMessageEvent", "as_buffer"]

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class RoomMessage:
    """A message, or what the room or this client has to say in the shape of one."""

    type: str
    message: Mapping[str, Any]
    attachment: bytes = field(default=b"", repr=False)
    """``b""`` for none: the wire cannot tell."""
    from_participant_id: str = ""
    """Empty for what this client says itself."""
    sender: RemoteParticipant | LocalParticipant | None = field(default=None, compare=False)
    """Who sent it, as known when it came; None for somebody unknown."""


@dataclass(frozen=True, slots=True)
class RoomMessageEvent:
    """What every receiver gets.

    By ``name``, its ``message.type`` and ``message.message`` are:

    - ``message``: the sender's own; ``participant`` is the sender.
    - ``participant_added``: ``participant.enabled``, ``{"id", "role", "attributes"}``, also for those already there.
    - ``participant_removed``: ``participant.disabled``, ``{"id"}``; ``participant`` is offline.
    - ``participant_attributes_updated``: ``participant.attributes``, ``{"attributes"}``: the changed ones.
    - ``messaging_enabled``, ``messaging_disabled``: the same with a dot, ``{"participants"}`` and ``{}``.
    - ``stream_opened``, ``stream_closed``: ``stream.open``, ``{"stream_id", "header"}`` and ``stream.close``,
      ``{"stream_id", "reason"}``; ``stream`` is the writer of who opened it, the reader of who accepted it,
      both without what a subclass wraps around them.
    - ``disconnected``: its own name, ``{"reason", "will_retry"}``; ``error``, unless the program closed the client.
    - ``receiver_failed``: its own name, ``{"event", "receiver"}``; ``error``.
    - ``messages_dropped``: its own name, ``{"count"}``.
    """

    name: str
    """The event, such as ``participant_added``."""
    message: RoomMessage
    participant: RemoteParticipant | LocalParticipant | None = None
    """Whom it is about, or who sent the message."""
    stream: Any = None
    """The stream it is about; None for all but the stream events."""
    error: BaseException | None = None
    """What went wrong; None where nothing did."""


def as_buffer(value: Any, name: str) -> Buffer:
    """Return what a program gave as bytes as a flat buffer, empty for None.

    Args:
        name: What to call it in errors, such as ``attachment``.
    Raises:
        InvalidMessage: If it holds no bytes.
    """
    if value is None:
        return b""
    if isinstance(value, (bytes, bytearray)):
        return value
    try:
        view = memoryview(value)
    except TypeError:
        raise InvalidMessage(f"{name}: {type(value).__qualname__} does not hold bytes") from None
    try:
        return view.cast("B")
    except (TypeError, ValueError):  # It has gaps, or items in a byte order or of a kind that cannot be cast.
        return view.tobytes()
