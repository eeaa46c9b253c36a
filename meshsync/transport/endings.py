"""How a connection ends: its states, and the reason that every caller gets an error of its own from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from meshsync.errors import ConnectionLost

__all__ = ["CLOSED_HERE", "MOVES", "Ending", "Life", "broke"]


class Life(Enum):
    """Where a connection is in its life."""

    OPEN = "open"
    CLOSING = "closing"
    """We want to end: flushing, or waiting for the answer to our goodbye."""
    ANSWERING = "answering"
    """The other side said goodbye first, ours is on its way."""
    BROKEN = "broken"
    """Nothing can be written any more; what came is still being read."""
    ENDED = "ended"


MOVES = {
    Life.OPEN: {Life.CLOSING, Life.ANSWERING, Life.BROKEN, Life.ENDED},
    Life.CLOSING: {Life.ANSWERING, Life.BROKEN, Life.ENDED},
    Life.ANSWERING: {Life.ENDED},
    Life.BROKEN: {Life.ENDED},
    Life.ENDED: set[Life](),
}


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


def broke(error: OSError) -> Ending:
    """Return the end of a connection that the system reported as broken."""
    reason = error.strerror or str(error) or type(error).__name__
    return Ending(f"the connection broke: {reason}", reason=reason)
