"""Messages as an iterator: all from the moment of subscribing, in order, whatever else receives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar

from meshsync.connection.budget import Share
from meshsync.connection.forks import Home
from meshsync.connection.inbox import Inbox, InboxClosed, LookAgain
from meshsync.errors import ClientClosed, InvalidMessage, MeshsyncError, ReceiveTimeout, UsageError
from meshsync.hints import Hinted
from meshsync.messages import Body_co, RoomMessage
from meshsync.runtime.deadlines import Deadline, Limit, Timeout, check_timeout, own_limit
from meshsync.runtime.interfaces import Runtime
from meshsync.typed import Codec

__all__ = ["Feed", "Overflow", "Subscription", "allow"]

Overflow = Literal["error", "drop_oldest"]

T = TypeVar("T")
S = TypeVar("S", bound="Feed[Any]")


def allow(what: str) -> None:
    """Refuse no wait."""


class Feed(Hinted, Generic[T]):
    """A subscription to items of any kind.

    Iterate over it, or call ``get``; use it as a context manager, or ``close`` it. Several tasks may read one: each
    item goes to one of them.

    Args:
        maxsize: How many items may wait to be read.
        what: The name of an item in errors.
        call: The call that subscribes again, for errors.
        share: Bounds the bytes that wait to be read, together with those of other queues.
        limit: The client's, for calls of ``get``.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        timeout: float | None,
        maxsize: int,
        what: str,
        call: str,
        refuse_to_block: Callable[[str], None],
        refuse_in_vain: Callable[[str], None],
        share: Share | None = None,
        limit: Limit = own_limit,
    ) -> None:
        if maxsize < 1:
            raise ValueError(f"maxsize is at least 1, not {maxsize}")
        check_timeout(timeout)
        self.timeout = timeout
        self._home = Home()
        self._runtime = runtime
        self._inbox: Inbox[T] = Inbox(runtime, maxsize, share)
        self._what = what
        self._call = call
        self._refuse_to_block = refuse_to_block
        self._refuse_in_vain = refuse_in_vain
        self._maker: object = runtime.current()
        self._limit = limit

    @property
    def pending(self) -> int:
        """How many items wait to be read."""
        return len(self._inbox)

    def get(self, timeout: Timeout = "default") -> T:
        """Return the next item.

        Args:
            timeout: The longest wait in seconds; None waits for ever, 0 polls; by default the subscription's own, or
                else the room's ``default_timeout``.
        Raises:
            ReceiveTimeout: If no item came in time.
            ConnectionLost: If the connection was lost and all that came before has been read.
            ClientClosed: If the client was closed, likewise.
            UsageError: If the subscription was closed, or more were unread at some time than ``maxsize`` or than the
                bytes that a client holds, likewise.
            ForkedClientError: In a child process.
        """
        limit = self._limit(timeout, None)
        if self.timeout is not None and isinstance(timeout, str):
            limit = check_timeout(self.timeout)
        try:
            return self._take(limit)
        except InboxClosed:
            raise UsageError(f"this subscription was closed: subscribe again with {self._call}") from None

    def _take(self, timeout: float | None) -> T:
        self._home.check()
        deadline: Deadline | None = None
        while True:
            looks = self._inbox.looks  # Before it looks whether anything can come.
            if not len(self._inbox):
                self._refuse_to_block(f"waiting for a {self._what}")
                if self._maker == self._runtime.current():
                    # Another task may read it before this one enables messaging; the one that made it will not, then.
                    self._refuse_in_vain(f"waiting for a {self._what}")
                deadline = deadline or Deadline(self._runtime, timeout)
            try:
                return self._inbox.get(timeout if deadline is None else deadline.left(), looks)
            except LookAgain:
                continue
            except InboxClosed as closed:
                if closed.cause is None:
                    raise
                # A copy: a raised error keeps its callers' variables alive, and several tasks may read here.
                raise copy(closed.cause) from None
            except TimeoutError:
                raise ReceiveTimeout(f"no {self._what} came within {timeout or 0:.3g} s") from None

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        try:
            return self._take(check_timeout(self.timeout))
        except (ReceiveTimeout, ClientClosed, InboxClosed):
            raise StopIteration from None

    def close(self) -> None:
        """Receive no more items; unread ones can still be read. In a child process this does nothing."""
        if self._home.is_here:
            self._inbox.close()

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look_again(self) -> None:
        """Have tasks that wait ask again whether anything can come: the client calls this."""
        self._inbox.look_again()

    def _end(self, cause: MeshsyncError) -> None:
        """Close it because the client ended: the client calls this."""
        self._inbox.close(cause)


