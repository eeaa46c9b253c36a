"""A client's way to its room, over one connection after another.

The reader of a connection that was lost becomes the task that makes the next one: the *loop*. So no task has to be
started in order to come back, and there is never more than one loop. ``restore`` of the owner makes the room what the
program wants it to be; then the requests that wait are sent, ahead of all later ones; then the client is online.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from meshsync.connection.budget import BUDGET
from meshsync.connection.connection import Connection, ConnectionStats, State
from meshsync.connection.deliveries import Delivery, Parcel
from meshsync.connection.failures import CLOSED_HERE, another, carry_over, client_failed, simulation_over
from meshsync.connection.forks import Home
from meshsync.connection.outbox import Outbox
from meshsync.connection.reconnecting import Backoff, Complaints, ReconnectPlan, is_final
from meshsync.connection.states import MOVES, OFFLINE, ONLINE, ClientState
from meshsync.errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    MeshsyncError,
    NotSent,
    SendTimeout,
    WouldDeadlock,
)
from meshsync.protocol import events
from meshsync.protocol.operations import Request
from meshsync.protocol.session import Session
from meshsync.reasons import describe_error, safe_text
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime, Task, TaskExit
from meshsync.runtime.lifecycle import move
from meshsync.signals import log_life
from meshsync.transport.interfaces import Transport, TransportStats

__all__ = ["Owner", "Uplink"]

logger: logging.Logger = logging.getLogger("meshsync")

ATTEMPT_TIMEOUT = 30.0
"""How long one attempt may take until the room has greeted, in seconds."""

_S = ClientState


class Owner(Protocol):
    """The client. All but ``restore`` and ``readdress`` are called on the reader, and may not wait."""

    def received(self, event: events.Event) -> None:
        """An event arrived."""

    def went_offline(self, error: MeshsyncError) -> None:
        """The connection was lost, and the client tries to come back."""

    def attempt_ended(self) -> None:
        """The connection that ``restore`` may be waiting for has ended."""

    def restore(self, connection: Connection, deadline: Deadline) -> None:
        """Make the room what the program wants it to be; raises what its requests raise."""

    def readdress(self, parcel: Parcel) -> Request:
        """Return a request as it has to be on the present connection; raises `NotSent` if its recipient is gone."""

    def came_online(self, seconds: float) -> None:
        """The client is back after so many seconds. Called with the state locked: it may do nothing but report."""

    def ended(self, error: MeshsyncError | None) -> None:
        """No event follows; ``error`` is None if the program closed the client."""


class Uplink:
    """The connections of one client, of which one at a time is used.

    Args:
        transport: Of the first one.
        session: Of the first one; later ones have its settings.
        name: For the names of tasks and for warnings.
        plan: How to get the next ones; None if the first loss is the end.
    """

    def __init__(
        self,
        transport: Transport,
        session: Session,
        runtime: Runtime,
        owner: Owner,
        name: str,
        plan: ReconnectPlan | None,
    ) -> None:
        self.runtime = runtime
        self.connection: Connection = Connection(transport, session, runtime, self, name)
        """The present one, or while offline the last one, or the one that is being restored."""
        self._owner = owner
        self._name = name
        self._plan = plan
        self._home = Home()
        self._condition = runtime.condition()
        self._state = _S.CONNECTING
        self._outbox = Outbox()
        self._backoff: Backoff | None = None
        """Made at the first loss, since random streams are kept for good."""
        self._loss: MeshsyncError | None = None
        """Why it is offline, or lost."""
        self._is_restoring = self._is_wanted_now = self._has_loop = self._is_attempting = False
        self._loop_task: object = None
        self._carried = TransportStats()
        """The traffic of earlier connections."""

    # --- state --------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> ClientState:
        """Where the client is in its life."""
        return self._state

    @property
    def is_of_parent(self) -> bool:
        """Whether this process is a child of the one that the client belongs to."""
        return not self._home.is_here

    def check_open(self) -> None:
        """Raise if no request will ever be made again.

        Raises:
            ForkedClientError: In a child process.
            ClientClosed: If the program closed the client.
            NotSent: If the client is lost.
        """
        self._home.check()
        if self._state in (_S.CLOSING, _S.CLOSED):
            raise ClientClosed(CLOSED_HERE)
        if self._state is _S.LOST:
            raise carry_over(NotSent, "nothing was sent", self._loss)

    def failure(self) -> MeshsyncError:
        """Return why there is no connection now: `ConnectionLost` or `ClientClosed`."""
        error = self._loss
        if self._state in (_S.CLOSING, _S.CLOSED) or error is None:
            return self.connection.failure()
        return another(error)

    def refuse_to_block(self, what: str) -> None:
        """Have the reader read, for a wait; raise if the calling task would wait for ever: see `refuse_to_await`."""
        self.refuse_to_await(what)
        self.connection.call_reader()

    def refuse_to_await(self, what: str) -> None:
        """Raise if the calling task would wait for ever: on the reader, or on the loop, as a ``token`` function is.

        For waits for an answer of the room, which the calling task may read itself.

        Raises:
            WouldDeadlock: See above.
            ForkedClientError: In a child process, where no reader runs.
        """
        self.connection.refuse_to_block(what)
        if self._has_loop and self.is_on_its_task:
            raise WouldDeadlock(f"{what} on the task that reconnects would never end")

    @property
    def is_on_its_task(self) -> bool:
        """Whether the caller is the task that reads or reconnects."""
        return self.connection.is_on_reader or (self._has_loop and self._loop_task == self.runtime.current())

    def stats(self) -> ConnectionStats:
        """Return the figures of this moment; the traffic is that of all connections."""
        present = self.connection.stats()
        pending, traffic = present.pending + len(self._outbox), present.traffic.after(self._carried)
        return replace(present, pending=pending, traffic=traffic)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The task that reads or reconnects; none while that is in an attempt that cannot be interrupted."""
        return () if self._is_attempting else self.connection.tasks

    def _move(self, state: ClientState) -> None:
        self._state = move(MOVES, self._state, state, "a client")
        self._condition.notify_all()

    # --- requests -----------------------------------------------------------------------------------------------------

    def request(self, request: Request, what: str, deadline: Deadline, recipient: object, *, waits: bool) -> Delivery:
        """Send a request that outlives connections, or hold it until there is one; return its handle.

        Args:
            what: The name of the request in errors.
            deadline: Limits the wait for room in the connection's buffer.
            recipient: See `Parcel`.
            waits: Whether it may be sent on a later connection than the present one.

        The caller has asked whether this is the client's process.

        Raises:
            NotSent: If there is no connection, and it does not wait, or too much waits already.
            MeshsyncError: Others as `Connection.request`.
        """
        if self._plan is None or not waits:
            if self._state is _S.OFFLINE:
                raise self._not_sent("the client is offline, and nothing was sent")
            return self.connection.request(request, what, deadline)
        if self._state is not ONLINE:
            self.check_open()
        encoded = self.connection.session.encode(request)
        parcel = Parcel(request, encoded, recipient)
        delivery = Delivery(what, self.runtime, self.refuse_to_await, parcel=parcel)
        while True:
            connection = self.connection  # Before the state: where it is not the connection any more, it has ended.
            if self._state is not ONLINE and self._hold(delivery):
                return delivery
            try:
                connection.submit(delivery, request, encoded, deadline, self._outbox.next_place)
                return delivery
            except NotSent:
                self.wait_for_another(connection, what, deadline)
            except BaseException:  # Ctrl-C, while the end of the connection put it there: the call failed.
                with self._condition:
                    self._outbox.discard(delivery)
                raise

    def _hold(self, delivery: Delivery) -> bool:
        """Hold a request until there is a connection; return False if there is one. Raises as `request`."""
        with self._condition:
            self.check_open()
            is_offline = self._state is OFFLINE
            if is_offline and not self._outbox.hold(delivery):
                raise self._not_sent(f"more than {BUDGET} bytes wait for the next connection; not sent")
        return is_offline

    def wait_for_another(self, connection: Connection, what: str, deadline: Deadline) -> None:
        """Return when the client has noticed that a connection is lost.

        Raises:
            NotSent: If it does not come back, or the caller is the reader, which has to notice.
            SendTimeout: If the time limit passed first.
        """
        if connection.is_on_reader:
            raise self._not_sent("the connection is lost, and nothing was sent")
        with self._condition:
            is_noticed = self._condition.wait_for(
                lambda: self.connection is not connection or self._state is not _S.ONLINE, deadline.left()
            )
        self.check_open()
        if not is_noticed:
            raise SendTimeout(f"{what}: the connection broke just now; not sent", retryable=True)

    def withdraw(self, delivery: Delivery) -> bool:
        """Send a request no more, if it waits for a connection; return whether it did."""
        self._home.check()
        with self._condition:
            return self._outbox.discard(delivery)

    def settle(self, what: str, deadline: Deadline, change: Callable[[], None]) -> Connection | None:
        """Make a change of what is restored, while nothing is being restored; return the connection to tell, if any.

        Args:
            change: Called with the state locked.
        Raises:
            SendTimeout: If the time limit passed first; nothing was changed.
            MeshsyncError: As `check_open`.
        """
        self._home.check()
        with self._condition:
            is_settled = self._condition.wait_for(lambda: not self._is_restoring, deadline.left())
            self.check_open()
            if not is_settled:
                raise SendTimeout(f"{what}: the client was reconnecting; nothing was sent", retryable=True)
            change()
            return None if self._state is _S.OFFLINE else self.connection

    def wait_online(self, what: str, deadline: Deadline) -> None:
        """Wait until there is a connection.

        Raises:
            SendTimeout: If the time limit passed first.
            MeshsyncError: As `check_open`.
        """
        if self._state is _S.OFFLINE:
            self.refuse_to_block(what)
            with self._condition:
                self._condition.wait_for(lambda: self._state is not _S.OFFLINE, deadline.left())
            if self._state is _S.OFFLINE:
                raise SendTimeout(f"{what}: the client was offline all the time; nothing was sent", retryable=True)
        self.check_open()

    def reconnect_now(self) -> None:
        """Cut short the present wait before the next attempt; otherwise this does nothing."""
        with self._condition:
            self._is_wanted_now = True
            self._condition.notify_all()

    def _not_sent(self, text: str) -> NotSent:
        return carry_over(NotSent, text, self._loss)

    # --- notified by the connection, on its reader --------------------------------------------------------------------

    def received(self, event: events.Event) -> None:
        if self._state is not ONLINE and self._state.is_over:
            return  # The program closed the client while this connection was being restored.
        if isinstance(event, events.Enabled):  # Ahead of what the program does then.
            log_life(self._name, "messaging is enabled, others there: %d", len(event.members))
        self._owner.received(event)
        if isinstance(event, events.Ready) and self._state is _S.CONNECTING:
            with self._condition:
                if self._state is _S.CONNECTING:
                    self._move(_S.ONLINE)
            log_life(self._name, "connected to room %s as participant %s", event.room_name, event.participant_id)

    def comes_back(self, error: MeshsyncError) -> bool:
        plan = self._plan
        goes_on = self._state in (_S.ONLINE, _S.OFFLINE)
        return goes_on and plan is not None and not is_final(error, renews_token=plan.renews_token)

    def ended(self, error: MeshsyncError | None, unwritten: Sequence[Delivery]) -> None:
        plan, me = self._plan, self.runtime.current()
        with self._condition:
            self._outbox.put_all(unwritten)
            self._is_restoring = False
            self._condition.notify_all()
            is_attempt = self._has_loop and self._state is _S.OFFLINE
            comes_back = not is_attempt and self._state is _S.ONLINE and error is not None and error.connection_alive
            if comes_back:
                self._loss, self._has_loop, self._is_wanted_now = error, True, False
                self._loop_task = me
                self._move(_S.OFFLINE)
        if is_attempt:
            self._owner.attempt_ended()  # The loop, which waits, does the rest.
            return
        if error is None or plan is None or not comes_back:
            self._finish(error)
            return
        outcome: MeshsyncError | None = client_failed("")
        try:
            self._owner.went_offline(error)
            with self.runtime.housekeeping():
                outcome = self._run_loop(plan, error)
        except TaskExit:
            outcome = simulation_over()
            raise
        except BaseException as fault:
            # A fault of ours: no task tries any more, and those that wait for one are not to wait for ever.
            logger.exception("reconnecting failed; the client is lost")
            outcome = client_failed(describe_error(fault))
        finally:
            with self._condition:
                if self._loop_task == me:  # The next connection's reader may be the loop already.
                    self._has_loop, self._loop_task = False, None
            if outcome is not None or self._state is _S.CLOSING:
                self._finish(outcome)

    # --- the loop -----------------------------------------------------------------------------------------------------

    def _run_loop(self, plan: ReconnectPlan, loss: MeshsyncError) -> MeshsyncError | None:
        """Make the next connection; return None once there is one or the program closed the client, else the end."""
        since = self.runtime.monotonic()
        limit = Deadline(self.runtime, plan.limit)
        complaints = Complaints(self.runtime, self._name)
        if self._backoff is None:
            self._backoff = Backoff(self.runtime.random(f"reconnect {self._name}"))
        last: BaseException | None = None
        while True:
            delay = self._backoff.next_delay(last)
            if last is not None:
                complaints.attempt_failed(last, delay)
            if not self._rest(limit.cap(delay)):
                return None
            if limit.is_over:
                why = "" if last is None else f"; the last attempt: {safe_text(last)}"
                return carry_over(ConnectionLost, f"not back within {plan.limit:g} s{why}", loss)
            try:
                if self._attempt(plan, limit, since):
                    log_life(self._name, "reconnected after %.1f s", self.runtime.monotonic() - since)
                    return None
            except TaskExit:
                raise
            except Exception as error:  # Of the network, or of the program's `token` function.
                last = error
            if self._state is not _S.OFFLINE:
                return None
            if last is not None and is_final(last, renews_token=plan.renews_token):
                return _ended_by(last)

    def _rest(self, delay: float) -> bool:
        """Wait before an attempt; return whether the client is still to come back."""
        with self._condition:
            self._condition.wait_for(lambda: self._is_wanted_now or self._state is not _S.OFFLINE, delay)
            self._is_wanted_now = False
            return self._state is _S.OFFLINE

    def _attempt(self, plan: ReconnectPlan, limit: Deadline, since: float) -> bool:
        """Make and restore one connection; return False if the program closed the client meanwhile.

        Args:
            since: When the client went offline, by the runtime's monotonic clock.
        """
        deadline = Deadline(self.runtime, limit.cap(ATTEMPT_TIMEOUT))
        with self._condition:
            if self._state is not _S.OFFLINE:
                return False
            self._is_attempting = True
        try:
            transport = plan.connector.connect(deadline.left())
        finally:
            self._is_attempting = False
        before = self.connection
        connection = Connection(transport, before.session.anew(), self.runtime, self, self._name)
        with self._condition:
            is_wanted = self._state is _S.OFFLINE
            if is_wanted:
                self._carried = self.stats().traffic
                self.connection = connection
                self._is_restoring = True
        if not is_wanted:
            transport.close(0)
            return False
        try:
            connection.start()
            if not connection.wait_open(deadline.left()):
                raise ConnectTimeout("the room accepted the connection and did not greet in time")
            if connection.state is not State.OPEN:
                raise connection.failure()
            if self._backoff is not None:
                self._backoff.limit()
            self._owner.restore(connection, deadline)
            return self._send_held(connection, since)
        except BaseException as error:
            failure = connection.failure() if isinstance(error, ConnectionLost) else None
            connection.abandon()
            for task in connection.tasks:
                task.join(1.0)
            with self._condition:
                self._is_restoring = False
                self._condition.notify_all()
            if failure is not None:
                raise failure from None  # Rather than what became of one request.
            raise

    def _send_held(self, connection: Connection, since: float) -> bool:
        """Send the requests that wait, in order, and go online; return False if the program closed the client."""
        while True:
            with self._condition:
                if self._state is not _S.OFFLINE:
                    return False
                if connection.state is not State.OPEN:
                    raise connection.failure()
                if not self._outbox:
                    self._is_restoring = False
                    if self._backoff is not None:
                        self._backoff.restart()
                    self._move(_S.ONLINE)
                    self._has_loop = False
                    # In here: the new reader may find the connection lost at once, and that is to be heard later.
                    self._owner.came_online(self.runtime.monotonic() - since)
                    return True
                delivery = self._outbox.take_first()
            try:
                _send_again(connection, delivery, self._owner.readdress)
            except BaseException:
                with self._condition:
                    self._outbox.put(delivery)
                raise

    # --- the end ------------------------------------------------------------------------------------------------------

    def close(self, finish: Callable[[], None]) -> None:
        """Refuse new requests, and call ``finish`` if there is a connection, which it has to close; see `Connection`.

        Later calls do nothing.
        """
        is_first = has_connection = False
        try:
            with self._condition:
                if self._state is _S.CLOSING or self._state.is_over:
                    return
                is_first, has_connection = True, self._state is not _S.OFFLINE or self._is_restoring
                self._move(_S.CLOSING)
            if has_connection:
                self.connection.close(finish)
            elif self._is_attempting:
                self._finish(None)  # Otherwise the loop does it.
        except BaseException:
            # Ctrl-C: closing again only waits, so nothing else would end it.
            if is_first:
                self.connection.abandon()
            raise

    def _finish(self, error: MeshsyncError | None) -> None:
        with self._condition:
            if self._state.is_over:
                return
            if self._state is _S.CLOSING:
                error = None
            elif error is None:
                self._move(_S.CLOSING)
            self._loss = error
            if error is not None:
                error.connection_alive = False
            self._move(_S.CLOSED if error is None else _S.LOST)
            held = self._outbox.clear()
        log_life(self._name, "ended: %s", "closed by this program" if error is None else safe_text(error))
        for delivery in held:
            delivery._resolve(carry_over(NotSent, "the message was not sent", error))
        self._owner.ended(error)


def _send_again(connection: Connection, delivery: Delivery, readdress: Callable[[Parcel], Request]) -> None:
    """Send a request that waited for this connection; one whose recipient is gone fails."""
    parcel = delivery._parcel
    if parcel is None:
        return  # Done meanwhile.
    try:
        request = readdress(parcel)
        if request is not parcel.request:
            parcel.request, parcel.encoded = request, connection.session.encode(request)
    except MeshsyncError as error:
        delivery._resolve(error)
        return
    connection.submit(delivery, parcel.request, parcel.encoded, Deadline(connection.runtime, None))


def _ended_by(error: BaseException) -> MeshsyncError:
    """Return the end of a client whose last attempt got a final answer."""
    if not isinstance(error, ConnectFailed):
        return error if isinstance(error, MeshsyncError) else ConnectionLost(safe_text(error))
    lost = ConnectionLost(
        f"the connection was lost and cannot be made again: {safe_text(error)}",
        reason=safe_text(error),
        http_status=error.http_status,
    )
    lost.__cause__ = error
    return lost
