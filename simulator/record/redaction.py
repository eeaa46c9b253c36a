"""Values that are taken out of records before they are kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from meshsync.errors import UsageError
from simulator.record.record import Record

__all__ = ["REDACTED", "Redaction", "split_path"]

REDACTED = "[redacted]"
"""What a record has in the place of a value that was taken out."""

_ROOTS = ("message", "attributes", "header")
_DOT = re.compile(r"(?<!\\)\.")

_Path = tuple[str, ...]


class Redaction:
    r"""Takes values out of bodies, attributes and the headers of streams.

    Args:
        paths: Each begins with ``message`` (a message's body, also of a stream's messages), ``attributes`` (of a
            participant) or ``header`` (of a stream and its chunks); then follow the names of members, with dots
            between them. ``*`` stands for every member of an object or element of a list, a number for one element. A
            dot in a name is written ``\.``.
    Raises:
        UsageError: If a path is none of these.
    Example:
        ``message.password``, ``message.users.*.token``, ``attributes.*``.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths: dict[str, list[_Path]] = {root: [] for root in _ROOTS}
        if isinstance(paths, str):
            raise UsageError(f"redact: a list of paths, not {paths!r:.100} alone")
        for path in paths:
            root, *names = split_path(str(path))
            if root not in _ROOTS or not names or "" in names:
                text = "a path begins with message, attributes or header and goes on, as message.password"
                raise UsageError(f"redact: {text}, not {path!r:.100}")
            self._paths[root].append(tuple(names))

    def apply(self, record: Record) -> Record:
        """Return a record without what is to be taken out."""
        detail = record.detail
        if record.kind == "attributes":
            detail = self._cut("attributes", detail)
        elif record.kind in ("message", "stream", "confirming"):
            detail = self._cut("message", detail)
            if record.stream_id and isinstance(detail.get("header"), Mapping):
                detail = {**detail, "header": self._cut("header", detail["header"])}
        return record if detail is record.detail else replace(record, detail=detail)

    def _cut(self, root: str, value: Any) -> Any:
        for path in self._paths[root]:
            value = _without(value, path)
        return value


def split_path(path: str) -> list[str]:
    r"""Return the names of a path that are separated by dots; a dot in a name is written ``\."""
    return [part.replace("\\.", ".") for part in _DOT.split(path)]


def _without(value: Any, path: _Path) -> Any:
    """Return a value without what is at a path: the value itself if there is nothing."""
    if not path:
        return REDACTED
    name, rest = path[0], path[1:]
    if isinstance(value, Mapping):
        names: Iterable[Any] = value if name == "*" else (name,) if name in value else ()
        changed = {key: _without(value[key], rest) for key in names}
        return {**value, **changed} if any(changed[key] is not value[key] for key in changed) else value
    if isinstance(value, Sequence) and not isinstance(value, str):
        if name != "*" and not (name.isdecimal() and len(name) < 10 and int(name) < len(value)):
            return value
        places = range(len(value)) if name == "*" else (int(name),)
        elements = list(value)
        for place in places:
            elements[place] = _without(value[place], rest)
        return elements
    return value
