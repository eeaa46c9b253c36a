"""Signals for every client of the process: ``meshsync.signals.message.connect(receiver)``.

They are blinker signals, cured of three habits that surprise here: receivers run in the order in which they were
connected (blinker's order depends on memory addresses), they are held strongly unless ``weak=True`` (a lambda would be
gone at once), and one that raises is logged and stops no other.

A receiver is called as ``receiver(sender, event=…)`` with the `MessagingClient` and a `RoomMessageEvent`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any, TypeVar

import blinker

from meshsync.runtime.interfaces import TaskExit

__all__ = [
    "EVENTS",
    "disconnected",
    "message",
    "messages_dropped",
    "messaging_disabled",
    "messaging_enabled",
    "participant_added",
    "participant_attributes_updated",
    "participant_removed",
    "receiver_failed",
    "reconnected",
    "stream_closed",
    "stream_opened",
]

F = TypeVar("F", bound=Callable[..., Any])

logger = logging.getLogger("meshsync")

_serials = count()


class _ConnectionOrder(set[Any]):
    """A set that is iterated in the order in which its items were added, also across a union of two."""

    def __init__(self) -> None:
        super().__init__()
        self._serials: dict[Any, int] = {}

    def add(self, item: Any) -> None:
        if item not in self._serials:
            super().add(item)
            self._serials[item] = next(_serials)

    def discard(self, item: Any) -> None:
        super().discard(item)
        self._serials.pop(item, None)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._serials))

    def __or__(self, other: Any) -> _ConnectionOrder:
        serials = list(self._serials.items()) + list(other._serials.items())
        merged = _ConnectionOrder()
        for item, serial in sorted(serials, key=lambda pair: pair[1]):
            merged._serials.setdefault(item, serial)
        merged.update(merged._serials)
        return merged

    def copy(self) -> _ConnectionOrder:
        return self | _ConnectionOrder()


class OrderedSignal(blinker.Signal):
    """A blinker signal whose receivers run in connection order, are held strongly, and fail one by one."""

    set_class = _ConnectionOrder

    def connect(self, receiver: F, sender: Any = blinker.ANY, weak: bool = False) -> F:
        """Connect a receiver, for one sender or for all; one that is connected already keeps its place."""
        return super().connect(receiver, sender, weak)

    def send(self, sender: Any = None, /, **arguments: Any) -> list[tuple[Callable[..., Any], Any]]:
        """Call every receiver and return each with its result; one that raises is logged and left out."""
        return self.send_reporting(_log_or_raise, sender, **arguments)

    def send_reporting(
        self, report: Callable[[Callable[..., Any], BaseException], None], sender: Any, /, **arguments: Any
    ) -> list[tuple[Callable[..., Any], Any]]:
        """Call every receiver; for each that raises, of any kind, call ``report`` and go on."""
        results: list[tuple[Callable[..., Any], Any]] = []
        if self.is_muted:
            return results
        for receiver in self.receivers_for(sender):
            try:
                if inspect.iscoroutinefunction(receiver):
                    raise TypeError("a receiver cannot be a coroutine function: nothing here would await it")
                results.append((receiver, receiver(sender, **arguments)))
            except TaskExit:
                raise
            except BaseException as error:
                report(receiver, error)
        return results


def _log_or_raise(receiver: Callable[..., Any], error: BaseException) -> None:
    if not isinstance(error, (Exception, SystemExit)):
        raise error  # Such as Ctrl-C, on a task of the program.
    log_failure(receiver, error)


def log_failure(receiver: Callable[..., Any], error: BaseException) -> None:
    """Log that a receiver raised, with its name and the traceback."""
    with suppress(Exception):  # A failing log handler must not cost the other receivers.
        logger.error("receiver %s raised %s", name_of(receiver), type(error).__name__, exc_info=error)


def log_warning(text: str, *values: object) -> None:
    """Log a fault of a peer or the room."""
    with suppress(Exception):  # As above; and it must not end the connection.
        logger.warning(text, *values)


def name_of(receiver: Callable[..., Any]) -> str:
    """Return a receiver's name as a person would look for it: module and qualified name, no address."""
    inner = getattr(receiver, "func", receiver)  # functools.partial
    module = getattr(inner, "__module__", None) or type(inner).__module__
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return f"{module}.{name}"


message = OrderedSignal("A message of a participant.")
participant_added = OrderedSignal("A participant takes part, also for those already there at enable.")
participant_removed = OrderedSignal("A participant no longer takes part.")
participant_attributes_updated = OrderedSignal("A participant's attributes were set.")
stream_opened = OrderedSignal("A stream was accepted.")
stream_closed = OrderedSignal("A stream ended.")
messaging_enabled = OrderedSignal("This client takes part and knows its peers.")
messaging_disabled = OrderedSignal("This client no longer takes part.")
disconnected = OrderedSignal("The connection ended.")
reconnected = OrderedSignal("A lost connection was made anew.")
receiver_failed = OrderedSignal("A receiver raised.")
messages_dropped = OrderedSignal("Receivers were too slow, and the oldest events were dropped.")

EVENTS: dict[str, OrderedSignal] = {
    "message": message,
    "participant_added": participant_added,
    "participant_removed": participant_removed,
    "participant_attributes_updated": participant_attributes_updated,
    "stream_opened": stream_opened,
    "stream_closed": stream_closed,
    "messaging_enabled": messaging_enabled,
    "messaging_disabled": messaging_disabled,
    "disconnected": disconnected,
    "reconnected": reconnected,
    "receiver_failed": receiver_failed,
    "messages_dropped": messages_dropped,
}
"""Every event by its name."""
