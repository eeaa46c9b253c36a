"""The gate before the program's code: open, shut, and in a child process."""

from __future__ import annotations

import pytest

from meshsync.connection import forks
from meshsync.dispatch.gate import Gate
from meshsync.runtime.threads import ThreadRuntime


def called() -> None:
    """Stand for a receiver."""


@pytest.fixture
def gate() -> Gate:
    """Return an open gate."""
    return Gate(ThreadRuntime())


def test_shutting_names_what_is_under_way_and_lets_nothing_begin(gate: Gate) -> None:
    """A call that has returned is not named."""
    assert gate.enter(print)
    gate.leave()
    assert gate.enter(called)
    assert gate.shut() == (f"{__name__}.called",)
    gate.leave()
    assert not gate.enter(called)
    assert gate.shut() == ()


def test_nothing_begins_in_a_child(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the parent's receivers are for, the parent does."""
    monkeypatch.setattr(forks, "_forks", forks._forks + 1)
    assert not gate.enter(called)
    assert not gate.is_here
    assert not gate.is_shut
