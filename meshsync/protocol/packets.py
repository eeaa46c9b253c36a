"""Messages to packets and back.

A message is an id, a type and a body. It travels as a start packet, which announces how many body packets follow, and
those body packets, numbered from 1. A packet is the content of one binary WebSocket message. The meaning of a body is
not this module's business.

Source: PROTOCOL.md, section 4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from meshsync.errors import ProtocolError
from meshsync.values import made_quickly

__all__ = ["LARGEST_PACKET", "MAX_MESSAGE_SIZE", "PACKET_SIZE", "Reassembler", "WireMessage", "split"]

PACKET_SIZE = 1024
"""Body bytes in a packet, as official senders cut them. Receivers accept any size."""

LARGEST_PACKET = 256 * 1024
"""The most body bytes in a packet that a room can ask its clients for: no ping waits for more."""

MAX_MESSAGE_SIZE = 4 * 1024 * 1024
"""The largest body of a message that this project's room accepts, in bytes, envelope included."""

_HEADER = struct.Struct(">QI")
_START = struct.Struct(">QII")
_MAX_TYPE_SIZE = 1024
"""The longest message type, in bytes of UTF-8."""


@made_quickly
@dataclass(frozen=True, slots=True)
class WireMessage:
    """A whole message as it travels, its body still encoded."""

    id: int
    """Unsigned, 64 bits. Each side counts its own; a reply reuses that of its request."""
    type: str
    body: bytes | memoryview
    fault: str = ""
    """Why the message is to be refused; its body is empty then. See `Reassembler`."""


