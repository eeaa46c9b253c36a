"""What is fuzzed: every decoder of what a peer, a server, a file or an environment chose, each as a function of bytes.

A target feeds one decoder. It lets only the documented errors pass, and checks what else the decoder promises: that the
chunking of a wire changes nothing, and that a room can write again whatever it has read. Any other exception is a
finding. Two targets are more than a decoder: a seat and a room among others, in ``crowd.py``. ``corpus.py`` has what
each begins with, ``test_decoders.py`` runs all of them briefly, and ``python -m tests.fuzz`` lets coverage guide them
(``tox -e fuzz``).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from meshsync import MessageStreamChunk
from meshsync.errors import AuthenticationFailed, ConnectFailed, ProtocolError, StreamError, UsageError
from meshsync.filters.compression import compression
from meshsync.protocol import events
from meshsync.protocol.attachments import MEMBER, open_attached, read_attachment
from meshsync.protocol.bridging import chunk_to_message, message_to_chunk
from meshsync.protocol.codec import decode_push, decode_request, encode_push, encode_reply
from meshsync.protocol.content import decode_content, encode_content
from meshsync.protocol.dialects import dialect
from meshsync.protocol.envelopes import (
    RESERVED,
    decode_envelope,
    decode_object,
    encode_envelope,
    encode_members,
    encode_object,
)
from meshsync.protocol.frames import CloseFrame, FrameDecoder
from meshsync.protocol.greeting import GreetingForm, encode_connected, encode_room_ready, greeting_form, version_numbers
from meshsync.protocol.operations import (
    AnswerCall,
    AnswerChunk,
    Broadcast,
    CallChunk,
    Connected,
    Enable,
    Push,
    RoomReady,
    Send,
    SetAttributes,
)
from meshsync.protocol.packets import Reassembler, WireMessage, split
from meshsync.protocol.session import Participation, Session
from meshsync.protocol.stream_messages import decode_stream_message, encode_stream_message
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.threads import ThreadRuntime
from meshsync.tokens import ApiKey, ParticipantToken
from meshsync.transport.dialing import open_tunnel
from meshsync.transport.proxies import Proxy, find_proxy
from meshsync.transport.refusals import translate
from meshsync.transport.upgrade import Ask, NotWebSocket, Refusal, upgrade
from simulator import Transcript
from simulator.faults import plans
from tests.fuzz.crowd import room, seat
from tests.fuzz.inputs import PUSH_TYPES, REQUEST_TYPES, STREAMS, TYPES, picked, read_object, reportable, unpack
from tests.support.scripted import greeting

__all__ = ["ENVIRONMENT", "TARGETS"]

# --- bytes ------------------------------------------------------------------------------------------------------------


def frames(data: bytes) -> None:
    """Decode frames whole and in pieces: both give the same packets and the same fault."""
    masked, size, data = bool(data[:1] and data[0] & 1), max(1, (data[0] if data else 2) >> 1), data[1:]

    def outcome(pieces: list[bytes]) -> tuple[list[bytes], CloseFrame | None, bytes | None, str]:
        decoder, packets, fault = FrameDecoder(masked=masked, max_size=100_000), [], ""
        try:
            for piece in pieces:
                decoder.feed(piece, packets)
        except ProtocolError as error:
            reportable(error)
            fault = str(error)
        return packets, decoder.close, decoder.take_ping(), fault

    whole = outcome([data])
    assert outcome([data[at : at + size] for at in range(0, len(data), size)]) == whole
    assert sum(map(len, whole[0])) <= len(data)


def packets(data: bytes) -> None:
    """Put messages together; each is cut into packets that make the same message."""
    again = Reassembler()
    try:
        for message in Reassembler(50_000).feed(list(unpack(data))):
            assert len(message.body) <= 50_000
            assert list(again.feed(split(message.id, message.type, message.body, 7))) == [message]
    except ProtocolError as error:
        reportable(error)


def envelope(data: bytes) -> None:
    """Read an envelope; a room can write again whatever it has read."""
    try:
        header, payload = decode_envelope(data, "it")
    except ProtocolError as error:
        reportable(error)
        return
    again = encode_envelope(encode_members(header, forwarded=True), payload)
    assert decode_envelope(again, "it") == (header, payload)


def text(data: bytes) -> None:
    """Read JSON; what is read can be written again by a room."""
    value = read_object(data)
    if value is not None:
        assert decode_object(encode_object(value, "it", forwarded=True), "it") == value


# --- messages ---------------------------------------------------------------------------------------------------------


def content(data: bytes) -> None:
    """Read content; what is read can be written again, and is then the same."""
    parts = iter(unpack(data))
    header, payload = read_object(next(parts, b"")), next(parts, b"")
    if header is None:
        return
    try:
        value = decode_content(header, payload)
    except ProtocolError as error:
        reportable(error)
        return
    once = decode_content(*encode_content(value))
    assert decode_content(*encode_content(once)) == once
    encode_reply(value)


def push(data: bytes) -> None:
    """Read what a room may send."""
    type, body = picked(data, PUSH_TYPES)
    try:
        decode_push(WireMessage(7, type, body))
    except ProtocolError as error:
        reportable(error)


def request(data: bytes) -> None:
    """Read a request; what a room has to pass on of it, it can write."""
    type, body = picked(data, REQUEST_TYPES)
    try:
        value = decode_request(WireMessage(7, type, body))
    except ProtocolError as error:
        reportable(error)
        return
    match value:
        case Send(_, type, message, attachment) | Broadcast(type, message, attachment):
            encode_push(Push("p-1", type, message, attachment))
        case SetAttributes(attributes):
            listed = [{"id": "p-1", "role": "user", "attributes": attributes}]
            encode_push(Push("p-1", "messaging.enabled", {"participants": listed}))
        case AnswerCall(_, answer):
            encode_reply(answer)
        case CallChunk() | AnswerChunk():
            encode_push(value)


def attachment(data: bytes) -> None:
    """Read an attachment inside of JSON by cutting it out, and by way of JSON: both give the same."""
    path = ("arguments", "json") if data[:1] == b"\0" else ("chunk", "json")
    # Only large bodies are cut, and white space is allowed in JSON.
    header = data[1:]
    body = encode_envelope(header + b" " * max(0, 2048 - len(header)))
    try:
        plain: Any = decode_envelope(body, "it")[0]
    except ProtocolError:
        plain = None
    try:
        _, inner = open_attached(body, "it", path)
        found = read_attachment(inner, "it")
    except ProtocolError as error:
        reportable(error)
        return
    for name in path:
        plain = plain.get(name) if isinstance(plain, dict) else None
    value = plain.get(MEMBER) if isinstance(plain, dict) else None
    # (A sender with a number there, and an equal name elsewhere, deceives only itself.)
    if value is None or isinstance(value, str):
        assert found == (base64.b64decode(value) if value else b"")


def stream_message(data: bytes) -> None:
    """Read a message of a stream; what is read can be written again, and is then the same."""
    type, data = picked(data, STREAMS)
    parts = iter(unpack(data))
    body, payload = read_object(next(parts, b"")), next(parts, b"")
    if body is None:
        return
    try:
        message = decode_stream_message(type, body, payload)
    except ProtocolError as error:
        reportable(error)
        return
    assert decode_stream_message(*encode_stream_message(message), payload) == message


def bridge(data: bytes) -> None:
    """Let a chunk cross to a call and back: it is the same."""
    is_first, header = data[:1] == b"\1", read_object(data[1:])
    if header is not None:
        message = chunk_to_message(header, b"data", is_first=is_first)
        back, payload = message_to_chunk(message, is_first=is_first)
        assert payload == b"data"
        if header.get("meshsync.type") not in ("stream.open", "stream.chunk"):  # which are not to be used
            assert back == header


def greet(data: bytes) -> None:
    """Read a greeting; it can be written in each form, and then reads the same."""
    which, data = data[:1], data[1:]
    numbers = version_numbers(data.decode("utf-8", "replace"))
    assert numbers is None or len(numbers) == 3
    greeting_form(data.decode("utf-8", "surrogateescape"))
    try:
        value = decode_push(WireMessage(0, "connected" if which == b"\1" else "room_ready", data))
    except ProtocolError as error:
        reportable(error)
        return
    for form in GreetingForm:
        if isinstance(value, RoomReady):
            assert decode_push(WireMessage(0, *encode_room_ready(value, form))) == value
        elif isinstance(value, Connected) and RESERVED not in value.attributes:
            assert decode_push(WireMessage(0, *encode_connected(value, form))) == value


def session(data: bytes) -> None:
    """Hold a conversation: after the greeting no message ends it, and the events fit each other."""
    talk = Session(dialect("A3"))
    list(talk.receive(greeting("p-1")))
    asked = set()
    for one in (Enable(), Send("p-2", "chat", {}), Enable()):
        asked.add(talk.issue(one, talk.encode(one))[0])
    answered: list[int] = []
    members: set[str] = set()
    is_in = False
    for part in unpack(data):
        number, part = part[0] if part else 0, part[1:]
        type, body = picked(part, TYPES)
        for event in talk.receive(split(number, type, body)):
            match event:
                case events.Answered(request_id):
                    answered.append(request_id)
                case events.Enabled():
                    assert not is_in
                    is_in = True
                case events.MemberAdded(member):
                    assert is_in
                    assert member.id not in members
                    members.add(member.id)
                case events.MemberRemoved(member):
                    members.remove(member.id)
                case events.Ready():
                    raise AssertionError("a second greeting counts")
    assert len(set(answered)) == len(answered)
    assert asked.issuperset(answered)
    assert talk.stats().pending == len(asked) - len(answered)
    assert is_in == (talk.participation is Participation.IN)
    if is_in:
        assert {member.id for member in talk.roster} == members


def opening(data: bytes) -> None:
    """Receive packets before any greeting: only a breach of the protocol ends the conversation."""
    try:
        list(Session(dialect("B3")).receive(list(unpack(data))))
    except ProtocolError as error:
        reportable(error)


def expand(data: bytes) -> None:
    """Expand compressed chunks: only an error of this stream ends it, and no chunk is larger than the limit."""
    stream = compression(limit=10_000)()
    try:
        for part in unpack(data):
            for chunk in stream.decode(MessageStreamChunk({}, part)):
                assert len(chunk.data) <= 10_000
        stream.check_end()
    except StreamError:
        return


# --- credentials, files, environments ---------------------------------------------------------------------------------


def token(data: bytes) -> None:
    """Read a token and an API key, which anybody may present; no error repeats it."""
    shown = data.decode("utf-8", "surrogateescape")
    # A text without a dot may be wrapped up as the claims of a token that nobody signed.
    for text in (shown, f"e30.{base64.urlsafe_b64encode(data).decode().rstrip('=')}."):
        for read in (ParticipantToken.peek, lambda text: ParticipantToken.decode(text, "secret" * 8, now=1e9)):
            try:
                found = read(text)
            except AuthenticationFailed as error:
                assert len(text) < 12 or text not in str(error)
            else:
                _ = found.role, found.room, found.messaging
    with suppress(UsageError):
        str(ApiKey.parse(shown))


def transcript(data: bytes) -> None:
    """Load a saved transcript: what is none is refused."""
    descriptor, name = tempfile.mkstemp()
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        try:
            loaded = Transcript.load(name)
        except UsageError:
            return
        loaded.to_mermaid()
        loaded.to_text()
        loaded.save(name)
        assert Transcript.load(name) == loaded
    finally:
        os.unlink(name)


def plan(data: bytes) -> None:
    """Read a fault plan; what is read is written the same."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        read = plans.from_json(value)
    except ValueError:
        return
    assert plans.from_json(plans.to_json(read)) == read


