"""Every end of a WebSocket of ours that reads frames, behind one face, for the scripts of `tests.support.autobahn`.

Two bare decoders, the client's transport, and the emulator's gateway. What they write is read by ``websockets``.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol as WebSocket
from websockets.protocol import Side, State

from meshsync.errors import MeshsyncError, ProtocolError
from meshsync.protocol.dialects import dialect
from meshsync.protocol.frames import MAX_SIZE, FrameDecoder
from meshsync.protocol.operations import Enable, Push
from meshsync.protocol.packets import MAX_MESSAGE_SIZE, split
from meshsync.runtime.threads import ThreadRuntime
from meshsync.transport.shared_socket import SharedSocket
from meshsync.transport.websocket import WebSocketTransport
from simulator import Emulator
from tests.support.autobahn import Script
from tests.support.scripted_server import LONG, start
from tests.support.sockets import PlainSocket, RawClient

__all__ = ["BareDecoder", "ClientEnd", "End", "GatewayEnd", "Outcome"]

A3 = dialect("A3")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an end made of the bytes that it was given."""

    contents: list[bytes]
    """The messages that arrived."""
    pongs: list[bytes]
    code: int | None
    """Of the close frame that it sent, which may lack one."""


class End(Protocol):
    """An end of ours."""

    is_server: bool
    """Whether what it reads is masked."""
    largest: int
    """Bytes of the largest content that it accepts."""
    beyond: int
    """Bytes of a frame that it must not accept."""
    is_lenient: bool
    """Whether it may refuse a packet that is too large, and go on: a room may, since only that request is lost."""

    def message(self, content: bytes) -> list[bytes]:
        """Return the packets that carry some content to it."""

    def meet(self, script: Script, pieces: Callable[[bytes], Sequence[bytes]]) -> Outcome:
        """Give it a script, cut into pieces; a script that is not over by its end is ended with the code 1000."""


class BareDecoder:
    """The decoder alone, which answers nothing: its fault or the peer's close frame counts as its answer."""

    def __init__(self, *, is_server: bool) -> None:
        self.is_server = is_server
        self.largest, self.beyond, self.is_lenient = MAX_SIZE, MAX_SIZE + 1, False

    def message(self, content: bytes) -> list[bytes]:
        return [content]

    def meet(self, script: Script, pieces: Callable[[bytes], Sequence[bytes]]) -> Outcome:
        decoder = FrameDecoder(masked=self.is_server)
        outcome = Outcome([], [], 1000)
        try:
            for piece in pieces(bytes(script.data)):
                decoder.feed(piece, outcome.contents)
                ping = decoder.take_ping()
                if ping is not None:
                    outcome.pongs.append(ping)
        except ProtocolError as fault:
            ping = decoder.take_ping()
            return Outcome(outcome.contents, [*outcome.pongs, *([] if ping is None else [ping])], fault.code)
        return outcome if decoder.close is None else Outcome(outcome.contents, outcome.pongs, decoder.close.code)


class ClientEnd:
    """The client's transport, on a socket."""

    is_server = False
    largest, beyond, is_lenient = MAX_SIZE, MAX_SIZE + 1, False

    def message(self, content: bytes) -> list[bytes]:
        return [content]

    def meet(self, script: Script, pieces: Callable[[bytes], Sequence[bytes]]) -> Outcome:
        ours, theirs = socket.socketpair()
        runtime = ThreadRuntime()
        transport = WebSocketTransport(SharedSocket(ours, runtime), runtime)
        contents: list[bytes] = []
        reading = start(_read_all, transport, contents)
        with theirs:
            pongs, code = _converse(theirs, Side.SERVER, script, pieces)
        end = reading.result(LONG)
        assert isinstance(end, ProtocolError) == script.is_faulty, end
        return Outcome(contents, pongs, code)


