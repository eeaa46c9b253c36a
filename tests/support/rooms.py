"""What tests of the whole client share: rooms to join, a server that does as it is told, and ears.

Most tests join rooms of one emulator. What the emulator would never do (stay silent, answer in one breath, hang up
without a word, not read) does a `ScriptedServer`, whose WebSocket side is the sans-I/O half of `websockets`, so that
our frames are read by somebody else.
"""

from __future__ import annotations

import os
import queue
import random
import socket
import struct
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.server import ServerProtocol

import meshsync
from meshsync.protocol import codec, greeting
from meshsync.protocol.content import Content, Empty
from meshsync.protocol.greeting import GreetingForm
from meshsync.protocol.operations import Connected, Push, RoomReady, Send
from meshsync.protocol.packets import Message, Reassembler, split
from simulator import Emulator

__all__ = [
    "Ears",
    "Join",
    "ScriptedConnection",
    "ScriptedServer",
    "emulated",
    "finish",
    "join",
    "own_port",
    "run",
    "server",
    "settle",
    "start",
]

ROOT = Path(__file__).parents[1]
PATIENCE = 30.0
"""Seconds after which what has to come is given up; a test that passes never waits so long."""

T = TypeVar("T")
Join = Callable[..., meshsync.RoomClient]

_rooms = count(1)


# --- fixtures ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def emulated() -> Iterator[Emulator]:
    """Return an emulator that many tests share; each joins a room of its own."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def join(emulated: Emulator) -> Iterator[Join]:
    """Return what joins this test's room: ``join(name, enable=True, role="user", **options of connect)``."""
    room = f"room-{next(_rooms)}"
    clients: list[meshsync.RoomClient] = []

    def join(name: str, *, enable: bool = True, role: str = "user", **options: Any) -> meshsync.RoomClient:
        token = emulated.token(room, name, role=role)
        client = meshsync.connect(room, url=emulated.url, token=token, **options)
        clients.append(client)
        if enable:
            client.messaging.enable()
        return client

    yield join
    for client in clients:
        client.close(1)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """Return a server that does what the test says and nothing else."""
    server = ScriptedServer()
    yield server
    server.close()


# --- ears and hands ---------------------------------------------------------------------------------------------------


class Ears:
    """A receiver that keeps what it hears, in order, until the test asks for it. blinker may call it too."""

    def __init__(self) -> None:
        self._heard: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, *arguments: Any, event: Any = None) -> None:
        self._heard.put(event if event is not None else arguments[0])

    def next(self, timeout: float = PATIENCE) -> Any:
        """Return the earliest unasked; wait for it if need be."""
        return self._heard.get(timeout=timeout)

    def until(self, is_last: Callable[[Any], bool]) -> list[Any]:
        """Return everything up to the first for which ``is_last`` holds, that included."""
        heard = [self.next()]
        while not is_last(heard[-1]):
            heard.append(self.next())
        return heard

    @property
    def is_silent(self) -> bool:
        """Whether nothing unasked was heard."""
        return self._heard.empty()


def settle(room: meshsync.RoomClient) -> None:
    """Wait until a client has told its receivers of everything that came so far."""
    told = Ears()
    with meshsync.signals.message.connected_to(told, sender=room.messaging):
        room.messaging.send_message(room.local_participant, "settle", {})
        told.next()


