"""How many bytes of a stream may be on their way: as many as its way holds, and hardly more. Sans-I/O.

What is on its way when a connection is lost is sent again. A connection would accept far more than its network carries,
so a stream that outlives losses keeps its own count, from its writer to the peer's client and back: the rate at which
chunks are confirmed, times the shortest time in which one was.

Source: the model of BBR (Cardwell et al., 2016, "BBR: Congestion-Based Congestion Control", ACM Queue 14(5)): the
highest rate of late and the shortest time, measured in turns, since a full queue hides the one and an empty way the
other. Its gains are chosen here: a stream needs no more than its share, and what queues is sent again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from meshsync.protocol.envelopes import JsonObject, encode_object
from meshsync.protocol.flow_control import CHUNK_OVERHEAD
from meshsync.protocol.stream_messages import MOST_JOINED, StreamChunk, StreamMessage

__all__ = [
    "CONFIRM_AT_LAST",
    "CONFIRM_EVERY",
    "CONFIRM_PAUSE",
    "LEAST_FLIGHT",
    "Confirming",
    "Pace",
    "confirm_at_last",
    "flight_of",
]

CONFIRM_EVERY = 64 * 1024
"""Bytes after which the reader's client confirms what it has taken in, unless it has just done so."""
CONFIRM_PAUSE = 0.002
"""Seconds from one confirmation to the next where more than 32 MB/s come: each costs as much as a chunk of 64 KiB."""
CONFIRM_AT_LAST = 128 * 1024
"""Bytes after which it confirms all the same. With half of `LEAST_FLIGHT` a writer always has the other half."""
LEAST_FLIGHT = 256 * 1024
"""Bytes that may always be on their way."""

PART_SIZE = 64 * 1024
"""Bytes of data that go in one message, whatever a chunk has: a message that a loss cuts is sent again as a whole, and
each way of a room holds one."""
LARGEST_PART = 1024 * 1024
"""Bytes likewise, where they take no longer than `PART_TIME`: each message costs what 128 KiB of data do besides.

Source: measured over loopback, in CPU of all three sides for each MiB of chunks that large: a quarter less than with
256 KiB.
"""
LARGEST_JOINED = 256 * 1024
"""Bytes of data of several chunks that go in one message.

Source: measured over loopback with chunks of 64 KiB: 1 MiB costs a fifth more, since it fits no processor's cache.
"""
PART_TIME = 0.01
"""Seconds that a part of more than `PART_SIZE` may take at the rate of late."""

JOINED_IN_FLIGHT = 6
"""Messages that may be on their way between clients that join chunks: what the way carries in 60 ms, at most 6 MiB.
With half of them a writer always has the others.

Source: measured over loopback, in CPU for each chunk: 4 take 5% more, 8 take 2% less.
"""
_OVERHEAD_OF_A_FEW = 16 * CHUNK_OVERHEAD
"""Bytes that a message counts on its way beside its data, if its chunks are not small."""
_MOST_HEADERS = 16 * 1024
"""Bytes of the headers in one message, as JSON. A room refuses what is much work to read."""
_DEEPEST_HEADER = 50
"""Levels of JSON in one of them: half of what a message may have, since it stands deeper there than by itself."""

RATES = 10
"""Round trips whose highest rate counts."""
TIMES = 10.0
"""Seconds for which the shortest time counts; up to twice as many."""
STARTING_GAIN = 2.0
"""As long as the rate grows.

Source: measured in simulations of 16 MiB, with 1.5 and with this: 8.4 and 3.1 s where the delay is lognormal with a
median of 40 ms and a sigma of 0.5, 15.6 and 6.5 s where it is uniform from 10 to 200 ms. A loss sends more again only
where one comes every 2.4 MiB: 0.015 of all.
"""
GROWTH = 1.25
"""Growth of the rate in one round trip that shows that there may be more."""
PATIENCE = 1
"""Round trips without growth after which the way counts as full."""
PROBING_GAIN = 1.1
"""In one round trip of every `PROBE_EVERY`: whether there is more by now."""
DRAINING_GAIN = 0.75
"""In the round trip after that. What has queued for long would else count as what the way holds, and stay for ever."""
PROBE_EVERY = 8