ENVIRONMENT = ("ws_proxy", "wss_proxy", "http_proxy", "HTTPS_PROXY", "all_proxy", "no_proxy", "NO_PROXY")


def proxy(data: bytes) -> None:
    """Find the proxy in an environment; no error repeats a password."""
    environ = {}
    for part in unpack(data):
        name, value = picked(part, ENVIRONMENT)
        environ[name] = value.decode("utf-8", "surrogateescape")
    for scheme, host, port in (("ws", "room.test", 80), ("wss", "10.1.2.3", 6374), ("ws", "fe80::1", 1)):
        try:
            found = find_proxy(scheme, host, port, environ)
        except ConnectFailed as error:
            assert "sesame" not in str(error)
        else:
            assert found is None or 0 < found.port < 65536


# --- handshakes -------------------------------------------------------------------------------------------------------

_RUNTIME = ThreadRuntime()
_TOKEN = "token-that-nobody-may-read"


class _Wire:
    """A connection whose peer has said everything beforehand; ``{accept}`` in that stands for the right answer."""

    def __init__(self, answer: bytes, size: int) -> None:
        self._answer = answer
        self._size = size

    def sendall(self, data: bytes) -> None:
        key = re.search(rb"Sec-WebSocket-Key: (.*)\r\n", data)
        if key:
            digest = hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            self._answer = self._answer.replace(b"{accept}", base64.b64encode(digest))

    def recv(self, size: int) -> bytes:
        size = min(size, self._size)
        piece, self._answer = self._answer[:size], self._answer[size:]
        return piece

    def settimeout(self, timeout: float | None) -> None: ...
    def gettimeout(self) -> float | None: ...
    def fileno(self) -> int:
        return -1

    def close(self) -> None: ...


