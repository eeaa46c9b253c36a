"""The log and the event of what fails in the program's code, or because of a message that a receiver cannot get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshsync.errors import InvalidMessage
from meshsync.messages import RoomMessage, RoomMessageEvent
from meshsync.runtime.interfaces import Runtime
from meshsync.signals import log_failure, log_warning, name_of

__all__ = ["Reports"]


class Reports:
    """Reports failures as ``receiver_failed``.

    Args:
        post: Runs a job on the dispatcher.
        run_receivers: Calls the receivers of an event, on the dispatcher.
    """

    def __init__(
        self,
        runtime: Runtime,
        post: Callable[[Callable[[], None]], None],
        run_receivers: Callable[[RoomMessageEvent], None],
    ) -> None:
        self._runtime = runtime
        self._post = post
        self._run_receivers = run_receivers

    def post_failure(self, event: str, receiver: Callable[..., object], error: BaseException, note: str = "") -> None:
        """Report a failure of the program's code, from any task; see `failed`."""
        self._post(lambda: self.failed(event, receiver, error, note))

    def post_wrong(self, message: RoomMessage[Any], receiver: str, error: InvalidMessage) -> None:
        """Report that a message is not what a model says, from any task; see `wrong`."""
        self._post(lambda: self.wrong(message, receiver, error))

    def failed(self, event: str, receiver: Callable[..., object], error: BaseException, note: str = "") -> None:
        """Log that a receiver raised, with the traceback, and signal it. On the dispatcher.

        Args:
            note: What else the log is to say.
        """
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
