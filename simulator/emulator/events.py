"""The events of an emulator's room that a fault can follow, where nothing of them is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from simulator.record.record import Record
from simulator.record.recorder import Notice, Recorder
from simulator.record.records import Records
from simulator.room.members import Member, Presence

__all__ = ["EventWatcher"]


_MOST_KNOWN = 10_000
"""Participants that left, and streams, that are known by name."""


class _NoRecords(Records):
    """Keeps nothing."""

    def add(self, record: Record, recipients: Sequence[str] = ()) -> None:
        """Drop it."""

    def attach(self, attachment: Any) -> str:
        """Drop it."""
        return ""


class EventWatcher(Recorder):
    """Notices what a recorder would record.

    Args:
        members: Those that are in the room already.
    """

    def __init__(self, members: Iterable[Member], now: Callable[[], int], notice: Notice) -> None:
        super().__init__(_NoRecords(), now, notice, most=_MOST_KNOWN)
        for member in members:
            self._names.join(member.id, member.name)
            if member.presence is Presence.ENABLED:
                self._enabled.add(member.id)

    def _set_out(self, *message: Any) -> None:
        """Follow no message on its way."""
