"""What is held for all clients, and which of them goes."""

from __future__ import annotations

from simulator.emulator.memory import Memory


class Resting:
    """A connection for which so many bytes are held."""

    def __init__(self, memory: Memory, own: int, shared: int = 0) -> None:
        self.memory = memory
        self.own = own
        self.shared = shared
        self.reason = ""
        memory.note(self, own)

    @property
    def holds(self) -> int:
        return self.own + self.shared

    def evict(self, reason: str) -> None:
        self.reason, self.own, self.shared = reason, 0, 0
        self.memory.note(self, 0)


def test_what_is_held_is_the_sum_of_the_latest_notes_and_the_queues():
    """A note replaces the one before, and 0 ends it."""
    memory = Memory(1000)
    one = Resting(memory, 100)
    Resting(memory, 50)
    memory.queues.size += 7
    memory.note(one, 200)
    assert memory.used == 257
    memory.note(one, 0)
    assert memory.used == 57


def test_largest_holders_go_until_there_is_room():
    """Two of three, largest first, with the figures in the reason; what they share with others decides too."""
    memory = Memory(1_000_000)
    small, large = Resting(memory, 100_000), Resting(memory, 400_000)
    sharing = Resting(memory, 300_000, shared=500_000)
    memory.note(small, 100_001)
    assert not (small.reason or large.reason or sharing.reason)

    memory.queues.size += 600_000
    memory.note(small, 100_000)

    assert "of 1400000 bytes, 800000 are held" in sharing.reason
    assert "of 1100000 bytes, 400000 are held" in large.reason
    assert not small.reason


def test_nobody_goes_for_what_nobody_holds():
    """Connections for which next to nothing is held are left alone, however full it is."""
    memory = Memory(1_000_000)
    idle = Resting(memory, 20_000)
    memory.queues.size += 5_000_000
    memory.note(idle, 20_001)
    assert not idle.reason


def test_memory_is_scarce_from_nine_tenths_on():
    """Then newcomers are refused."""
    memory = Memory(1_000_000)
    one = Resting(memory, 899_999)
    assert not memory.is_scarce
    memory.note(one, 900_000)
    assert memory.is_scarce
