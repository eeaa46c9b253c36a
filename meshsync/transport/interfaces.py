"""The network as interfaces: a live connection, its connector, and its endpoint.

``meshsync.transport.websocket`` implements them with a real WebSocket, the simulator with two simulated links. A
*packet* is the content of one binary WebSocket message. A transport does not look into packets.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from meshsync.runtime.interfaces import Shield

__all__ = ["Connector", "Endpoint", "OnStep", "Step", "Transport", "TransportStats"]

Step = Literal["lookup", "tcp", "proxy", "tls", "http"]
"""One of the steps of a handshake, in their order; ``proxy`` and ``tls`` not in each."""

OnStep = Callable[[Step, str], object]
"""Called when a step is done, with what it showed, for people; on the task of the handshake."""


@dataclass(frozen=True, slots=True)
class TransportStats:
    """The traffic of a transport so far."""

    bytes_sent: int = 0
    """Bytes handed to the network, framing included."""
    bytes_received: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    bytes_buffered: int = 0
    """Bytes accepted by ``send`` and not yet handed to the network."""
    waiting_senders: int = 0
    """Tasks in ``send`` that wait for room now."""

    def after(self, earlier: TransportStats) -> TransportStats:
        """Return the traffic of an earlier transport and of this one, with the buffer of this one."""
        return replace(
            self,
            bytes_sent=earlier.bytes_sent + self.bytes_sent,
            bytes_received=earlier.bytes_received + self.bytes_received,
            packets_sent=earlier.packets_sent + self.packets_sent,
            packets_received=earlier.packets_received + self.packets_received,
        )


class Transport(Protocol):
    """One live connection.

    Any task may call ``send`` and ``close``; only one at a time may be in ``receive``. Some task has to be in
    ``receive`` most of the time: it reads, answers pings, and finishes writes that a sender began.

    Noticing a lost peer is part of the contract: ``receive`` and ``send`` raise `ConnectionLost` within the heartbeat's
    interval (30 s) plus its timeout (15 s) after the last sign of life. A sign of life is a byte received. As long as a
    ping has not arrived, because all that was sent before it is still on its way, it is a byte acknowledged by the
    peer's end too, so a slow link is not lost. A byte that was only handed to the network is none, and after the ping
    has arrived its answer alone counts: a program may be dead whose system still acknowledges. Where the system does
    not tell what is acknowledged (Linux does), the timeout is longer instead by what may lie before the ping: as long
    again for each 720 KiB.
    """

    def send(self, packets: Sequence[bytes], timeout: float | None, *, is_reserved: bool = False) -> None:
        """Accept the whole batch for sending, in order, or nothing of it.

        The transport's buffer is bounded in bytes; a batch larger than the bound is accepted when the buffer is empty.

        Args:
            timeout: The longest wait for room in the buffer, in seconds; None waits for ever, 0 polls.
            is_reserved: Whether it is a message that no task waits to send: accepted at once, ahead of senders that
                wait, and from a small reserve where the buffer is full; or refused at once.
        Raises:
            SendTimeout: If there was no room in time; nothing was accepted, ``retryable`` is true.
            ConnectionLost: If the connection has ended; nothing was accepted.
        """
        ...

    def receive(self, timeout: float | None, shield: Shield | None = None) -> Sequence[bytes]:
        """Return all complete packets that are there, waiting for at least one.

        Args:
            timeout: The longest wait in seconds; None waits for ever, 0 polls.
            shield: Put up from the end of the wait for the network on, and up at the return, so that what came can be
                handled untorn. Where this raises, it may be either.
        Returns:
            The packets in order; empty on time-out.
        Raises:
            ConnectionLost: If the connection has ended and all packets before have been returned.
            ProtocolError: If the peer broke the framing; the transport has closed itself with the error's code.
        """
        ...

    def close(self, timeout: float, code: int = 1000, reason: str = "") -> None:
        """End the connection: flush accepted packets, send a close frame, wait for the peer's, shut down.

        From any task, also while another is blocked in ``receive`` or ``send``; those raise `ConnectionLost`. Returns
        within ``timeout`` seconds; 0 means no flush and no close frame. Closing again does nothing.
        """
        ...

    def stats(self) -> TransportStats:
        """Return the traffic so far."""
        ...

    def accepted(self, *, is_reserved: bool = False) -> int:
        """Return how many packets ``send`` has accepted, with ``is_reserved`` or without it.

        Counted from the first packet of the connection; also valid after its end. It tells, after Ctrl-C in ``send``,
        whether the batch was accepted.
        """
        ...

    def written(self) -> int:
        """Return how many of the packets that ``send`` accepted have had at least one byte handed to the network.

        Counted from the first packet of the connection; also valid after its end. It separates `NotSent` from
        `DeliveryUnknown`.
        """
        ...


class Connector(Protocol):
    """Opens connections to one endpoint: a client that reconnects has one."""

    def connect(self, timeout: float | None) -> Transport:
        """Open a connection.

        Args:
            timeout: The longest wait in seconds; None waits for ever.
        Raises:
            ConnectFailed: One of its subclasses; nothing is left behind.
        """
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A room's address, and how to be admitted."""

    url: str
    """The room's address, ``ws://`` or ``wss://``, its own query parameters included, the token not."""
    token: Callable[[], str] = field(repr=False)
    """Returns the token to present; asked at each attempt. Never shown in errors."""
    token_in: str = "header"
    """``"header"`` for ``Authorization: Bearer``, ``"query"`` for ``?token=`` (PROTOCOL.md, section 2.1)."""
    version: str = ""
    """The value to send as ``v``; empty for none."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers of the handshake."""
    ssl_context: ssl.SSLContext | None = None
    ca_file: str | None = None
    """A file of certificates to trust besides the system's; not together with ``ssl_context``."""
