"""The bytes that a connection has accepted and not yet written, in the order of writing.

Sans-I/O: a writer gets the next bytes, hands them to the network, and reports how many went. Not the business of
this module: which task may write, and locks; its owner calls it under one.

Ctrl-C cannot leave it half changed. Python handles signals only after a call has returned and when a loop jumps back,
so `accept`, `take` and `advance` make all their calls first and then change what belongs together, without any.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TypeVar

from meshsync.protocol.frames import count_started

__all__ = ["LIMIT", "RESERVE", "Batch", "BoundedBytes", "SendBuffer"]

LIMIT = 1024 * 1024
"""The most bytes accepted and unwritten, by default."""

RESERVE = 64 * 1024
"""The bytes beside them for messages that no task waits to send: a few hundred of these."""

_JOIN_BYTES = 64 * 1024
"""Batches are joined up to this size, in bytes, so that many small senders share a system call."""

T = TypeVar("T")
Batch = tuple[bytes, int]
"""Encoded frames of packets, and how many packets."""


class BoundedBytes:
    """The bytes of packets in a buffer: bounded, with a reserve for messages that no task waits to send.

    Credits, rejections and the ends of streams have no caller that could wait, and are small. The reserve is counted by
    itself: one message beyond the limit, which an empty buffer accepts, does not use it up.
    """

    __slots__ = (
        "_accepted",
        "_limit",
        "_reserved",
        "_reserved_size",
        "bytes_buffered",
        "packets_accepted",
        "packets_reserved",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._accepted = 0
        """All bytes so far."""
        self._reserved: deque[tuple[int, int]] = deque()
        """Of each batch in the reserve, the value of ``_accepted`` behind it, and its bytes."""
        self._reserved_size = 0
        self.bytes_buffered: int = 0
        """Bytes of packets, framing included, not handed to the network."""
        self.packets_accepted: int = 0
        """Packets accepted from senders that may wait, written or not."""
        self.packets_reserved: int = 0
        """The others: those that may use the reserve."""

    def has_room(self, size: int, *, is_reserved: bool = False) -> bool:
        """Return whether ``size`` more bytes are accepted: within the limit, or any size when none wait.

        Args:
            is_reserved: Whether the reserve may be used.
        """
        if not self.bytes_buffered or self.bytes_buffered + size <= self._limit:
            return True
        if not is_reserved:
            return False
        written = self._accepted - self.bytes_buffered
        while self._reserved and self._reserved[0][0] <= written:
            reserved = self._reserved[0][1]
            del self._reserved[0]
            self._reserved_size -= reserved
        return self._reserved_size + size <= RESERVE

    def _append(self, queue: deque[T], items: Iterable[T], size: int, packets: int, is_reserved: bool) -> None:
        """Append to the queue what is accepted, and count its bytes and packets; one step to signals."""
        queue += items
        if is_reserved:
            self.packets_reserved += packets
        else:
            self.packets_accepted += packets
        self._accepted += size
        if is_reserved and self.bytes_buffered and self.bytes_buffered + size > self._limit:
            self._reserved += ((self._accepted, size),)
            self._reserved_size += size
        self.bytes_buffered += size


class SendBuffer(BoundedBytes):
    """An ordered, bounded buffer: control frames before data, the close frame behind it.

    The bytes that `take` returns are the *head*: it is offered again until all of it went, so nothing can come in the
    middle of a frame, and a TLS layer that wants a write repeated gets the same bytes. One pong and one ping wait at
    most, the latest.
    """

    __slots__ = (
        "_batches",
        "_bye",
        "_bye_taken",
        "_head",
        "_head_packets",
        "_offset",
        "_packets_done",
        "_ping",
        "_pong",
        "_taken",
        "bye_sent",
        "bytes_sent",
    )

    bytes_buffered: int

    def __init__(self, limit: int = LIMIT) -> None:
        """Begin empty; ``limit`` is in bytes, framing included."""
        super().__init__(limit)
        self._batches: deque[Batch] = deque()
        self._ping: bytes | None = None
        self._pong: bytes | None = None
        self._bye: bytes | None = None
        self._bye_taken = False
        self._head = b""
        self._head_packets = 0
        self._offset = 0
        self._packets_done = 0
        self._taken = 0
        """How many of the first batches are in the head, and only still to be removed."""
        self.bye_sent: bool = False
        """Whether the close frame has gone out whole."""
        self.bytes_sent: int = 0
        """Bytes handed to the network, control frames included."""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to write."""
        return not (
            self._head
            or (self._batches and len(self._batches) > self._taken)
            or self._pong is not None
            or self._ping is not None
            or (self._bye is not None and not self._bye_taken)
        )

    @property
    def bytes_on_way(self) -> int:
        """Bytes that nothing can overtake any more: the rest of what `take` returned."""
        return len(self._head) - self._offset

    def accept(self, batches: Sequence[Batch], size: int, *, is_reserved: bool = False) -> None:
        """Append ``batches`` of ``size`` bytes together; the caller has asked `has_room`."""
        count = batches[0][1] if len(batches) == 1 else sum([packets for _, packets in batches])
        self._append(self._batches, batches, size, count, is_reserved)

    def put_pong(self, frame: bytes) -> None:
        """Answer a ping; a pong still waiting is replaced."""
        self._pong = frame

    def put_ping(self, frame: bytes) -> None:
        """Ask the peer for a sign of life; a ping still waiting is replaced."""
        self._ping = frame

    def put_bye(self, frame: bytes) -> None:
        """Send a close frame once all that was accepted has gone; the first one counts."""
        if self._bye is None:
            self._bye = frame

    def drop_data(self) -> None:
        """Forget the packets of which `take` returned no byte, so that the close frame comes next."""
        self._remove_taken()
        while self._batches:
            size = len(self._batches[0][0])
            del self._batches[0]
            self.bytes_buffered -= size

    def take(self) -> bytes | memoryview:
        """Return the bytes to write next, empty if none: the same again until `advance` notes them gone."""
        if not self._head:
            batches = self._batches
            if len(batches) == 1 and not (self._taken or self._pong or self._ping or self._bye_taken):
                self._head, self._head_packets = batches[0]  # As `_next_head` does, for a message that comes alone.
                del batches[0]
            else:
                self._next_head()
        return memoryview(self._head)[self._offset :] if self._offset else self._head

    def advance(self, size: int) -> None:
        """Note that the first ``size`` bytes of what `take` returned are with the network."""
        length = len(self._head)
        self.bytes_sent += size
        if self._head_packets:
            self.bytes_buffered -= size
        self._offset += size
        if self._offset == length:
            self._packets_done += self._head_packets
            self.bye_sent = self._bye_taken
            self._head, self._head_packets, self._offset = b"", 0, 0

    def packets_started(self) -> int:
        """Return how many of all accepted packets have had a byte handed to the network."""
        if self._head_packets and self._offset:
            return self._packets_done + count_started(self._head, self._offset)
        return self._packets_done

    def packets_offered(self) -> int:
        """Return how many of all accepted packets `take` has returned."""
        return self._packets_done + self._head_packets

    def _next_head(self) -> None:
        self._remove_taken()
        if self._bye_taken:
            # After a close frame nothing may follow (RFC 6455, section 5.5.1).
            self._pong = self._ping = None
        elif self._pong is not None or self._ping is not None:
            self._head = (self._pong or b"") + (self._ping or b"")
            self._pong = self._ping = None
        elif self._batches:
            self._take_batches()
        elif self._bye is not None:
            self._head, self._bye_taken = self._bye, True

    def _take_batches(self) -> None:
        batches = self._batches
        data, packets = batches[0]
        if len(batches) == 1 or len(data) + len(batches[1][0]) > _JOIN_BYTES:
            self._head, self._head_packets = data, packets
            del batches[0]
            return
        parts, size, packets = [], 0, 0
        for data, more in batches:
            if size + len(data) > _JOIN_BYTES:
                break
            parts.append(data)
            size += len(data)
            packets += more
        joined, count = b"".join(parts), len(parts)
        self._head, self._head_packets, self._taken = joined, packets, count
        self._remove_taken()

    def _remove_taken(self) -> None:
        """Remove the batches that are in the head; also what an interrupted call left of them."""
        while self._taken:
            del self._batches[0]
            self._taken -= 1
