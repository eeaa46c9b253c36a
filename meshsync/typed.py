"""Models as messages: a class that says what a JSON object has to be, and objects of it in the object's place.

Dataclasses, TypedDicts and pydantic's models are checked by pydantic (``TypeAdapter``), msgspec's structs by msgspec.
Neither is imported before the program uses a model.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import Field, is_dataclass
from functools import lru_cache
from types import FrameType
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast, get_origin

from meshsync.errors import InvalidMessage
from meshsync.protocol.envelopes import JsonObject

__all__ = ["KINDS", "Codec", "M", "Model", "codec_of", "is_instance", "is_model"]

KINDS = "a dataclass, a TypedDict, a pydantic model or a msgspec struct"
"""What is a model, for errors."""
_INSTALL = "pip install 'meshsync-client[typed]'"
_SHOWN = 3
"""The most faults of one message that an error names."""


class DataclassModel(Protocol):
    """An object of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


class PydanticModel(Protocol):
    """An object of a pydantic model."""

    def model_dump_json(self) -> str: ...


class StructModel(Protocol):
    """An object of a msgspec struct."""

    __struct_fields__: ClassVar[tuple[str, ...]]


Model = DataclassModel | PydanticModel | StructModel
"""What can be sent in the place of a JSON object. A TypedDict is a JSON object already."""

M = TypeVar("M", bound="Model | Mapping[str, object]")
"""A model."""


class Codec(Generic[M]):
    """Turns objects of one model into JSON objects and back.

    Args:
        name: The model's, for errors.
        type: The type that its messages have.
        dump: Returns an object's JSON value, however wrong the object is.
        load: Returns the object of a JSON value, or raises ``ValueError``.
        complaints: Returns what is wrong, given that error.
    """

    def __init__(
        self,
        name: str,
        type: str,
        dump: Callable[[Any], Any],
        load: Callable[[Any], M],
        complaints: Callable[[ValueError], str],
    ) -> None:
        self.name = name
        self.type = type
        self._dump = dump
        self._load = load
        self._complaints = complaints

    def dump(self, value: object) -> JsonObject:
        """Return the JSON object of a model's object, or of a mapping that has its members.

        Raises:
            InvalidMessage: If it is not what the model says; the text names the place.
        """
        try:
            body = self._dump(value)
        except InvalidMessage:
            raise
        except ValueError as error:
            raise InvalidMessage(f"{self.name}: {self._complaints(error)}") from None
        except (TypeError, AttributeError) as error:  # A member that msgspec cannot encode; an object of another class.
            raise InvalidMessage(f"{self.name}: {error}") from None
        if not isinstance(body, dict):
            raise InvalidMessage(f"{self.name}: a message is a JSON object, not {body!r:.100}")
        self.load(body)
        return body

    def load(self, body: Mapping[str, Any]) -> M:
        """Return the model's object.

        Raises:
            InvalidMessage: If the body is not what the model says; the text names the place.
        """
        try:
            return self._load(body)
        except ValueError as error:
            raise InvalidMessage(f"{self.name}: {self._complaints(error)}") from None


def is_model(value: object) -> bool:
    """Return whether a value is a model: a class, or a generic one with its arguments."""
    kind = get_origin(value) or value
    return isinstance(kind, type) and (_is_typed_dict(kind) or _is_instantiable(kind))


def is_instance(value: object) -> bool:
    """Return whether a value is an object of a model whose class tells that: of any but a TypedDict."""
    return not isinstance(value, (type, str, Mapping)) and _is_instantiable(type(value))


def codec_of(model: type[M]) -> Codec[M]:
    """Return the codec of a model.

    Raises:
        TypeError: If it is none, or the library that checks it cannot read it.
        ImportError: If that library is not installed.
    """
    if not is_model(model):
        raise TypeError(f"a model is {KINDS}, not {model!r:.100}")
    return cast("Codec[M]", _codec(cast(Any, model)))


@lru_cache(maxsize=1024)
def _codec(model: Any) -> Codec[Any]:
    kind = get_origin(model) or model
    name = f"{kind.__module__}.{kind.__qualname__}"
    try:
        if _is_struct(kind):
            return _by_msgspec(model, name, _type_of(model, kind))
        return _by_pydantic(model, name, _type_of(model, kind))
    except (TypeError, NameError, AttributeError) as error:  # Of fields whose types mean nothing to the library.
        raise TypeError(f"{name} cannot be read as a model: {error}") from None


