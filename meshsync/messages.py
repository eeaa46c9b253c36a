"""A message, and the event it came with, as receivers and subscriptions get them."""

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
    """A message, or a notice of the room or this client in the shape of one."""

    type: str
    message: Mapping[str, Any]
    attachment: bytes = field(default=b"", repr=False)
    """``b""`` for none: equal on the wire."""
    from_participant_id: str = ""
    """Empty for this client's own notices."""
    sender: RemoteParticipant | LocalParticipant | None = field(default=None, compare=False)
    """The sender, as known when it came; None if unknown."""


@dataclass(frozen=True, slots=True)
class RoomMessageEvent:
    """The argument of every receiver.

    By ``name``, its ``message.type`` and ``message.message`` are:

    - ``message``: the sender's own; ``participant`` is the sender.
    - ``participant_added``: ``participant.enabled``, ``{"id", "role", "attributes"}``, also for those already there.
    - ``participant_removed``: ``participant.disabled``, ``{"id"}``; ``participant`` is offline.
    - ``participant_attributes_updated``: ``participant.attributes``, ``{"attributes"}``: the changed ones.
    - ``messaging_enabled``, ``messaging_disabled``: the same with a dot, ``{"participants"}`` and ``{}``.
    - ``stream_opened``, ``stream_closed``: ``stream.open``, ``{"stream_id", "header"}`` and ``stream.close``,
      ``{"stream_id", "reason"}``; ``stream`` is the opener's writer or the acceptor's reader,
      both without a subclass's wrapping.
    - ``disconnected``: its own name, ``{"reason", "will_retry"}``; ``error``, unless the program closed the client.
    - ``receiver_failed``: its own name, ``{"event", "receiver"}``; ``error``.
    - ``messages_dropped``: its own name, ``{"count"}``.
    """

    name: str
    """The event, such as ``participant_added``."""
    message: RoomMessage
    participant: RemoteParticipant | LocalParticipant | None = None
    """Its subject, or the sender of the message."""
    stream: Any = None
    """The stream it is about; None for all but the stream events."""
    error: BaseException | None = None
    """The failure; None where there is none."""


def as_buffer(value: Any, name: str) -> Buffer:
    """Return a program's bytes as a flat buffer, empty for None.

    Args:
        name: Its name in errors, such as ``attachment``.
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
