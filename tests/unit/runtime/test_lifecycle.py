"""Moves that a table has are made, all others are a fault of the caller."""

from __future__ import annotations

from enum import Enum

import pytest

from meshsync.runtime.lifecycle import move


class Door(Enum):
    """A life of three states."""

    OPEN = "open"
    CLOSED = "closed"
    WALLED_UP = "walled up"


MOVES = {Door.OPEN: {Door.CLOSED}, Door.CLOSED: {Door.OPEN, Door.WALLED_UP}}


def test_a_move_of_the_table_is_made() -> None:
    """The new state comes back."""
    assert move(MOVES, Door.OPEN, Door.CLOSED, "a door") is Door.CLOSED


@pytest.mark.parametrize(
    ("state", "new"), [(Door.OPEN, Door.WALLED_UP), (Door.OPEN, Door.OPEN), (Door.WALLED_UP, Door.OPEN)]
)
def test_any_other_move_is_refused(state: Door, new: Door) -> None:
    """Also from a state that has no row, since it is a last one, and to the same state."""
    with pytest.raises(RuntimeError, match=f"^a door cannot go from {state.name} to {new.name}$"):
        move(MOVES, state, new, "a door")
