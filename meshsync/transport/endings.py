"""The end of a connection, real or simulated: its states, and the reason, from which every caller gets an error."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from meshsync.errors import ConnectionLost, ProtocolError
from meshsync.protocol.frames import CloseFrame

__all__ = [
    "CLOSED_HERE",
    "DROPPED",
    "INTERRUPTED",
    "MOVES",
    "NO_SIGN_OF_LIFE",
    "Ending",
    "Life",
    "broke",
    "closed_by_peer",
    "closed_here",
    "protocol_broken",
]


class Life(Enum):
    """Where a connection is in its life."""

    OPEN = "open"
    CLOSING = "closing"
    """This side ends it: it flushes, or waits for the answer to its close frame."""
    ANSWERING = "answering"
    """The peer's close frame came first, or the peer erred; our close frame is on its way."""
    BROKEN = "broken"
    """No data can be written any more; received data is still read."""
    ENDED = "ended"


MOVES = {
    Life.OPEN: {Life.CLOSING, Life.ANSWERING, Life.BROKEN, Life.ENDED},
    Life.CLOSING: {Life.ANSWERING, Life.BROKEN, Life.ENDED},
    Life.ANSWERING: {Life.ENDED},
    Life.BROKEN: {Life.ENDED},
    Life.ENDED: set[Life](),
}
"""A simulated connection is never ANSWERING or BROKEN: its close frames leave at once, and a reset shows at once."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended; every caller gets an error of its own made from it."""

    text: str
    code: int | None = None
    reason: str = ""
    clean: bool = False

    def loss(self) -> ConnectionLost:
        """Return a new error, to be raised once."""
        return ConnectionLost(self.text, code=self.code, reason=self.reason, clean=self.clean)


CLOSED_HERE = Ending("the connection was closed on this side", reason="closed on this side")
DROPPED = Ending("the peer dropped the connection without a close frame", reason="dropped")
NO_SIGN_OF_LIFE = Ending("the peer gives no sign of life", reason="no sign of life")
INTERRUPTED = Ending("a call was interrupted while bytes were on their way", reason="interrupted")


def broke(error: OSError) -> Ending:
    """Return the end of a connection that the system reported as broken."""
    reason = error.strerror or str(error) or type(error).__name__
    return Ending(f"the connection broke: {reason}", reason=reason)


def closed_here(answer: CloseFrame, *, clean: bool = False) -> Ending:
    """Return the end of a connection that this side closed and the peer's close frame answered."""
    return Ending(CLOSED_HERE.text, answer.code, answer.reason, clean)


def closed_by_peer(close: CloseFrame, *, clean: bool = False) -> Ending:
    """Return the end of a connection that the peer's close frame ended."""
    status = f"{close.code or 'no code'}{': ' + close.reason if close.reason else ''}"
    return Ending(f"the peer closed the connection ({status})", close.code, close.reason, clean)


def protocol_broken(fault: ProtocolError) -> Ending:
    """Return the end of a connection whose peer broke the protocol."""
    return Ending(str(fault), fault.code, str(fault))
