"""The colours and dashes of a timeline's lines: one for each type of message and for each stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.record.records import Record
from simulator.record.wording import clip, stream_event_of, what_of

__all__ = ["Styles", "choose_styles"]

_STYLES: tuple[tuple[str, Any], ...] = (
    ("#0072B2", "-"),
    ("#E69F00", (0, (5, 1.5))),
    ("#009E73", (0, (6, 1.5, 1.2, 1.5))),
    ("#56B4E9", (0, (1.5, 1))),
    ("#CC79A7", (0, (9, 2))),
)
"""Colour and dashes, for the most frequent first. Source: Okabe and Ito (2008), told apart by people of every colour
vision; the dashes tell them apart in grey."""
_OTHER = ("#777777", "-")
_CREDIT = (0, (1, 2.5))
_CREDITS = "stream credit"


@dataclass(frozen=True, slots=True)
class Styles:
    """The colour and dashes of each line, and its name in the legend."""

    known: Mapping[str, tuple[str, Any]]
    """By the type of a message, or the stream's id."""
    names: Mapping[str, str]
    """Of streams: how the legend calls them."""
    others: str
    """The name of all that have no style of their own."""

    def name(self, record: Record) -> str:
        """Return the line's name in the legend."""
        if _is_credit(record):
            return _CREDITS
        key = _key(record)
        return self._name(key) if key in self.known else self.others

    def _name(self, key: str) -> str:
        return self.names.get(key, clip(key, 24))

    @property
    def order(self) -> list[str]:
        """The names in the order of the legend."""
        return [*(self._name(key) for key in self.known), self.others, _CREDITS]

    def colour(self, record: Record) -> str:
        return self.known.get(_key(record), _OTHER)[0]

    def dashes(self, record: Record) -> Any:
        return _CREDIT if _is_credit(record) else self.known.get(_key(record), _OTHER)[1]


def choose_styles(records: Sequence[Record]) -> Styles:
    """Choose a style for each type of message and each stream of a transcript; the rarest share one."""
    keys = Counter(key for key in map(_key, records) if key)
    own = [key for key, _ in keys.most_common()]
    streams = {record.stream_id: record for record in reversed(records) if record.stream_id and record.recipient}
    names = {key: clip(f"{key} to {record.recipient}", 28) for key, record in streams.items()}
    # "1 other" would say less than its name.
    own, left = (own, []) if len(own) <= len(_STYLES) else (own[: len(_STYLES) - 1], own[len(_STYLES) - 1 :])
    kinds = {key in streams for key in left}
    what = "others" if len(kinds) > 1 else "other streams" if True in kinds else "other types"
    return Styles(dict(zip(own, _STYLES, strict=False)), names, f"{len(left)} {what}")


def _key(record: Record) -> str:
    """Return what has a style: a stream, or the type of a message; empty for a record without a line."""
    if record.kind in ("stream", "message"):
        return record.stream_id or (what_of(record) if record.kind == "message" else "stream")
    return ""


def _is_credit(record: Record) -> bool:
    return record.kind == "stream" and stream_event_of(record) == "credit"
