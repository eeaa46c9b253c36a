"""A client behind its two faces, `RoomClient` and `MessagingClient`: its parts, wired; its beginning and its end.

The faces are for programs, which subclass them, so nothing of ours calls them but the documented hooks. A connection
notifies the `Client`, and so do the parts; the faces ask it. The state of one connection (transport, session,
deliveries, alarms) is the `Connection`; that of the client (router and dispatcher, participants, streams) is made
once, here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from meshsync.connection.connection import Connection, State
from meshsync.connection.deliveries import Delivery
from meshsync.dispatch.router import Hook, Router
from meshsync.errors import (
    ConnectTimeout,
    MeshsyncError,
    NotEnabled,
    ParticipantNotFound,
    RoomUnavailable,
    WouldDeadlock,
)
from meshsync.messages import RoomMessage, RoomMessageEvent
from meshsync.participants import LocalParticipant, ParticipantDirectory, RemoteParticipant, id_of
from meshsync.protocol import events
from meshsync.protocol.operations import AnswerChunk, Call, CallChunk, Request, SetAttributes
from meshsync.protocol.roster import RosterEntry
from meshsync.protocol.session import Session
from meshsync.protocol.stream_messages import STREAM_TYPES
from meshsync.reasons import safe_text
from meshsync.runtime.deadlines import Deadline, Timeout, check_timeout, own_limit
from meshsync.runtime.interfaces import Runtime, Task
from meshsync.streams.interfaces import StreamReader
from meshsync.streams.table import StreamTable
from meshsync.transport.interfaces import Transport

__all__ = ["SEND_TIMEOUT", "Client"]

logger = logging.getLogger("meshsync")

SEND_TIMEOUT = 30.0
"""Seconds; also for opening a stream, for writing to it, and for setting an attribute."""

EXIT_GRACE = 1.0
"""How long an exiting process waits for the room's close frame, in seconds."""


