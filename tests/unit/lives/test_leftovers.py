"""Which globals a program finds changed: those that its functions name, and that hold something else than at first."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from functools import partial

import pytest

import meshsync
from simulator.lives.leftovers import Leftovers

NUMBER = 0
NOTHING: object = None
NESTED: dict[str, list[dict[str, int]]] = {"list": [{"one": 1}]}
KEPT: set[str] = set()
COUNTS: Counter[str] = Counter()
LINE: deque[int] = deque([1], maxlen=2)
BYTES = bytearray(b"a")
UNNAMED: list[int] = []
LOCK = meshsync.Lock()
READ = {"a": [1, 2, 3]}
CIRCLE: list[object] = []
CIRCLE.append(CIRCLE)


class Thing:
    """Has a state, and code that must not run."""

    def __init__(self) -> None:
        self.state = {"n": 0}

    def __repr__(self) -> str:
        raise AssertionError

    __eq__ = __hash__ = __repr__  # type: ignore[assignment]


THING = Thing()


def change_number() -> None:
    """Rebind a global."""
    global NUMBER
    NUMBER += 1


def change_nested() -> None:
    """Change what is in a container in a container, in a function within."""

    def deeper() -> None:
        NESTED["list"][0]["one"] += 1

    deeper()


def change_set() -> None:
    """Change a set."""
    for add in [lambda: KEPT.add(str(len(KEPT)))]:
        add()


def change_counter() -> None:
    """Change a counter."""
    COUNTS.update("a")


def change_line() -> None:
    """Change a queue."""
    LINE.append(LINE[-1] + 1)


def change_bytes() -> None:
    """Change bytes."""
    BYTES[0] += 1


def change_thing() -> None:
    """Change the state of an object."""
    THING.state["n"] += 1


def change_by_another() -> None:
    """Call a function that names the global."""
    change_number()


class Worker:
    """Has methods that name globals."""

    def run(self) -> None:
        """Call another method."""
        self.note()

    def note(self) -> None:
        """Call a function."""
        change_line()


def only_read() -> object:
    """Read, and change nothing."""
    with LOCK:
        return READ, NOTHING, CIRCLE, len


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (change_number, "NUMBER"),
        (change_nested, "NESTED"),
        (change_set, "KEPT"),
        (change_counter, "COUNTS"),
        (change_line, "LINE"),
        (change_bytes, "BYTES"),
        (change_thing, "THING"),
        (change_by_another, "NUMBER"),
        (partial(partial(change_number)), "NUMBER"),
        (Worker().run, "LINE"),
    ],
)
def test_what_a_program_changes_is_reported_once(target: Callable[[], None], name: str) -> None:
    """However it comes to name it, and whatever it does to it."""
    leftovers = Leftovers()
    leftovers.note("bob", target)
    target()
    leftovers.compare("bob", target, 2)
    target()
    leftovers.note("bob", target)
    leftovers.compare("bob", target, 3)
    (text,) = leftovers.texts
    assert text.startswith(f"life 2 of 'bob' finds the global {name} of {__name__} as earlier lives left it, where a")


def test_what_is_only_read_or_named_by_others_is_not() -> None:
    """Nor locks of the package, and a list that holds itself ends."""
    leftovers = Leftovers()
    leftovers.note("bob", only_read)
    UNNAMED.append(1)
    change_number()
    only_read()
    leftovers.compare("bob", only_read, 2)
    assert leftovers.texts == []
    leftovers.note("printing", print)
    leftovers.compare("printing", print, 2)
    assert leftovers.texts == []
