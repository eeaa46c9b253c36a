"""Clients that go while something ends: the others are told, and nothing is raised or printed."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from meshsync.protocol.operations import Broadcast, Enable
from simulator import Emulator
from simulator.emulator import Limits
from simulator.emulator.connection import GatewayConnection
from tests.support.sockets import PATIENCE, Elsewhere, PlainSocket, RawClient, frame

ROOT = Path(__file__).resolve().parents[2]
GOODBYE = struct.pack("!H", 1001) + b"the emulator was closed"


def reset(connection: socket.socket) -> None:
    """Close so that the other end reads a reset, as a process that is killed with unread bytes does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def request(emulator: Emulator) -> bytes:
    """Return a whole handshake."""
    lines = [
        f"GET /rooms/lab?token={emulator.token('lab', 'mal')} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def leave_all(clients: list[PlainSocket], leave: Callable[[socket.socket], None]) -> None:
    """Have all leave, one after the other."""
    for client in clients:
        leave(client.socket)


def problems(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged with a traceback, or as an error."""
    return [record.getMessage() for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


@pytest.fixture(autouse=True)
def no_thread_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that ends by an exception fails the test."""
    monkeypatch.setattr(threading, "excepthook", lambda arguments: pytest.fail(repr(arguments.exc_value)))


def test_resets_in_the_handshake_are_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """1500, before, within and after the request: one line of each kind at most, no token, and no participant left.

    But for those that tell how many were not logged: they come once a second, for as long as it takes.
    """
    caplog.set_level(logging.INFO, "simulator.emulator")
    with Emulator() as emulator, RawClient(emulator, "ada") as ada:
        whole = request(emulator)
        for number in range(1500):
            connection = socket.create_connection(("127.0.0.1", emulator.port), timeout=PATIENCE)
            connection.sendall((b"", whole[: len(whole) // 2], whole)[number % 3])
            reset(connection)
        ada.ask(Broadcast("chat", {}), 5)
        ada.read()
        while emulator.stats().connections > 1 or emulator.stats().waiting:
            pass
        assert emulator.stats().participants == 1
    assert problems(caplog) == []
    assert len([message for message in caplog.messages if not message.startswith(("lab: ", "not logged"))]) <= 2
    assert "token" not in caplog.text


MALFORMED = [
    b"\x16\x03\x01\x02\x00\x01\x00" + bytes(100),
    b"GET / HTTP/9.9\r\n\r\n",
    b"GARBAGE\r\n\r\n",
    b"GET /?token=SECRET HTTP/1.1\r\nbad header\r\n\r\n",
    b"GET /?token=" + b"SECRET" * 2000 + b" HTTP/1.1\r\n\r\n",
    b"GET http://[bad/?token=SECRET HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /health?token=SECRET HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    b"POST /?token=SECRET HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Encoding: gzip\r\n\r\nxyz",
]


def test_malformed_http_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """Each is answered, or its connection ended; a line for each fault, no traceback, and nothing of a URL."""
    caplog.set_level(logging.INFO, "simulator.emulator")
    with Emulator() as emulator:
        for data in MALFORMED * 5:
            with socket.create_connection(("127.0.0.1", emulator.port), timeout=PATIENCE) as connection:
                connection.sendall(data)
                assert connection.recv(9) == b"HTTP/1.0 " or data.startswith((b"POST", b"GET /health"))
    assert problems(caplog) == []
    lines = [message for message in caplog.messages if "malformed" in message]
    assert 1 <= len(lines) == len(set(lines)) <= len(MALFORMED)
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize("last", [frame(0x88, b"\x03\xe8"), frame(0x81, b"text"), b""], ids=["close", "fault", "none"])
def test_those_who_go_at_once_are_not_missed(caplog: pytest.LogCaptureFixture, last: bytes) -> None:
    """Each sends its last frame and closes, or resets, without reading what is sent to it."""
    with Emulator() as emulator:
        for number in range(40):
            mal = PlainSocket(emulator, "mal")
            mal.socket.sendall(last)
            (reset if number % 2 else socket.socket.close)(mal.socket)
        while emulator.stats().connections:
            pass
    assert problems(caplog) == []


def test_closing_stops_at_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """20 times, 60 clients close or reset while the emulator closes; the one that stays is told, each time."""
    for turn in range(20):
        with Emulator(limits=Limits(linger=0.1)) as emulator:
            going = [PlainSocket(emulator, f"mal {number}") for number in range(60)]
            with PlainSocket(emulator, "ada") as ada:
                leaving = threading.Thread(target=leave_all, args=(going, reset if turn % 2 else socket.socket.close))
                leaving.start()
                emulator.close()
                leaving.join()
                assert GOODBYE in ada.rest()
    assert problems(caplog) == []


def test_connection_that_cannot_be_told_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours at one is logged, and its connection cut."""
    end = GatewayConnection.end

    def fail(self: GatewayConnection, code: int, reason: str) -> bool:
        if self.name == "mal":
            raise RuntimeError("a fault of ours")
        return end(self, code, reason)

    monkeypatch.setattr(GatewayConnection, "end", fail)
    with Emulator() as emulator, PlainSocket(emulator, "mal") as mal, RawClient(emulator, "ada") as ada:
        emulator.close()
        assert ada.ending() == (1001, "the emulator was closed")
        assert GOODBYE not in mal.rest()
    assert problems(caplog) == ["a connection could not be told that the emulator is closing"]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_two_hundred_leaving_at_sigterm_leave_the_others_told() -> None:
    """The server ends with status 0 and warns of nothing; five who stay read 1001."""
    command = [sys.executable, "-m", "simulator", "serve", "--json", "--port", "0", "--log-level", "warning"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as served:
        assert served.stdout is not None
        url = json.loads(served.stdout.readline())["url"]
        there = Elsewhere(int(url.rpartition(":")[2]))
        going = [PlainSocket(there, f"mal {number}") for number in range(200)]
        staying = [PlainSocket(there, f"ada {number}") for number in range(5)]
        served.send_signal(signal.SIGTERM)
        for client in going:
            client.socket.close()
        for stays in staying:
            assert GOODBYE in stays.rest()
            stays.socket.close()
        out, errors = served.communicate(timeout=PATIENCE)
        assert (served.returncode, out, errors) == (0, "", "")


def test_enabled_clients_that_reset_at_the_end_are_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    """Their peers are being told of them, as they are told themselves."""
    with Emulator() as emulator:
        clients = [PlainSocket(emulator, f"mal {number}") for number in range(30)]
        for client in clients:
            client.ask(Enable())
        for client in clients:
            reset(client.socket)
    assert problems(caplog) == []


def test_a_heartbeat_that_is_due_behind_the_close_frame_is_none(caplog: pytest.LogCaptureFixture) -> None:
    """A client that neither reads nor closes gets no ping on a connection that may not be written to any more."""
    limits = Limits(heartbeat=0.05, linger=0.5)
    with Emulator(limits=limits) as emulator, PlainSocket(emulator, "ada"):
        emulator.close()
    assert problems(caplog) == []
