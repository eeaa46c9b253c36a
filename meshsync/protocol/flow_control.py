"""One side's account of a stream: windows, bytes that may be sent and bytes unread. Sans-I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshsync.errors import ProtocolError
from meshsync.protocol.envelopes import encode_object
from meshsync.protocol.packets import MAX_MESSAGE_SIZE

__all__ = [
    "CHUNK_OVERHEAD",
    "LEAST_WINDOW",
    "UNREAD_LIMIT",
    "WINDOW",
    "WINDOWS_OF_A_CLIENT",
    "Account",
    "Charge",
    "next_window",
    "size_of",
]


WINDOW = 8 * 1024 * 1024
"""Bytes that a stream may have unread, if few others are open."""
WINDOWS_OF_A_CLIENT = 32 * 1024 * 1024
"""Bytes that all streams of a client share; later ones get less."""
LEAST_WINDOW = 256 * 1024
"""Bytes that every stream gets, however many there are."""
UNREAD_LIMIT = 64 * 1024 * 1024
"""Bytes unread after which a stream without flow control fails."""
CHUNK_OVERHEAD = 256
"""Bytes that a chunk counts beside its content: it takes room even if it is empty."""


def size_of(header: Mapping[str, Any], data: bytes | bytearray | memoryview) -> int:
    """Return the size of a chunk in bytes: its data, its header as compact JSON, and `CHUNK_OVERHEAD`.

    Raises:
        InvalidMessage: If the header is no JSON object.
    """
    return len(data) + CHUNK_OVERHEAD + (len(encode_object(header, "header")) if header else 2)


def next_window(granted: int) -> int:
    """Return the window of one more stream of a client whose others have ``granted`` bytes together."""
    # Half of the rest, so that later streams still get some.
    return max(LEAST_WINDOW, min(WINDOW, (WINDOWS_OF_A_CLIENT - granted) // 2))


# --- one side's account -----------------------------------------------------------------------------------------------


class Charge:
    """The bytes that one chunk takes of the peer's window.

    Args:
        size: In bytes.
    """

    __slots__ = ("is_counted", "size")

    def __init__(self, size: int) -> None:
        self.size: int = size
        self.is_counted: bool = False
        """Whether the account has counted it."""


class Account:
    """One side's account of a stream: bytes that may be sent, and bytes held unread. Sizes are bytes.

    It belongs to the stream and not to what carries it. Not safe to use from two tasks at once.

    Args:
        window: Bytes that this side is ready to hold unread.
    """

    __slots__ = ("_room", "is_agreed", "owed", "unread", "window")

    def __init__(self, window: int) -> None:
        self.window: int = window
        self.is_agreed: bool = False
        """Whether both sides know flow control and cancelling."""
        self._room = 0
        self.unread: int = 0
        """Bytes received and not read."""
        self.owed: int = 0
        """Bytes read for which the peer has got no credit yet."""

    def open(self, peer_window: int | None) -> None:
        """Note that the stream was accepted; None if the peer knows no flow control."""
        self.is_agreed = peer_window is not None
        self._room = peer_window or 0

    # --- what goes out ------------------------------------------------------------------------------------------------

    @property
    def may_send(self) -> bool:
        """Whether the peer can hold another chunk."""
        return self._room > 0 or not self.is_agreed

    def send(self, charge: Charge) -> None:
        """Count a chunk that goes out."""
        # No call in between: Ctrl-C finds it counted or not counted. Likewise below.
        self._room -= charge.size
        charge.is_counted = True

    def refund(self, charge: Charge) -> None:
        """Count a chunk no more, since nothing of it was sent; if it was not counted, do nothing."""
        if charge.is_counted:
            self._room += charge.size
            charge.is_counted = False

    def make_room(self, size: int) -> None:
        """Count bytes that the peer has read."""
        self._room += size

    # --- what comes in ------------------------------------------------------------------------------------------------

    def arrive(self, size: int) -> None:
        """Count a chunk that came.

        Raises:
            ProtocolError: If it is more than this side is ready to hold; it is counted all the same.
        """
        # The last chunk that the window let through may be as large as a message can be.
        limit = self.window + MAX_MESSAGE_SIZE + CHUNK_OVERHEAD if self.is_agreed else UNREAD_LIMIT
        self.unread += size
        if self.unread > limit:
            what = "despite flow control" if self.is_agreed else "and the other side knows no flow control"
            raise ProtocolError(f"{self.unread} bytes are unread, {what}; at most {limit} are kept")

    def widen(self, window: int) -> None:
        """Be ready to hold more unread from now on; the next credit notifies the peer."""
        self.owed += window - self.window
        self.window = window

    @property
    def credit_due(self) -> int:
        """How many bytes to credit the peer with, or 0 while that is not worth a message."""
        return self.owed if self.is_agreed and self.owed * 2 >= self.window else 0
