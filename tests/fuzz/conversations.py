"""What fuzzing of a whole room begins with: recorded clients with other ids, and conversations by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from meshsync.protocol.codec import encode_request
from meshsync.protocol.content import Control, Error, Json
from meshsync.protocol.dialects import dialect
from meshsync.protocol.envelopes import decode_envelope, encode_envelope
from meshsync.protocol.operations import (
    AnswerCall,
    AnswerChunk,
    Broadcast,
    Call,
    CallChunk,
    CallMessage,
    Disable,
    Enable,
    OpenCall,
    Request,
    Send,
    SetAttributes,
)
from meshsync.protocol.packets import Reassembler, WireMessage, split
from meshsync.protocol.stream_messages import (
    Accept,
    Cancel,
    Close,
    Credit,
    Open,
    Reject,
    StreamChunk,
    StreamMessage,
    encode_stream_message,
)
from tests.fuzz.crowd import KINDS, STEPS, Crowd
from tests.fuzz.inputs import pack

__all__ = ["rooms", "seats"]

_GOLDEN = Path(__file__).parents[1] / "golden"
_NAMES = (*KINDS,)


class _Script:
    """A conversation that is held as it is written, so that it can use the ids that the room chooses."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.crowd = Crowd()

    def id(self, name: str) -> str:
        return self.crowd.seats[name].member.id

    def send(self, name: str, request: Request, id: int = 5) -> _Script:
        type, body = encode_request(request, dialect(KINDS[name].speaks))
        return self.message(name, type, body, id)

    def message(self, name: str, type: str, body: bytes, id: int) -> _Script:
        self.parts.append(bytes((_NAMES.index(name), STEPS.index(type), id)) + body)
        self.crowd.feed(name, split(id, type, body))
        return self

    def stream(self, name: str, to: str, message: StreamMessage, data: bytes = b"") -> _Script:
        type, body = encode_stream_message(message)
        return self.send(name, Send(self.id(to), type, body, data))

    def leave(self, name: str) -> _Script:
        self.parts.append(bytes((_NAMES.index(name), len(STEPS) - 2)))
        self.crowd.leave(name)
        return self

    def wait(self) -> _Script:
        self.parts.append(bytes((0, len(STEPS) - 1)))
        self.crowd.wait()
        return self

    def call_to(self, name: str) -> tuple[int, str]:
        """Return the ids of the message that called someone last, and of that call."""
        found = [output for to, output in self.crowd.pushes if to == name and isinstance(output.what, Call)]
        assert isinstance(found[-1].what, Call)
        return found[-1].id, found[-1].what.call_id

    def offer(self, name: str, to: str, call_id: str = "X") -> _Script:
        self.send(name, OpenCall(call_id), 7)
        return self.send(name, CallChunk(call_id, CallMessage("ask", {"n": 1}, b"\1", to=self.id(to))), 8)

    def answer(self, name: str, content: Control | Error) -> _Script:
        push_id, _ = self.call_to(name)
        return self.send(name, AnswerCall(push_id, content), push_id)

    def reply(self, name: str, content: CallMessage | Control | Error) -> _Script:
        push_id, call_id = self.call_to(name)
        return self.send(name, AnswerChunk(push_id, call_id, content), push_id)


def _talks() -> Iterator[_Script]:
    """Yield messages, presence, and streams of every pair of kinds, to each of their ends."""
    yield _Script().send("dot", SetAttributes({"mood": "calm"})).send("ada", Broadcast("all", {"n": 1}, b"data"))
    talk = _Script()
    for name in _NAMES:
        talk.send(name, Send(talk.id("ben"), "chat", {"to": name}))
        talk.send(name, Disable()).send(name, Send(talk.id("ada"), "chat", {})).send(name, Enable(KINDS[name].streams))
    yield talk.leave("eve").send("eve", SetAttributes({"name": "eve again", "a": [1, {"b": None}]}))
    yield _Script().message("eve", "agents.ask", encode_envelope(b"{}"), 9).wait()
    for caller, other in (("ben", "cid"), ("ben", "ada"), ("cid", "dot"), ("ben", "eve"), ("cid", "fay")):
        yield _Script().offer(caller, other).wait()
        yield _Script().offer(caller, other).leave(other)
        yield _Script().offer(caller, other).leave(caller)
    for answer in (Control("open"), Error("busy", 1005), Control("close", 1000, "late")):
        yield _Script().offer("ben", "cid").answer("cid", answer).leave("cid")
    talk = _Script().offer("ben", "cid").answer("cid", Control("open"))
    talk.send("ben", CallChunk("X", CallMessage("part", {"i": 0}, b"data")))
    talk.reply("cid", CallMessage("ack", {"n": 1})).send("ben", CallChunk("X", Json({"any": [1]})))
    yield talk.send("ben", CallChunk("X", Control("close", 1000))).reply("cid", Control("close", 1000))
    talk = _Script().offer("cid", "ben").answer("ben", Control("open"))
    yield talk.reply("ben", Error("broken")).reply("ben", Control("close", 1011, "broken"))
    yield from _classic_talks()


