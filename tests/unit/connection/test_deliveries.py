"""Deliveries and the send queue: who may send next, what a handle tells, and what Ctrl-C leaves behind."""

from __future__ import annotations

import threading

import pytest

from meshsync.connection.deliveries import Delivery
from meshsync.connection.send_queue import SendQueue
from meshsync.errors import NotSent, RoomError, SendTimeout, WouldDeadlock
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.threads import ThreadRuntime
from tests.support.scripted import PATIENCE, wait_until

RUNTIME = ThreadRuntime()


def make(what: str = "it") -> Delivery:
    """Return a delivery that nobody refuses to wait for."""
    return Delivery(what, RUNTIME, lambda what: None)


def limit(seconds: float | None) -> Deadline:
    """Return a time limit that begins now."""
    return Deadline(RUNTIME, seconds)


class Wanting:
    """A task that waits for the turn, notes that it got it, and keeps it until told."""

    def __init__(self, queue: SendQueue, order: list[str], name: str, timeout: float | None = None) -> None:
        self.delivery = make(name)
        self.done = threading.Event()
        self.let_go = threading.Event()

        def run() -> None:
            try:
                order.append(name if queue.wait_for_turn(self.delivery, limit(timeout)) else f"{name} late")
                self.done.set()
                assert self.let_go.wait(PATIENCE)
            finally:
                queue.leave(self.delivery)

        self.task = RUNTIME.spawn(run, name=name)


def wait_for_line(queue: SendQueue, length: int) -> None:
    """Wait until so many have or want the turn."""
    wait_until(lambda: len(queue) == length)


# --- Delivery ---------------------------------------------------------------------------------------------------------


def test_unacknowledged_delivery_is_neither_done_nor_failed() -> None:
    """A delivery begins without an outcome."""
    delivery = make()
    assert (delivery.is_done, delivery.error) == (False, None)
    assert repr(delivery) == "<Delivery of it: unacknowledged>"


def test_acknowledged_delivery_returns_from_wait() -> None:
    """A success ends waiting without a word, however often one waits."""
    delivery = make()
    delivery._resolve(None)
    delivery.wait()
    delivery.wait(0)
    assert (delivery.is_done, delivery.error, repr(delivery)) == (True, None, "<Delivery of it: acknowledged>")


def test_polling_an_unacknowledged_delivery_says_that_it_may_yet_arrive() -> None:
    """A time-out names what was sent, is not safe to repeat, and leaves the delivery as it was."""
    delivery = make("the message 'chat' to p-1")
    with pytest.raises(SendTimeout, match="the message 'chat' to p-1: not acknowledged within 0 s; it may yet arrive"):
        delivery.wait(0)
    assert delivery.is_done is False
    delivery._resolve(None)
    delivery.wait(0)


def test_refused_delivery_raises_the_refusal_each_time_anew() -> None:
    """Each wait raises an equal error of its own, which therefore keeps no one's traceback."""
    delivery = make()
    delivery._resolve(RoomError("no", 1001))
    caught = []
    for _ in range(2):
        with pytest.raises(RoomError, match="no") as info:
            delivery.wait()
        caught.append(info.value)
    assert caught[0] is not caught[1]
    assert [error.code for error in caught] == [1001, 1001]
    assert delivery.error is not None
    assert delivery.error.__traceback__ is None
    assert repr(delivery) == "<Delivery of it: failed>"


def test_attributes_of_a_loss_survive_being_raised() -> None:
    """What a loss tells besides its text is there in what ``wait`` raises."""
    delivery = make()
    delivery._resolve(NotSent("gone", code=1006, reason="reset", clean=False))
    with pytest.raises(NotSent) as info:
        delivery.wait()
    assert (info.value.code, info.value.reason, info.value.retryable) == (1006, "reset", True)


def test_waiting_task_is_woken_by_the_acknowledgement() -> None:
    """Somebody who waits returns when the reader resolves."""
    delivery = make()
    task = RUNTIME.spawn(delivery.wait, name="waits")
    delivery._resolve(None)
    assert task.join(PATIENCE)
    assert task.error is None


def test_waiting_where_it_would_never_end_is_refused_at_once() -> None:
    """The refusal comes before any waiting, and not once the outcome is there."""

    def refuse(what: str) -> None:
        raise WouldDeadlock(what)

    delivery = Delivery("it", RUNTIME, refuse)
    with pytest.raises(WouldDeadlock, match="waiting for an acknowledgement"):
        delivery.wait(None)
    delivery._resolve(None)
    delivery.wait(None)


# --- SendQueue --------------------------------------------------------------------------------------------------------


def test_free_turn_is_had_at_once() -> None:
    """Nobody in line means no waiting, even with no time to wait."""
    queue, first, second = SendQueue(), make(), make()
    assert queue.wait_for_turn(first, limit(0))
    queue.leave(first)
    assert queue.wait_for_turn(second, limit(0))


def test_taken_turn_is_not_had_within_the_time_limit() -> None:
    """Who polls a turn that somebody has gets nothing, and does not stay in line."""
    queue, first, second, third = SendQueue(), make(), make(), make()
    assert queue.wait_for_turn(first, limit(0))
    assert not queue.wait_for_turn(second, limit(0))
    queue.leave(second)
    queue.leave(first)
    assert queue.wait_for_turn(third, limit(0))


def test_turns_are_had_in_the_order_of_asking() -> None:
    """Five who wait are served first come, first served."""
    queue, order = SendQueue(), list[str]()
    holder = make()
    assert queue.wait_for_turn(holder, limit(0))
    wanting = []
    for place, name in enumerate("abcde", 2):
        wanting.append(Wanting(queue, order, name))
        wait_for_line(queue, place)
    queue.leave(holder)
    for task in wanting:
        assert task.done.wait(PATIENCE)
        task.let_go.set()
        assert task.task.join(PATIENCE)
    assert order == ["a", "b", "c", "d", "e"]


def test_who_gives_up_does_not_hold_up_those_behind() -> None:
    """One who waited in vain leaves the line, and the next is served."""
    queue, order = SendQueue(), list[str]()
    holder, impatient = make(), make()
    assert queue.wait_for_turn(holder, limit(0))
    assert not queue.wait_for_turn(impatient, limit(0))
    patient = Wanting(queue, order, "patient")
    wait_for_line(queue, 3)
    queue.leave(impatient)
    queue.leave(holder)
    assert patient.done.wait(PATIENCE)
    patient.let_go.set()
    assert order == ["patient"]


def test_turn_that_came_to_one_who_has_gone_is_passed_on() -> None:
    """One whose time ran out just as the turn came gives it back with the rest."""
    queue, order = SendQueue(), list[str]()
    holder, late = make(), make()
    assert queue.wait_for_turn(holder, limit(0))
    assert not queue.wait_for_turn(late, limit(0))
    patient = Wanting(queue, order, "patient")
    wait_for_line(queue, 3)
    queue.leave(holder)  # the turn is late's
    assert not patient.done.is_set()
    queue.leave(late)
    assert patient.done.wait(PATIENCE)
    patient.let_go.set()


def test_leaving_twice_takes_nobody_elses_turn() -> None:
    """A second ``leave`` of the same delivery changes nothing."""
    queue, first, second, third = SendQueue(), make(), make(), make()
    assert queue.wait_for_turn(first, limit(0))
    queue.leave(first)
    assert queue.wait_for_turn(second, limit(0))
    queue.leave(first)
    assert not queue.wait_for_turn(third, limit(0))
