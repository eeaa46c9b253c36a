"""A room, joined: what ``meshsync.connect`` returns."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from meshsync.connection.connection import Connection, State
from meshsync.errors import ConnectTimeout, MeshsyncError, RoomUnavailable
from meshsync.messaging import MessagingClient
from meshsync.participants import LocalParticipant
from meshsync.protocol import events
from meshsync.protocol.operations import SetAttributes
from meshsync.protocol.session import Session
from meshsync.runtime.deadlines import Timeout
from meshsync.runtime.interfaces import Runtime
from meshsync.transport.interfaces import Transport

__all__ = ["ClientStats", "RoomClient"]

logger = logging.getLogger("meshsync")

CLOSE_TIMEOUT = 5.0
"""Seconds."""

_ATTRIBUTES_TIMEOUT = 30.0
"""Longest wait for room in the connection's buffer when an attribute is set, in seconds."""


@dataclass(frozen=True, slots=True)
class ClientStats:
    """What a client has done so far."""

    bytes_sent: int
    """Bytes handed to the network, framing included."""
    bytes_received: int
    packets_sent: int
    packets_received: int
    bytes_buffered: int
    """Bytes accepted and not yet handed to the network."""
    pending: int
    """Requests that the room has not acknowledged."""
    events_dropped: int
    """Events that receivers were too slow for."""


class RoomClient:
    """A connection to a room. Any method may be called from any task; a context manager closes it.

    Made by ``meshsync.connect``.

    Attributes:
        messaging: The room's messaging.
    """

    def __init__(
        self,
        transport: Transport,
        session: Session,
        runtime: Runtime,
        *,
        role: str,
        default_timeout: float | None = None,
        messaging: Callable[[RoomClient], MessagingClient] = MessagingClient,
        name: str = "",
    ) -> None:
        self.default_timeout = default_timeout
        self._role = role
        self._ready: events.Ready | None = None
        self._local_participant = LocalParticipant("", role, {}, self._set_attributes)
        self.connection = Connection(transport, session, runtime, self, name)
        self.messaging = messaging(self)

    def open(self, timeout: float | None) -> None:
        """Start, and wait for the room's greeting; called by ``meshsync.connect``.

        Raises:
            ConnectTimeout: If it did not come within ``timeout`` seconds.
            RoomUnavailable: If the connection ended before, whoever ended it.
        """
        try:
            self.messaging.start()
            self.connection.start()
            is_over = self.connection.wait_open(timeout)
            if self.connection.state is State.OPEN:
                return
            if not is_over:
                raise ConnectTimeout(f"the room accepted the connection and did not greet within {timeout or 0:.3g} s")
            raise RoomUnavailable(f"the connection ended before the room was ready: {self.connection.failure()}")
        except BaseException:
            self.connection.abandon()
            raise

    # --- who and where ------------------------------------------------------------------------------------------------

    @property
    def local_participant(self) -> LocalParticipant:
        """This client's own participant."""
        return self._local_participant

    @property
    def room_name(self) -> str:
        """The room's name, as the room says it."""
        return self._ready.room_name if self._ready else ""

    @property
    def room_url(self) -> str:
        """The room's address, as the room says it."""
        return self._ready.room_url if self._ready else ""

    @property
    def session_id(self) -> str:
        """The id that the room gave to its session."""
        return self._ready.session_id if self._ready else ""

    @property
    def is_connected(self) -> bool:
        """Whether requests can be made."""
        return self.connection.is_open

    def stats(self) -> ClientStats:
        """Return what this client has done so far."""
        carried = self.connection.transport.stats()
        return ClientStats(
            bytes_sent=carried.bytes_sent,
            bytes_received=carried.bytes_received,
            packets_sent=carried.packets_sent,
            packets_received=carried.packets_received,
            bytes_buffered=carried.bytes_buffered,
            pending=self.connection.pending,
            events_dropped=self.connection.dropped,
        )

    # --- ending -------------------------------------------------------------------------------------------------------

    def close(self, timeout: Timeout = "default", *, wait: bool | None = None) -> None:
        """Leave the room: wait for acknowledgements, say goodbye, run the receivers of what came, and ``disconnected``.

        New calls are refused at once. For half of ``timeout`` it waits for what is unacknowledged; what is still then
        fails with `DeliveryUnknown` or `NotSent`. Closing again only waits.

        Args:
            timeout: The longest wait, in seconds; 5 by default and for None, since closing always ends. 0 says no
                goodbye.
            wait: Whether to return when it is done. By default, yes; but from a receiver, from a hook, and when the
                process is exiting, closing is only begun.
        Raises:
            WouldDeadlock: If asked to wait where that would never end; nothing has happened.
        """
        limit = timeout if timeout != "default" else self.default_timeout
        self.connection.close(CLOSE_TIMEOUT if limit is None else limit, wait)

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until the client has closed or lost its connection, and its receivers have run.

        Args:
            timeout: The longest wait in seconds; None waits for ever.
        Returns:
            Whether it has.
        Raises:
            WouldDeadlock: If called from a receiver.
        """
        return self.connection.wait_closed(timeout)

    def __enter__(self) -> RoomClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = self.connection.state.value
        return f"<RoomClient {self.local_participant.name!r} in {self.room_name!r}: {state}>"

    # --- what the connection tells ------------------------------------------------------------------------------------

    def received(self, event: events.Event) -> None:
        """Take what arrived; see `Handler`."""
        match event:
            case events.Ready():
                self._ready = event
                self._local_participant = LocalParticipant(
                    event.participant_id, self._role, event.attributes, self._set_attributes
                )
            case events.StatusReported(members):
                with suppress(Exception):  # What a log handler of the program raises must not end the connection.
                    logger.info("the room says: %s", members)
            case _:
                self.messaging.handle(event)

    def ended(self, error: MeshsyncError | None) -> None:
        """Take the end; see `Handler`."""
        self.messaging.end(error)

    def closing(self, timeout: float) -> None:
        """Say what others have to know; see `Handler`."""
        self.messaging.closing(timeout)

    def dispatch(self, item: object) -> None:
        """Run what was posted; see `Handler`."""
        self.messaging.dispatch(item)

    def dropped(self, count: int) -> None:
        """Report what was dropped; see `Handler`."""
        self.messaging.dropped(count)

    def _set_attributes(self, attributes: Mapping[str, Any]) -> None:
        limit = _ATTRIBUTES_TIMEOUT if self.default_timeout is None else self.default_timeout
        self.connection.request(SetAttributes(dict(attributes)), "setting an attribute", limit)
