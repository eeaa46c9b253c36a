"""The two forms of a call: one mapping of all its arguments, or the arguments by themselves; and its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshsync.errors import InvalidMessage
from meshsync.typed import KINDS, codec_of, is_instance, is_model

__all__ = ["as_message", "given", "unpack", "unpack_stream"]


def as_message(type: Any, message: Any, *, default: str | None = None, fallback: str | None = None) -> tuple[Any, Any]:
    """Return type and body of a message that may be a model's object, checked then. Anything else stays as it is.

    Args:
        type: A text, a model that the message is checked by, or None. Where ``message`` is None, a model's object.
        default: The type where none is given.
        fallback: The type where the message has no model either.
    Raises:
        InvalidMessage: If the message is not what its model says; the text names the place.
        ImportError: If the library that checks it is not installed.
        TypeError: If a model cannot be read, or two messages are given.
    """
    if isinstance(type, str):
        if message.__class__ is dict:  # Most are.
            return type, message
        return type, codec_of(message.__class__).dump(message) if is_instance(message) else message
    if is_instance(type):
        if message is not None:
            raise TypeError(f"two messages are given, {type!r:.100} and {message!r:.100}")
        type, message = None, type
    if is_model(type):
        codec = codec_of(type)
        return codec.type, codec.dump(message)
    if type is None and is_instance(message):
        codec = codec_of(message.__class__)
        return default or codec.type, codec.dump(message)
    if message is None and not (type is None or isinstance(type, Mapping)):
        raise InvalidMessage(f"{type!r:.100} is neither a type and a message, nor an object of {KINDS}")
    return (type if type is not None else default or fallback), message


def unpack(
    fields: Mapping[str, Any], type: Any, message: Any, attachment: Any, required: tuple[str, ...]
) -> tuple[Any, Any, Any, Any]:
    """Return recipient, type, message and attachment of a message given as a mapping.

    Args:
        required: The members it has to have.
    Raises:
        TypeError: If it lacks one, has others, or separate arguments are given too.
    """
    if not (type is None and message is None and attachment is None):
        raise TypeError("give either one mapping or separate arguments")
    missing = [name for name in required if name not in fields]
    unknown = [name for name in fields if name not in (*required, "attachment")]
    if missing or unknown:
        complaint = [f"lacks {', '.join(missing)}"] if missing else []
        complaint += [f"has {', '.join(map(repr, unknown))}, which it may not"] if unknown else []
        raise TypeError(f"the mapping {' and '.join(complaint)}")
    return fields.get("to"), fields["type"], fields["message"], fields.get("attachment")


def unpack_stream(fields: Mapping[str, Any], header: Any) -> tuple[Any, Any]:
    """Return recipient and header of a stream given as a mapping; raises as `unpack`."""
    if header is not None:
        raise TypeError("give either one mapping or separate arguments")
    unknown = [name for name in fields if name not in ("to", "header")]
    if unknown or "to" not in fields:
        complaint = "lacks to" if "to" not in fields else f"has {', '.join(map(repr, unknown))}, which it may not"
        raise TypeError(f"the mapping {complaint}")
    return fields["to"], fields.get("header")


def given(timeout: float | None, if_offline: str = "wait", *, confirm: object = False) -> dict[str, Any]:
    """Return the time limit, and the options that are not the defaults: a subclass may not know those."""
    options: dict[str, Any] = {"timeout": timeout}
    if if_offline != "wait":
        options["if_offline"] = if_offline
    return {**options, "confirm": confirm} if confirm else options
