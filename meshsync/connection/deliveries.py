"""The handle of one request that was sent."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

from meshsync.errors import MeshsyncError, SendTimeout
from meshsync.hints import Hinted
from meshsync.protocol.operations import Request
from meshsync.protocol.session import Encoded, body_size
from meshsync.runtime.deadlines import Deadline, Timeout, check_timeout
from meshsync.runtime.interfaces import Runtime

__all__ = ["Delivery", "Parcel", "Receipt"]


@dataclass(slots=True)
class Parcel:
    """What is to be sent, for as long as it may have to be sent on another connection."""

    request: Request
    encoded: Encoded
    recipient: object
    """The participant that the program named, or its id; None for requests to the room."""


class Receipt:
    """Tells whether a request was sent when no `Delivery` was returned, since Ctrl-C struck."""

    is_sent: bool = False  # Of the class: one is made for each request.
    """Whether the transport has accepted the request."""


class Delivery(Hinted):
    """A request on its way: unacknowledged, then done, with an error or without.

    Safe to use from any task; keeping it is optional. Its underscored names are for the connection that made it.
    """

    __slots__ = (
        "_condition",
        "_default_timeout",
        "_error",
        "_first_packet",
        "_is_done",
        "_on_done",
        "_parcel",
        "_place",
        "_refuse_to_block",
        "_runtime",
        "_wait",
        "_what",
    )

    def __init__(
        self,
        what: str,
        runtime: Runtime,
        refuse_to_block: Callable[[str], None],
        on_done: Callable[[MeshsyncError | None], None] | None = None,
        parcel: Parcel | None = None,
    ) -> None:
        self._what = what
        self._parcel = parcel
        """Kept until it is done; None if it ends with its connection."""
        self._place: int | None = None
        """Among those that outlive connections, once it had its turn or began to wait for a connection."""
        self._on_done = on_done
        self._refuse_to_block = refuse_to_block
        self._runtime = runtime
        self._wait: Callable[[Delivery, Deadline], bool] = _wait_plainly
        """How to wait until it is done, or the time is over; returns whether it is."""
        self._condition = runtime.condition()
        """Its sender waits here: first for its turn, then for the acknowledgement."""
        self._default_timeout: float | None = None
        """The client's time limit for calls without one, in seconds; None for ever."""
        self._is_done = False
        self._error: MeshsyncError | None = None
        self._first_packet = 0
        """How many packets the connection had accepted before this delivery's first."""

    @property
    def _size(self) -> int:
        """How many bytes its parcel holds."""
        if self._parcel is None:
            return 0
        encoded = self._parcel.encoded
        return len(encoded[0]) + body_size(encoded)

    @property
    def _is_awaited(self) -> bool:
        """Whether it is to report its end, whoever has its handle."""
        return self._on_done is not None

    @property
    def is_done(self) -> bool:
        """Whether the room has answered, or never will."""
        return self._is_done

    @property
    def error(self) -> MeshsyncError | None:
        """Why it failed; None while it is unacknowledged and after success."""
        return self._error

    def wait(self, timeout: Timeout = "default") -> None:
        """Wait for the room's acknowledgement.

        Args:
            timeout: The longest wait, in seconds; None waits for ever, 0 polls. By default the client's
                ``default_timeout``, or for ever.

        Raises:
            SendTimeout: If none came in time; the delivery may yet arrive, and may be waited for again.
            RoomError: If the room refused; `ParticipantNotFound` if the recipient is not there.
            NotSent: If the connection ended before a byte of it was written.
            DeliveryUnknown: If the connection ended between writing and acknowledgement.
            WouldDeadlock: If called on the task that would bring the acknowledgement.
        """
        limit = check_timeout(self._default_timeout if timeout == "default" else timeout)
        if not self._is_done:
            self._refuse_to_block("waiting for an acknowledgement")
            self._await(Deadline(self._runtime, limit))
        elif self._error is not None:
            raise copy(self._error)

    def _await(self, deadline: Deadline) -> None:
        """Wait until it is done, on a task that may; raises as `wait`."""
        if not self._is_done and not self._wait(self, deadline):
            raise SendTimeout(f"{self._what}: not acknowledged within {deadline.limit:.3g} s; it may yet arrive")
        if self._error is not None:
            # A copy: a raised error keeps its callers' variables alive, and two tasks may wait here.
            raise copy(self._error)

    def _resolve(self, error: MeshsyncError | None) -> None:
        """Mark it done: the connection calls this, once."""
        with self._condition:
            self._error = error
            self._is_done = True
            self._parcel = None
            self._condition.notify_all()
        if self._on_done is not None:
            self._on_done(error)

    def _get_is_done(self) -> bool:
        return self._is_done

    def __repr__(self) -> str:
        state = "unacknowledged" if not self._is_done else "failed" if self._error else "acknowledged"
        return f"<Delivery of {self._what}: {state}>"


def _wait_plainly(delivery: Delivery, deadline: Deadline) -> bool:
    with delivery._condition:
        return delivery._condition.wait_for(delivery._get_is_done, deadline.left())
