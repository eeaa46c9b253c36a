"""Streams that peers offer: the part of the program that gets each, and its decision.

An offer goes to the first subscription that has room, else to the accept callback, in a task of its own; else it is
rejected. An offer that is undecided after 30 s is rejected too.

A program rejects by ``reader.reject`` or by raising `StreamRejected`, and its opener gets the text. Any other exception
is a fault of the program: its own people get the traceback, and the opener a fixed text.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from meshsync.connection.inbox import InboxClosed
from meshsync.dispatch.subscriptions import Feed
from meshsync.errors import MeshsyncError, StreamRejected, UsageError
from meshsync.protocol.bridging import NO_HANDLER
from meshsync.protocol.stream_messages import Reject
from meshsync.reasons import safe_text
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import TaskExit
from meshsync.signals import check_result, log_warning, name_of
from meshsync.streams.channels import RecipientChannel, StreamConnection
from meshsync.streams.endpoints import Endpoints, MessageStreamReader, has_ended
from meshsync.streams.interfaces import StreamReader
from meshsync.streams.life import StreamHost
from meshsync.streams.registry import StreamRegistry, header_size
from meshsync.streams.stream import ClientStream

__all__ = ["Accepter", "StreamOffers", "StreamSubscription"]

logger: logging.Logger = logging.getLogger("meshsync")

Accepter = Callable[[StreamReader], object]
"""A program's callback, given to `MessagingClient.enable`, for streams that peers open."""

OfferHook = Callable[[StreamReader], StreamReader]
"""Changes each offered reader before the program sees it; raising rejects the stream."""

Report = Callable[[Callable[..., object], BaseException], None]
"""Called with a callback or hook and the exception that it should not have raised."""

CALLBACKS = 64
"""Accept callbacks that run at once; one more stream is rejected."""

DECISION_TIME = 30.0
"""Seconds after which a stream that the program neither accepted nor rejected is rejected."""

FAULT = "the recipient's program failed"
"""The reason that a peer reads if the program raised anything but `StreamRejected`; the details are in its log."""


class StreamOffers:
    """Has the program decide on the streams that peers open.

    Args:
        report: Called with an unexpected exception of an accept callback or the hook: logs it with its traceback, and
            passes it to the receivers of ``receiver_failed``.
        refuse_to_receive: Given the name of a wait, raises where no stream would come.
    """

    def __init__(
        self,
        connection: StreamConnection,
        registry: StreamRegistry,
        *,
        hook: OfferHook,
        report: Report,
        refuse_to_receive: Callable[[str], None],
    ) -> None:
        self.accepter: Accepter | None = None
        """Called with each stream that a peer opens, unless a subscription gets it; None rejects them."""
        self._connection = connection
        self._registry = registry
        self._hook = hook
        self._report = report
        self._refuse_to_receive = refuse_to_receive
        self._condition = connection.runtime.condition()
        self._callbacks = 0
        self._subscriptions: tuple[StreamSubscription, ...] = ()
        self._has_ended = False

    @property
    def callbacks(self) -> int:
        """How many accept callbacks are running."""
        return self._callbacks

    @property
    def is_awaited(self) -> bool:
        """Whether a callback or a subscription is there for offers, or a callback is running; takes no lock."""
        return self.accepter is not None or bool(self._subscriptions) or self._callbacks > 0

    # --- subscriptions ------------------------------------------------------------------------------------------------

    def subscribe(self, timeout: float | None, maxsize: int) -> StreamSubscription:
        """Return a subscription to the streams that are offered from now on."""
        subscription = StreamSubscription(
            self._registry, timeout, maxsize, self._hook, self._report, self._unsubscribe, self._refuse_to_receive
        )
        try:
            with self._condition:
                has_ended = self._has_ended
                if not has_ended:
                    self._subscriptions = (*self._subscriptions, subscription)
            if has_ended:
                subscription._end(self._connection.failure())
        except BaseException:  # Ctrl-C: it would get all streams, and no program could read or close it.
            self._unsubscribe(subscription)
            raise
        return subscription

    def look_again(self) -> None:
        """Have tasks that wait for a stream ask again whether one can come."""
        for subscription in self._subscriptions:
            subscription._look_again()

    def _unsubscribe(self, subscription: StreamSubscription) -> None:
        with self._condition:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)

    def end(self) -> None:
        """End all subscriptions, also those that are made from now on: the client has ended."""
        with self._condition:
            self._has_ended = True
            subscriptions, self._subscriptions = self._subscriptions, ()
        for subscription in subscriptions:
            subscription._end(self._connection.failure())

    # --- on the client's reader task ----------------------------------------------------------------------------------

    def offer(self, stream: ClientStream) -> None:
        """Give an offered stream to the program, or reject it. Never waits."""
        reason = self._hand_out(stream)
        if reason is not None:
            self._refuse(stream, reason)

    def _hand_out(self, stream: ClientStream) -> str | None:
        """Give an offered stream to the program; return the reason if that is impossible."""
        accepter, key = self.accepter, stream.identity.key
        if not stream.share.take(header_size(stream.life), is_owed=False):
            self._registry.refused()
            return "the recipient holds all that it can"
        # In the registry before any task can decide on it; the alarm first, since a decision cancels it.
        self.await_decision(stream)
        if isinstance(stream.channel, RecipientChannel):
            self._registry.calls.add(key, stream.channel)
        try:
            ends = self._registry.add(stream)
        except MeshsyncError:
            return "the recipient is leaving"
        if any(subscription._offer(ends.reader) for subscription in self._subscriptions):
            return None
        if accepter is None:
            return NO_HANDLER
        if self._callbacks >= CALLBACKS:
            return "too many streams"
        with self._condition:  # First, since the callback may be over before `spawn` returns.
            self._callbacks += 1
        try:
            self._connection.spawn(_Deciding(accepter, self._run, ends), f"stream {stream.identity.stream_id}")
        except RuntimeError as error:  # The interpreter is shutting down, or the system has no threads left.
            with self._condition:
                self._callbacks -= 1
            return safe_text(error)
        return None

    def await_decision(self, stream: ClientStream) -> None:
        """Reject a stream on this connection if the program has not decided in time."""
        self._connection.set_alarm(stream.identity.key, DECISION_TIME, lambda: _expire(stream))

    def _refuse(self, stream: ClientStream, reason: str) -> None:
        """Reject a stream without asking the program. Never waits."""
        identity, resumption = stream.identity, stream.resumption
        if resumption is not None:  # If it is offered again, it is refused again.
            resumption.core.is_forgotten, stream.resumption = True, None
        stream.share.clear()
        self._registry.remove(identity.key)
        rejection = Reject(identity.stream_id, reason, is_final=reason == NO_HANDLER)
        self._registry.send_unawaited(stream.channel, rejection, f"rejecting a stream of {identity.peer.id}")

    # --- on a task of its own -----------------------------------------------------------------------------------------

    def _run(self, accepter: Accepter, ends: Endpoints) -> None:
        """Let the program decide on a stream."""
        called: Callable[..., object] = self._hook
        try:
            reader = self._hook(ends.reader)
            check_result(reader)
            called = accepter
            answer = accepter(reader)
            check_result(answer)
            if answer is False and not ends.stream.life.was_open:
                text = "the accept callback %s returned False, which rejects nothing: raise StreamRejected(reason)"
                log_warning(text, name_of(accepter))
            with suppress(MeshsyncError):  # Its peer is gone, or the program has rejected it.
                ends.stream.accept()
        except TaskExit:
            raise
        except BaseException as error:  # No exception has a caller to go to.
            self._decline(called, ends.stream, error)
        finally:
            if ends.stream.home.is_here:  # It may have forked, and return in the child.
                with self._condition:
                    self._callbacks -= 1

    def _decline(self, called: Callable[..., object], stream: ClientStream, error: BaseException) -> None:
        reason = _reason(error)
        try:
            stream.reject(reason)
        except UsageError:
            stream.abandon(reason)
        # After acceptance it is too late to reject.
        if isinstance(error, StreamRejected) and not stream.life.was_open:
            _log_rejection(stream, called, error)
        else:
            self._report(called, error)


