"""Who reads a connection: its reader, or a task that waits for an answer.

A task that waits while another reads is woken by it, and to change threads costs as much as all other work on a short
message. So a program that asks again and again, and to which nothing else comes, reads its answers itself: the reader
steps aside for it, and steps in again as soon as something else comes, is expected, or no task asks for a moment.

Only for real tasks: a simulation's reader always reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized

from meshsync.connection.deliveries import Delivery
from meshsync.errors import ConnectionLost, WouldDeadlock
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime, Shield
from meshsync.runtime.shields import HEED
from meshsync.transport.interfaces import Transport

__all__ = ["Turns"]

_PAUSE = 0.001
"""Seconds without a question after which the reader steps in."""
_LONGEST_REST = 0.004
"""The most seconds between two of its looks whether they have passed: the longer a program has asked, the longer it may
be, since each look costs what a tenth of a message does. What else comes right behind the last question waits as
long."""
_ROUNDS = 8
"""So many questions, each soon after the answer to the one before, make the reader step aside."""
_LOOKS = 10
"""After so many pauses in the wait for one answer the reader looks no more: it is told."""


class Turns:
    """The turns of one connection's reader and of the tasks that wait for answers.

    Args:
        shield: Makes a shield for the task that reads, if it needs one.
        feed: Handles packets, on the task that read them. Only a fault of the connection may escape it.
        pending: The requests that are not answered.
        alarms: The reader's own time limits, which no other task keeps.
    """

    def __init__(
        self,
        runtime: Runtime,
        shield: Callable[[], Shield | None],
        transport: Transport,
        feed: Callable[[Sequence[bytes]], None],
        pending: Sized,
        alarms: Sized,
    ) -> None:
        self._runtime = runtime
        self._shield = shield
        self._transport = transport
        self._feed = feed
        self._pending = pending
        self._alarms = alarms
        self._condition = runtime.condition()
        """The reader waits here while it stands aside."""
        self._waiting: dict[Delivery, None] = {}
        """Those whose tasks wait for the reader."""
        self._asking: object = None
        """The task that waited last."""
        self._rounds = 0
        self._left_at = 0.0
        """When a wait ended last, by the runtime's monotonic clock."""
        self._is_wanted = False
        """Whether the reader is to step aside."""
        self._is_aside = False
        self._is_called = False
        """Whether it is to step in at once."""
        self._is_told = False
        """Whether it waits for the end of the present lead without looking."""
        self._leader: tuple[object] | None = None
        """The task that reads instead of the reader; each lead has a tuple of its own."""
        self._fault: Exception | None = None

    # --- on the reader ------------------------------------------------------------------------------------------------

    def stand_aside(self) -> None:
        """Let others read for as long as they do; return when it is the reader's turn.

        Raises:
            Exception: What a task met that read: the connection has to end.
        """
        if not self._is_wanted:
            return
        now = self._runtime.monotonic
        with self._condition:
            self._is_wanted = False
            if self._alarms or not all(delivery._is_done for delivery in list(self._waiting)):
                return
            self._is_aside = True
            self._left_at = now()
            last, looks, rest = None, 0, _PAUSE
            while True:
                leader = self._leader
                pause = _PAUSE if leader is not None else self._left_at + _PAUSE - now()
                if leader is None and (self._is_called or pause <= 0):
                    break  # Not before it has left: until then it handles what it has read.
                looks = looks + 1 if leader is not None and leader is last else 0
                last = leader
                self._is_told = leader is not None and looks >= _LOOKS
                self._condition.wait(None if self._is_told else max(pause, rest))
                rest = min(2 * rest, _LONGEST_REST)
            self._is_aside = self._is_called = self._is_told = False
            self._rounds = 0
            fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    # --- on whoever reads ---------------------------------------------------------------------------------------------

    def something_came(self) -> None:
        """Note that something came which is no answer: more of it may, at any time."""
        self._rounds = 0
        self._is_wanted = False
        if self._is_aside:
            self._is_called = True

    # --- on any task --------------------------------------------------------------------------------------------------

    def call_reader(self) -> None:
        """Have the reader read from now on, until it stands aside again."""
        if not self._is_aside:
            self._is_wanted = False  # One that is about to stand aside, and has not seen this, looks soon.
            return
        with self._condition:
            if self._is_aside:
                self._call_reader()

    def _call_reader(self) -> None:
        self._is_called = True
        self._condition.notify_all()

    # --- on the tasks that wait ---------------------------------------------------------------------------------------

    def wait(self, delivery: Delivery, deadline: Deadline) -> bool:
        """Wait until a delivery is done, or the time is over; return whether it is."""
        me = self._runtime.current()
        if not (self._is_aside and self._lead(delivery, deadline, me)):
            self._wait_for_reader(delivery, deadline, me)
            self._left_at = self._runtime.monotonic()
        return delivery._is_done

    def _wait_for_reader(self, delivery: Delivery, deadline: Deadline, me: object) -> None:
        if me != self._asking or self._runtime.monotonic() - self._left_at > _PAUSE / 2:
            self._asking, self._rounds = me, 0
        elif self._rounds < _ROUNDS:
            self._rounds += 1
        else:
            self._is_wanted = True
        try:
            with self._condition:
                self._waiting[delivery] = None
                if self._is_aside:
                    self._call_reader()
            with delivery._condition:
                delivery._condition.wait_for(delivery._get_is_done, deadline.left())
        finally:
            self._waiting.pop(delivery, None)

    def _lead(self, delivery: Delivery, deadline: Deadline, me: object) -> bool:
        """Read until a delivery is done; return whether that is so, or no time is left."""
        outer = self._leader
        if outer is not None and outer[0] != me:
            return False
        mine = (me,)
        try:
            with self._condition:
                if not self._is_aside or self._is_called or self._leader is not outer:
                    return False
                self._leader = mine
            return self._read(delivery, deadline, me)
        finally:
            try:
                self._leave(mine, outer)
            except BaseException:  # Ctrl-C struck in there.
                self._leave(mine, outer)
                raise

    def _read(self, delivery: Delivery, deadline: Deadline, me: object) -> bool:
        shield = self._shield()
        is_whole = True
        try:
            while True:
                if delivery._is_done or self._is_called:
                    break
                left = deadline.left()
                if left == 0:
                    return True
                packets = self._transport.receive(HEED if left is None else min(left, HEED), shield)
                is_whole = False
                self._feed(packets)
                is_whole = True
                if shield is not None:
                    shield.put_down()
        except WouldDeadlock:
            raise
        except Exception as error:
            # The reader meets what the network has; but not again what was read, and it is on the reader that it ends.
            self._call(None if is_whole else error)
        except BaseException:
            if not is_whole:  # By a handler of a signal that is not put off: how much was handled is not known.
                self._call(ConnectionLost("handling what came was interrupted, so the connection was given up"))
            raise
        finally:
            if shield is not None:
                try:
                    shield.put_down()
                except BaseException:
                    shield.put_down()
                    raise
        return delivery._is_done

    def _call(self, fault: Exception | None) -> None:
        self._fault = fault
        self.call_reader()

    def _leave(self, mine: tuple[object], outer: tuple[object] | None) -> None:
        """Give back what `_lead` took, and call the reader if it is needed; another call does the rest."""
        with self._condition:
            if self._leader is mine:
                self._leader = outer
                self._left_at = self._runtime.monotonic()
            if self._leader is None and self._is_aside:
                if self._is_called or self._pending or self._alarms:
                    self._call_reader()
                elif self._is_told:
                    self._condition.notify_all()
