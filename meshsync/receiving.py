"""The receiving of messages, as one of the faces of `MessagingClient`."""

from __future__ import annotations

from collections.abc import Callable
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, overload

from meshsync.arguments import hinted_call
from meshsync.client import Client
from meshsync.dispatch.receivers import Receiver, Receivers, Registration, check_type
from meshsync.dispatch.subscriptions import Overflow, Subscription
from meshsync.messages import RoomMessage, RoomMessageEvent
from meshsync.runtime.deadlines import Timeout
from meshsync.sending import Recipient
from meshsync.signals import EventName
from meshsync.typed import Codec, M, codec_of, is_model

if TYPE_CHECKING:
    from typing_extensions import Unpack  # Every type checker has it.

__all__ = ["FeedOptions", "ReceivingFace", "typed"]

R = TypeVar("R", bound=Receiver)
X = TypeVar("X")


class FeedOptions(TypedDict, total=False):
    """How a subscription is read."""

    timeout: float | None
    maxsize: int
    overflow: Overflow


class ReceivingFace:
    """What programs receive messages and events with."""

    _meshsync: Client

    def received(self, message: RoomMessage) -> RoomMessage | None:
        """Change or drop each message before the program gets it: a hook for subclasses.

        Called once for each message, in order, in a task of its own. It must keep type and sender, and cannot wait for
        messages. A message for which it raises is dropped, logged and reported as ``receiver_failed``. Receivers and
        subscriptions get copies of the dicts and lists in its result; other objects in it are shared by all.
        """
        return message

    @overload
    def messages(
        self, type: str | None = None, /, sender: Recipient | None = None, **options: Unpack[FeedOptions]
    ) -> Subscription: ...
    @overload
    def messages(
        self, *, type: str, sender: Recipient | None = None, **options: Unpack[FeedOptions]
    ) -> Subscription: ...
    @overload
    def messages(
        self,
        model: type[M],
        /,
        sender: Recipient | None = None,
        *,
        type: str | None = None,
        **options: Unpack[FeedOptions],
    ) -> Subscription[M]: ...
    @hinted_call
    def messages(
        self,
        model: Any = None,
        sender: Recipient | None = None,
        *,
        type: Any = None,
        timeout: float | None = None,
        maxsize: int = 1000,
        overflow: Overflow = "error",
    ) -> Subscription[Any]:
        """Subscribe to the messages that arrive from now on.

        Args:
            model: A type of messages: only those. Or a model: only messages of its type, with its objects for bodies;
                one that is not what the model says is left out, logged and reported as ``receiver_failed``.
            sender: Only messages of this participant, or of the one with this id. A client of this package is followed
                when it reconnects, once it has proven itself; others are strangers then.
            type: Only messages of this type; where there is a model, instead of its type.
            timeout: The longest wait for the next message, in seconds, which ends a ``for`` loop; None waits for ever,
                but for ``get``, whose limit is then the room's ``default_timeout``.
            maxsize: How many messages may wait to be read. Less if they are large: a client holds 64 MiB unread in all.
            overflow: The effect of one more: ``"error"`` ends the subscription after those, ``"drop_oldest"`` goes on.
        Raises:
            ValueError: If ``maxsize`` is less than 1, or ``overflow`` is unknown.
            TypeError: If ``type`` is no text, or ``sender`` is neither a participant nor an id.
        """
        type, codec = typed(model, type)
        if type is not None:
            check_type(type)
        self._meshsync.router.check_open()
        return self._meshsync.subscribe(type, sender, timeout=timeout, maxsize=maxsize, overflow=overflow, codec=codec)

    @overload
    def wait_for_message(
        self, type: str | None = None, /, sender: Recipient | None = None, *, timeout: Timeout = "default"
    ) -> RoomMessage: ...
    @overload
    def wait_for_message(
        self, *, type: str, sender: Recipient | None = None, timeout: Timeout = "default"
    ) -> RoomMessage: ...
    @overload
    def wait_for_message(
        self,
        model: type[M],
        /,
        sender: Recipient | None = None,
        *,
        type: str | None = None,
        timeout: Timeout = "default",
    ) -> RoomMessage[M]: ...
    @hinted_call
    def wait_for_message(
        self, model: Any = None, sender: Recipient | None = None, *, type: Any = None, timeout: Timeout = "default"
    ) -> RoomMessage[Any]:
        """Return the next message that matches, as `messages` does; to ask for an answer there is ``ask``.

        Raises:
            ReceiveTimeout: If none came within ``timeout`` seconds; None waits for ever. By default the room's
                ``default_timeout``, or for ever.
            ConnectionLost: If the connection was lost; `ClientClosed` if it was closed.
        """
        # A subclass may redefine `messages`.
        with ReceivingFace.messages(self, model, sender, type=type) as subscription:
            return subscription.get(timeout)

    @overload
    def on(self, event: EventName) -> Callable[[R], R]: ...
    @overload
    def on(self, event: EventName, receiver: Receiver) -> Registration: ...
    @hinted_call
    def on(self, event: EventName, receiver: Receiver | EllipsisType = ...) -> Registration | Callable[[R], R]:
        """Call ``receiver(event)`` with a `RoomMessageEvent` at each event of that name; also a decorator.

        Receivers run one at a time, in the order of events and of registering, on a task of their own. They may call
        any method, also those that wait. One that returns a coroutine or a generator is reported as
        ``receiver_failed``. One that is registered for the event already stays where it is, and is called once.

        Raises:
            ValueError: If there is no such event.
            TypeError: If the receiver cannot be called, or is a coroutine or generator function; or if ``event`` is no
                text.
        """
        self._meshsync.router.check_open()
        return _register(self._meshsync.router.receivers, event, None, receiver)

    @overload
    def on_message(self, type: str, /) -> Callable[[R], R]: ...
    @overload
    def on_message(self, type: str, /, receiver: Receiver) -> Registration: ...
    @overload
    def on_message(self, *, type: str) -> Callable[[R], R]: ...
    @overload
    def on_message(self, *, type: str, receiver: Receiver) -> Registration: ...
    @overload
    def on_message(
        self, model: type[M], /, *, type: str | None = None
    ) -> Callable[[Callable[[RoomMessageEvent[M]], X]], Callable[[RoomMessageEvent[M]], X]]: ...
    @overload
    def on_message(
        self, model: type[M], /, receiver: Callable[[RoomMessageEvent[M]], Any], *, type: str | None = None
    ) -> Registration: ...
    @hinted_call
    def on_message(self, model: Any = None, receiver: Any = ..., *, type: Any = None) -> Any:
        """Call ``receiver(event)`` at each message of that type; also a decorator. See ``on``.

        A receiver is called once for each type and model that it is registered for, however often it is.

        Args:
            model: A type of messages, or a model: the bodies are then its objects. A message that is not what the model
                says is not given to the receiver, but logged and reported as ``receiver_failed``, with the place in it.
            type: Where there is a model, the type of messages instead of the model's own.
        Raises:
            TypeError: If the receiver cannot be called, or is a coroutine or generator function; or if ``type`` is no
                text.
        """
        type, codec = typed(model, type)
        check_type(type, "on_message")
        self._meshsync.router.check_open()
        return _register(self._meshsync.router.receivers, "message", type, receiver, codec)

    @hinted_call
    def off(self, event: EventName, receiver: Callable[..., Any] | None = None) -> None:
        """Undo ``on`` and ``on_message`` for a receiver, or for all receivers of an event.

        Raises:
            ValueError: If there is no such event, or this receiver is not registered for it, as is another lambda that
                does the same.
        """
        self._meshsync.router.receivers.off(event, receiver)


def typed(model: Any, type: Any) -> tuple[Any, Codec[Any] | None]:
    """Return the type that is meant, and the codec of the model; None for none.

    Args:
        model: A type or a model.
        type: A type that beats the model's.
    """
    if is_model(model):
        codec = codec_of(model)
        return (codec.type if type is None else type), codec
    if model is not None and type is not None:
        raise TypeError(f"two types are given, {model!r:.100} and {type!r:.100}")
    return (type if model is None else model), None


def _register(
    receivers: Receivers,
    event: str,
    type: str | None,
    receiver: Receiver | EllipsisType,
    codec: Codec[Any] | None = None,
) -> Registration | Callable[[R], R]:
    # Not None: that is what a receiver is which the program called instead of passing it.
    if not isinstance(receiver, EllipsisType):
        return receivers.add(event, receiver, type, codec)
    receivers.check_event(event)

    def decorate(function: R) -> R:
        receivers.add(event, function, type, codec)
        return function

    return decorate
