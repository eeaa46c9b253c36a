"""Streams between two participants: a writer and a reader at each end.

A stream carries chunks both ways. Its opener gets a `MessageStreamWriter`, whose ``reader`` has what comes back; its
acceptor gets a `MessageStreamReader`, whose ``writer`` is the way back. What the two sides say to each other, flow
control included, is described in ``meshsync.protocol.stream_messages``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, NoReturn, Protocol

from meshsync.connection.deliveries import Delivery
from meshsync.errors import (
    InvalidMessage,
    MeshsyncError,
    ProtocolError,
    ReceiveTimeout,
    SendTimeout,
    StreamCancelled,
    StreamError,
    StreamInterrupted,
    StreamRejected,
    StreamTimeout,
    UsageError,
    WouldDeadlock,
)
from meshsync.messages import Buffer, as_buffer
from meshsync.participants import RemoteParticipant
from meshsync.protocol.flow_control import LEAST_WINDOW, Account, Phase, size_of
from meshsync.protocol.stream_messages import Accept, Cancel, Chunk, Close, Credit, Reject, StreamWord
from meshsync.runtime.deadlines import Timeout
from meshsync.runtime.interfaces import Runtime
from meshsync.streams.channels import Carrier
from meshsync.streams.endpoints import MessageStreamReader, MessageStreamWriter
from meshsync.streams.interfaces import MessageStreamChunk

__all__ = ["Stream", "Table"]

UNACKNOWLEDGED = 256
"""Chunks that may be on their way to the room unacknowledged."""
UNACKNOWLEDGED_SIZE = 8 * 1024 * 1024
"""Bytes likewise; one chunk is let through however large it is."""

ABORT_TIMEOUT = 5.0
"""Longest wait for room in the connection's buffer when a stream is given up, in seconds."""


class Table(Protocol):
    """The streams of one client, as a stream sees them."""

    @property
    def runtime(self) -> Runtime: ...

    def limit(self, timeout: Timeout) -> float | None:
        """Return a time limit in seconds, the default in the place of ``"default"``."""
        ...

    def refuse_to_block(self, what: str) -> None:
        """Raise if the calling task would wait for ever."""
        ...

    def window(self) -> int:
        """Return the window of one more stream, in bytes."""
        ...

    def opened(self, stream: Stream) -> None:
        """Note that a stream was accepted, here or there. Called while nobody can end it."""
        ...

    def tell(self, carrier: Carrier, word: StreamWord, what: str, timeout: float) -> None:
        """Say something for which nobody waits, as far as it can be said."""
        ...

    def ended(self, stream: Stream, reason: str) -> None:
        """Note that a stream has ended, whatever way."""
        ...


