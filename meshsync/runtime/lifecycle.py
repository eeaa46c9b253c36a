"""Lifecycles: states in an enum, the moves between them in a table, and the one guard that asks the table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from typing import TypeVar

__all__ = ["move"]

S = TypeVar("S", bound=Enum)


def move(moves: Mapping[S, Collection[S]], state: S, new: S, subject: object) -> S:
    """Return ``new`` if the table has a move to it from ``state``.

    Args:
        moves: The states that may follow each state; a state without a row is a last one.
        subject: The owner of the state, for the error.
    Raises:
        RuntimeError: If the table lacks the move, which is a fault of the caller; nothing has changed.
    """
    if new not in moves.get(state, ()):
        raise RuntimeError(f"{subject} cannot go from {state.name} to {new.name}")
    return new
