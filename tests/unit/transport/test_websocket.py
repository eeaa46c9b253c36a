"""Handshakes that fail, tokens that stay secret, TLS, proxies, and a connection interrupted halfway."""

from __future__ import annotations

import base64
import errno
import hashlib
import logging
import socket
import ssl
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any
from urllib.parse import quote

import pytest
import trustme
import websocket as websocket_client

from meshsync.errors import (
    AuthenticationFailed,
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    PermissionDenied,
    RoomNotFound,
    RoomUnavailable,
    SendTimeout,
    UsageError,
)
from meshsync.protocol.frames import FrameDecoder, mask_in_python
from meshsync.runtime.interfaces import Task
from meshsync.runtime.threads import ThreadRuntime, ThreadTask
from meshsync.transport.connector import WebSocketConnector
from meshsync.transport.interfaces import Endpoint
from meshsync.transport.senders import WaitingSenders
from meshsync.transport.shared_socket import SharedSocket
from meshsync.transport.websocket import WebSocketTransport
from tests.support.scripted_server import LONG, SMALL, ScriptedPeer, ScriptedServer

TOKEN = "eyJ.secret-token+/=.x"
"""Has letters that a URL spells otherwise."""
SHORT = 0.05


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the proxies of the machine that runs the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """Return a server without TLS."""
    with ScriptedServer(receive_buffer=SMALL) as scripted:
        yield scripted


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return an authority that no system trusts."""
    return trustme.CA()


def tls_server(authority: trustme.CA, name: str = "localhost") -> ScriptedServer:
    """Return a server that shows a certificate for ``name``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return ScriptedServer(context, receive_buffer=SMALL)


def connector(url: str, **options: Any) -> WebSocketConnector:
    """Return a connector that presents `TOKEN` unless told otherwise."""
    options.setdefault("token", lambda: TOKEN)
    return WebSocketConnector(Endpoint(url, **options), ThreadRuntime())


@contextmanager
def answering(server: ScriptedServer, answer: Callable[[socket.socket, bytes], None]) -> Iterator[list[bytes]]:
    """Give each request head to ``answer`` in a thread; yield the list of the heads."""
    heads: list[bytes] = []

    def serve() -> None:
        try:
            while True:
                connection = server.accept_raw()
                head = b""
                while b"\r\n\r\n" not in head:
                    data = connection.recv(65536)
                    if not data:
                        break
                    head += data
                heads.append(head)
                answer(connection, head)
                connection.close()
        except OSError:
            pass  # the listener was closed, or the client has gone

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield heads


def saying(text: str, body: bytes = b"") -> Callable[[socket.socket, bytes], None]:
    """Answer with a status, headers and a body, whatever is asked."""
    head = "\r\n".join([f"HTTP/1.1 {text}", f"Content-Length: {len(body)}", "", ""])
    return lambda connection, _: connection.sendall(head.encode() + body)


def failure(attempt: WebSocketConnector, timeout: float | None = LONG) -> ConnectFailed:
    """Connect in vain; the error shows no secret anywhere it is printed."""
    with pytest.raises(ConnectFailed) as caught:
        attempt.connect(timeout)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(vars(caught.value))
    for secret in (TOKEN, quote(TOKEN, safe=""), quote(TOKEN), "secret-token"):
        assert secret not in shown
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


# --- what is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "path", "authorization"),
    [
        ({}, "/rooms/demo?a=1&b=%20", f"Bearer {TOKEN}"),
        ({"version": "0.56.0"}, "/rooms/demo?a=1&b=%20&v=0.56.0", f"Bearer {TOKEN}"),
        ({"token_in": "query"}, f"/rooms/demo?a=1&b=%20&token={quote(TOKEN, safe='')}", None),
        ({"token_in": "query", "version": "1"}, f"/rooms/demo?a=1&b=%20&token={quote(TOKEN, safe='')}&v=1", None),
        ({"token": lambda: ""}, "/rooms/demo?a=1&b=%20", None),
        ({"token": lambda: "", "token_in": "query"}, "/rooms/demo?a=1&b=%20", None),
    ],
)
def test_the_token_goes_where_the_endpoint_says(
    server: ScriptedServer, options: dict[str, Any], path: str, authorization: str | None
) -> None:
    """In the header or the query, the URL's own query kept as it is, an empty token not at all."""
    accepting = server.begin_to_accept()
    connector(f"{server.url}?a=1&b=%20#part", **options).connect(LONG).close(0)
    request = accepting.result(LONG).request
    assert request is not None
    assert (request.path, request.headers.get("Authorization")) == (path, authorization)
    assert "Origin" not in request.headers


@pytest.mark.parametrize(
    "domain",
    ["127.0.0.1", ".127.0.0.1", "0.0.1", "1", "example.test"],
    ids=["host", "dotted", "end", "letter", "other"],
)
def test_cookies_of_one_connection_are_not_sent_with_another(server: ScriptedServer, domain: str) -> None:
    """A server's cookie is for the identity that it was given to."""
    cookie = f"Set-Cookie: session=of-the-first; Domain={domain}; Path=/\r\n".encode()

    def answer(connection: socket.socket, head: bytes) -> None:
        connection.sendall(upgrade(head, cookie))

    with answering(server, answer) as heads:
        for _ in range(2):
            connector(server.url).connect(LONG).close(0)
    assert len(heads) == 2
    assert b"cookie" not in heads[1].lower()


def test_cookies_that_the_program_got_elsewhere_are_not_sent(server: ScriptedServer) -> None:
    """A program that uses the library beside meshsync shares its process and nothing else."""
    cookie = b"Set-Cookie: session=of-the-program; Domain=127.0.0.1; Path=/\r\n"
    with answering(server, lambda connection, head: connection.sendall(upgrade(head, cookie))) as heads:
        for _ in range(2):
            websocket_client.create_connection(server.url).close()
        connector(server.url).connect(LONG).close(0)
    assert b"of-the-program" in heads[1]
    assert b"of-the-program" not in heads[2]