def _wire(data: bytes) -> socket.socket:
    return cast(socket.socket, _Wire(data[1:], data[0] + 1 if data else 1))


def handshake(data: bytes) -> None:
    """Read the answer to a handshake: it is one, or becomes the client's own error, in which no token appears."""
    ask = Ask("/rooms/lab?token=" + _TOKEN, "room.test", 80, ["User-Agent: it"])
    try:
        upgrade(_wire(data), ask, _RUNTIME, Deadline(_RUNTIME, None), lambda _: None)
    except (Refusal, NotWebSocket, ConnectionResetError) as error:
        assert _TOKEN not in str(translate(error, "room.test:80", [_TOKEN]))


def tunnel(data: bytes) -> None:
    """Read the answer of a proxy: it is a tunnel, or the client's own error."""
    try:
        open_tunnel(_wire(data), Proxy("proxy.test", 3128), "room.test", 80, "room.test:80", Deadline(_RUNTIME, None))
    except ConnectFailed:
        return


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        attachment,
        bridge,
        content,
        envelope,
        expand,
        frames,
        greet,
        handshake,
        opening,
        packets,
        plan,
        proxy,
        push,
        request,
        room,
        seat,
        session,
        stream_message,
        text,
        token,
        transcript,
        tunnel,
    )
}
"""All targets by name."""
