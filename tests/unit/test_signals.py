"""Signals for every client of the process: blinker's, in connection order, held strongly, each receiver shielded."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial, partialmethod, wraps
from typing import Any, get_args
from unittest.mock import Mock

import blinker
import pytest

from meshsync import signals
from meshsync.signals import EVENTS, EventName, OrderedSignal, check_callable, name_of


class Sender:
    """What stands for a client."""


@pytest.fixture
def signal() -> Iterator[OrderedSignal]:
    """Return a signal of the test's own."""
    yield OrderedSignal("for the test")


def results(signal: OrderedSignal, sender: object = None) -> list[Any]:
    """Send, and return what the receivers returned."""
    return [result for _, result in signal.send(sender)]


def returning(value: object) -> Callable[..., object]:
    """Return a receiver of its own that returns a value."""
    return lambda sender, **arguments: value


def test_signals_are_blinkers() -> None:
    """Every event has a signal of its own, under its name, that blinker's tools know."""
    for name, signal in EVENTS.items():
        assert isinstance(signal, blinker.Signal)
        assert getattr(signals, name) is signal
    assert len(set(map(id, EVENTS.values()))) == 13


def test_receiver_is_called_with_sender_and_event(signal: OrderedSignal) -> None:
    """The sender comes first, the event by its name, and what is returned is handed on."""
    sender = Sender()
    receiver = signal.connect(lambda sender, event: (sender, event))
    assert signal.send(sender, event="it") == [(receiver, (sender, "it"))]


def test_receivers_run_in_connection_order(signal: OrderedSignal) -> None:
    """A hundred receivers run as they were connected, whatever their addresses."""
    for number in range(100):
        signal.connect(returning(number))
    assert results(signal) == list(range(100))


def test_order_holds_across_receivers_of_all_and_of_one_sender(signal: OrderedSignal) -> None:
    """Receivers for one sender take their place among those for all; another sender's are not called."""
    alice, bob = Sender(), Sender()
    signal.connect(returning("all 1"))
    signal.connect(returning("alice 1"), sender=alice)
    signal.connect(returning("bob"), sender=bob)
    signal.connect(returning("all 2"))
    signal.connect(returning("alice 2"), sender=alice)
    assert results(signal, alice) == ["all 1", "alice 1", "all 2", "alice 2"]
    assert results(signal, bob) == ["all 1", "bob", "all 2"]
    assert results(signal, Sender()) == ["all 1", "all 2"]


def test_receiver_of_all_and_of_one_sender_runs_once_in_its_first_place(signal: OrderedSignal) -> None:
    """Connecting the same function twice does not call it twice, nor move it."""
    alice, first = Sender(), returning("first")
    signal.connect(first, sender=alice)
    signal.connect(returning("second"))
    signal.connect(first)
    assert results(signal, alice) == ["first", "second"]


def test_connecting_again_keeps_the_place_and_reconnecting_takes_a_new_one(signal: OrderedSignal) -> None:
    """A notebook cell that is run twice changes nothing; after a disconnect the receiver is the last."""
    first = signal.connect(returning(1))
    signal.connect(returning(2))
    signal.connect(first)
    assert results(signal) == [1, 2]
    signal.disconnect(first)
    assert results(signal) == [2]
    signal.connect(first)
    assert results(signal) == [2, 1]


def test_lambda_survives_a_collection(signal: OrderedSignal) -> None:
    """Receivers are held strongly, so nobody has to keep them."""
    signal.connect(lambda sender: "here")
    gc.collect()
    assert results(signal) == ["here"]


def test_weak_receiver_is_let_go(signal: OrderedSignal) -> None:
    """With ``weak=True`` it lives as long as the program keeps it."""
    receiver = returning("here")
    signal.connect(receiver, weak=True)
    assert results(signal) == ["here"]
    del receiver
    gc.collect()
    assert results(signal) == []


