"""A client behind its two faces, `RoomClient` and `MessagingClient`: its parts, wired; its beginning and its end.

The faces are for programs, which subclass them, so nothing of ours calls them but the documented hooks. A connection
notifies the `Client`, and so do the parts; the faces ask it. The state of one connection (transport, session,
deliveries, alarms) is the `Connection`; that of the client (router and dispatcher, participants, streams) is made
once, here.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Literal

from meshsync.asking.answering import Answering
from meshsync.asking.asking import Asking
from meshsync.confirmation import Confirmation
from meshsync.confirming.bodies import OWN_PREFIX, check_own_type
from meshsync.connection.budget import ByteBudget
from meshsync.connection.connection import Connection, State
from meshsync.connection.deliveries import Delivery, Parcel, Receipt
from meshsync.connection.forks import Home
from meshsync.connection.reconnecting import ReconnectPlan
from meshsync.connection.states import ClientState
from meshsync.connection.uplink import Uplink
from meshsync.dispatch.hooks import Hook
from meshsync.dispatch.router import Router
from meshsync.dispatch.subscriptions import Overflow, Subscription
from meshsync.errors import (
    ConnectTimeout,
    Dismissed,
    MeshsyncError,
    RoomUnavailable,
    SendTimeout,
    WouldDeadlock,
)
from meshsync.faces import Faces
from meshsync.membership import SEND_TIMEOUT, Membership
from meshsync.messages import RoomMessage, RoomMessageEvent
from meshsync.participants import LocalParticipant, ParticipantDirectory, RemoteParticipant, id_of
from meshsync.protocol import events
from meshsync.protocol.operations import AnswerChunk, Call, CallChunk, Request
from meshsync.protocol.session import Session
from meshsync.protocol.stream_messages import STREAM_TYPES
from meshsync.reasons import safe_text
from meshsync.runtime.deadlines import Deadline, Timeout, check_timeout, own_limit
from meshsync.runtime.interfaces import Runtime, Task
from meshsync.signals import log_life
from meshsync.streams.endpoints import StartInFinalizer
from meshsync.streams.interfaces import StreamReader
from meshsync.streams.table import StreamTable
from meshsync.transport.interfaces import Transport
from meshsync.typed import Codec

__all__ = ["SEND_TIMEOUT", "Client", "IfOffline"]

logger: logging.Logger = logging.getLogger("meshsync")

IfOffline = Literal["wait", "raise"]
"""What a message does that finds no connection: wait for the next one, or raise `NotSent`."""


CLOSE_TIMEOUT = 5.0
"""Seconds, by default."""

EXIT_GRACE = 1.0
"""How long an exiting process waits for the room's close frame, in seconds."""