def _classic_talks() -> Iterator[_Script]:
    opening = Open("s", {"name": "a.txt"}, 4)
    for opener, acceptor in (("ada", "dot"), ("ada", "cid"), ("dot", "ben"), ("fay", "ben"), ("ada", "eve")):
        for ending in (None, Close("s"), Close("s", False), Cancel("s", "enough")):
            talk = _Script().stream(opener, acceptor, opening)
            if acceptor == "ben":
                talk.answer("ben", Control("open"))
            else:
                talk.stream(acceptor, opener, Accept("s", 4))
            talk.stream(opener, acceptor, StreamChunk("s", {"part": 1}, b"data"), b"data")
            talk.stream(acceptor, opener, Credit("s", 2))
            yield talk.leave(acceptor) if ending is None else talk.stream(opener, acceptor, ending)
        yield _Script().stream(opener, acceptor, opening).stream(acceptor, opener, Reject("s", "no"))
        yield _Script().stream(opener, acceptor, opening).wait()
    talk = _Script().offer("ben", "ada")
    opened = [output.what for to, output in talk.crowd.pushes if to == "ada"][-1]
    stream_id: str = opened.message["stream_id"]
    talk.stream("ada", "ben", Accept(stream_id, 9)).stream("ada", "ben", StreamChunk(stream_id, {}, b"x"), b"x")
    yield talk.send("ben", CallChunk("X", CallMessage("part", {}, b"y"))).stream("ada", "ben", Cancel(stream_id, "no"))


# --- recorded ---------------------------------------------------------------------------------------------------------

_PEERS = {"a": "ada", "b": "ben"}


def _renamed(message: WireMessage, ids: dict[str, str]) -> WireMessage:
    """Return a message in which participants have the ids that they have in the room of `Crowd`."""
    body = bytes(message.body)
    is_bare = body.lstrip().startswith(b"{")
    header, payload = (json.loads(body), b"") if is_bare else decode_envelope(body, "it")
    text = json.dumps(header)
    for old, new in ids.items():
        text = text.replace(old, new)
    renamed = text.encode() if is_bare else encode_envelope(text.encode(), payload)
    return WireMessage(message.id, message.type, renamed)


@cache
def _recorded() -> list[list[tuple[str, WireMessage]]]:
    """Return what the clients of each recorded conversation sent."""
    conversations = []
    for path in sorted(_GOLDEN.glob("*.json")):
        entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["messages"]
        greetings = {entry["peer"]: entry["header"] for entry in entries if entry["type"] == "connected"}
        ids = {header["participantId"]: f"p-{2 * _NAMES.index(_PEERS[peer])}" for peer, header in greetings.items()}
        sent = []
        for entry in entries:
            if entry["dir"].startswith("client") and sum(map(len, entry["packets_hex"])) < 8000:
                for message in Reassembler().feed(map(bytes.fromhex, entry["packets_hex"])):
                    sent.append((_PEERS[entry["peer"]], _renamed(message, ids)))
        conversations.append(sent)
    return conversations


def rooms() -> Iterator[bytes]:
    """Yield inputs of the target ``room``."""
    for talk in _talks():
        yield pack(*talk.parts)
    for conversation in _recorded():
        parts = [
            bytes((_NAMES.index(name), STEPS.index(message.type), message.id % 256)) + bytes(message.body)
            for name, message in conversation
            if message.type in STEPS
        ]
        yield pack(*parts)


def seats() -> Iterator[bytes]:
    """Yield inputs of the target ``seat``: one client's packets."""
    for conversation in _recorded():
        mine = [message for name, message in conversation if name == "ada"]
        packets = [packet for message in mine for packet in split(message.id, message.type, message.body)]
        yield pack(*packets)
        for message in mine:
            yield pack(*split(message.id, message.type, message.body))
    for talk in _talks():
        mine = [part for part in talk.parts if part[0] == 0 and len(part) > 3]
        if mine:
            yield pack(*(packet for part in mine for packet in split(part[2], STEPS[part[1]], part[3:], 300)))
