"""Calls whose arguments do not fit: each is told what there is, in one text on every Python."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import meshsync
from meshsync.arguments import hinted_call, made_by
from simulator import Emulator, Simulation, check


@hinted_call
def order(item: str, count: int = 1, *gifts: str, timeout: float = 5, **options: object) -> str:
    """Has parameters of every kind but one."""
    if count == 0:
        raise TypeError("from inside")
    if count < 0:
        return simple(sugar=count)  # type: ignore[call-arg]
    return f"{count} {item}"


@hinted_call
def simple(item: str, *, timeout: float = 5) -> str:
    """Takes no others."""
    return f"{item} in {timeout}"


def fails(call: Callable[[], object]) -> str:
    """Return the text of the TypeError that a call raises."""
    with pytest.raises(TypeError) as caught:
        call()
    return str(caught.value)


def test_call_that_fits_is_the_functions_own() -> None:
    """Result, name and signature."""
    assert order("tea", 2, "milk", timeout=1, wrapped=True) == "2 tea"
    assert (simple.__name__, simple.__doc__) == ("simple", "Takes no others.")
    assert list(inspect.signature(simple).parameters) == ["item", "timeout"]


def test_what_is_raised_inside_is_left_as_it_is() -> None:
    """The function was begun."""
    assert fails(lambda: order("tea", 0)) == "from inside"
    assert fails(lambda: order("tea", -1)).startswith("simple() got an unexpected keyword argument 'sugar': it takes ")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (order, "order() missing 1 required positional argument: 'item': it takes item, [count], *gifts by "
                          "place; by name timeout="),
        (lambda: simple("tea", 3), "simple() takes 1 positional argument but 2 were given: it takes item by place; by "
                                   "name timeout="),
        (lambda: simple("tea", time_out=3), "simple() got an unexpected keyword argument 'time_out': it is timeout="),
        (lambda: simple("tea", timeOut=3), "simple() got an unexpected keyword argument 'timeOut': it is timeout="),
        (lambda: simple("tea", seconds=3), "simple() got an unexpected keyword argument 'seconds': it is timeout="),
        (lambda: simple("tea", sugar=3), "simple() got an unexpected keyword argument 'sugar': it takes item by place; "
                                         "by name timeout="),
    ],
)  # fmt: skip
def test_call_that_does_not_fit_is_told_what_there_is(call: Any, text: str) -> None:
    """A misspelled name, one of another library, or all that there are."""
    assert fails(call) == text


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda room: room.messaging.send_message(to="x", msg={}), "'msg': it is message="),
        (lambda room: room.messaging.broadcast_message(event="chat"), "'event': it is type="),
        (lambda room: room.messaging.ask("x", "price", {}, seconds=5), "'seconds': it is timeout="),
        (lambda room: room.messaging.wait_for_participant(username="bob"), "'username': it is name="),
        (lambda room: room.messaging.enable(callback=print), "'callback': it is on_stream_accept="),
        (lambda room: room.messaging.create_stream("x", headers={}), "'headers': it is header="),
        (lambda room: room.messaging.on_request("price", replyType="x"), "'replyType': it is reply_type="),
        (lambda room: meshsync.connect("lab", "ada"), "were given: it takes [room] by place; by name name=, role=, "),
        (lambda room: meshsync.connect("lab", username="ada"), "'username': it is name="),
        (lambda room: meshsync.MessagingClient(), "'room': meshsync.connect makes it, as room.messaging"),
        (lambda room: meshsync.MessagingClient("ws://x"), "is of a room that was joined, not of 'ws://x': use room."),
        (lambda room: meshsync.RoomClient("ws://x"), "and 'runtime': meshsync.connect makes it"),
        (lambda room: Simulation(1, 0.04), "Simulation() takes from 1 to 2 positional arguments but 3 were given: it "),
        (lambda room: Simulation(latncy=0.04), "Simulation() got an unexpected keyword argument 'latncy': it is laten"),
        (lambda room: Emulator(6374), "it takes nothing by place; by name host=, port=, "),
        (lambda room: check(print, latncy=0.1), "there is no argument 'latncy': it is latency="),
        (lambda room: check(print, bandwith=100), "there is no argument 'bandwith': it is bandwidth="),
    ],
)
def test_programs_are_told_what_there_is(call: Any, text: str) -> None:
    """The calls of a first day."""
    with Simulation(seed=1) as sim:
        room = sim.room("lab").join("ada", enable=True)
        assert text in fails(lambda: call(room))


def test_what_programs_do_not_make_says_who_does() -> None:
    """Whichever arguments are missing."""

    class Pot:
        @made_by("the kitchen makes it")
        def __init__(self, tea: str) -> None:
            self.tea = tea

    assert Pot("green").tea == "green"
    assert fails(Pot) == (  # type: ignore[arg-type]
        "test_what_programs_do_not_make_says_who_does.<locals>.Pot() missing 1 required positional argument: 'tea': "
        "the kitchen makes it"
    )
