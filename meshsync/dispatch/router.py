"""Where what arrives goes: through a subclass's hook, to subscriptions, to receivers.

Everything takes the same way, in one order, so that nothing overtakes a message that waits for the hook. Subscriptions
are fed before receivers run and apart from them: a receiver may wait for a message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from meshsync.connection.connection import Connection
from meshsync.connection.inbox import Inbox, InboxClosed
from meshsync.dispatch.receivers import Receivers
from meshsync.dispatch.subscriptions import Overflow, Subscription
from meshsync.errors import WouldDeadlock
from meshsync.messages import RoomMessage, RoomMessageEvent
from meshsync.runtime.interfaces import TaskExit
from meshsync.signals import EVENTS, log_failure, name_of

__all__ = ["Router"]

logger = logging.getLogger("meshsync")

Hook = Callable[[RoomMessage], "RoomMessage | None"]

UNHOOKED = 10_000
"""Events that wait for the hook at most; beyond that the oldest are dropped."""


class Router:
    """Takes events on the reader, and runs receivers on the dispatcher.

    Args:
        sender: What blinker's receivers are told as the sender.
        hook: What may change or drop each message, in a task of its own; None for nothing.
    """

    def __init__(self, connection: Connection, sender: object, hook: Hook | None) -> None:
        self.receivers = Receivers()
        self._connection = connection
        self._sender = sender
        self._hook = hook
        self._hook_task: object = None
        self._unhooked: Inbox[RoomMessageEvent] = Inbox(connection.runtime, UNHOOKED)
        self._condition = connection.runtime.condition()
        self._subscriptions: tuple[Subscription, ...] = ()
        self._has_ended = False

    def start(self) -> None:
        """Begin. Called before the first event."""
        if self._hook is not None:
            hook = self._hook
            self._connection.spawn(lambda: self._run_hook(hook), "hook")

    def subscribe(
        self,
        *,
        type: str | None,
        sender: str | None,
        timeout: float | None,
        maxsize: int,
        overflow: Overflow,
    ) -> Subscription:
        """Return a subscription to the messages that arrive from now on."""
        subscription = Subscription(
            self._connection.runtime,
            type=type,
            sender=sender,
            timeout=timeout,
            maxsize=maxsize,
            overflow=overflow,
            refuse_to_block=self._refuse_to_block,
            on_close=self._unsubscribe,
        )
        with self._condition:
            has_ended = self._has_ended
            if not has_ended:
                self._subscriptions = (*self._subscriptions, subscription)
        if has_ended:
            subscription.end(self._connection.failure())
        return subscription

    def _refuse_to_block(self, what: str) -> None:
        self._connection.refuse_to_block(what)
        if self._hook is not None and self._hook_task == self._connection.runtime.current():
            raise WouldDeadlock(f"{what} in the hook that all messages pass through would never end")

    def _unsubscribe(self, subscription: Subscription) -> None:
        with self._condition:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)

    # --- on the reader, or in the hook's task -------------------------------------------------------------------------

    def publish(self, event: RoomMessageEvent) -> None:
        """Take an event. Never waits."""
        if self._hook is None:
            self._route(event)
        else:
            self._connection.count_dropped(self._unhooked.put_dropping(event))

    def report(self, event: str, receiver: Callable[..., Any], error: BaseException) -> None:
        """Have a failure of the program's code logged and reported as ``receiver_failed``."""
        self._connection.post(_Failure(event, receiver, error))

    def end(self) -> None:
        """Take nothing more; what is on its way still arrives, and then everything ends."""
        if self._hook is None:
            self._finish()
        else:
            self._unhooked.close()

    def _run_hook(self, hook: Hook) -> None:
        self._hook_task = self._connection.runtime.current()
        while True:
            try:
                event = self._unhooked.get(None)
            except InboxClosed:
                break
            if event.name == "message":
                try:
                    message = hook(event.message)
                    if not (message is None or isinstance(message, RoomMessage)):
                        raise TypeError(f"a hook returns a RoomMessage or None, not {message!r:.100}")
                except TaskExit:
                    raise
                except BaseException as error:  # Whatever it is, it has no caller to go to.
                    self.report("message", hook, error)
                    continue
                if message is None:
                    continue
                event = replace(event, message=message)
            self._route(event)
        self._hook_task = None  # Another task may get the same name.
        self._finish()

    def _route(self, event: RoomMessageEvent) -> None:
        if event.name == "message":
            for subscription in self._subscriptions:
                subscription.offer(event.message)
        self._connection.post(event)

    def _finish(self) -> None:
        with self._condition:
            self._has_ended = True
            subscriptions, self._subscriptions = self._subscriptions, ()
        for subscription in subscriptions:
            subscription.end(self._connection.failure())
        self._connection.finish()

    # --- on the dispatcher --------------------------------------------------------------------------------------------

    def dispatch(self, item: object) -> None:
        """Run what was posted: the receivers of an event, in order, each shielded from the others."""
        if isinstance(item, RoomMessageEvent):
            self._run_receivers(item)
        elif isinstance(item, _Failure):
            self._report(item)
        elif callable(item):
            item()

    def _run_receivers(self, event: RoomMessageEvent) -> None:
        for receiver in self.receivers.matching(event):
            try:
                receiver(event)
            except TaskExit:
                raise
            except BaseException as error:  # Whatever it is, such as pytest's failures, it has no caller to go to.
                self._report(_Failure(event.name, receiver, error))
        EVENTS[event.name].send_reporting(
            lambda receiver, error: self._report(_Failure(event.name, receiver, error)), self._sender, event=event
        )

    def _report(self, failure: _Failure) -> None:
        if not isinstance(failure.error, Exception):
            # A runtime that ends its tasks by an exception of its own, as a simulation does, raises it again here.
            self._connection.runtime.sleep(0)
        log_failure(failure.receiver, failure.error)
        if failure.event == "receiver_failed":
            return  # One that fails at this is only logged, or it would go round for ever.
        body = {"event": failure.event, "receiver": name_of(failure.receiver)}
        message = RoomMessage("receiver_failed", body)
        self._run_receivers(RoomMessageEvent("receiver_failed", message, error=failure.error))

    def dropped(self, count: int) -> None:
        """Report that the receivers, or the hook, were too slow."""
        with suppress(Exception):  # As in `log_failure`.
            logger.warning("%d events were dropped: the receivers are too slow", count)
        self._run_receivers(RoomMessageEvent("messages_dropped", RoomMessage("messages_dropped", {"count": count})))


class _Failure:
    """A receiver or hook that raised."""

    __slots__ = ("error", "event", "receiver")

    def __init__(self, event: str, receiver: Callable[..., Any], error: BaseException) -> None:
        self.event = event
        self.receiver = receiver
        self.error = error
