"""Streams that peers offer: the part of the program that gets each, and its decision.

An offer goes to the first subscription that has room, else to the accept callback, in a task of its own; else it is
rejected. An offer that is undecided after 30 s is rejected too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from meshsync.connection.inbox import InboxClosed
from meshsync.dispatch.subscriptions import Feed
from meshsync.errors import MeshsyncError, UsageError
from meshsync.protocol.bridging import NO_HANDLER
from meshsync.protocol.stream_messages import Reject
from meshsync.reasons import describe_error, safe_text
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import TaskExit
from meshsync.signals import name_of
from meshsync.streams.channels import RecipientChannel, StreamConnection
from meshsync.streams.endpoints import Endpoints, MessageStreamReader, has_ended
from meshsync.streams.interfaces import StreamReader
from meshsync.streams.life import StreamHost
from meshsync.streams.registry import StreamRegistry
from meshsync.streams.stream import ClientStream

__all__ = ["Accepter", "StreamOffers", "StreamSubscription"]

logger = logging.getLogger("meshsync")

Accepter = Callable[[StreamReader], object]
"""A program's callback, given to `MessagingClient.enable`, for streams that peers open."""

OfferHook = Callable[[StreamReader], StreamReader]
"""Changes each offered reader before the program sees it; raising rejects the stream."""

CALLBACKS = 64
"""Accept callbacks that run at once; one more stream is rejected."""

DECISION_TIME = 30.0
"""Seconds after which a stream that the program neither accepted nor rejected is rejected."""


class StreamOffers:
    """Has the program decide on the streams that peers open.

    Args:
        report: Called with an exception of an accept callback, for receivers of ``receiver_failed``.
    """

    def __init__(
        self,
        connection: StreamConnection,
        registry: StreamRegistry,
        *,
        hook: OfferHook,
        report: Callable[[Accepter, BaseException], None],
    ) -> None:
        self.accepter: Accepter | None = None
        """Called with each stream that a peer opens, unless a subscription gets it; None rejects them."""
        self._connection = connection
        self._registry = registry
        self._hook = hook
        self._report = report
        self._condition = connection.runtime.condition()
        self._callbacks = 0
        self._subscriptions: tuple[StreamSubscription, ...] = ()
        self._has_ended = False

    @property
    def callbacks(self) -> int:
        """How many accept callbacks are running."""
        return self._callbacks

    # --- subscriptions ------------------------------------------------------------------------------------------------

    def subscribe(self, timeout: float | None, maxsize: int) -> StreamSubscription:
        """Return a subscription to the streams that are offered from now on."""
        subscription = StreamSubscription(self._registry, timeout, maxsize, self._hook, self._unsubscribe)
        with self._condition:
            has_ended = self._has_ended
            if not has_ended:
                self._subscriptions = (*self._subscriptions, subscription)
        if has_ended:
            subscription._end(self._connection.failure())
        return subscription

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
        # In the registry before any task can decide on it; the alarm first, since a decision cancels it.
        self._connection.set_alarm(key, DECISION_TIME, lambda: _expire(stream))
        if isinstance(stream.channel, RecipientChannel):
            self._registry.calls.add(key, stream.channel)
        ends = self._registry.add(stream)
        if any(subscription._offer(ends.reader) for subscription in self._subscriptions):
            return None
        if accepter is None:
            return NO_HANDLER
        if self._callbacks >= CALLBACKS:
            return "too many streams"
        try:
            self._connection.spawn(lambda: self._run(accepter, ends), f"stream {stream.identity.stream_id}")
        except RuntimeError as error:  # The interpreter is shutting down, or the system has no threads left.
            return safe_text(error)
        with self._condition:
            self._callbacks += 1
        return None

    def _refuse(self, stream: ClientStream, reason: str) -> None:
        """Reject a stream without asking the program. Never waits."""
        identity = stream.identity
        self._registry.remove(identity.key)
        rejection = Reject(identity.stream_id, reason, is_final=reason == NO_HANDLER)
        self._registry.send_unawaited(stream.channel, rejection, f"rejecting a stream of {identity.peer.id}", 0)

    # --- on a task of its own -----------------------------------------------------------------------------------------

    def _run(self, accepter: Accepter, ends: Endpoints) -> None:
        """Let the program decide on a stream."""
        try:
            accepter(self._hook(ends.reader))
            with suppress(MeshsyncError):  # Its peer is gone, or the program has rejected it.
                ends.stream.accept()
        except TaskExit:
            raise
        except BaseException as error:  # No exception has a caller to go to.
            self._decline(accepter, ends.stream, error)
        finally:
            with self._condition:
                self._callbacks -= 1

    def _decline(self, accepter: Accepter, stream: ClientStream, error: BaseException) -> None:
        # Raising is a way to reject; after acceptance, or instead of it, it is a failure.
        try:
            stream.reject(safe_text(error))
        except UsageError:
            stream.abandon(describe_error(error))
        if stream.life.was_open or not isinstance(error, Exception):
            self._report(accepter, error)
        else:
            with suppress(Exception):  # As in `log_failure`.
                logger.info("%r was rejected, since %s raised %s", stream, name_of(accepter), describe_error(error))


def _expire(stream: ClientStream) -> None:
    with suppress(UsageError):  # It was decided just now.
        stream.reject(f"not decided upon within {DECISION_TIME:g} s")


class StreamSubscription(Feed[StreamReader]):
    """Streams that peers open, from when it was made. Made by `MessagingClient.streams`; see `Feed`.

    Each is accepted by ``accept`` or the first read. One that no task reads is rejected after 30 s, and at ``close``.
    """

    def __init__(
        self,
        host: StreamHost,
        timeout: float | None,
        maxsize: int,
        hook: OfferHook,
        on_close: Callable[[StreamSubscription], None],
    ) -> None:
        super().__init__(
            host.runtime,
            timeout=timeout,
            maxsize=maxsize,
            what="stream",
            call="streams()",
            refuse_to_block=host.refuse_to_block,
        )
        self._runtime = host.runtime
        self._hook = hook
        self._on_close = on_close
        self._is_closed = False

    def _offer(self, reader: MessageStreamReader) -> bool:
        """Queue a stream if there is room; return whether there was. Called by `StreamOffers`; never waits."""
        if not self._inbox.put(reader):
            return False
        if self._is_closed:  # By the program, just now: its `close` may have missed this one.
            _reject(reader)
        return True

    def _take(self, timeout: float | None) -> StreamReader:
        deadline = Deadline(self._runtime, timeout)
        while True:
            reader = super()._take(deadline.left())
            if has_ended(reader):  # While it waited in the inbox.
                continue
            try:
                return self._hook(reader)
            except Exception as error:  # It is one opener's fault, and not the end of this subscription.
                with suppress(MeshsyncError):
                    reader.reject(safe_text(error))
                with suppress(Exception):  # As in `log_failure`.
                    logger.info("%r was rejected by %s: %s", reader, name_of(self._hook), safe_text(error))

    def close(self) -> None:
        """End the subscription; streams that no task has read are rejected."""
        self._on_close(self)
        self._is_closed = True
        super().close()
        while self.pending:
            # Another task may read the rest, or close it too.
            with suppress(TimeoutError, InboxClosed):
                _reject(self._inbox.get(0))


def _reject(reader: StreamReader) -> None:
    with suppress(MeshsyncError):
        reader.reject("the program takes no more streams")
