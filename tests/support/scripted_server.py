"""A WebSocket server that obeys a test, on the independent implementation of ``websockets``.

This server does what the emulator never does (stay silent, answer in one batch, drop a connection, not read). A peer
reads when asked to, so not reading is its natural state. Our frames are read by code that is not ours.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

import meshsync
from meshsync.protocol import codec, greeting
from meshsync.protocol.content import Content, Empty
from meshsync.protocol.greeting import GreetingForm
from meshsync.protocol.operations import Connected, Push, RoomReady, Send
from meshsync.protocol.packets import Reassembler, WireMessage, split

__all__ = ["LONG", "SMALL", "ScriptedPeer", "ScriptedServer", "start"]

LONG = 30.0
"""Seconds after which a scripted peer gives up waiting; a test that passes never waits so long."""

SMALL = 32 * 1024
"""Bytes of a receive buffer that soon blocks a sender."""

T = TypeVar("T")


def start(function: Callable[..., T], *arguments: Any, **options: Any) -> Future[T]:
    """Run a function in a thread; ``result(timeout)`` of the future waits for it."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(function(*arguments, **options))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True, name=f"test {getattr(function, '__name__', '')}").start()
    return future


class ScriptedServer:
    """A listening socket on loopback; the test accepts, answers, refuses or ignores.

    Args:
        tls: Its certificate; without one it speaks plain TCP.
        receive_buffer: Bytes that the system holds for a connection that is not read; None for the system's own
            choice, which is megabytes.
    """

    ROOM = "demo"
    ALICE = "p-1"
    """The id of the client that joins."""
    BOB = "p-2"
    """The id of a participant that is there already."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, receive_buffer: int | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(LONG)
        if receive_buffer is not None:
            self.shrink_buffers(receive_buffer)
        self._accepted: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'wss://localhost' if tls else 'ws://127.0.0.1'}:{self.port}/rooms/{self.ROOM}"

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def shrink_buffers(self, size: int = 4096) -> None:
        """Have the system hold little for new connections, so that a sender here soon has to wait."""
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    def accept_raw(self) -> socket.socket:
        """Return the next TCP connection, TLS established if this server has it."""
        connection, _ = self._listener.accept()
        connection.settimeout(LONG)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        self._accepted.append(connection)
        return connection

    def accept(self) -> ScriptedPeer:
        """Accept a connection and agree to its handshake."""
        peer = ScriptedPeer(self.accept_raw())
        peer.agree()
        return peer

    def begin_to_accept(self) -> Future[ScriptedPeer]:
        """Accept the next connection in a thread, since the client's handshake blocks meanwhile."""
        return start(self.accept)

    def serve(self) -> ScriptedPeer:
        """Accept a connection, greet it, and answer its enable request: Bob is there."""
        peer = self.accept()
        peer.greet()
        peer.enable(peer.read_enabling().id)
        return peer

    def refuse(self, status: int) -> None:
        """Answer one handshake with an HTTP status."""
        ScriptedPeer(self.accept_raw()).refuse(status)

    def connect(self, **options: Any) -> meshsync.RoomClient:
        """Connect to this server as Alice; returns when it greets."""
        token = meshsync.ParticipantToken.for_room(self.ROOM, "alice").encode("a secret that is not checked here")
        return meshsync.connect(url=self.url, token=token, **options)

    def join(self, **options: Any) -> tuple[meshsync.RoomClient, ScriptedPeer]:
        """Return Alice, enabled, and the server's end of her connection."""
        serving = start(self.serve)
        client = self.connect(**options)
        client.messaging.enable()
        return client, serving.result(LONG)

    def close(self) -> None:
        """Stop listening, and drop every connection with a reset."""
        self._listener.close()
        for connection in self._accepted:
            _reset(connection)


