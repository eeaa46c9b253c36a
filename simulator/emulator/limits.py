"""The limits of an emulator: of one connection, of all together, and of the time before there is a participant."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields

from meshsync.errors import UsageError
from meshsync.protocol.packets import MAX_MESSAGE_SIZE
from simulator.room.calls import ANSWER_LIMIT
from simulator.room.seat import QUEUE_LIMIT

__all__ = ["Limits", "parse_size", "system_descriptors"]

_RESERVE = 32
"""Descriptors left for all but connections: standard streams, the listening socket, the loop, a log."""

_FEWEST_WAITING = 4
"""Connections without a participant that are kept even if nearly all descriptors are in use."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of an emulator. None stands for no limit of that kind.

    Raises:
        UsageError: If a limit is not a number, or not in its range.
    """

    queue: int = QUEUE_LIMIT
    """Bytes that may wait for one participant. One for which more wait, and which does not read that within a minute at
    the speed seen, is disconnected; a fast reader never is. Before that, those are no longer read from that send faster
    than others read: each may have caused 8 MiB that wait, or a quarter of this if that is less."""
    heartbeat: float = 30.0
    """Seconds of silence before a ping; after half as long again without an answer the connection is cut."""
    linger: float = 2.0
    """Seconds in which a client that is being disconnected may read the close frame."""
    answer: float = ANSWER_LIMIT
    """Seconds in which the peer of a duplex stream, or of one that is translated, has to answer its opening: official
    clients wait for ever, and a client whose program handles no streams never answers."""
    handshake: float = 10.0
    """Seconds from the beginning of a connection in which its first request has to be there, whole."""
    keep_alive: float = 15.0
    """Seconds after an answer other than a WebSocket in which the next request has to be there, whole."""
    waiting: int = 128
    """Connections that have no participant; the oldest of them gives way to the next. It is no more than half of the
    descriptors that are left."""
    connections: int | None = None
    """Connections that have a participant; the next one is refused with status 503. None for as many as the
    process may have descriptors, less 32."""
    rooms: int | None = None
    """Rooms at one time; who would open the next one is refused with status 503."""
    participants: int | None = None
    """Participants in one room; the next one is refused with status 503."""
    message: int = MAX_MESSAGE_SIZE
    """Bytes of a message's body, 4 MiB at most; a larger one is refused with error 1002. A frame of more than sixteen
    times as many disconnects its sender (1009)."""
    rate: float | None = None
    """Messages a second from one participant, of which it may save up two seconds' worth; who sends more is
    disconnected with code 1008."""
    joins: float | None = None
    """Participants that may join in a second, of which two seconds' worth may be saved up; the next one is refused with
    status 503."""
    memory: int = 1024**3
    """Bytes that may be held for all participants together. Above, the one for which the most is held is disconnected
    (1013); from nine tenths on, newcomers are refused with status 503."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.default is None:
                continue
            is_count = "int" in str(field.type)
            if type(value) is not int and (is_count or type(value) is not float):
                kind = "a whole number" if is_count else "a number"
                raise UsageError(f"{field.name}: a limit is {kind}, not {value!r:.100}")
            if math.isnan(value) or value < (1 if is_count else 0):
                raise UsageError(f"{field.name}: {value!r:.100} is too small for a limit")
        if self.message > MAX_MESSAGE_SIZE:
            raise UsageError(f"message: no client accepts more than {MAX_MESSAGE_SIZE} bytes, {self.message} are given")
        for name in ("rate", "joins"):
            if getattr(self, name) == 0:
                raise UsageError(f"{name}: at 0 a second there would be none; give None for no limit")

    def connections_of(self, descriptors: int | None) -> int | None:
        """Return how many connections may have a participant in a process with that many descriptors."""
        if self.connections is not None or descriptors is None:
            return self.connections
        return max(descriptors - _RESERVE, 1)

    def waiting_of(self, descriptors: int | None, seated: int) -> int:
        """Return how many connections may have no participant beside ``seated`` ones that have."""
        if descriptors is None:
            return self.waiting
        return min(self.waiting, max((descriptors - _RESERVE - seated) // 2, _FEWEST_WAITING))


def system_descriptors() -> int | None:
    """Return how many descriptors this process may have; None if that is not limited or not known."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return the bytes that a text stands for, as ``1GiB``, ``1.5 MB``, ``64k`` or ``4096``.

    ``k``, ``M``, ``G`` and ``T`` are powers of 1000, and with an ``i`` of 1024.

    Raises:
        ValueError: If it is not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"a size is a number of bytes, as 65536, 64KiB, 1.5MB or 1GiB, not {text!r:.100}")
    number, prefix, binary = match.groups()
    if binary and not prefix:
        raise ValueError(f"a size with an i has k, M, G or T before it, unlike {text!r:.100}")
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " "))