@pytest.mark.parametrize("room", ["a;b", ";", "a;b;c=d", "a,b", "a&b=c", "schön"])
@pytest.mark.parametrize("token_in", ["header", "query"])
def test_path_is_asked_for_as_it_is(server: ScriptedServer, room: str, token_in: str) -> None:
    """No part of a room's name is cut off, and what is not ASCII is coded."""
    with answering(server, saying("404 No")) as heads:
        failure(connector(f"ws://127.0.0.1:{server.port}/rooms/{room}", token_in=token_in, version="1.0"))
    path = heads[0].split(b" ")[1].partition(b"?")[0]
    assert path.decode() == f"/rooms/{room}".replace("ö", "%C3%B6")


def test_further_headers_are_sent(server: ScriptedServer) -> None:
    """The endpoint's own headers are part of the handshake."""
    accepting = server.begin_to_accept()
    connector(server.url, headers={"X-Site": "north"}).connect(LONG).close(0)
    request = accepting.result(LONG).request
    assert request is not None
    assert request.headers["X-Site"] == "north"


def test_each_attempt_asks_for_a_token(server: ScriptedServer) -> None:
    """A token is made anew for each connection, and what making it raises is passed on."""
    tokens = iter(["first", "second"])
    attempt = connector(server.url, token=lambda: next(tokens))
    for token in ("first", "second"):
        accepting = server.begin_to_accept()
        attempt.connect(LONG).close(0)
        request = accepting.result(LONG).request
        assert request is not None
        assert request.headers["Authorization"] == f"Bearer {token}"
    with pytest.raises(StopIteration):
        attempt.connect(LONG)


@pytest.mark.parametrize("token", ["two words", "a\r\nX-Evil: 1", "schlüssel"])
def test_a_token_no_header_can_carry_is_refused(token: str) -> None:
    """Nothing is sent, and the token isn't shown."""
    with pytest.raises(AuthenticationFailed) as caught:
        connector("ws://localhost:9/", token=lambda: token).connect(LONG)
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://localhost/", {}),
        ("localhost", {}),
        ("ws:///rooms/lab", {}),
        ("ws://localhost:99999/", {}),
        ("ws://localhost:0/", {}),
        ("ws://[::1/", {}),
        ("ws://localhost/rooms/a b", {}),
        ("ws://localhost/\r\nX: 1", {}),
        ("ws://localhost/", {"token_in": "cookie"}),
        ("ws://localhost/", {"headers": {"X": "1\r\nY: 2"}}),
        ("ws://localhost/", {"headers": {"X: 1\r\nY": "2"}}),
        ("ws://localhost/", {"ca_file": "a.pem", "ssl_context": ssl.create_default_context()}),
    ],
)
def test_an_endpoint_that_can_never_connect_is_refused_at_once(url: str, options: dict[str, Any]) -> None:
    """Making the connector raises: no attempt would help."""
    with pytest.raises(UsageError):
        connector(url, **options)


def test_a_heartbeat_without_duration_is_refused_at_once() -> None:
    """The options are looked at before anything is opened."""
    with pytest.raises(ValueError, match="positive"):
        WebSocketConnector(Endpoint("ws://localhost/", lambda: ""), ThreadRuntime(), heartbeat_interval=0)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        ("400 Bad Request", ConnectFailed, False),
        ("401 Unauthorized", AuthenticationFailed, False),
        ("403 Forbidden", PermissionDenied, False),
        ("404 Not Found", RoomNotFound, False),
        ("423 Locked", RoomUnavailable, True),
        ("429 Too Many Requests", RoomUnavailable, True),
        ("500 Oops", RoomUnavailable, True),
        ("503 Service Unavailable", RoomUnavailable, True),
        ("200 OK", ConnectFailed, False),
    ],
)
def test_a_status_becomes_its_error(
    server: ScriptedServer, status: str, kind: type[ConnectFailed], retryable: bool
) -> None:
    """The class says what to do; status, address and the server's reason are told."""
    with answering(server, saying(status, b'{"error": "because  of\n that"}')):
        error = failure(connector(server.url))
    assert type(error) is kind
    assert (error.http_status, error.retryable) == (int(status[:3]), retryable)
    assert f"127.0.0.1:{server.port}" in str(error)
    assert 'because of that"' in str(error)


@pytest.mark.parametrize("token_in", ["header", "query"])
def test_a_server_that_repeats_the_token_does_not_bring_it_to_light(server: ScriptedServer, token_in: str) -> None:
    """Body and status text are shown without the token, in each of its spellings, even where the text is cut."""

    def answer(connection: socket.socket, head: bytes) -> None:
        body = b"x" * 190 + TOKEN.encode() + b" " + head
        connection.sendall(b"HTTP/1.1 403 %s\r\nContent-Length: %d\r\n\r\n" % (TOKEN.encode(), len(body)) + body)

    with answering(server, answer):
        error = failure(connector(server.url, token_in=token_in))
    assert len(str(error)) < 400
    assert "[tok" in str(error)


def test_body_of_a_refusal_that_is_cut_keeps_the_status(server: ScriptedServer) -> None:
    """The connection ends within the body: what came of it is told."""

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 1000\r\n\r\nonly members")

    with answering(server, answer):
        error = failure(connector(server.url))
    assert (type(error), error.http_status) == (PermissionDenied, 403)
    assert str(error).endswith(": only members")


@pytest.mark.parametrize("limit", [None, LONG])
def test_body_of_a_refusal_that_does_not_come_keeps_the_status(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, limit: float | None
) -> None:
    """The server holds the connection open for as long as the client is there, which leaves soon."""
    monkeypatch.setattr("meshsync.transport.upgrade._BODY_PATIENCE", SHORT)

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 1000\r\n\r\n")
        connection.recv(1)

    with answering(server, answer):
        error = failure(connector(server.url), limit)
    assert (type(error), error.http_status) == (RoomNotFound, 404)