class Client:
    """A client of one room.

    Args:
        plan: How to get further connections after a loss; None if the first loss is the end.
        role: The role in the client's token.
        default_timeout: In place of each call's own time limit, in seconds; None for those.
        name: For the names of its tasks.
    """

    def __init__(
        self,
        transport: Transport,
        session: Session,
        runtime: Runtime,
        plan: ReconnectPlan | None = None,
        *,
        role: str,
        default_timeout: float | None,
        name: str,
    ) -> None:
        self.runtime = runtime
        self.home: Home = Home()
        """Its process: in a child of that a call has to ask before it takes a lock."""
        check_timeout(default_timeout, "default_timeout")
        self.default_timeout = default_timeout
        self.greeting: events.Ready | None = None
        """The room's greeting; None before it."""
        self.uplink: Uplink = Uplink(transport, session, runtime, self, name, plan)
        self.refuse_to_block: Callable[[str], None] = self.uplink.refuse_to_block
        """Called before each wait: has the reader read, and raises where it would be for ever; see `Uplink`."""
        self.budget: ByteBudget = ByteBudget(runtime)
        """Bounds what is received and unread: the backlog of the dispatcher, subscriptions, and streams whose peers
        have not agreed to flow control."""
        self.membership: Membership = Membership(self, role)
        self.router: Router = Router(
            runtime, name, self.refuse_to_block, self.budget, self.membership.refuse_to_receive
        )
        self.streams: StreamTable
        self.confirmation: Confirmation = Confirmation(self, name, self.membership.check_enabled)
        self.asking: Asking = Asking(self)
        self.answering: Answering = Answering(self, self.asking)
        self._name = name
        self._closing: tuple[Task, ...] = ()
        self._face: object = None
        self._received: Hook | None = None
        self._is_hooked = False
        self._was_closed = False
        self.faces: Faces = Faces()
        self.start_in_finalizer: StartInFinalizer | None = None
        """What finalizers start tasks by; None in a simulation, where nothing may depend on garbage."""

    def attach(
        self, face: object, received: Hook | None, offered: Callable[[StreamReader], StreamReader] | None
    ) -> None:
        """Set the messaging client whose hooks are called, and which signals name as their sender: the first one made.

        Args:
            received: Its hook for messages; None where there is none, so that none runs in vain.
            offered: Its hook for streams, likewise.
        """
        if self._face is not None:
            return  # Others of the same room share the first one's.
        self._face, self._received = face, received
        self._is_hooked = received is not None or offered is not None
        self.streams = StreamTable(
            self,
            self.participants,
            publish=self.router.publish,
            limit=self.limit,
            hook=offered or _unchanged,
            report=partial(self.router.reports.post_failure, "on_stream_accept"),
            refuse_to_receive=self.membership.refuse_to_receive,
        )

    # --- the beginning ------------------------------------------------------------------------------------------------

    def open(self, timeout: float | None) -> None:
        """Start, and wait for the room's greeting.

        Raises:
            ConnectTimeout: If it did not come within ``timeout`` seconds.
            RoomUnavailable: If the connection ended before, whichever side ended it.
            RuntimeError: If no task can be started.
        """
        self.attach(self, None, None)  # Unless the program's factory made a messaging client.
        connection = self.connection
        try:
            self.router.start(self._face, self._received)
            connection.start()
            is_over = connection.wait_open(timeout)
            if connection.state is State.OPEN:
                return
            if not is_over:
                raise ConnectTimeout(f"the room accepted the connection and did not greet within {timeout or 0:.3g} s")
            raise RoomUnavailable(f"the connection ended before the room was ready: {connection.failure()}")
        except BaseException:
            self.uplink.close(lambda: None)  # Lost right behind the greeting, it is reconnecting already.
            connection.abandon()
            for task in self.tasks:
                task.join(1.0)
            raise

    def watch(self, start: StartInFinalizer, path: str, line: int) -> None:
        """Close the client if the program drops it, unless anything is registered at it.

        Args:
            start: Starts a task from a finalizer, given its target and name.
            path: With ``line`` the place where the program connected, for the warning.
        """
        self.start_in_finalizer = start
        if self._is_hooked:
            return  # Each message may be what it is there for.

        def drop() -> None:
            if self.home.is_here and not (self._was_closed or self.router.has_ended):
                start(partial(_close_dropped, self, path, line), f"meshsync closing of {self._name}")

        sender, self._face = self._face, self
        self.router.sender = self.faces.sender
        self.router.on_less = self.router.receivers.on_removed = self.faces.review
        self.faces.watch(sender, lambda: self.router.is_awaited or self.streams.is_awaited, drop)

    # --- the end ------------------------------------------------------------------------------------------------------

    def close(self, timeout: float, wait: bool | None) -> None:
        """Leave the room; see `RoomClient.close`.

        In order: streams are given up, new requests refused, pending ones flushed, the close frame is sent.
        Then the reader notices the end, and ``disconnected`` goes to the receivers, behind all earlier events.
        """
        if self.uplink.is_of_parent:
            return  # The parent's connection is the parent's to close.
        self._was_closed = self.router.is_leaving = True
        connection = self.connection
        is_exiting = self.runtime.is_exiting()
        can_wait = not (is_exiting or self.router.dispatcher.is_inside or self.uplink.is_on_its_task)
        if wait and not can_wait:
            where = "while the process is exiting" if is_exiting else "in a receiver, a hook or the reader"
            raise WouldDeadlock(f"close(wait=True) {where} would wait for tasks that cannot end first: use close()")
        will_wait = can_wait and wait is not False
        deadline = Deadline(self.runtime, timeout)

        def finish() -> None:
            if is_exiting:
                # No task can be started any more, and the process is about to end: only buffered data goes out.
                self.connection.close_transport(min(timeout, EXIT_GRACE))
            elif will_wait:
                self._shut_down(deadline)
            else:
                shut_down = partial(self._shut_down, deadline)
                try:
                    self._closing = (self.runtime.spawn(shut_down, name=f"meshsync closing of {self._name}"),)
                except RuntimeError:  # No thread is left. Receivers may wait for the connection, its reader may not.
                    self._shut_down(Deadline(self.runtime, 0) if connection.is_on_reader else deadline)

        if timeout > 0 and connection.state is State.OPEN:
            patience = 0 if is_exiting or self.uplink.is_on_its_task else timeout / 4
            self.streams.leave(patience)
            self.answering.leave("its program closed it")
            if patience:
                self.confirmation.flush(patience)
        self.uplink.close(finish)
        if will_wait:
            for task in self.tasks:
                task.join(deadline.left())
            self.router.shut()  # What has not begun by now never does: the program may take down what it would use.

    def _shut_down(self, deadline: Deadline) -> None:
        """Flush for half of the time that is left at most, and close the transport; a quarter is the receivers'."""
        left = deadline.left() or 0
        deadline = Deadline(self.runtime, left * 3 / 4)
        self.connection.flush(left / 2)
        self.connection.close_transport(deadline.left() or 0)

    def wait_closed(self, timeout: float | None) -> bool:
        """Wait until the client has ended and the receivers have run, at most ``timeout`` seconds.

        Raises:
            MeshsyncError: What ended it, unless the program did.
            WouldDeadlock: If it would wait for the calling task.
        """
        self.refuse_to_block("wait_closed()")
        if self.router.dispatcher.is_inside:
            raise WouldDeadlock("wait_closed() would wait for the receiver or hook that calls it: return instead")
        deadline = Deadline(self.runtime, timeout)
        # A `close` without time cuts the dispatcher before the reader has noticed the end.
        has_ended = self.router.dispatcher.join(timeout) and all(
            task.join(deadline.left()) for task in (*self.uplink.tasks, *self.confirmation.tasks)
        )
        if has_ended and self.uplink.state is ClientState.LOST:
            raise self.failure()
        return has_ended

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that run for it; some that have ended may be left out."""
        return (*self.router.dispatcher.tasks, *self.uplink.tasks, *self.confirmation.tasks, *self._closing)

    # --- asked by the faces and the streams ---------------------------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """The present connection, or the last one."""
        return self.uplink.connection

    @property
    def participants(self) -> ParticipantDirectory:
        """The other participants."""
        return self.membership.participants

    @property
    def local_participant(self) -> LocalParticipant:
        """This client's own participant."""
        return self.membership.local_participant

    @property
    def session(self) -> Session:
        """The conversation with the room."""
        return self.connection.session

    @property
    def is_open(self) -> bool:
        """Whether there is a connection on which requests can be made."""
        return self.connection.is_open

    @property
    def is_online(self) -> bool:
        """Whether the client is online, and in this process."""
        return self.uplink.state is ClientState.ONLINE and not self.uplink.is_of_parent

    def check_open(self) -> None:
        """Raise if no request can ever be made again; see `Uplink.check_open`."""
        self.uplink.check_open()

    def failure(self) -> MeshsyncError:
        """Return why there is no connection; see `Uplink.failure`."""
        return self.uplink.failure()

    def request(
        self,
        request: Request,
        what: str,
        timeout: float | None,
        on_done: Callable[[MeshsyncError | None], None] | None = None,
        receipt: Receipt | None = None,
        *,
        is_reserved: bool = False,
    ) -> Delivery:
        """Send a request that ends with its connection, and return its handle; see `Connection.request`."""
        delivery = self.connection.request(request, what, timeout, on_done, receipt, is_reserved=is_reserved)
        delivery._default_timeout = self.default_timeout
        return delivery

    def send(
        self, request: Request, what: str, deadline: Deadline, if_offline: IfOffline, recipient: object = None
    ) -> Delivery:
        """Send a message of the program's, on this connection or the next, and return its handle.

        Args:
            deadline: Limits the wait for room in the connection's buffer.
            if_offline: Whether it may wait for the next one.
            recipient: The participant it goes to, or an id; None for a broadcast.
        """
        check_own_type(getattr(request, "type", None))
        if if_offline not in ("wait", "raise"):
            raise ValueError(f"if_offline is 'wait' or 'raise', not {if_offline!r:.100}")
        delivery = self.uplink.request(request, what, deadline, recipient, waits=if_offline == "wait")
        delivery._default_timeout = self.default_timeout
        return delivery

    def subscribe(
        self,
        type: str | None,
        sender: RemoteParticipant | LocalParticipant | str | None,
        *,
        timeout: float | None,
        maxsize: int,
        overflow: Overflow,
        codec: Codec[Any] | None = None,
    ) -> Subscription[Any]:
        """Return a subscription to messages; see `MessagingClient.messages`."""
        id, follows = None, None
        if sender is not None:
            id, follows = id_of(sender), self.confirmation.follow(sender)
            self.membership.check_no_name(id)
        return self.router.subscribe(
            type=type,
            sender=id,
            follows=follows,
            timeout=timeout,
            maxsize=maxsize,
            overflow=overflow,
            limit=self.limit,
            codec=codec,
        )

    def await_delivery(self, delivery: Delivery, deadline: Deadline) -> None:
        """Wait for an acknowledgement; a message that waits for a connection when the wait ends is not sent any more.

        The caller has asked `Uplink.refuse_to_await`.

        Raises:
            SendTimeout: If the time limit passed first.
            MeshsyncError: Others as `Delivery.wait`.
        """
        try:
            delivery._await(deadline)
        except SendTimeout:
            if self.uplink.withdraw(delivery):
                raise SendTimeout(f"{delivery._what}: the client was offline; not sent", retryable=True) from None
            if not self.confirmation.give_up(delivery) and not delivery.is_done:
                raise
            delivery.wait(0)
        except BaseException:  # Ctrl-C
            self.uplink.withdraw(delivery)
            self.confirmation.give_up(delivery)
            raise

    def disregard(self, delivery: Delivery) -> None:
        """Wait no more for the answer to a request."""
        self.connection.disregard(delivery)

    def set_alarm(self, key: object, seconds: float, ring: Callable[[], None]) -> None:
        """Call ``ring`` on the reader after ``seconds``; see `Alarms.set`."""
        self.connection.alarms.set(key, seconds, ring)

    def cancel_alarm(self, key: object) -> None:
        """Cancel the alarm, if there is one. Any task may."""
        self.connection.alarms.cancel(key)

    def spawn(self, target: Callable[[], None], name: str) -> None:
        """Run code of the program in a task of its own, if it may still begin then; see `Dispatcher.spawn`."""
        gate = self.router.gate

        def run() -> None:
            if gate.enter(target):
                try:
                    target()
                finally:
                    gate.leave()

        self.router.dispatcher.spawn(run, name)

    def limit(self, timeout: Timeout, default: float | None) -> float | None:
        """Return a call's time limit in seconds: its own, else the one for all calls, else ``default``.

        Raises:
            TypeError: As `check_timeout`, and `ValueError` too.
        """
        if self.default_timeout is not None:
            default = check_timeout(self.default_timeout)
        return own_limit(timeout, default)

    # --- notified by the connection, on the reader --------------------------------------------------------------------

    def received(self, event: events.Event) -> None:
        """Pass an event to the parts that it concerns. Never waits."""
        match event:
            case events.Received():
                self._message_came(event)
            case Call() | CallChunk() | AnswerChunk():
                self.streams.take_call(event)
            case events.Ready():
                self.greeting = event
                self.membership.greeted(event)
            case events.StatusReported(status):
                with suppress(Exception):  # A failing log handler must not end the connection.
                    logger.info("the room's status: %s", status)
            case _:
                self.membership.received(event)

    def went_offline(self, error: MeshsyncError) -> None:
        """End what ends with a connection; the roster stays as last known."""
        log_life(self._name, "lost its connection, and reconnects: %s", safe_text(error))
        self.confirmation.disconnect()
        self.streams.went_offline()
        self.asking.went_offline()
        self.publish("disconnected", "disconnected", {"reason": safe_text(error), "will_retry": True}, error=error)

    def attempt_ended(self) -> None:
        """Have ``restore``, which may wait for the list of participants, look at its connection."""
        self.confirmation.disconnect()
        self.participants.look_again()

    def restore(self, connection: Connection, deadline: Deadline) -> None:
        """Make the room what the program wants it to be; see `Membership.restore`."""
        self.membership.restore(connection, deadline)

    def readdress(self, parcel: Parcel) -> Request:
        """Return a message as it has to be sent now; see `Membership.readdress`."""
        return self.membership.readdress(parcel)

    def came_online(self, seconds: float) -> None:
        """Report that the client is back after so many seconds."""
        self.publish("reconnected", "reconnected", {"seconds": seconds})

    def ended(self, error: MeshsyncError | None) -> None:
        """End all parts; ``error`` is None if the program closed it."""
        self.asking.fail_all(self.failure())
        self.confirmation.end(error)
        self.membership.end()
        self.streams.end()
        reason = "closed by this program" if error is None else safe_text(error)
        self.publish("disconnected", "disconnected", {"reason": reason, "will_retry": False}, error=error)
        self.router.end(self.failure())

    def _message_came(self, event: events.Received) -> None:
        if event.type in STREAM_TYPES:
            self.streams.take(event)
            return
        if event.type.startswith(OWN_PREFIX):
            self.confirmation.take(event)
            return
        sender: RemoteParticipant | LocalParticipant | None = self.participants.get(event.sender)
        if sender is None and event.sender == self.local_participant.id:
            sender = self.local_participant
        message = RoomMessage(event.type, event.message, event.attachment, event.sender, sender)
        self.router.publish(RoomMessageEvent("message", message, sender), event.size)
        if event.type == "dismiss" and self.session.dialect.ends_at_dismissal:
            raise Dismissed(f"{message.from_participant_id} dismissed this client", reason="dismissed")

    def replaced(self, participant_id: str) -> None:
        """Remove a participant that has come back under another id, though the room has not missed it yet."""
        self.membership.replaced(participant_id)

    def publish(
        self,
        name: str,
        type: str,
        body: Mapping[str, object],
        participant: RemoteParticipant | None = None,
        *,
        error: MeshsyncError | None = None,
        size: int = 0,
    ) -> None:
        """Report an event to the receivers.

        Args:
            type: The ``type`` of its message.
            body: The ``message`` of that.
        """
        message = RoomMessage(type, body, b"", participant.id if participant else "", participant)
        self.router.publish(RoomMessageEvent(name, message, participant, error=error), size)


def _close_dropped(client: Client, path: str, line: int) -> None:
    """Close a client that its program has dropped, and say where it connected."""
    room = client.greeting.room_name if client.greeting else ""
    text = (
        f"unclosed client {client.local_participant.name!r} in room {room!r}, connected at {path}:{line}: nothing "
        "refers to it and nothing is registered at it, so it is closed; use 'with', or close it"
    )
    try:
        warnings.warn_explicit(text, ResourceWarning, path, line)
    finally:
        client.close(CLOSE_TIMEOUT, None)


def _unchanged(reader: StreamReader) -> StreamReader:
    return reader
