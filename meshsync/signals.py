"""Signals for every client of the process: ``meshsync.signals.message.connect(receiver)``.

They are blinker signals, cured of three habits that surprise here: receivers run in the order in which they were
connected (blinker's order depends on memory addresses), they are held strongly unless ``weak=True`` (a lambda would be
gone at once), and one that raises is logged and stops no other.

A receiver is called as ``receiver(sender, event=…)`` with the `MessagingClient` and a `RoomMessageEvent`.

Here is also the check of all callables of programs: nothing here awaits or iterates what they return.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, Literal, TypeVar

import blinker

from meshsync.hints import Hinted
from meshsync.runtime.interfaces import TaskExit

__all__ = [
    "EVENTS",
    "EventName",
    "check_callable",
    "check_result",
    "disconnected",
    "function_of",
    "message",
    "messages_dropped",
    "messages_missed",
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

logger: logging.Logger = logging.getLogger("meshsync")
_life = logging.getLogger("meshsync.client")

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

    set_class: type[set[Any]] = _ConnectionOrder

    def connect(self, receiver: F, sender: Any = blinker.ANY, weak: bool = False) -> F:
        """Connect a receiver, for one sender or for all; one that is connected already keeps its place.

        Raises:
            TypeError: If it cannot be called, or is a coroutine or generator function; nothing has changed.
        """
        check_callable(receiver, "a sender and an event")
        return super().connect(receiver, sender, weak)

    def has_receivers_for(self, sender: Any) -> bool:
        """Return whether a receiver is called for a sender.

        blinker's own stays true where all of a sender's receivers have been disconnected, and others have some.
        """
        for _ in self.receivers_for(sender):
            return True
        return False

    def send(self, sender: Any = None, /, **arguments: Any) -> list[tuple[Callable[..., Any], Any]]:
        """Call every receiver and return each with its result; one that raises is logged and left out."""
        return self.send_reporting(_log_or_raise, sender, lambda: arguments)

    def send_reporting(
        self,
        report: Callable[[Callable[..., Any], BaseException], None],
        sender: Any,
        /,
        arguments: Callable[[], dict[str, Any]] = dict,
        may_begin: Callable[[Callable[..., Any]], bool] = lambda receiver: True,
    ) -> list[tuple[Callable[..., Any], Any]]:
        """Call every receiver; for each that raises, of any kind, call ``report`` and go on.

        Args:
            arguments: Called before each receiver, for the arguments of that one.
            may_begin: Called before each receiver with that one; False ends the sending.
        """
        results: list[tuple[Callable[..., Any], Any]] = []
        if self.is_muted:
            return results
        for receiver in self.receivers_for(sender):
            if not may_begin(receiver):
                break
            try:
                result = receiver(sender, **arguments())
                check_result(result)
                results.append((receiver, result))
            except TaskExit:
                raise
            except BaseException as error:
                report(receiver, error)
        return results


class _EventSignal(OrderedSignal):
    """One of the signals here, whose receivers are known to be called with ``event=``."""

    def connect(self, receiver: F, sender: Any = blinker.ANY, weak: bool = False) -> F:
        check_callable(receiver, "a sender and event=", count=1, names=("event",))
        return super().connect(receiver, sender, weak)


def check_callable(
    receiver: object, arguments: str, what: str = "a receiver", *, count: int | None = None, names: Iterable[str] = ()
) -> None:
    """Check a callable of the program before it is registered.

    Args:
        arguments: Its arguments, for errors.
        what: What it is, likewise.
        count: How many arguments it is given by position; None if that is not known.
        names: The arguments that it is given by name besides.
    Raises:
        TypeError: If it cannot be called, does not take these arguments, or is a coroutine or generator function,
            bare, as a method, as the ``__call__`` of an object or in a `functools.partial`.
    """
    if not callable(receiver):
        way = "give a function itself, without () behind it"
        raise TypeError(f"{what} is called with {arguments}; {receiver!r:.100} cannot be called: {way}")
    function = function_of(receiver)
    if not inspect.isroutine(function) and not isinstance(function, type):
        function = function_of(type(function).__call__)
    if inspect.iscoroutinefunction(receiver) or inspect.iscoroutinefunction(function):
        raise TypeError(f"{receiver!r:.100} is a coroutine function, which nothing here would await; give a plain one")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{receiver!r:.100} is a generator function, which nothing here would run; give a plain one")
    if count is not None:
        _check_signature(receiver, arguments, what, count, names)


def _check_signature(receiver: Callable[..., Any], arguments: str, what: str, count: int, names: Iterable[str]) -> None:
    try:
        signature = inspect.signature(receiver)
    except (TypeError, ValueError):  # Of some that are written in C nothing is known.
        return
    try:
        signature.bind(*[None] * count, **dict.fromkeys(names))
    except TypeError as error:
        raise TypeError(
            f"{what} is called with {arguments}, which {name_of(receiver)}{signature} does not take: {error}"
        ) from None


def function_of(receiver: Any) -> Any:
    """Return the function in a partial, a method or both."""
    while True:
        if isinstance(receiver, partial):
            receiver = receiver.func
        elif inspect.ismethod(receiver) or isinstance(receiver, (classmethod, staticmethod)):
            receiver = receiver.__func__
        else:
            return receiver


def check_result(result: object) -> None:
    """Check the result of a callable of the program: not every wrapper of a coroutine function shows what it is.

    A future or task of asyncio is no fault, since its loop runs it.

    Raises:
        TypeError: If the work is yet to be done, as in a coroutine or a generator, and nothing would do it.
    """
    if result is None or isinstance(result, Hinted) or hasattr(result, "_asyncio_future_blocking"):
        return
    if not (inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result)):
        return
    kind = type(result).__qualname__
    if inspect.iscoroutine(result) or inspect.isgenerator(result):
        with suppress(Exception):
            result.close()  # Else the interpreter warns at some other place that it was never awaited.
    raise TypeError(f"it did nothing but return {kind!r}, which nothing here would run: give a plain one")


def _log_or_raise(receiver: Callable[..., Any], error: BaseException) -> None:
    if not isinstance(error, (Exception, SystemExit)):
        raise error  # Such as Ctrl-C, on a task of the program.
    log_failure(receiver, error)


def log_failure(receiver: Callable[..., Any], error: BaseException, note: str = "") -> None:
    """Log that a receiver raised, with its name and the traceback.

    Args:
        note: What else is to be said.
    """
    with suppress(Exception):  # A failing log handler must not cost the other receivers.
        logger.error("receiver %s raised %s%s", name_of(receiver), type(error).__name__, note, exc_info=error)


def log_warning(text: str, *values: object) -> None:
    """Log a fault of a peer or the room."""
    with suppress(Exception):  # As above; and it must not end the connection.
        logger.warning(text, *values)


def log_life(client: str, text: str, *values: object) -> None:
    """Log a step in the life of a client at INFO; texts among the values are of peers or the system, and escaped."""
    if _life.isEnabledFor(logging.INFO):
        from meshsync.excerpts import show_text

        with suppress(Exception):  # As above.
            shown = [show_text(value) if isinstance(value, str) else value for value in values]
            _life.info(f"%s: {text}", show_text(client), *shown)


def name_of(receiver: Callable[..., Any]) -> str:
    """Return a receiver's name as a person would look for it: module and qualified name, no address."""
    inner = getattr(receiver, "func", receiver)  # functools.partial
    module = getattr(inner, "__module__", None) or type(inner).__module__
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return f"{module}.{name}"


