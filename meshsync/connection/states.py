"""The states of a client, which outlives its connections."""

from __future__ import annotations

from enum import Enum

__all__ = ["MOVES", "OFFLINE", "ONLINE", "ClientState"]


class ClientState(str, Enum):
    """Where a client is in its life. Each is equal to its value, a text."""

    CONNECTING = "connecting"
    """Joining for the first time."""
    ONLINE = "online"
    OFFLINE = "offline"
    """The connection was lost, and the client is trying to come back."""
    CLOSING = "closing"
    """The program closed it; requests under way may finish."""
    CLOSED = "closed"
    LOST = "lost"
    """It ended, and the program did not close it."""

    def __str__(self) -> str:
        return self.value

    @property
    def is_over(self) -> bool:
        """Whether it is a last state."""
        return self is ClientState.CLOSED or self is ClientState.LOST


_S = ClientState
OFFLINE, ONLINE = _S.OFFLINE, _S.ONLINE
"""Not looked up by name at each message: before 3.12 that is a call in Python."""
MOVES = {
    _S.CONNECTING: frozenset({_S.ONLINE, _S.CLOSING, _S.LOST}),
    _S.ONLINE: frozenset({_S.OFFLINE, _S.CLOSING, _S.LOST}),
    _S.OFFLINE: frozenset({_S.ONLINE, _S.CLOSING, _S.LOST}),
    _S.CLOSING: frozenset({_S.CLOSED}),
    _S.CLOSED: frozenset[ClientState](),
    _S.LOST: frozenset[ClientState](),
}
