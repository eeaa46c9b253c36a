"""The kernel against a plain model: a list that is searched for the least instant and the earliest asking."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, precondition, rule

from simulator.engine.kernel import Kernel, Timer
from tests.support.profiles import examples


@dataclass
class Entry:
    """What the model knows of one timer; its place in the model's list is the order of asking."""

    when: int
    number: int
    is_background: bool
    is_pending: bool = True


class KernelMachine(RuleBasedStateMachine):
    """Asks, cancels and takes in any order, and compares what happened and what is left."""

    timers = Bundle("timers")

    def __init__(self) -> None:
        super().__init__()
        self.kernel = Kernel()
        self.now = 0
        self.entries: list[Entry] = []
        self.happened: list[int] = []
        self.expected: list[int] = []

    @rule(target=timers, delay=st.integers(-3, 20), background=st.booleans(), count=st.sampled_from([1, 1, 1, 150]))
    def ask(self, delay: int, background: bool, count: int) -> object:
        """Ask for one timer, or so many that cancelled ones have to be cleared."""
        made = []
        for _ in range(count):
            entry = Entry(max(self.now, self.now + delay), len(self.entries), background)
            self.entries.append(entry)
            callback = partial(self.happened.append, entry.number)
            made.append((self.kernel.at(self.now + delay, callback, background=background), entry))
        return multiple(*made)

    @rule(pair=timers)
    def cancel(self, pair: tuple[Timer, Entry]) -> None:
        """Cancel one, whether it is pending or not."""
        timer, entry = pair
        assert timer.is_pending == entry.is_pending
        timer.cancel()
        entry.is_pending = False

    @rule(share=st.sampled_from([1, 2, 3]))
    def cancel_many(self, share: int) -> None:
        """Cancel most of what is pending, by the kernel's own list."""
        for _, _, timer in list(self.kernel._heap):
            number = timer.callback.args[0] if isinstance(timer.callback, partial) else 0
            if timer.is_pending and number % 4 < share:
                timer.cancel()
                self.entries[number].is_pending = False

    @rule()
    def take(self) -> None:
        """Take the next timer; the model takes the least of its list."""
        callback = self.kernel.take()
        pending = [entry for entry in self.entries if entry.is_pending]
        if not pending:
            assert callback is None
            return
        entry = min(pending, key=lambda entry: (entry.when, entry.number))
        entry.is_pending = False
        self.now = entry.when
        self.expected.append(entry.number)
        assert callback is not None
        callback()

    @precondition(lambda self: not any(entry.is_pending for entry in self.entries))
    @rule(by=st.integers(0, 9))
    def move(self, by: int) -> None:
        """Move the clock over a time in which nothing happens."""
        self.now += by
        self.kernel.move(self.now)

    @invariant()
    def agrees(self) -> None:
        """Kernel and model agree on the clock, what happened, and what is left."""
        pending = [entry for entry in self.entries if entry.is_pending]
        assert self.kernel.now == self.now
        assert self.happened == self.expected
        assert len(self.kernel) == len(pending)
        assert self.kernel.foreground == sum(not entry.is_background for entry in pending)
        assert self.kernel.next_deadline == min((entry.when for entry in pending), default=None)


TestKernel = KernelMachine.TestCase
TestKernel.settings = examples(60, stateful_step_count=40)
