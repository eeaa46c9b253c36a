"""When to look at a heartbeat: the client's own `Heartbeat` on timers of the kernel, and a link's acknowledgements.

Its timers are background ones, since they go on for ever by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from meshsync.protocol.heartbeat import Beat, Heartbeat, Outflow
from simulator.engine.clock import Clock
from simulator.engine.kernel import SECOND, Timer
from simulator.network.links import Link
from simulator.network.traffic import Traffic

__all__ = ["HeartbeatTimer"]


class HeartbeatTimer:
    """A `Heartbeat` that calls back when it is due.

    Args:
        due: Called when it is time to `look`, and not again before `look` was called.
        incoming: The link from the peer.
        outgoing: The link to the peer.
        interval: Seconds of silence before a ping; None for no pings and no loss.
        timeout: Seconds from the ping to the loss of the connection.
    """

    __slots__ = ("_due", "_heartbeat", "_incoming", "_kernel", "_outgoing", "_seen_at", "_timer")

    def __init__(
        self,
        kernel: Clock,
        due: Callable[[], None],
        incoming: Link[Traffic],
        outgoing: Link[Traffic],
        *,
        interval: float | None,
        timeout: float,
    ) -> None:
        self._kernel = kernel
        self._due = due
        self._incoming = incoming
        self._outgoing = outgoing
        # In nanoseconds, which are whole numbers: sums of seconds would now and then be early by their last bit.
        self._heartbeat = Heartbeat(
            kernel.now,
            interval=None if interval is None else round(interval * SECOND),
            timeout=round(timeout * SECOND),
        )
        self._seen_at: int | None = None
        """When bytes last came, in nanoseconds, if the heartbeat does not have it yet: they are far more frequent than
        looks."""
        self._timer: Timer | None = None
        self._arm()

    def alive(self) -> None:
        """Note that bytes were received."""
        self._seen_at = self._kernel.now

    def look(self) -> Beat | None:
        """Return ASKED to send a ping, DEAD to end the connection, None for nothing; each is returned once."""
        now = self._kernel.now
        if self._timer is not None and self._timer.when > now:
            return None
        self._apply()
        link = self._outgoing
        beat = self._heartbeat.look(now, Outflow(link.bytes_accepted, link.unacknowledged, is_known=True))
        if self._timer is None:
            self._arm()
        return beat

    def watch(self) -> None:
        """Look soon, since frames wait for room on the link. Does nothing when a look is due."""
        if self._timer is None:
            return
        self._apply()
        self._heartbeat.watch(self._kernel.now)
        deadline = self._heartbeat.deadline
        if deadline is not None and deadline < self._timer.when:
            self._timer.cancel()
            self._arm()

    def stop(self) -> None:
        """Call back no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _apply(self) -> None:
        # A frame can be as large as a message, and on a slow wire its bytes arrive one by one.
        arriving_at = self._incoming.arriving_at
        if arriving_at is not None and (self._seen_at is None or arriving_at > self._seen_at):
            self._seen_at = arriving_at
        if self._seen_at is not None:
            self._heartbeat.alive(self._seen_at)
            self._seen_at = None

    def _arm(self) -> None:
        deadline = self._heartbeat.deadline
        if deadline is not None:
            self._timer = self._kernel.at(ceil(deadline), self._fire, background=True)

    def _fire(self) -> None:
        # In vain if there was a sign of life since: moving the timer at each would cost more.
        self._timer = None
        self._due()
