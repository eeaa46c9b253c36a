"""What has come from a client and is not handled yet: bytes, then packets, a slice at a time. Sans-I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import length_hint

from meshsync.errors import ProtocolError
from meshsync.protocol import frames
from simulator.emulator.limits import Limits
from simulator.emulator.rates import Rate
from simulator.room.seat import Seat

__all__ = ["Intake", "intake_for"]

_PACKET_MARGIN = 64 * 1024
"""Bytes by which one WebSocket message may be larger than the largest message: a whole one may come as one packet, and
its seat checks its size."""

_LONGEST_FRAME = 16
"""Largest messages in one WebSocket frame. A packet is cut at the size above, and its message refused; a frame that is
longer ends the connection."""

_SLICE = 256 * 1024
"""Bytes decoded at once, as many as asyncio reads at once.

The worst that so many can hold, empty fragments alone, takes 50 ms; equal frames, as streams have, half a millisecond,
which smaller slices double.
"""

_DECODING_EFFORT = 64 * 1024
"""What decoding a slice costs, as `Seat.feed` counts effort."""


class Intake:
    """The bytes of one connection, from the socket to its seat.

    Attributes:
        fault: Why the client has to go, once all that came before is handled.
        close: The client's close frame, likewise.
    """

    def __init__(self, decoder: frames.FrameDecoder, check_rate: Callable[[int], None] | None = None) -> None:
        self.fault: ProtocolError | None = None
        self.close: frames.CloseFrame | None = None
        self._decoder = decoder
        self._check_rate = check_rate
        self._data = b""
        """Empty once all of it is decoded."""
        self._at = 0
        self._packets: Iterator[bytes] = iter([])
        self._has_packets = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to handle."""
        return not self._data and not self._has_packets

    @property
    def held(self) -> int:
        """About how many bytes of memory it takes."""
        return len(self._data) + self._decoder.held + (_SLICE if self._has_packets else 0)

    def add(self, data: bytes) -> None:
        """Add what was read."""
        self._data = self._data[self._at :] + data if self._data else data
        self._at = 0

    def drop(self) -> None:
        """Drop what is not handled; nothing more may be added."""
        self._data, self._at, self._packets, self._has_packets = b"", 0, iter([]), False
        self._decoder = frames.FrameDecoder(masked=True)

    def take_ping(self) -> bytes | None:
        """Return the payload of the latest ping that was not answered."""
        return self._decoder.take_ping()

    def feed(self, seat: Seat, budget: float) -> float:
        """Handle messages until a budget of effort is spent or nothing is left; return what is left of the budget."""
        while budget > 0:
            if not self._has_packets:
                if not self._data:
                    break
                self._decode()
                budget -= _DECODING_EFFORT
            budget = seat.feed(self._packets, budget)
            if not seat.is_taken:
                self.drop()
            # Some are left only where the budget is spent. (Of a list's iterator the hint is exact.)
            self._has_packets = budget <= 0 and length_hint(self._packets) > 0
        return budget

    def _decode(self) -> None:
        begin = self._at
        part = self._data if begin == 0 and len(self._data) <= _SLICE else self._data[begin : begin + _SLICE]
        self._at = begin + len(part)
        packets: list[bytes] = []
        try:
            self._decoder.feed(part, packets)
        except ProtocolError as error:
            self.fault = error
        if self._check_rate is not None:
            try:
                # A packet with the index 0 begins a message.
                self._check_rate(sum(packet[8:12] == b"\0\0\0\0" for packet in packets))
            except ProtocolError as error:
                self.fault = error
                packets.clear()
        self.close = self._decoder.close
        if self.fault is not None or self.close is not None or self._at >= len(self._data):
            self._data, self._at = b"", 0
        self._packets = iter(packets)


def intake_for(limits: Limits, now: Callable[[], float]) -> Intake:
    """Return what has come from a client that may send what the limits allow.

    Args:
        now: Returns the time in seconds, from any origin.
    """
    decoder = frames.FrameDecoder(
        masked=True, max_size=limits.message + _PACKET_MARGIN, longest=_LONGEST_FRAME * limits.message
    )
    if limits.rate is None:
        return Intake(decoder)
    rate = Rate(limits.rate, now())

    def check(count: int) -> None:
        if not rate.take(count, now()):
            raise ProtocolError(f"sends more than {rate.per_second:g} messages a second", code=1008)

    return Intake(decoder, check)
