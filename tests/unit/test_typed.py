"""Models as messages: what becomes of each kind, its faults with their places, and what is imported for it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, ClassVar, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
import pytest
import typing_extensions
from pydantic import BaseModel, ConfigDict, Field, RootModel

from meshsync.errors import InvalidMessage
from meshsync.forms import as_message
from meshsync.typed import codec_of, is_instance, is_model

T = TypeVar("T")

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
ID = UUID(int=3)


@dataclass(frozen=True)
class Item:
    """A frozen one, nested in others."""

    name: str
    count: int = 1


@dataclass
class Order:
    """One with fields of many kinds, one of which is defined below it."""

    items: list[Item]
    id: UUID
    at: datetime
    data: bytes = b"abc"
    note: str | None = None
    pay: Card | Cash | None = None
    counts: dict[int, int] = field(default_factory=dict)


@dataclass
class Card:
    """Told from the other by its kind."""

    number: str
    kind: Literal["card"] = "card"


@dataclass
class Cash:
    """Likewise."""

    amount: int
    kind: Literal["cash"] = "cash"


@dataclass
class Page(Generic[T]):
    """A generic one."""

    content: list[T]


@dataclass
class Named:
    """One whose messages have a type of their own."""

    message_type: ClassVar[str] = "named.v1"
    n: int = 0


class Entry(typing_extensions.TypedDict):
    """A TypedDict."""

    n: int
    at: typing_extensions.NotRequired[datetime]


class Invoice(BaseModel):
    """A pydantic model that is strict, with an alias, and with bytes that are no text."""

    model_config = ConfigDict(strict=True, frozen=True, ser_json_bytes="base64", val_json_bytes="base64")
    message_type: ClassVar[str] = "invoice"
    sender: str = Field(alias="from")
    id: UUID
    data: bytes
    items: list[Item] = []


class Box(BaseModel, Generic[T]):
    """A generic one of pydantic's."""

    value: T


class Points(RootModel[list[int]]):
    """One that is no JSON object."""


class Move(msgspec.Struct, frozen=True, rename="camel"):
    """A struct."""

    to_place: str
    data: bytes = b"\xff"
    at: datetime | None = None
    steps: list[Item] = []


ORDER = Order([Item("tea", 2)], ID, NOW, b"abc", None, Cash(5), {1: 2})
ORDER_BODY = {
    "items": [{"name": "tea", "count": 2}],
    "id": "00000000-0000-0000-0000-000000000003",
    "at": "2026-01-01T00:00:00Z",
    "data": "abc",
    "note": None,
    "pay": {"amount": 5, "kind": "cash"},
    "counts": {"1": 2},
}


@pytest.mark.parametrize(
    ("model", "value", "type", "body"),
    [
        (Order, ORDER, "Order", ORDER_BODY),
        (Item, Item("tea"), "Item", {"name": "tea", "count": 1}),
        (Page[Item], Page([Item("tea")]), "Page", {"content": [{"name": "tea", "count": 1}]}),
        (Named, Named(2), "named.v1", {"n": 2}),
        (Entry, {"n": 1, "at": NOW}, "Entry", {"n": 1, "at": "2026-01-01T00:00:00Z"}),
        (
            Invoice,
            Invoice(**{"from": "ada", "id": ID, "data": b"\xff"}),
            "invoice",
            {"from": "ada", "id": str(ID), "data": "_w==", "items": []},
        ),
        (Box[int], Box[int](value=3), "Box", {"value": 3}),
        (
            Move,
            Move("here", steps=[Item("tea")], at=NOW),
            "Move",
            {"toPlace": "here", "data": "/w==", "at": "2026-01-01T00:00:00Z", "steps": [{"name": "tea", "count": 1}]},
        ),
    ],
)
def test_objects_go_there_and_back(model: Any, value: Any, type: str, body: dict[str, Any]) -> None:
    """As JSON objects, of the model's type."""
    codec = codec_of(model)
    assert codec.type == type
    assert codec.dump(value) == body
    loaded = codec.load(body)
    assert loaded == value
    assert loaded.__class__ is value.__class__


@pytest.mark.parametrize(
    ("model", "value", "text"),
    [
        (
            Order,
            Order([Item("a"), Item(2)], ID, NOW),
            r"Order: message\['items'\]\[1\]\['name'\]: Input should",
        ),  # type: ignore[arg-type]
        (Order, Order([], "no", 5), r"message\['id'\]: Input should be a valid UUID"),  # type: ignore[arg-type]
        (Order, Order([], ID, NOW, b"\xff"), "set ser_json_bytes and val_json_bytes to 'base64', or attach them"),
        (Order, Order(object(), ID, NOW), "Order: message: Unable to serialize unknown type"),  # type: ignore[arg-type]
        (Entry, {"m": 1}, r"Entry: message\['m'\]: there is no such member"),
        (Entry, {}, r"Entry: message\['n'\]: Field required"),
        (Entry, 5, "Entry"),
        (Points, Points([1, 2]), r"Points: a message is a JSON object, not \[1, 2\]"),
        (Move, Move(5), r"Move: message\['toPlace'\]: Expected `str`, got `int`"),  # type: ignore[arg-type]
        (Move, Move("x", steps=[Item(3)]), r"Move: message\['steps'\]\[0\]\['name'\]: Expected `str`"),  # type: ignore[arg-type]
        (Move, Move("x", data=object()), "Move: Encoding objects of type object is unsupported"),  # type: ignore[arg-type]
        (Item, {"name": "tea", "count": "many"}, r"Item: message\['count'\]"),
        (Item, Named(), "Item: 'Named' object has no attribute 'name'"),
    ],
)
def test_a_wrong_object_is_refused_with_the_place(model: Any, value: Any, text: str) -> None:
    """Whichever library checks it."""
    with pytest.raises(InvalidMessage, match=text):
        codec_of(model).dump(value)


