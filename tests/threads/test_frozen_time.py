"""Time limits on real threads pass where a test freezes the time."""

from __future__ import annotations

from collections.abc import Callable

import freezegun
import pytest

import meshsync
from meshsync import ReceiveTimeout, StreamTimeout
from tests.support.rooms import Join, start

LIMIT = 0.05
"""Seconds of a wait in vain."""


@pytest.mark.parametrize("in_main_thread", [True, False])
def test_waiting_ends_under_a_frozen_clock(in_main_thread: bool) -> None:
    """The main thread waits in steps, others at once; both by the clock as it was at import."""

    def wait() -> bool:
        condition = meshsync.condition()
        with condition:
            return condition.wait_for(lambda: False, LIMIT) or condition.wait(LIMIT)

    with freezegun.freeze_time("2026-01-04"):
        assert (wait() if in_main_thread else start(wait).result(30)) is False


def test_a_long_wait_of_the_main_thread_ends_under_a_frozen_clock() -> None:
    """Longer than the step in which it heeds signals, which is a second."""
    condition = meshsync.condition()
    with freezegun.freeze_time("2026-01-04"), condition:
        assert condition.wait(1.1) is False


def test_calls_end_under_a_frozen_clock(join: Join) -> None:
    """Of a client, and `close` while an accept callback runs."""
    alice, bob = join("alice"), join("bob")
    going_on = meshsync.condition()

    def dawdle(reader: object) -> None:
        with going_on:
            going_on.wait(30)

    bob.messaging.enable(dawdle)
    peer = alice.messaging.wait_for_participant(name="bob", timeout=30)
    calls: list[tuple[type[Exception], Callable[[], object]]] = [
        (ReceiveTimeout, lambda: alice.messaging.messages().get(LIMIT)),
        (ReceiveTimeout, lambda: alice.messaging.wait_for_participant(name="nobody", timeout=LIMIT)),
        (StreamTimeout, lambda: alice.messaging.create_stream(peer, timeout=LIMIT)),
    ]
    with freezegun.freeze_time("2026-01-04"):
        for error, call in calls:
            with pytest.raises(error):
                start(call).result(30)
        assert start(alice.wait_closed, LIMIT).result(30) is False
        start(bob.close, 0.5).result(30)
    with going_on:
        going_on.notify_all()
