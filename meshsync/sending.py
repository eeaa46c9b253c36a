"""The sending of messages, as one of the faces of `MessagingClient`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, overload

from meshsync.arguments import hinted_call
from meshsync.client import Client, IfOffline
from meshsync.confirming.bodies import Answer, Mark, Question
from meshsync.connection.deliveries import Delivery
from meshsync.errors import InvalidMessage
from meshsync.forms import as_message, given, unpack
from meshsync.membership import SEND_TIMEOUT
from meshsync.messages import Buffer, as_buffer
from meshsync.participants import LocalParticipant, RemoteParticipant
from meshsync.protocol.operations import Broadcast, Send, check_text
from meshsync.runtime.deadlines import Deadline, Timeout
from meshsync.typed import Model

if TYPE_CHECKING:
    from typing_extensions import Unpack  # Every type checker has it.

__all__ = ["AnyModel", "BroadcastOptions", "Recipient", "SendOptions", "SendingFace"]

Recipient = RemoteParticipant | LocalParticipant | str
"""A participant or the id of one."""

_ONE = (RemoteParticipant, LocalParticipant, str)
"""The same, to be asked for first: whether a value is a mapping takes much longer to find."""

AnyModel = type[Model] | type[Mapping[str, Any]]
"""The class of a model, a TypedDict included."""


class BroadcastOptions(TypedDict, total=False):
    """How a broadcast is sent."""

    timeout: Timeout
    if_offline: IfOffline


class SendOptions(BroadcastOptions, total=False):
    """How a message is sent."""

    confirm: bool


class SendingFace:
    """What programs send messages with."""

    _meshsync: Client

    @overload
    def send_message(
        self,
        to: Recipient,
        type: str | AnyModel,
        message: Mapping[str, Any] | Model,
        attachment: Buffer | None = None,
        **options: Unpack[SendOptions],
    ) -> None: ...
    @overload
    def send_message(
        self, to: Recipient, type: Model, *, attachment: Buffer | None = None, **options: Unpack[SendOptions]
    ) -> None: ...
    @overload
    def send_message(
        self, to: Recipient, *, message: Model, attachment: Buffer | None = None, **options: Unpack[SendOptions]
    ) -> None: ...
    @overload
    def send_message(self, to: Mapping[str, Any], **options: Unpack[SendOptions]) -> None: ...
    @hinted_call
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
            type: The kind of message: any text. Or a model's object, or a model by which ``message`` is checked: the
                type is then ``Model.message_type``, or else the model's name. See ``docs/typed.md``.
            message: A JSON object, or a model's object.
            attachment: Bytes beside it; None and empty are the same to the wire.
            timeout: The longest wait, in seconds; 30 by default.
            if_offline: While the client is offline, whether to ``"wait"`` until it is back, or to ``"raise"`` `NotSent`
                at once. A message that was not written when the connection was lost is sent after reconnecting, ahead
                of later ones, or with ``"raise"`` is not; one that was written is never repeated.
            confirm: Wait until the recipient's client has it where nothing drops it any more, whatever connections
                break meanwhile: it is repeated until then, and handled once. For other clients of this package.
        Raises:
            ParticipantNotFound: If the recipient does not take part, or its name was given instead of its id.
            InvalidMessage: If it cannot be carried, or is not what its model says.
            NotEnabled: If messaging is not enabled on this client.
            SendTimeout: If the room did not acknowledge in time.
            NotSent: If the client was lost or offline before anything was written, see ``if_offline``, or the recipient
                did not come back.
            DeliveryUnknown: If the connection ended after something was written, and before the acknowledgement. With
                ``confirm``, if it was sent and not confirmed in time: it was handled once, or not at all.
            UsageError: With ``confirm``, if the recipient's client does not confirm messages; nothing was sent.
        """
        client = self._meshsync
        # A confirmation is no answer of the room: the reader reads it.
        (client.refuse_to_block if confirm else client.uplink.refuse_to_await)("send_message()")
        limit = client.limit(timeout, SEND_TIMEOUT)
        deadline = Deadline(client.runtime, limit)
        if getattr(self.send_message_nowait, "__func__", None) is _NOWAIT:
            delivery = _send(client, (to, type, message, attachment), limit, deadline, if_offline, confirm)
        else:  # The program's own.
            options = given(limit, if_offline, confirm=confirm)
            if isinstance(to, _ONE) or not isinstance(to, Mapping):
                type, message = as_message(type, message)
            delivery = self.send_message_nowait(to, type, message, attachment, **options)
        client.await_delivery(delivery, deadline)

    @overload
    def send_message_nowait(
        self,
        to: Recipient,
        type: str | AnyModel,
        message: Mapping[str, Any] | Model,
        attachment: Buffer | None = None,
        **options: Unpack[SendOptions],
    ) -> Delivery: ...
    @overload
    def send_message_nowait(
        self, to: Recipient, type: Model, *, attachment: Buffer | None = None, **options: Unpack[SendOptions]
    ) -> Delivery: ...
    @overload
    def send_message_nowait(
        self, to: Recipient, *, message: Model, attachment: Buffer | None = None, **options: Unpack[SendOptions]
    ) -> Delivery: ...
    @overload
    def send_message_nowait(self, to: Mapping[str, Any], **options: Unpack[SendOptions]) -> Delivery: ...
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
        client = self._meshsync
        limit = client.limit(timeout, SEND_TIMEOUT)
        deadline = Deadline(client.runtime, limit)
        return _send(client, (to, type, message, attachment), limit, deadline, if_offline, confirm)

    @overload
    def broadcast_message(
        self,
        type: str | AnyModel,
        message: Mapping[str, Any] | Model,
        attachment: Buffer | None = None,
        **options: Unpack[BroadcastOptions],
    ) -> None: ...
    @overload
    def broadcast_message(
        self, type: Model, *, attachment: Buffer | None = None, **options: Unpack[BroadcastOptions]
    ) -> None: ...
    @overload
    def broadcast_message(
        self, *, message: Model, attachment: Buffer | None = None, **options: Unpack[BroadcastOptions]
    ) -> None: ...
    @overload
    def broadcast_message(self, type: Mapping[str, Any], **options: Unpack[BroadcastOptions]) -> None: ...
    @hinted_call
    def broadcast_message(
        self,
        type: Any = None,
        message: Any = None,
        attachment: Any = None,
        *,
        timeout: Timeout = "default",
        if_offline: IfOffline = "wait",
    ) -> None:
        """Send a message to all others and wait until the room acknowledges it; see `send_message`."""
        client = self._meshsync
        client.uplink.refuse_to_await("broadcast_message()")
        limit = client.limit(timeout, SEND_TIMEOUT)
        deadline = Deadline(client.runtime, limit)
        if not isinstance(type, Mapping):
            type, message = as_message(type, message)
        delivery = self.broadcast_message_nowait(type, message, attachment, **given(limit, if_offline))
        client.await_delivery(delivery, deadline)

    @overload
    def broadcast_message_nowait(
        self,
        type: str | AnyModel,
        message: Mapping[str, Any] | Model,
        attachment: Buffer | None = None,
        **options: Unpack[BroadcastOptions],
    ) -> Delivery: ...
    @overload
    def broadcast_message_nowait(
        self, type: Model, *, attachment: Buffer | None = None, **options: Unpack[BroadcastOptions]
    ) -> Delivery: ...
    @overload
    def broadcast_message_nowait(
        self, *, message: Model, attachment: Buffer | None = None, **options: Unpack[BroadcastOptions]
    ) -> Delivery: ...
    @overload
    def broadcast_message_nowait(self, type: Mapping[str, Any], **options: Unpack[BroadcastOptions]) -> Delivery: ...
    def broadcast_message_nowait(
        self,
        type: Any = None,
        message: Any = None,
        attachment: Any = None,
        *,
        timeout: Timeout = "default",
        if_offline: IfOffline = "wait",
    ) -> Delivery:
        """Send a message to all others and return at once; see `send_message_nowait`."""
        if isinstance(type, Mapping):
            _, type, message, attachment = unpack(type, None, message, attachment, ("type", "message"))
        type, message = as_message(type, message)
        client = self._meshsync
        client.home.check()
        client.membership.check_enabled()
        try:
            data = as_buffer(attachment, "attachment")
        except InvalidMessage:
            check_text(type, "type")  # First: with a recipient in front all others are in the next one's place.
            raise
        request = Broadcast(type, message, data)
        deadline = Deadline(client.runtime, client.limit(timeout, SEND_TIMEOUT))
        return client.send(request, f"the broadcast {type!r}", deadline, if_offline)