def test_many_faults_are_counted() -> None:
    """Three are named."""
    wrong: Any = {"items": [{"count": n} for n in range(5)], "id": ORDER_BODY["id"], "at": ORDER_BODY["at"]}
    with pytest.raises(InvalidMessage, match=r"\[2\]\['name'\]: Field required; and 2 more$"):
        codec_of(Order).load(wrong)


def test_names_of_a_function_are_found() -> None:
    """A model that is defined in the function which uses it, with a name that stands below it."""

    @dataclass
    class Outer:
        inner: Inner

    @dataclass
    class Inner:
        n: int

    assert codec_of(Outer).dump(Outer(Inner(1))) == {"inner": {"n": 1}}


def test_what_cannot_be_read_is_named() -> None:
    """A field whose type does not exist, or means nothing to the library; and what is no model."""

    @dataclass
    class Undefined:
        n: Nowhere  # type: ignore[name-defined]  # noqa: F821

    @dataclass
    class Odd:
        n: memoryview

    for model, text in ((Undefined, "name 'Nowhere' is not defined"), (Odd, "Unable to generate pydantic-core schema")):
        with pytest.raises(TypeError, match=f"{model.__qualname__} cannot be read as a model: {text}"):
            codec_of(model)
    with pytest.raises(TypeError, match="a model is a dataclass, a TypedDict"):
        codec_of(int)  # type: ignore[type-var]


def test_models_are_told_from_other_things() -> None:
    """Classes and objects; what this package itself hands out is no message."""
    from meshsync.messages import RoomMessage
    from meshsync.participants import RemoteParticipant

    models = [Order, Page, Page[int], Entry, Invoice, Box[int], Move]
    assert all(map(is_model, models))
    assert not any(map(is_model, [int, dict, "Order", None, ORDER, RoomMessage, RemoteParticipant, list[int]]))
    assert all(map(is_instance, [ORDER, Invoice(**{"from": "a", "id": ID, "data": b""}), Move("x")]))
    others = [Order, {"n": 1}, "text", None, 5, RoomMessage("x", {}), RemoteParticipant("p", "user", {})]
    assert not any(map(is_instance, others))


def test_type_and_body_are_found_in_each_form() -> None:
    """Anything that is no model stays as it is, for others to complain about."""
    item, body = Item("tea"), {"name": "tea", "count": 1}
    assert as_message("chat", body) == ("chat", body)
    assert as_message("chat", item) == ("chat", body)
    assert as_message(item, None) == ("Item", body)
    assert as_message(None, item) == ("Item", body)
    assert as_message(Item, {"name": "tea"}) == ("Item", body)
    assert as_message(Entry, {"n": 1}) == ("Entry", {"n": 1})
    assert as_message(None, item, default="wanted", fallback="own") == ("wanted", body)
    assert as_message(None, {}, fallback="own") == ("own", {})
    assert as_message(5, 6) == (5, 6)
    with pytest.raises(InvalidMessage, match="neither a type and a message, nor an object of a dataclass"):
        as_message(object(), None)
    with pytest.raises(TypeError, match="two messages are given"):
        as_message(item, {})


def run(code: str) -> str:
    """Run a program in a process of its own, and return what it prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_nothing_is_imported_before_a_model_is_used() -> None:
    """Neither library is needed by a program that sends plain objects."""
    code = (
        "import sys, meshsync; from meshsync.forms import as_message; as_message('x', {}); as_message('x', 5);"
        "print([name for name in ('pydantic', 'msgspec', 'typing_extensions') if name in sys.modules])"
    )
    assert run(code) == "[]"


def test_without_its_library_a_model_says_what_to_install() -> None:
    """The line to type."""
    code = (
        "import sys; sys.modules['pydantic'] = None\n"
        "from dataclasses import dataclass\n"
        "from meshsync.typed import codec_of\n"
        "@dataclass\n"
        "class Own: n: int\n"
        "try: codec_of(Own)\n"
        "except ImportError as error: print(error)"
    )
    assert run(code) == "to check messages by __main__.Own takes pydantic: pip install 'meshsync-client[typed]'"
