"""The route of events: through a subclass's hook, to subscriptions, to receivers.

All events go one way, in one order, so that none overtakes a message that waits for the hook. Subscriptions
are fed before receivers run and apart from them: a receiver may wait for a message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from meshsync.connection.inbox import Inbox, InboxClosed
from meshsync.dispatch.dispatcher import Dispatcher
from meshsync.dispatch.receivers import Receivers
from meshsync.dispatch.subscriptions import Overflow, Subscription
from meshsync.errors import ClientClosed, MeshsyncError, WouldDeadlock
from meshsync.messages import RoomMessage, RoomMessageEvent
from meshsync.runtime.deadlines import Limit, own_limit
from meshsync.runtime.interfaces import Runtime, TaskExit
from meshsync.signals import EVENTS, check_result, log_failure, name_of

__all__ = ["Router", "RouterStats"]

logger = logging.getLogger("meshsync")

Hook = Callable[[RoomMessage], "RoomMessage | None"]

UNHOOKED = 10_000
"""The most events that wait for the hook; beyond it the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class RouterStats:
    """Figures of a router, as they are now."""

    subscriptions: int
    """Those that are fed."""


class Router:
    """Routes events: published on the reader, they reach subscriptions there and receivers on the dispatcher.

    It outlives connections, and so does its dispatcher.

    Args:
        name: For the names of its tasks.
        refuse_to_block: Given the name of a wait, raises where it would never end.
    """

    def __init__(self, runtime: Runtime, name: str, refuse_to_block: Callable[[str], None]) -> None:
        self.receivers = Receivers()
        self.dispatcher = Dispatcher(runtime, name, self._report_dropped)
        self._runtime = runtime
        self._refuse = refuse_to_block
        self._sender: object = None
        self._hook: Hook | None = None
        self._hook_task: object = None
        self._unhooked: Inbox[RoomMessageEvent] = Inbox(runtime, UNHOOKED)
        self._condition = runtime.condition()
        self._subscriptions: tuple[Subscription, ...] = ()
        self._has_ended = False
        self._failure: MeshsyncError = ClientClosed("the client was closed by this program")
        """The error of subscriptions after the end."""

    def start(self, sender: object, hook: Hook | None) -> None:
        """Begin to route; called before the first event.

        Args:
            sender: The sender that blinker's receivers are given.
            hook: Changes or drops each message, in a task of its own; None for no hook.
        """
        self._sender, self._hook = sender, hook
        if hook is not None:
            self.dispatcher.spawn(lambda: self._run_hook(hook), "hook")
        self.dispatcher.start()

    def subscribe(
        self,
        *,
        type: str | None,
        sender: str | None,
        timeout: float | None,
        maxsize: int,
        overflow: Overflow,
        limit: Limit = own_limit,
    ) -> Subscription:
        """Return a subscription to the messages that arrive from now on.

        Args:
            limit: The client's.
        Raises:
            ValueError: If ``maxsize`` is less than 1, or ``overflow`` is unknown.
        """
        subscription = Subscription(
            self._runtime,
            type=type,
            sender=sender,
            timeout=timeout,
            maxsize=maxsize,
            overflow=overflow,
            refuse_to_block=self._refuse_to_block,
            limit=limit,
            on_close=self._unsubscribe,
        )
        with self._condition:
            has_ended = self._has_ended
            if not has_ended:
                self._subscriptions = (*self._subscriptions, subscription)
        if has_ended:
            subscription._end(self._failure)
        return subscription

    def stats(self) -> RouterStats:
        """Return the figures of this moment."""
        return RouterStats(len(self._subscriptions))

    def _refuse_to_block(self, what: str) -> None:
        self._refuse(what)
        if self._hook is not None and self._hook_task == self._runtime.current():
            raise WouldDeadlock(f"{what} in the hook that all messages pass through would never end")

    def _unsubscribe(self, subscription: Subscription) -> None:
        with self._condition:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)

    # --- on the reader, or in the hook's task -------------------------------------------------------------------------

    def publish(self, event: RoomMessageEvent) -> None:
        """Route an event. Never waits."""
        if self._hook is None:
            self._route(event)
        else:
            self.dispatcher.count_dropped(self._unhooked.put_dropping(event))

    def report(self, event: str, receiver: Callable[..., object], error: BaseException) -> None:
        """Log a failure of the program's code and report it as ``receiver_failed``."""
        self.dispatcher.post(lambda: self._report(event, receiver, error))

    def end(self, failure: MeshsyncError) -> None:
        """Route no more events; those on their way still arrive, and then all routes end.

        Args:
            failure: The error that subscriptions raise then.
        """
        self._failure = failure
        if self._hook is None:
            self._finish()
        else:
            self._unhooked.close()

    def _run_hook(self, hook: Hook) -> None:
        self._hook_task = self._runtime.current()
        while True:
            try:
                event = self._unhooked.get(None)
            except InboxClosed:
                break
            if event.name == "message":
                try:
                    message = hook(event.message)
                    check_result(message)
                    if not (message is None or isinstance(message, RoomMessage)):
                        raise TypeError(f"a hook returns a RoomMessage or None, not {message!r:.100}")
                except TaskExit:
                    raise
                except BaseException as error:  # An error of any kind has no caller to go to.
                    self.report("message", hook, error)
                    continue
                if message is None:
                    continue
                event = replace(event, message=message)
            self._route(event)
        self._hook_task = None  # Another task may get the same name.
        self._finish()

    def _route(self, event: RoomMessageEvent) -> None:
        # A hook may keep what it returns; the body of another event nests what the directory has.
        is_shared = event.name != "message" or self._hook is not None
        if event.name == "message":
            for subscription in self._subscriptions:
                is_shared |= subscription._offer(event.message)
        self.dispatcher.post(partial(self._run_receivers, event, is_shared))

    def _finish(self) -> None:
        with self._condition:
            self._has_ended = True
            subscriptions, self._subscriptions = self._subscriptions, ()
        for subscription in subscriptions:
            subscription._end(self._failure)
        self.dispatcher.finish()

    # --- on the dispatcher --------------------------------------------------------------------------------------------

    def _run_receivers(self, event: RoomMessageEvent, is_shared: bool = True) -> None:
        """Run the receivers of an event, in order, each shielded from the others and with a copy of its own.

        Args:
            is_shared: Whether its body may be somewhere else, too.
        """
        signal = EVENTS[event.name]
        # Copying a large body takes as long as decoding it: a message that has but one receiver is not copied.
        has_one = not (is_shared or signal.has_receivers_for(self._sender)) and self.receivers.count(event) == 1
        for receiver in self.receivers.matching(event):
            try:
                check_result(receiver(event if has_one else event._copied()))
            except TaskExit:
                raise
            except BaseException as error:  # Any kind, such as pytest's failures: it has no caller to go to.
                self._report(event.name, receiver, error)
        if has_one:
            return  # A receiver of the signal that was connected meanwhile waits for the next event.
        signal.send_reporting(
            lambda receiver, error: self._report(event.name, receiver, error),
            self._sender,
            lambda: {"event": event._copied()},
        )

    def _report(self, event: str, receiver: Callable[..., object], error: BaseException) -> None:
        if not isinstance(error, Exception):
            # A runtime that ends its tasks by an exception of its own, as a simulation does, raises it again here.
            self._runtime.sleep(0)
        log_failure(receiver, error)
        if event == "receiver_failed":
            return  # A receiver's failure at this is only logged, or reports would never end.
        message = RoomMessage("receiver_failed", {"event": event, "receiver": name_of(receiver)})
        self._run_receivers(RoomMessageEvent("receiver_failed", message, error=error))

    def _report_dropped(self, count: int) -> None:
        """Report that the receivers, or the hook, were too slow."""
        with suppress(Exception):  # As in `log_failure`.
            logger.warning("%d events were dropped: the receivers are too slow", count)
        self._run_receivers(RoomMessageEvent("messages_dropped", RoomMessage("messages_dropped", {"count": count})))