message: _EventSignal = _EventSignal("A message of a participant.")
participant_added: _EventSignal = _EventSignal("A participant takes part, also for those already there at enable.")
participant_removed: _EventSignal = _EventSignal("A participant no longer takes part.")
participant_attributes_updated: _EventSignal = _EventSignal("A participant's attributes were set.")
stream_opened: _EventSignal = _EventSignal("A stream was accepted.")
stream_closed: _EventSignal = _EventSignal("A stream ended.")
messaging_enabled: _EventSignal = _EventSignal("This client takes part and knows its peers.")
messaging_disabled: _EventSignal = _EventSignal("This client no longer takes part.")
disconnected: _EventSignal = _EventSignal("The connection ended.")
reconnected: _EventSignal = _EventSignal("A lost connection was made anew.")
receiver_failed: _EventSignal = _EventSignal("A receiver raised.")
messages_dropped: _EventSignal = _EventSignal("Receivers were too slow, and the oldest events were dropped.")
messages_missed: _EventSignal = _EventSignal("A sender gave confirmed messages up, which never came.")

EventName = Literal[
    "message",
    "participant_added",
    "participant_removed",
    "participant_attributes_updated",
    "stream_opened",
    "stream_closed",
    "messaging_enabled",
    "messaging_disabled",
    "disconnected",
    "reconnected",
    "receiver_failed",
    "messages_dropped",
    "messages_missed",
]
"""The name of an event, so that editors complete it and type checkers see a wrong one."""

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
    "messages_missed": messages_missed,
}
"""Every event by its name."""