_NOWAIT = SendingFace.send_message_nowait


def _send(
    client: Client,
    message: tuple[Any, Any, Any, Any],
    limit: float | None,
    deadline: Deadline,
    if_offline: IfOffline,
    confirm: bool,
) -> Delivery:
    """Do as `SendingFace.send_message_nowait`, with the time limit that began when that was called.

    Args:
        message: Recipient, type, body and attachment, as the program gave them.
    """
    to, type, body, attachment = message
    if not isinstance(to, _ONE) and isinstance(to, Mapping):
        to, type, body, attachment = unpack(to, type, body, attachment, ("to", "type", "message"))
    type, body = as_message(type, body)
    # First: once messaging or the connection has ended, every participant is offline, which is not the reason.
    client.home.check()
    client.membership.check_enabled()
    if confirm:
        waits, mark = if_offline == "wait", _mark_of(confirm)
        return client.confirmation.submit(to, type, body, attachment, limit, waits=waits, mark=mark)
    recipient, participant = client.membership.address(to)
    request = Send(recipient, type, body, as_buffer(attachment, "attachment"))
    return client.send(request, f"the message {type!r} to {recipient}", deadline, if_offline, participant)


def _mark_of(confirm: object) -> Mark | None:
    """Return what makes a confirmed message ask or answer: our own calls give it in the place of True.

    Raises:
        TypeError: If it is something else, as a text.
    """
    if not isinstance(confirm, (bool, Question, Answer)):
        raise TypeError(f"confirm: True or False, not {confirm!r:.100}")
    return confirm if isinstance(confirm, (Question, Answer)) else None
