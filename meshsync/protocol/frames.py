"""WebSocket frames (RFC 6455) in bulk and without I/O: packets to bytes, bytes to packets.

Streams are many small packets, so both directions work on many frames at a time: `encode` joins a batch into one
buffer for one system call, and `FrameDecoder` walks over large reads, decoding runs of equally long frames at once.
Both roles are here: a client masks its frames, a server must not. Not the business of this module: the handshake,
extensions (none is ever negotiated, so every reserved bit is a fault), and when to send what.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from meshsync.errors import ProtocolError
from meshsync.reasons import safe_text

__all__ = [
    "BATCH_BYTES",
    "BATCH_PACKETS",
    "MAX_SIZE",
    "CloseFrame",
    "FrameDecoder",
    "Mask",
    "Opcode",
    "apply_mask",
    "batches",
    "count_started",
    "encode",
    "encode_close",
    "encode_control",
    "mask_in_python",
]

MAX_SIZE = 16 * 1024 * 1024
"""The largest packet that a decoder accepts by default, in bytes."""

BATCH_PACKETS = 64
"""The most packets joined into one buffer.

Source: measured over loopback with packets of 1 KiB; more gain nothing, fewer lose to the system call.
"""

BATCH_BYTES = 256 * 1024
"""The most payload joined into one buffer, in bytes, unless a single packet is larger. It bounds how long a control
frame waits, since those go in between buffers."""

Mask = Callable[[bytes | memoryview, bytes], bytes]
"""Maps a payload and a key of 4 bytes to their exclusive or (RFC 6455, section 5.3)."""


class Opcode(IntEnum):
    """The kind of a frame. Source: RFC 6455, section 11.8."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


@dataclass(frozen=True, slots=True)
class CloseFrame:
    """The peer's close frame."""

    code: int | None
    """None if the frame was empty, which is allowed."""
    reason: str


# --- masks ------------------------------------------------------------------------------------------------------------

_CACHED_SIZE = 128 * 1024
"""Up to this payload size, in bytes, the multiplier of `mask_in_python` is kept: beyond, it would hold too much."""


@lru_cache(maxsize=32)
def _ones(words: int) -> int:
    """Return the number that repeats a 32-bit word ``words`` times when multiplied with it."""
    return int.from_bytes(b"\x01\x00\x00\x00" * words, "little")


def mask_in_python(data: bytes | memoryview, key: bytes) -> bytes:
    """Return ``data`` masked, or unmasked, with ``key``, by arithmetic on one large integer."""
    size = len(data)
    words = (size + 3) >> 2
    # Multiplying is cheaper than repeating the key and reading the number from it: 2.3 against 2.9 µs per KiB.
    if size <= _CACHED_SIZE:
        pattern = _ones(words) * int.from_bytes(key, "little")
    else:
        pattern = int.from_bytes(key * words, "little")
    masked = (int.from_bytes(data, "little") ^ pattern).to_bytes(words << 2, "little")
    return masked[:size] if size & 3 else masked


def _fastest_mask() -> Mask:
    try:
        from websockets.speedups import apply_mask as in_c
    except ImportError:
        return mask_in_python
    return in_c


apply_mask: Mask = _fastest_mask()
"""The mask in C of the extra ``speed`` if it is installed, else `mask_in_python`."""


# --- encoding ---------------------------------------------------------------------------------------------------------

_UNMASKED_FLAG = 0x00
_MASKED_FLAG = 0x80
"""The mask bit in a frame's second byte."""
_FINAL = 0x80
"""The bit of a message's last frame in the first byte."""
_LONGEST_CONTROL = 125
"""The largest payload of a control frame, in bytes. Source: RFC 6455, section 5.5."""


def _header(first: int, size: int, flag: int) -> bytes:
    """Return the bytes before the key. Source: RFC 6455, section 5.2."""
    if size < 126:
        return bytes((first, flag | size))
    if size < 65536:
        return struct.pack("!BBH", first, flag | 126, size)
    return struct.pack("!BBQ", first, flag | 127, size)


