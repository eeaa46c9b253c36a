"""A message, and the event it came with, as receivers and subscriptions get them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol

from meshsync.connection.deliveries import Delivery
from meshsync.errors import InvalidMessage, MeshsyncError, UsageError
from meshsync.hints import HintedData, bytes_hint
from meshsync.participants import LocalParticipant, RemoteParticipant
from meshsync.protocol.envelopes import copy_json
from meshsync.reasons import describe_error
from meshsync.runtime.deadlines import Timeout
from meshsync.typed import Codec, Model
from meshsync.values import made_quickly

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # Every type checker has it, and no program needs it.

    Body_co = TypeVar("Body_co", covariant=True, default=Mapping[str, Any])
else:
    from typing import TypeVar

    Body_co = TypeVar("Body_co", covariant=True)

__all__ = ["Answerable", "Body_co", "Buffer", "MarkedEvent", "RoomMessage", "RoomMessageEvent", "as_buffer", "marked"]

Buffer = bytes | bytearray | memoryview


@made_quickly
@dataclass(frozen=True, slots=True)
class RoomMessage(HintedData, Generic[Body_co]):
    """A message, or a notice of the room or this client in the shape of one.

    It is data: it can be pickled, copied deeply and turned into a dict. For a JSON text of all of it, the attachment
    needs a form, as in ``json.dumps(dataclasses.asdict(message), default=bytes.hex)``.
    """

    type: str
    message: Body_co
    """A JSON object, a plain dict, or an object of the model that was asked for. Each receiver and each subscription
    has its own, and may change it."""
    attachment: bytes = field(default=b"", repr=False)
    """``b""`` for none: equal on the wire."""
    from_participant_id: str = ""
    """Empty for this client's own notices."""
    sender: RemoteParticipant | LocalParticipant | None = field(default=None, compare=False)
    """The sender, as known when it came; None if unknown."""

    def _repr_html_(self) -> str:
        from meshsync.notebook import message_html  # Programs need it in notebooks alone.

        return message_html(self)

    def _copied(self) -> RoomMessage[Body_co]:
        """Return the same message with a body of its own."""
        body: Any = self.message
        if isinstance(body, Mapping):  # A subclass's hook may put something else there.
            body = copy_json(body if isinstance(body, dict) else dict(body))
        if type(self) is not RoomMessage:
            return replace(self, message=body)
        return RoomMessage(self.type, body, self.attachment, self.from_participant_id, self.sender)

    def _as(self, codec: Codec[Any]) -> RoomMessage[Any]:
        """Return the same message with an object of a model for its body.

        Raises:
            InvalidMessage: If the body is not what the model says.
        """
        body: Any = self.message
        return RoomMessage(self.type, codec.load(body), self.attachment, self.from_participant_id, self.sender)


class Answerable(Protocol):
    """A question, as its event knows it."""

    def reply(self, message: object, attachment: Buffer | None, type: str | None, timeout: Timeout, /) -> Delivery: ...


