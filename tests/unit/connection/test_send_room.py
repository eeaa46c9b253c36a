"""Room for what is sent and unacknowledged: who waits for it, in which order, and what makes it."""

from __future__ import annotations

import pytest

from meshsync.connection.deliveries import Delivery
from meshsync.connection.send_room import SendRoom, takes_room
from meshsync.protocol.content import Empty
from meshsync.protocol.operations import Broadcast, CallChunk, ChunkContent, Enable, Request, Send, SetAttributes
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.threads import ThreadRuntime
from tests.support.interrupts import Interrupt
from tests.support.scripted import PATIENCE, wait_until

RUNTIME = ThreadRuntime()
NOW = Deadline(RUNTIME, 0)
ENDED: ChunkContent = Empty()


def delivery() -> Delivery:
    """Return a delivery."""
    return Delivery("it", RUNTIME, lambda what: None)


@pytest.fixture
def room() -> SendRoom:
    """Return room for 100 bytes."""
    made = SendRoom(RUNTIME)
    made.limit = 100
    return made


@pytest.mark.parametrize(
    ("request_", "takes"),
    [
        (Send("p", "chat", {}), True),
        (Broadcast("chat", {}), True),
        (Send("p", "stream.chunk", {}), True),
        (Send("p", "stream.open", {}), True),
        *((Send("p", f"stream.{word}", {}), False) for word in ("accept", "reject", "close")),
        *((Send("p", f"stream.meshsync.{word}", {}), False) for word in ("credit", "cancel")),
        (Enable(), False),
        (SetAttributes({}), False),
        (CallChunk("c", ENDED), False),
    ],
)
def test_content_takes_room_and_control_does_not(request_: Request, takes: bool) -> None:
    """A credit or a goodbye may be what makes room; what is never acknowledged would take it for ever."""
    assert takes_room(request_) is takes


def test_room_is_bounded_and_made_by_leaving(room: SendRoom) -> None:
    """60 and 40 bytes fill 100; a 101st waits until one has left, which counts once."""
    first, second, third = delivery(), delivery(), delivery()
    assert (room.enter(first, 60, NOW), room.enter(second, 40, NOW), room.enter(third, 1, NOW)) == (True, True, False)
    room.leave(third)
    assert room.held == 100
    room.leave(first)
    room.leave(first)
    assert (room.held, room.enter(third, 60, NOW), room.held) == (40, True, 100)


def test_one_alone_may_be_larger_than_all(room: SendRoom) -> None:
    """It waits until it is alone, and then the next waits for it."""
    small, large = delivery(), delivery()
    assert room.enter(small, 1, NOW)
    assert not room.enter(large, 500, NOW)
    room.leave(small)
    assert room.enter(large, 500, NOW)
    assert not room.enter(small, 1, NOW)


def test_waiting_is_first_come_first_served(room: SendRoom) -> None:
    """A small one that would fit does not overtake the large one before it."""
    held, entered = [delivery(), delivery()], list[int]()
    assert all(room.enter(each, 50, NOW) for each in held)

    def enter(size: int) -> None:
        if room.enter(delivery(), size, Deadline(RUNTIME, PATIENCE)):
            entered.append(size)

    large = RUNTIME.spawn(lambda: enter(80), name="large")
    wait_until(lambda: len(room) == 1)
    small = RUNTIME.spawn(lambda: enter(20), name="small")
    wait_until(lambda: len(room) == 2)
    room.leave(held[0])
    assert not room.enter(delivery(), 10, NOW)
    assert entered == []
    room.leave(held[1])
    assert large.join(PATIENCE)
    assert small.join(PATIENCE)
    assert (sorted(entered), room.held, len(room)) == ([20, 80], 100, 0)


def test_one_that_gives_up_lets_the_next_in(room: SendRoom) -> None:
    """Its place in the queue is no one's."""
    first = delivery()
    room.enter(first, 90, NOW)
    assert not room.enter(delivery(), 50, Deadline(RUNTIME, 0.0))
    assert (len(room), room.enter(delivery(), 10, NOW)) == (0, True)


def test_interruption_anywhere_leaves_the_queue(room: SendRoom) -> None:
    """Ctrl-C strikes at each place in turn: no one stands in the way of later senders, and all room can be had."""
    first = delivery()
    for place in range(1, 200):
        room.enter(first, 100, NOW)
        struck = delivery()
        was_struck = Interrupt(place).run(lambda struck=struck: room.enter(struck, 10, NOW))
        room.leave(struck)
        assert len(room) == 0
        room.leave(first)
        assert room.held == 0
        if not was_struck:
            break
    assert 5 < place < 199