class Subscription(Feed[RoomMessage[Body_co]], Generic[Body_co]):
    """Matching messages that arrive once it is made. Made by `MessagingClient.messages`.

    Attributes:
        timeout: The longest wait for the next message, in seconds; None waits for ever.
        dropped: How many messages were dropped because they were not read in time (``overflow="drop_oldest"``).
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        type: str | None,
        sender: str | None,
        timeout: float | None,
        maxsize: int,
        overflow: Overflow,
        refuse_to_block: Callable[[str], None],
        refuse_in_vain: Callable[[str], None] = allow,
        limit: Limit = own_limit,
        on_close: Callable[[Subscription[Any]], None],
        on_overflow: Callable[[Subscription[Any], int], None] = lambda subscription, dropped: None,
        on_wrong: Callable[[RoomMessage, InvalidMessage], None] = lambda message, error: None,
        share: Share | None = None,
        follows: Callable[[str], bool] | None = None,
        codec: Codec[Any] | None = None,
    ) -> None:
        if overflow not in ("error", "drop_oldest"):
            raise ValueError(f"overflow is 'error' or 'drop_oldest', not {overflow!r}")
        what = ("message" if type is None else f"message of type {type!r}") + (f" from {sender}" if sender else "")
        super().__init__(
            runtime,
            timeout=timeout,
            maxsize=maxsize,
            what=what,
            call="messages()",
            refuse_to_block=refuse_to_block,
            refuse_in_vain=refuse_in_vain,
            share=share,
            limit=limit,
        )
        self.dropped: int = 0
        self._type = type
        self._sender = sender
        self._follows = follows
        """Whether the sender now has that id; None for one that is nobody once it has left."""
        self._maxsize = maxsize
        self._drops_oldest = overflow == "drop_oldest"
        self._on_close = on_close
        self._on_overflow = on_overflow
        """Called with how many messages were dropped; 0 if this ended the subscription."""
        self._on_wrong = on_wrong
        self._codec = codec
        """Of the model as which messages are read; None for plain ones."""

    def close(self) -> None:
        """Receive no more items; unread ones can still be read. In a child process this does nothing."""
        if self._home.is_here:
            self._on_close(self)
            super().close()

    def _take(self, timeout: float | None) -> RoomMessage[Body_co]:
        # Here and not when it is offered: the client's reader does not wait for it, and unread messages are shared.
        codec = self._codec
        if codec is None:
            return super()._take(timeout)._copied()
        deadline, wrong = Deadline(self._runtime, timeout), ""
        while True:
            try:
                message: RoomMessage[Any] = super()._take(deadline.left())
            except ReceiveTimeout as error:
                raise (ReceiveTimeout(f"{error}; one that came was left out: {wrong}") if wrong else error) from None
            try:
                return message._as(codec)
            except InvalidMessage as error:
                wrong = str(error)
                self._on_wrong(message, error)

    def _matches(self, message: RoomMessage[Any]) -> bool:
        if self._type is not None and message.type != self._type:
            return False
        sender = message.from_participant_id
        return self._sender in (None, sender) or (self._follows is not None and self._follows(sender))

    def _has_room(self, message: RoomMessage[Any], size: int) -> bool:
        """Return whether a message does not match, or could be kept: the client asks this."""
        return not self._matches(message) or self._inbox.has_room(size, is_dropping=self._drops_oldest)

    def _misses(self, sender: str) -> bool:
        """Return whether it is for one sender alone, who has left for good: the client asks this."""
        return self._sender == sender and self._follows is None

    def _offer(self, message: RoomMessage[Any], size: int = 0, *, is_kept: bool = False) -> bool:
        """Add a message if it matches, and return whether it does: the client calls this. Never waits.

        Args:
            size: The bytes that it counts.
            is_kept: Whether it is not to be dropped, so that there is room for it.
        """
        if not self._matches(message):
            return False
        if is_kept or self._drops_oldest:
            keep = self._inbox.keep
            dropped = (
                keep(message, size, is_dropping=self._drops_oldest)
                if is_kept
                else self._inbox.put_dropping(message, size)
            )
            self.dropped += dropped
            if dropped:
                self._on_overflow(self, dropped)
        elif self._inbox.put(message, size) is False:
            self._on_close(self)
            self._inbox.close(self._overflow())
            self._on_overflow(self, 0)
        return True

    def _overflow(self) -> UsageError:
        unread = self.pending
        if unread >= self._maxsize:
            what, way = "", "raise maxsize, "
        else:
            what, way = ", and all that a client holds unread was full,", ""
        return UsageError(
            f"{unread} messages of this subscription were unread{what} when another came: read faster, {way}or "
            "subscribe with overflow='drop_oldest'"
        )
