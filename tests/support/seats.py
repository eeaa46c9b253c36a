"""Shared by tests of the room's side: seats without a network, and packets that no client should send."""

from __future__ import annotations

import itertools
import json
import struct

from meshsync.protocol.codec import decode_push, encode_request
from meshsync.protocol.dialects import dialect
from meshsync.protocol.operations import Enable, Request, SetAttributes
from meshsync.protocol.packets import MAX_MESSAGE_SIZE, Reassembler, split
from simulator.room.rules import Room
from simulator.room.seat import QUEUE_LIMIT, Seat, SeatedRoom

A3 = dialect("A3")
LARGEST = 2 * MAX_MESSAGE_SIZE
"""Bytes that a seat is drained of at once."""


class Hall:
    """A room, and clients that read their seats' packets."""

    def __init__(self, *names: str, queue_limit: int = QUEUE_LIMIT) -> None:
        numbers = itertools.count()
        self.room = SeatedRoom(Room("lab", ids=lambda: f"p-{next(numbers)}"), queue_limit=queue_limit)
        self.woken: list[str] = []
        for name in names:
            seat = self.take(name)
            seat.feed(packets_of(Enable()))
        for seat in self.room.seats:
            seat.drain(LARGEST)
        self.woken.clear()

    def take(self, name: str, **how: str) -> Seat:
        """Seat a member."""
        return self.room.take(name, wake=lambda: self.woken.append(name), **how)

    def __getitem__(self, name: str) -> Seat:
        return next(seat for seat in self.room.seats if seat.member.name == name)


def packets_of(request: Request, id: int = 1) -> list[bytes]:
    """Return a request as a client sends it."""
    return split(id, *encode_request(request, A3))


def read(seat: Seat) -> list[object]:
    """Return the messages that wait for a client, decoded."""
    packets = [packet for parcel in seat.drain(10 * LARGEST) for packet in parcel.packets()]
    return [decode_push(message) for message in Reassembler(LARGEST).feed(packets)]


# --- faults -----------------------------------------------------------------------------------------------------------


def body(id: int, index: int, data: bytes = b"x") -> bytes:
    """Return a body packet."""
    return struct.pack(">QI", id, index) + data


def start(id: int, count: int, type: bytes = b"messaging.enable") -> bytes:
    """Return a start packet."""
    return struct.pack(">QII", id, 0, count) + type


def request(type: bytes, data: bytes) -> list[bytes]:
    """Return any body as a request of any type."""
    return [start(2, 1, type), body(2, 1, data)]


def envelope(header: bytes, length: int | None = None) -> bytes:
    """Return an envelope that announces ``length`` bytes of header."""
    return struct.pack(">Q", len(header) if length is None else length) + header


def invoke(tool: str, **changed: object) -> list[bytes]:
    """Return a tool call of messaging, with some members of its arguments changed."""
    members: object = {"type": "t", "message_json": "{}", **changed}
    if "arguments" in changed:
        members = changed["arguments"]
    header = {"toolkit": "messaging", "tool": tool, "arguments": {"type": "json", "json": members}}
    return request(b"room.invoke_tool", envelope(json.dumps(header).encode()))


SEND = b"messaging.send"
FAULTS: dict[str, tuple[list[bytes], int, str]] = {
    "empty packet": ([b""], 1002, "start packet needs 16 bytes"),
    "short start packet": ([b"\0" * 15], 1002, "start packet needs 16 bytes"),
    "stray body packet": ([body(1, 1)], 1002, "a message has to start"),
    "stray long body packet": ([body(1, 1, b"x" * 20)], 1002, "a message has to start"),
    "start inside a message": ([start(1, 2), start(1, 2)], 1002, "came in place of body packet 1"),
    "start of another inside a message": ([start(1, 2), start(2, 2)], 1002, "inside message 1"),
    "body packet with a foreign id": ([start(1, 2), body(2, 1)], 1002, "inside message 1"),
    "body packet out of order": ([start(1, 2), body(1, 2)], 1002, "in place of body packet 1"),
    "body packet twice": ([start(1, 3), body(1, 1), body(1, 1)], 1002, "in place of body packet 2"),
    "short body packet": ([start(1, 1), b"\0" * 11], 1002, "body packet needs 12 bytes"),
}
"""Broken framing: the packets, the close code that fits, and a part of the reason."""