class Client:
    """A client of one room.

    Args:
        role: The role in the client's token.
        default_timeout: In place of each call's own time limit, in seconds; None for those.
        name: For the names of its tasks.
    """

    def __init__(
        self,
        transport: Transport,
        session: Session,
        runtime: Runtime,
        *,
        role: str,
        default_timeout: float | None,
        name: str,
    ) -> None:
        self.runtime = runtime
        check_timeout(default_timeout, "default_timeout")
        self.default_timeout = default_timeout
        self.greeting: events.Ready | None = None
        """The room's greeting; None before it."""
        self.local_participant = LocalParticipant("", role, {}, self._set_attributes)
        self.connection = Connection(transport, session, runtime, self, name)
        self.participants = ParticipantDirectory(runtime)
        self.router = Router(runtime, name, self.refuse_to_block)
        self.streams: StreamTable
        self._name = name
        self._closing: tuple[Task, ...] = ()
        self._face: object = None
        self._received: Hook | None = None

    def attach(self, face: object, received: Hook | None, offered: Callable[[StreamReader], StreamReader]) -> None:
        """Set the messaging client whose hooks are called, and which signals name as their sender: the first one made.

        Args:
            received: Its hook for messages; None where there is none, so that none runs in vain.
            offered: Its hook for streams.
        """
        if self._face is not None:
            return  # Others of the same room share the first one's.
        self._face, self._received = face, received
        self.streams = StreamTable(
            self,
            self.participants,
            publish=self.router.publish,
            limit=self.limit,
            hook=offered,
            report=partial(self.router.report, "on_stream_accept"),
        )

    # --- the beginning ------------------------------------------------------------------------------------------------

    def open(self, timeout: float | None) -> None:
        """Start, and wait for the room's greeting.

        Raises:
            ConnectTimeout: If it did not come within ``timeout`` seconds.
            RoomUnavailable: If the connection ended before, whichever side ended it.
            RuntimeError: If no task can be started.
        """
        self.attach(self, None, lambda reader: reader)  # Unless the program's factory made a messaging client.
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
            connection.abandon()
            for task in self.tasks:
                task.join(1.0)
            raise

    # --- the end ------------------------------------------------------------------------------------------------------

    def close(self, timeout: float, wait: bool | None) -> None:
        """Leave the room; see `RoomClient.close`.

        In order: streams are given up, new requests refused, pending ones flushed, the close frame is sent.
        Then the reader notices the end, and ``disconnected`` goes to the receivers, behind all earlier events.
        """
        connection = self.connection
        if connection.is_of_parent:
            return  # The parent's connection is the parent's to close.
        is_exiting = self.runtime.is_exiting()
        can_wait = not (is_exiting or self.router.dispatcher.is_inside or connection.is_on_reader)
        if wait and not can_wait:
            where = "while the process is exiting" if is_exiting else "in a receiver, a hook or the reader"
            raise WouldDeadlock(f"close(wait=True) {where} would wait for tasks that cannot end first: use close()")
        will_wait = can_wait and wait is not False
        deadline = Deadline(self.runtime, timeout)

        def finish() -> None:
            if is_exiting:
                # No task can be started any more, and the process is about to end: only buffered data goes out.
                connection.close_transport(min(timeout, EXIT_GRACE))
            elif will_wait:
                self._shut_down(deadline)
            else:
                shut_down = partial(self._shut_down, deadline)
                self._closing = (self.runtime.spawn(shut_down, name=f"meshsync closing of {self._name}"),)

        if timeout > 0 and connection.state is State.OPEN:
            self.streams.leave()
        connection.close(finish)
        if will_wait:
            for task in self.tasks:
                task.join(deadline.left())

    def _shut_down(self, deadline: Deadline) -> None:
        self.connection.flush((deadline.left() or 0) / 2)
        self.connection.close_transport(deadline.left() or 0)

    def wait_closed(self, timeout: float | None) -> bool:
        """Wait until the connection has ended and the receivers have run, at most ``timeout`` seconds.

        Raises:
            WouldDeadlock: If it would wait for the calling task.
        """
        if self.router.dispatcher.is_inside:
            raise WouldDeadlock("wait_closed() would wait for the receiver or hook that calls it: return instead")
        self.refuse_to_block("wait_closed()")
        return self.router.dispatcher.join(timeout)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that run for it; some that have ended may be left out."""
        return (*self.router.dispatcher.tasks, *self.connection.tasks, *self._closing)

    # --- asked by the faces and the streams ---------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The conversation with the room."""
        return self.connection.session

    @property
    def is_open(self) -> bool:
        """Whether requests can be made."""
        return self.connection.is_open

    def check_open(self) -> None:
        """Raise unless requests can be made; see `Connection.check_open`."""
        self.connection.check_open()

    def failure(self) -> MeshsyncError:
        """Return, after the end, the error of later calls; see `Connection.failure`."""
        return self.connection.failure()

    def refuse_to_block(self, what: str) -> None:
        """Raise where the calling task would wait for ever; see `Connection.refuse_to_block`."""
        self.connection.refuse_to_block(what)

    def request(
        self,
        request: Request,
        what: str,
        timeout: float | None,
        on_done: Callable[[MeshsyncError | None], None] | None = None,
        *,
        is_reserved: bool = False,
    ) -> Delivery:
        """Send a request and return its handle; see `Connection.request`."""
        delivery = self.connection.request(request, what, timeout, on_done, is_reserved=is_reserved)
        delivery._default_timeout = self.default_timeout
        return delivery

    def disregard(self, delivery: Delivery) -> None:
        """Wait no more for the answer to a request."""
        self.connection.disregard(delivery)

    def set_alarm(self, key: object, seconds: float, ring: Callable[[], None]) -> None:
        """Call ``ring`` on the reader after ``seconds``; see `Alarms.set`."""
        self.connection.alarms.set(key, seconds, ring)

    def cancel_alarm(self, key: object) -> None:
        """Cancel the alarm, if there is one. Any task may."""
        self.connection.alarms.cancel(key)

    def post(self, job: Callable[[], None]) -> None:
        """Run a job on the dispatcher, after all that were posted before. Never waits."""
        self.router.dispatcher.post(job)

    def spawn(self, target: Callable[[], None], name: str) -> None:
        """Run code of the program in a task of its own; see `Dispatcher.spawn`."""
        self.router.dispatcher.spawn(target, name)

    def limit(self, timeout: Timeout, default: float | None) -> float | None:
        """Return a call's time limit in seconds: its own, else the one for all calls, else ``default``.

        Raises:
            TypeError: As `check_timeout`, and `ValueError` too.
        """
        return own_limit(timeout, default if self.default_timeout is None else check_timeout(self.default_timeout))

    def check_enabled(self) -> None:
        """Raise unless this client takes part in messaging.

        Raises:
            NotEnabled: If it does not, though the connection is open; else as `check_open`.
        """
        if not self.participants.is_enabled:
            self.check_open()
            raise NotEnabled("messaging is not enabled on this client: call room.messaging.enable() first")

    def address(self, to: object) -> str:
        """Return the id of a recipient, given as a participant or an id.

        Raises:
            ParticipantNotFound: If it has left, or is the name of a participant.
            TypeError: If it is neither.
        """
        recipient = id_of(to)
        if isinstance(to, RemoteParticipant) and not to.online:
            self.check_open()  # At the connection's end all participants go offline.
            raise ParticipantNotFound(f"{to.name or to.id!r} has left the room's messaging")
        if self.participants.get(recipient) is None and recipient != self.local_participant.id:
            namesake = self.participants.by_name(recipient)
            if namesake is not None:
                raise ParticipantNotFound(
                    f"{recipient!r} is a name and no id: give get_participant_by_name({recipient!r}), or its id "
                    f"{namesake.id!r}"
                )
        return recipient

    def _set_attributes(self, attributes: Mapping[str, Any]) -> None:
        limit = self.limit("default", SEND_TIMEOUT)
        self.request(SetAttributes(dict(attributes)), "setting an attribute", limit)

    # --- notified by the connection, on the reader --------------------------------------------------------------------

    def received(self, event: events.Event) -> None:
        """Pass an event to the parts that it concerns. Never waits."""
        participants = self.participants
        match event:
            case events.Received():
                self._message_came(event)
            case Call() | CallChunk() | AnswerChunk():
                self.streams.take_call(event)
            case events.MemberAdded(entry):
                participant = participants.enter(entry)
                self.streams.peer_came(participant)
                self._publish("participant_added", "participant.enabled", _about(entry), participant)
            case events.MemberRemoved(entry):
                participant = participants.leave(entry)
                self._publish("participant_removed", "participant.disabled", {"id": entry.id}, participant)
                self.streams.peer_left(participant)
            case events.MemberChanged(entry, changes):
                participant = participants.change(entry)
                body = {"attributes": changes}
                self._publish("participant_attributes_updated", "participant.attributes", body, participant)
            case events.Enabled(entries):
                for entry in entries:
                    participants.enter(entry)
                participants.set_enabled(True)
                listed = {"participants": [_about(entry) for entry in entries]}
                self._publish("messaging_enabled", "messaging.enabled", listed)
            case events.Disabled():
                participants.set_enabled(False)
                self._publish("messaging_disabled", "messaging.disabled", {})
            case events.Ready():
                self.greeting = event
                self.local_participant = LocalParticipant(
                    event.participant_id, self.local_participant.role, event.attributes, self._set_attributes
                )
            case events.StatusReported(status):
                with suppress(Exception):  # A failing log handler must not end the connection.
                    logger.info("the room's status: %s", status)

    def ended(self, error: MeshsyncError | None) -> None:
        """End all parts; ``error`` is None if the program closed it."""
        self.participants.end()
        self.streams.end()
        reason = "closed by this program" if error is None else safe_text(error)
        self._publish("disconnected", "disconnected", {"reason": reason, "will_retry": False}, error=error)
        self.router.end(self.failure())

    def _message_came(self, event: events.Received) -> None:
        if event.type in STREAM_TYPES:
            self.streams.take(event)
            return
        sender: RemoteParticipant | LocalParticipant | None = self.participants.get(event.sender)
        if sender is None and event.sender == self.local_participant.id:
            sender = self.local_participant
        message = RoomMessage(event.type, event.message, event.attachment, event.sender, sender)
        self.router.publish(RoomMessageEvent("message", message, sender))

    def _publish(
        self,
        name: str,
        type: str,
        body: Mapping[str, object],
        participant: RemoteParticipant | None = None,
        *,
        error: MeshsyncError | None = None,
    ) -> None:
        message = RoomMessage(type, body, b"", participant.id if participant else "", participant)
        self.router.publish(RoomMessageEvent(name, message, participant, error=error))


def _about(entry: RosterEntry) -> dict[str, object]:
    return {"id": entry.id, "role": entry.role, "attributes": dict(entry.attributes)}
