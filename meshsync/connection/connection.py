"""A live connection as the client uses it: who reads, who dispatches, what is pending, and how it ends.

The *reader* task waits on the transport and nothing else: it feeds the session, resolves deliveries and hands events to
the client's parts, none of which may wait. The *dispatcher* task runs what they post to it, one item after the other;
that is where the program's receivers run. Whoever sends does so on its own task, when it has the turn.

What events mean is not this module's business.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from enum import Enum
from typing import Protocol

from meshsync.connection.deliveries import Delivery
from meshsync.connection.inbox import Inbox, InboxClosed
from meshsync.connection.send_queue import Turns
from meshsync.errors import (
    ClientClosed,
    ConnectionLost,
    DeliveryUnknown,
    ForkedClientError,
    MeshsyncError,
    NotSent,
    ParticipantNotFound,
    ProtocolError,
    RoomError,
    SendTimeout,
    WouldDeadlock,
)
from meshsync.protocol import events
from meshsync.protocol.content import Content, Error, ErrorCode
from meshsync.protocol.operations import Request, is_answered
from meshsync.protocol.session import Encoded, Session
from meshsync.runtime.interfaces import Runtime, Task, TaskExit
from meshsync.runtime.lifecycle import move
from meshsync.transport.interfaces import Transport

__all__ = ["Connection", "Handler", "State"]

logger = logging.getLogger("meshsync")

BACKLOG = 10_000
"""Items that wait for the dispatcher at most; beyond that the oldest are dropped, counted and reported."""


_forks = 0
"""How many forks lie between the first process and this one. Asking for the process's id is dear where many send."""


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):  # Not on Windows, where nothing forks.
    os.register_at_fork(after_in_child=_count_fork)


class State(Enum):
    """The life of a connection."""

    OPENING = "opening"
    """The greeting is not complete."""
    OPEN = "open"
    CLOSING = "closing"
    """The program closed it; what is under way may finish."""
    CLOSED = "closed"
    LOST = "lost"
    """It ended, and not by the program's wish."""


_MOVES: dict[State, frozenset[State]] = {
    State.OPENING: frozenset({State.OPEN, State.CLOSING, State.LOST}),
    State.OPEN: frozenset({State.CLOSING, State.LOST}),
    State.CLOSING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
    State.LOST: frozenset(),
}

_ENDED = frozenset({State.CLOSED, State.LOST})


class Handler(Protocol):
    """What a connection tells. The first two are called on the reader and must not wait."""

    def received(self, event: events.Event) -> None:
        """Something arrived. Deliveries have been resolved already."""

    def ended(self, error: MeshsyncError | None) -> None:
        """Nothing more will arrive; None if the program closed the connection. Has to lead to `Connection.finish`."""

    def closing(self, timeout: float) -> None:
        """Say what others have to know, within about ``timeout`` seconds: the program closes the client."""

    def dispatch(self, item: object) -> None:
        """Run what was posted. Called on the dispatcher."""

    def dropped(self, count: int) -> None:
        """So many posted items were dropped, since the program was too slow. Called on the dispatcher."""


