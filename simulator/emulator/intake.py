"""What has come from a client and is not handled yet: bytes, then packets, a slice at a time. Sans-I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import length_hint

from meshsync.errors import ProtocolError
from meshsync.protocol import frames
from simulator.emulator.limits import Limits
from simulator.emulator.rates import Rate
from simulator.room.seat import Seat, SeatState

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

_ANNOUNCES_ONE = b"\0\0\0\0\0\0\0\1"
"""The index and the count in a packet that begins a message of one body packet."""

_TAKEN = SeatState.TAKEN  # Not looked up by name at each message: before 3.12 that is a call in Python.

_DECODING_EFFORT = 64 * 1024
"""What decoding a slice costs, as `Seat.feed` counts effort."""


class Intake:
    """The bytes of one connection, from the socket to its seat.

    Attributes:
        is_empty: Whether there is nothing to handle.
        is_single: Whether there is a single short message to handle, as far as its first packet tells.
        ping: The payload of the latest ping, until that is answered.
        fault: Why the client has to go, once all that came before is handled.
        close: The client's close frame, likewise.
    """

    def __init__(self, decoder: frames.FrameDecoder, check_rate: Callable[[int], None] | None = None) -> None:
        self.is_empty: bool = True
        self.is_single: bool = False
        self.ping: bytes | None = None
        self.fault: ProtocolError | None = None
        self.close: frames.CloseFrame | None = None
        self._decoder = decoder
        self._check_rate = check_rate
        self._data = b""
        """Empty once all of it is decoded."""
        self._at = 0
        self._packets: Iterable[bytes] | None = None
        """Those of a slice that is not handled yet."""
        self._effort = 0
        """What decoding them has cost."""

    @property
    def held(self) -> int:
        """About how many bytes of memory it takes."""
        return len(self._data) + self._decoder.held + (0 if self._packets is None else _SLICE)

    def add(self, data: bytes) -> None:
        """Add what was read."""
        self._data = self._data[self._at :] + data if self._data else data
        self._at = 0
        self.is_empty = False
        if self._packets is None:
            self._decode()
        else:
            self.is_single = False

    def drop(self) -> None:
        """Drop what is not handled; nothing more may be added."""
        self._data, self._at, self._packets, self.is_empty, self.ping = b"", 0, None, True, None
        self._decoder = frames.FrameDecoder(masked=True)

    def feed(self, seat: Seat, budget: float) -> float:
        """Handle messages until a budget of effort is spent or nothing is left; return what is left of the budget."""
        while budget > 0 and not self.is_empty:
            packets = self._packets or self._decode()
            budget -= self._effort
            self._effort = 0
            if type(packets) is list:
                seat.feed(packets)  # Whatever it costs: nothing is left of it.
            else:
                budget = seat.feed(packets, budget)
            if seat.state is not _TAKEN:
                self.drop()
            # Some are left only where the budget is spent. (Of a list's iterator the hint is exact.)
            elif budget > 0 or type(packets) is list or not length_hint(packets):
                self._packets = None
                self.is_empty = not self._data
        return budget

    def _decode(self) -> Iterable[bytes]:
        """Decode a slice and return its packets, as a list where they are a single message and nothing follows."""
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
        decoder = self._decoder
        self.close = decoder.close
        ping = decoder.take_ping()
        if ping is not None:
            self.ping = ping
        if self.fault is not None or self.close is not None or self._at >= len(self._data):
            self._data, self._at = b"", 0
        # As most messages come: a seat reads them in less time, and leaves nothing of them.
        self.is_single = len(packets) == 2 and packets[0][8:16] == _ANNOUNCES_ONE and not self._data
        self._packets = found = packets if self.is_single else iter(packets)
        self._effort = _DECODING_EFFORT
        return found


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
