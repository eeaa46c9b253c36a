"""Streams that a call opens while its client ends, or leaves messaging, in another task: the call ends at once, too."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from meshsync.errors import ConnectionLost, MeshsyncError, NotEnabled, StreamInterrupted
from meshsync.streams.registry import StreamRegistry
from simulator import faults
from tests.support.streaming import Pair, is_tidy
from tests.support.worlds import simulated


def open_late(pair: Pair, monkeypatch: Any, happens: Callable[[], object], **options: Any) -> BaseException | None:
    """Open a stream, at whose place among the others something happens first; return what it raised.

    Nothing may be left of it, and no time but what ``happens`` needs may pass.
    """
    peer, sim = pair.to(), pair.simulation
    add, has_happened = StreamRegistry.add, []

    def late(registry: StreamRegistry, stream: Any) -> Any:
        if stream.identity.is_opener and not has_happened:
            happens()
            has_happened.append(sim.now)
        return add(registry, stream)

    monkeypatch.setattr(StreamRegistry, "add", late)
    error: BaseException | None = None
    try:
        pair.alice.messaging.create_stream(peer, **options)
    except MeshsyncError as caught:
        error = caught
    assert sim.now == has_happened[0]
    assert not pair.alice._meshsync.streams.streams
    return error


@pytest.mark.parametrize("options", ({}, {"resume_for": 0}, {"resume_for": 0, "kind": "duplex"}))
def test_a_stream_opened_while_the_client_is_lost_fails_at_once(monkeypatch: Any, options: dict[str, Any]) -> None:
    """It waited for an answer until its time limit: the task that ends all streams had been there before it."""
    with simulated() as sim:
        pair = Pair(sim, enable=True)
        pair.alice.close()
        pair.alice = pair.room.join("alice", enable=True, reconnect=False)

        def lose() -> None:
            sim.plan(faults.reset("alice"))
            with suppress(ConnectionLost):
                pair.alice.wait_closed(10)

        assert isinstance(open_late(pair, monkeypatch, lose, **options), ConnectionLost)


def test_a_stream_opened_while_messaging_is_disabled_fails_at_once(monkeypatch: Any) -> None:
    """Its peer's answer would not be passed on."""
    with simulated() as sim:
        pair = Pair(sim)
        error = open_late(pair, monkeypatch, pair.alice.messaging.disable)
        assert isinstance(error, (StreamInterrupted, NotEnabled))
        assert is_tidy(pair.alice) and is_tidy(pair.bob)


def test_streams_are_opened_again_after_messaging_was_disabled() -> None:
    """Enabling lets them in again, offered by either side."""
    with simulated() as sim:
        pair = Pair(sim, list)
        pair.alice.messaging.disable()
        pair.alice.messaging.enable(list)
        pair.open().close()
        back = pair.bob.messaging.create_stream(pair.bob.messaging.wait_for_participant(name="alice", timeout=10))
        back.close()
        assert pair.are_tidy()
