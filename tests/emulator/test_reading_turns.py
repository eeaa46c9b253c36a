"""Waits of a program behind a row of sends, whose acknowledgements it read itself: the reader is there for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meshsync import MessageStreamChunk, RoomClient
from meshsync.connection import turns
from tests.support.rooms import Join, start
from tests.support.scripted import wait_until

PATIENCE = 20.0
"""The longest wait for what is due, in seconds."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader stands aside until it is called, however slow the machine is."""
    monkeypatch.setattr(turns, "_PAUSE", 10 * PATIENCE)
    monkeypatch.setattr(turns, "_LOOKS", 0)


class Pair:
    """Ada, who sends, and Ben."""

    def __init__(self, join: Join) -> None:
        self.join = join
        self.ada: RoomClient = join("ada", enable=True)
        self.ben: RoomClient = join("ben", enable=True)
        self.ben.messaging.on_request("question", lambda event: {"n": 42})
        self.to_ben = self.ada.messaging.wait_for_participant("ben", timeout=PATIENCE)
        self.to_ada = self.ben.messaging.wait_for_participant("ada", timeout=PATIENCE)

    def lead(self) -> None:
        """Have Ada send until her own thread reads."""
        turn = self.ada._meshsync.connection._turns
        assert turn is not None
        while not turn._is_aside:
            self.ada.messaging.send_message(self.to_ben, "row", {}, timeout=PATIENCE)


def get_message(pair: Pair) -> None:
    """Get what another participant sent while no task read."""
    with pair.ada.messaging.messages("news") as inbox:
        pair.lead()
        pair.ben.messaging.send_message(pair.to_ada, "news", {"n": 1})
        assert inbox.get(PATIENCE).message == {"n": 1}


def wait_for_message(pair: Pair) -> None:
    """Wait for what another one sends meanwhile."""
    pair.lead()
    sending = start(_send_soon, pair)
    assert pair.ada.messaging.wait_for_message("news", timeout=PATIENCE).message == {"n": 1}
    sending.result(PATIENCE)


def _send_soon(pair: Pair) -> None:
    wait_until(lambda: bool(pair.ada._meshsync.router._subscriptions))  # It waits.
    pair.ben.messaging.send_message(pair.to_ada, "news", {"n": 1})


def send_confirmed(pair: Pair) -> None:
    """Wait for a confirmation, which is a message of another client."""
    pair.lead()
    pair.ada.messaging.send_message(pair.to_ben, "work", {}, confirm=True, timeout=PATIENCE)


def wait_for_participant(pair: Pair) -> None:
    """Wait for one that comes."""
    pair.lead()
    pair.join("cleo", enable=True)
    assert pair.ada.messaging.wait_for_participant("cleo", timeout=PATIENCE).online


def ask(pair: Pair) -> None:
    """Wait for an answer of another program."""
    pair.lead()
    assert pair.ada.messaging.ask(pair.to_ben, "question", {}, timeout=PATIENCE).message == {"n": 42}


def get_stream(pair: Pair) -> None:
    """Wait for a stream, and read it."""
    with pair.ada.messaging.streams() as offers:
        pair.lead()
        writing = start(_write, pair)
        assert [chunk.data for chunk in offers.get(PATIENCE)] == [b"data"]
        writing.result(PATIENCE)


def _write(pair: Pair) -> None:
    with pair.ben.messaging.create_stream(pair.to_ada, timeout=PATIENCE) as writer:
        writer.write(MessageStreamChunk({}, b"data"))


def read_a_stream(pair: Pair) -> None:
    """Read one that is open, between two rows of sends."""
    with pair.ada.messaging.streams() as offers:
        opening = start(pair.ben.messaging.create_stream, pair.to_ada)
        reader: Any = offers.get(PATIENCE)
        reader.accept()
        writer = opening.result(PATIENCE)
        pair.lead()
        writer.write(MessageStreamChunk({}, b"data"))
        assert reader.read(PATIENCE).data == b"data"
        closing = start(writer.close)
        assert reader.read(PATIENCE) is None
        closing.result(PATIENCE)


@pytest.mark.parametrize(
    "wait",
    (get_message, wait_for_message, send_confirmed, wait_for_participant, ask, get_stream, read_a_stream),
)
def test_a_wait_behind_a_row_of_sends_calls_the_reader(join: Join, wait: Callable[[Pair], None]) -> None:
    """It waited until the reader looked again, some milliseconds later."""
    wait(Pair(join))


def test_a_row_of_sends_goes_on_without_the_reader(join: Join) -> None:
    """Its own waits call it not."""
    pair = Pair(join)
    pair.lead()
    turn = pair.ada._meshsync.connection._turns
    for _ in range(20):
        pair.ada.messaging.send_message(pair.to_ben, "row", {}, timeout=PATIENCE)
        pair.ada.messaging.send_message_nowait(pair.to_ben, "row", {}).wait(PATIENCE)
    assert turn is not None and turn._is_aside and not turn._is_called