class Confirming:
    """When the reader's client confirms what it has taken in."""

    __slots__ = ("_at", "_unconfirmed")

    def __init__(self) -> None:
        self._unconfirmed = 0
        self._at: float | None = None
        """When it confirmed last."""

    def is_due(self, size: int, now: float, at_last: int = CONFIRM_AT_LAST) -> bool:
        """Count bytes that were taken in, and return whether all are to be confirmed now.

        Args:
            at_last: Bytes after which they are, however early.
        """
        unconfirmed = self._unconfirmed + size
        is_early = self._at is not None and now - self._at < CONFIRM_PAUSE
        if unconfirmed < (at_last if is_early else CONFIRM_EVERY):
            self._unconfirmed = unconfirmed
            return False
        self._unconfirmed, self._at = 0, now
        return True

    @property
    def is_put_off(self) -> bool:
        """Whether a confirmation is due when the pause is over, if no other comes before."""
        return self._unconfirmed >= CONFIRM_EVERY

    def lost(self) -> None:
        """Count nothing any more: the peer learns by itself what was taken in."""
        self._unconfirmed = 0


def flight_of(chunk: StreamChunk) -> int:
    """Return how many bytes a chunk counts on its way; both sides have to count alike."""
    return len(chunk.data) + CHUNK_OVERHEAD


