"""The handle of one request that was sent, and whose turn it is to send."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import copy

from meshsync.errors import MeshsyncError, SendTimeout
from meshsync.world import Runtime

__all__ = ["Delivery", "Turns"]


class Delivery:
    """A request on its way: unacknowledged, then done, with an error or without.

    Safe to use from any task; keeping it is optional.
    """

    __slots__ = ("_error", "_is_done", "_on_done", "_refuse_to_block", "_what", "condition", "first_packet")

    def __init__(
        self,
        what: str,
        runtime: Runtime,
        refuse_to_block: Callable[[str], None],
        on_done: Callable[[MeshsyncError | None], None] | None = None,
    ) -> None:
        self._what = what
        self._on_done = on_done
        self._refuse_to_block = refuse_to_block
        self.condition = runtime.condition()
        """Where its sender waits: first for its turn, then for the acknowledgement."""
        self._is_done = False
        self._error: MeshsyncError | None = None
        self.first_packet = 0
        """How many packets the connection had accepted before this delivery's first."""

    @property
    def is_done(self) -> bool:
        """Whether the room has answered, or never will."""
        return self._is_done

    @property
    def error(self) -> MeshsyncError | None:
        """Why it failed; None while it is unacknowledged and after success."""
        return self._error

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the room's acknowledgement, at most ``timeout`` seconds; None waits for ever, 0 polls.

        Raises:
            SendTimeout: If none came in time; the delivery may yet arrive, and may be waited for again.
            RoomError: If the room refused; `ParticipantNotFound` if the recipient is not there.
            NotSent: If the connection ended before a byte of it was written.
            DeliveryUnknown: If the connection ended between writing and acknowledgement.
            WouldDeadlock: If called on the task that would bring the acknowledgement.
        """
        if not self._is_done:
            self._refuse_to_block("waiting for an acknowledgement")
            with self.condition:
                if not self.condition.wait_for(self._get_is_done, timeout):
                    raise SendTimeout(f"{self._what}: not acknowledged within {timeout or 0:.3g} s; it may yet arrive")
        if self._error is not None:
            # A copy: one that is raised keeps its callers' variables alive, and two tasks may wait here.
            raise copy(self._error)

    def resolve(self, error: MeshsyncError | None) -> None:
        """Mark it done. Called by the connection, once."""
        with self.condition:
            self._error = error
            self._is_done = True
            self.condition.notify_all()
        if self._on_done is not None:
            self._on_done(error)

    def _get_is_done(self) -> bool:
        return self._is_done

    def __repr__(self) -> str:
        state = "unacknowledged" if not self._is_done else "failed" if self._error else "acknowledged"
        return f"<Delivery of {self._what}: {state}>"


class Turns:
    """Lets one delivery at a time be sent, first come, first served: whoever is first in line has the turn.

    A lock would not do: whoever sends may wait for room in the connection's buffer, and the others' own time limits run
    meanwhile. Each waits at its own condition, so that passing the turn on wakes one task and not all.

    It needs no lock of its own: all that counts are single operations of a deque, so Ctrl-C finds each done or not
    done. ``take`` belongs inside a ``try`` whose ``finally`` calls ``leave``, and calls it again if Ctrl-C strikes in
    there, which it can even before the first statement: otherwise the turn would be with nobody for good.
    """

    def __init__(self) -> None:
        self._line: deque[Delivery] = deque()

    def take(self, delivery: Delivery, timeout: float | None) -> bool:
        """Wait for the turn, at most ``timeout`` seconds; return whether it came."""
        line = self._line
        line.append(delivery)
        if line[0] is delivery:
            return True
        with delivery.condition:
            return delivery.condition.wait_for(lambda: line[0] is delivery, timeout)

    def leave(self, delivery: Delivery) -> None:
        """Pass the turn on to who has waited longest, or stop waiting for it. Again does nothing, or what is left."""
        line = self._line
        if delivery in line:
            line.remove(delivery)
        if not line:
            return
        try:
            successor = line[0]
        except IndexError:
            return  # Whoever it was has left meanwhile, and woke the next.
        with successor.condition:
            successor.condition.notify_all()
