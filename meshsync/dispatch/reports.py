"""The log and the event of what fails in the program's code, or because of a message that a receiver cannot get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meshsync.errors import InvalidMessage, MeshsyncError
from meshsync.messages import RoomMessage, RoomMessageEvent
from meshsync.runtime.interfaces import Runtime
from meshsync.signals import log_failure, log_warning, name_of

__all__ = ["Failure", "Reports", "Watcher", "note_failure", "unwatch_failures", "watch_failures"]


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception of the program's code that has no caller to go to, as those watch for that run tests."""

    error: BaseException
    receiver: str
    """The name of what raised: a receiver, hook or callback, or a participant's method."""
    event: str
    """At which event."""
    client: str
    """Of which client, as ``ada in lab``; or the name of a participant without a thread."""
    runtime: Runtime | None
    """Of the client; None for a participant without a thread."""


Watcher = Callable[[Failure], object]

_watchers: tuple[Watcher, ...] = ()


def watch_failures(watcher: Watcher) -> None:
    """Call a watcher with each failure in this process from now on, on the task where it happened.

    It is for what runs tests: a failure is logged and signalled all the same.
    """
    global _watchers
    _watchers = (*_watchers, watcher)


def unwatch_failures(watcher: Watcher) -> None:
    """Call it no more; one that is not there is ignored."""
    global _watchers
    _watchers = tuple(other for other in _watchers if other != watcher)


def note_failure(failure: Failure) -> None:
    """Tell those who watch of a failure."""
    for watcher in _watchers:
        watcher(failure)


class Reports:
    """Reports failures as ``receiver_failed``.

    Args:
        name: The client's, as ``ada in lab``.
        post: Runs a job on the dispatcher.
        run_receivers: Calls the receivers of an event, on the dispatcher.
        is_leaving: Whether the program has begun to close the client, so that what is still called may fail of that.
    """

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        post: Callable[[Callable[[], None]], None],
        run_receivers: Callable[[RoomMessageEvent], None],
        is_leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self._runtime = runtime
        self._name = name
        self._post = post
        self._run_receivers = run_receivers
        self._is_leaving = is_leaving

    def post_failure(
        self,
        event: str,
        receiver: Callable[..., object],
        error: BaseException,
        note: str = "",
        *,
        is_programs: bool = True,
    ) -> None:
        """Report a failure of the program's code, from any task; see `failed`.

        Args:
            is_programs: Whether the program erred, and not the network or a peer after its code had returned.
        """
        if is_programs:
            self._note(event, receiver, error)  # Here, since a client that is closed now runs no more jobs.
        self._post(lambda: self._report(event, receiver, error, note))

    def post_wrong(self, message: RoomMessage[Any], receiver: str, error: InvalidMessage) -> None:
        """Report that a message is not what a model says, from any task; see `wrong`."""
        self._post(lambda: self.wrong(message, receiver, error))

    def failed(self, event: str, receiver: Callable[..., object], error: BaseException, note: str = "") -> None:
        """Log that a receiver raised, with the traceback, and signal it. On the dispatcher.

        Args:
            note: What else the log is to say.
        """
        self._note(event, receiver, error)
        self._report(event, receiver, error, note)

    def _note(self, event: str, receiver: Callable[..., object], error: BaseException) -> None:
        if _watchers and not (isinstance(error, MeshsyncError) and self._is_leaving()):
            note_failure(Failure(error, name_of(receiver), event, self._name, self._runtime))

    def _report(self, event: str, receiver: Callable[..., object], error: BaseException, note: str) -> None:
        if not isinstance(error, Exception):
            # A runtime that ends its tasks by an exception of its own, as a simulation does, raises it again here.
            self._runtime.sleep(0)
        log_failure(receiver, error, note)
        if event != "receiver_failed":  # A receiver's failure at this is only logged, or reports would never end.
            self._signal(event, name_of(receiver), error)

    def wrong(self, message: RoomMessage[Any], receiver: str, error: InvalidMessage) -> None:
        """Log that a message is not what its receiver's model says, and signal it. On the dispatcher."""
        sender = message.sender.name if message.sender is not None else message.from_participant_id
        log_warning("%s does not get a message of type %r of %r: %s", receiver, message.type, sender, error)
        self._signal("message", receiver, error)

    def _signal(self, event: str, receiver: str, error: BaseException) -> None:
        message: RoomMessage[Any] = RoomMessage("receiver_failed", {"event": event, "receiver": receiver})
        self._run_receivers(RoomMessageEvent("receiver_failed", message, error=error))
