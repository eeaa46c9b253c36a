"""The registry of kinds: what a kind of fault has to be, and what is said of one that is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from itertools import takewhile
from textwrap import dedent
from typing import Any, ClassVar

import pytest

from meshsync.errors import UsageError
from simulator import faults
from simulator.faults import Fault, fields
from simulator.faults.fault import LastingFault, OneOffFault
from simulator.faults.layers import PASS, ConnectionFault, NetworkFault, Pass, RoomFault, StruckConnection
from simulator.faults.registry import KINDS, LAYERS, register


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Take away what a test registers."""
    before = dict(KINDS)
    yield
    KINDS.clear()
    KINDS.update(before)


@dataclass(frozen=True, slots=True)
class Storm(ConnectionFault):
    """A kind of fault with nothing wrong."""

    word: ClassVar[str] = "storm"
    name: str = field(metadata=fields.name)

    def strike(self, connection: StruckConnection) -> None:
        connection.reset()


@dataclass(frozen=True, slots=True)
class NoLayer(OneOffFault):
    word: ClassVar[str] = "no layer"


@dataclass(frozen=True, slots=True)
class NeitherNor(Fault):
    word: ClassVar[str] = "neither nor"


@dataclass(frozen=True, slots=True)
class LastingWithoutLayer(LastingFault):
    word: ClassVar[str] = "lasting"


class TwoLayers(NetworkFault, RoomFault):
    word: ClassVar[str] = "two"


@dataclass(frozen=True, slots=True)
class Idle(ConnectionFault):
    word: ClassVar[str] = "idle"


@dataclass(frozen=True, slots=True)
class IdleRule(NetworkFault):
    word: ClassVar[str] = "idle rule"


class Undecorated(NetworkFault):
    word: ClassVar[str] = "undecorated"

    def on_link(self, name: str) -> Pass:
        return PASS


@dataclass(frozen=True, slots=True)
class Unchecked(Storm):
    word: ClassVar[str] = "unchecked"
    number: int = 5


@dataclass(frozen=True, slots=True)
class Wordless(NetworkFault):
    def on_link(self, name: str) -> Pass:
        return PASS


@dataclass(frozen=True, slots=True)
class Doubled(Storm):
    word: ClassVar[str] = "reset"


@dataclass(frozen=True, slots=True)
class TimesItself(Storm):
    word: ClassVar[str] = "times itself"
    when: str = field(metadata=fields.text)


@dataclass(frozen=True, slots=True)
class NamesItself(Storm):
    word: ClassVar[str] = "names itself"
    fault: str = field(metadata=fields.text)


@dataclass(frozen=True, slots=True)
class WordAsField(Storm):
    word: str = field(metadata=fields.text)  # type: ignore[misc]


MISTAKES: dict[type[Fault], str] = {
    NoLayer: "belongs to no layer; derive it from one of ConnectionFault, SimulationFault, ProgramFault, NetworkFault,"
    " RoomFault",
    NeitherNor: "belongs to no layer",
    LastingWithoutLayer: "belongs to no layer",
    TwoLayers: "belongs to more than one layer",
    Idle: "does nothing; define strike as ConnectionFault has it",
    IdleRule: "does nothing; define on_link or on_attempt as NetworkFault has it",
    Undecorated: "it is no dataclass; put @dataclass",
    Unchecked: "number has no check; give it one of simulator.faults.fields",
    Wordless: "it has no word; define word",
    TimesItself: "a field is called when, which in a saved plan tells the kind",
    NamesItself: "a field is called fault, which in a saved plan tells the kind",
    WordAsField: "it has no word; define word",
    Doubled: "its word 'reset' is that of simulator.faults.kinds.reset.Reset",
}


@pytest.mark.parametrize(("kind", "text"), MISTAKES.items(), ids=lambda value: getattr(value, "__name__", None))
def test_a_planted_mistake_is_named(kind: type[Fault], text: str) -> None:
    """What a kind lacks is said together with its class, and it is not registered."""
    before = dict(KINDS)
    with pytest.raises(UsageError, match=f"{kind.__name__} is no kind of fault: .*{text}"):
        register(kind)
    assert before == KINDS


@pytest.mark.parametrize("thing", [5, None, Storm("bob"), lambda: None], ids=lambda thing: type(thing).__name__)
def test_only_classes_can_be_registered(thing: Any) -> None:
    """Anything else is refused with a text that says where the decorator belongs."""
    with pytest.raises(UsageError, match="@register is put above a class; it got "):
        register(thing)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.word)
def test_no_kind_of_ours_has_a_field_that_a_saved_plan_needs(kind: type[Fault]) -> None:
    """The names that the registry refuses are those by which `to_json` tells kinds apart, so ours avoid them too."""
    assert not {part.name for part in dataclass_fields(kind)} & {"when", "fault"}


def test_the_example_of_the_package_runs() -> None:
    """The docstring's imports are right, and its kinds can be planned, saved and loaded."""
    assert faults.__doc__ is not None
    lines = faults.__doc__.partition("::\n\n")[2].splitlines()
    example = "\n".join(takewhile(lambda line: not line or line.startswith("    "), lines))
    names: dict[str, Any] = {"__name__": __name__, "at": faults.at, "during": faults.during}
    exec(dedent(example), names)
    assert {"evict", "narrow"} <= KINDS.keys()
    assert faults.from_json(faults.to_json(names["plan"])) == tuple(names["plan"])


def test_a_sound_kind_is_known_from_then_on() -> None:
    """It is returned as it is, so that the decorator changes nothing; plans with it can be loaded."""
    with pytest.raises(ValueError, match="'storm' is none of"):
        faults.from_json([{"fault": "storm", "name": "bob"}])
    assert register(Storm) is Storm
    assert faults.from_json([{"fault": "storm", "name": "bob"}]) == (Storm("bob"),)


def test_a_class_that_is_made_again_replaces_the_first() -> None:
    """A notebook runs a cell twice; an equal word of another class stays a mistake."""
    register(Storm)
    again: type[Fault] = register(type("Storm", (Storm,), {"__dataclass_fields__": {}, "__module__": __name__}))
    assert KINDS["storm"] is again


def test_every_kind_belongs_to_one_layer() -> None:
    """Those of this library too: each is of one class of `LAYERS`, by which the injector tells where it strikes."""
    assert {word: sum(issubclass(kind, layer) for layer in LAYERS) for word, kind in KINDS.items()} == dict.fromkeys(
        KINDS, 1
    )
