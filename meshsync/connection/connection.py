"""A live connection: its reader, its unacknowledged requests, and its end.

The *reader* task waits on the transport and nothing else: it feeds the session, resolves deliveries and hands events to
the handler, which may not wait. A request is sent on the task of its caller, when that has the turn.

The meaning of events, and the task of the program's code, are not this module's business.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from meshsync.connection.alarms import Alarms
from meshsync.connection.deliveries import Delivery, Receipt
from meshsync.connection.failures import CLOSED_HERE, another, carry_over, client_failed, refusal, simulation_over
from meshsync.connection.forks import Home
from meshsync.connection.send_queue import SendQueue
from meshsync.connection.send_room import SendRoom, takes_room
from meshsync.connection.turns import Turns
from meshsync.errors import (
    ClientClosed,
    ConnectionLost,
    DeliveryUnknown,
    Dismissed,
    MeshsyncError,
    NotSent,
    ProtocolError,
    SendTimeout,
    WouldDeadlock,
)
from meshsync.protocol import events
from meshsync.protocol.operations import Request, is_answered
from meshsync.protocol.session import Encoded, Session, body_size
from meshsync.reasons import describe_error
from meshsync.runtime.coroutines import warn_in_coroutine
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime, Task, TaskExit
from meshsync.runtime.lifecycle import move
from meshsync.transport.interfaces import Transport, TransportStats

__all__ = ["Connection", "ConnectionStats", "Handler", "State"]

logger: logging.Logger = logging.getLogger("meshsync")
_traffic = logging.getLogger("meshsync.traffic")


class State(Enum):
    """The life of a connection."""

    OPENING = "opening"
    """The greeting is not complete."""
    OPEN = "open"
    CLOSING = "closing"
    """The program closed it; requests under way may finish."""
    CLOSED = "closed"
    LOST = "lost"
    """It ended, and the program did not close it."""


_MOVES: dict[State, frozenset[State]] = {
    State.OPENING: frozenset({State.OPEN, State.CLOSING, State.LOST}),
    State.OPEN: frozenset({State.CLOSING, State.LOST}),
    State.CLOSING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
    State.LOST: frozenset(),
}

_ENDED = frozenset({State.CLOSED, State.LOST})
_OPEN, _CLOSING = State.OPEN, State.CLOSING  # Not looked up by name at each message.


class Handler(Protocol):
    """Notified by a connection, on the reader. Neither method may wait."""

    def received(self, event: events.Event) -> None:
        """An event arrived. Deliveries have been resolved already."""

    def comes_back(self, error: MeshsyncError) -> bool:
        """Return whether there will be another connection after this end, which is then no end of the client."""
        ...

    def ended(self, error: MeshsyncError | None, unwritten: Sequence[Delivery]) -> None:
        """No event follows; ``error`` is None if the program closed the connection.

        Args:
            unwritten: Deliveries that may be sent on another connection, no byte of them having been written; in order.
        """


@dataclass(frozen=True, slots=True)
class ConnectionStats:
    """Figures of a connection, as they are now."""

    pending: int
    """Requests whose deliveries are not done."""
    bytes_unacknowledged: int
    """Those of pending messages and chunks."""
    waiting_senders: int
    """Tasks in ``request``: one has the turn, the others wait for it or for room."""
    traffic: TransportStats


class Connection:
    """One connection, from the transport's opening to its end.

    Args:
        name: For the name of its reader.
    """

    def __init__(self, transport: Transport, session: Session, runtime: Runtime, handler: Handler, name: str) -> None:
        self.session = session
        self.runtime = runtime
        self.alarms: Alarms = Alarms(runtime)
        """The reader's own time limits."""
        self._transport = transport
        self._handler = handler
        self._name = name
        self._home = Home()
        self._condition = runtime.condition()
        self._state = State.OPENING
        self._error: MeshsyncError | None = None
        self._send_queue = SendQueue()
        self.send_room: SendRoom = SendRoom(runtime)
        """Bounds what is sent and unacknowledged."""
        self._deliveries: dict[int, Delivery] = {}
        self._packets_accepted = 0
        """Those of the tasks that had the turn."""
        self._packets_reserved = 0
        """The others."""
        self._is_count_certain = True
        self._reader: Task | None = None
        self._reader_id: object = None
        """The task that reads at this moment."""
        self._turns: Turns | None = None
        if runtime.shield is not None:
            self._turns = Turns(runtime, runtime.shield, transport, self._feed, self._deliveries, self.alarms)

    def start(self) -> None:
        """Begin to read; the handler has to be complete.

        Raises:
            RuntimeError: If no task can be started; the connection has ended.
        """
        try:
            self._reader = self.runtime.spawn(self._run_reader, name=f"meshsync reader of {self._name}")
        except BaseException as error:
            # Ctrl-C, or no task could be started: without a reader no task ends the waits of others.
            self._transport.close(0)
            self._end(client_failed(describe_error(error)))
            raise

    # --- state --------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._state

    @property
    def is_open(self) -> bool:
        """Whether requests can be made."""
        return self._state is State.OPEN and self._home.is_here

    @property
    def is_of_parent(self) -> bool:
        """Whether this process is a child of the one that the connection belongs to."""
        return not self._home.is_here

    @property
    def is_on_reader(self) -> bool:
        """Whether the caller is the task that reads the connection."""
        return self._reader_id == self.runtime.current()

    def stats(self) -> ConnectionStats:
        """Return the figures of this moment."""
        room, waiting = self.send_room, len(self._send_queue) + len(self.send_room)
        return ConnectionStats(len(self._deliveries), room.held, waiting, self._transport.stats())

    def check_open(self) -> None:
        """Raise unless requests can be made.

        Raises:
            ForkedClientError: In a child process.
            ClientClosed: If the program closed the client.
            NotSent: If the connection was lost.
        """
        self._home.check()
        state = self._state
        if state is _OPEN:
            return
        if state in (State.CLOSING, State.CLOSED):
            raise ClientClosed(CLOSED_HERE)
        if state is State.LOST:
            raise carry_over(NotSent, "nothing was sent", self._error)

    def failure(self) -> MeshsyncError:
        """Return, after the end, the error of later calls: `ConnectionLost` or `ClientClosed`."""
        error = self._error
        if error is None:
            return ClientClosed(CLOSED_HERE)
        return another(error)

    def wait_open(self, timeout: float | None) -> bool:
        """Wait for the greeting or the end, at most ``timeout`` seconds; return whether either came."""
        with self._condition:
            return self._condition.wait_for(lambda: self._state is not State.OPENING, timeout)

    def refuse_to_block(self, what: str) -> None:
        """Raise if the calling task would wait for ever.

        Raises:
            WouldDeadlock: On the reader, where only finalizers and log handlers of the program can run.
            ForkedClientError: In a child process, where no reader runs.
        """
        self._home.check()
        warn_in_coroutine(what)
        if self.is_on_reader:
            raise WouldDeadlock(f"{what} on the task that reads the connection would never end")

    def call_reader(self) -> None:
        """Have the reader read from now on, if a task read its answers itself: something else is waited for."""
        if self._turns is not None:
            self._turns.call_reader()

    def _move(self, state: State) -> None:
        self._state = move(_MOVES, self._state, state, "a connection")
        self._condition.notify_all()

    # --- sending ------------------------------------------------------------------------------------------------------

    def request(
        self,
        request: Request,
        what: str,
        timeout: float | Deadline | None,
        on_done: Callable[[MeshsyncError | None], None] | None = None,
        receipt: Receipt | None = None,
        *,
        is_reserved: bool = False,
    ) -> Delivery:
        """Send a request and return its handle, done at once if the request has no answer, such as attributes.

        Args:
            what: The name of the request in errors.
            timeout: The longest wait for room in the connection's buffer, and among what is unacknowledged, in seconds;
                or its end.
            on_done: Called on the reader with the outcome; must not wait.
            receipt: Marked if the request is sent, whatever exception strikes then.
            is_reserved: Whether no task waits for it: it goes at once, ahead of those that wait for their turn, from
                the reserve of the connection's buffer where that is full; or it is refused at once.
        Raises:
            InvalidMessage: If it cannot be carried.
            SendTimeout: If there was no room in time; nothing was sent.
            ConnectionLost: `NotSent`, if the connection is gone.
            ClientClosed: If the program closed the client.
        """
        self.check_open()
        deadline = timeout if isinstance(timeout, Deadline) else Deadline(self.runtime, timeout)
        encoded = self.session.encode(request)
        delivery = Delivery(what, self.runtime, self.refuse_to_block, on_done)
        if is_reserved:
            self._send(request, encoded, delivery, None, receipt or Receipt())
        else:
            self.submit(delivery, request, encoded, deadline, receipt=receipt)
        return delivery

    def submit(
        self,
        delivery: Delivery,
        request: Request,
        encoded: Encoded,
        deadline: Deadline,
        next_place: Callable[[], int] | None = None,
        receipt: Receipt | None = None,
    ) -> None:
        """Send an encoded request, whose delivery is new or was returned unwritten; raises as `request`.

        Args:
            deadline: Limits the wait for room in the connection's buffer.
            next_place: Gives a new delivery its place in the order of sending, when it has the turn.
        """
        self.check_open()
        if self.is_on_reader:
            deadline = Deadline(self.runtime, 0)  # The reader makes the room that it would wait for.
        receipt = receipt or Receipt()
        size = body_size(encoded) if takes_room(request) else 0
        try:
            if size and not self.send_room.enter(delivery, size, deadline):
                held = self.send_room.held
                raise SendTimeout(
                    f"{delivery._what}: {held} bytes are sent and were not acknowledged within {deadline.limit:.3g} s; "
                    "not sent",
                    retryable=True,
                )
            if not self._send_queue.wait_for_turn(delivery, deadline):
                raise SendTimeout(
                    f"{delivery._what}: the connection was busy for {deadline.limit:.3g} s; not sent", retryable=True
                )
            if next_place is not None and delivery._place is None:
                delivery._place = next_place()
            if self._state is not _OPEN:
                self.check_open()
            self._send(request, encoded, delivery, deadline, receipt)
        except BaseException:
            if not (receipt.is_sent and delivery._is_awaited):
                self.send_room.leave(delivery)
            raise
        finally:
            try:
                self._send_queue.leave(delivery)
            except BaseException:  # Ctrl-C struck in there.
                self._send_queue.leave(delivery)
                raise

    def _send(
        self, request: Request, encoded: Encoded, delivery: Delivery, deadline: Deadline | None, receipt: Receipt
    ) -> None:
        # Only the task that has the turn is here, or, without a deadline, one that uses the reserve. So packets may be
        # accepted between the count and `send`, which may then be late: `NotSent` is for those certainly not written.
        request_id, packets = self.session.issue(request, encoded)
        if _traffic.isEnabledFor(logging.DEBUG):
            from meshsync.connection.traffic import log_sent

            log_sent(self._name, self.session.roster, request_id, request, body_size(encoded))
        delivery._first_packet = self._packets_accepted + self._packets_reserved
        has_answer, before = is_answered(request), self._packets_accepted
        accepted = self._transport.accepted(is_reserved=deadline is None)
        if has_answer:
            self._deliveries[request_id] = delivery  # Before sending: the answer may be back before `send` is.
            if self._turns is not None:
                delivery._wait = self._turns.wait
        try:
            if deadline is not None:
                self._transport.send(packets, deadline.left())
                receipt.is_sent = True
                self._packets_accepted += len(packets)
            else:
                self._transport.send(packets, 0, is_reserved=True)
                receipt.is_sent = True
                with self._condition:
                    self._packets_reserved += len(packets)
        except (SendTimeout, ConnectionLost) as error:
            if has_answer:
                self.session.withdraw(request_id)
                if self._forget(request_id) is None and delivery._parcel is not None:
                    return  # The end of the connection has taken it: it waits for the next one, or has failed.
            if isinstance(error, ConnectionLost):
                raise carry_over(NotSent, "nothing was sent", error) from error
            raise
        except BaseException:
            # Ctrl-C: the transport accepted all or nothing.
            receipt.is_sent = self._transport.accepted(is_reserved=deadline is None) != accepted
            if deadline is None:
                self._is_count_certain = False  # Others may use the reserve at the same time.
            elif receipt.is_sent:
                self._packets_accepted = before + len(packets)
            # No task has the delivery, so nobody waits for its answer; but a stream may count on being told of it.
            if has_answer and not (receipt.is_sent and delivery._is_awaited):
                self._forget(request_id)
            raise
        if not has_answer:
            delivery._resolve(None)

    def disregard(self, delivery: Delivery) -> None:
        """Wait no more for the answer to a request, in closing too."""
        for request_id, other in list(self._deliveries.items()):
            if other is delivery:
                self._forget(request_id)

    def _forget(self, request_id: int) -> Delivery | None:
        delivery = self._deliveries.pop(request_id, None)
        if delivery is not None:
            self.send_room.leave(delivery)
        if self._state is _CLOSING and not self._deliveries:
            with self._condition:
                self._condition.notify_all()
        return delivery

    # --- reading ------------------------------------------------------------------------------------------------------

    def _run_reader(self) -> None:
        self._reader_id = self.runtime.current()
        error: MeshsyncError = client_failed("")
        try:
            while True:
                if self._turns is not None:
                    self._turns.stand_aside()
                timeout = self.alarms.ring() if self.alarms else None
                for event in self.session.receive(self._transport.receive(timeout)):
                    self._handle(event)
        except (ConnectionLost, ProtocolError) as caught:
            error = caught
            if isinstance(caught, ProtocolError):
                self._transport.close(1.0, caught.code, str(caught)[:100])
            elif isinstance(caught, Dismissed):
                self._transport.close(1.0)
        except TaskExit:
            error = simulation_over()
            raise
        except BaseException as caught:
            # A fault of ours. It must not leave callers waiting for answers that no task reads.
            logger.exception("the reader failed; the connection is closed")
            error = client_failed(describe_error(caught))
        finally:
            try:
                self._transport.close(0)
            finally:
                self._end(error)
                self._reader_id = None  # Another task may get the same name.

    def _feed(self, packets: Sequence[bytes]) -> None:
        """Handle what another task than the reader has read."""
        reader, self._reader_id = self._reader_id, self.runtime.current()
        try:
            for event in self.session.receive(packets):
                self._handle(event)
        finally:
            self._reader_id = reader

    def _handle(self, event: events.Event) -> None:
        if _traffic.isEnabledFor(logging.DEBUG):
            from meshsync.connection.traffic import log_received

            log_received(self._name, self.session.roster, event)
        if type(event) is events.Answered:
            delivery = self._forget(event.request_id)
            if delivery is not None:
                delivery._resolve(refusal(event.content, delivery._what))
            return
        if self._turns is not None:
            self._turns.something_came()
        if type(event) is events.Received:
            self._handler.received(event)
        elif isinstance(event, events.Ready):
            self._handler.received(event)
            with self._condition:
                if self._state is State.OPENING:
                    self._move(State.OPEN)
        elif isinstance(event, events.Skipped):
            with suppress(Exception):  # A failing log handler must not end the connection.
                logger.warning("skipped %s", event.reason)
        else:
            self._handler.received(event)

    def _end(self, error: MeshsyncError) -> None:
        with self._condition:
            if self._state in _ENDED:
                return
            was_wanted = self._state is State.CLOSING
            self._error = None if was_wanted else error
            error.connection_alive = not was_wanted and self._handler.comes_back(error)
            self._move(State.CLOSED if was_wanted else State.LOST)
        unwritten: list[Delivery] = []
        for request_id in list(self._deliveries):
            delivery = self._deliveries.pop(request_id, None)
            if delivery is not None and not self._fail(delivery):
                unwritten.append(delivery)
        self._handler.ended(self._error, unwritten)

    def _fail(self, delivery: Delivery) -> bool:
        """Resolve a delivery that was not acknowledged; return False for one that another connection may carry."""
        self.send_room.leave(delivery)
        if not self._is_count_certain or delivery._first_packet < self._transport.written():
            delivery._resolve(carry_over(DeliveryUnknown, "the message may or may not have arrived", self._error))
        elif delivery._parcel is None:
            delivery._resolve(carry_over(NotSent, "the message was not sent", self._error))
        else:
            return False
        return True

    # --- closing ------------------------------------------------------------------------------------------------------

    def close(self, finish: Callable[[], None]) -> None:
        """Refuse new requests, and call ``finish``, which has to close the transport; later calls do nothing.

        If that fails, by Ctrl-C or because no task could be started, the connection is cut: closing again only waits,
        so nothing else would end it.
        """
        is_first = False
        try:
            with self._condition:
                if self._state in (State.OPENING, State.OPEN):
                    is_first = True
                    self._move(State.CLOSING)
            if is_first:
                self.call_reader()
                finish()
        except BaseException:
            if is_first:
                self._transport.close(0)
            raise

    def flush(self, timeout: float) -> None:
        """Wait until all requests are acknowledged, or the connection has ended, at most ``timeout`` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: not self._deliveries or self._state in _ENDED, timeout)

    def close_transport(self, timeout: float) -> None:
        """Close the transport by a closing handshake of at most ``timeout`` seconds; 0 skips it.

        The reader notices, and ends the rest.
        """
        self._transport.close(timeout)

    def abandon(self) -> None:
        """End at once, without closing handshake: the greeting never came."""
        self.close(lambda: None)
        self._transport.close(0)
        if self._reader is None:
            self._end(client_failed(""))  # No reader notices.

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Its reader, once there is one."""
        return () if self._reader is None else (self._reader,)
