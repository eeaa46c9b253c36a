"""The connections that have something to write, written once a turn of the loop."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence, Sized
from functools import partial
from typing import Protocol

from simulator.emulator.framing import JOINED, FramedParcel, frames_of
from simulator.room.members import Member, Output
from simulator.room.seat import Seat

__all__ = ["Flushes", "Lane", "Writer"]

_log = logging.getLogger("simulator.emulator")


Lane = tuple[int, Seat]
"""The descriptor of a socket to which a single message of that seat can be written beside the transport."""


class Writer(Protocol):
    """A connection for which messages wait."""

    lane: Lane | None
    """Its way while nothing is on it before a message; None for none."""
    bytes_written: int
    """Bytes given to the system or to the transport."""

    def flush(self) -> None:
        """Write what waits."""
        ...

    def write_rest(self, rest: Sequence[bytes]) -> None:
        """Write a message, or the rest of one, by the transport."""
        ...

    def end(self, code: int, reason: str) -> bool:
        """Send a close frame, and cut the connection soon after."""
        ...


class Flushes:
    """Writes for each connection of a gateway, at the end of a turn, what the turn brought it.

    One callback serves all: one each costs asyncio 2 us for every recipient of a message, a third of what else the
    emulator does for it (CPython 3.11). And where what was read is all that the turn has to do, none is needed.

    A single message for a socket on which nothing waits is written by a system call right here: the transport does the
    same, in as long as the message takes in Python all in all. Where a single message is all that a turn has to do, it
    does not even wait in queues: with nine recipients that took a third of the emulator's own work on it.

    Args:
        call_soon: Calls a function in the next turn of the loop.
        first: Called before anything is written; None for nothing.
        ready: What the loop still has to call in this turn, as far as it can be seen; None if it cannot.
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object],
        first: Callable[[], None] | None = None,
        ready: Sized | None = None,
    ) -> None:
        self._due: dict[Writer, None] = {}
        """The connections that are to be flushed, in this order."""
        self._call_soon = call_soon
        self._first = first
        self._ready = ready
        self._is_reading = False
        """Whether `end_read` is to come."""
        self.is_alone: bool = False
        """Whether a single message is being handled, and that is all that the turn has to do."""

    def add(self, writer: Writer) -> None:
        """Have ``flush`` called before long, in the order in which connections were added; again does nothing."""
        due = self._due
        if not due and not self._is_reading:
            self._call_soon(self._flush)
        due[writer] = None

    def begin_read(self, *, is_single: bool) -> None:
        """Note that data which was read is about to be handled.

        Args:
            is_single: Whether it is a single message.
        """
        ready = self._ready
        if ready is not None and not self._due:
            self._is_reading = True
            self.is_alone = is_single and not ready and self._first is None

    def end_read(self) -> None:
        """Write at once what that led to, unless the turn has more to do, for which all is written together."""
        if self._is_reading:
            self._is_reading = self.is_alone = False
            if self._due:
                if self._ready:
                    self._call_soon(self._flush)
                else:
                    self._flush()

    def write_at_once(self, output: Output) -> Sequence[Member]:
        """Write a message to those of its recipients for which nothing waits, while `is_alone`; return the others."""
        if output.size > JOINED:
            return output.to
        write, wire, size = os.write, b"", 0
        others: list[Member] = []
        for member in output.to:
            seat: Seat | None = member.seat
            if seat is None:
                continue
            writer: Writer | None = seat.carrier
            if writer is None or writer.lane is None or seat.queued:
                others.append(member)
                continue
            if not size:
                wire = frames_of(output)
                size = len(wire)
            try:
                written = write(writer.lane[0], wire)
            except OSError:  # As below.
                others.append(member)
                continue
            writer.bytes_written += written
            if written != size:
                self._attempt(writer, partial(writer.write_rest, [wire[written:]]))
        return others

    def _flush(self) -> None:
        due = list(self._due)
        self._due.clear()
        if self._first is not None:
            self._first()
        write = os.write
        last: FramedParcel | None = None
        wire = b""
        large: list[bytes] | None = None
        count = size = 0
        # In a single loop without a call besides the system's: most are recipients of one message that wait for it.
        for writer in due:
            lane = writer.lane
            if lane is None:
                self._attempt(writer, writer.flush)
                continue
            descriptor, seat = lane
            queue = seat.queue
            if len(queue) != 1 or seat.uncounted or seat.fault is not None:
                self._attempt(writer, writer.flush)
                continue
            parcel: FramedParcel = queue.pop()  # type: ignore[assignment]
            seat.queued = 0
            if parcel is last:
                count += 1
            else:
                if last is not None:
                    last.drop(count)
                last, count = parcel, 1
                framed = parcel.frames
                wire, large = (framed, None) if isinstance(framed, bytes) else (b"", framed)
                size = len(wire)
            if large is not None:
                self._attempt(writer, partial(writer.write_rest, large))
                continue
            try:
                written = write(descriptor, wire)
            except OSError:  # It takes nothing for now, or is lost: the transport meets the same, and knows what to do.
                written = 0
            writer.bytes_written += written
            if written != size:
                self._attempt(writer, partial(writer.write_rest, [wire[written:]]))
        if last is not None:
            last.drop(count)

    def _attempt(self, writer: Writer, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            _log.exception("messages could not be written, for no fault of their recipient's")
            writer.end(1011, "internal error")