class Stream:
    """One stream at this client: what its writer and its reader share.

    The client's reader task calls the methods of the second part, which never wait; programs call the others, through
    the writer and the reader.

    Args:
        header: What the opener said of the stream.
        is_opener: Whether this client opened it.
    """

    def __init__(
        self,
        table: Table,
        carrier: Carrier,
        stream_id: str,
        peer: RemoteParticipant,
        header: Mapping[str, Any],
        *,
        is_opener: bool,
        peer_window: int | None = None,
    ) -> None:
        self.id = stream_id
        self.peer = peer
        self.header = header
        self.is_opener = is_opener
        self.writer = MessageStreamWriter(self)
        self.reader = MessageStreamReader(self)
        self._table = table
        self.carrier = carrier
        self._condition = table.runtime.condition()
        # Most openers read nothing: they get a window of full size when they do.
        self.account = Account(LEAST_WINDOW if is_opener else table.window())
        self._peer_window = peer_window
        self._chunks: deque[tuple[MessageStreamChunk, int]] = deque()
        self._unacknowledged: deque[tuple[Delivery, int]] = deque()
        self._unacknowledged_size = 0
        self.peer_has_left = False
        """Whether the room said so, and its end is still to come."""
        self.is_announced = False
        """Whether programs were told that it is open, so that they are told of its end."""
        self._is_reading = False
        self._failure: MeshsyncError | None = None
        """Why it ended, unless regularly; for the reader after what came, for the writer at once."""
        self._was_cancelled = False
        """Whether the other side gave it up, which its writer hears as a cancellation."""
        self._was_closed_here = False
        """Whether the program closed it, which makes every further use of that end an error of the program's."""
        self._was_left = False
        """Whether the program closed the reader, so that what came is not wanted."""

    @property
    def peer_is_meshsync(self) -> bool:
        """Whether the other side has shown that it knows flow control and cancelling."""
        return self._peer_window is not None or self.account.is_agreed

    def __repr__(self) -> str:
        way = "to" if self.is_opener else "from"
        return f"stream {self.id} {way} {self.peer.name or self.peer.id}"

    # --- what programs do ---------------------------------------------------------------------------------------------

    def wait_answer(self, timeout: float | None) -> bool:
        """Wait until the other side has answered or the stream has ended; return whether either came.

        Raises:
            StreamRejected: If it declined.
            MeshsyncError: If the stream has ended otherwise.
        """
        with self._condition:
            is_answered = self._condition.wait_for(lambda: self.account.phase is not Phase.OFFERED, timeout)
        if self._failure is not None:
            raise _another(self._failure)
        return is_answered

    def accept(self) -> None:
        """Accept it, unless that has happened already.

        Raises:
            UsageError: If this program rejected it, or opened it.
            StreamInterrupted: If its other side is gone.
        """
        with self._condition:
            if self.account.phase is Phase.OPEN:
                return
            if self.account.phase is Phase.ENDED:
                self._raise_ended("accepted")
            if self.is_opener:
                raise UsageError(f"{self!r} was opened by this program: its other side accepts it")
            self.account.open(self._peer_window)
            self.account.is_held = True
            self._table.opened(self)
        window = None if self._peer_window is None else self.account.window
        try:
            self.carrier.send(Accept(self.id, window), f"accepting {self!r}", self._table.limit("default"))
        except MeshsyncError as error:
            self._fail(error)
            raise self._interruption(error) from error
        finally:
            with self._condition:
                self.account.is_held = False
                self._condition.notify_all()

    def reject(self, reason: str) -> None:
        """Reject it.

        Raises:
            UsageError: If it was accepted or rejected before.
        """
        with self._condition:
            if self.is_opener or self.account.phase is not Phase.OFFERED:
                if self.account.phase is Phase.ENDED and not self._was_closed_here:
                    return  # Its other side is gone, and needs no answer.
                how = "was rejected before" if isinstance(self._failure, StreamRejected) else "was accepted before"
                raise UsageError(f"{self!r} cannot be rejected: it {how}")
            self._leave()
            self._finish(StreamRejected(reason))
        self._tell(Reject(self.id, reason), f"rejected: {reason}")

    def write(self, chunk: MessageStreamChunk | Buffer, timeout: Timeout) -> None:
        """Send a chunk; see `MessageStreamWriter.write`."""
        if not isinstance(chunk, MessageStreamChunk):
            chunk = MessageStreamChunk({}, chunk)
        header, data = chunk.header, as_buffer(chunk.data, "chunk")
        if not isinstance(header, Mapping):
            raise InvalidMessage(f"header: {type(header).__qualname__} is not a JSON object; give a dict")
        size = size_of(header, data)
        deadline, left = self.deadline(timeout)
        self._reserve(size, deadline)
        word = Chunk(self.id, dict(header), data)
        try:
            delivery = self.carrier.send(word, f"a chunk of {self!r}", left())
        except SendTimeout as error:
            self.credited(size)
            raise StreamTimeout(str(error)) from error
        except UsageError:
            self.credited(size)
            raise
        except MeshsyncError as error:
            self._fail(error)
            self._raise_failure()
        with self._condition:
            self._unacknowledged.append((delivery, size))
            self._unacknowledged_size += size

    def _reserve(self, size: int, deadline: float | None) -> None:
        """Wait until a chunk may go out, and count it."""
        table, condition, account = self._table, self._condition, self.account
        while True:
            self._settle()
            with condition:
                self._check_writable()
                oldest = self._unacknowledged[0][0] if self._is_window_full(size) else None
                if oldest is None and account.may_send:
                    account.send(size)
                    return
            table.refuse_to_block("writing to a stream")
            left = None if deadline is None else max(0.0, deadline - table.runtime.monotonic())
            if oldest is not None:
                self._wait_for(oldest, left)
                continue
            with condition:
                # What ends the stream ends the wait.
                is_free = condition.wait_for(lambda: account.may_send or account.phase is Phase.ENDED, left)
            if not is_free:
                who = self.peer.name or self.peer.id
                raise StreamTimeout(
                    f"{self!r}: {who} has read nothing of it for {left or 0:.3g} s, and holds what it can"
                )

    def _is_window_full(self, size: int) -> bool:
        waiting = self._unacknowledged
        return bool(waiting) and (
            len(waiting) >= UNACKNOWLEDGED or self._unacknowledged_size + size > UNACKNOWLEDGED_SIZE
        )

    def _settle(self) -> None:
        """Drop what was acknowledged; the first error fails the stream."""
        waiting = self._unacknowledged
        failed = None
        with self._condition:
            while waiting and waiting[0][0].is_done and failed is None:
                delivery, size = waiting.popleft()
                self._unacknowledged_size -= size
                failed = delivery.error
        if failed is not None:
            self._fail(failed)

    def _wait_for(self, delivery: Delivery, timeout: float | None) -> None:
        try:
            delivery.wait(timeout)
        except SendTimeout as error:
            raise StreamTimeout(str(error)) from None
        except MeshsyncError:
            pass  # The next look at what is unacknowledged finds it.

    def flush(self, timeout: Timeout) -> None:
        """Wait for what is unacknowledged; see `MessageStreamWriter.flush`."""
        self._table.refuse_to_block("flushing a stream")
        _, left = self.deadline(timeout)
        with self._condition:
            self._check_writable()
        self._drain(left)
        self._raise_failure()

    def _drain(self, left: Callable[[], float | None]) -> None:
        while True:
            self._settle()
            with self._condition:
                oldest = self._unacknowledged[0][0] if self._unacknowledged else None
            if oldest is None:
                return
            self._wait_for(oldest, left())

    def close_writer(self, timeout: Timeout) -> None:
        """End it regularly; see `MessageStreamWriter.close`."""
        table = self._table
        table.refuse_to_block("closing a stream")
        _, left = self.deadline(timeout)
        with self._condition:
            if self._was_closed_here:
                return
            if self.account.phase is Phase.OFFERED:
                raise UsageError(f"{self!r} is not accepted yet: accept it, or reject it")
        self._drain(left)
        with self._condition:
            if self.account.phase is Phase.ENDED:
                self._raise_failure()
                return
            self._was_closed_here = True
            self._finish(None)
        table.ended(self, "")
        try:
            self.carrier.send(Close(self.id), f"closing {self!r}", left()).wait(left())
        except SendTimeout as error:
            raise StreamTimeout(str(error)) from error
        except MeshsyncError as error:
            raise self._interruption(error) from error

    def abandon(self, reason: str, failure: MeshsyncError | None = None, timeout: float = ABORT_TIMEOUT) -> None:
        """End it irregularly: neither side is to take it for complete. Never raises; once it has ended, does nothing.

        Args:
            failure: What its reader and its writer raise then, if it is not they who ended it.
            timeout: The longest wait for room in the connection's buffer, in seconds.
        """
        with self._condition:
            phase = self.account.phase
            if phase is Phase.ENDED:
                return
            if failure is None:
                self._leave()
                failure = StreamRejected(reason) if phase is Phase.OFFERED and not self.is_opener else None
            self._finish(failure)
        if phase is Phase.OFFERED:
            word: StreamWord = Close(self.id, is_complete=False) if self.is_opener else Reject(self.id, reason)
        else:
            word = self._cancellation(reason)
        self._tell(word, reason, timeout)

    def close_reader(self, reason: str) -> None:
        """Read no more; see `MessageStreamReader.close`."""
        with self._condition:
            self._leave()
        self.abandon(reason)

    def _leave(self) -> None:
        # With the condition held.
        self._was_closed_here = self._was_left = True
        self._chunks.clear()

    def read(self, timeout: float | None) -> MessageStreamChunk | None:
        """Take the next chunk; see `MessageStreamReader.read`."""
        is_mine = False
        try:
            with self._condition:
                if self._is_reading:
                    raise UsageError(f"{self!r} is being read by another task: give the stream to one of them")
                self._is_reading = is_mine = True  # In one go for Ctrl-C, which strikes between calls.
            return self._read(timeout)
        finally:
            if is_mine:
                self._is_reading = False

    def _read(self, timeout: float | None) -> MessageStreamChunk | None:
        account, chunks = self.account, self._chunks
        if account.phase is Phase.OFFERED:
            self.accept()
        # For what was read before: a chunk is done with when the next is asked for.
        with self._condition:
            credit = account.take_credit()
        if credit:
            self._give(credit)
        if not chunks and account.phase is not Phase.ENDED:
            self._table.refuse_to_block("reading a stream")
        with self._condition:
            if not chunks and account.phase is not Phase.ENDED:
                self._condition.wait_for(lambda: bool(chunks) or account.phase is Phase.ENDED, timeout)
            if self._was_left:
                self._raise_ended("read")
            if chunks:
                account.read(chunks[0][1])
                if self.is_opener and account.window == LEAST_WINDOW:
                    account.widen(self._table.window())
                return chunks.popleft()[0]
            if account.phase is Phase.ENDED:
                if self._failure is not None:
                    raise _another(self._failure)
                return None
        raise ReceiveTimeout(f"{self!r}: no chunk came within {timeout or 0:.3g} s")

    def put_back(self, chunks: list[MessageStreamChunk]) -> None:
        """Have chunks read again that were read last. They count no more, being in the program's hands."""
        with self._condition:
            if not self._was_left:
                self._chunks.extendleft((chunk, 0) for chunk in reversed(chunks))

    def _give(self, credit: int) -> None:
        try:
            self.carrier.send(Credit(self.id, credit), f"a credit of {self!r}", self._table.limit("default"))
        except SendTimeout:
            with self._condition:
                self.account.owe(credit)  # It goes with the next one.
        except MeshsyncError:
            pass  # The connection has ended, and the stream with it: its reader will hear.

    # --- what the client's reader task tells --------------------------------------------------------------------------

    def accepted(self, peer_window: int | None, carrier: Carrier | None = None) -> bool:
        """Take the other side's consent, given by another carrier if that is told; return whether it was waited for."""
        with self._condition:
            if self.account.phase is not Phase.OFFERED or not self.is_opener:
                return False
            self.carrier = carrier or self.carrier
            self.account.open(peer_window)
            self._table.opened(self)
            self._condition.notify_all()
        return True

    def end(self, failure: MeshsyncError | None, reason: str = "") -> None:
        """Take the end: regular without a failure. What came before can still be read."""
        with self._condition:
            if self.account.phase is Phase.ENDED:
                return
            self._finish(failure)
        self._table.ended(self, reason)

    def refused(self, failure: MeshsyncError) -> None:
        """Take the other side's refusal, or the room's for it; once it was accepted, this does nothing."""
        if self.is_opener and self.account.phase is Phase.OFFERED:
            self.end(failure, str(failure))

    def cancelled(self, reason: str) -> None:
        """Take the other side's word that it gives up."""
        who = self.peer.name or self.peer.id
        self._was_cancelled |= self.account.phase is not Phase.ENDED
        self.end(StreamInterrupted(f"{who} ended the stream early" + (f": {reason}" if reason else "")), reason)

    def chunk(self, chunk: Chunk) -> None:
        """Take a chunk."""
        size = size_of(chunk.header, chunk.data)
        try:
            with self._condition:
                if self.account.phase is Phase.ENDED:
                    return
                self.account.arrive(size)
                self._chunks.append((MessageStreamChunk(chunk.header, chunk.data), size))
                self._condition.notify_all()
        except ProtocolError as error:
            self._fail(StreamInterrupted(f"{self!r} is given up: {error}"))

    def credited(self, size: int) -> None:
        """Take the other side's word that it has read so much."""
        with self._condition:
            self.account.make_room(size)
            self._condition.notify_all()

    # --- odds and ends ------------------------------------------------------------------------------------------------

    def deadline(self, timeout: Timeout) -> tuple[float | None, Callable[[], float | None]]:
        """Return when a time limit that begins now is over, and what returns how much of it is left, in seconds."""
        limit, now = self._table.limit(timeout), self._table.runtime.monotonic
        deadline = None if limit is None else now() + limit
        return deadline, lambda: None if deadline is None else max(0.0, deadline - now())

    def _fail(self, cause: MeshsyncError) -> None:
        """End it because of an error of this side: of the room, the connection, or the other side's manners."""
        failure = cause if isinstance(cause, StreamError) else self._interruption(cause)
        with self._condition:
            if self.account.phase is Phase.ENDED:
                return
            self._finish(failure)
        if failure.connection_alive:
            self._tell(self._cancellation(str(failure)), str(failure))
        else:
            self._table.ended(self, str(failure))

    def _cancellation(self, reason: str) -> StreamWord:
        return Cancel(self.id, reason) if self.account.is_agreed or self.carrier.can_cancel else Close(self.id)

    def _interruption(self, cause: MeshsyncError) -> StreamInterrupted:
        failure = StreamInterrupted(f"{self!r} is cut off: {cause}", connection_alive=cause.connection_alive)
        failure.__cause__ = cause
        return failure

    def _finish(self, failure: MeshsyncError | None) -> None:
        # With the condition held.
        self.account.move(Phase.ENDED)
        self._failure = failure
        self._condition.notify_all()

    def _tell(self, word: StreamWord, reason: str, timeout: float = ABORT_TIMEOUT) -> None:
        """Say the last word, as far as it can be said."""
        self._table.ended(self, reason)
        self._table.tell(self.carrier, word, f"ending {self!r}", timeout)

    def _check_writable(self) -> None:
        phase = self.account.phase
        if phase is Phase.OFFERED:
            raise UsageError(f"{self!r} is not accepted yet: call accept() before writing back")
        if phase is Phase.ENDED:
            self._raise_ended("written to")

    def _raise_failure(self) -> None:
        """Raise why it ended, if not regularly, as its writer is to hear it."""
        if self._failure is not None and self._was_cancelled:
            raise StreamCancelled(str(self._failure))
        if self._failure is not None:
            raise _another(self._failure)

    def _raise_ended(self, what: str) -> NoReturn:
        if isinstance(self._failure, StreamRejected):
            why = f": {self._failure}" if str(self._failure) else ""
            if what == "read":
                raise WouldDeadlock(f"{self!r} has nothing that could be read: this program rejected it{why}")
            raise UsageError(f"{self!r} cannot be {what}: this program rejected it{why}")
        if self._was_closed_here:
            raise UsageError(f"{self!r} cannot be {what}: this program closed it")
        self._raise_failure()
        raise StreamCancelled(f"{self!r} cannot be {what}: {self.peer.name or self.peer.id} closed it")


def _another(error: MeshsyncError) -> MeshsyncError:
    """Return an error to raise: one that is raised collects tracebacks, and each caller is to get its own."""
    again = copy(error)
    again.__cause__ = error.__cause__  # which `copy` leaves out
    return again
