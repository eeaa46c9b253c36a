"""The two forms of a call: one mapping of all its arguments, or the arguments by themselves; and its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["given", "unpack", "unpack_stream"]


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


def given(timeout: float | None, if_offline: str, *, confirm: bool = False) -> dict[str, Any]:
    """Return the time limit, and the options that are not the defaults: a subclass may not know those."""
    options: dict[str, Any] = {"timeout": timeout}
    if if_offline != "wait":
        options["if_offline"] = if_offline
    return {**options, "confirm": True} if confirm else options
