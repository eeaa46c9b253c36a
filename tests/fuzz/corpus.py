"""What fuzzing begins with: recorded packets of real clients, and inputs by hand where nothing was recorded."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from random import Random

from meshsync import MessageStreamChunk
from meshsync.filters.compression import compression
from meshsync.protocol.content import (
    Binary,
    Content,
    Control,
    Empty,
    Error,
    File,
    Json,
    LinkContent,
    Raw,
    Text,
    encode_content,
)
from meshsync.protocol.frames import Opcode, encode, encode_close, encode_control
from meshsync.protocol.greeting import GreetingForm, encode_connected, encode_room_ready
from meshsync.protocol.operations import Connected, Push, Reply, RoomReady
from meshsync.protocol.packets import Reassembler, WireMessage
from meshsync.protocol.stream_messages import (
    Accept,
    Cancel,
    Close,
    Credit,
    Open,
    Reject,
    StreamChunk,
    encode_stream_message,
)
from meshsync.tokens import ParticipantToken
from simulator import Simulation, faults, latency
from simulator.faults import plans
from tests.fuzz.conversations import rooms, seats
from tests.fuzz.inputs import PUSH_TYPES, REQUEST_TYPES, STREAMS, pack, pick, unpack
from tests.fuzz.targets import ENVIRONMENT
from tests.support.scripted import greeting, packets_of

__all__ = ["PACKED", "corpus", "found", "keep", "mutant_of_parts", "mutants", "written"]

_GOLDEN = Path(__file__).parents[1] / "golden"
_TYPES = (*PUSH_TYPES, *REQUEST_TYPES)


@cache
def _conversations() -> list[dict[str, object]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(_GOLDEN.glob("*.json"))]


@cache
def _recorded(sender: str) -> list[list[bytes]]:
    """Return the packets of each recorded message of ``client`` or ``server``, small ones only."""
    messages = [entry for file in _conversations() for entry in file["messages"]]  # type: ignore[attr-defined]
    found = [list(map(bytes.fromhex, entry["packets_hex"])) for entry in messages if entry["dir"].startswith(sender)]
    return [one for one in found if sum(map(len, one)) < 4000]


def _messages(sender: str) -> Iterator[WireMessage]:
    for one in _recorded(sender):
        for message in Reassembler().feed(one):
            yield WireMessage(message.id, message.type, bytes(message.body))


# --- by target --------------------------------------------------------------------------------------------------------


def _attachment() -> Iterator[bytes]:
    for message in _messages("client"):
        if b"attachment_base64" in message.body:
            yield (b"\0" if message.type == "room.invoke_tool" else b"\1") + bytes(message.body[8:])
    yield b'\0{"arguments":{"json":{"attachment_base64":"+/+/"}}}'
    yield b'\0{"attachment_base64":"AAAA","arguments":{"json":{"attachment_base64":"\\u002b\\/+/"}}}'
    yield b'\1{"chunk":{"json":{"x":"{\\"attachment_base64\\":\\"AAAA\\"}" , "attachment_base64" : "QQ=="}}}'


def _bridge() -> Iterator[bytes]:
    for header in ({}, {"a": 1}, {"meshsync.type": "T", "a": [None]}, {"meshsync.type": ""}, {"meshsync.type": 1}):
        yield b"\0" + json.dumps(header).encode()
        yield b"\1" + json.dumps(header).encode()


_CONTENTS: tuple[Content, ...] = (
    Empty(),
    Json({"a": [1, 2.5, None, True]}),
    Text("text"),
    Error("refused", 1003),
    Error("refused"),
    File("a.txt", "text/plain", b"data"),
    LinkContent("a", "http://a.test/"),
    Raw([1, "a"]),
    Control("open"),
    Control("close", 1001, "late"),
    Binary(b"data", {"a": "b"}),
)


def _content() -> Iterator[bytes]:
    for value in _CONTENTS:
        header, payload = encode_content(value)
        yield pack(json.dumps(header).encode(), payload)


def _envelope() -> Iterator[bytes]:
    for sender in ("client", "server"):
        for message in _messages(sender):
            yield bytes(message.body)


def _expand() -> Iterator[bytes]:
    stream = compression()()
    chunks = [*stream.encode(MessageStreamChunk({}, b"abc" * 100)), *stream.encode(MessageStreamChunk({}, bytes(900)))]
    yield pack(*(bytes(chunk.data) for chunk in (*chunks, *stream.finish())))


def _frames() -> Iterator[bytes]:
    for masked in (0, 1):
        key = b"\1\2\3\4" if masked else None
        sizes = [b"a", b"", bytes(200), *[bytes(20)] * 20, bytes(70_000)[:66_000]]
        body = encode(sizes, b"\1\2\3\4" * len(sizes) if masked else None)
        first = bytes((masked | 200,))
        yield first + encode(sizes[:3], b"\1\2\3\4" * 3 if masked else None)
        yield first + body
        yield first + encode_control(Opcode.PING, b"ping", key) + encode_close(1000, "bye", key)
        yield first + bytes((0x02, 0x81 if masked else 0x01)) + (b"\0\0\0\0" if masked else b"") + b"a" + body[:40]
    yield b"\0\x02\x01a\x89\x01p\x00\x01b\x80\x01c"


def _greet() -> Iterator[bytes]:
    for form in GreetingForm:
        yield b"\0" + encode_room_ready(RoomReady("lab", "ws://lab.test", "s-1"), form)[1]
        yield b"\1" + encode_connected(Connected("p-1", {"name": "me"}), form)[1]
    yield b"\0" + b"0.35.6"


def _handshake() -> Iterator[bytes]:
    good = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    yield b"\xff" + good + b"Sec-WebSocket-Accept: {accept}\r\n\r\n\x82\x01a"
    yield b"\x05" + good + b"Sec-WebSocket-Accept: {accept}\r\nSet-Cookie: a=b; path=/\r\n\r\n"
    yield b"\xff" + good + b"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    yield b"\xffHTTP/1.1 100 Continue\r\n\r\n" + good + b"Sec-WebSocket-Accept: wrong\r\n\r\n"
    yield b"\xffHTTP/1.1 403 Forbidden\r\nContent-Length: 26\r\n\r\ntoken-that-nobody-may-read"
    yield b"\xffHTTP/1.1 302 Found\nLocation: http://elsewhere.test/\n\n"
    yield b"\xffHTTP/1.0 503\r\ncontent-length: 999999999999999999\r\n\r\n<html>"
    yield b"\xffSSH-2.0-OpenSSH_9.6\r\n"


def _packets(sender: str) -> Iterator[bytes]:
    for one in _recorded(sender):
        yield pack(*one)
    yield pack(*(packet for one in _recorded(sender)[:6] for packet in one))


def _plan() -> Iterator[bytes]:
    entries: list[plans.Planned] = [
        faults.at(1, faults.reset("ada")),
        faults.during(1, 2, faults.throttle("ada", 100.0)),
        faults.during(1, 2, faults.latency(latency.lognormal(0.1, 0.5), "ada", direction="up")),
        faults.every(latency.exponential(2), faults.pause("ada", 1)),
        faults.on("message", sender="ada", nth=2).do(faults.error_replies("ben", 1001, 0.5)),
        faults.during(1, 2, faults.partition({"ada", "ben"})),
        faults.quiet(after=9),
    ]
    yield json.dumps(plans.to_json(entries)).encode()
    for entry in entries:
        yield json.dumps(plans.to_json([entry])).encode()


def _proxy() -> Iterator[bytes]:
    def variable(name: str, value: str) -> bytes:
        return pick(ENVIRONMENT, name) + value.encode()

    yield pack(variable("all_proxy", "http://user:sesame@proxy.test:3128"))
    yield pack(variable("ws_proxy", "proxy.test"), variable("no_proxy", "10.0.0.0/8, [fe80::]/10:80 .test:81,*.a"))
    yield pack(variable("HTTPS_PROXY", "socks5://u:sesame@p.test"), variable("http_proxy", "http://[::1]:99999"))


def _push() -> Iterator[bytes]:
    for message in _messages("server"):
        if message.type in PUSH_TYPES:
            yield pick(PUSH_TYPES, message.type) + bytes(message.body)


def _request() -> Iterator[bytes]:
    for message in _messages("client"):
        if message.type in REQUEST_TYPES:
            yield pick(REQUEST_TYPES, message.type) + bytes(message.body)


def _session() -> Iterator[bytes]:
    def said(message: WireMessage) -> bytes:
        return bytes((message.id % 256,)) + pick(_TYPES, message.type) + bytes(message.body)

    roster = {"participants": [{"id": "p-2", "role": "user", "attributes": {"name": "ben"}}]}
    talk = [
        Reply(1, Empty()),
        Push("p-1", "messaging.enabled", roster),
        Push("p-3", "participant.enabled", {"id": "p-3", "role": "user", "attributes": {}}),
        Push("p-3", "participant.attributes", {"attributes": {"mood": 1}}),
        Push("p-2", "chat", {"text": "hi"}, b"data"),
        Reply(2, Error("no", 1003)),
        Push("p-3", "participant.disabled", {"id": "p-3"}),
        Reply(3, Error("no")),
    ]
    messages = list(Reassembler().feed(packets_of(*talk)))
    yield pack(*map(said, messages))
    yield pack(*map(said, messages[:3]))
    recorded = [said(message) for message in _messages("server") if message.type in _TYPES]
    yield pack(*recorded[:20])


def _opening() -> Iterator[bytes]:
    yield pack(*greeting())
    yield from _packets("server")


def _stream_message() -> Iterator[bytes]:
    for message in (
        Open("s", {"a": 1}, 1000),
        Open("s", {}),
        Accept("s", 5),
        Reject("s", "no", True),
        StreamChunk("s", {"part": 1}, b"data"),
        Close("s"),
        Close("s", False),
        Credit("s", 100),
        Cancel("s", "enough"),
    ):
        type, body = encode_stream_message(message)
        yield pick(STREAMS, type) + pack(json.dumps(body).encode(), b"data")


def _text() -> Iterator[bytes]:
    yield from (b"{}", b' {"a":[1,-2.5e3,true,false,null,"\\ud83d\\ude00"]} ', b'{"a":"\\ud800"}', b'{"":{"":{}}}')
    yield from (b'{"a":1e400}', b'{"a":-0.0}', b'{"a":' + b"9" * 400 + b"}", b'{"__meshagent__":{}}', b"\xef\xbb\xbf{}")


def _token() -> Iterator[bytes]:
    whole = ParticipantToken.for_room(room="lab", name="ada").encode("secret" * 8)
    yield whole.encode()
    for part in whole.split(".")[:2]:
        yield part.encode()
    yield b'{"name":"ada","grants":[{"name":"room","scope":"lab"},{"name":"api","scope":{"messaging":{"send":null}}}]}'
    yield b'{"name":"ada","exp":1e999,"nbf":-1,"sub":null,"grants":[{"name":"role","scope":7}]}'
    yield b"ma-AAAAAAAAAAAAAAAAAAAAAA-AAAAAAAAAAAAAAAAAAAAAA-secret"


@cache
def _saved_transcript() -> bytes:
    with Simulation(1) as simulation:
        room = simulation.room("lab")
        ada, ben = room.join("ada", enable=True), room.join("ben", enable=True)
        to = ada.messaging.wait_for_participant(name="ben", timeout=10)
        ada.messaging.send_message(to, "chat", {"text": "hi"})
        ben.close()
    with tempfile.NamedTemporaryFile() as file:
        room.transcript.save(file.name)
        return Path(file.name).read_bytes()


def _transcript() -> Iterator[bytes]:
    yield _saved_transcript()
    lines = _saved_transcript().splitlines(keepends=True)
    yield lines[0] + lines[-1]
    yield b"".join(lines[:3])


def _tunnel() -> Iterator[bytes]:
    yield b"\xffHTTP/1.1 200 Connection established\r\n\r\n\x82"
    yield b"\xffHTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n"
    yield b"\xffHTTP/1.0 502\n\n"


_CORPORA = {
    "attachment": _attachment,
    "bridge": _bridge,
    "content": _content,
    "envelope": _envelope,
    "expand": _expand,
    "frames": _frames,
    "greet": _greet,
    "handshake": _handshake,
    "opening": _opening,
    "packets": lambda: _packets("client"),
    "plan": _plan,
    "proxy": _proxy,
    "push": _push,
    "request": _request,
    "room": rooms,
    "seat": seats,
    "session": _session,
    "stream_message": _stream_message,
    "text": _text,
    "token": _token,
    "transcript": _transcript,
    "tunnel": _tunnel,
}


@cache
def corpus(target: str) -> tuple[bytes, ...]:
    """Return the inputs that fuzzing of a target begins with, each once: those written here, then those it found."""
    return tuple(dict.fromkeys((*written(target), *found(target))))


@cache
def written(target: str) -> tuple[bytes, ...]:
    """Return the inputs of a target that are written here."""
    return tuple(dict.fromkeys(_CORPORA[target]()))


FOUND = Path(__file__).with_name("found")
"""Has a file for each target, with an input in a line."""


def found(target: str) -> list[bytes]:
    """Return the inputs of a target that fuzzing found and that reach code which those written here do not."""
    path = FOUND / f"{target}.txt"
    return [base64.b64decode(line) for line in path.read_bytes().split()] if path.exists() else []


def keep(target: str, inputs: Iterable[bytes]) -> None:
    """Put inputs in the place of all that fuzzing of a target had found."""
    known = written(target)
    new = sorted((data for data in inputs if data not in known), key=lambda data: (len(data), data))
    FOUND.mkdir(exist_ok=True)
    (FOUND / f"{target}.txt").write_bytes(b"".join(base64.b64encode(data) + b"\n" for data in new))


# --- mutations --------------------------------------------------------------------------------------------------------

_TOKENS = (
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e999",
    b"NaN",
    b"18446744073709551616",
    b'""',
    b'"\\ud800"',
    b"{}",
    b"[]",
    b'{"a":' * 30 + b"1" + b"}" * 30,
    b"[" * 2000,
    b"9" * 5000,
    b"\xff",
    b"\0",
    b"\r\n",
    b"\xf0\x9f\x98\x80",
)
"""What decoders stumble over."""


def mutants(target: str, count: int) -> Iterator[tuple[int, bytes]]:
    """Yield numbered inputs that were bred from the corpus; the same ones in every run."""
    seeds = corpus(target)
    for number in range(count):
        chance = Random(f"{target}/{number}")
        if target in PACKED and chance.random() < 0.7:
            yield number, mutant_of_parts(_choose(seeds, chance), seeds, chance)
        else:
            yield number, mutant(seeds, chance)


PACKED = ("room", "seat")
"""Targets whose inputs are long sequences of parts, which are changed part by part: or most changes would tear them."""


def mutant_of_parts(data: bytes, seeds: tuple[bytes, ...], chance: Random) -> bytes:
    """Return an input of parts with one to six changes: parts changed, lost, doubled, moved, or taken from others."""
    parts = list(unpack(data)) or [b""]
    for _ in range(1 + int(chance.random() * 6)):
        at = int(chance.random() * len(parts))
        match int(chance.random() * 7):
            case 0 if len(parts) > 1:
                del parts[at]
            case 1:
                parts.insert(at, _choose(parts, chance))
            case 2:
                parts.insert(at, parts.pop(int(chance.random() * len(parts))))
            case 3:
                others = list(unpack(_choose(seeds, chance)))
                begin = int(chance.random() * (len(others) + 1))
                parts[at:at] = others[begin : begin + 1 + int(chance.random() * 4)]
            case 4:  # who, what or which id
                head = bytearray(parts[at][:3])
                if head:
                    head[int(chance.random() * len(head))] = int(chance.random() * 16)
                parts[at] = bytes(head) + parts[at][3:]
            case _:
                parts[at] = parts[at][:3] + mutant((parts[at][3:],), chance)
    return pack(*(part[:65535] for part in parts[:60]))


def mutant(seeds: tuple[bytes, ...], chance: Random) -> bytes:
    """Return one of the seeds with one to six changes."""
    data = bytearray(_choose(seeds, chance))
    for _ in range(1 + int(chance.random() * 6)):
        at, end = sorted((int(chance.random() * (len(data) + 1)), int(chance.random() * (len(data) + 1))))
        end = min(end, at + 1 + int(chance.random() ** 3 * 40))
        match int(chance.random() * 7):
            case 0:
                data[at:end] = bytes(byte ^ (1 << int(chance.random() * 8)) for byte in data[at : at + 1])
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end]
            case 3:
                data[at:end] = _choose(_TOKENS, chance)
            case 4:
                _change_value(data, chance)
            case 5:
                size = _choose((1, 2, 4, 8), chance)
                data[at : at + size] = _choose((0, 1, 127, 128, 255), chance).to_bytes(size, "big")
            case 6:
                data[at:] = _choose(seeds, chance)[at:]
    return bytes(data)


def _change_value(data: bytearray, chance: Random) -> None:
    """Put another value in the place of one in JSON."""
    colons = [index for index, byte in enumerate(data) if byte == 0x3A]
    if colons:
        begin = _choose(colons, chance) + 1
        ends = [at for at in (data.find(stop, begin) for stop in b",}") if at > 0]
        data[begin : min(ends, default=len(data))] = _choose(_TOKENS, chance)


def _choose(choices, chance: Random):  # type: ignore[no-untyped-def]
    return choices[int(chance.random() * len(choices))]
