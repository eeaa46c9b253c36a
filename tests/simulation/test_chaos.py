"""Agents under random faults of every kind, seed after seed: messages, streams, rosters, threads and memory.

``tox -e soak`` tries a thousand seeds, and the same agents on real sockets. A seed that failed once is a named test.
"""

from __future__ import annotations

from random import Random

import pytest

from meshsync import MessageStreamReader, SendTimeout, StreamInterrupted
from simulator import Simulation, faults, latency
from simulator.faults.registry import KINDS
from tests.support import chaos
from tests.support.agents import RECONNECTING, Habits
from tests.support.seeds import sweep

SEEDS = range(50)
HABITS = Habits(), RECONNECTING
"""In turn."""


@pytest.mark.parametrize("seed", sweep(SEEDS, everywhere=10))
def test_whatever_happens_all_is_accounted_for(seed: int) -> None:
    """Messages arrive once and in order or their senders can know, streams are whole or cut, rosters converge."""
    habits = HABITS[seed % 2]
    ledger = chaos.run(seed, habits)
    assert len(ledger.notes) > 50
    assert any(ledger.received.values())
    assert any("came back" in ways for ways in ledger.ways.values()) is habits.reconnects


def test_every_kind_of_fault_is_drawn() -> None:
    """A kind that is added to the simulator has to be added to the plans."""
    ours = {word for word, kind in KINDS.items() if kind.__module__.startswith("simulator.")}
    of_programs = {"crash", "pause_program", "skew_clock", "slow_program"}  # in test_lives.py and test_hindrances.py
    assert set(chaos.FAULTS) == ours - of_programs
    drawn = {planned.fault.word for seed in SEEDS for planned in chaos.plan(Random(seed)) if hasattr(planned, "fault")}
    assert drawn == set(chaos.FAULTS)


def test_disabling_that_was_not_answered_in_time_does_not_undo_enabling() -> None:
    """Where the room gets the request to leave after the program asked to be in again, the client is in (seed 30)."""
    with Simulation(30) as simulation:
        room = simulation.room("lab")
        ada, ben = (room.join(name, enable=True) for name in ("ada", "ben"))
        simulation.plan(faults.during(0, 5, faults.latency(latency.constant(2), "ada", direction="up")))
        simulation.sleep(1)
        with pytest.raises(SendTimeout):
            ada.messaging.disable(timeout=1)
        ada.messaging.enable()
        simulation.sleep(10)
        assert ada.messaging.is_enabled
        assert [one.name for one in ben.messaging.remote_participants] == ["ada"]
        assert [one.name for one in ada.messaging.remote_participants] == ["ben"]


def test_reader_is_not_told_that_all_came_where_the_room_refused_a_chunk() -> None:
    """The room refuses the first chunk alone; the second one and the end are on their way by then."""
    with Simulation(19, latency=latency.constant(0.1)) as simulation:
        room = simulation.room("lab")
        ada, ben = (room.join(name) for name in ("ada", "ben"))
        ada.messaging.enable()
        readers: list[MessageStreamReader] = []
        ben.messaging.enable(readers.append)
        simulation.sleep(1)
        writer = ada.messaging.create_stream(ben.local_participant, {})
        now = simulation.now
        simulation.plan(faults.during(now + 0.09, now + 0.12, faults.error_replies("ada", 1008)))
        writer.write(b"lost")
        simulation.sleep(0.05)
        writer.write(b"kept")
        with pytest.raises(StreamInterrupted):
            writer.close()
        with pytest.raises(StreamInterrupted):
            readers[0].read_all(timeout=10)