class GatewayEnd:
    """The emulator's gateway, with a participant who witnesses what arrives: the content of broadcasts."""

    is_server = True
    largest, beyond, is_lenient = MAX_MESSAGE_SIZE - 200, 16 * MAX_MESSAGE_SIZE + 1, True
    """The largest message is larger for its recipients, who read its sender's id."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._numbers = count()
        self._witness = RawClient(emulator, "ben")

    def __enter__(self) -> GatewayEnd:
        self._witness.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._witness.__exit__(None, None, None)

    def message(self, content: bytes) -> list[bytes]:
        header = b'{"type":"t","message":{}}'
        body = struct.pack(">Q", len(header)) + header + content
        # The body's packets are as long as the content, where there is room for an index and a byte in them.
        return split(2, "messaging.broadcast", body, size=max(1, len(content) - 12))

    def meet(self, script: Script, pieces: Callable[[bytes], Sequence[bytes]]) -> Outcome:
        with PlainSocket(self._emulator, f"mal-{next(self._numbers)}") as mal:
            mal.ask(Enable())
            arrived = self._read()
            assert arrived.type == "participant.enabled"
            pongs, code = _converse(mal.socket, Side.CLIENT, script, pieces, mal.received)
        contents = []
        while (push := self._read()).type != "participant.disabled":
            contents.append(bytes(push.attachment))
        assert push.sender == arrived.sender
        return Outcome(contents, pongs, code)

    def _read(self) -> Push:
        push = self._witness.read()
        assert isinstance(push, Push)
        return push


def _read_all(transport: WebSocketTransport, into: list[bytes]) -> MeshsyncError:
    try:
        while True:
            into += transport.receive(LONG)
    except MeshsyncError as error:
        return error


def _converse(
    connection: socket.socket,
    side: Side,
    script: Script,
    pieces: Callable[[bytes], Sequence[bytes]],
    received: bytes = b"",
) -> tuple[list[bytes], int | None]:
    """Play a script to an end, then a close frame where it has none, and return its pongs and its own close code."""
    reader = _Reader(connection, side, received)
    with suppress(OSError):  # An end that found a fault need not read on.
        for piece in pieces(bytes(script.data)):
            connection.sendall(piece)
        if script.codes is None:
            reader.until_pong(script.pings)
            closing = Script(lambda _: [], masked=script.is_masked).close(1000)
            connection.sendall(closing.data)
    reader.until_end()
    return reader.payloads(Opcode.PONG), reader.close_code()


class _Reader:
    """Reads the frames of an end."""

    def __init__(self, connection: socket.socket, side: Side, received: bytes) -> None:
        self._connection = connection
        self._protocol = WebSocket(side, state=State.OPEN, max_size=None)
        self._protocol.receive_data(received)
        self._frames: list[Frame] = []
        connection.settimeout(LONG)

    def _read(self) -> bool:
        try:
            data = self._connection.recv(1 << 20)
        except ConnectionResetError:  # Closed with what it had not read.
            data = b""
        if data:
            self._protocol.receive_data(data)
        self._frames += [event for event in self._protocol.events_received() if isinstance(event, Frame)]
        assert self._protocol.parser_exc is None, self._protocol.parser_exc
        return bool(data)

    def until_pong(self, pings: Sequence[bytes]) -> None:
        """Read until the last of these pings is answered."""
        while pings and pings[-1] not in self.payloads(Opcode.PONG):
            assert self._read(), "the connection ended before a ping was answered"

    def until_end(self) -> None:
        """Read until the connection has ended."""
        while self._read():
            pass

    def payloads(self, opcode: Opcode) -> list[bytes]:
        """Return the payloads of the frames of a kind that have come."""
        return [bytes(frame.data) for frame in self._frames if frame.opcode is opcode]

    def close_code(self) -> int | None:
        """Return the code of the close frame, which has to be the last frame and the only one of its kind."""
        payloads = self.payloads(Opcode.CLOSE)
        assert len(payloads) == 1, "the connection ended without a close frame"
        assert self._frames[-1].opcode is Opcode.CLOSE
        return int.from_bytes(payloads[0][:2], "big") if payloads[0] else None