def test_body_that_outlives_the_limit_keeps_the_status(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that ends while the body is waited for does not turn a refusal into a time-out."""
    monkeypatch.setattr("meshsync.transport.upgrade._BODY_PATIENCE", LONG)
    left = threading.Event()

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 401 No\r\nContent-Length: 1000\r\n\r\n")
        left.wait(LONG)

    with answering(server, answer):
        error = failure(connector(server.url), 4 * SHORT)
        left.set()
    assert (type(error), error.http_status) == (AuthenticationFailed, 401)


def test_huge_body_of_a_refusal_is_not_read_to_its_end(server: ScriptedServer) -> None:
    """The server writes for as long as the client reads, which is not long."""
    ended = threading.Event()

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 999999999999\r\n\r\nlater ")
        try:
            while True:
                connection.sendall(b"x" * 65536)
        finally:
            ended.set()

    with answering(server, answer):
        error = failure(connector(server.url))
        assert ended.wait(LONG)
    assert (type(error), error.http_status) == (RoomUnavailable, 503)
    assert len(str(error)) < 400


@pytest.mark.parametrize("length", ["many", "-1", "", "9" * 30])
def test_length_of_a_body_that_is_none_keeps_the_status(server: ScriptedServer, length: str) -> None:
    """What the server says of the body matters less than the status."""
    answer = f"HTTP/1.1 403 Closed room\r\nContent-Length: {length}\r\n\r\n".encode()
    with answering(server, lambda connection, _: connection.sendall(answer)):
        error = failure(connector(server.url))
    assert (type(error), error.http_status) == (PermissionDenied, 403)
    assert "Closed room" in str(error)


def test_part_of_a_token_in_a_refusal_is_not_told(server: ScriptedServer) -> None:
    """A body that is cut within the token, or quotes a piece of one."""
    body = f"bad {TOKEN[4:14]} of {TOKEN[:12]}".encode()
    with answering(server, saying("403 No", body)):
        error = failure(connector(server.url))
    assert str(error).endswith(": bad [token] of [token]")


def test_token_in_the_query_of_an_address_is_not_told(server: ScriptedServer) -> None:
    """The address may hold one of its own, and a password."""
    body = b"no s3cret-of-the-address, no s3cret-word"
    with answering(server, saying("403 No", body)):
        address = f"ws://me:s3cret-word@127.0.0.1:{server.port}/?key=s3cret-of-the-address"
        error = failure(connector(address))
    assert "s3cret" not in str(error)


def test_a_page_for_browsers_is_no_reason(server: ScriptedServer) -> None:
    """Of a page of HTML, only the status text is told."""
    with answering(server, saying("502 Bad Gateway", b"<html><body>nginx</body></html>")):
        error = failure(connector(server.url))
    assert "Bad Gateway" in str(error)
    assert "html" not in str(error)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
@pytest.mark.parametrize("token_in", ["header", "query"])
def test_a_redirect_is_not_followed(server: ScriptedServer, status: int, token_in: str) -> None:
    """The token goes to the first server only, and the error says why."""
    with ScriptedServer(receive_buffer=SMALL) as elsewhere, answering(elsewhere, saying("101 X")) as got:
        location = f"{elsewhere.url}?token={quote(TOKEN, safe='')}"
        with answering(server, saying(f"{status} Moved\r\nLocation: {location}")) as asked:
            error = failure(connector(server.url, token_in=token_in))
        assert type(error) is ConnectFailed
        assert (error.http_status, error.retryable) == (status, False)
        assert "redirect" in str(error)
        assert "token would go elsewhere" in str(error)
        assert (len(asked), got) == (1, [])


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 101 Sw",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n",
        b"\xff\n",
    ],
)
def test_what_is_no_handshake_is_a_failure(server: ScriptedServer, answer: bytes) -> None:
    """A server that hangs up or speaks something else fails the attempt with an error of ours."""
    with answering(server, lambda connection, _: connection.sendall(answer)):
        assert failure(connector(server.url)).http_status is None


def accept_key(head: bytes) -> bytes:
    """Return what accepts the request ``head``. Source: RFC 6455, section 4.2.2."""
    key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def upgrade(head: bytes, further: bytes = b"") -> bytes:
    """Return the answer that accepts the request ``head``."""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_key(head) + b"\r\n" + further + b"\r\n"
    )


@pytest.mark.parametrize("name", [b"Sec-WebSocket-Extensions: permessage-deflate", b"Sec-WebSocket-Protocol: chat"])
def test_what_was_not_offered_may_not_be_chosen(server: ScriptedServer, name: bytes) -> None:
    """An extension or protocol nobody asked for fails the attempt (RFC 6455, section 4.1)."""
    with answering(server, lambda connection, head: connection.sendall(upgrade(head, name + b"\r\n"))):
        assert "not offered" in str(failure(connector(server.url)))


@pytest.mark.parametrize("cut", range(0, 12, 3))
def test_bytes_right_behind_the_handshake_are_not_lost(server: ScriptedServer, cut: int) -> None:
    """Packets that share a segment with the server's answer are received, a frame cut in two as well."""
    frames = b"\x82\x05hello\x82\x05world"
    received: list[bytes] = []

    def answer(connection: socket.socket, head: bytes) -> None:
        connection.sendall(upgrade(head) + frames[:cut])
        connection.sendall(frames[cut:])
        connection.recv(1)

    with answering(server, answer):
        transport = connector(server.url).connect(LONG)
        while len(received) < 2:
            received += transport.receive(LONG)
        transport.close(0)
    assert received == [b"hello", b"world"]


def test_bytes_that_the_library_buffered_come_first() -> None:
    """What a transport is given as received already comes before what the socket holds."""
    ours, theirs = socket.socketpair()
    runtime = ThreadRuntime()
    transport = WebSocketTransport(SharedSocket(ours, runtime, received=b"\x82\x03one\x82"), runtime)
    theirs.sendall(b"\x03two")
    assert list(transport.receive(LONG)) == [b"one"]
    assert list(transport.receive(LONG)) == [b"two"]
    transport.close(0)
    theirs.close()


# --- no answer --------------------------------------------------------------------------------------------------------


def test_a_refused_connection_is_retryable() -> None:
    """Where nobody listens, the room is unavailable."""
    with ScriptedServer(receive_buffer=SMALL) as server:
        url = server.url
    error = failure(connector(url))
    assert type(error) is RoomUnavailable
    assert "refused" in str(error)


@contextmanager
def black_hole() -> Iterator[Any]:
    """Yield an address of this machine that answers no attempt to connect: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(full.getsockname())
        yield (socket.AF_INET, socket.SOCK_STREAM, 6, "", full.getsockname())
        for connection in waiting:
            connection.close()


def address_of(server: ScriptedServer) -> Any:
    """Return the address of a server as a look-up does."""
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))


def test_address_that_does_not_answer_costs_not_the_whole_limit(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next address is tried beside the first, which never answers."""
    with black_hole() as hole:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [hole, address_of(server)])
        accepting = server.begin_to_accept()
        connector("ws://rooms.test/").connect(LONG).close(0)
        accepting.result(LONG)


