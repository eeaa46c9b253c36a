"""The contract of portable waiting on real threads and on the virtual clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.waiting_contract import AT_MODULE_LEVEL, WaitingContract
from tests.support.worlds import simulated


class TestRealWorld(WaitingContract):
    """Real threads, the real clock."""

    @pytest.fixture
    def world(self) -> Iterator[None]:
        yield

    def tidy(self) -> None:
        AT_MODULE_LEVEL.release()


@pytest.mark.parametrize("schedule", ["fifo", "random", "pct"])
class TestSimulation(WaitingContract):
    """The virtual clock, under each schedule."""

    @pytest.fixture
    def world(self, schedule: str) -> Iterator[None]:
        with simulated(7, schedule=schedule):
            yield
