"""Frozen values that are made quickly: they are what the dataclass alone would be."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any, Generic, TypeVar

import pytest

from meshsync.messages import MarkedEvent, RoomMessage, RoomMessageEvent
from meshsync.protocol.operations import Push, Send
from meshsync.values import made_quickly
from simulator.record.record import Record

T = TypeVar("T")


@made_quickly
@dataclass(frozen=True, slots=True)
class Quick(Generic[T]):
    """A value with all kinds of defaults, and a field that hides a builtin."""

    type: T
    size: int = 3
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plain(Generic[T]):
    """The same as the standard library makes it."""

    type: T
    size: int = 3
    tags: list[str] = field(default_factory=list)


class Child(Quick[str]):
    """A subclass, whose objects have a dict."""


VALUES: list[Any] = [
    Quick("a", tags=["x"]),
    Child("a", 4),
    Send("id", "chat", {"n": 1}),
    Push("id", "chat", {"n": 1}, b"\x01", 7),
    RoomMessage("chat", {"n": 1}, b"\x01", "id"),
    RoomMessageEvent("message", RoomMessage("chat", {"n": 1}), None),
    Record(1, "message", "ada", "bob", "chat", 3, 2, "delivered"),
]


def test_constructor_is_the_same() -> None:
    """It has the parameters, the defaults and the annotations of the dataclass's own."""
    assert [(p.name, p.kind) for p in inspect.signature(Quick).parameters.values()] == [
        (p.name, p.kind) for p in inspect.signature(Plain).parameters.values()
    ]
    assert Quick.__init__.__annotations__ == Plain.__init__.__annotations__
    assert (Quick("a").size, Quick("a", 4).size, Quick(type="a").tags) == (3, 4, [])
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'type'"):
        Quick()  # type: ignore[call-arg]


def test_factory_makes_a_default_for_each() -> None:
    """Two objects do not share what a factory makes."""
    assert Quick("a").tags is not Quick("a").tags
    assert Child("a").tags is not Child("a").tags


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_value_is_frozen_and_can_be_copied(value: Any) -> None:
    """No field can be set, and copies and pickles are equal to it and of its class."""
    for member in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, member.name, None)
    others = [replace(value), copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))]
    assert [type(other) for other in others] == [type(value)] * 4
    assert all(other == value for other in others)


def test_object_of_a_subclass_is_of_that_class() -> None:
    """A subclass is made as before: its objects have other slots."""
    child = Child("a", 4, ["x"])
    assert (type(child), child.type, child.size, child.tags) == (Child, "a", 4, ["x"])
    assert issubclass(MarkedEvent, RoomMessageEvent)


def test_what_has_no_slots_or_its_own_constructor_is_refused() -> None:
    """A class that could not be made so is refused where it is defined."""

    @dataclass(frozen=True)
    class Slotless:
        size: int

    @dataclass(frozen=True, slots=True)
    class Checked:
        size: int

        def __post_init__(self) -> None:
            raise ValueError

    with pytest.raises(TypeError, match="no slots"):
        made_quickly(Slotless)
    with pytest.raises(TypeError, match="no ordinary constructor"):
        made_quickly(Checked)
