"""Signals that are put off for a moment."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from meshsync.runtime.shields import SignalShield
from meshsync.runtime.threads import ThreadRuntime
from tests.support.interrupts import CtrlC, Interrupt

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="signals of Unix")


@pytest.fixture
def alarms() -> Iterator[list[int]]:
    """The numbers of the signals that a handler of the program's got."""
    came: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: came.append(number))
    yield came
    signal.signal(signal.SIGALRM, before)


def test_a_signal_reaches_its_handler_when_the_shield_is_down(alarms: list[int]) -> None:
    """Once."""
    handler, shield = signal.getsignal(signal.SIGALRM), SignalShield()
    shield.put_up()
    signal.raise_signal(signal.SIGALRM)
    assert alarms == []
    shield.put_down()
    assert alarms == [signal.SIGALRM]
    assert signal.getsignal(signal.SIGALRM) is handler
    shield.put_down()
    assert alarms == [signal.SIGALRM]


def test_ctrl_c_is_raised_when_the_shield_is_down() -> None:
    """By the handler of Python, which is back."""
    shield = SignalShield()
    shield.put_up()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        shield.put_down()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signals_without_a_handler_in_python_are_left_alone() -> None:
    """The system ignores them, or ends the process."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        shield = SignalShield()
        shield.put_up()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        shield.put_down()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("kind", [CtrlC, Interrupt])
def test_interrupted_anywhere_it_gives_every_handler_back(alarms: list[int], kind: type[Interrupt]) -> None:
    """By a signal or by another exception."""
    handler, place, was_interrupted = signal.getsignal(signal.SIGALRM), 0, True
    while was_interrupted:
        place += 1
        shield = SignalShield()

        def use(shield: SignalShield = shield) -> None:
            try:
                shield.put_up()
            finally:
                try:
                    shield.put_down()
                except BaseException:
                    shield.put_down()
                    raise

        was_interrupted = kind(place).run(use)
        assert signal.getsignal(signal.SIGALRM) is handler, f"at place {place}"
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, f"at place {place}"
    assert place > 15


def test_a_handler_that_sets_another_has_the_last_word() -> None:
    """As one that asks for an end at the first signal, and leaves the second to the system."""
    before = signal.getsignal(signal.SIGALRM)
    shield = SignalShield()

    def handle(number: int, frame: object) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)

    signal.signal(signal.SIGALRM, handle)
    try:
        shield.put_up()
        signal.raise_signal(signal.SIGALRM)
        shield.put_down()
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGALRM, before)


def test_only_the_main_thread_needs_one() -> None:
    """Handlers run in no other."""
    runtime, shields = ThreadRuntime(), list[object]()
    assert runtime.shield() is not None
    runtime.spawn(lambda: shields.append(runtime.shield()), name="other").join()
    assert shields == [None]