def _type_of(model: Any, kind: Any) -> str:
    own = getattr(model, "message_type", None)
    if isinstance(own, str) and own:
        return own
    # ``Page[Item]`` is a class of pydantic's, with a name of its own.
    generic = getattr(kind, "__pydantic_generic_metadata__", {}).get("origin")
    return str((generic or kind).__name__)


# --- which class is what ----------------------------------------------------------------------------------------------


def _is_typed_dict(kind: type) -> bool:
    # `typing.is_typeddict` does not know those of typing_extensions.
    return issubclass(kind, dict) and hasattr(kind, "__required_keys__")


def _is_instantiable(kind: type) -> bool:
    if kind.__module__.partition(".")[0] == "meshsync":
        return False  # Participants and messages are dataclasses too, and are no bodies of messages.
    return is_dataclass(kind) or _is_struct(kind) or hasattr(kind, "__pydantic_core_schema__")


def _is_struct(kind: type) -> bool:
    return hasattr(kind, "__struct_fields__")


# --- the two libraries ------------------------------------------------------------------------------------------------


def _by_pydantic(model: Any, name: str, type: str) -> Codec[Any]:
    try:
        from pydantic import PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter
        from pydantic_core import SchemaError, ValidationError
    except ImportError:
        raise ImportError(f"to check messages by {name} takes pydantic: {_INSTALL}") from None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(model)
        for depth in _depths_of_program():
            try:
                # A name may be one of the function that defines the model. What is complete is not built again.
                adapter.rebuild(raise_errors=True, _parent_namespace_depth=depth)
                break
            except PydanticUndefinedAnnotation:
                continue
        else:
            adapter.rebuild(raise_errors=True)
    except (PydanticUserError, PydanticUndefinedAnnotation, SchemaError) as error:
        raise TypeError(str(error).partition("\n")[0]) from None
    kind = get_origin(model) or model

    def dump(value: object) -> Any:
        if _is_typed_dict(kind):
            _check_members(value, kind, name)
        elif isinstance(value, Mapping):
            value = adapter.validate_python(value)
        return adapter.dump_python(value, mode="json", by_alias=True, warnings=False)

    def complaints(error: ValueError) -> str:
        if not isinstance(error, ValidationError):
            hint = "; for bytes that are no text set ser_json_bytes and val_json_bytes to 'base64', or attach them"
            return f"message: {error}{hint if 'utf-8' in str(error) else ''}"
        found = [f"{_place(fault['loc'])}: {fault['msg']}" for fault in error.errors(include_url=False)[:_SHOWN]]
        more = error.error_count() - len(found)
        return "; ".join(found) + (f"; and {more} more" if more > 0 else "")

    return Codec(name, type, dump, lambda body: adapter.validate_json(json.dumps(body)), complaints)


def _by_msgspec(model: Any, name: str, type: str) -> Codec[Any]:
    import msgspec

    def dump(value: object) -> Any:
        if isinstance(value, Mapping):
            value = msgspec.convert(value, model, str_keys=True)
        return msgspec.to_builtins(value, str_keys=True)

    def complaints(error: ValueError) -> str:
        text, at, path = str(error).partition(" - at `$")
        inner = re.sub(r"\.([^.\[\]`]+)", r"['\1']", path.rstrip("`"))
        return f"message{inner if at else ''}: {text}"

    return Codec(name, type, dump, lambda body: msgspec.convert(body, model, str_keys=True), complaints)


def _place(path: tuple[int | str, ...]) -> str:
    return "message" + "".join(f"[{step!r}]" for step in path)


def _check_members(value: object, kind: Any, name: str) -> None:
    """Refuse the members that a TypedDict does not have: pydantic would leave them out."""
    known = kind.__required_keys__ | kind.__optional_keys__
    for member in value if isinstance(value, Mapping) else ():
        if member not in known:
            raise InvalidMessage(f"{name}: message[{member!r}]: there is no such member")


def _depths_of_program() -> list[int]:
    """Return how far above the caller each frame of the program is, as pydantic counts it, the nearest first."""
    depths: list[int] = []
    frame: FrameType | None = sys._getframe(1)
    depth = 2
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] != "meshsync":
            depths.append(depth)
        frame, depth = frame.f_back, depth + 1
    return depths or [2]