REFUSED: dict[str, tuple[list[bytes], str]] = {
    "type that is not UTF-8": ([start(2, 0, b"\xff")], "not UTF-8"),
    "type of 2000 bytes": ([start(2, 1, b"x" * 2000), body(2, 1)], "more than 1024"),
    "too large": (
        [start(2, 3, SEND), body(2, 1, bytes(MAX_MESSAGE_SIZE)), body(2, 2), body(2, 3)],
        "more than 4194304",
    ),
    "no envelope": (request(SEND, b"{}"), "too few for an envelope"),
    "empty body": ([start(2, 0, SEND)], "too few for an envelope"),
    "header past the end": (request(SEND, envelope(b"{}", 3)), "runs past its end"),
    "huge header length": (request(SEND, envelope(b"{}", 2**64 - 1)), "runs past its end"),
    "header that is not UTF-8": (request(SEND, envelope(b'{"\xff":1}')), "not UTF-8"),
    "header that is not JSON": (request(SEND, envelope(b"{'a':1}")), "not JSON"),
    "header that is NaN": (request(SEND, envelope(b'{"a":NaN}')), "not JSON"),
    "header that is a list": (request(SEND, envelope(b"[]")), "not a JSON object"),
    "deep header": (request(SEND, envelope(b'{"a":' * 5000 + b"1" + b"}" * 5000)), "deep"),
    "header of 200 levels": (request(SEND, envelope(b'{"a":' * 200 + b"1" + b"}" * 200)), "deep"),
    "endless brackets": (request(SEND, envelope(b"[" * 100_000)), ""),
    "number of 10,000 digits": (request(SEND, envelope(b'{"a":' + b"9" * 10_000 + b"}")), "not JSON"),
    "no recipient": (request(SEND, envelope(b'{"type":"t","message":{}}')), "lacks 'to_participant_id'"),
    "recipient that is a number": (
        request(SEND, envelope(b'{"to_participant_id":1,"type":"t","message":{}}')),
        "wrong type of 'to_participant_id'",
    ),
    "message that is a text": (
        request(b"messaging.broadcast", envelope(b'{"type":"t","message":"m"}')),
        "wrong type of 'message'",
    ),
    "attributes that are a list": (request(b"set_attributes", b"[]"), "too few for an envelope"),
    "attributes too large": (packets_of(SetAttributes({"a": "x" * 70_000}), 2), "at most 65536"),
    "header of 65 members": (
        request(b"messaging.enable", envelope(json.dumps(dict.fromkeys(map(str, range(65)))).encode())),
        "has 65 members",
    ),
    "arguments of 65 members": (invoke("broadcast", arguments=dict.fromkeys(map(str, range(65)))), "has 65 members"),
    "attributes that are no JSON": (request(b"set_attributes", b'{"a":Infinity}'), "not JSON"),
    "message that is no JSON": (invoke("send", message_json='{"a":1e999}', to_participant_id="p-0"), "too large"),
    "message that is a list in a text": (invoke("broadcast", message_json="[]"), "not a JSON object"),
    "message of 101 levels": (invoke("broadcast", message_json='{"a":' * 101 + "1" + "}" * 101), "deeper than 100"),
    "arguments that are a list": (invoke("broadcast", arguments=[]), "lacks 'type'"),
    "attachment that is no base64": (invoke("broadcast", attachment_base64="***"), "not base64"),
    "large attachment that is no base64": (invoke("broadcast", attachment_base64="AAA*" * 2000), "not base64"),
    "attachment that is a number": (invoke("broadcast", attachment_base64=1), "wrong type of 'attachment_base64'"),
    "send without a recipient": (invoke("send"), "lacks 'to_participant_id'"),
    "send to null": (invoke("send", to_participant_id=None), "wrong type of 'to_participant_id'"),
    "stream without an id": (invoke("stream"), "lacks 'tool_call_id'"),
    "chunk without an id": (request(b"room.tool_call_request_chunk", envelope(b'{"chunk":{}}')), "'tool_call_id'"),
    "chunk of an unknown kind": (
        request(b"room.tool_call_request_chunk", envelope(b'{"tool_call_id":"X","chunk":{"type":"odd"}}')),
        "unknown type",
    ),
}
"""One bad value each, under the id 2: the packets, and a part of the reason for which the request is refused."""
