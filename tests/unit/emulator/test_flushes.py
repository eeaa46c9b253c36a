"""Tests of writing once a turn for all connections."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from simulator.emulator.flushes import Flushes


class RecordingWriter:
    """A connection that notes when it was flushed, and may fail."""

    def __init__(self, name: str, log: list[str], error: Exception | None = None) -> None:
        self.name = name
        self.log = log
        self.error = error

    def flush(self) -> None:
        """Note it."""
        self.log.append(self.name)
        if self.error is not None:
            raise self.error

    def end(self, code: int, reason: str) -> bool:
        """Note it."""
        self.log.append(f"{self.name} ends with {code}")
        return True


def test_all_that_were_added_in_a_turn_are_flushed_in_the_next_in_their_order() -> None:
    """One call serves all; those added later follow a turn later."""
    log: list[str] = []
    calls: list[Callable[[], None]] = []
    flushes = Flushes(calls.append)
    for name in ("ada", "ben", "cleo"):
        flushes.add(RecordingWriter(name, log))
    assert (log, len(calls)) == ([], 1)
    calls.pop()()
    assert log == ["ada", "ben", "cleo"]
    flushes.add(RecordingWriter("dan", log))
    assert len(calls) == 1
    calls.pop()()
    assert log == ["ada", "ben", "cleo", "dan"]


def test_one_that_fails_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The others are flushed all the same, and the log has the error."""
    log: list[str] = []
    calls: list[Callable[[], None]] = []
    flushes = Flushes(calls.append)
    flushes.add(RecordingWriter("ada", log))
    flushes.add(RecordingWriter("ben", log, ValueError("planted")))
    flushes.add(RecordingWriter("cleo", log))
    with caplog.at_level(logging.ERROR):
        calls[0]()
    assert log == ["ada", "ben", "ben ends with 1011", "cleo"]
    assert "planted" in caplog.text
