"""The table of names that programs try in vain: of classes that there are, and of nothing that they have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import meshsync
from meshsync import hints
from simulator import Emulator, Simulation
from simulator.simulation import SimulatedRoom


def kinds(base: type) -> Iterator[type]:
    """Yield all subclasses of a class."""
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.mark.parametrize("name", list(hints._SPELLINGS))
def test_names_that_are_answered_are_missing(name: str) -> None:
    """Else the answer would never be given: by the class itself, or for a room by its messaging."""
    # The last of that name: a dataclass with slots is made twice.
    named = {kind.__name__: kind for kind in kinds(hints.Hinted) if kind.__module__.startswith("meshsync.")}
    kind = named[name]
    there = set(dir(kind))
    if kind is meshsync.RoomClient:
        there |= set(dir(meshsync.MessagingClient))
    assert there & set(hints._SPELLINGS[name]) == set()


@pytest.mark.parametrize("kind", [Simulation, SimulatedRoom, Emulator])
def test_names_that_the_simulator_answers_are_missing(kind: type) -> None:
    """As above."""
    answered = next(vars(base)["_spellings"] for base in kind.__mro__ if "_spellings" in vars(base))
    assert set(dir(kind)) & set(answered) == set()


def test_a_property_that_raises_keeps_its_error() -> None:
    """Its own AttributeError is not taken for a missing name."""

    class Broken(hints.Hinted):
        @property
        def size(self) -> int:
            return self.no_such_part  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="no_such_part"):
        print(Broken().size)
