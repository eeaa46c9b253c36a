"""The time before there is a participant, on real sockets: who is ended, who gives way, who is refused."""

from __future__ import annotations

import http.client
import json
import logging
import os
import shlex
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from meshsync.protocol.content import Empty, Error
from meshsync.protocol.operations import Broadcast, Enable, Reply
from simulator import Emulator
from simulator.emulator import Limits
from simulator.emulator.emulator import DEVELOPMENT_SECRET
from tests.support.sockets import PATIENCE, Elsewhere, PlainSocket, RawClient, frame

ROOT = Path(__file__).resolve().parents[2]

WEBSOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def plain(emulator: Emulator, data: bytes = b"") -> socket.socket:
    """Connect, send that, and no more."""
    connection = socket.create_connection(("127.0.0.1", emulator.port), timeout=PATIENCE)
    connection.sendall(data)
    return connection


def ended(connection: socket.socket) -> bytes:
    """Read to the end of the connection, which has to come; return what was read."""
    data = b""
    while True:
        try:
            received = connection.recv(65536)
        except ConnectionResetError:
            return data
        if not received:
            return data
        data += received


def ask(
    emulator: Emulator, path: str = "/rooms/lab", *, token: str | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, str]:
    """Ask for a WebSocket; return status, headers and, unless it is 101, the text of the answer."""
    token = emulator.token("lab", "eve") if token is None else token
    with closing(http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=PATIENCE)) as connection:
        connection.request("GET", path, headers={**WEBSOCKET, "Authorization": f"Bearer {token}", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.headers, "" if answer.status == 101 else answer.read().decode()


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET /rooms/lab HTTP/1.1\r\nHost: localhost\r\n"], ids=["silent", "half"])
def test_connection_without_a_whole_request_is_ended(sent: bytes) -> None:
    """After its time, without an answer; a participant of the same age stays."""
    with Emulator(limits=Limits(handshake=0.2)) as emulator, RawClient(emulator, "ada") as ada:
        with plain(emulator, sent) as silent:
            assert ended(silent) == b""
        ada.ask(Broadcast("chat", {}), 5)
        assert ada.read() == Reply(5, Empty())
        assert emulator.stats().refused == {"handshake": 1}
        assert emulator.stats().waiting == 0


def test_trickling_does_not_buy_time() -> None:
    """The time runs from the beginning, whatever comes in between; the sender finds its connection dead."""
    with Emulator(limits=Limits(handshake=0.2)) as emulator, plain(emulator, b"GET / HTTP/1.1\r\n") as slow:
        with pytest.raises(OSError, match=r".") as caught:
            while True:
                slow.sendall(b"X-Header: x\r\n" if emulator.stats().waiting else bytes(10))
        assert not isinstance(caught.value, TimeoutError)


def test_answered_connection_may_be_idle_for_its_own_time() -> None:
    """It is asked twice on one connection; then it is silent, and ended."""
    with Emulator(limits=Limits(keep_alive=0.2)) as emulator:
        with closing(http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=PATIENCE)) as connection:
            for _ in range(2):
                connection.request("GET", "/health")
                assert json.loads(connection.getresponse().read())["status"] == "ok"
            assert connection.sock is not None
            assert ended(connection.sock) == b""


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_oldest_without_a_participant_gives_way() -> None:
    """Of five silent ones with room for two the last two stay, and one that talks comes in past all of them."""
    with Emulator(limits=Limits(waiting=2)) as emulator, ExitStack() as stack:
        silent = [stack.enter_context(plain(emulator)) for _ in range(5)]
        for connection in silent[:3]:
            assert ended(connection) == b""
        with RawClient(emulator, "ada") as ada:
            assert ada.id
            assert ended(silent[3]) == b""
            assert emulator.stats().waiting == 1
            silent[4].sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert silent[4].recv(12) == b"HTTP/1.1 200"
            assert emulator.stats().refused == {"waiting": 4}


def test_silent_crowd_locks_nobody_out() -> None:
    """With 250 silent connections a participant joins, and one that was in before goes on."""
    with Emulator(limits=Limits(waiting=20)) as emulator, ExitStack() as stack, RawClient(emulator, "ada") as ada:
        for _ in range(250):
            stack.enter_context(plain(emulator))
        with RawClient(emulator, "ben"):
            assert ada.read().type == "participant.enabled"  # type: ignore[attr-defined]


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_want_of_descriptors_is_a_line_and_locks_nobody_out() -> None:
    """With 64 descriptors and 150 silent connections, who is in goes on, and one more comes in."""
    command = f"ulimit -n 64; exec {shlex.quote(sys.executable)} -m simulator serve --json --port 0 --log-level warning"
    pipe = subprocess.PIPE
    with subprocess.Popen(["sh", "-c", command], stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as served:
        assert served.stdout is not None
        there = Elsewhere(int(json.loads(served.stdout.readline())["url"].rpartition(":")[2]))
        with ExitStack() as stack:
            ada = stack.enter_context(PlainSocket(there, "ada"))
            for _ in range(150):
                stack.enter_context(plain(there))
            ada.ask(Broadcast("chat", {}))
            while b"__response__" not in ada.received:
                ada.received += ada.socket.recv(65536)
            stack.enter_context(PlainSocket(there, "ben"))
        served.terminate()
        _, errors = served.communicate(timeout=PATIENCE)
        assert served.returncode == 0
        assert errors.partition(" WARNING ")[2] in (
            "",
            "no more connections can be accepted for now: Too many open files\n",
        )


@pytest.mark.parametrize(
    ("limits", "room", "kind", "reason"),
    [
        (Limits(connections=1), "lab", "connections", "connections are limited to 1"),
        (Limits(participants=1), "lab", "participants", "the participants of a room are limited to 1"),
        (Limits(rooms=1), "other", "rooms", "rooms are limited to 1"),
        (Limits(joins=0.001), "lab", "joins", "the participants that join in a second are limited to 0.001"),
    ],
    ids=["connections", "participants", "rooms", "joins"],
)
def test_full_house_is_refused_for_a_while(
    caplog: pytest.LogCaptureFixture, limits: Limits, room: str, kind: str, reason: str
) -> None:
    """503 with a time to wait and the limit that is reached, in the log and the counts; who is in stays."""
    with Emulator(limits=limits) as emulator, RawClient(emulator, "ada") as ada:
        token = emulator.token(room, "eve")
        status, headers, text = ask(emulator, f"/rooms/{room}?token={token}", token=token)
        assert (status, text) == (503, f"{reason}\n")
        assert int(headers["Retry-After"]) == (1000 if kind == "joins" else 5)
        (message,) = caplog.messages
        assert message.endswith(f" is refused with status 503: {reason}")
        assert emulator.stats().refused == {kind: 1}
        assert token not in caplog.text
        ada.ask(Broadcast("chat", {}), 5)
        ada.read()


def test_place_that_is_left_is_free() -> None:
    """With one place, the next comes in when the first has gone."""
    with Emulator(limits=Limits(connections=1, rooms=1, participants=1)) as emulator:
        for name in ("ada", "ben"):
            with RawClient(emulator, name) as client:
                assert client.id
            while emulator.stats().connections:
                pass


def test_larger_message_than_allowed_is_refused() -> None:
    """With error 1002, in one packet or many; the largest that is allowed passes, and so does what follows."""
    with Emulator(limits=Limits(message=50_000)) as emulator, RawClient(emulator, "ada") as ada:
        for id, size, is_refused in ((5, 49_000, False), (6, 50_000, True), (7, 49_000, False)):
            ada.ask(Broadcast("data", {}, bytes(size)), id)
            reply = ada.read()
            assert isinstance(reply, Reply)
            assert reply.request_id == id
            assert isinstance(reply.content, Error) is is_refused
            if isinstance(reply.content, Error):
                assert (reply.content.code, "50000" in reply.content.text) == (1002, True)


def test_sender_of_too_many_messages_is_ended_and_told_why() -> None:
    """At 5 a second, 10 may come at once, in however many packets; not 200."""
    with Emulator(limits=Limits(rate=5)) as emulator, PlainSocket(emulator, "mal") as mal:
        mal.ask(Enable())
        packet = struct.pack(">QII", 1, 0, 0) + b"messaging.enable"
        mal.socket.sendall(frame(0x82, packet) * 200)
        assert struct.pack("!H", 1008) + b"sends more than 5 messages a second" in mal.rest()


# --- browsers ---------------------------------------------------------------------------------------------------------


def test_page_of_another_origin_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """403 with a valid token, as the secret is public; a page of this machine comes in, on any port of its own."""
    caplog.set_level(logging.INFO)
    with Emulator() as emulator:
        assert ask(emulator, headers={"Origin": "http://localhost:3000"})[0] == 101
        for origin in ("http://evil.example", "null"):
            status, _, text = ask(emulator, headers={"Origin": origin})
            assert (status, "--allow-origin" in text) == (403, True)
        assert emulator.stats().refused == {"origin": 2}
    assert "http://evil.example" in caplog.text


def test_host_that_is_not_this_machine_is_refused() -> None:
    """A page whose name is led here is of no other origin, but it calls by its name; health is no exception."""
    with Emulator() as emulator:
        for path in ("/rooms/lab", "/health", "/"):
            assert ask(emulator, path, headers={"Host": "evil.example"})[0] == 403
    with Emulator(allow_hosts=["meshsync"], allow_origins=["https://app.example"]) as emulator:
        assert ask(emulator, headers={"Host": "meshsync:6374", "Origin": "https://app.example"})[0] == 101


def test_own_secret_lets_pages_in() -> None:
    """Whoever has a token for it was given one."""
    with Emulator(secret="a-secret-of-more-than-32-bytes-for-this-test") as emulator:
        assert ask(emulator, headers={"Origin": "http://evil.example", "Host": "evil.example"})[0] == 101


def test_secret_beyond_the_loopback_is_new_for_each(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody can guess it; with insecure it is the public one, and a warning."""
    secrets = {Emulator(host="0.0.0.0").secret for _ in range(3)}
    assert len(secrets) == 3
    assert all(len(secret) == 43 for secret in secrets)
    with Emulator(host="0.0.0.0", insecure=True) as emulator:
        assert emulator.secret == DEVELOPMENT_SECRET
        assert len(caplog.messages) == 1
        assert "everybody knows the secret" in caplog.text


# --- health -----------------------------------------------------------------------------------------------------------


def test_health_tells_that_it_works_and_how_much_there_is() -> None:
    """For scripts: no token is needed, and none is shown."""
    with Emulator() as emulator, RawClient(emulator, "ada"):
        status, headers, text = ask(emulator, "/health", token="")
        assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
        assert json.loads(text) == {"status": "ok", "rooms": 1, "participants": 1, "connections": 1, "waiting": 1}