def test_failing_receiver_stops_nobody_else(signal: OrderedSignal, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its name and left out of the results."""

    def fails(sender: object) -> None:
        raise ZeroDivisionError("oops")

    signal.connect(fails)
    signal.connect(returning("after"))
    assert results(signal) == ["after"]
    assert f"receiver {__name__}.test_failing_receiver_stops_nobody_else.<locals>.fails raised" in caplog.text
    assert "oops" in caplog.text


def test_interrupt_of_the_program_gets_through(signal: OrderedSignal) -> None:
    """Ctrl-C in a receiver that the program itself called by ``send`` ends that call."""

    def interrupted(sender: object) -> None:
        raise KeyboardInterrupt

    signal.connect(interrupted)
    with pytest.raises(KeyboardInterrupt):
        signal.send()


def test_every_failure_is_reported_to_who_asks(signal: OrderedSignal) -> None:
    """Also those that are no `Exception`, such as a failed assertion of pytest: nobody else would get them."""
    told: list[tuple[Any, BaseException]] = []

    def fails(sender: object) -> None:
        pytest.fail("oops")

    signal.connect(fails)
    signal.connect(returning("after"))
    found = signal.send_reporting(lambda receiver, error: told.append((receiver, error)), None)
    assert [result for _, result in found] == ["after"]
    assert [(receiver, str(error)) for receiver, error in told] == [(fails, "oops")]


async def coroutine(sender: object) -> None:
    """Do nothing before it is awaited."""


def generator(sender: object) -> Iterator[None]:
    """Do nothing before it is iterated."""
    yield


async def async_generator(sender: object) -> AsyncIterator[None]:
    """Do nothing before it is iterated by a coroutine."""
    yield


class Handler:
    """An object that is called, and whose call is to be awaited."""

    async def __call__(self, sender: object) -> None: ...

    async def method(self, sender: object) -> None: ...

    @staticmethod
    async def static(sender: object) -> None: ...

    later = partialmethod(method)


@pytest.mark.parametrize(
    "receiver",
    [
        coroutine,
        generator,
        async_generator,
        Handler(),
        Handler().method,
        Handler().later,
        Handler.static,
        staticmethod(coroutine),
        partial(Handler()),
        partial(partial(Handler().method)),
        partial(generator),
    ],
)
def test_callable_that_would_do_nothing_is_refused(signal: OrderedSignal, receiver: Any) -> None:
    """Whatever form a coroutine or generator function has, it is not connected."""
    with pytest.raises(TypeError, match=r"coroutine function|generator function"):
        signal.connect(receiver)
    assert not signal.receivers


@pytest.mark.parametrize("receiver", [None, 7, "print", ["a list"]])
def test_value_that_cannot_be_called_is_refused(signal: OrderedSignal, receiver: Any) -> None:
    """None is the result of a receiver that was called in place of being passed."""
    with pytest.raises(TypeError, match="cannot be called"):
        signal.connect(receiver)


@pytest.mark.parametrize("plain", [print, Handler, partial(print), Mock(), [].append, lambda sender: None])
def test_plain_callable_is_accepted(plain: Any) -> None:
    """Builtins, classes, partials, doubles and lambdas do their work when they are called."""
    check_callable(plain, "nothing")


@pytest.mark.parametrize("function", [coroutine, generator, async_generator])
@pytest.mark.filterwarnings("error")
def test_receiver_that_returns_work_to_do_is_reported(
    signal: OrderedSignal, caplog: pytest.LogCaptureFixture, function: Any
) -> None:
    """A wrapper does not show what it returns: the failure is logged, and no warning comes from elsewhere."""

    @wraps(function)
    def wrapper(sender: object) -> object:
        return function(sender)

    signal.connect(wrapper)
    signal.connect(returning("after"))
    assert results(signal) == ["after"]
    assert "which nothing here would run: give a plain one" in caplog.text


def test_future_of_a_loop_is_no_failure(signal: OrderedSignal) -> None:
    """The loop runs it, whoever waits."""
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    signal.connect(returning(future))
    assert results(signal) == [future]
    loop.close()


def test_muted_signal_calls_nobody(signal: OrderedSignal) -> None:
    """As blinker's."""
    signal.connect(returning(1))
    with signal.muted():
        assert results(signal) == []
    assert results(signal) == [1]


def test_connected_to_and_connect_via_work(signal: OrderedSignal) -> None:
    """Blinker's context manager and decorator keep their meaning."""
    alice = Sender()

    @signal.connect_via(alice)
    def via(sender: object) -> str:
        return "via"

    with signal.connected_to(returning("to"), sender=alice):
        assert results(signal, alice) == ["via", "to"]
    assert results(signal, alice) == ["via"]
    assert results(signal) == []


def test_receivers_of_a_sender_that_is_gone_are_forgotten(signal: OrderedSignal) -> None:
    """A client that is released leaves no entry behind."""
    alice = Sender()
    key = id(alice)  # Blinker's key of an object; an integer's is the integer itself.
    signal.connect(returning(1), sender=alice)
    assert signal.has_receivers_for(key)
    del alice
    gc.collect()
    assert not signal.has_receivers_for(key)


def test_name_is_what_a_person_would_look_for() -> None:
    """Functions, methods, objects and partials have names without addresses."""
    assert name_of(OrderedSignal.connect) == "meshsync.signals.OrderedSignal.connect"
    assert name_of(partial(returning, 1)) == f"{__name__}.returning"

    class Called:
        def __call__(self) -> None: ...

        def method(self) -> None: ...

    scope = f"{__name__}.test_name_is_what_a_person_would_look_for.<locals>"
    assert name_of(Called()) == f"{scope}.Called"
    assert name_of(Called().method) == f"{scope}.Called.method"


ORDER = """
from meshsync import signals
garbage = [object() for _ in range({size})]
for number in range(10):
    signals.message.connect(lambda sender, event, number=number: number)
print([result for _, result in signals.message.send(event=None)])
"""


def test_order_is_the_same_in_three_processes() -> None:
    """Ten receivers run in connection order under any hash seed and any layout of memory."""
    outputs = []
    for seed in ("1", "2", "3"):
        command = [sys.executable, "-c", ORDER.format(size=int(seed) * 1000)]
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        outputs.append(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
    assert outputs == ["[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n"] * 3


def test_type_checkers_know_the_events() -> None:
    """The literals are the names of the table."""
    assert get_args(EventName) == tuple(EVENTS)


def test_a_sender_whose_receivers_are_disconnected_has_none() -> None:
    """Though another sender has one; by blinker itself it would."""
    signal, one, other = OrderedSignal(), object(), object()
    signal.connect(print, sender=one)
    signal.connect(repr, sender=other)
    assert signal.has_receivers_for(one)
    signal.disconnect(print)
    assert not signal.has_receivers_for(one)
    assert signal.has_receivers_for(other)
    signal.connect(str)
    assert signal.has_receivers_for(one)
