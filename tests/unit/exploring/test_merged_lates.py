"""Several late steps that fail only together are made one, where one can do it."""

from __future__ import annotations

import meshsync
from simulator.exploring.exploration import explore
from simulator.simulation import Simulation


def adds_up(sim: Simulation) -> None:
    """Fail if ten steps of 0.1 s take 2 s longer than they should, whichever is late."""
    for _ in range(10):
        meshsync.sleep(0.1)
    assert sim.now < 3


def test_one_step_is_late_by_what_several_were():
    """A scale is 0.9 s at most, between the first and the last step, a step late by 1.35 s: it takes two or more."""
    failure = explore(adds_up, range(100), schedule="late", save=None, report=None)
    assert failure is not None
    assert len(failure.found.lates) >= 2
    (late,) = failure.run.lates
    assert 2.0e9 <= late.by <= 2.2e9
