"""What one client can do to the others with 256 KB at once: nothing but make them wait a moment."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from meshsync.protocol.codec import encode_request
from meshsync.protocol.content import Control, Empty
from meshsync.protocol.dialects import dialect
from meshsync.protocol.operations import (
    Broadcast,
    CallChunk,
    CallMessage,
    Disable,
    Enable,
    OpenCall,
    Push,
    Reply,
    Request,
    Send,
    SetAttributes,
    UnknownRequest,
)
from meshsync.protocol.packets import split
from simulator import Emulator
from simulator.emulator import Limits
from tests.support.sockets import PATIENCE, PlainSocket, RawClient, frame

BURST = 256 * 1024
"""Bytes that one read of the emulator's can bring."""
TO = "to-" * 12
"""Stands for a participant's id, and is as long as one."""


def wire(*requests: Request, speaks: str = "A3") -> bytes:
    """Return requests as a client's frames."""
    packets = [packet for one in requests for packet in split(7, *encode_request(one, dialect(speaks)), 1 << 22)]
    return b"".join(frame(0x82, packet) for packet in packets)


def broadcast(message: str) -> bytes:
    """Return a broadcast of any JSON."""
    header = b'{"type":"t","message":' + message.encode() + b"}"
    body = struct.pack(">Q", len(header)) + header
    return b"".join(frame(0x82, packet) for packet in split(7, "messaging.broadcast", body, 1 << 22))


LISTS = SetAttributes({"x": [[]] * 19_000})
TEXT = SetAttributes({"x": "a" * 60_000})
CALLS = [
    request
    for n in range(300)
    for request in (
        OpenCall(f"c{n}"),
        CallChunk(f"c{n}", CallMessage("ask", {}, to=TO)),
        CallChunk(f"c{n}", Control("close")),
    )
]
KINDS: dict[str, tuple[bytes, bytes]] = {
    "updates of many attributes": (wire(LISTS), wire(SetAttributes({"k": 1}))),
    "toggles with large attributes": (wire(TEXT), wire(Disable(), Enable())),
    "toggles with many attributes": (wire(LISTS), wire(SetAttributes({"k": 1}), Disable(), Enable())),
    "enabling again": (wire(TEXT), wire(Enable())),
    "large attributes": (b"", wire(LISTS)),
    "many small attributes": (b"", wire(SetAttributes({str(n): n for n in range(5000)}))),
    "pings": (b"", frame(0x89, b"")),
    "pongs": (b"", frame(0x8A, b"")),
    "broadcasts": (b"", wire(Broadcast("chat", {}))),
    "sends": (b"", wire(Send(TO, "chat", {}))),
    "sends to nobody": (b"", wire(Send("nobody", "chat", {}))),
    "unknown requests": (b"", wire(UnknownRequest("storage.open"))),
    "fragments without an end": (frame(0x02, b"x"), frame(0x00, b"")),
    "single bytes of a message": (frame(0x82, struct.pack(">QII", 9, 0, 1 << 31) + b"t"), b""),
    "lists": (b"", broadcast(json.dumps([[]] * 20_000).join(('{"a":', "}")))),
    "nested lists": (b"", broadcast('{"a":[' + ",".join(["[" * 90 + "]" * 90] * 300) + "]}")),
    "fractions": (b"", broadcast('{"a":[' + ",".join(["1.5"] * 15_000) + "]}")),
    "large numbers": (b"", broadcast('{"a":[' + ",".join(["9" * 4300] * 20) + "]}")),
    "calls": (b"", wire(*[OpenCall(f"c{n}") for n in range(900)], speaks="B3")),
    "calls with their ends": (b"", wire(*CALLS, speaks="B3")),
    "streams": (b"", wire(*[Send(TO, "stream.open", {"stream_id": str(n), "header": {}}) for n in range(1200)])),
    "kinds of streams": (b"", wire(Enable(("x",) * 20_000))),
    "half a message": (frame(0x82, b"x", length=4_000_000), b"y" * BURST),
}


def single_bytes() -> Iterator[bytes]:
    """Return packets of one byte each."""
    for index in range(1, BURST // 19):
        yield frame(0x82, struct.pack(">QI", 9, index) + b"x")


class Reader:
    """A participant that reads all that comes, in a thread of its own, until it is cut or told to end."""

    def __init__(self, plain: PlainSocket) -> None:
        self.plain = plain
        self.is_over = False
        self.thread = threading.Thread(target=self._read, daemon=True)
        plain.ask(Enable())
        self.thread.start()

    def _read(self) -> None:
        try:
            while self.plain.socket.recv(1 << 20):
                pass
        except OSError:
            pass
        self.is_over = True


@pytest.mark.parametrize("kind", KINDS)
def test_burst_of_256_kb_costs_others_neither_their_answers_nor_their_seats(emulator: Emulator, kind: str) -> None:
    """Somebody in another room is answered meanwhile, and those in the same room who read everything stay."""
    before, one = KINDS[kind]
    with ExitStack() as stack:
        readers = [Reader(stack.enter_context(PlainSocket(emulator, f"ben-{n}"))) for n in range(3)]
        to = stack.enter_context(RawClient(emulator, "eve", speaks="B3"))
        other = stack.enter_context(RawClient(emulator, "ada", room="other"))
        mal = Reader(stack.enter_context(PlainSocket(emulator, "mal")))
        send = mal.plain.socket.sendall
        send(before)

        burst = b"".join(single_bytes()) if kind == "single bytes of a message" else one * -(-BURST // len(one))
        assert len(to.id) == len(TO)
        burst = burst.replace(TO.encode(), to.id.encode())
        sending = threading.Thread(target=send, args=(burst,), daemon=True)
        sending.start()
        for number in range(10):
            other.ask(Send(other.id, "chat", {"n": number}), number)
            assert other.read() == Push(other.id, "chat", {"n": number})
            assert other.read() == Reply(number, Empty())
        sending.join(PATIENCE)

        assert not sending.is_alive()
        assert not mal.is_over
        assert not any(reader.is_over for reader in readers)
        assert emulator.stats().participants == 6


def test_newcomer_is_refused_while_memory_is_scarce() -> None:
    """With 503, until what was held is free again."""
    with Emulator(limits=Limits(memory=3_000_000)) as emulator, PlainSocket(emulator, "mal") as mal:
        mal.socket.sendall(frame(0x82, b"x", length=4_000_000) + bytes(2_800_000))
        while emulator.stats().held < 2_800_000:
            pass
        with pytest.raises(Exception, match="503"), RawClient(emulator, "ben"):
            pass
        mal.socket.close()
        while emulator.stats().connections:
            pass
        with RawClient(emulator, "ben"):
            assert emulator.stats().participants == 1


def test_half_received_messages_are_counted_and_the_largest_holder_goes() -> None:
    """Three begin a message and do not end it; the one with the most is told that it holds too much."""
    with ExitStack() as stack:
        emulator = stack.enter_context(Emulator(limits=Limits(memory=4_000_000)))
        ones = [stack.enter_context(PlainSocket(emulator, f"mal-{n}")) for n in range(3)]
        for one, size in zip(ones, (1_000_000, 1_900_000, 1_500_000), strict=True):
            one.socket.sendall(frame(0x82, b"x", length=4_000_000) + bytes(size))
        assert b"memory is full" in ones[1].rest()
        assert emulator.stats().participants == 2
