"""The essential cases of the Autobahn test suite, as scripts that any end of a WebSocket of ours can be played.

A `Script` writes frames, right and wrong, and notes what their reader has to make of them: which messages arrive, which
pings are answered, and with which code the connection ends. ``CASES`` has a script for each case by its number there,
``fuzzed`` makes more by chance. Frames are made here and not by code of ours.

Two things differ from that suite, since rooms speak binary only: its texts are binary here, and a text is a fault of
its own (1003), whatever is in it. The rules of UTF-8 are tried on the reasons of close frames, where they apply.

Source: RFC 6455; crossbario/autobahn-testsuite, groups 1 to 7, 9 and 10 (12 and 13 are compression, which is declined).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator, Sequence
from random import Random

from websockets.utils import apply_mask

__all__ = ["CASES", "LARGE", "Case", "Message", "Script", "cuts", "frame", "fuzzed", "pattern"]

BINARY, TEXT, CONTINUATION, CLOSE, PING, PONG = 0x2, 0x1, 0x0, 0x8, 0x9, 0xA
FINAL = 0x80

Message = Callable[[bytes], list[bytes]]
"""Returns the packets that carry some content to an end; the last one is as long as the content if it can be."""


def pattern(size: int) -> bytes:
    """Return bytes of every value, in which a lost, doubled or moved piece shows."""
    return b"".join(struct.pack("!I", number) for number in range(-(-size // 4)))[:size]


def frame(first: int, payload: bytes, key: bytes | None, *, length: int | None = None) -> bytes:
    """Return one frame: its first byte, and a length that need not be that of the payload."""
    size, flag = len(payload) if length is None else length, 0 if key is None else 0x80
    if size < 126:
        head = struct.pack("!BB", first, flag | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, flag | 126, size)
    else:
        head = struct.pack("!BBQ", first, flag | 127, size)
    return head + payload if key is None else head + key + apply_mask(payload, key)


class Script:
    """What one end writes, and what the reader of it has to make of that. Its methods return it, to write on.

    Args:
        message: Carries content to that reader.
        masked: Whether it writes as a client does.
        largest: Bytes of the largest content that the reader accepts.
        beyond: Bytes of a frame that it does not accept.
        is_lenient: Whether it may refuse a packet that is too large, and go on.
    """

    def __init__(
        self, message: Message, *, masked: bool, largest: int = 0, beyond: int = 0, is_lenient: bool = False
    ) -> None:
        self.largest, self.beyond, self.is_lenient = largest, beyond, is_lenient
        self.data = bytearray()
        self.contents: list[bytes] = []
        """What has to arrive, in order."""
        self.pings: list[bytes] = []
        """Payloads that may be answered, of which the last one has to be."""
        self.codes: set[int | None] | None = None
        """The codes of which one has to be in the close frame that ends it; None while nothing has ended it."""
        self.is_faulty = False
        """Whether a fault ended it."""
        self._message = message
        self._keys = Random(6455) if masked else None

    @property
    def is_masked(self) -> bool:
        """Whether it writes as a client does."""
        return self._keys is not None

    def raw(self, first: int, payload: bytes = b"", *, length: int | None = None) -> Script:
        """Write a frame of which nothing is expected."""
        key = None if self._keys is None else self._keys.randbytes(4)
        self.data += frame(first, payload, key, length=length)
        return self

    def message(
        self,
        size: int,
        *,
        fragment: Callable[[int], Sequence[int]] | None = None,
        between: Callable[[], object] = lambda: None,
    ) -> Script:
        """Write a message.

        Args:
            fragment: Returns where a packet of so many bytes is cut; by default nowhere.
            between: Writes what goes in between two fragments.
        """
        content = pattern(size)
        for packet in self._message(content):
            places = [0, *(fragment(len(packet)) if fragment else ()), len(packet)]
            last = len(places) - 2
            for number, (begin, end) in enumerate(itertools.pairwise(places)):
                opcode = CONTINUATION if number else BINARY
                self.raw(opcode | (FINAL if number == last else 0), packet[begin:end])
                if number < last:
                    between()
        if self.codes is None:
            self.contents.append(content)
        return self

    def ping(self, payload: bytes = b"") -> Script:
        """Write a ping."""
        self.raw(FINAL | PING, payload)
        if self.codes is None:
            self.pings.append(payload)
        return self

    def pong(self, payload: bytes = b"") -> Script:
        """Write a pong that nobody asked for."""
        return self.raw(FINAL | PONG, payload)

    def close(self, code: int | None, reason: bytes = b"", *, answer: int | None = None) -> Script:
        """Write a close frame; it is answered with its code, or with ``answer`` if it is wrong."""
        self.raw(FINAL | CLOSE, b"" if code is None else struct.pack("!H", code) + reason)
        if answer:
            return self.ends(answer)
        return self._ends({code} if code else {None, 1000}, is_faulty=False)

    def ends(self, *codes: int) -> Script:
        """Note that what was written is a fault, for which the connection ends; what is behind it has no effect."""
        return self._ends({*codes}, is_faulty=True)

    def _ends(self, codes: set[int | None], *, is_faulty: bool) -> Script:
        if self.codes is None:
            self.codes, self.is_faulty = codes, is_faulty
        return self


Case = Callable[[Script], object]


def cuts(size: int, count: int, chance: Random) -> list[int]:
    """Return places at which so many bytes are cut, in order; some may be equal, and then leave an empty piece."""
    return sorted(int(chance.random() * (size + 1)) for _ in range(count))


def every(step: int) -> Callable[[int], Sequence[int]]:
    """Return a function that cuts a packet into fragments of ``step`` bytes."""
    return lambda size: range(step, size, step)


def halves(size: int) -> Sequence[int]:
    """Cut a packet in two."""
    return (size // 2,)


def does(work: Callable[..., object], *arguments: object, **options: object) -> Case:
    """Return a case that gives a script to some work, with these arguments behind it."""
    return lambda script: work(script, *arguments, **options)


def _cases() -> Iterator[tuple[str, Case]]:
    for group in (_framing, _pings, _reserved_bits, _opcodes, _fragmentation, _texts, _reasons, _closing, _limits):
        yield from group()


# --- 1: framing -------------------------------------------------------------------------------------------------------


def _framing() -> Iterator[tuple[str, Case]]:
    for number, size in enumerate((0, 125, 126, 127, 128, 65535, 65536), 1):
        yield f"1.2.{number} message of {size} bytes", does(Script.message, size)
    for size, length in ((10, 4096), (200, 70_000)):
        yield f"1 length of {size} bytes that is not the shortest form", does(_long_form, size, length)
    yield "1 length with its highest bit set", does(_wrong, FINAL | BINARY, b"", length=1 << 63)
    yield "1 masked by a server, unmasked by a client", _wrong_mask


def _long_form(script: Script, size: int, as_of: int) -> None:
    """Write a message whose length is written in the form of a longer one."""
    script.message(200)
    flag = 0x80 if script.is_masked else 0
    head = struct.pack("!BBH", 0x82, flag | 126, size) if as_of < 65536 else struct.pack("!BBQ", 0x82, flag | 127, size)
    script.data += head + bytes(size + (4 if flag else 0))
    script.ends(1002)
    script.message(200)


def _wrong_mask(script: Script) -> None:
    script.message(200)
    script.data += frame(FINAL | BINARY, b"x" * 40, None if script.is_masked else b"\1\2\3\4")
    script.ends(1002)


def _wrong(script: Script, first: int, payload: bytes, code: int = 1002, *, length: int | None = None) -> None:
    """Write a message, which has to arrive, then a frame that ends the connection, and what must not be read."""
    script.message(200)
    script.raw(first, payload, length=length)
    script.ends(code)
    script.ping(b"too late")
    script.message(200)


def _wrong_at_once(script: Script, first: int, payload: bytes, code: int = 1002) -> None:
    script.raw(first, payload)
    script.ends(code)


# --- 2: pings and pongs -----------------------------------------------------------------------------------------------


def _pings() -> Iterator[tuple[str, Case]]:
    payloads = {
        "2.1 ping without payload": b"",
        "2.2 ping with a text": b"Hello, world!",
        "2.3 ping with bytes": b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff",
        "2.4 ping with 125 bytes": b"\xfe" * 125,
    }
    for name, payload in payloads.items():
        yield name, does(Script.ping, payload)
    for size in range(0, 126, 25):
        yield f"2 ping with {size} bytes between messages", does(_ping_between, size)
    yield "2.5 ping with 126 bytes", does(_wrong, FINAL | PING, bytes(126))
    yield "2 pong with 126 bytes", does(_wrong, FINAL | PONG, bytes(126))
    yield "2 ping that announces 70,000 bytes", does(_wrong, FINAL | PING, b"", length=70_000)
    yield "2.7 pong without payload", lambda script: script.pong().message(200)
    yield "2.8 pong with payload", lambda script: script.pong(b"unasked").message(200)
    yield "2.9 pong, then a ping", lambda script: script.pong(b"unasked").ping(b"asked")
    yield "2.10 ten pings", lambda script: [script.ping(b"payload-%d" % number) for number in range(10)]


def _ping_between(script: Script, size: int) -> None:
    script.message(300)
    script.ping(pattern(size))
    script.message(300)


# --- 3 and 4: reserved bits and opcodes -------------------------------------------------------------------------------


def _reserved_bits() -> Iterator[tuple[str, Case]]:
    for bits in range(1, 8):
        first = FINAL | bits << 4
        yield f"3.{bits} message with reserved bits {bits}", does(_wrong, first | BINARY, b"x" * 20)
        yield f"3.{bits} at once", does(_wrong_at_once, first | BINARY, b"x" * 20)
        yield f"3.{bits} ping with reserved bits {bits}", does(_wrong, first | PING, b"x")
        yield f"3.{bits} close frame with reserved bits {bits}", does(_wrong, first | CLOSE, b"\x03\xe8")
        yield f"3.{bits} fragment with reserved bits {bits}", does(_wrong_fragment, first)


def _wrong_fragment(script: Script, first: int) -> None:
    script.message(200)
    script.raw(BINARY, b"x" * 20)
    script.raw(first | CONTINUATION, b"x" * 20)
    script.ends(1002)
    script.message(200)


def _opcodes() -> Iterator[tuple[str, Case]]:
    for group, opcodes in ((1, range(0x3, 0x8)), (2, range(0xB, 0x10))):
        for number, opcode in enumerate(opcodes, 1):
            first, name = FINAL | opcode, f"4.{group}.{number} opcode {opcode:#x}"
            yield name, does(_wrong, first, b"")
            yield f"{name} with a payload", does(_wrong, first, b"reserved")
            yield f"{name} at once", does(_wrong_at_once, first, b"")
            yield f"{name} inside a message", does(_wrong_inside, first)


def _wrong_inside(script: Script, first: int) -> None:
    """Write a fragment, then a frame that must not follow it, and the rest of the message."""
    script.message(200)
    script.raw(BINARY, b"x" * 40)
    script.raw(first, b"x" * 40)
    script.ends(1002)
    script.raw(FINAL | CONTINUATION, b"x" * 40)


# --- 5: fragmentation -------------------------------------------------------------------------------------------------


def _fragmentation() -> Iterator[tuple[str, Case]]:
    yield "5.1 fragmented ping", does(_wrong_control, PING)
    yield "5.2 fragmented pong", does(_wrong_control, PONG)
    yield "5 fragmented close frame", does(_wrong_control, CLOSE)
    yield "5.3 message in two fragments", does(Script.message, 200, fragment=halves)
    yield "5 fragments of a byte", does(Script.message, 200, fragment=every(1))
    yield "5 empty fragments", does(Script.message, 200, fragment=lambda size: (0, 0, 9, 9, size, size))
    yield "5 first fragment empty", does(Script.message, 200, fragment=lambda size: (0,))
    yield "5 last fragment empty", does(Script.message, 200, fragment=lambda size: (size,))
    yield "5.6 ping between fragments", _ping_in_message
    yield "5 pong between fragments", lambda s: s.message(200, fragment=halves, between=lambda: s.pong(b"unasked"))
    yield "5.7 a ping between all fragments", lambda s: s.message(200, fragment=every(30), between=lambda: s.ping(b"a"))
    for number, first in ((9, FINAL), (12, 0)):
        yield f"5.{number} continuation of nothing", does(_wrong, first | CONTINUATION, b"nothing")
        yield f"5.{number} at once", does(_wrong_at_once, first | CONTINUATION, b"nothing")
    yield "5.15 continuation of a message that is over", _late_continuation
    for number, first in ((18, FINAL | BINARY), (18, BINARY), (18, FINAL | BINARY | 0x40)):
        yield f"5.{number} frame {first:#x} inside a message", does(_wrong_inside, first)
    yield "5.19 five fragments, pings in between", _five_fragments
    yield "5 close frame inside a message", _close_in_message


def _wrong_control(script: Script, opcode: int) -> None:
    _wrong(script, opcode, b"")
    script.raw(FINAL | CONTINUATION, b"")


def _ping_in_message(script: Script) -> None:
    script.message(200, fragment=halves, between=lambda: script.ping(b"in between"))


def _late_continuation(script: Script) -> None:
    script.message(200, fragment=halves)
    script.raw(FINAL | CONTINUATION, b"late")
    script.ends(1002)
    script.message(200)


def _five_fragments(script: Script) -> None:
    numbers = iter(range(1000))
    script.message(500, fragment=every(100), between=lambda: script.ping(b"ping-%d" % next(numbers)))
    script.ping(b"after it")


def _close_in_message(script: Script) -> None:
    script.message(200)
    script.raw(BINARY, b"x" * 40)
    script.close(1000)
    script.raw(FINAL | CONTINUATION, b"x" * 40)


# --- 6: UTF-8 ---------------------------------------------------------------------------------------------------------

_KOSME = "κόσμε".encode()

_VALID = {
    "6.5 Greek": _KOSME,
    "6.6 first of two bytes": "\u0080".encode(),
    "6.6 last of two bytes": "\u07ff".encode(),
    "6.6 first of three bytes": "\u0800".encode(),
    "6.6 last before surrogates": "\ud7ff".encode(),
    "6.6 first after surrogates": "\ue000".encode(),
    "6.6 replacement character": "\ufffd".encode(),
    "6.6 first of four bytes": "\U00010000".encode(),
    "6.6 last of all": "\U0010ffff".encode(),
    "6.22 noncharacter of three bytes": "\ufffe\uffff".encode(),
    "6.22 noncharacter of four bytes": "\U0001fffe\U0010fffe".encode(),
    "6.7 NUL": b"\0",
    "6.23 byte order mark": "\ufeff".encode(),
}
_INVALID = {
    "6.3 surrogate after Greek": _KOSME + b"\xed\xa0\x80edited",
    "6.4 more than the last of all after Greek": _KOSME + b"\xf4\x90\x80\x80edited",
    "6.8 five bytes": b"\xf8\x88\x80\x80\x80",
    "6.8 six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "6.11 more than the last of all": b"\xf4\x90\x80\x80",
    "6.12 lone continuation": b"\x80",
    "6.12 last lone continuation": b"\xbf",
    "6.12 many lone continuations": b"\x80\xbf" * 20,
    "6.13 start of two bytes before a space": b"\xc2 \xdf ",
    "6.13 start of three bytes before a space": b"\xe1 ",
    "6.13 start of four bytes before a space": b"\xf1 ",
    "6.14 two bytes cut": b"\xc2",
    "6.14 three bytes cut": b"\xe1\x80",
    "6.14 four bytes cut": b"\xf1\x80\x80",
    "6.16 impossible byte 0xfe": b"\xfe",
    "6.16 impossible byte 0xff": b"\xff",
    "6.17 slash in two bytes": b"\xc0\xaf",
    "6.17 slash in three bytes": b"\xe0\x80\xaf",
    "6.17 slash in four bytes": b"\xf0\x80\x80\xaf",
    "6.18 longest of two bytes that is one": b"\xc1\xbf",
    "6.18 longest of three bytes that is two": b"\xe0\x9f\xbf",
    "6.18 longest of four bytes that is three": b"\xf0\x8f\xbf\xbf",
    "6.19 NUL in two bytes": b"\xc0\x80",
    "6.20 first surrogate": b"\xed\xa0\x80",
    "6.20 last surrogate": b"\xed\xbf\xbf",
    "6.21 pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
}


def _texts() -> Iterator[tuple[str, Case]]:
    for name, payload in {"6.1 empty text": b"", **_VALID, **_INVALID}.items():
        yield f"{name}, in a text", does(_wrong, FINAL | TEXT, payload, 1003)
    yield "6.2 text in fragments", does(_wrong, TEXT, _KOSME[:3], 1003)
    yield "6.2 text at once", does(_wrong_at_once, FINAL | TEXT, _KOSME, 1003)


def _reasons() -> Iterator[tuple[str, Case]]:
    for name, reason in _VALID.items():
        yield f"{name}, in a reason", does(Script.close, 1000, reason)
        whole = reason * (123 // len(reason))
        yield f"{name}, in a long reason", does(Script.close, 1000, whole)
    for name, reason in _INVALID.items():
        yield f"{name}, in a reason", does(Script.close, 1000, reason, answer=1007)
    for size in range(1, len(_KOSME)):
        cut = _KOSME[:size]
        is_whole = cut.decode("utf-8", "ignore").encode() == cut
        answer = None if is_whole else 1007
        yield f"6.5 Greek cut at {size}, in a reason", does(Script.close, 1000, cut, answer=answer)


# --- 7: closing -------------------------------------------------------------------------------------------------------


def _closing() -> Iterator[tuple[str, Case]]:
    yield "7.1.1 message, then a close frame", lambda s: s.message(200).close(1000)
    yield "7.1.2 two close frames", lambda s: s.close(1000).close(1001)
    yield "7.1.3 ping after a close frame", lambda s: s.close(1000).ping(b"late")
    yield "7.1.4 message after a close frame", lambda s: s.close(1000).message(200)
    yield "7.1.5 close frame inside a message", _close_in_message
    yield "7.1.6 large message, then a close frame, then a ping", _close_after_large
    yield "7 nonsense after a close frame", lambda s: s.close(1000).raw(0xFF, b"\xff" * 100)
    yield "7.3.1 close frame without code", does(Script.close, None)
    yield "7.3.2 close frame of a byte", does(_wrong, FINAL | CLOSE, b"\x03")
    yield "7.3.3 close frame with a code", does(Script.close, 1000)
    yield "7.3.4 close frame with a reason", does(Script.close, 1000, b"Hello World!")
    yield "7.3.5 reason of 123 bytes", does(Script.close, 1000, b"*" * 123)
    yield "7.3.6 reason of 124 bytes", does(Script.close, 1000, b"*" * 124, answer=1002)
    yield "7 close frame that announces 70,000 bytes", does(_wrong, FINAL | CLOSE, b"", length=70_000)
    yield "7.5.1 reason that is no UTF-8", does(Script.close, 1000, _KOSME + b"\xed\xa0\x80edited", answer=1007)
    for code in (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999):
        yield f"7.7 code {code}", does(Script.close, code)
    for code in (1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield f"7.9 code {code}", does(_wrong, FINAL | CLOSE, struct.pack("!H", code))
    yield "7.9 code 0", does(_wrong, FINAL | CLOSE, b"\0\0")


def _close_after_large(script: Script) -> None:
    script.message(256 * 1024)
    script.close(1000)
    script.ping(b"late")


# --- 9 and 10: limits, and fragments by themselves --------------------------------------------------------------------

LARGE = ("9", "10", "7.1.6")
"""How the names of those cases begin that carry much."""


def _limits() -> Iterator[tuple[str, Case]]:
    for size in (64 * 1024, 256 * 1024, 1024 * 1024):
        yield f"9.1 message of {size} bytes", does(Script.message, size)
    yield "9.1 largest message", lambda script: script.message(script.largest)
    for step in (64, 1024, 65536):
        yield f"9.3 message in fragments of {step} bytes", does(Script.message, 256 * 1024, fragment=every(step))
    yield "9.3 largest message in fragments", lambda s: s.message(s.largest, fragment=every(64 * 1024))
    yield "9.7 a thousand messages of 50 bytes", lambda s: [s.message(50) for _ in range(1000)]
    yield "9.7 a thousand messages of every length", lambda s: [s.message(n) for n in range(1000)]
    yield "9 a frame beyond the limit", lambda s: _wrong(s, FINAL | BINARY, b"", 1009, length=s.beyond)
    yield "9 the longest length of all", does(_wrong, FINAL | BINARY, b"", 1009, length=(1 << 63) - 1)
    yield "9 fragments beyond the limit", _fragments_beyond
    yield "9 fragments beyond the limit, pings in between", does(_fragments_beyond, pinging=True)
    yield "10.1.1 message of 65536 bytes in fragments of 1300", does(Script.message, 65536, fragment=every(1300))


def _fragments_beyond(script: Script, *, pinging: bool = False) -> None:
    """Write fragments that are too much together; the last one is only announced, unless the reader may go on."""
    script.message(200)
    step = 1024 * 1024
    script.raw(BINARY, bytes(step))
    for _ in range(step, script.largest + 1 - step, step):
        script.raw(CONTINUATION, bytes(step))
        if pinging:
            script.ping(b"in between")
    if not script.is_lenient:
        script.raw(FINAL | CONTINUATION, bytes(4), length=2 * step).ends(1009)
        return
    script.raw(FINAL | CONTINUATION, bytes(2 * step))
    script.raw(FINAL | CLOSE, struct.pack("!H", 1000)).ends(1009, 1000)


CASES: dict[str, Case] = dict(_cases())
"""All cases by number and name."""


# --- by chance --------------------------------------------------------------------------------------------------------

_SIZES = (0, 1, 40, 125, 126, 127, 128, 1000, 65535, 65536, 65600)
_FAULTS: tuple[tuple[int, bytes, int], ...] = (
    (FINAL | 0x40 | BINARY, b"x", 1002),
    (FINAL | 0x3, b"x", 1002),
    (FINAL | 0xB, b"", 1002),
    (FINAL | CONTINUATION, b"x", 1002),
    (CONTINUATION, b"", 1002),
    (PING, b"x", 1002),
    (FINAL | PONG, bytes(126), 1002),
    (FINAL | TEXT, b"x", 1003),
    (FINAL | CLOSE, b"\x03", 1002),
    (FINAL | CLOSE, b"\x03\xed", 1002),
    (FINAL | CLOSE, b"\x03\xe8\xff", 1007),
)


def fuzzed(script: Script, chance: Random) -> None:
    """Write messages in fragments of any length, control frames anywhere, and half of the time a fault at the end."""

    def between() -> None:
        while chance.random() < 0.3:
            control = script.ping if chance.random() < 0.5 else script.pong
            control(pattern(int(chance.random() ** 3 * 126)))

    for _ in range(1 + int(chance.random() * 12)):
        between()
        size = _SIZES[int(chance.random() ** 2 * len(_SIZES))] + int(chance.random() * 3)
        count = int(chance.random() ** 2 * 12)
        script.message(size, fragment=lambda size, count=count: cuts(size, count, chance), between=between)
    between()
    if chance.random() < 0.5:
        first, payload, code = _FAULTS[int(chance.random() * len(_FAULTS))]
        script.raw(first, payload)
        script.ends(code)
        between()
        script.message(200)
