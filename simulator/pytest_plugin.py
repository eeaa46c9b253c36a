"""Fixtures for tests of programs that talk to rooms. Installing the package is enough for pytest to find them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from simulator.emulator import Emulator

__all__ = ["emulator"]


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Run an emulator for one test, with the environment set so that official SDKs and meshsync connect to it.

    Its rooms are empty at first; whoever is still connected at the end is disconnected.
    """
    # Here, since pytest loads this module in every project that has the package, with or without aiohttp.
    from simulator.emulator import CLEARED, Emulator

    with Emulator() as running:
        for name in CLEARED:
            monkeypatch.delenv(name, raising=False)
        for name, value in running.env.items():
            monkeypatch.setenv(name, value)
        yield running