def start(function: Callable[..., T], *arguments: Any, **options: Any) -> Future[T]:
    """Run a function in a thread; ``result(timeout)`` of what is returned waits for it."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(function(*arguments, **options))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True, name=f"test {getattr(function, '__name__', '')}").start()
    return future


def run(script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a script in a fresh interpreter that finds this checkout."""
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return subprocess.Popen(
        [sys.executable, "-u", "-c", textwrap.dedent(script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


def finish(process: subprocess.Popen[str], timeout: float = PATIENCE) -> str:
    """Wait for a script's end and return what it printed; fail with its traceback if it failed."""
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        pytest.fail(f"the script did not end within {timeout} s: {output}\n{errors}")
    assert process.returncode == 0, f"{output}\n{errors}"
    return output


def own_port() -> int:
    """Return a free port of 127.0.0.1 that stays free while nobody listens there.

    One that the system chose could be given, by the system, to any connection that is made meanwhile. These lie below
    those that it gives: from 32768 on Linux, from 49152 elsewhere.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("all of a hundred ports are taken")


# --- a server that does as it is told ---------------------------------------------------------------------------------


class ScriptedServer:
    """Listens; the test accepts, answers, refuses or ignores."""

    ROOM = "demo"
    ALICE = "p-1"
    """The id of whoever joins."""
    BOB = "p-2"
    """The id of one who is there already."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self._connections: list[ScriptedConnection] = []
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/rooms/{self.ROOM}"

    def shrink_buffers(self) -> None:
        """Have the system take little for connections to come, so that whoever sends here soon has to wait."""
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def accept(self) -> ScriptedConnection:
        """Accept a connection and agree to its handshake."""
        connection = ScriptedConnection(self._listener.accept()[0])
        self._connections.append(connection)
        connection.agree()
        return connection

    def serve(self) -> ScriptedConnection:
        """Accept a connection, greet it, and answer its wish to take part: Bob is there."""
        connection = self.accept()
        connection.greet()
        connection.enable(connection.read_request().id)
        return connection

    def refuse(self, status: int) -> None:
        """Answer one handshake with an HTTP status."""
        connection = ScriptedConnection(self._listener.accept()[0])
        self._connections.append(connection)
        connection.refuse(status)

    def connect(self, **options: Any) -> meshsync.RoomClient:
        """Connect to this server as Alice; returns when it greets."""
        token = meshsync.ParticipantToken.for_room(self.ROOM, "alice").encode("a secret that nobody here will check")
        return meshsync.connect(url=self.url, token=token, **options)

    def join(self, **options: Any) -> tuple[meshsync.RoomClient, ScriptedConnection]:
        """Return Alice, who takes part, and the server's end of her connection."""
        serving = start(self.serve)
        client = self.connect(**options)
        client.messaging.enable()
        return client, serving.result(PATIENCE)

    def close(self) -> None:
        """Hang up on everybody."""
        self._listener.close()
        for connection in self._connections:
            connection.cut()


class ScriptedConnection:
    """The server's end of one connection. Nothing is read unless the test says so."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(PATIENCE)
        self.protocol = ServerProtocol(max_size=None)
        self.frames: list[Frame] = []
        """All frames that were read, in order."""
        self._messages: list[Message] = []
        self._reassembler = Reassembler()

    def agree(self) -> None:
        """Do the handshake."""
        request = self._read_handshake()
        self.protocol.send_response(self.protocol.accept(request))
        self._flush()

    def refuse(self, status: int) -> None:
        """Answer the handshake with an HTTP status."""
        self._read_handshake()
        self.protocol.send_response(self.protocol.reject(status, "refused by the test"))
        self._flush()
        self.socket.close()

    def _read_handshake(self) -> Handshake:
        while True:
            self.protocol.receive_data(self.socket.recv(65536))
            for event in self.protocol.events_received():
                assert isinstance(event, Handshake)
                return event

    # --- what goes out ------------------------------------------------------------------------------------------------

    def greet(self) -> None:
        """Say that the room is ready, and who this client is."""
        ready = greeting.encode_room_ready(RoomReady("demo", "https://example.test/demo", "s-1"), GreetingForm.ENVELOPE)
        connected = Connected(ScriptedServer.ALICE, {"name": "alice"})
        self.send((1, *ready), (2, *greeting.encode_connected(connected, GreetingForm.ENVELOPE)))

    def enable(self, request_id: int) -> None:
        """Answer a wish to take part: Bob is there."""
        self.send(self.answer(request_id), self.roster())

    def roster(self) -> tuple[int, str, bytes]:
        """Return the list of who is there, for `send`."""
        bob = {"id": ScriptedServer.BOB, "role": "user", "attributes": {"name": "bob"}}
        return self.push("messaging.enabled", {"participants": [bob]}, sender=ScriptedServer.ALICE)

    def answer(self, request_id: int, content: Content | None = None) -> tuple[int, str, bytes]:
        """Return the answer to a request, for `send`."""
        return request_id, *codec.encode_reply(content or Empty())

    def push(self, type: str, message: dict[str, Any], *, sender: str = ScriptedServer.BOB) -> tuple[int, str, bytes]:
        """Return a message from Bob, for `send`."""
        return 0, *codec.encode_push(Push(sender, type, message))

    def send(self, *messages: tuple[int, str, bytes]) -> None:
        """Send messages in one breath: they arrive in one piece."""
        for id, type, body in messages:
            for packet in split(id, type, body, 65536):
                self.protocol.send_binary(packet)
        self._flush()

    def ping(self, data: bytes) -> None:
        """Ask for a sign of life."""
        self.protocol.send_ping(data)
        self._flush()

    def say_goodbye(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame."""
        self.protocol.send_close(code, reason)
        self._flush()

    def cut(self) -> None:
        """End the TCP connection as a crash does, with a reset."""
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            return  # closed already
        self.socket.close()

    def _flush(self) -> None:
        data = b"".join(self.protocol.data_to_send())
        if data:
            self.socket.sendall(data)

    # --- what comes ---------------------------------------------------------------------------------------------------

    def read(self, size: int = 65536) -> bool:
        """Read what is there, at least something; return False at the end."""
        try:
            data = self.socket.recv(size)
        except ConnectionResetError:
            return False
        if not data:
            return False
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            assert isinstance(event, Frame)
            self.frames.append(event)
            if event.opcode is Opcode.BINARY:
                self._messages += self._reassembler.feed([bytes(event.data)])
        with suppress(OSError):  # the client may be gone
            self._flush()  # an answer to a ping or a goodbye
        return True

    def read_message(self) -> Message:
        """Return the next whole message."""
        while not self._messages:
            assert self.read(), "the client hung up"
        return self._messages.pop(0)

    def read_request(self) -> Message:
        """Return the next whole message as the client sent it; its ``id`` is what an answer needs."""
        return self.read_message()

    def take_messages(self) -> list[Message]:
        """Return the whole messages that were read and not yet asked for."""
        messages, self._messages = self._messages, []
        return messages

    def take_frames(self) -> list[Frame]:
        """Return the frames that were read since the last time."""
        frames, self.frames = self.frames, []
        return frames

    def read_send(self) -> tuple[int, Send]:
        """Return the id and the content of the next request, which has to be a message to somebody."""
        message = self.read_message()
        request = codec.decode_request(message)
        assert isinstance(request, Send), request
        return message.id, request

    def read_close_code(self) -> int | None:
        """Read to the end and return the code of the client's goodbye; None if it hung up without one."""
        while self.read():
            pass
        closing = [frame for frame in self.frames if frame.opcode is Opcode.CLOSE]
        return struct.unpack("!H", closing[0].data[:2])[0] if closing else None
