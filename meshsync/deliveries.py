"""The handle of one request that was sent, and whose turn it is to send."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from meshsync.errors import MeshsyncError, SendTimeout
from meshsync.runtime import Runtime

__all__ = ["Delivery", "Turns"]


class Delivery:
    """A request on its way: unacknowledged, then done, with an error or without.

    Safe to use from any task; keeping it is optional.
    """

    __slots__ = ("_error", "_is_done", "_refuse_to_block", "_what", "condition", "first_packet")

    def __init__(self, what: str, runtime: Runtime, refuse_to_block: Callable[[str], None]) -> None:
        self._what = what
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
                    raise SendTimeout(f"{self._what}: not acknowledged within {timeout or 0:g} s; it may yet arrive")
        if self._error is not None:
            raise self._error

    def resolve(self, error: MeshsyncError | None) -> None:
        """Mark it done. Called by the connection, once."""
        with self.condition:
            self._error = error
            self._is_done = True
            self.condition.notify_all()

    def _get_is_done(self) -> bool:
        return self._is_done

    def __repr__(self) -> str:
        state = "unacknowledged" if not self._is_done else "failed" if self._error else "acknowledged"
        return f"<Delivery of {self._what}: {state}>"


class Turns:
    """Lets one delivery at a time be sent, first come, first served.

    A lock would not do: whoever sends may wait for room in the connection's buffer, and the others' own time limits run
    meanwhile. Each waits at its own condition, so that passing the turn on wakes one task and not all.

    ``take`` belongs inside a ``try`` whose ``finally`` gives back, whatever ``take`` returned: so an exception that
    strikes between the two, such as Ctrl-C, leaves the turn with nobody gone.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._condition = runtime.condition()
        self._holder: Delivery | None = None
        self._waiting: deque[Delivery] = deque()

    def take(self, delivery: Delivery, timeout: float | None) -> bool:
        """Wait for the turn, at most ``timeout`` seconds; return whether it came."""
        with self._condition:
            if self._holder is None:
                self._holder = delivery
                return True
            self._waiting.append(delivery)
        with delivery.condition:
            return delivery.condition.wait_for(lambda: self._holder is delivery, timeout)

    def give_back(self, delivery: Delivery) -> None:
        """Pass the turn on to who has waited longest, or stop waiting for it. More than once does nothing."""
        successor = None
        try:
            with self._condition:
                if self._holder is delivery:
                    successor = self._holder = self._waiting.popleft() if self._waiting else None
                elif delivery in self._waiting:
                    self._waiting.remove(delivery)
        finally:
            if successor is not None:
                with successor.condition:
                    successor.condition.notify_all()
