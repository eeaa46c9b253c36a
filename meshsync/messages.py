"""A message, and the event it came with, as receivers and subscriptions get them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from meshsync.errors import InvalidMessage, MeshsyncError
from meshsync.hints import HintedData, bytes_hint
from meshsync.participants import LocalParticipant, RemoteParticipant
from meshsync.protocol.envelopes import copy_json
from meshsync.reasons import describe_error

__all__ = ["Buffer", "RoomMessage", "RoomMessageEvent", "as_buffer"]

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class RoomMessage(HintedData):
    """A message, or a notice of the room or this client in the shape of one.

    It is data: it can be pickled, copied deeply and turned into a dict. For a JSON text of all of it, the attachment
    needs a form, as in ``json.dumps(dataclasses.asdict(message), default=bytes.hex)``.
    """

    type: str
    message: Mapping[str, Any]
    """A JSON object, a plain dict: each receiver and each subscription has its own, and may change it."""
    attachment: bytes = field(default=b"", repr=False)
    """``b""`` for none: equal on the wire."""
    from_participant_id: str = ""
    """Empty for this client's own notices."""
    sender: RemoteParticipant | LocalParticipant | None = field(default=None, compare=False)
    """The sender, as known when it came; None if unknown."""

    def _repr_html_(self) -> str:
        from meshsync.notebook import message_html  # Programs need it in notebooks alone.

        return message_html(self)

    def _copied(self) -> RoomMessage:
        """Return the same message with a body of its own."""
        body = self.message
        if isinstance(body, Mapping):  # A subclass's hook may put something else there.
            body = copy_json(body if isinstance(body, dict) else dict(body))
        if type(self) is not RoomMessage:
            return replace(self, message=body)
        return RoomMessage(self.type, body, self.attachment, self.from_participant_id, self.sender)


@dataclass(frozen=True, slots=True)
class RoomMessageEvent(HintedData):
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
    - ``messages_missed``: its own name, ``{"from", "count"}``: confirmed messages that their sender, ``participant``,
      gave up before they came.

    It is data as its message is. A pickle or a deep copy holds participants as they were then, and no stream.
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

    def _repr_html_(self) -> str:
        from meshsync.notebook import event_html  # As above.

        return event_html(self)

    def _copied(self) -> RoomMessageEvent:
        """Return the same event with a body of its own."""
        return RoomMessageEvent(self.name, self.message._copied(), self.participant, self.stream, self.error)

    def __reduce__(self) -> tuple[Callable[..., RoomMessageEvent], tuple[object, ...]]:
        # A stream is live: neither another process nor a copy can have it.
        return RoomMessageEvent, (self.name, self.message, self.participant, None, _portable(self.error))


def _portable(error: BaseException | None) -> BaseException | None:
    """Return an error itself if it can be pickled, else one with its text: a receiver may raise anything."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return MeshsyncError(describe_error(error))
    return error


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
        raise InvalidMessage(f"{name}: {type(value).__qualname__} does not hold bytes{bytes_hint(value)}") from None
    try:
        return view.cast("B")
    except (TypeError, ValueError):  # It has gaps, or items in a byte order or of a kind that cannot be cast.
        return view.tobytes()
