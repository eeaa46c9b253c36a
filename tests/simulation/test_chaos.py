"""Agents under random faults of every kind, seed after seed: messages, streams, rosters, threads and memory.

``tox -e soak`` tries a thousand seeds, and the same agents on real sockets. A seed that failed once is a named test.
"""

from __future__ import annotations

from random import Random

import pytest

from simulator.faults.registry import KINDS
from tests.support import chaos

SEEDS = range(50)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_all_is_accounted_for(seed: int) -> None:
    """Messages arrive once and in order or their senders can know, streams are whole or cut, rosters converge."""
    ledger = chaos.run(seed)
    assert len(ledger.notes) > 50
    assert any(ledger.received.values())


def test_every_kind_of_fault_is_drawn() -> None:
    """A kind that is added to the simulator has to be added to the plans."""
    assert set(chaos.FAULTS) == {word for word, kind in KINDS.items() if kind.__module__.startswith("simulator.")}
    drawn = {planned.fault.word for seed in SEEDS for planned in chaos.plan(Random(seed)) if hasattr(planned, "fault")}
    assert drawn == set(chaos.FAULTS)


def test_disabling_that_was_not_answered_in_time_does_not_undo_enabling() -> None:
    """Seed 30: the room carried out the request to leave after the client had asked to be in again."""
    chaos.run(30)