class Connection:
    """One connection, from the transport's opening to its end.

    Args:
        name: For the names of its tasks.
    """

    def __init__(self, transport: Transport, session: Session, runtime: Runtime, handler: Handler, name: str) -> None:
        self.session = session
        self.runtime = runtime
        self._transport = transport
        self._handler = handler
        self._forks = _forks
        self._condition = runtime.condition()
        self._state = State.OPENING
        self._error: MeshsyncError | None = None
        self._turns = Turns()
        self._deliveries: dict[int, Delivery] = {}
        self._packets_accepted = 0
        self._is_count_certain = True
        self._backlog: Inbox[object] = Inbox(runtime, BACKLOG)
        self._dropped = 0
        self._dropped_told = 0
        self._inside: set[object] = set()
        """The tasks of this connection on which the program's code runs; they must not wait for its end."""
        self._reader_id: object = None
        self._alarms: dict[object, tuple[float, Callable[[], None]]] = {}
        """By key, when to call what: the reader's own time limits."""
        self._name = name
        self._tasks: tuple[Task, ...] = ()

    def start(self) -> None:
        """Begin to read and to dispatch; the handler has to be complete."""
        self.spawn(self._run_dispatcher, "dispatcher")
        self._dispatcher = self._tasks[-1]
        try:
            reader = self.runtime.spawn(self._run_reader, name=f"meshsync reader of {self._name}")
        except BaseException as error:
            # Ctrl-C, or no task could be started: without a reader nobody else ends what waits for its news.
            self._transport.close(0)
            self._end(ConnectionLost(f"the client failed: {type(error).__name__}: {error}"))
            raise
        self._tasks = (*self._tasks, reader)

    # --- state --------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._state

    @property
    def transport(self) -> Transport:
        """What carries it."""
        return self._transport

    @property
    def pending(self) -> int:
        """How many requests are unacknowledged."""
        return len(self._deliveries)

    @property
    def dropped(self) -> int:
        """How many posted items were dropped so far."""
        return self._dropped

    def check_open(self) -> None:
        """Raise unless requests can be made.

        Raises:
            ForkedClientError: In a child process.
            ClientClosed: If the program closed the client.
            NotSent: If the connection was lost.
        """
        self._check_process()
        state = self._state
        if state in (State.CLOSING, State.CLOSED):
            raise ClientClosed("the client was closed by this program; connect again")
        if state is State.LOST:
            raise _carry_over(NotSent, "nothing was sent", self._error)

    def _check_process(self) -> None:
        if _forks != self._forks:
            raise ForkedClientError("this client belongs to the parent process: call meshsync.connect() in the child")

    def failure(self) -> MeshsyncError:
        """Return, after the end, why nothing more can be had: `ConnectionLost` or `ClientClosed`."""
        error = self._error
        if error is None:
            return ClientClosed("the client was closed by this program")
        # A new one each time: one that is raised collects tracebacks.
        return copy(error) if isinstance(error, ProtocolError) else _carry_over(ConnectionLost, "", error)

    @property
    def is_open(self) -> bool:
        """Whether requests can be made."""
        return self._state is State.OPEN and _forks == self._forks

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
        self._check_process()
        if self._reader_id == self.runtime.current():
            raise WouldDeadlock(f"{what} on the task that reads the connection would never end")

    def _move(self, state: State) -> None:
        self._state = move(_MOVES, self._state, state, "a connection")
        self._condition.notify_all()

    # --- sending ------------------------------------------------------------------------------------------------------

    def request(
        self,
        request: Request,
        what: str,
        timeout: float | None,
        on_done: Callable[[MeshsyncError | None], None] | None = None,
    ) -> Delivery:
        """Send a request and return its handle; that of one which is not answered, such as attributes, is done at once.

        Args:
            what: What is sent, for errors.
            timeout: The longest wait for room in the connection's buffer, in seconds.
            on_done: Told, on the reader, how it ended; must not wait.
        Raises:
            InvalidMessage: If it cannot be carried.
            SendTimeout: If there was no room in time; nothing was sent.
            ConnectionLost: `NotSent`, if the connection is gone.
            ClientClosed: If the program closed the client.
        """
        self.check_open()
        if self._reader_id == self.runtime.current():
            timeout = 0  # The reader makes the room that it would wait for.
        deadline = None if timeout is None else self.runtime.monotonic() + timeout
        encoded = self.session.encode(request)
        delivery = Delivery(what, self.runtime, self.refuse_to_block, on_done)
        try:
            if not self._turns.take(delivery, timeout):
                raise SendTimeout(f"{what}: the connection was busy for {timeout or 0:.3g} s; not sent", retryable=True)
            self.check_open()
            self._send(request, encoded, delivery, deadline)
        finally:
            try:
                self._turns.leave(delivery)
            except BaseException:  # Ctrl-C struck in there.
                self._turns.leave(delivery)
                raise
        return delivery

    def _send(self, request: Request, encoded: Encoded, delivery: Delivery, deadline: float | None) -> None:
        # Only whoever has the turn is here.
        request_id, packets = self.session.issue(request, encoded)
        delivery.first_packet = self._packets_accepted
        has_answer = is_answered(request)
        if has_answer:
            self._deliveries[request_id] = delivery  # Before sending: the answer may be back before `send` is.
        try:
            left = None if deadline is None else max(0.0, deadline - self.runtime.monotonic())
            self._transport.send(packets, left)
            self._packets_accepted += len(packets)
        except (SendTimeout, ConnectionLost) as error:
            if has_answer:
                self.session.withdraw(request_id)
                self._forget(request_id)
            if isinstance(error, ConnectionLost):
                raise _carry_over(NotSent, "nothing was sent", error) from error
            raise
        except BaseException:
            # Ctrl-C: the transport took all or nothing, and which is not known, so what was written can no longer be
            # counted. Nobody has the delivery; the session still knows the request, in case it is answered.
            self._is_count_certain = False
            if has_answer:
                self._forget(request_id)
            raise
        if not has_answer:
            delivery.resolve(None)

    def disregard(self, delivery: Delivery) -> None:
        """Wait no more for the answer to a request, in closing too."""
        for request_id, other in list(self._deliveries.items()):
            if other is delivery:
                self._forget(request_id)

    def _forget(self, request_id: int) -> Delivery | None:
        delivery = self._deliveries.pop(request_id, None)
        if self._state is State.CLOSING and not self._deliveries:
            with self._condition:
                self._condition.notify_all()
        return delivery

    # --- reading ------------------------------------------------------------------------------------------------------

    def _run_reader(self) -> None:
        self._reader_id = self.runtime.current()
        error: MeshsyncError = ConnectionLost("the client failed")
        try:
            while True:
                timeout = self._ring() if self._alarms else None
                for event in self.session.receive(self._transport.receive(timeout)):
                    self._take(event)
        except (ConnectionLost, ProtocolError) as caught:
            error = caught
            if isinstance(caught, ProtocolError):
                self._transport.close(1.0, caught.code, str(caught)[:100])
        except TaskExit:
            error = ConnectionLost("the simulation that this client lived in is over")
            raise
        except BaseException as caught:
            # A fault of ours. It must not leave callers waiting for answers that nobody reads any more.
            logger.exception("the reader failed; the connection is closed")
            error = ConnectionLost(f"the client failed: {type(caught).__name__}: {caught}")
        finally:
            try:
                self._transport.close(0)
            finally:
                self._end(error)
                self._reader_id = None  # Another task may get the same name.

    def set_alarm(self, key: object, seconds: float, ring: Callable[[], None]) -> None:
        """Have the reader call ``ring`` after so many seconds, unless it is cancelled. Called on the reader."""
        self._alarms[key] = (self.runtime.monotonic() + seconds, ring)

    def cancel_alarm(self, key: object) -> None:
        """Take an alarm back, if there is one. Any task may."""
        self._alarms.pop(key, None)

    def _ring(self) -> float | None:
        """Call what is due; return how long it is until the next alarm, in seconds."""
        now = self.runtime.monotonic()
        for key, (deadline, ring) in list(self._alarms.items()):
            if deadline <= now and self._alarms.pop(key, None) is not None:
                ring()
        return min((deadline - now for deadline, _ in list(self._alarms.values())), default=None)

    def _take(self, event: events.Event) -> None:
        if isinstance(event, events.Answered):
            delivery = self._forget(event.request_id)
            if delivery is not None:
                delivery.resolve(_refusal(event.content))
        elif isinstance(event, events.Ready):
            self._handler.received(event)
            with self._condition:
                if self._state is State.OPENING:
                    self._move(State.OPEN)
        elif isinstance(event, events.Skipped):
            with suppress(Exception):  # What a log handler of the program raises must not end the connection.
                logger.warning("skipped %s", event.reason)
        else:
            self._handler.received(event)

    def _end(self, error: MeshsyncError) -> None:
        with self._condition:
            if self._state in _ENDED:
                return
            was_wanted = self._state is State.CLOSING
            self._error = None if was_wanted else error
            self._move(State.CLOSED if was_wanted else State.LOST)
        for request_id in list(self._deliveries):
            self._fail(self._deliveries.pop(request_id, None))
        try:
            for event in self.session.end():
                self._handler.received(event)
        finally:
            self._handler.ended(self._error)

    def _fail(self, delivery: Delivery | None) -> None:
        if delivery is None:
            return
        written = self._transport.written()
        if self._is_count_certain and delivery.first_packet >= written:
            delivery.resolve(_carry_over(NotSent, "the message was not sent", self._error))
        else:
            delivery.resolve(_carry_over(DeliveryUnknown, "the message may or may not have arrived", self._error))

    # --- dispatching --------------------------------------------------------------------------------------------------

    def post(self, item: object) -> None:
        """Have the handler dispatch an item, after all that were posted before. Never waits."""
        self.count_dropped(self._backlog.put_dropping(item))

    def count_dropped(self, count: int) -> None:
        """Count items that were dropped on their way to the dispatcher; the handler is told before the next item."""
        if count:
            with self._condition:  # The reader counts, and a hook's task.
                self._dropped += count

    def finish(self) -> None:
        """Say that nothing more will be posted: the dispatcher ends with what is there."""
        self._backlog.close()

    def spawn(self, target: Callable[[], None], name: str) -> None:
        """Run code of the program in a task that is a part of this connection: it must not wait for the end."""

        def run() -> None:
            me = self.runtime.current()
            self._inside.add(me)
            try:
                target()
            finally:
                self._inside.discard(me)

        task = self.runtime.spawn(run, name=f"meshsync {name} of {self._name}")
        with self._condition:
            self._tasks = (*(other for other in self._tasks if not other.is_done), task)

    def _run_dispatcher(self) -> None:
        while True:
            try:
                item = self._backlog.get(None)
            except InboxClosed:
                return
            try:
                if self._dropped != self._dropped_told:
                    count, self._dropped_told = self._dropped - self._dropped_told, self._dropped
                    self._handler.dropped(count)
                self._handler.dispatch(item)
            except Exception:
                # A fault of ours, since receivers are shielded one by one. Nothing would be dispatched ever again.
                logger.exception("an event was lost in dispatching")

    @property
    def is_inside(self) -> bool:
        """Whether the caller is on a task of this connection that runs the program's code."""
        return self.runtime.current() in self._inside

    # --- ending -------------------------------------------------------------------------------------------------------

    def close(self, timeout: float, wait: bool | None) -> None:
        """End the connection; see `RoomClient.close`."""
        if _forks != self._forks:
            return  # The parent's connection is the parent's to close.
        is_exiting = self.runtime.is_exiting()
        can_wait = not is_exiting and not self.is_inside and self.runtime.current() != self._reader_id
        if wait and not can_wait:
            where = "while the process is exiting" if is_exiting else "in a receiver, a hook or the reader"
            raise WouldDeadlock(f"close(wait=True) {where} would wait for what cannot end before it: use close()")
        will_wait = can_wait and wait is not False
        deadline = self.runtime.monotonic() + timeout
        if timeout > 0 and self._state is State.OPEN:
            self._handler.closing(timeout / 4)
        is_first = False
        try:
            with self._condition:
                if self._state in (State.OPENING, State.OPEN):
                    is_first = True
                    self._move(State.CLOSING)
            if is_first and is_exiting:
                # No task can be started any more, and the process is about to end: only what is on the way goes out.
                self._transport.close(min(timeout, _EXIT_GRACE))
            elif is_first and will_wait:
                self._shut_down(timeout)
            elif is_first:
                task = self.runtime.spawn(lambda: self._shut_down(timeout), name=f"meshsync closing of {self._name}")
                self._tasks = (*self._tasks, task)
        except BaseException:
            # Ctrl-C, or no task could be started: closing again only waits, so nobody else would do it.
            if is_first:
                self._transport.close(0)
            raise
        if will_wait:
            for task in self._tasks:
                task.join(max(0.0, deadline - self.runtime.monotonic()))

    def abandon(self) -> None:
        """End at once, without a goodbye: the connection never became one."""
        with self._condition:
            if self._state in (State.OPENING, State.OPEN):
                self._move(State.CLOSING)
        self._transport.close(0)
        for task in self._tasks:
            task.join(1.0)

    def _shut_down(self, timeout: float) -> None:
        deadline = self.runtime.monotonic() + timeout
        with self._condition:
            self._condition.wait_for(lambda: not self._deliveries or self._state in _ENDED, timeout / 2)
        self._transport.close(max(0.0, deadline - self.runtime.monotonic()))

    def wait_closed(self, timeout: float | None) -> bool:
        """Wait until the connection has ended and the dispatcher is through, at most ``timeout`` seconds.

        Raises:
            WouldDeadlock: If called on a task for which that waits.
        """
        if self.is_inside:
            raise WouldDeadlock("wait_closed() would wait for the receiver or hook that calls it: return instead")
        self.refuse_to_block("wait_closed()")
        return self._dispatcher.join(timeout)


_EXIT_GRACE = 1.0
"""How long an exiting process waits for the room's goodbye, in seconds."""


def _refusal(content: Content) -> RoomError | None:
    if not isinstance(content, Error):
        return None
    if content.code == ErrorCode.NOT_FOUND:
        return ParticipantNotFound(content.text, content.code)
    return RoomError(content.text, content.code)


def _carry_over(kind: type[ConnectionLost], text: str, cause: BaseException | None) -> ConnectionLost:
    """Make an error of a kind that tells what ``cause`` knows."""
    reason = "the client was closed" if cause is None else str(cause)
    lost = cause if isinstance(cause, ConnectionLost) else None
    return kind(
        f"{text}: {reason}" if text else reason,
        code=lost.code if lost else None,
        reason=lost.reason if lost else reason,
        clean=lost.clean if lost else cause is None,
    )