@made_quickly
@dataclass(frozen=True, slots=True)
class RoomMessageEvent(HintedData, Generic[Body_co]):
    """The argument of every receiver.

    By ``name``, its ``message.type`` and ``message.message`` are:

    - ``message``: the sender's own; ``participant`` is the sender.
    - ``participant_added``: ``participant.enabled``, ``{"id", "role", "attributes"}``, also for those already there.
    - ``participant_removed``: ``participant.disabled``, ``{"id"}``; ``participant`` is offline.
    - ``participant_attributes_updated``: ``participant.attributes``, ``{"attributes"}``: the changed ones.
    - ``messaging_enabled``: ``messaging.enabled``, ``{"participants"}``.
    - ``messaging_disabled``: ``messaging.disabled``, ``{}``.
    - ``stream_opened``: ``stream.open``, ``{"stream_id", "header"}``; ``stream`` is the opener's writer or the
      acceptor's reader, both without a subclass's wrapping.
    - ``stream_closed``: ``stream.close``, ``{"stream_id", "reason"}``; ``stream`` likewise, the writer or the reader.
    - ``disconnected``: its own name, ``{"reason", "will_retry"}``; ``error``, unless the program closed the client.
    - ``reconnected``: its own name, ``{"seconds"}``: how long the client was offline.
    - ``receiver_failed``: its own name, ``{"event", "receiver"}``; ``error``.
    - ``messages_dropped``: its own name, ``{"count"}``.
    - ``messages_missed``: its own name, ``{"from", "count"}``: confirmed messages that their sender, ``participant``,
      gave up before they came.

    It is data as its message is. A pickle or a deep copy holds participants as they were then, and no stream.
    """

    name: str
    """The event, such as ``participant_added``."""
    message: RoomMessage[Body_co]
    participant: RemoteParticipant | LocalParticipant | None = None
    """Its subject, or the sender of the message."""
    stream: Any = None
    """The stream it is about; None for all but the stream events."""
    error: BaseException | None = None
    """The failure; None where there is none."""

    def reply(
        self,
        message: Mapping[str, Any] | Model,
        attachment: Buffer | None = None,
        *,
        type: str | None = None,
        timeout: Timeout = "default",
    ) -> Delivery:
        """Answer a question, once, and return at once; ``wait()`` of the result waits until the asker's client has it.

        Args:
            message: A JSON object, or a model's object.
            type: The answer's type. By default the one that the asker wants, else the model's, else the question's.
            timeout: How long the answer waits for its asker at the most, in seconds; by default as long as that does.
        Raises:
            UsageError: If the event is no question of ``ask``, or a copy or pickle of one, or it was answered.
            InvalidMessage: If it cannot be carried; the question is still unanswered.
        """
        question = self._question
        if question is None:
            what = f"a message of type {self.message.type!r}" if self.name == "message" else f"the event {self.name!r}"
            raise UsageError(f"{what} is no question of ask(): send_message(event.participant, …) sends to its sender")
        return question.reply(message, attachment, type, timeout)

    @property
    def _question(self) -> Answerable | None:
        return None

    def _repr_html_(self) -> str:
        from meshsync.notebook import event_html  # As above.

        return event_html(self)

    def _copied(self) -> RoomMessageEvent[Body_co]:
        """Return the same event with a body of its own."""
        return RoomMessageEvent(self.name, self.message._copied(), self.participant, self.stream, self.error)

    def _with(self, message: RoomMessage[Any]) -> RoomMessageEvent[Any]:
        """Return the same event with another message."""
        return RoomMessageEvent(self.name, message, self.participant, self.stream, self.error)

    def __reduce__(self) -> tuple[Callable[..., RoomMessageEvent[Any]], tuple[object, ...]]:
        # A stream is live: neither another process nor a copy can have it.
        return RoomMessageEvent, (self.name, self.message, self.participant, None, _portable(self.error))


class MarkedEvent(RoomMessageEvent[Body_co]):
    """The event of a message that asks or answers."""

    __slots__ = ("mark",)

    mark: object

    @property
    def _question(self) -> Answerable | None:
        mark: Any = getattr(self, "mark", None)  # One that `dataclasses.replace` has made has none.
        return mark if hasattr(mark, "reply") else None

    def _copied(self) -> RoomMessageEvent[Body_co]:
        return marked(RoomMessageEvent._copied(self), self.mark)

    def _with(self, message: RoomMessage[Any]) -> RoomMessageEvent[Any]:
        return marked(RoomMessageEvent._with(self, message), self.mark)


def marked(event: RoomMessageEvent[Body_co], mark: object) -> MarkedEvent[Body_co]:
    """Return an event as one that asks or answers.

    Args:
        mark: The question, an `Answerable`, or whose answer it is.
    """
    own: MarkedEvent[Body_co] = MarkedEvent(event.name, event.message, event.participant, event.stream, event.error)
    object.__setattr__(own, "mark", mark)
    return own


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