def test_address_that_refuses_costs_nothing(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is tried."""
    with ScriptedServer() as closed:
        pass
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [address_of(closed), address_of(server)])
    accepting = server.begin_to_accept()
    connector("ws://rooms.test/").connect(LONG).close(0)
    accepting.result(LONG)


def test_addresses_that_do_not_answer_end_with_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to try."""
    with black_hole() as hole:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [hole, hole])
        assert isinstance(failure(connector("ws://rooms.test/"), SHORT), ConnectTimeout)


def refuse_a_socket(*_: Any, **__: Any) -> Any:
    """Fail as a process does that has no descriptor left."""
    raise OSError(errno.EMFILE, "Too many open files")


def test_process_without_descriptors_fails_with_an_error_of_ours(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cause is named, and trying again may help."""
    with monkeypatch.context() as patch:
        patch.setattr("meshsync.transport.dialing.socket.socket", refuse_a_socket)
        error = failure(connector(server.url))
    assert type(error) is RoomUnavailable
    assert "Too many open files" in str(error)


def test_connection_that_lacks_a_descriptor_for_its_wake_up_is_dropped(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handshake went well, and the server sees the client go."""
    monkeypatch.setattr("meshsync.transport.shared_socket.Poller", refuse_a_socket)
    accepting = server.begin_to_accept()
    error = failure(connector(server.url))
    assert type(error) is RoomUnavailable
    assert "Too many open files" in str(error)
    accepting.result(LONG).await_end()


def test_an_unknown_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed look-up names the host."""

    def look_up(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    error = failure(connector("ws://rooms.invalid/rooms/lab"))
    assert type(error) is RoomUnavailable
    assert "rooms.invalid:80" in str(error)
    assert "not known" in str(error)


def test_a_slow_look_up_obeys_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that cannot be interrupted is left behind, and its end does no harm."""
    go_on = threading.Event()
    ended = threading.Event()

    def look_up(*_: object) -> list[Any]:
        go_on.wait(LONG)
        ended.set()
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert isinstance(failure(connector("ws://rooms.invalid/"), SHORT), ConnectTimeout)
    go_on.set()
    assert ended.wait(LONG)


def test_a_trickling_server_obeys_the_deadline(server: ScriptedServer) -> None:
    """A byte now and then resets every time-out of the socket, not that of the attempt, whose socket is dropped."""
    gone = threading.Event()

    def answer(connection: socket.socket, _: bytes) -> None:
        try:
            while not gone.wait(0.005):
                connection.sendall(b"H")
        except OSError:
            gone.set()

    with answering(server, answer):
        error = failure(connector(server.url), 4 * SHORT)
        assert type(error) is ConnectTimeout
        assert gone.wait(LONG)


def test_a_handshake_that_comes_too_late_is_dropped(server: ScriptedServer) -> None:
    """The server answers after the deadline and finds nobody there."""
    left = threading.Event()
    ended = threading.Event()

    def answer(connection: socket.socket, head: bytes) -> None:
        left.wait(LONG)
        try:
            connection.sendall(upgrade(head))
            while connection.recv(100):
                pass
        finally:
            ended.set()

    with answering(server, answer):
        assert isinstance(failure(connector(server.url), SHORT), ConnectTimeout)
        left.set()
        assert ended.wait(LONG)


def test_no_time_is_no_attempt(server: ScriptedServer) -> None:
    """A timeout of 0 raises without asking anybody."""
    with answering(server, saying("101 X")) as heads:
        assert isinstance(failure(connector(server.url), 0), ConnectTimeout)
    assert heads == []


def test_an_interpreter_that_starts_no_threads_connects_to_nobody(server: ScriptedServer) -> None:
    """What spawn refuses becomes an error of ours."""

    class Exiting(ThreadRuntime):
        def spawn(self, target: Callable[[], None], *, name: str) -> Any:
            raise RuntimeError("can't create new thread at interpreter shutdown")

    error = failure(WebSocketConnector(Endpoint(server.url, lambda: TOKEN), Exiting()))
    assert "shuts down" in str(error)


def test_system_without_threads_is_not_taken_for_the_end_of_the_program(server: ScriptedServer) -> None:
    """Trying again may help."""

    class Full(ThreadRuntime):
        def spawn(self, target: Callable[[], None], *, name: str) -> Any:
            raise RuntimeError("can't start new thread")

    error = failure(WebSocketConnector(Endpoint(server.url, lambda: TOKEN), Full()))
    assert type(error) is RoomUnavailable
    assert "no more threads" in str(error)


@pytest.mark.parametrize("token_in", ["header", "query"])
def test_library_that_traces_headers_does_not_trace_the_token(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, token_in: str
) -> None:
    """The library's log shows a handshake, whose answer repeats the token, without it."""
    echo = f"X-Token: {TOKEN}\r\nSet-Cookie: token={TOKEN}\r\n".encode()
    handler = logging.NullHandler()
    caplog.set_level(logging.DEBUG, "websocket")
    websocket_client.enableTrace(True, handler)
    try:
        with answering(server, lambda connection, head: connection.sendall(upgrade(head, echo))):
            connector(server.url, token_in=token_in).connect(LONG).close(0)
    finally:
        websocket_client.enableTrace(False)
        logging.getLogger("websocket").removeHandler(handler)
    assert "Sec-WebSocket-Key" in caplog.text
    assert "secret-token" not in caplog.text


def test_nothing_is_logged_of_the_token(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    """A handshake, good or bad, leaves no token in the log at any level."""
    caplog.set_level(logging.DEBUG)
    accepting = server.begin_to_accept()
    connector(server.url, token_in="query").connect(LONG).close(0)
    accepting.result(LONG)
    with answering(server, saying("403 No")):
        failure(connector(server.url, token_in="query"))
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("websockets.")]
    assert not any("secret-token" in text for text in ours)


# --- proxies ----------------------------------------------------------------------------------------------------------


def tunnelling(connection: socket.socket, head: bytes) -> None:
    """Answer a CONNECT, then play the room behind the proxy: accept, and send one packet."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536)
    connection.sendall(upgrade(head) + b"\x82\x02hi")
    connection.recv(1)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY"])
def test_a_proxy_of_the_environment_is_used(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The proxy is asked for the room's host and port, with its own credentials and without the token."""
    monkeypatch.setenv(name, f"http://me:pass%20word@127.0.0.1:{server.port}")
    with answering(server, tunnelling) as heads:
        transport = connector("ws://rooms.test/rooms/lab").connect(LONG)
        assert list(transport.receive(LONG)) == [b"hi"]
        transport.close(0)
    assert heads[0].startswith(b"CONNECT rooms.test:80 HTTP/1.1\r\n")
    assert base64.b64encode(b"me:pass word") in heads[0]
    assert b"secret-token" not in heads[0]


@pytest.mark.parametrize("value", ["127.0.0.1:{}", "http://127.0.0.1:{}/"])
@pytest.mark.parametrize("name", ["ALL_PROXY", "http_proxy"])
def test_proxy_without_a_scheme_is_used(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """An address of IPv6 is asked for in brackets, and any status from 200 to 299 opens the tunnel."""
    monkeypatch.setenv(name, value.format(server.port))

    def tunnel(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.0 204 Here you are\r\nVia: test\r\n\r\n")
        connection.sendall(upgrade(connection.recv(65536)) + b"\x82\x02hi")
        connection.recv(1)

    with answering(server, tunnel) as heads:
        transport = connector("ws://[fd00::1]:8080/rooms/lab").connect(LONG)
        assert list(transport.receive(LONG)) == [b"hi"]
        transport.close(0)
    assert heads == [b"CONNECT [fd00::1]:8080 HTTP/1.1\r\nHost: [fd00::1]:8080\r\n\r\n"]


@pytest.mark.parametrize("kind", ["socks5", "https"])
def test_proxy_that_cannot_be_used_is_not_passed_by(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Neither the proxy nor the room gets a connection, or the token."""
    monkeypatch.setenv("all_proxy", f"{kind}://me:hidden@127.0.0.1:{server.port}")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("nothing is looked up"))
    error = failure(connector("ws://rooms.test/"))
    assert type(error) is ConnectFailed
    assert f"{kind}://" in str(error)
    assert "hidden" not in str(error)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", b"SSH-2.0-x\r\n\r\n"])
def test_proxy_that_speaks_something_else_is_blamed(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """It hangs up, or answers as no proxy does."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    with answering(server, lambda connection, _: connection.sendall(answer)):
        assert "the proxy to rooms.test:80" in str(failure(connector("ws://rooms.test/")))


@pytest.mark.parametrize("exempt", ["rooms.test", ".test", "*"])
def test_no_proxy_is_obeyed(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, exempt: str) -> None:
    """A host that the environment exempts is connected to directly."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", f"other.test,{exempt}")
    address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [address])
    accepting = server.begin_to_accept()
    connector("ws://rooms.test/rooms/lab").connect(LONG).close(0)
    request = accepting.result(LONG).request
    assert request is not None
    assert request.headers["Host"] == "rooms.test"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST"])
def test_this_machine_needs_no_proxy(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """An emulator on loopback is reached whatever the environment says: no proxy could find it."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    accepting = server.begin_to_accept()
    connector(server.url.replace("127.0.0.1", host)).connect(LONG).close(0)
    accepting.result(LONG)


@pytest.mark.parametrize(
    ("status", "kind"), [("407 Proxy Authentication Required", ConnectFailed), ("503 Busy", RoomUnavailable)]
)
def test_a_proxy_that_refuses_is_blamed(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, status: str, kind: type[ConnectFailed]
) -> None:
    """Its status is told, and whether trying again may help."""
    monkeypatch.setenv("http_proxy", f"http://me:hidden@127.0.0.1:{server.port}")
    with answering(server, saying(status)):
        error = failure(connector("ws://rooms.test/"))
    assert type(error) is kind
    assert "proxy" in str(error)
    assert status[:3] in str(error)
    assert "hidden" not in str(error)


# --- TLS --------------------------------------------------------------------------------------------------------------


def connect_over_tls(server: ScriptedServer, **options: Any) -> None:
    """Connect and have one packet go there and back."""
    accepting = server.begin_to_accept()
    transport = connector(server.url, **options).connect(LONG)
    peer = accepting.result(LONG)
    transport.send([b"ping"], LONG)
    peer.send(peer.receive(1))
    assert list(transport.receive(LONG)) == [b"ping"]
    transport.close(0)


def test_a_file_of_certificates_is_trusted_besides_the_systems(authority: trustme.CA, tmp_path: Path) -> None:
    """With ca_file naming the authority, the connection stands."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    with tls_server(authority) as server:
        connect_over_tls(server, ca_file=str(file))


def test_the_steps_of_a_handshake_are_reported(authority: trustme.CA, tmp_path: Path) -> None:
    """Each when it is done, with what it showed; of an attempt that fails those before."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    steps: list[tuple[str, str]] = []

    def attempt(server: ScriptedServer, **options: Any) -> WebSocketConnector:
        endpoint = Endpoint(server.url, lambda: TOKEN, **options)
        return WebSocketConnector(endpoint, ThreadRuntime(), on_step=lambda *step: steps.append(step))

    with tls_server(authority) as server:
        accepting = server.begin_to_accept()
        attempt(server, ca_file=str(tmp_path / "authority.pem")).connect(LONG).close(0)
        accepting.result(LONG)
    assert [step for step, _ in steps] == ["lookup", "tcp", "tls", "http"]
    details = dict(steps)
    assert "127.0.0.1" in details["lookup"]
    assert (details["tcp"], details["tls"][:6]) == ("127.0.0.1", "TLSv1.")

    steps.clear()
    with tls_server(authority) as server, answering(server, saying("101 X")):
        failure(attempt(server))
    assert [step for step, _ in steps] == ["lookup", "tcp"]


def test_an_untrusted_certificate_is_explained(authority: trustme.CA) -> None:
    """The error names the host and the ways to trust it, and trying again is no use."""
    with tls_server(authority) as server, answering(server, saying("101 X")) as heads:
        error = failure(connector(server.url))
    assert type(error) is ConnectFailed
    assert not error.retryable
    for part in (f"localhost:{server.port}", "ca_file", "ssl_context", "not trusted"):
        assert part in str(error)
    assert heads == []


def test_a_certificate_for_another_host_is_refused(authority: trustme.CA) -> None:
    """A trusted authority is not enough: the name must be the one that was asked for."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with tls_server(authority, "other.test") as server, answering(server, saying("101 X")) as heads:
        error = failure(connector(server.url, ssl_context=context))
    assert "localhost" in str(error)
    assert not error.retryable
    assert heads == []


def test_the_callers_context_is_used_as_it_is(authority: trustme.CA) -> None:
    """A context that checks nothing is obeyed, and not changed."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with tls_server(authority, "other.test") as server:
        connect_over_tls(server, ssl_context=context)
    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_NONE)


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_file_without_certificates_is_named(tmp_path: Path, text: str | None) -> None:
    """Missing or useless, it is what the error is about."""
    file = tmp_path / "authority.pem"
    if text:
        file.write_text(text)
    error = failure(connector("wss://localhost:9/", ca_file=str(file)))
    assert "authority.pem" in str(error)
    assert not error.retryable


def test_a_server_without_tls_is_told_apart(server: ScriptedServer) -> None:
    """Talking TLS to a plain server fails with a hint at the scheme."""

    def serve() -> None:
        connection = server.accept_raw()
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    error = failure(connector(server.url.replace("ws:", "wss:")))
    assert "wss://" in str(error)


def test_hanging_up_during_tls_is_retryable(server: ScriptedServer) -> None:
    """A connection that ends within the TLS handshake speaks of the moment."""
    threading.Thread(target=lambda: server.accept_raw().close(), daemon=True).start()
    assert isinstance(failure(connector(server.url.replace("ws:", "wss:"))), RoomUnavailable)


# --- the connection ---------------------------------------------------------------------------------------------------


@contextmanager
def pair(**options: Any) -> Iterator[tuple[WebSocketTransport, ScriptedPeer]]:
    """Yield a transport and the peer at its other end."""
    with ScriptedServer(receive_buffer=SMALL) as server:
        accepting = server.begin_to_accept()
        transport = WebSocketConnector(Endpoint(server.url, lambda: ""), ThreadRuntime(), **options).connect(LONG)
        yield transport, accepting.result(LONG)
        transport.close(0)


def test_each_frame_is_masked_with_a_key_of_its_own() -> None:
    """100 packets, 100 different keys, all drawn from the runtime's entropy."""
    drawn: list[bytes] = []

    class Recording(ThreadRuntime):
        @staticmethod
        def entropy(size: int) -> bytes:
            drawn.append(Random(len(drawn)).randbytes(size))
            return drawn[-1]

    ours, theirs = socket.socketpair()
    runtime = Recording()
    transport = WebSocketTransport(SharedSocket(ours, runtime), runtime, mask=mask_in_python)
    transport.send([b"same"] * 100, LONG)
    data = theirs.recv(100_000)
    keys = [data[place + 2 : place + 6] for place in range(0, len(data), 10)]
    assert b"".join(keys) == b"".join(drawn)
    assert len(set(keys)) == 100
    packets: list[bytes] = []
    FrameDecoder(masked=True).feed(data, packets)
    assert packets == [b"same"] * 100
    transport.close(0)
    theirs.close()


def test_fragments_and_pings_between_them_are_one_packet() -> None:
    """A fragmented message is received whole, and its pings are answered."""
    with pair() as (transport, peer):
        peer.send_fragments([b"a" * 1000, b"", b"b" * 70_000, b"c"])
        assert list(transport.receive(LONG)) == [b"a" * 1000 + b"b" * 70_000 + b"c"]
        assert peer.await_pong() == b"between"


def test_a_packet_beyond_the_limit_ends_the_connection() -> None:
    """max_packet = 1000: 1,000 bytes are taken, 1,001 are answered with 1009."""
    with pair(max_packet=1000) as (transport, peer):
        peer.send([bytes(1000)])
        assert list(transport.receive(LONG)) == [bytes(1000)]
        peer.send([bytes(1001)])
        with pytest.raises(Exception, match="more than 1000"):
            transport.receive(LONG)
        assert peer.await_close()[0] == 1009


def test_only_one_task_may_receive() -> None:
    """A second receive is refused and does the first no harm."""
    with pair() as (transport, peer):
        got: list[bytes] = []
        first = ThreadRuntime().spawn(lambda: got.extend(transport.receive(LONG)), name="first")
        refused = None
        while refused is None:
            try:
                assert list(transport.receive(0)) == []
            except RuntimeError as error:
                refused = error
        peer.send([b"for the first"])
        assert first.join(LONG)
        assert got == [b"for the first"]


def test_the_sockets_are_closed_at_the_end() -> None:
    """After the end no descriptor is left, whether or not anybody was reading."""
    with pair() as (transport, _):
        reader = ThreadRuntime().spawn(lambda: reading_to_the_end(transport), name="reader")
        transport.close(SHORT)
        assert reader.join(LONG)
        assert transport._socket.connection.fileno() == -1
        assert transport._socket.poller._wakeups.fileno() == -1


def test_what_close_reads_is_for_receive_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A packet that close() reads is in the next receive(), even one that comes before close() goes on."""
    with pair() as (transport, peer):
        turn, got = transport._turn, list[bytes]()

        def turn_and_receive(*arguments: Any) -> bool:
            is_over = turn(*arguments)
            if is_over:
                monkeypatch.setattr(transport, "_turn", turn)
                got.extend(transport.receive(0))
            return is_over

        monkeypatch.setattr(transport, "_turn", turn_and_receive)
        peer.send([b"first"])
        transport.close(SHORT)
        assert got == [b"first"]


def reading_to_the_end(transport: WebSocketTransport) -> None:
    """Receive until the connection is lost."""
    with pytest.raises(ConnectionLost):
        while True:
            transport.receive(None)


@pytest.mark.parametrize("role", ["poll", "recv", "send"])
def test_the_socket_outlives_a_system_call_on_it(monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    """While a task is in a call on the socket its descriptor stays, lest a file take the number; then it goes."""
    with pair() as (transport, peer):
        seen: list[int] = []

        def close_meanwhile(*_: object) -> int:
            transport.close(0)
            seen.append(transport._socket.connection.fileno())
            if role == "poll":
                return 0
            raise ConnectionResetError

        peer.send([b"x"])
        if role == "poll":
            monkeypatch.setattr(transport._socket.poller, "wait", close_meanwhile)
        else:
            scripted = type("ScriptedSocket", (), {role: close_meanwhile})()
            transport._socket.wire._socket = scripted  # type: ignore[attr-defined]
        if role == "send":
            transport.send([b"x"], LONG)
        with pytest.raises(ConnectionLost):
            transport.receive(LONG)
        assert seen[0] != -1
        assert transport._socket.connection.fileno() == -1


def test_senders_get_room_in_order_of_arrival() -> None:
    """While a large batch waits, a small one that would fit does not overtake it, lest the large one starve."""
    with pair(send_buffer=100_000) as (transport, _):
        transport.send([bytes(8 << 20)], LONG)
        transport._buffer.bytes_buffered = 50_000  # as if most of it had gone: room for the small one only
        large = ThreadRuntime().spawn(lambda: losing(transport, bytes(90_000)), name="large")
        while not transport.stats().waiting_senders:
            assert not large.is_done
        with pytest.raises(SendTimeout):
            transport.send([b"small"], 0)
        transport.close(0)
        assert large.join(LONG)
        assert large.error is None


def test_a_sender_that_gives_up_lets_the_next_one_in() -> None:
    """When a large batch's time runs out, the small one behind it is accepted at once, with nobody reading."""
    with pair(send_buffer=100_000) as (transport, _):
        transport.send([bytes(8 << 20)], LONG)
        transport._buffer.bytes_buffered = 50_000  # as if most of it had gone

        def give_up() -> None:
            with pytest.raises(SendTimeout):
                transport.send([bytes(90_000)], 10 * SHORT)

        large = ThreadRuntime().spawn(give_up, name="large")
        while not transport.stats().waiting_senders and not large.is_done:
            ThreadRuntime().sleep(0)  # only yields
        small = ThreadRuntime().spawn(lambda: transport.send([b"small"], None), name="small")
        assert small.join(LONG)
        assert small.error is None
        assert large.join(LONG)
        assert large.error is None
        assert transport.stats().bytes_buffered > 50_000


def test_a_wait_for_room_that_is_interrupted_anywhere_leaves_no_ticket() -> None:
    """Whichever call inside the wait is the last before Ctrl-C, the next sender's turn comes."""
    number, was_interrupted = 0, True
    while was_interrupted:
        number, left, was_interrupted = number + 1, number + 1, False

        def strike(frame: FrameType, event: str, _: object) -> None:
            nonlocal left
            if event == "c_return" and frame.f_code is WaitingSenders.await_room.__code__:
                left -= 1
                if left == 0:
                    sys.setprofile(None)
                    raise KeyboardInterrupt

        with pair(send_buffer=100_000) as (transport, _):
            transport.send([bytes(8 << 20)], LONG)
            sys.setprofile(strike)
            try:
                transport.send([bytes(90_000)], 0.001)
            except (KeyboardInterrupt, SendTimeout) as error:
                was_interrupted = isinstance(error, KeyboardInterrupt)
            finally:
                sys.setprofile(None)
            assert not transport.stats().waiting_senders, f"left behind after call {number}"
    assert number > 2


def test_a_goodbye_that_cannot_be_answered_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other side says goodbye and reads nothing more: the answer is given up soon, and its words are told."""
    monkeypatch.setattr("meshsync.transport.closing._LINGER", SHORT)
    with pair() as (transport, peer):
        transport.send([bytes(16 << 20)], LONG)
        peer.close(1001, "restarting")
        with pytest.raises(ConnectionLost) as caught:
            transport.receive(LONG)
        assert (caught.value.code, caught.value.reason, caught.value.clean) == (1001, "restarting", False)


def test_last_words_are_heard_though_nothing_can_be_written() -> None:
    """A write that fails ends sending at once, not receiving: what came before the reset is returned."""
    with pair() as (transport, peer):
        transport.send([b"never read, so that closing resets the connection"], LONG)
        peer.send([b"last words"])
        peer.close(4002, "out")
        peer.drop()
        with pytest.raises(ConnectionLost):
            while True:
                transport.send([b"x"], LONG)
        assert list(transport.receive(LONG)) == [b"last words"]
        with pytest.raises(ConnectionLost) as caught:
            transport.receive(LONG)
        assert (caught.value.code, caught.value.reason, caught.value.clean) == (4002, "out", False)


def losing(transport: WebSocketTransport, packet: bytes) -> None:
    """Send in vain until the connection is lost."""
    with pytest.raises(ConnectionLost):
        transport.send([packet], LONG)


@pytest.mark.parametrize("code", [0, 1005, 1006, 5000])
def test_a_close_code_that_may_not_be_sent_is_refused(code: int) -> None:
    """The connection goes on."""
    with pair() as (transport, peer):
        with pytest.raises(ValueError, match=str(code)):
            transport.close(LONG, code)
        transport.send([b"still here"], LONG)
        assert peer.receive(1) == [b"still here"]


def test_what_is_being_written_counts_as_written() -> None:
    """At a loss while a sender is in the system call: none can say that its bytes did not go."""
    with pair() as (transport, _):
        seen: list[int] = []

        class Socket:
            @staticmethod
            def send(data: bytes) -> int:
                transport.close(0)
                seen.append(transport.written())
                return len(data)

        transport._socket.wire._socket = Socket()  # type: ignore[attr-defined]
        transport.send([b"one", b"two"], LONG)
        assert seen == [2]
        assert transport.written() == 2


# --- interrupted ------------------------------------------------------------------------------------------------------


def test_a_handshake_whose_start_is_interrupted_is_dropped(server: ScriptedServer) -> None:
    """Ctrl-C strikes where its task has begun, and here even ended: the server sees the connection end."""

    class Struck(ThreadRuntime):
        def spawn(self, target: Callable[[], None], *, name: str) -> ThreadTask:
            task = super().spawn(target, name=name)
            if name == "meshsync handshake":
                assert task.join(LONG)
                raise KeyboardInterrupt
            return task

    accepting = server.begin_to_accept()
    with pytest.raises(KeyboardInterrupt):
        WebSocketConnector(Endpoint(server.url, lambda: ""), Struck()).connect(LONG)
    accepting.result(LONG).await_end()


class InterruptedSocket:
    """A socket at which Ctrl-C strikes when bytes have gone or come, but nobody has been told yet."""

    def __init__(self, inner: socket.socket) -> None:
        self.inner = inner

    def send(self, data: bytes | memoryview) -> int:
        self.inner.send(data[: len(data) // 2])
        raise KeyboardInterrupt

    def recv(self, size: int) -> bytes:
        self.inner.recv(size)
        raise KeyboardInterrupt


def test_a_write_of_unknown_length_ends_the_connection() -> None:
    """Rather than go on in the middle of a frame, the connection is dropped; the interruption is passed on."""
    with pair() as (transport, peer):
        transport._socket.wire._socket = InterruptedSocket(transport._socket.connection)  # type: ignore[attr-defined]
        with pytest.raises(KeyboardInterrupt):
            transport.send([bytes(1000)], LONG)
        with pytest.raises(ConnectionLost, match="interrupted"):
            transport.send([b"next"], LONG)
        with pytest.raises(ConnectionLost, match="interrupted"):
            transport.receive(LONG)
        peer.await_end()


def test_a_read_of_unknown_length_ends_the_connection() -> None:
    """Bytes that were taken from the system and never looked at would tear the stream."""
    with pair() as (transport, peer):
        peer.send([b"lost"])
        transport._socket.wire._socket = InterruptedSocket(transport._socket.connection)  # type: ignore[attr-defined]
        with pytest.raises(KeyboardInterrupt):
            transport.receive(LONG)
        with pytest.raises(ConnectionLost, match="interrupted"):
            transport.receive(LONG)
        peer.await_end()


def test_an_interrupted_wait_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while receive waits for the network leaves the connection as it was."""
    with pair() as (transport, peer):

        def wait(events: int, timeout: float | None) -> int:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(transport._socket.poller, "wait", wait)
            with pytest.raises(KeyboardInterrupt):
                transport.receive(LONG)
        peer.send([b"still here"])
        assert list(transport.receive(LONG)) == [b"still here"]
        transport.send([b"me too"], LONG)
        assert peer.receive(1) == [b"me too"]


def test_an_interrupted_wait_for_room_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while send waits for room: nothing was accepted, and others can go on."""
    with pair(send_buffer=100_000) as (transport, peer):
        transport.send([bytes(8 << 20)], LONG)

        def strike(timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(type(transport._lock), "wait", lambda self, timeout=None: strike(timeout))
            with pytest.raises(KeyboardInterrupt):
                transport.send([b"never"], LONG)
        reader: Task = ThreadRuntime().spawn(lambda: reading_to_the_end(transport), name="reader")
        transport_sends = ThreadRuntime().spawn(lambda: transport.send([b"next"], LONG), name="sender")
        assert [len(packet) for packet in peer.receive(2)] == [8 << 20, 4]
        assert transport_sends.join(LONG)
        transport.close(0)
        assert reader.join(LONG)


def test_an_interrupted_close_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while close waits for the goodbye: the connection is dropped at once."""
    with pair() as (transport, peer):

        def wait(events: int, timeout: float | None) -> int:
            raise KeyboardInterrupt

        monkeypatch.setattr(transport._socket.poller, "wait", wait)
        with pytest.raises(KeyboardInterrupt):
            transport.close(LONG)
        peer.await_end()
        assert transport._socket.connection.fileno() == -1
