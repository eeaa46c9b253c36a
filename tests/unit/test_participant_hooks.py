"""Faults of a scripted participant's class are told when it is let in, and not by a method that is never called."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from simulator import Simulation, participants
from simulator.participants.peers import Message


class Waiting(participants.Participant):
    """Would never do anything."""

    async def on_message(self, message: Message) -> None:  # type: ignore[override]
        """Never run."""


class Yielding(participants.Participant):
    """Likewise."""

    def on_start(self) -> Any:
        """Never run."""
        yield


class Nameless(participants.Participant):
    """Has not begun."""

    def __init__(self, nick: str) -> None:
        self.nick = nick


class Misspelled(participants.Participant):
    """Has methods that nothing calls."""

    def on_mesage(self, message: Message) -> None:
        """Misspelled."""

    def onPeerJoined(self, peer: object) -> None:
        """In camel case."""


class Plain(participants.Participant):
    """Has methods of its own beside hooks, a hook's name for a value among them."""

    on_messages = 3

    def on_timer(self) -> None:
        """Called by the program."""

    def on_message(self, message: Message) -> None:
        """A hook."""


def let_in(participant: Any) -> None:
    """Let a participant into a room."""
    with Simulation(seed=1) as sim:
        sim.room("lab").add(participant)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: participants.Echo, r"Participant, not <class .*Echo'>; Echo\(name\) makes one$"),
        (lambda: "bob", r"a participant is an object of a subclass of participants\.Participant, not 'bob'$"),
        (lambda: Nameless("bob"), r"^Nameless\.__init__ has not called super\(\)\.__init__\(name\)$"),
        (
            lambda: Waiting("bob"),
            r"^Waiting\.on_message is a coroutine or generator function, .*after\(seconds, callba",
        ),
        (lambda: Yielding("bob"), r"^Yielding\.on_start is a coroutine or generator function"),
    ],
)
def test_what_could_not_take_part_is_refused(make: Callable[[], Any], text: str) -> None:
    """Each time, with what to do."""
    for _ in range(2):
        with pytest.raises(TypeError, match=text):
            let_in(make())


def test_misspelled_hooks_are_warned_of_at_their_lines() -> None:
    """Once for a class."""
    with pytest.warns(RuntimeWarning) as caught:
        let_in(Misspelled("bob"))
        let_in(Misspelled("bea"))
    assert [str(one.message) for one in caught] == [
        "nothing calls Misspelled.onPeerJoined(): did you mean on_peer_joined()?",
        "nothing calls Misspelled.on_mesage(): did you mean on_message()?",
    ]
    first = Misspelled.onPeerJoined.__code__
    assert (caught[0].filename, caught[0].lineno) == (__file__, first.co_firstlineno)


def test_methods_of_its_own_are_no_misspelled_hooks() -> None:
    """Nor are ready-made participants."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        let_in(Plain("bob"))
        let_in(participants.Echo("bob"))


async def coroutine() -> None:
    """Do nothing."""


def generator() -> Iterator[None]:
    """Do nothing."""
    yield


@pytest.mark.parametrize(
    ("callback", "text"),
    [
        (None, r"^after\(\) calls back a function without arguments, not None; give the function itself"),
        (5, r"^after\(\) calls back a function without arguments, not 5$"),
        (coroutine, r"^coroutine is a coroutine or generator function, of which nothing would run"),
        (generator, r"^generator is a coroutine or generator function, of which nothing would run"),
    ],
)
def test_what_cannot_be_called_later_is_refused_at_once(callback: Any, text: str) -> None:
    """And not when its time has come, at no line of the program."""
    with pytest.raises(TypeError, match=text):
        participants.Echo("bob").after(1, callback)
