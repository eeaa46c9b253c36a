"""One stream that outlives losses, as its client carries it: what it has to send, in order, on the connection of now.

What is to be sent, and when, is decided in ``meshsync.protocol.resuming``. Here several tasks use that: programs that
write, read and close, and the client's reader. A message is bound to the connection and the participant for which it
was made: on the next connection its peer has stated its position again.

Chunks go at a `Pace`, so that little is on its way when a connection is lost, and all else ahead of those that wait.
One task at a time sends. A program's waits for room as long as its call may; the client's reader and calls that do not
wait leave the rest to a task that lives only as long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import attrgetter

from meshsync.connection.budget import Share
from meshsync.connection.connection import Connection
from meshsync.connection.deliveries import Delivery, Receipt
from meshsync.errors import ConnectionLost, MeshsyncError, ParticipantNotFound, SendTimeout
from meshsync.participants import RemoteParticipant
from meshsync.protocol.flow_control import LEAST_WINDOW
from meshsync.protocol.operations import Send
from meshsync.protocol.pacing import CONFIRM_AT_LAST, Confirming, Pace, confirm_at_last, flight_of
from meshsync.protocol.resuming import Link, Progress, ResumableStream, ResumeEvent, TakenIn
from meshsync.protocol.session import Encoded
from meshsync.protocol.stream_messages import (
    Cancel,
    Close,
    Open,
    Reject,
    StreamChunk,
    StreamChunks,
    StreamMessage,
    encode_stream_message,
)
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Condition, Runtime

__all__ = ["RESUME_FOR", "Line", "Resumption"]

RESUME_FOR = 60.0
"""Seconds that a stream outlives a loss, by default."""


@dataclass(frozen=True, slots=True)
class Line:
    """A connection on which this client takes part in messaging, and its participant id there."""

    connection: Connection
    own_id: str


_CHUNKS = (StreamChunk, StreamChunks)
_MESSAGE = attrgetter("message")
"""No function of Python: a generator that is left half way would drop a Ctrl-C that strikes in its end."""


class _Letter:
    """A message that waits to be sent, or for the room's acknowledgement."""

    __slots__ = ("connection", "encoded", "is_counted", "losses", "message", "receipt", "to")

    def __init__(self, message: StreamMessage, connection: Connection, to: str, losses: int) -> None:
        self.message = message
        self.connection = connection
        self.to = to
        self.losses = losses
        """Those of the stream when it was made: after one more it is pointless."""
        self.encoded: Encoded | None = None
        """Its form on the wire, if that is known."""
        self.is_counted = False
        self.receipt = Receipt()


