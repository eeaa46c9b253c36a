"""The direction of a stream that outlives losses from this program to its peer.

Its chunks are held until the peer's client has taken them in, whichever connections that needs. So what a write has to
wait for is room at the peer, and in this client's budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from meshsync.errors import StreamTimeout, UsageError
from meshsync.messages import Buffer
from meshsync.protocol.envelopes import copy_json
from meshsync.protocol.flow_control import Charge, size_of
from meshsync.protocol.operations import Send
from meshsync.protocol.resuming import Link, Progress
from meshsync.protocol.session import Encoded
from meshsync.protocol.stream_messages import StreamChunk, encode_stream_message
from meshsync.runtime.deadlines import Deadline, Timeout
from meshsync.runtime.interfaces import Runtime
from meshsync.streams.interfaces import MessageStreamChunk
from meshsync.streams.life import EndKind, Phase
from meshsync.streams.outgoing import TIMEOUT, Outgoing
from meshsync.streams.resuming import Resumption
from meshsync.streams.stream import ClientStream

__all__ = ["ResumableOutgoing"]

BUDGET_RETRY = 0.25
"""Seconds after which a writer that waits for the budget looks again; what others give back notifies no stream."""


class ResumableOutgoing(Outgoing):
    """The chunks of one stream that go to its peer, over one connection after another."""

    __slots__ = ("_resumption",)

    sent: int

    def __init__(self, stream: ClientStream, resumption: Resumption) -> None:
        super().__init__(stream)
        self._resumption = resumption

    def write(self, chunk: MessageStreamChunk | Buffer, timeout: Timeout) -> None:
        """Hold a chunk, and send it; see `MessageStreamWriter.write`."""
        stream, resumption = self._stream, self._resumption
        message = self._message(chunk)
        if type(message.data) is not bytes:
            # Its program may change a buffer before the chunk is sent for the last time; and a header, below.
            message = StreamChunk(message.stream_id, message.header, bytes(message.data))
        to, part_size, encoded = resumption.core.peer_id, resumption.part_size, None
        is_alone, is_joined = len(message.data) <= part_size, resumption.core.joins
        if message.header or not (is_alone and is_joined):  # Else it is sound.
            request = Send(to, *encode_stream_message(message), message.data)
            if is_alone and not is_joined:
                encoded = stream.host.encode(request)
            else:
                stream.host.check(request)  # What goes out in its place, a part or several chunks, is encoded then.
        if message.header:
            message = StreamChunk(message.stream_id, copy_json(message.header), message.data)
        parts = _split(message, part_size)
        charge = Charge(parts[0][1] if len(parts) == 1 else sum([size for _, size in parts]))
        patience = self._patience(timeout)
        try:
            while True:
                if self._hold(parts, charge, encoded, to):
                    break
                stream.host.refuse_to_block("writing to a stream")
                self._await_room(patience)
            resumption.pump(patience.deadline)
        except BaseException:  # Ctrl-C, or an error.
            resumption.pump()  # What it finds held is sent, without a wait.
            raise

    def _hold(self, parts: Sequence[tuple[StreamChunk, int]], charge: Charge, encoded: Encoded | None, to: str) -> bool:
        """Hold a chunk if there is room for it; return whether there was.

        Args:
            encoded: The form on the wire of a chunk in one part, for the participant ``to``.
        """
        stream, resumption = self._stream, self._resumption
        resumption.expire()
        with stream.life.condition:
            self._check_writable()
            if not self._may_write() or not resumption.has_room(charge.size):
                return False
            before = resumption.core.position
            try:
                stream.account.send(charge)
                resumption.write(parts, encoded if to == resumption.core.peer_id else None)
            finally:
                # Ctrl-C finds it held, and then it is sent and counted without a call, or not held.
                if resumption.core.position == before:
                    stream.account.refund(charge)
                else:
                    self.sent += 1
            return True

    def _await_room(self, patience: _Patience) -> None:
        """Wait until a chunk may be held, or the stream is over."""
        stream, life = self._stream, self._stream.life
        with life.condition:
            is_full = self._may_write()
        if is_full:
            stream.wait(lambda: life.phase.is_over, patience.deadline().cap(BUDGET_RETRY))
            if patience.is_over:
                raise StreamTimeout(f"{stream!r}: this client holds all the bytes that it may")
        elif not self._wait(lambda: self._may_write() or life.phase.is_over or bool(self._closing), patience):
            peer, limit = stream.identity.peer_name, patience.limit or 0
            if self._resumption.left() is not None:
                raise StreamTimeout(f"{stream!r}: interrupted, and not resumed within {limit:.3g} s")
            raise StreamTimeout(f"{stream!r}: {peer} has read nothing of it for {limit:.3g} s, and holds what it can")

    def _may_write(self) -> bool:
        return self._may_send() and self._resumption.core.progress is Progress.OPEN

    def flush(self, timeout: Timeout) -> None:
        """Wait until the room has acknowledged all; see `MessageStreamWriter.flush`."""
        stream, life = self._stream, self._stream.life
        stream.host.refuse_to_block("flushing a stream")
        patience = self._patience(timeout)
        with life.condition:
            self._check_writable()
        self._resumption.pump(patience.deadline)
        if not self._wait(lambda: self._resumption.is_sent or life.phase.is_over, patience):
            raise StreamTimeout(f"{stream!r}: not all of it is acknowledged within {patience.limit or 0:.3g} s")
        self._resumption.expire()  # The room may have answered that it refuses it.
        self._raise_failure()

    def close(self, timeout: Timeout) -> None:
        """End the stream regularly, and wait until its peer's client has all of it; see `MessageStreamWriter.close`."""
        stream, life, resumption = self._stream, self._stream.life, self._resumption
        stream.host.refuse_to_block("closing a stream")
        patience, token = self._patience(timeout), object()
        try:
            with life.condition:
                if life.end is not None and life.end.is_here:
                    return
                if life.phase is Phase.OFFERED:
                    raise UsageError(f"{stream!r} is not accepted yet: accept it, or reject it")
                self._closing.add(token)
                life.condition.notify_all()
            self._wait(lambda: life.phase is not Phase.ACCEPTING, patience)
            with life.condition:
                if resumption.core.progress is Progress.OPEN and not life.phase.is_over:
                    resumption.core.close()
                    resumption.collect()
            resumption.pump(patience.deadline)
            if not self._wait(lambda: life.phase.is_over, patience):
                peer, limit = stream.identity.peer_name, patience.limit or 0
                raise StreamTimeout(f"{stream!r}: {peer} has not confirmed within {limit:.3g} s that it has all of it")
        finally:
            self._closing.discard(token)
        if life.end is not None and life.end.kind is not EndKind.CLOSED_HERE:
            self._raise_failure()

    def _check_writable(self) -> None:
        super()._check_writable()
        if self._closing or self._resumption.core.progress is Progress.CLOSING:
            raise UsageError(f"{self._stream!r} cannot be written to: this program is closing it")

    # --- waiting ------------------------------------------------------------------------------------------------------

    def _patience(self, timeout: Timeout) -> _Patience:
        limit = self._stream.host.limit(timeout, math.inf)
        is_default = limit == math.inf
        return _Patience(self._stream.runtime, self._resumption, TIMEOUT if is_default else limit, is_default)

    def _wait(self, is_over: Callable[[], bool], patience: _Patience) -> bool:
        """Wait until ``is_over()``, called with the condition held; return whether it was in time."""
        resumption = self._resumption
        while True:
            link, left = resumption.core.link, patience.left()
            if self._stream.wait(partial(_is_over_or_other, is_over, resumption, link), left) and is_over():
                return True
            if patience.is_over:
                return False


