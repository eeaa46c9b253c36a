"""SIGTERM and Ctrl-C as an exception, in the main thread and nowhere else."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from meshsync.runtime.stop_signals import StopAsked, stop_signals
from meshsync.runtime.threads import ThreadRuntime
from simulator import Simulation

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")
NUMBERS = (signal.SIGTERM, signal.SIGINT)
DEFAULTS = [signal.SIG_DFL, signal.default_int_handler]


def handlers() -> list[object]:
    """Return what is done at each signal."""
    return [signal.getsignal(number) for number in NUMBERS]


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    """Have what a fresh process has, and restore what was."""
    before = [(number, signal.signal(number, default)) for number, default in zip(NUMBERS, DEFAULTS, strict=True)]
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_signal_is_raised_once_and_what_was_is_restored(number: signal.Signals) -> None:
    """From the moment of the first one, so that the second has its usual effect."""
    with pytest.raises(StopAsked), stop_signals(ThreadRuntime()):
        try:
            signal.raise_signal(number)
        finally:
            assert handlers() == DEFAULTS
    assert handlers() == DEFAULTS


def test_block_without_a_signal_restores_too() -> None:
    """Also when it is left by an exception."""
    with pytest.raises(LookupError), stop_signals(ThreadRuntime()):
        assert handlers() != DEFAULTS
        raise LookupError
    assert handlers() == DEFAULTS


def test_handlers_of_the_program_stay() -> None:
    """One that ignores, and one of its own."""
    own = [signal.SIG_IGN, lambda *_: None]
    for number, handler in zip(NUMBERS, own, strict=True):
        signal.signal(number, handler)
    with stop_signals(ThreadRuntime()):
        assert handlers() == own
        signal.raise_signal(signal.SIGTERM)
    assert handlers() == own


def test_other_threads_get_no_signals() -> None:
    """There it changes nothing, and raises nothing."""
    seen: list[list[object]] = []

    def look() -> None:
        with stop_signals(ThreadRuntime()):
            seen.append(handlers())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [DEFAULTS]


def test_simulation_does_nothing_to_the_process() -> None:
    """Its own handler of Ctrl-C stays, and there are no signals in virtual time."""
    with Simulation() as sim:
        before = handlers()
        with stop_signals(sim.runtime):
            assert handlers() == before