class Resumption:
    """What makes one stream outlive losses.

    Args:
        condition: The stream's; methods whose text says so are called with it held.
        share: The part of the client's budget that counts what is held.
        claim: Who the peer claims to be, and will claim to be again.
        spawn: Runs code in a task of its own, given that and a name.
    """

    def __init__(
        self,
        core: ResumableStream,
        condition: Condition,
        runtime: Runtime,
        share: Share,
        claim: object,
        spawn: Callable[[Callable[[], None], str], None],
    ) -> None:
        self.core = core
        self.claim = claim
        self.peer: RemoteParticipant | None = None
        """The peer as it is now; None as long as it is the one of the offer."""
        self.line: Line | None = None
        """Where it met its peer last."""
        self.on_events: Callable[[Sequence[ResumeEvent]], None] | None = None
        """Called with what becomes of the stream, without the condition."""
        self.on_lost: Callable[[], None] | None = None
        """Called on the reader when the room knows the peer no more."""
        self.on_failed: Callable[[MeshsyncError], None] | None = None
        """Called, as ``on_events``, with an error that ends the stream: of the room, or a breach of the protocol."""
        self.failure: MeshsyncError | None = None
        """That error. The next call of the program applies it, since a room that refuses one message may refuse more.
        """
        self._condition = condition
        self._runtime = runtime
        self._share = share
        self._spawn = spawn
        self._waiting: deque[_Letter] = deque()
        """All but chunks and what has to stay behind them."""
        self._chunks: deque[_Letter] = deque()
        self._pace = Pace()
        self._confirmed = 0
        """Chunks that the peer is known to have."""
        self._confirming = Confirming()
        self._losses = 0
        self._sender: object = None
        """Stands for the call that sends, or the task that goes on for it; None if nothing is being sent."""
        self._unacknowledged = 0
        self._awaiting = 0
        """Tasks in ``await_sender``."""
        self._notified: object = None
        """What waiting tasks were notified of last."""

    # --- with the condition held --------------------------------------------------------------------------------------

    @property
    def is_sent(self) -> bool:
        """Whether the room has all that was written, and its reader is there."""
        is_idle = not (self._waiting or self._chunks or self.core.out or self._unacknowledged)
        return self.core.link is Link.UP and is_idle and self._sender is None

    @property
    def part_size(self) -> int:
        """Bytes of data that go in one message, whatever a chunk has. Needs no condition."""
        size, line = self._pace.part_size, self.line
        return size if line is None else min(size, line.connection.session.data_limit)

    def has_room(self, size: int) -> bool:
        """Count a chunk in the budget before it is held; return whether there is room for it."""
        # With little held, no confirmation is on its way that would end the wait.
        return self._share.take(size) or self.core.held < LEAST_WINDOW

    def write(self, parts: Sequence[tuple[StreamChunk, int]], encoded: Encoded | None) -> None:
        """Hold a chunk in parts, each with the bytes that it counts, and have them sent.

        Args:
            encoded: The form on the wire of a chunk in one part, for the peer of now, if that is known.
        """
        self.core.write(*parts[0], parts[1:])
        self.collect()
        if len(parts) == 1 and self._chunks and self._chunks[-1].message is parts[0][0]:
            self._chunks[-1].encoded = encoded

    def end(self, message: StreamMessage | None, reason: str) -> None:
        """End the stream with this side's last message, or for a reason that its peer may know; again does nothing."""
        now = self._runtime.monotonic()
        match message:
            case _ if self.core.progress is Progress.ENDED:
                pass
            case Reject(reason=text):
                self.core.reject(text, now)
            case Cancel(reason=text, has_left=has_left):
                self.core.cancel(text, now, has_left=has_left)
            case _:
                self.core.cancel(reason, now)
        self._chunks = deque(letter for letter in self._chunks if not isinstance(letter.message, _CHUNKS))
        self.collect()

    def take_in(self, events: Sequence[ResumeEvent]) -> None:
        """Confirm chunks that came, now and then, so that the peer need not hold them and sends more."""
        size = sum([flight_of(event.chunk) for event in events if isinstance(event, TakenIn)])
        if size:
            at_last = confirm_at_last(size) if self.core.joins else CONFIRM_AT_LAST
            if self._confirming.is_due(size, self._runtime.monotonic(), at_last):
                self.core.confirm()
        self.collect()

    @property
    def is_confirmation_put_off(self) -> bool:
        """Whether ``confirm`` is to be called in `CONFIRM_PAUSE`, since the last confirmation has just gone."""
        return self._confirming.is_put_off

    def confirm(self) -> None:
        """Confirm what was put off, unless it was confirmed meanwhile."""
        if self._confirming.is_put_off and self._confirming.is_due(0, self._runtime.monotonic()):
            self.core.confirm()
            self.collect()

    def collect(self) -> None:
        """Have the stream's messages wait to be sent; to be called after each change of it."""
        core, line = self.core, self.line
        self._pace.is_joining = core.joins
        if core.losses != self._losses:
            self._losses = core.losses
            self._waiting.clear()
            self._chunks.clear()
            self._unacknowledged = 0
            self._confirming.lost()
            self._pace.lost()
        elif core.confirmed > self._confirmed:
            self._pace.confirmed(core.confirmed - self._confirmed, self._runtime.monotonic())
        self._confirmed = core.confirmed
        if core.out:
            letters = [] if line is None else self._letters(line)
            chunks = [letter for letter in letters if isinstance(letter.message, StreamChunk | Close)]
            others = [letter for letter in letters if not isinstance(letter.message, StreamChunk | Close)]
            # No call in between: Ctrl-C finds them here or there.
            self._chunks += chunks
            self._waiting += others
            core.out = []
        surplus = self._share.held - core.held
        if surplus > 0:
            self._share.give_back(surplus)
        self._notify()

    def _notify(self) -> None:
        """Notify waiting tasks if there is anything new to them: each that wakes in vain costs as much as a message."""
        state = (self.news, self.core.progress, self.is_sent, self._sender is None if self._awaiting else None)
        if state != self._notified:
            self._condition.notify_all()
            self._notified = state  # Behind it: where Ctrl-C strikes in between, they are notified once more.

    def _letters(self, line: Line) -> list[_Letter]:
        core = self.core
        return [_Letter(message, line.connection, core.peer_id, core.losses) for message in core.out]

    @property
    def news(self) -> object:
        """Return a value that changes with what waiting tasks have to look at."""
        return self.core.losses, self.core.link, self.failure

    # --- time ---------------------------------------------------------------------------------------------------------

    def left(self) -> float | None:
        """Return the seconds until the stream ends unless it is resumed; None if it is not interrupted."""
        at = self.core.deadline
        return None if at is None or self.core.ending is not None else max(0.0, at - self._runtime.monotonic())

    def expire(self) -> None:
        """End the stream if its time is over, or it has failed."""
        if self.failure is not None and self.core.ending is None and self.on_failed is not None:
            self.on_failed(self.failure)
        if self.left() != 0:
            return
        with self._condition:
            events = self.core.expire(self._runtime.monotonic())
            self.collect()
        self.report(events)

    def report(self, events: Sequence[ResumeEvent]) -> None:
        """Report what becomes of the stream."""
        handle = self.on_events
        if events and handle is not None:
            handle(events)

    # --- sending ------------------------------------------------------------------------------------------------------

    def pump(self, deadline: Callable[[], Deadline] | None = None) -> None:
        """Send what waits, unless another task does; without a deadline, as far as that needs no wait. Never raises.

        Args:
            deadline: Is called where there is anything to send, for when that has to be over.
        """
        sender = object()
        try:
            with self._condition:
                if self.core.out:  # Ctrl-C has struck in the call that wrote it.
                    self.collect()
                if self._sender is not None or self._next() is None:
                    return
                self._sender = sender
            self._send_all(Deadline(self._runtime, 0) if deadline is None else deadline())
        finally:
            if self._sender is sender:  # It is not over in time, or Ctrl-C has struck.
                self._hand_over()

    def await_sender(self, deadline: Deadline) -> None:
        """Wait until no other task has anything to send, so that what this one could not send itself is on its way."""
        with self._condition:
            self._awaiting += 1
            try:
                self._condition.wait_for(lambda: self._sender is None, deadline.left())
            finally:
                self._awaiting -= 1

    def _next(self) -> _Letter | None:
        """Return what is to be sent now, if there is anything. With the condition held."""
        for queue in (self._waiting, self._chunks):
            while queue and queue[0].receipt.is_sent:
                queue.popleft()
        if self._waiting:
            return self._waiting[0]
        if not self._chunks:
            return None
        letter, may_go = self._chunks[0], True
        if isinstance(letter.message, StreamChunk):
            # One that was tried before is counted, and must not wait for itself to be confirmed.
            may_go = letter.is_counted or self._pace.may_send(flight_of(letter.message))
            if may_go and self.core.joins and not letter.is_counted:
                letter = self._join(letter)
        elif isinstance(letter.message, Close) and letter.message.is_complete:
            # A room may refuse one chunk and pass on those behind it: its peer would take the rest for the whole.
            may_go = letter.is_counted or (not self._unacknowledged and self.failure is None)
        return letter if may_go else None

    def _join(self, first: _Letter) -> _Letter:
        """Put the chunks that may go in one message with the first into one, and return that."""
        if isinstance(first.message, StreamChunk) and first.message.is_partial:
            return self._grow(first)
        chunks = self._pace.join(map(_MESSAGE, self._chunks), self.part_size)
        if len(chunks) < 2:
            return first
        message = StreamChunks(self.core.stream_id, chunks)
        joined = _Letter(message, first.connection, first.to, first.losses)
        # In one step, so that Ctrl-C finds them joined, or not.
        self._chunks = deque((joined, *islice(self._chunks, len(chunks), None)))
        return joined

    def _grow(self, first: _Letter) -> _Letter:
        """Put the parts of a chunk that may go in one message with the first into one, and return that.

        They were cut when nothing was known of the way, or less than now.
        """
        core, letters = self.core, self._chunks
        parts = self._pace.gather(map(_MESSAGE, letters), self.part_size)
        if len(parts) < 2 or core.out:  # What is not collected yet is held, too.
            return first
        data = b"".join([part.data for part in parts])
        message = StreamChunk(core.stream_id, parts[0].header, data, is_partial=parts[-1].is_partial)
        grown = _Letter(message, first.connection, first.to, first.losses)
        rest = list(islice(letters, len(parts), None))
        behind = sum([len(letter.message.chunks) for letter in rest if isinstance(letter.message, _CHUNKS)])
        held = list(core.chunks)
        end = len(held) - behind
        begin = end - len(parts)
        size = sum([size for _, size in held[begin:end]])
        chunks, letters = deque((*held[:begin], (message, size), *held[end:])), deque((grown, *rest))
        position = core.position - len(parts) + 1
        # No call from here on: Ctrl-C finds them as one in both places, or apart.
        core.chunks, core.position, self._chunks = chunks, position, letters
        return grown

    def _hand_over(self) -> None:
        # A task that is sending, and may not wait.
        try:
            self._spawn(self._send_rest, f"resumed stream {self.core.stream_id}")
        except RuntimeError:  # No task can be started: the next call that sends goes on.
            self._sender = None

    def _send_rest(self) -> None:
        self._send_all(Deadline(self._runtime, None))

    def _send_all(self, deadline: Deadline) -> None:
        """Send what waits. If that is not over in time, the sender stays what it is."""
        while True:
            with self._condition:
                letter = self._next()
                if letter is None:
                    self._sender = None
                    self._notify()
                    return
                self._count(letter)
            try:
                self._send(letter, deadline)
            except SendTimeout:
                return
            except MeshsyncError:  # The connection is gone, or going: what waits goes on the next one.
                letter.receipt.is_sent = True

    def _count(self, letter: _Letter) -> None:
        # Before it is sent, since the confirmation may come before the call returns; once, also if it is tried again.
        if letter.is_counted:
            return
        letter.is_counted = True
        self._unacknowledged += 1
        if isinstance(letter.message, _CHUNKS):
            is_last, now = len(self._chunks) == 1, self._runtime.monotonic()
            for chunk in letter.message.chunks:
                self._pace.sent(flight_of(chunk), now, is_last=is_last)

    def _send(self, letter: _Letter, deadline: Deadline) -> None:
        message, connection = letter.message, letter.connection
        what = f"a message of stream {self.core.stream_id}"
        type, body = encode_stream_message(message)
        done = partial(self._done, letter)
        if isinstance(message, StreamChunk | StreamChunks | Open):
            data = b"" if isinstance(message, Open) else message.data
            request = Send(letter.to, type, body, data)
            encoded = letter.encoded or connection.session.encode(request)
            delivery = Delivery(what, self._runtime, connection.refuse_to_block, done)
            connection.submit(delivery, request, encoded, deadline, receipt=letter.receipt)
            return
        request = Send(letter.to, type, body, b"")
        try:
            connection.request(request, what, 0, done, letter.receipt, is_reserved=True)
        except SendTimeout:
            connection.request(request, what, deadline.left(), done, letter.receipt)

    def _done(self, letter: _Letter, error: MeshsyncError | None) -> None:
        """Apply the room's answer to a message. On the reader."""
        with self._condition:
            if letter.losses != self.core.losses:
                return
            self._unacknowledged -= 1
            is_gone = isinstance(error, ParticipantNotFound) and not _is_first_offer(letter.message)
            if error is not None and not (is_gone or isinstance(error, ConnectionLost)):
                self.failure = error
            is_close_due = bool(self._chunks) and not self._unacknowledged
            self._notify()
        if is_gone and self.on_lost is not None:
            self.on_lost()
        if is_close_due:
            self.pump()


def _is_first_offer(message: StreamMessage) -> bool:
    """Return whether its recipient must have been there: the program has just named it."""
    return isinstance(message, Open) and message.resume is not None and message.resume.number == 1
