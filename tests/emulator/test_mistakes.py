"""Newcomers' mistakes: each is told what happened and what to write, as docs/mistakes.md shows it."""

from __future__ import annotations

import logging
import re
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import meshsync
import simulator
from tests.support.mistakes import Mistake, mistakes
from tools.mistakes import page

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0


@pytest.fixture(scope="module")
def running() -> Iterator[simulator.Emulator]:
    """Return an emulator for all mistakes."""
    with simulator.Emulator(port=0) as emulator:
        yield emulator


@pytest.mark.parametrize("mistake", [pytest.param(one, id=one.title) for one in mistakes()])
def test_mistake_is_told(
    mistake: Mistake, running: simulator.Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends, and with that text; those that are no errors of a call warn or are logged."""
    for name, value in running.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MESHAGENT_ROOM", raising=False)
    with ExitStack() as stack, warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.WARNING):
        warnings.simplefilter("always")
        bob, room = (stack.enter_context(meshsync.connect("lab", name=name)) for name in ("bob", "alice"))
        bob.messaging.enable()
        room.messaging.enable()
        scope: dict[str, Any] = {
            "__name__": "__main__",
            "bob": bob,
            "emulator": running,
            "messaging": room.messaging,
            "meshsync": meshsync,
            "peer": room.messaging.wait_for_participant(name="bob", timeout=PATIENCE),
            "room": room,
            "simulator": simulator,
            "threading": threading,
            "time": time,
        }
        bob.messaging.wait_for_participant(name="alice", timeout=PATIENCE)
        seen = []
        failed = threading.Event()
        room.messaging.on("receiver_failed", lambda event: failed.set())
        try:
            exec(compile(mistake.code, "mistake.py", "exec"), scope)
            if mistake.sees.startswith("log:"):
                assert failed.wait(PATIENCE)
        except Exception as error:
            seen.append(f"{type(error).__name__}: {error}")
    seen += [f"warning: {one.message}" for one in warned if one.category is RuntimeWarning]
    for record in caplog.records:
        raised = f": {record.exc_info[1]}" if record.exc_info else ""
        seen.append(f"log: {record.getMessage()}{raised}")
    wanted = ".*".join(map(re.escape, mistake.sees.split("…")))
    assert any(re.fullmatch(wanted, one, re.DOTALL) for one in seen), seen


def test_the_page_is_made_of_these() -> None:
    """It is written by ``python -m tools.mistakes``."""
    assert (ROOT / "docs/mistakes.md").read_text(encoding="utf-8") == page()
