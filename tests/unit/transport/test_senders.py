"""Senders in line for room in a buffer."""

from __future__ import annotations

import pytest

from meshsync.errors import ConnectionLost, SendTimeout
from meshsync.protocol.send_buffer import SendBuffer
from meshsync.runtime.threads import ThreadRuntime
from meshsync.transport.endings import CLOSED_HERE
from meshsync.transport.senders import WaitingSenders


class Line:
    """Senders at a buffer of 100 bytes."""

    def __init__(self) -> None:
        runtime = ThreadRuntime()
        self.lock = runtime.condition()
        self.buffer = SendBuffer(100)
        self.is_open = True
        self.senders = WaitingSenders(runtime, self.lock, self.buffer, self.check_open)

    def check_open(self) -> None:
        if not self.is_open:
            raise CLOSED_HERE.loss()

    def poll(self, size: int) -> None:
        with self.lock:
            self.senders.await_room(size, 0)


def test_room_is_given_without_waiting() -> None:
    """Where there is room and no sender waits, polling is enough."""
    line = Line()
    line.poll(100)
    assert not line.senders.tickets


def test_no_room_in_time_says_how_much_waits() -> None:
    """The error tells size, limit and what is in the way, may be retried, and nobody is left in line."""
    line = Line()
    line.buffer.accept([(bytes(60), 1)], 60)
    with pytest.raises(SendTimeout, match="no room for 50 bytes within 0 s: 60 bytes wait to be written") as caught:
        line.poll(50)
    assert caught.value.retryable
    assert not line.senders.tickets


def test_a_later_sender_does_not_overtake() -> None:
    """What would fit waits behind a sender that came first."""
    line = Line()
    line.senders.tickets.append("an earlier sender")
    with pytest.raises(SendTimeout):
        line.poll(1)
    assert list(line.senders.tickets) == ["an earlier sender"]


def test_the_end_of_the_connection_ends_the_wait() -> None:
    """A sender in line gets the loss, whatever room there is."""
    line = Line()
    line.is_open = False
    with pytest.raises(ConnectionLost, match="closed on this side"):
        line.poll(1)
    assert not line.senders.tickets