class ScriptedPeer:
    """The server's end of one connection, for packets and for a room's messages. It reads when the test asks."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.protocol = ServerProtocol(max_size=None)
        self.request: Request | None = None
        """The client's handshake."""
        self.frames: list[Frame] = []
        """All frames that were read, in order."""
        self.is_ended = False
        """Whether everything was read up to the end of the TCP connection."""
        self._packets: list[bytes] = []
        self._messages: list[WireMessage] = []
        self._reassembler = Reassembler()

    # --- the handshake ------------------------------------------------------------------------------------------------

    def agree(self) -> None:
        """Do the handshake."""
        self.protocol.send_response(self.protocol.accept(self._read_handshake()))
        self._write()

    def refuse(self, status: int) -> None:
        """Answer the handshake with an HTTP status."""
        self._read_handshake()
        self.protocol.send_response(self.protocol.reject(status, "refused by the test"))
        self._write()
        self.socket.close()

    def _read_handshake(self) -> Request:
        while self.request is None:
            self._read_on()
        return self.request

    # --- packets and frames that go out -------------------------------------------------------------------------------

    def send(self, packets: Sequence[bytes]) -> None:
        """Send packets in one piece."""
        for packet in packets:
            self.protocol.send_binary(packet)
        self._write()

    def send_fragments(self, pieces: Sequence[bytes]) -> None:
        """Send one packet in several frames, with a ping before each but the first."""
        for number, piece in enumerate(pieces):
            is_last = number == len(pieces) - 1
            if number == 0:
                self.protocol.send_binary(piece, fin=is_last)
            else:
                self.protocol.send_ping(b"between")
                self.protocol.send_continuation(piece, fin=is_last)
        self._write()

    def send_raw(self, data: bytes) -> None:
        """Send bytes that need not be frames."""
        self.socket.sendall(data)

    def ping(self, payload: bytes) -> None:
        """Send a ping."""
        self.protocol.send_ping(payload)
        self._write()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame."""
        self.protocol.send_close(code, reason)
        self._write()

    def drop(self) -> None:
        """End the TCP connection without a close frame."""
        self.socket.close()

    def cut(self) -> None:
        """End the TCP connection as a crash does, with a reset."""
        _reset(self.socket)

    def _write(self) -> None:
        data = b"".join(self.protocol.data_to_send())
        if data:
            with suppress(OSError):  # The client may be gone; a test that needs the data fails for want of it.
                self.socket.sendall(data)

    # --- messages of a room that go out -------------------------------------------------------------------------------

    def say(self, *messages: tuple[int, str, bytes]) -> None:
        """Send messages in one piece: results of `answer`, `push` and `roster` return."""
        self.send([packet for id, type, body in messages for packet in split(id, type, body, 65536)])

    def greet(self) -> None:
        """Send the greeting: the room is ready, the client is Alice."""
        ready = greeting.encode_room_ready(RoomReady("demo", "https://example.test/demo", "s-1"), GreetingForm.ENVELOPE)
        connected = Connected(ScriptedServer.ALICE, {"name": "alice"})
        self.say((1, *ready), (2, *greeting.encode_connected(connected, GreetingForm.ENVELOPE)))

    def enable(self, request_id: int) -> None:
        """Answer an enable request: Bob is there."""
        self.say(self.answer(request_id), self.roster())

    def roster(self) -> tuple[int, str, bytes]:
        """Return the list of participants, for `say`."""
        bob = {"id": ScriptedServer.BOB, "role": "user", "attributes": {"name": "bob"}}
        return self.push("messaging.enabled", {"participants": [bob]}, sender=ScriptedServer.ALICE)

    def answer(self, request_id: int, content: Content | None = None) -> tuple[int, str, bytes]:
        """Return the answer to a request, for `say`."""
        return request_id, *codec.encode_reply(content or Empty())

    def push(self, type: str, message: dict[str, Any], *, sender: str = ScriptedServer.BOB) -> tuple[int, str, bytes]:
        """Return a message from Bob, for `say`."""
        return 0, *codec.encode_push(Push(sender, type, message))

    # --- reading ------------------------------------------------------------------------------------------------------

    def read(self, size: int = 65536) -> bool:
        """Read the data there, at least a byte; return False at the end."""
        try:
            data = self.socket.recv(size)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if not data:
            self.is_ended = True
            return False
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self.request = event
                continue
            assert isinstance(event, Frame)
            self.frames.append(event)
            if event.opcode is Opcode.BINARY:
                assert event.fin
                self._packets.append(bytes(event.data))
        self._write()  # an answer to a ping or a close frame
        return True

    def _read_on(self) -> None:
        assert self.read(), "the client went away"

    def receive(self, count: int) -> list[bytes]:
        """Read until ``count`` packets have come; with 0, return those read in other calls."""
        while len(self._packets) < count:
            self._read_on()
        count = count or len(self._packets)
        packets, self._packets = self._packets[:count], self._packets[count:]
        return packets

    def read_message(self) -> WireMessage:
        """Return the next whole message."""
        while not self._reassemble():
            self._read_on()
        return self._messages.pop(0)

    def read_request(self) -> WireMessage:
        """Return the next whole message as the client sent it; its ``id`` is what an answer needs."""
        return self.read_message()

    def read_enabling(self) -> WireMessage:
        """Return the next request but for attributes, which say who the client is and have no answer."""
        request = self.read_request()
        return self.read_enabling() if request.type == "set_attributes" else request

    def read_send(self) -> tuple[int, Send]:
        """Return the id and the content of the next request, which has to be a message to a participant."""
        message = self.read_message()
        request = codec.decode_request(message)
        assert isinstance(request, Send), request
        return message.id, request

    def take_messages(self) -> list[WireMessage]:
        """Return the whole messages that were read and not yet asked for."""
        messages, self._messages = self._reassemble(), []
        return messages

    def _reassemble(self) -> list[WireMessage]:
        """Return the whole messages that were read, which stay where they are."""
        self._messages += self._reassembler.feed(self.receive(0))
        return self._messages

    def take_frames(self) -> list[Frame]:
        """Return the frames that were read since the last time."""
        frames, self.frames = self.frames, []
        return frames

    def await_pong(self) -> bytes:
        """Read until a pong has come that was not asked for before, and return its payload."""
        while not (pongs := self._frames_of(Opcode.PONG)):
            self._read_on()
        self.frames.remove(pongs[0])
        return bytes(pongs[0].data)

    def await_close(self) -> tuple[int | None, str]:
        """Read until the client's close frame has come, and return its code and reason."""
        while not self._frames_of(Opcode.CLOSE):
            self._read_on()
        close = self.protocol.close_rcvd
        return (None, "") if close is None or close.code == 1005 else (int(close.code), close.reason)

    def await_end(self) -> None:
        """Read until the client has gone."""
        while not self.is_ended:
            self.read()

    def read_close_code(self) -> int | None:
        """Read to the end and return the code of the client's close frame; None if it ended without one."""
        self.await_end()
        return self.await_close()[0] if self._frames_of(Opcode.CLOSE) else None

    def _frames_of(self, opcode: Opcode) -> list[Frame]:
        return [frame for frame in self.frames if frame.opcode is opcode]


def _reset(connection: socket.socket) -> None:
    """Close a socket with a reset, unless it is closed already."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