_SHORT_HEADERS = [_header(_FINAL | Opcode.BINARY, size, _MASKED_FLAG) for size in range(126)]
"""The headers of a client's short binary messages, by their size: not made anew for each."""


def batches(packets: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    """Cut ``packets`` into batches of at most `BATCH_PACKETS` packets and, if of several, `BATCH_BYTES` bytes."""
    if len(packets) == 2 and len(packets[0]) + len(packets[1]) <= BATCH_BYTES:  # As nearly every message is.
        return (packets,)
    return _cut(packets)


def _cut(packets: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    begin = held = 0
    for index, packet in enumerate(packets):
        if index - begin == BATCH_PACKETS or (index > begin and held + len(packet) > BATCH_BYTES):
            yield packets[begin:index]
            begin, held = index, 0
        held += len(packet)
    if begin < len(packets):
        yield packets if begin == 0 else packets[begin:]


def encode(packets: Sequence[bytes], keys: bytes | None, *, mask: Mask | None = None) -> bytes:
    """Return the frames of ``packets``, one binary message each, joined into one buffer.

    Args:
        keys: For a client: 4 unpredictable bytes for each packet, drawn for this call and never used again. None for a
            server, which must not mask.
        mask: How to mask; by default `apply_mask`.
    Raises:
        ValueError: If ``keys`` is not 4 bytes for each packet.
    """
    parts: list[bytes] = []
    last = -1
    head = b""
    if keys is None:
        for packet in packets:
            size = len(packet)
            if size != last:
                head, last = _header(_FINAL | Opcode.BINARY, size, _UNMASKED_FLAG), size
            parts += (head, packet)
        return b"".join(parts)
    if len(keys) != 4 * len(packets):
        raise ValueError(f"{len(packets)} packets need {4 * len(packets)} bytes of keys, got {len(keys)}")
    if mask is None:
        mask = apply_mask
    at, short = 0, _SHORT_HEADERS
    for packet in packets:
        size = len(packet)
        if size != last:
            head = short[size] if size < 126 else _header(_FINAL | Opcode.BINARY, size, _MASKED_FLAG)
            last = size
        key = keys[at : at + 4]
        at += 4
        parts += (head, key, mask(packet, key))
    return b"".join(parts)


def encode_pieces(packets: Iterable[Sequence[bytes | bytearray | memoryview]]) -> bytes:
    """Return a server's frames of packets in pieces, joined into one buffer: each byte is copied once."""
    parts: list[bytes | bytearray | memoryview] = []
    for pieces in packets:
        parts.append(_header(_FINAL | Opcode.BINARY, sum(map(len, pieces)), _UNMASKED_FLAG))
        parts += pieces
    return b"".join(parts)


def encode_control(opcode: Opcode, payload: bytes, key: bytes | None) -> bytes:
    """Return a ping, pong or close frame.

    Args:
        payload: At most 125 bytes.
        key: 4 unpredictable bytes for a client, None for a server.
    Raises:
        ValueError: If ``payload`` is longer.
    """
    if len(payload) > _LONGEST_CONTROL:
        raise ValueError(f"a control frame carries at most {_LONGEST_CONTROL} bytes, got {len(payload)}")
    if key is None:
        return _header(_FINAL | opcode, len(payload), _UNMASKED_FLAG) + payload
    return _header(_FINAL | opcode, len(payload), _MASKED_FLAG) + key + mask_in_python(payload, key)


def encode_close(code: int | None, reason: str, key: bytes | None) -> bytes:
    """Return a close frame; a reason (see `safe_text`) longer than 123 bytes of UTF-8 is cut between characters.

    Args:
        code: None for an empty frame, which then carries no reason either.
    Raises:
        ValueError: If ``code`` must not be sent (RFC 6455, section 7.4).
    """
    if code is None:
        return encode_control(Opcode.CLOSE, b"", key)
    if not _may_be_sent(code):
        raise ValueError(f"{code} is no close code that may be sent")
    text = safe_text(reason).encode()[: _LONGEST_CONTROL - 2].decode("utf-8", "ignore")
    return encode_control(Opcode.CLOSE, struct.pack("!H", code) + text.encode(), key)


def _may_be_sent(code: int) -> bool:
    """Source: RFC 6455, section 7.4, and the registry it opened, which has grown to 1014."""
    return 3000 <= code <= 4999 or 1000 <= code <= 1003 or 1007 <= code <= 1014


def count_started(frames: bytes, offset: int) -> int:
    """Return how many binary frames of a buffer made by `encode` begin before byte ``offset``."""
    at = count = 0
    while at < offset:
        second = frames[at + 1]
        size = second & 0x7F
        begin = at + 2
        if size == 126:
            size, begin = int.from_bytes(frames[begin : begin + 2], "big"), begin + 2
        elif size == 127:
            size, begin = int.from_bytes(frames[begin : begin + 8], "big"), begin + 8
        count += frames[at] == _FINAL | Opcode.BINARY
        at = begin + (4 if second & _MASKED_FLAG else 0) + size
    return count


# --- decoding ---------------------------------------------------------------------------------------------------------

_WHOLE_BINARY = _FINAL | Opcode.BINARY
"""The first byte of a binary message of one frame."""
_SHORTEST_RUN = 8
"""Frames that are compared first in a run."""
_LARGE_PART = 16 * 1024
"""Bytes to which small chunks are joined at most. A buffer that grows on and on leaves holes in memory behind it."""

_SMALL_PART = 4096
"""Bytes of a read below which it is joined with its neighbours while the packet is not whole."""
_WORTH_A_VIEW = 4096
"""Bytes of a payload from which on a view of it costs less than a copy."""
_LONGEST_RUN = 1024
"""The most frames that are compared at a time in a run."""


class FrameDecoder:
    """Turns the bytes that one side sends, in any chunking, into packets.

    Feed it bytes; it appends packets. Between feeds, call `take_ping` for the ping to answer and look at ``close``.
    Pongs need no answer and are dropped. Bytes behind a close frame are ignored (RFC 6455, section 1.4).

    Attributes:
        close: The peer's close frame, once received.
    """

    __slots__ = (
        "_fault",
        "_flag",
        "_fragments",
        "_held",
        "_longest",
        "_mask",
        "_max_size",
        "_need",
        "_parts",
        "_ping",
        "_surplus",
        "close",
    )

    def __init__(
        self, *, masked: bool, max_size: int = MAX_SIZE, longest: int | None = None, mask: Mask | None = None
    ) -> None:
        """Make a decoder.

        Args:
            masked: Whether frames must be masked (a server reads a client's) or must not be.
            max_size: The largest packet to accept, in bytes, its fragments together.
            longest: The length of a frame, in bytes, up to which a packet that is larger is cut to ``max_size`` instead
                of being a fault; what is cut off is not kept. None if each such packet is a fault.
            mask: How to unmask; by default `apply_mask`.
        """
        self.close: CloseFrame | None = None
        self._flag = _MASKED_FLAG if masked else _UNMASKED_FLAG
        self._max_size = max_size
        self._longest = longest or 0
        self._surplus = 0
        """Bytes that belong to a packet which has been cut, and are still to come."""
        self._mask = apply_mask if mask is None else mask
        self._parts: list[bytes | bytearray] = []
        """Chunks that hold no complete frame yet: joined once there is enough, so that a large frame that comes in
        small reads costs time in proportion to its size."""
        self._held = 0
        self._need = 2
        self._fragments: bytearray | None = None
        self._ping: bytes | None = None
        self._fault: ProtocolError | None = None

    def feed(self, data: bytes, into: list[bytes]) -> None:
        """Append to ``into`` the packets that ``data`` completes.

        Raises:
            ProtocolError: If the peer broke the protocol. Packets before the fault are in ``into``; any further
                feed raises again.
        """
        if self._fault is not None:
            raise ProtocolError(str(self._fault), code=self._fault.code)
        if self.close is not None:
            return
        try:
            at = self._complete(data, into) if self._held else 0
            if self._held:
                return
            at = self._walk(data, into, at)
        except ProtocolError as fault:
            self._fault = fault
            raise
        self._held = len(data) - at
        if self._held:
            self._parts.append(data[at:] if at else data)

    def _complete(self, data: bytes, into: list[bytes]) -> int:
        """Give the frame that is held what it lacks, and no more: the rest of a large read is not copied for it.

        Returns:
            How many bytes were taken. All of them, and the frame is still held, if it lacks more.
        """
        at, size = 0, len(data)
        while self._held:
            lacking = self._need - self._held
            if size - at < lacking:
                self._keep(data[at:])
                self._held += size - at
                return size
            self._parts.append(data[at : at + lacking])
            frame = b"".join(self._parts)
            at += lacking
            self._parts.clear()
            taken = self._walk(frame, into, 0)
            # Its header alone, which has told by now how much it lacks.
            self._held = len(frame) - taken
            if self._held:
                self._parts.append(frame[taken:])
        return at

    def _keep(self, data: bytes) -> None:
        parts = self._parts
        if len(data) >= _SMALL_PART:
            parts.append(data)
        elif type(parts[-1]) is bytearray and len(parts[-1]) < _LARGE_PART:
            parts[-1] += data
        else:
            # Joined at once: an object for each byte takes forty times its room.
            parts.append(bytearray(data))

    @property
    def held(self) -> int:
        """Bytes of the packet that has not come whole."""
        return self._held + (0 if self._fragments is None else len(self._fragments))

    def take_ping(self) -> bytes | None:
        """Return the payload of the latest ping not yet taken, or None. Earlier ones need no answer (section 5.5.3)."""
        ping, self._ping = self._ping, None
        return ping

    def _walk(self, data: bytes, into: list[bytes], at: int) -> int:
        """Decode whole frames from ``at`` on; return where the first incomplete one begins.

        ``_need`` is then its length, as far as that is known.
        """
        size = len(data)
        flag = self._flag
        while self.close is None:
            if self._surplus:
                passed = min(self._surplus, size - at)
                self._surplus -= passed
                at += passed
            if size - at < 2:
                self._need = 2
                return at
            first, second = data[at], data[at + 1]
            if first != _WHOLE_BINARY or self._fragments is not None:
                self._check_first(first, second)
            if second & _MASKED_FLAG != flag:
                raise ProtocolError("an unmasked frame from a client" if flag else "a masked frame from a server")
            length, begin = second & 0x7F, at + 2
            if length >= 126:
                begin += 2 if length == 126 else 8
                if begin > size:
                    self._need = begin - at
                    return at
                length = self._long_length(length, data[at + 2 : begin])
            if length > self._max_size or (
                self._fragments is not None and first < 0x88 and length + len(self._fragments) > self._max_size
            ):
                surplus = self._cut(length)
                length -= surplus
            else:
                surplus = 0
            head = begin - at
            if flag:
                begin += 4
            end = begin + length
            if end > size:
                self._need = end - at
                return at
            if flag:
                # A view of a large one: a slice would copy it once more.
                source = data if length < _WORTH_A_VIEW else memoryview(data)
                payload = self._mask(source[begin:end], data[begin - 4 : begin])
            else:
                payload = data[begin:end]
            if surplus:
                self._surplus = surplus
                self._decode_other(first, payload, into)
            elif first == _WHOLE_BINARY:
                into.append(payload)
                # Senders cut messages into equal pieces, so the next frame often has the same header.
                if data.startswith(data[at : at + head], end):
                    end = self._decode_run(data, end, head, end - at, into)
            else:
                self._decode_other(first, payload, into)
            at = end
        return size

    def _cut(self, length: int) -> int:
        """Return how many bytes at the end of a frame are not kept."""
        if length > self._longest:
            raise ProtocolError(f"a packet of more than {self._max_size} bytes", code=1009)
        return length - self._max_size + (0 if self._fragments is None else len(self._fragments))

    def _decode_run(self, data: bytes, at: int, head: int, step: int, into: list[bytes]) -> int:
        """Decode whole frames from ``at`` on while each has the header of the one before; return where they end.

        If every header so far was the same, the next one is ``step`` bytes on; so the headers of a run are found by
        comparing bytes ``step`` apart, without a look at each frame.
        """
        payload = head + (4 if self._flag else 0)
        mask = self._mask
        wanted = _SHORTEST_RUN
        while count := min(wanted, (len(data) - at) // step):
            asked = count
            for lane in range(at, at + head):
                column = data[lane : lane + (count - 1) * step + 1 : step]
                count -= len(column.lstrip(data[lane - step : lane - step + 1]))
                if not count:
                    return at
            end = at + count * step
            begins = range(at + payload, end + 1, step)  # an empty payload begins where its frame ends
            if self._flag:
                source = data if step < _WORTH_A_VIEW else memoryview(data)
                into += [mask(source[i : i + step - payload], data[i - 4 : i]) for i in begins]
            else:
                into += [data[i : i + step - payload] for i in begins]
            at = end
            if count < asked:
                return at
            # Grow slowly: looking far ahead is waste where runs are short.
            wanted = min(4 * wanted, _LONGEST_RUN)
        return at

    def _check_first(self, first: int, second: int) -> None:
        """Check the first byte and what it asks of the second. Source: RFC 6455, sections 5.2, 5.4 and 5.5."""
        if first & 0x70:
            raise ProtocolError("a reserved bit is set, though no extension was agreed on")
        opcode = first & 0x0F
        if opcode >= Opcode.CLOSE:
            if opcode > Opcode.PONG:
                raise ProtocolError(f"a frame with the reserved opcode {opcode:#x}")
            if not first & _FINAL:
                raise ProtocolError("a fragmented control frame")
            if second & 0x7F > _LONGEST_CONTROL:
                raise ProtocolError(f"a control frame of more than {_LONGEST_CONTROL} bytes")
        elif opcode > Opcode.BINARY:
            raise ProtocolError(f"a frame with the reserved opcode {opcode:#x}")
        elif opcode == Opcode.TEXT:
            raise ProtocolError("a text frame, though rooms speak binary only", code=1003)
        elif opcode == Opcode.CONTINUATION:
            if self._fragments is None:
                raise ProtocolError("a continuation of nothing")
        elif self._fragments is not None:
            raise ProtocolError("a new message inside a fragmented one")

    @staticmethod
    def _long_length(kind: int, raw: bytes) -> int:
        length = int.from_bytes(raw, "big")
        if length < (126 if kind == 126 else 65536):
            raise ProtocolError(f"the length {length} is not written in its shortest form")
        if length >> 63:
            raise ProtocolError("a length with its highest bit set")
        return length

    def _decode_other(self, first: int, payload: bytes, into: list[bytes]) -> None:
        """Decode a frame that is not a whole binary message: a fragment or a control frame, already checked."""
        opcode = first & 0x0F
        if opcode == Opcode.PING:
            self._ping = payload
        elif opcode == Opcode.CLOSE:
            self.close = _read_close(payload)
        elif opcode != Opcode.PONG:
            if self._fragments is None:
                self._fragments = bytearray()
            self._fragments += payload
            if first & _FINAL:
                into.append(bytes(self._fragments))
                self._fragments = None


def _read_close(payload: bytes) -> CloseFrame:
    if not payload:
        return CloseFrame(None, "")
    if len(payload) == 1:
        raise ProtocolError("a close frame with half a code")
    code = int.from_bytes(payload[:2], "big")
    if not _may_be_sent(code):
        raise ProtocolError(f"a close frame with the code {code}, which must not be sent")
    try:
        return CloseFrame(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise ProtocolError("a close frame whose reason is no UTF-8", code=1007) from None
