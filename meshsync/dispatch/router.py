"""The route of events: through a subclass's hook, to subscriptions, to receivers.

All events go one way, in one order, so that none overtakes a message that waits for the hook. Subscriptions
are fed before receivers run and apart from them: a receiver may wait for a message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from meshsync.connection.budget import ByteBudget
from meshsync.connection.failures import CLOSED_HERE, another
from meshsync.connection.forks import Home
from meshsync.connection.inbox import Inbox, InboxClosed
from meshsync.dispatch.dispatcher import Dispatcher
from meshsync.dispatch.gate import Gate
from meshsync.dispatch.hooks import Hook, pass_through
from meshsync.dispatch.interfaces import Fed, Questioning
from meshsync.dispatch.receivers import Receivers, Registration
from meshsync.dispatch.reports import Reports
from meshsync.dispatch.subscriptions import Overflow, Subscription, allow
from meshsync.errors import ClientClosed, InvalidMessage, MeshsyncError, WouldDeadlock
from meshsync.messages import MarkedEvent, RoomMessage, RoomMessageEvent
from meshsync.runtime.deadlines import Limit, own_limit
from meshsync.runtime.interfaces import Runtime, TaskExit
from meshsync.signals import EVENTS, check_result, log_warning, name_of
from meshsync.typed import Codec
from meshsync.values import made_quickly

__all__ = ["Router", "RouterStats"]

UNHOOKED = 10_000
"""The most events that wait for the hook; beyond it the oldest are dropped."""

OWN_PART = 8
"""One part in so many of the client's bytes is for the hook, and another for the receivers: 8 MiB of 64 MiB. A program
that forgets a subscription loses no events by that."""


@dataclass(frozen=True, slots=True)
class RouterStats:
    """Figures of a router, as they are now."""

    subscriptions: int
    """Those that are fed."""
    messages_dropped: int
    """By subscriptions that drop their oldest."""
    subscriptions_failed: int
    """Because too much was unread."""


@made_quickly
@dataclass(frozen=True, slots=True)
class _Due:
    """An event on its way to the receivers, as a job of the dispatcher."""

    run: Callable[[RoomMessageEvent, bool], None]
    event: RoomMessageEvent
    is_shared: bool

    def __call__(self) -> None:
        self.run(self.event, self.is_shared)


@dataclass(frozen=True, slots=True)
class _Unhooked:
    """An event on its way to the hook."""

    event: RoomMessageEvent
    size: int
    is_kept: bool


class Router:
    """Routes events: published on the reader, they reach subscriptions there and receivers on the dispatcher.

    It outlives connections, and so does its dispatcher.

    Args:
        name: For the names of its tasks.
        refuse_to_block: Given the name of a wait, raises where it would never end.
        refuse_in_vain: Given the name of a wait, raises where no message would come.
        budget: Bounds the bytes that wait for the hook, for receivers and in subscriptions; by default its own.
    """

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        refuse_to_block: Callable[[str], None],
        budget: ByteBudget | None = None,
        refuse_in_vain: Callable[[str], None] = allow,
    ) -> None:
        self.receivers: Receivers = Receivers()
        self._budget = budget or ByteBudget(runtime)
        self.dispatcher: Dispatcher = Dispatcher(runtime, name, self._report_dropped, self._budget.share(OWN_PART))
        self.reports: Reports = Reports(
            runtime, name, self.dispatcher.post, self._run_receivers, lambda: self.is_leaving
        )
        self.gate: Gate = Gate(runtime)
        """All calls of the program's code go through it."""
        self.sender: Callable[[], object] = lambda: None
        """Returns the sender that blinker's receivers are given."""
        self.on_less: Callable[[], None] = lambda: None
        """Called when a subscription was closed, and when the receivers of an event have run."""
        self.questioning: Questioning | None = None
        self.is_leaving: bool = False
        """Whether the program has begun to close the client."""
        self._home = Home()
        self._runtime = runtime
        self._refuse = refuse_to_block
        self._refuse_in_vain = refuse_in_vain
        self._hook: Hook | None = None
        self._hook_task: object = None
        self._unhooked: Inbox[_Unhooked] = Inbox(runtime, UNHOOKED, self._budget.share(OWN_PART))
        self._room = runtime.condition()
        """The hook's task waits here until there is room."""
        self._is_freed = False
        self._is_last = False
        """Whether what waits for the hook is all that there will be."""
        self._messages_dropped = self._subscriptions_failed = 0
        self._condition = runtime.condition()
        self._subscriptions: tuple[Fed, ...] = ()
        self._has_ended = False
        self._failure: MeshsyncError = ClientClosed(CLOSED_HERE)
        """The error of subscriptions after the end."""

    def start(self, sender: object, hook: Hook | None) -> None:
        """Begin to route; called before the first event.

        Args:
            sender: The sender that blinker's receivers are given.
            hook: Changes or drops each message, in a task of its own; None for no hook.
        """
        self.sender, self._hook = lambda: sender, hook
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
        follows: Callable[[str], bool] | None = None,
        codec: Codec[Any] | None = None,
    ) -> Subscription[Any]:
        """Return a subscription to the messages that arrive from now on.

        Args:
            limit: The client's.
            follows: Tells of an id whether the sender has it now; None for one that is nobody once it has left.
            codec: Of the model as which messages are read; None for plain ones.

        Raises:
            ValueError: If ``maxsize`` is less than 1, or ``overflow`` is unknown.
        """
        subscription: Subscription[Any] = Subscription(
            self._runtime,
            type=type,
            sender=sender,
            timeout=timeout,
            maxsize=maxsize,
            overflow=overflow,
            refuse_to_block=self.refuse_to_block,
            refuse_in_vain=self._refuse_in_vain,
            limit=limit,
            on_close=self.ignore,
            on_overflow=self._count_overflow,
            on_wrong=lambda message, error: self.reports.post_wrong(message, "a subscription", error),
            share=self._budget.share(),
            follows=follows,
            codec=codec,
        )
        self.feed(subscription)
        return subscription

    def feed(self, fed: Fed) -> None:
        """Offer it the messages from now on, until ``ignore``; end it if there are no more."""
        try:
            with self._condition:
                has_ended = self._has_ended
                if not has_ended:
                    self._subscriptions = (*self._subscriptions, fed)
            if has_ended:
                fed._end(self._failure)
        except BaseException:  # Ctrl-C: no program could read or close it.
            self.ignore(fed)
            raise

    def ignore(self, fed: Fed) -> None:
        """Offer it nothing any more."""
        with self._condition:
            self._subscriptions = tuple(other for other in self._subscriptions if other is not fed)
        self._budget.freed()  # What waits for room need not be for this one any more.
        self.on_less()

    def is_offered(self, message: RoomMessage[Any]) -> bool:
        """Return whether a subscription is for a message."""
        return any(fed._matches(message) for fed in self._subscriptions if isinstance(fed, Subscription))

    def look_again(self) -> None:
        """Have tasks that wait for a message ask again whether one can come."""
        for subscription in self._subscriptions:
            subscription._look_again()

    def stats(self) -> RouterStats:
        """Return the figures of this moment."""
        return RouterStats(len(self._subscriptions), self._messages_dropped, self._subscriptions_failed)

    def refuse_to_block(self, what: str) -> None:
        """Raise where the calling task would wait for a message for ever.

        Raises:
            WouldDeadlock: See above.
        """
        self._refuse(what)
        if self._hook is not None and self._hook_task == self._runtime.current():
            raise WouldDeadlock(f"{what} in the hook that all messages pass through would never end")

    def sender_left(self, id: str) -> None:
        """Note that no message will come from a participant any more, and warn if any subscription waits for one."""
        if any(subscription._misses(id) for subscription in self._subscriptions):
            log_warning("a subscription is for messages of %s alone, which has left: it gets no more", id)

    @property
    def is_awaited(self) -> bool:
        """Whether any event may still reach the program; takes no lock."""
        if self._subscriptions or not self.receivers.is_empty:
            return True
        if self.questioning is not None and self.questioning.is_listening:
            return True
        sender = self.sender()
        return any(signal.has_receivers_for(sender) for signal in EVENTS.values())

    def check_open(self) -> None:
        """Raise if no event will be routed any more; ForkedClientError in a child process."""
        self._home.check()
        if self._has_ended:
            raise another(self._failure)

    @property
    def has_ended(self) -> bool:
        """Whether no event will be routed any more."""
        return self._has_ended

    # --- on the reader, or in the hook's task -------------------------------------------------------------------------

    def publish(self, event: RoomMessageEvent, size: int = 0) -> None:
        """Route an event. Never waits.

        Args:
            size: Bytes that it holds.
        """
        if self._hook is None or self.gate.is_shut:
            self._route(event, size)
        else:
            self.dispatcher.count_dropped(self._unhooked.put_dropping(_Unhooked(event, size, False), size))

    def publish_kept(self, event: RoomMessageEvent, size: int) -> bool:
        """Route an event so that nothing drops it, and return True, if there is room for it. Never waits.

        One task at a time may do that.

        Args:
            size: Bytes that it holds.
        """
        if self.gate.is_shut or self._has_ended or self._is_last:
            return False
        if self._hook is None:
            if has_room := self._has_room(event, size):
                self._route(event, size, is_kept=True)
            return has_room
        if not self._unhooked.has_room(size, is_dropping=True):
            return False
        self.dispatcher.count_dropped(self._unhooked.keep(_Unhooked(event, size, True), size, is_dropping=True))
        return True

    def _count_overflow(self, subscription: Subscription[Any], dropped: int) -> None:
        self._messages_dropped += dropped
        self._subscriptions_failed += not dropped
        if dropped:
            text = "a subscription drops messages: it is not read fast enough"
            self._budget.warn("subscription drops", text)
        else:
            self._budget.warn("subscription failed", "a subscription ended: too much of it was unread")

    def end(self, failure: MeshsyncError) -> None:
        """Route no more events; those on their way still arrive, and then all routes end.

        Args:
            failure: The error that subscriptions raise then.
        """
        self._failure = failure
        self._wait_no_more()
        if self._hook is None:
            self._finish()
        else:
            self._unhooked.close()

    def shut(self) -> None:
        """Begin no call of the program's code from now on, and end all routes.

        Events that have not reached their receivers are dropped and counted. A warning names the calls under way.
        """
        if self.gate.is_shut:
            return
        under_way = self.gate.shut()
        self._wait_no_more()
        unrouted = [unhooked.event for unhooked in self._unhooked.cut()]
        due = [job.event for job in self.dispatcher.cut() if isinstance(job, _Due)]
        dropped = sum(event.name == "message" or self._is_awaited(event) for event in unrouted)
        dropped += sum(map(self._is_awaited, due))
        self.dispatcher.count_dropped(dropped)
        if self._hook is not None:
            self._finish()  # Its task may be in a call that does not return.
        if dropped:
            log_warning("the client was closed before its receivers had run: %d events were dropped", dropped)
        for name in under_way:
            log_warning("the client was closed while %s was still running", name)

    def _is_awaited(self, event: RoomMessageEvent) -> bool:
        """Return whether any receiver is to be called with an event."""
        return self.receivers.count(event) > 0 or EVENTS[event.name].has_receivers_for(self.sender())

    def _run_hook(self, hook: Hook) -> None:
        self._hook_task = self._runtime.current()
        while True:
            try:
                unhooked = self._unhooked.get(None)
            except InboxClosed:
                break
            changed = self._pass_through(hook, unhooked.event)
            if not self.gate.is_here:
                return
            if changed is None:
                if type(unhooked.event) is MarkedEvent and self.questioning is not None:
                    self.questioning.dropped(unhooked.event)
            else:
                if unhooked.is_kept:
                    self._wait_for_room(changed, unhooked.size)
                self._route(changed, unhooked.size, is_kept=unhooked.is_kept)
            del unhooked, changed  # The next may be long in coming.
        self._hook_task = None  # Another task may get the same name.
        self._finish()

    def _pass_through(self, hook: Hook, event: RoomMessageEvent) -> RoomMessageEvent | None:
        """Return an event as the hook leaves it, or None for none."""
        if event.name != "message" or (self.questioning is not None and self.questioning.is_bodiless(event)):
            return event
        return pass_through(hook, event, self.gate, self.reports.post_failure)

    def _has_room(self, event: RoomMessageEvent, size: int) -> bool:
        """Return whether a message could be kept wherever it goes."""
        questioning = self.questioning
        return (
            self.dispatcher.has_room(size)
            and all(subscription._has_room(event.message, size) for subscription in self._subscriptions)
            and (questioning is None or not questioning.is_listening or questioning.has_room(event, size))
        )

    def _wait_for_room(self, event: RoomMessageEvent, size: int) -> None:
        """Wait in the hook's task until a message can be kept: what comes later fills the hook's queue meanwhile."""
        self._budget.listen(self._room_freed)
        try:
            while True:
                if self._is_last:
                    return
                self._is_freed = False
                if self._has_room(event, size):
                    return
                with self._room:
                    self._room.wait_for(lambda: self._is_freed or self._is_last)
        finally:
            self._budget.ignore(self._room_freed)

    def _room_freed(self) -> None:
        with self._room:
            self._is_freed = True
            self._room.notify_all()

    def _wait_no_more(self) -> None:
        with self._room:
            self._is_last = True
            self._room.notify_all()

    def _route(self, event: RoomMessageEvent, size: int, *, is_kept: bool = False) -> None:
        if self.gate.is_shut:
            self.dispatcher.count_dropped(self._is_awaited(event))
            return
        is_message = event.name == "message"
        # A hook may keep what it returns; the body of another event nests what the directory has.
        is_shared = not is_message or self._hook is not None
        if is_message:
            questioning = self.questioning
            if questioning is not None and (questioning.is_listening or type(event) is MarkedEvent):
                is_shared = True  # A handler may have it.
                if questioning.take(event, size, is_kept=is_kept):
                    return
            for subscription in self._subscriptions:
                is_shared |= subscription._offer(event.message, size, is_kept=is_kept)
        if self.dispatcher.is_idle and type(event) is not MarkedEvent and not self._is_awaited(event):
            self.on_less()  # To wake it for nothing costs more than all else that is done for a message.
        else:
            post = self.dispatcher.post_kept if is_kept else self.dispatcher.post
            post(_Due(self._run_receivers, event, is_shared), size)

    def _finish(self) -> None:
        with self._condition:
            self._has_ended = True
        if self.questioning is not None:
            self.questioning.end()
        for subscription in self._subscriptions:
            subscription._end(self._failure)
        with self._condition:
            self._subscriptions = ()  # Last: where Ctrl-C strikes before, the next to come here ends the rest.
        self.dispatcher.finish()

    # --- on the dispatcher --------------------------------------------------------------------------------------------

    def _run_receivers(self, event: RoomMessageEvent, is_shared: bool = True) -> None:
        """Run the receivers of an event, in order, each shielded from the others and with a copy of its own.

        Args:
            is_shared: Whether its body may be somewhere else, too.
        """
        if self.receivers.has_any(event.name) or EVENTS[event.name].receivers:
            try:
                if not self._call_receivers(event, is_shared):
                    self.dispatcher.count_dropped(1)
            finally:
                self.gate.leave()
        if type(event) is MarkedEvent and self.questioning is not None:
            self.questioning.handled(event)
        self.on_less()

    def _call_receivers(self, event: RoomMessageEvent, is_shared: bool) -> bool:
        """Call the receivers of an event until the gate is shut; return whether all were called that are there."""
        signal, sender = EVENTS[event.name], self.sender()
        is_begun = True

        def may_begin(receiver: Callable[..., object]) -> bool:
            nonlocal is_begun
            is_begun = self.gate.enter(receiver)
            return is_begun

        # Copying a large body takes as long as decoding it: a message that has but one receiver is not copied.
        has_one = not (is_shared or signal.has_receivers_for(sender)) and self.receivers.count(event) == 1
        for registration in self.receivers.matching(event):
            receiver = registration.receiver
            if not may_begin(receiver):
                return False
            own: RoomMessageEvent[Any] | None = event
            if registration._codec is not None:
                own = self._decode(event, registration, registration._codec)
            elif not has_one:
                own = event._copied()
            try:
                result = None if own is None else receiver(own)
                check_result(result)
                if isinstance(result, Mapping) and self.questioning is not None:
                    self.questioning.returned(event, receiver)
            except TaskExit:
                raise
            except BaseException as error:  # Any kind, such as pytest's failures: it has no caller to go to.
                self._failed(event, receiver, error)
        if has_one:
            return True  # A receiver of the signal that was connected meanwhile waits for the next event.
        signal.send_reporting(
            lambda receiver, error: self._failed(event, receiver, error),
            sender,
            lambda: {"event": event._copied()},
            may_begin,
        )
        return is_begun

    def _decode(
        self, event: RoomMessageEvent, registration: Registration, codec: Codec[Any]
    ) -> RoomMessageEvent[Any] | None:
        """Return an event with its receiver's model for its body; None if the body is wrong, which is reported."""
        try:
            return event._with(event.message._as(codec))
        except InvalidMessage as error:
            if type(event) is MarkedEvent and self.questioning is not None:
                self.questioning.refused(event, str(error))
            self.reports.wrong(event.message, name_of(registration.receiver), error)
            return None

    def _failed(self, event: RoomMessageEvent, receiver: Callable[..., object], error: BaseException) -> None:
        note: str | None = ""
        if type(event) is MarkedEvent and self.questioning is not None:
            note = self.questioning.failed(event, error)
        if note is not None:
            self.reports.failed(event.name, receiver, error, note)

    def _report_dropped(self, count: int) -> None:
        """Report that the receivers, or the hook, were too slow."""
        self._budget.warn("events dropped", "%d events were dropped: the receivers are too slow", count)
        self._run_receivers(RoomMessageEvent("messages_dropped", RoomMessage("messages_dropped", {"count": count})))
