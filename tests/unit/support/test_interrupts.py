"""Ctrl-C at a chosen place: which places there are."""

from __future__ import annotations

from typing import Any

from tests.support.interrupts import Interrupt

_NAMED_AS_OURS = "/somewhere/meshsync/module.py"
"""What the places are looked for in is told by the names of files."""

_SOURCE = """
def call(): step(); step()
def step(): ...

class Dropped:
    def __del__(self):
        step(); step()
        seen.append("to its end")

def drop():
    Dropped()
    step()
"""


def ours() -> dict[str, Any]:
    """Return the names of a module that passes for one of meshsync's."""
    module: dict[str, Any] = {"seen": [], "__name__": "ours"}
    exec(compile(_SOURCE, _NAMED_AS_OURS, "exec"), module)
    return module


def places(call: Any) -> int:
    """Return at how many places it can be interrupted."""
    place = 1
    while Interrupt(place).run(call):
        place += 1
    return place - 1


def test_each_call_and_each_return_is_a_place() -> None:
    """Of the function itself and the two that it calls."""
    assert places(ours()["call"]) == 6


def test_a_finalizer_has_no_place() -> None:
    """Python would print what is raised in there and go on, and the call would not be interrupted."""
    module = ours()
    assert places(module["drop"]) == 4
    assert module["seen"] == ["to its end"] * 4  # Also in the last run, which goes through.