def split(
    message_id: int,
    type: str,
    body: bytes | memoryview,
    size: int = PACKET_SIZE,
    more: Sequence[bytes | bytearray | memoryview] = (),
) -> list[bytes]:
    """Return the packets of a message, each with at most ``size`` body bytes, at least 1.

    Args:
        more: What follows in the body, in pieces, which need not be copied to be behind its beginning.
    Raises:
        ValueError: If ``size`` is less than 1.
    """
    if size < 1:
        raise ValueError(f"a packet takes at least 1 body byte, not {size}")
    count = -(-(len(body) + sum(map(len, more))) // size)
    packets = [_START.pack(message_id, 0, count) + type.encode()]
    if count == 1:
        packets.append(b"".join((_HEADER.pack(message_id, 1), body, *more)))
    elif count:
        packets += _cut(message_id, (body, *more), size)
    return packets


def _cut(message_id: int, pieces: Iterable[bytes | bytearray | memoryview], size: int) -> list[bytes]:
    """Return the packets of a body, each byte of which is copied once, whatever is an end of a piece or a packet."""
    pack = _HEADER.pack
    packets: list[bytes] = []
    begun: list[bytes | memoryview] = []
    """What the next packet has so far."""
    missing = size
    """Body bytes that it lacks."""
    for piece in pieces:
        view, start = memoryview(piece), 0
        if begun:
            start = min(missing, len(view))
            begun.append(view[:start])
            missing -= start
            if missing:
                continue
            packets.append(b"".join(begun))
        end = len(view) - (len(view) - start) % size
        # join() takes the slice as it is; adding bytes and a view would copy the slice first.
        packets += [
            b"".join((pack(message_id, index), view[at : at + size]))
            for index, at in enumerate(range(start, end, size), len(packets) + 1)
        ]
        begun, missing = [], size
        if end < len(view):
            begun, missing = [pack(message_id, len(packets) + 1), view[end:]], size - (len(view) - end)
    if begun:
        packets.append(b"".join(begun))
    return packets


class Reassembler:
    """Puts messages together from packets, and accepts nothing that official senders would not send.

    Official receivers skip over faults and then damage the next message (PROTOCOL.md, section 4.2), so there is nothing
    to recover to: each fault raises, and the connection has to end.

    A message that is too large, or whose type cannot be used, leaves no doubt where the next one begins. A room refuses
    that message and goes on: ``yields_faults``.

    Args:
        max_size: The largest body, in bytes.
        yields_faults: Whether such a message is yielded once it is complete, with its ``fault`` and without its body,
            in place of raising.
    """

    def __init__(self, max_size: int = MAX_MESSAGE_SIZE, *, yields_faults: bool = False) -> None:
        self.max_size = max_size
        self._yields_faults = yields_faults
        self._fault = ""
        """What is wrong with the message in the making."""
        self._id = 0
        self._type = ""
        self._announced = 0
        """Body packets of the message in the making; 0 between messages."""
        self._index = 0
        self._body = bytearray()

    @property
    def held(self) -> int:
        """Bytes of the message in the making."""
        return len(self._body)

    def feed(self, packets: Iterable[bytes | memoryview]) -> Iterator[WireMessage]:
        """Read packets in order and yield each message that they complete.

        Raises:
            ProtocolError: At the first fault; nothing more may be fed. Messages before it have been yielded.
        """
        if type(packets) is list and len(packets) == 2 and not self._announced:
            whole = _read_pair(packets[0], packets[1], self.max_size)
            if whole is not None:
                yield whole
                return
        for packet in packets:
            if not self._announced:
                message = self._start(packet)
                if message is not None:
                    yield message
                continue
            # Not in a method of its own: a stream is a thousand of these for each megabyte.
            if len(packet) < _HEADER.size:
                raise ProtocolError(f"a body packet needs {_HEADER.size} bytes, got {len(packet)}")
            message_id, index = _HEADER.unpack_from(packet)
            self._index += 1
            if index != self._index or message_id != self._id:
                raise self._misplaced(message_id, index)
            if self._announced == 1 and len(packet) - _HEADER.size <= self.max_size:
                # Whole, as nearly all messages that are no part of a stream are: not copied.
                self._announced = 0
                only = memoryview(packet)[_HEADER.size :]
                yield WireMessage(message_id, self._type, b"" if self._fault else only, self._fault)
                continue
            body = self._body
            # Copied at once: a list of views would hold on to each packet, two hundred bytes for one of a single byte.
            body += memoryview(packet)[_HEADER.size :]
            if len(body) > self.max_size:
                self._refuse(f"a message has more than {self.max_size} bytes", 1009)
                # What follows is read into it again, and thrown away again.
                body.clear()
            if index == self._announced:
                self._announced, self._body = 0, bytearray()
                if self._fault:
                    yield WireMessage(message_id, self._type, b"", self._fault)
                else:
                    yield WireMessage(message_id, self._type, memoryview(body))

    def _start(self, packet: bytes | memoryview) -> WireMessage | None:
        if len(packet) < _START.size:
            if len(packet) >= _HEADER.size and _HEADER.unpack_from(packet)[1]:
                raise ProtocolError("a body packet came where a message has to start")
            raise ProtocolError(f"a start packet needs {_START.size} bytes, got {len(packet)}")
        message_id, index, count = _START.unpack_from(packet)
        if index:
            raise ProtocolError(f"body packet {index} of message {message_id} came where a message has to start")
        type, self._fault = "", ""
        if len(packet) - _START.size > _MAX_TYPE_SIZE:
            self._refuse(f"a message type has more than {_MAX_TYPE_SIZE} bytes", 1002)
        else:
            try:
                type = str(packet[_START.size :], "utf-8")
            except UnicodeDecodeError:
                self._refuse("a message type is not UTF-8", 1007)
        if count == 0:
            return WireMessage(message_id, type, b"", self._fault)
        self._id, self._type, self._announced, self._index = message_id, type, count, 0
        return None

    def _refuse(self, fault: str, code: int) -> None:
        if not self._yields_faults:
            raise ProtocolError(fault, code=code)
        self._fault = fault

    def _misplaced(self, message_id: int, index: int) -> ProtocolError:
        if message_id != self._id:
            return ProtocolError(f"a packet of message {message_id} came inside message {self._id}")
        what = "a start packet" if index == 0 else f"body packet {index}"
        return ProtocolError(f"{what} came in place of body packet {self._index} of message {message_id}")


def _read_pair(start: bytes | memoryview, body: bytes | memoryview, max_size: int) -> WireMessage | None:
    """Return the message of two packets, as nearly all are that come by themselves; None where a closer look is due."""
    if type(start) is not bytes or type(body) is not bytes or len(start) < _START.size or len(body) < _HEADER.size:
        return None
    message_id, index, count = _START.unpack_from(start)
    if index or count != 1 or _HEADER.unpack_from(body) != (message_id, 1) or len(body) > max_size:
        return None
    name = start[_START.size :]
    type_ = _KNOWN_TYPES.get(name)
    if type_ is None:
        if len(name) > _MAX_TYPE_SIZE:
            return None
        try:
            type_ = name.decode()
        except UnicodeDecodeError:
            return None
        if len(_KNOWN_TYPES) < _MOST_KNOWN:
            _KNOWN_TYPES[name] = type_
    return WireMessage(message_id, type_, memoryview(body)[_HEADER.size :])


_KNOWN_TYPES: dict[bytes, str] = {}
"""Message types as they came, decoded."""
_MOST_KNOWN = 64
"""The most of them; the protocol has about twenty."""
