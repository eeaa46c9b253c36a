"""Where messages are handled one after the other, each taking time: a room, or a participant's reader.

Messages that arrive meanwhile wait on their links, which are served in turns: so overload shows as delay, and as
windows that fill. The meaning of messages is not this module's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from meshsync.protocol.frames import CloseFrame
from simulator.latency import Law
from simulator.network.frames import ControlFrame, Frame
from simulator.network.traffic import Traffic

__all__ = ["Desk"]

_MICROSECOND = 1000
"""Nanoseconds in a microsecond."""

_INDEX = slice(8, 12)
_FIRST = bytes(4)
"""A packet's index in its message, behind the message's id; see ``docs/PROTOCOL.md``, section 4."""


class Desk:
    """Serves one message at a time.

    Args:
        law: Of the time that a message takes.
        stream: The random stream that it is drawn from.
    """

    __slots__ = ("_free_at", "_law", "_stream")

    def __init__(self, law: Law, stream: Random) -> None:
        self._law = law
        self._stream = stream
        self._free_at = 0

    def book(self, now: int, frames: Sequence[Frame[Traffic]]) -> int:
        """Serve the messages that begin in these frames; return how long that takes from ``now`` on, waiting included.

        Times are in nanoseconds. Control frames are not served.
        """
        messages = sum([_begins_message(content) for content, _ in frames])
        if not messages:
            return 0
        free_at = max(self._free_at, now)
        for _ in range(messages):
            free_at += self._law.draw_us(self._stream) * _MICROSECOND
        self._free_at = free_at
        return free_at - now


def _begins_message(content: Traffic | ControlFrame | CloseFrame) -> bool:
    if isinstance(content, bytes):
        return content[_INDEX] == _FIRST
    return not isinstance(content, (ControlFrame, CloseFrame))