def confirm_at_last(size: int) -> int:
    """Return after how many bytes a reader confirms all the same that gets several chunks in one message.

    Args:
        size: Bytes of the message that came, of which a writer has at least `JOINED_IN_FLIGHT` on their way.
    """
    return max(CONFIRM_AT_LAST, size * JOINED_IN_FLIGHT // 2)


def _weight(header: JsonObject) -> int:
    """Return the bytes of a header as JSON; too many for one that is deep."""
    text = encode_object(header, "header")
    return len(text) if text.count(b"{") + text.count(b"[") <= _DEEPEST_HEADER else _MOST_HEADERS + 1


@dataclass(slots=True)
class _Flight:
    """A chunk on its way."""

    size: int
    sent_at: float
    confirmed: int
    """Bytes of the stream that were confirmed when it was sent."""
    is_waited_for: bool
    """Whether there was more to be sent than might be: else its rate is that of the program."""


class Pace:
    """The bytes on their way of one direction of one stream. Not safe to use from two tasks at once."""

    def __init__(self) -> None:
        self.in_flight: int = 0
        """Bytes sent and not confirmed."""
        self.limit: float = LEAST_FLIGHT
        """Bytes that may be."""
        self.part_size: int = PART_SIZE
        """Bytes of data that go in one message."""
        self.is_joining: bool = False
        """Whether several chunks may go in one message."""
        self._is_cutting = False
        """Whether parts of a chunk went last, and not several chunks: they may be larger together."""
        self._flights: deque[_Flight] = deque()
        self._confirmed = 0
        self._round_ends = 0
        """The bytes confirmed at which the present round trip is over."""
        self._rounds = 0
        self._rates: deque[float] = deque([0.0], RATES)
        """Highest rates of the last round trips, in bytes per second, the present one last."""
        self._is_starting = True
        self._best = 0.0
        """The highest rate when it last grew."""
        self._rounds_without_growth = 0
        self._times: tuple[float | None, float | None] = (None, None)
        """The shortest times of the present period, and of the one before, in seconds."""
        self._period_begins = 0.0

    def may_send(self, size: int) -> bool:
        """Return whether another chunk may be sent."""
        # What the reader has not confirmed for being too little must not keep anything from being sent.
        return self.in_flight <= CONFIRM_AT_LAST or self.in_flight + size <= self.limit

    def join(self, waiting: Iterable[StreamMessage], part_size: int) -> tuple[StreamChunk, ...]:
        """Return the chunks that go in one message now, of those that wait, from the first on.

        Args:
            part_size: Bytes of data that may go in one.
        """
        chunks: list[StreamChunk] = []
        data_size = header_size = flight = 0
        most = min(part_size, LARGEST_JOINED)
        self._is_cutting = False
        for message in islice(waiting, MOST_JOINED):
            if not isinstance(message, StreamChunk) or message.is_partial:
                break
            data_size += len(message.data)
            flight += flight_of(message)
            if data_size > most or self.in_flight + flight > self.limit:
                break
            if message.header:
                header_size += _weight(message.header)
                if header_size > _MOST_HEADERS:
                    break
            chunks.append(message)
        return tuple(chunks)

    def gather(self, waiting: Iterable[StreamMessage], part_size: int) -> list[StreamChunk]:
        """Return the parts of a chunk that may go as one now, of those that wait, from the first on; see `join`."""
        self._is_cutting = True
        parts: list[StreamChunk] = []
        size = 0
        for message in waiting:
            if not isinstance(message, StreamChunk):
                break
            size += len(message.data)
            if size > part_size or self.in_flight + size + CHUNK_OVERHEAD > self.limit:
                break
            parts.append(message)
            if not message.is_partial:
                break
        return parts

    def sent(self, size: int, now: float, *, is_last: bool) -> None:
        """Count a chunk that is sent.

        Args:
            is_last: Whether there is nothing more to be sent.
        """
        flight = _Flight(size, now, self._confirmed, not is_last)
        # No call from here on: Ctrl-C finds it counted, or not.
        self._flights += (flight,)
        self.in_flight += size

    def confirmed(self, count: int, now: float) -> None:
        """Count chunks on their way no more, from the first: they were taken in. More than there are do no harm."""
        latest = None
        for _ in range(min(count, len(self._flights))):
            latest = self._flights.popleft()
            self.in_flight -= latest.size
            self._confirmed += latest.size
        if latest is not None and now > latest.sent_at:
            self._measure(latest, now)

    def lost(self) -> None:
        """Count nothing any more: all of it is sent again, or was taken in."""
        self._flights.clear()
        self.in_flight, self._round_ends = 0, self._confirmed

    def _measure(self, flight: _Flight, now: float) -> None:
        time = now - flight.sent_at
        rate = (self._confirmed - flight.confirmed) / time
        if now - self._period_begins > TIMES:
            self._times, self._period_begins = (None, self._times[0]), now
        present, before = self._times
        self._times = (time if present is None else min(present, time), before)
        if flight.is_waited_for or rate > max(self._rates):
            self._rates[-1] = max(self._rates[-1], rate)
        if flight.confirmed >= self._round_ends:
            self._end_round(is_full=flight.is_waited_for)
        shortest = min(known for known in self._times if known is not None)
        highest = max(self._rates)
        self.limit = max(LEAST_FLIGHT, self._gain * highest * shortest + max(flight.size, CONFIRM_EVERY))
        self.part_size = max(PART_SIZE, min(int(highest * PART_TIME), LARGEST_PART))
        if self.is_joining:
            message_size = self.part_size if self._is_cutting else min(self.part_size, max(LARGEST_JOINED, flight.size))
            self.limit = max(self.limit, JOINED_IN_FLIGHT * (message_size + _OVERHEAD_OF_A_FEW))

    def _end_round(self, *, is_full: bool) -> None:
        self._round_ends = self._confirmed + self.in_flight
        if not is_full:
            return  # Its rate tells nothing of the way, and is not to drive out those that do.
        self._rounds += 1
        best = max(self._rates)
        self._rates.append(0.0)
        if best >= self._best * GROWTH:
            self._best, self._rounds_without_growth = best, 0
        else:
            self._rounds_without_growth += 1
            self._is_starting = self._is_starting and self._rounds_without_growth < PATIENCE

    @property
    def _gain(self) -> float:
        if self._is_starting:
            return STARTING_GAIN
        return {0: PROBING_GAIN, 1: DRAINING_GAIN}.get(self._rounds % PROBE_EVERY, 1.0)
