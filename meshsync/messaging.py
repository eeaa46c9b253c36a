"""Messaging in a room: take part, see peers, send, broadcast, stream, receive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from types import EllipsisType
from typing import Any, Protocol, TypeVar, overload

from meshsync.client import Client, IfOffline
from meshsync.connection.deliveries import Delivery
from meshsync.dispatch.receivers import Receiver, Receivers, Registration, check_type
from meshsync.dispatch.subscriptions import Overflow, Subscription
from meshsync.errors import StreamInterrupted
from meshsync.files import transfer
from meshsync.files.progress import Progress
from meshsync.forms import given, unpack, unpack_stream
from meshsync.hints import HintedMessaging
from meshsync.membership import SEND_TIMEOUT
from meshsync.messages import Buffer, RoomMessage, as_buffer
from meshsync.participants import LocalParticipant, RemoteParticipant
from meshsync.protocol.envelopes import as_object
from meshsync.protocol.operations import Broadcast, Disable, Enable, Send
from meshsync.runtime.deadlines import Deadline, Timeout
from meshsync.signals import check_callable
from meshsync.streams.interfaces import StreamReader, StreamWriter
from meshsync.streams.offers import Accepter, StreamSubscription
from meshsync.streams.opening import ResumeFor, StreamKind

__all__ = ["MessagingClient"]

R = TypeVar("R", bound=Receiver)

ENABLE_TIMEOUT = 10.0
"""Seconds, for enabling and disabling."""


class JoinedRoom(Protocol):
    """A `RoomClient` as its messaging client needs it."""

    _meshsync: Client


class MessagingClient(HintedMessaging):
    """The messaging of one room, as ``room.messaging``. Any method may be called from any task.

    Subclasses are given to ``meshsync.connect(messaging=…)``. All sending of messages goes through
    ``send_message_nowait`` and ``broadcast_message_nowait``, all receiving through ``received``; all streams go through
    ``create_stream`` and ``offered``. Those call each other and nothing else that a subclass may define. Everything
    else that a subclass defines is its own; one name is ours, ``_meshsync``.
    """

    def __init__(self, room: JoinedRoom) -> None:
        # All that is ours lies behind this one name, which no subclass chooses by chance.
        self._meshsync = client = room._meshsync
        is_hooked = type(self).received is not MessagingClient.received
        is_wrapping = type(self).offered is not MessagingClient.offered
        client.attach(self, self.received if is_hooked else None, self.offered if is_wrapping else None)
        client.faces.enter(self)

    def __del__(self) -> None:
        if "_meshsync" in vars(self):  # A subclass may have failed before.
            self._meshsync.faces.leave(self)

    # --- taking part --------------------------------------------------------------------------------------------------

    @property
    def is_enabled(self) -> bool:
        """Whether this client takes part in messaging, or while offline, will when it is back."""
        return self._meshsync.membership.takes_part

    def enable(self, on_stream_accept: Accepter | None = None, *, timeout: Timeout = "default") -> None:
        """Take part in messaging; return when the peers are known. While enabled, only the callback is replaced.

        After a loss messaging is enabled again. While offline, this decides that, and returns at once.

        Args:
            on_stream_accept: Called with a `MessageStreamReader` for each stream that a peer opens, in a task of its
                own, at most 64 at once. ``reader.reject(reason)`` or raising ``StreamRejected(reason)`` rejects the
                stream with that text; ``reader.accept``, the first read or returning accepts it. Any other exception
                is a fault of the callback: it is logged, signalled as ``receiver_failed``, and the peer gets a fixed
                text. With None, streams are rejected, unless ``streams()`` gets them.
            timeout: The longest wait, in seconds; 10 by default.
        Raises:
            SendTimeout: If the room did not answer in time.
            RoomError: If the room refused.
            ConnectionLost: If the connection ended; `ClientClosed` if the program closed it.
            TypeError: If the callback cannot be called, or is a coroutine or generator function; nothing has changed.
        """
        if on_stream_accept is not None:
            check_callable(on_stream_accept, "a MessageStreamReader", "the accept callback", count=1)
        client = self._meshsync
        deadline = Deadline(client.runtime, client.limit(timeout, ENABLE_TIMEOUT))
        client.check_open()
        client.streams.accepter = on_stream_accept
        # A request to leave that got no answer in time may still be carried out, and this one has to come after it.
        if client.membership.takes_part and not client.session.is_pending(Disable):
            return
        client.refuse_to_block("enable()")
        client.membership.enable(deadline)

    def disable(self, *, timeout: Timeout = "default") -> None:
        """Leave messaging; while not enabled, this does nothing.

        When it returns, ``remote_participants`` is empty; a removal is signalled for each participant. Streams end.
        While offline too: messaging is then not enabled again.

        Raises:
            SendTimeout: If the room did not answer within ``timeout`` seconds, by default 10.
            RoomError: If the room refused.
            ConnectionLost: If the connection ended.
        """
        client = self._meshsync
        deadline = Deadline(client.runtime, client.limit(timeout, ENABLE_TIMEOUT))
        # A request to enable it that got no answer in time may still be carried out.
        if not client.membership.takes_part and not client.session.is_pending(Enable):
            return
        client.refuse_to_block("disable()")
        client.streams.abandon_all(StreamInterrupted("messaging was disabled"))
        client.membership.disable(deadline)

    # --- participants -------------------------------------------------------------------------------------------------

    @property
    def remote_participants(self) -> tuple[RemoteParticipant, ...]:
        """The other participants, in order of arrival: a snapshot that never changes."""
        return self._meshsync.membership.known("remote_participants").participants

    def get_participant(self, id: str) -> RemoteParticipant | None:
        """Return the participant with that id, or None."""
        return self._meshsync.membership.known("get_participant()").get(id)

    def get_participant_by_name(self, name: str) -> RemoteParticipant | None:
        """Return the earliest participant with that name, or None. Names are not unique."""
        return self._meshsync.membership.known("get_participant_by_name()").by_name(name)

    def wait_for_participant(
        self,
        name: str | None = None,
        role: str | None = None,
        where: Callable[[RemoteParticipant], bool] | None = None,
        *,
        timeout: Timeout = "default",
    ) -> RemoteParticipant:
        """Return the earliest participant that matches all that is given, waiting until there is one.

        Args:
            where: Called with participants, again whenever a peer came, left or changed.
            timeout: The longest wait, in seconds; None waits for ever. By default the room's ``default_timeout``, or
                for ever.
        Raises:
            ReceiveTimeout: If no participant matched in time.
            NotEnabled: If messaging is not enabled, since no participant would come.
            ConnectionLost: If the connection was lost; `ClientClosed` if it was closed.
            TypeError: If ``name`` or ``role`` is no text, or ``where`` cannot be called or has to be awaited.
        """
        client = self._meshsync
        client.home.check()
        return client.membership.wait_for(name, role, where, client.limit(timeout, None))

    # --- sending ------------------------------------------------------------------------------------------------------

    @overload
    def send_message(
        self,
        to: RemoteParticipant | LocalParticipant | str,
        type: str,
        message: Mapping[str, Any],
        attachment: Buffer | None = None,
        *,
        timeout: Timeout = "default",
        if_offline: IfOffline = "wait",
        confirm: bool = False,
    ) -> None: ...
    @overload
    def send_message(
        self, to: Mapping[str, Any], *, timeout: Timeout = ..., if_offline: IfOffline = ..., confirm: bool = ...
    ) -> None: ...
    def send_message(
        self,
        to: Any,
        type: Any = None,
        message: Any = None,
        attachment: Any = None,
        *,
        timeout: Timeout = "default",
        if_offline: IfOffline = "wait",
        confirm: bool = False,
    ) -> None:
        """Send a message to one participant and wait until the room acknowledges it.

        Args:
            to: A participant or the id of one; or, alone, a mapping of these four arguments.
            type: The kind of message: any text.
            message: A JSON object.
            attachment: Bytes beside it; None and empty are the same to the wire.
            timeout: The longest wait, in seconds; 30 by default.
            if_offline: While the client is offline, whether to ``"wait"`` until it is back, or to ``"raise"`` `NotSent`
                at once. A message that was not written when the connection was lost is sent after reconnecting, ahead
                of later ones, or with ``"raise"`` is not; one that was written is never repeated.
            confirm: Wait until the recipient's client has it where nothing drops it any more, whatever connections
                break meanwhile: it is repeated until then, and handled once. For other clients of this package.
        Raises:
            ParticipantNotFound: If the recipient does not take part, or its name was given instead of its id.
            InvalidMessage: If it cannot be carried.
            NotEnabled: If messaging is not enabled on this client.
            SendTimeout: If the room did not acknowledge in time.
            NotSent: If the client was lost or offline before anything was written, see ``if_offline``, or the recipient
                did not come back.
            DeliveryUnknown: If the connection ended after something was written, and before the acknowledgement. With
                ``confirm``, if it was sent and not confirmed in time: it was handled once, or not at all.
            UsageError: With ``confirm``, if the recipient's client does not confirm messages; nothing was sent.
        """
        client = self._meshsync
        client.refuse_to_block("send_message()")
        limit = client.limit(timeout, SEND_TIMEOUT)
        deadline = Deadline(client.runtime, limit)
        options = given(limit, if_offline, confirm=confirm)
        delivery = self.send_message_nowait(to, type, message, attachment, **options)
        client.await_delivery(delivery, deadline)

    @overload
    def send_message_nowait(
        self,
        to: RemoteParticipant | LocalParticipant | str,
        type: str,
        message: Mapping[str, Any],
        attachment: Buffer | None = None,
        *,
        timeout: Timeout = "default",
        if_offline: IfOffline = "wait",
        confirm: bool = False,
    ) -> Delivery: ...
    @overload
    def send_message_nowait(
        self, to: Mapping[str, Any], *, timeout: Timeout = ..., if_offline: IfOffline = ..., confirm: bool = ...
    ) -> Delivery: ...
    def send_message_nowait(
        self,
        to: Any,
        type: Any = None,
        message: Any = None,
        attachment: Any = None,
        *,
        timeout: Timeout = "default",
        if_offline: IfOffline = "wait",
        confirm: bool = False,
    ) -> Delivery:
        """Send a message to one participant and return at once, with a handle to wait for the acknowledgement.

        Messages arrive in the order of these calls; those with ``confirm`` have an order of their own, and others may
        overtake them.

        Args:
            timeout: The longest wait for room in the connection's buffer, in seconds; 30 by default.
            confirm: As in `send_message`. The handle is done when it is confirmed, or when ``timeout`` has passed.
        Raises:
            SendTimeout: If there was no room in time; nothing was sent.
            NotSent: If the client is offline, and 64 MiB wait already, or ``if_offline`` is ``"raise"``.
        """
        if isinstance(to, Mapping):
            to, type, message, attachment = unpack(to, type, message, attachment, ("to", "type", "message"))
        # First: once messaging or the connection has ended, every participant is offline, which is not the reason.
        client = self._meshsync
        client.home.check()
        client.membership.check_enabled()
        if confirm:
            limit = client.limit(timeout, SEND_TIMEOUT)
            return client.confirmation.submit(to, type, message, attachment, limit, waits=if_offline == "wait")
        recipient, participant = client.membership.address(to)
        request = Send(recipient, type, message, as_buffer(attachment, "attachment"))
        what, limit = f"the message {type!r} to {recipient}", client.limit(timeout, SEND_TIMEOUT)
        return client.send(request, what, limit, if_offline, participant)

    @overload
    def broadcast_message(
        self,
        type: str,
        message: Mapping[str, Any],
        attachment: Buffer | None = None,
        *,
        timeout: Timeout = "default",
        if_offline: IfOffline = "wait",
    ) -> None: ...
    @overload
    def broadcast_message(
        self, type: Mapping[str, Any], *, timeout: Timeout = "default", if_offline: IfOffline = "wait"
    ) -> None: ...
    def broadcast_message(
        self,
        type: Any,
        message: Any = None,
        attachment: Any = None,
        *,
        timeout: Timeout = "default",
        if_offline: IfOffline = "wait",
    ) -> None:
        """Send a message to all others and wait until the room acknowledges it; see `send_message`."""
        client = self._meshsync
        client.refuse_to_block("broadcast_message()")
        limit = client.limit(timeout, SEND_TIMEOUT)
        deadline = Deadline(client.runtime, limit)
        delivery = self.broadcast_message_nowait(type, message, attachment, **given(limit, if_offline))
        client.await_delivery(delivery, deadline)

    @overload
    def broadcast_message_nowait(
        self,
        type: str,
        message: Mapping[str, Any],
        attachment: Buffer | None = None,
        *,
        timeout: Timeout = "default",
        if_offline: IfOffline = "wait",
    ) -> Delivery: ...
    @overload
    def broadcast_message_nowait(
        self, type: Mapping[str, Any], *, timeout: Timeout = "default", if_offline: IfOffline = "wait"
    ) -> Delivery: ...
    def broadcast_message_nowait(
        self,
        type: Any,
        message: Any = None,
        attachment: Any = None,
        *,
        timeout: Timeout = "default",
        if_offline: IfOffline = "wait",
    ) -> Delivery:
        """Send a message to all others and return at once; see `send_message_nowait`."""
        if isinstance(type, Mapping):
            _, type, message, attachment = unpack(type, None, message, attachment, ("type", "message"))
        client = self._meshsync
        client.home.check()
        client.membership.check_enabled()
        request = Broadcast(type, message, as_buffer(attachment, "attachment"))
        return client.send(request, f"the broadcast {type!r}", client.limit(timeout, SEND_TIMEOUT), if_offline)

    # --- streams ------------------------------------------------------------------------------------------------------

    @overload
    def create_stream(
        self,
        to: RemoteParticipant | LocalParticipant | str,
        header: Mapping[str, Any] | None = None,
        *,
        timeout: Timeout = "default",
        kind: StreamKind = "auto",
        resume_for: ResumeFor = "default",
    ) -> StreamWriter: ...
    @overload
    def create_stream(
        self,
        to: Mapping[str, Any],
        *,
        timeout: Timeout = "default",
        kind: StreamKind = "auto",
        resume_for: ResumeFor = "default",
    ) -> StreamWriter: ...
    def create_stream(
        self,
        to: Any,
        header: Any = None,
        *,
        timeout: Timeout = "default",
        kind: StreamKind = "auto",
        resume_for: ResumeFor = "default",
    ) -> StreamWriter:
        """Open a stream to one participant and wait until it is accepted; return its `MessageStreamWriter`.

        Args:
            to: A participant or the id of one; or, alone, a mapping of ``to`` and ``header``.
            header: A JSON object for the peer's program; empty by default.
            timeout: The longest wait, in seconds; 30 by default.
            kind: ``"classic"`` offers it by messages, which clients before 0.35.7 and this one understand; ``"duplex"``
                by a call, which those from 0.47.1 do, and this one too. With ``"auto"`` it goes as the peer is
                known to understand, else by messages, and in dialect B by a call as well if there is no answer for 5 s;
                but by messages alone where the room bridges, as the emulator does.
            resume_for: Seconds that a stream to another client of this package outlives a loss of either's connection,
                where it goes by messages; the smaller of both sides, 60 by default, 0 for none. See
                ``docs/reconnecting.md``.
        Raises:
            StreamRejected: If the peer declined; the text is its reason.
            StreamTimeout: If it did not answer in time.
            ParticipantNotFound: If it does not take part.
            StreamInterrupted: If it left before it answered.
            ConnectionLost: If the connection was lost meanwhile.
            InvalidMessage: If the header cannot be carried.
            UsageError: If it is this client itself, or ``resume_for`` is given for a duplex stream; `NotEnabled` if
                messaging is not enabled.
        """
        client = self._meshsync
        client.refuse_to_block("create_stream()")
        if isinstance(to, Mapping):
            to, header = unpack_stream(to, header)
        client.membership.check_enabled()
        deadline = Deadline(client.runtime, client.limit(timeout, SEND_TIMEOUT))
        client.uplink.wait_online("create_stream()", deadline)
        peer = client.membership.peer(to)
        content = as_object({} if header is None else header, "header")
        return client.streams.open(peer, content, deadline.left(), kind, resume_for).writer

    def send_file(
        self,
        path: str | PathLike[str],
        to: RemoteParticipant | LocalParticipant | str,
        *,
        header: Mapping[str, Any] | None = None,
        name: str | None = None,
        chunk_size: int = transfer.CHUNK_SIZE,
        progress: Progress | bool = False,
        confirm: bool | None = None,
        timeout: Timeout = "default",
    ) -> transfer.SentFile:
        """Send a file through a stream and wait until the peer has it whole; see ``meshsync.files.send_file``."""
        self._meshsync.home.check()
        limit = self._meshsync.limit(timeout, SEND_TIMEOUT)
        return transfer.send_file(
            self,
            path,
            to,
            header=header,
            name=name,
            chunk_size=chunk_size,
            progress=progress,
            confirm=confirm,
            timeout=limit,
        )

    def receive_file(
        self,
        reader: StreamReader,
        directory: str | PathLike[str],
        *,
        name: str | None = None,
        progress: Progress | bool = False,
        overwrite: bool = False,
        max_size: int | None = None,
        timeout: Timeout = "default",
    ) -> transfer.ReceivedFile:
        """Receive the file that a stream brings into a directory, whole or not at all.

        See ``meshsync.files.transfer.receive_file``.
        """
        limit = self._meshsync.limit(timeout, None)
        return transfer.receive_file(
            reader,
            directory,
            name=name,
            progress=progress,
            overwrite=overwrite,
            max_size=max_size,
            timeout=limit,
        )

    def offered(self, reader: StreamReader) -> StreamReader:
        """Change each stream that a peer opens before the program gets it: a hook for subclasses, to wrap it.

        Called before the accept callback, on its task, or by ``streams()``, on its reader's. Raising does what it does
        in the accept callback.
        """
        return reader

    def streams(self, *, timeout: float | None = None, maxsize: int = 64) -> StreamSubscription:
        """Subscribe to the streams that peers open from now on, instead of a callback.

        Args:
            timeout: The longest wait for the next stream, in seconds, which ends a ``for`` loop; None waits for ever,
                but for ``get``, whose limit is then the room's ``default_timeout``.
            maxsize: How many streams may wait in it; more go to the accept callback, or are rejected.
        """
        self._meshsync.router.check_open()
        return self._meshsync.streams.subscribe(timeout, maxsize)

    # --- receiving ----------------------------------------------------------------------------------------------------

    def received(self, message: RoomMessage) -> RoomMessage | None:
        """Change or drop each message before the program gets it: a hook for subclasses.

        Called once for each message, in order, in a task of its own. It must keep type and sender, and cannot wait for
        messages. A message for which it raises is dropped, logged and reported as ``receiver_failed``. Receivers and
        subscriptions get copies of the dicts and lists in its result; other objects in it are shared by all.
        """
        return message

    def messages(
        self,
        type: str | None = None,
        sender: RemoteParticipant | LocalParticipant | str | None = None,
        *,
        timeout: float | None = None,
        maxsize: int = 1000,
        overflow: Overflow = "error",
    ) -> Subscription:
        """Subscribe to the messages that arrive from now on.

        Args:
            type: Only messages of this type.
            sender: Only messages of this participant, or of the one with this id. A client of this package is followed
                when it reconnects, once it has proven itself; others are strangers then.
            timeout: The longest wait for the next message, in seconds, which ends a ``for`` loop; None waits for ever,
                but for ``get``, whose limit is then the room's ``default_timeout``.
            maxsize: How many messages may wait to be read. Less if they are large: a client holds 64 MiB unread in all.
            overflow: The effect of one more: ``"error"`` ends the subscription after those, ``"drop_oldest"`` goes on.
        Raises:
            ValueError: If ``maxsize`` is less than 1, or ``overflow`` is unknown.
            TypeError: If ``type`` is no text, or ``sender`` is neither a participant nor an id.
        """
        if type is not None:
            check_type(type)
        self._meshsync.router.check_open()
        return self._meshsync.subscribe(type, sender, timeout=timeout, maxsize=maxsize, overflow=overflow)

    def wait_for_message(
        self,
        type: str | None = None,
        sender: RemoteParticipant | LocalParticipant | str | None = None,
        *,
        timeout: Timeout = "default",
    ) -> RoomMessage:
        """Return the next message that matches. For an answer, subscribe with ``messages`` before asking.

        Raises:
            ReceiveTimeout: If none came within ``timeout`` seconds; None waits for ever. By default the room's
                ``default_timeout``, or for ever.
            ConnectionLost: If the connection was lost; `ClientClosed` if it was closed.
        """
        with MessagingClient.messages(self, type, sender) as subscription:  # A subclass may redefine `messages`.
            return subscription.get(timeout)

    @overload
    def on(self, event: str) -> Callable[[R], R]: ...
    @overload
    def on(self, event: str, receiver: Receiver) -> Registration: ...
    def on(self, event: str, receiver: Receiver | EllipsisType = ...) -> Registration | Callable[[R], R]:
        """Call ``receiver(event)`` with a `RoomMessageEvent` at each event of that name; also a decorator.

        Receivers run one at a time, in the order of events and of registering, on a task of their own. They may call
        any method, also those that wait. One that returns a coroutine or a generator is reported as
        ``receiver_failed``.

        Raises:
            ValueError: If there is no such event.
            TypeError: If the receiver cannot be called, or is a coroutine or generator function; or if ``event`` is no
                text.
        """
        self._meshsync.router.check_open()
        return _register(self._meshsync.router.receivers, event, None, receiver)

    @overload
    def on_message(self, type: str) -> Callable[[R], R]: ...
    @overload
    def on_message(self, type: str, receiver: Receiver) -> Registration: ...
    def on_message(self, type: str, receiver: Receiver | EllipsisType = ...) -> Registration | Callable[[R], R]:
        """Call ``receiver(event)`` at each message of that type; also a decorator. See ``on``.

        Raises:
            TypeError: If the receiver cannot be called, or is a coroutine or generator function; or if ``type`` is no
                text.
        """
        check_type(type)
        self._meshsync.router.check_open()
        return _register(self._meshsync.router.receivers, "message", type, receiver)

    def off(self, event: str, receiver: Receiver | None = None) -> None:
        """Undo ``on`` and ``on_message`` for a receiver, or for all receivers of an event.

        Raises:
            ValueError: If there is no such event, or this receiver is not registered for it, as is another lambda that
                does the same.
        """
        self._meshsync.router.receivers.off(event, receiver)


def _register(
    receivers: Receivers, event: str, type: str | None, receiver: Receiver | EllipsisType
) -> Registration | Callable[[R], R]:
    # Not None: that is what a receiver is which the program called instead of passing it.
    if not isinstance(receiver, EllipsisType):
        return receivers.add(event, receiver, type)
    receivers.check_event(event)

    def decorate(function: R) -> R:
        receivers.add(event, function, type)
        return function

    return decorate
