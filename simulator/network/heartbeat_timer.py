"""When to look at a heartbeat: the client's own `Heartbeat` on timers of the kernel.

Its timers are background ones, since they go on for ever by themselves.
"""

from __future__ import annotations

from collections.abc import Callable

from meshsync.protocol.heartbeat import Beat, Heartbeat
from simulator.engine.kernel import SECOND, Kernel, Timer

__all__ = ["HeartbeatTimer"]


class HeartbeatTimer:
    """A `Heartbeat` that calls back when it is due.

    Args:
        due: Called when it is time to `look`, and not again before `look` was called.
        interval: Seconds of silence before a ping; None for no pings and no loss.
        timeout: Seconds from the ping to the loss of the connection.
    """

    __slots__ = ("_due", "_heartbeat", "_kernel", "_seen_at", "_timer")

    def __init__(self, kernel: Kernel, due: Callable[[], None], *, interval: float | None, timeout: float) -> None:
        self._kernel = kernel
        self._due = due
        # In nanoseconds, which are whole numbers: sums of seconds would now and then be early by their last bit.
        self._heartbeat = Heartbeat(
            kernel.now,
            interval=None if interval is None else round(interval * SECOND),
            timeout=round(timeout * SECOND),
        )
        self._seen_at: int | None = None
        """When the last sign of life came, in nanoseconds, if the heartbeat does not have it yet: they are far more
        frequent than looks."""
        self._timer: Timer | None = None
        self._arm()

    def alive(self) -> None:
        """Note a sign of life."""
        self._seen_at = self._kernel.now

    def look(self) -> Beat | None:
        """Return ASKED to send a ping, DEAD to end the connection, None for nothing; each is returned once."""
        now = self._kernel.now
        if self._timer is not None and self._timer.when > now:
            return None
        if self._seen_at is not None:
            self._heartbeat.alive(self._seen_at)
            self._seen_at = None
        beat = self._heartbeat.look(now)
        if self._timer is None:
            self._arm()
        return beat

    def stop(self) -> None:
        """Call back no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        deadline = self._heartbeat.deadline
        if deadline is not None:
            self._timer = self._kernel.at(int(deadline), self._fire, background=True)

    def _fire(self) -> None:
        # In vain if there was a sign of life since: moving the timer at each would cost more.
        self._timer = None
        self._due()