def _split(message: StreamChunk, size: int) -> list[tuple[StreamChunk, int]]:
    """Return the parts of ``size`` bytes in which a chunk is sent, each with the bytes that it counts."""
    id, header = message.stream_id, message.header
    data = memoryview(message.data)  # Of bytes, which do not change: no part is copied, and all are held as one.
    rest = range(size, len(data), size)
    first = StreamChunk(id, header, data[:size], is_partial=bool(rest)) if rest else message
    parts = [(first, size_of(header, first.data))]
    for begin in rest:
        part = StreamChunk(id, {}, data[begin : begin + size], is_partial=begin + size < len(data))
        parts.append((part, len(part.data)))
    return parts


def _is_over_or_other(is_over: Callable[[], bool], resumption: Resumption, link: Link) -> bool:
    """Return whether a wait is over, or its time limit may be another one."""
    return is_over() or resumption.core.link is not link


class _Patience:
    """The time limit of a call. By default no time passes while the stream is interrupted, which has a limit itself."""

    def __init__(self, runtime: Runtime, resumption: Resumption, limit: float | None, is_default: bool) -> None:
        self.limit = limit
        """Seconds."""
        self._runtime = runtime
        self._resumption = resumption
        self._is_default = is_default
        self._deadline: Deadline | None = Deadline(runtime, limit)

    def deadline(self) -> Deadline:
        """Return the deadline as it is now."""
        if self._is_default and self._resumption.left() is not None:
            self._deadline = None
            return Deadline(self._runtime, None)
        if self._deadline is None:
            self._deadline = Deadline(self._runtime, self.limit)
        return self._deadline

    def left(self) -> float | None:
        """Return the seconds that are left as it is now; None for no end."""
        return self.deadline().left()

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self.deadline().is_over