@dataclass(frozen=True, slots=True)
class _Deciding:
    """A call of the accept callback; `name_of` finds the callback in it, as in a `functools.partial`."""

    func: Accepter
    run: Callable[[Accepter, Endpoints], None]
    ends: Endpoints

    def __call__(self) -> None:
        self.run(self.func, self.ends)


def _reason(error: BaseException) -> str:
    """Return the text for the peer of a stream for which the program raised."""
    return safe_text(error) if isinstance(error, StreamRejected) else FAULT


def _log_rejection(stream: object, called: Callable[..., object], error: StreamRejected) -> None:
    with suppress(Exception):  # As in `log_failure`.
        logger.info("%r was rejected by %s: %s", stream, name_of(called), safe_text(error))


def _expire(stream: ClientStream) -> None:
    with suppress(UsageError):  # It was decided just now.
        stream.reject(f"not decided upon within {DECISION_TIME:g} s")


class StreamSubscription(Feed[StreamReader]):
    """Streams that peers open, from when it was made. Made by `MessagingClient.streams`.

    Each is accepted by ``accept`` or the first read. One that no task reads is rejected after 30 s, and at ``close``.
    """

    def __init__(
        self,
        host: StreamHost,
        timeout: float | None,
        maxsize: int,
        hook: OfferHook,
        report: Report,
        on_close: Callable[[StreamSubscription], None],
        refuse_in_vain: Callable[[str], None],
    ) -> None:
        super().__init__(
            host.runtime,
            timeout=timeout,
            maxsize=maxsize,
            what="stream",
            call="streams()",
            refuse_to_block=host.refuse_to_block,
            refuse_in_vain=refuse_in_vain,
            limit=host.limit,
        )
        self._hook = hook
        self._report = report
        self._on_close = on_close

    def _offer(self, reader: MessageStreamReader) -> bool:
        """Queue a stream if there is room; return whether there was. Called by `StreamOffers`; never waits."""
        is_queued = self._inbox.put(reader)
        if is_queued is None:  # Closed by the program, just now. Else its `close` finds it, unless a task has read it.
            _reject(reader)
        return is_queued is not False

    def _take(self, timeout: float | None) -> StreamReader:
        deadline = Deadline(self._runtime, timeout)
        while True:
            reader = super()._take(deadline.left())
            if has_ended(reader):  # While it waited in the inbox.
                continue
            try:
                changed = self._hook(reader)
                check_result(changed)
                return changed
            except Exception as error:  # It is no end of this subscription.
                with suppress(MeshsyncError):
                    reader.reject(_reason(error))
                if isinstance(error, StreamRejected):
                    _log_rejection(reader, self._hook, error)
                else:
                    self._report(self._hook, error)

    def close(self) -> None:
        """End the subscription; streams that no task has read are rejected. In a child process this does nothing."""
        if not self._home.is_here:
            return
        self._on_close(self)
        super().close()
        while self.pending:
            # Another task may read the rest, or close it too.
            with suppress(TimeoutError, InboxClosed):
                _reject(self._inbox.get(0))


def _reject(reader: StreamReader) -> None:
    with suppress(MeshsyncError):
        reader.reject("the program takes no more streams")
