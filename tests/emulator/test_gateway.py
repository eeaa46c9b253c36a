"""The emulator on real sockets, met by clients that are not ours."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from meshsync.protocol.bridging import NO_HANDLER
from meshsync.protocol.codec import decode_push
from meshsync.protocol.content import Control, Empty, Error
from meshsync.protocol.operations import (
    Accepted,
    AnswerCall,
    AnswerChunk,
    Broadcast,
    Call,
    CallChunk,
    CallMessage,
    ChunkContent,
    Enable,
    OpenCall,
    Push,
    RecipientGone,
    Reply,
    Send,
    SetAttributes,
    UnknownRequest,
)
from meshsync.protocol.packets import MAX_MESSAGE_SIZE, Reassembler, split
from meshsync.tokens import MessagingRights, ParticipantToken
from simulator import Emulator
from simulator.emulator import EmulatorStats, Limits
from tests.support.seats import FAULTS, REFUSED, packets_of
from tests.support.sockets import PATIENCE, PlainSocket, RawClient, connect, frame

AIOHTTP = tuple(map(int, aiohttp.__version__.split(".")[:2]))
GOLDEN_SECRET = "probe-secret-probe-secret-probe-secret"


# --- recorded conversations -------------------------------------------------------------------------------------------


def read_body(body: bytes) -> tuple[dict[str, Any], bytes]:
    """Return header and payload of a body in any of its forms, by means of our own."""
    if body.lstrip(b" ").startswith(b"{"):
        return json.loads(body), b""
    (length,) = struct.unpack(">Q", body[:8])
    return json.loads(body[8 : 8 + length]), body[8 + length :]


def reread(header: dict[str, Any]) -> dict[str, Any]:
    """Return a header in which a message that is a text of JSON is what it means."""
    inner = header.get("chunk", {}).get("json", {})
    if "message_json" in inner:
        inner["message_json"] = json.loads(inner["message_json"])
    return header


class Replay:
    """One recorded conversation, held with the emulator by two clients that send the recorded packets."""

    def __init__(self, recorded: dict[str, Any], emulator: Emulator) -> None:
        self.messages = recorded["messages"]
        self.emulator = emulator
        self.handshakes = {handshake["peer"]: handshake for handshake in recorded["handshakes"]}
        self.sockets: dict[str, Any] = {}
        self.ids: dict[str, str] = {}
        """Recorded ids of participants and sessions, and those that stand for them now."""
        self.calls: dict[int, int] = {}
        """Likewise, of the messages that clients were called with."""

    def run(self) -> int:
        """Replay it all and return how many messages from the room were compared."""
        compared = 0
        try:
            for message in self.messages:
                if message["peer"] not in self.sockets:
                    self.sockets[message["peer"]] = self.open(message["peer"])
                if message["dir"] == "client->server":
                    self.send(message)
                elif message["type"] != "room.status":  # The hosted service's own; the emulator has none to tell.
                    self.compare(message)
                    compared += 1
        finally:
            for opened in self.sockets.values():
                opened.close()
        return compared

    def open(self, peer: str) -> Any:
        """Connect with the recorded token and version, each where the release put it."""
        handshake = self.handshakes[peer]
        query = "&".join(f"{name}={value}" for name, value in handshake["query"].items())
        headers = {name: value for name, value in handshake["headers"].items() if name == "Authorization"}
        return connect(f"{self.emulator.url}/rooms/demo?{query}", additional_headers=headers).__enter__()

    def send(self, message: dict[str, Any]) -> None:
        """Send the recorded packets, but for ids of today."""
        for packet in message["packets_hex"]:
            data = bytes.fromhex(packet)
            for recorded, now in self.ids.items():
                data = data.replace(recorded.encode(), now.encode())
            if message["type"] in ("room.tool_call_response", "room.tool_call_response_chunk"):
                data = struct.pack(">Q", self.calls[message["message_id"]]) + data[8:]
            self.sockets[message["peer"]].send(data)

    def compare(self, message: dict[str, Any]) -> None:
        """Read one message and compare it with the recorded one."""
        received = self.receive(message["peer"])
        if message["type"] == "room_ready":
            self.ids[message["header"]["session_id"]] = received[2]["session_id"]
            received[2]["room_url"] = message["header"]["room_url"]
        elif message["type"] == "connected":
            self.ids[message["header"]["participantId"]] = received[2]["participantId"]
        elif message["type"] == "room.tool_call.messaging":
            self.calls[message["message_id"]] = received[0]
        expected = json.dumps(message["header"])
        for recorded, now in self.ids.items():
            expected = expected.replace(recorded, now)
        payload = read_body(b"".join(bytes.fromhex(packet)[12:] for packet in message["packets_hex"][1:]))[1]
        id = message["message_id"] if message["type"] == "__response__" else received[0]
        wanted = [id, message["type"], reread(json.loads(expected)), payload]
        assert [*received[:2], reread(received[2]), received[3]] == wanted, message["label"]

    def receive(self, peer: str) -> list[Any]:
        """Return id, type, header and payload of the next message."""
        start = self.sockets[peer].recv(timeout=PATIENCE)
        id, zero, count = struct.unpack(">QII", start[:16])
        body = b"".join(self.sockets[peer].recv(timeout=PATIENCE)[12:] for _ in range(count))
        assert zero == 0
        return [id, start[16:].decode(), *read_body(body)]


@pytest.mark.parametrize("release", ["0.0.21", "0.0.38", "0.29.4", "0.35.6", "0.56.0", "ts-0.39.9"])
def test_recorded_conversations_go_as_they_went(release: str, golden_directory: Path) -> None:
    """What a release sent then is answered now with the same messages, in the same order for each client."""
    recorded = json.loads((golden_directory / f"{release}.json").read_text())
    with Emulator(secret=GOLDEN_SECRET) as emulator:
        assert Replay(recorded, emulator).run() >= 22


@pytest.mark.parametrize(
    ("query", "claim", "first"),
    [
        ("&v=0.29.4", None, b"\0"),
        ("&v=0.56.0", "0.0.2", b"\0"),
        ("&v=0.0.30", "0.29.4", b"{"),
        ("", "0.36.3", b" "),
        ("", "0.0.30", b" "),
        ("", None, b" "),
        ("&v=", None, b" "),
    ],
)
def test_greeting_suits_who_connects(emulator: Emulator, query: str, claim: str | None, first: bytes) -> None:
    """The version in the URL decides; without it there are blanks, whoever made the token."""
    url = f"{emulator.url}/rooms/lab?token={emulator.token('lab', 'ada', version=claim)}{query}"
    with connect(url) as ws:
        for type in (b"room_ready", b"connected"):
            assert ws.recv(timeout=PATIENCE)[16:] == type
            body = ws.recv(timeout=PATIENCE)[12:]
            assert body[:1] == first
            assert read_body(body)[0]


# --- streams between clients of different kinds -----------------------------------------------------------------------

CLOSE = Control("close")


def test_duplex_stream_goes_through_real_sockets(emulator: Emulator) -> None:
    """A call with a MiB each way, its attachments intact, and its end."""
    data = bytes(range(256)) * 4096
    with RawClient(emulator, "ada", speaks="B3") as ada, RawClient(emulator, "ben", speaks="B3") as ben:
        ada.read()
        ada.ask(OpenCall("X"), 7)
        ada.ask(CallChunk("X", CallMessage("ask", {"n": 1}, data, to=ben.id)), 8)
        assert ada.read() == Reply(8, Empty())
        call = ben.read()
        assert isinstance(call, Call)
        assert ben.read() == CallChunk("X", CallMessage("ask", {"n": 1}, data, sender=ada.id))
        ben.ask(AnswerCall(call.push_id, Control("open")), call.push_id)
        assert ada.read() == Reply(7, Control("open"))
        assert said(ada.read()) == Accepted("X")
        ben.ask(AnswerChunk(call.push_id, "X", CallMessage("ack", {}, data)), call.push_id)
        assert said(ada.read()) == CallMessage("ack", {}, data)
        ben.ask(AnswerChunk(call.push_id, "X", CLOSE), call.push_id)
        assert said(ada.read()) == CLOSE


def said(push: object) -> ChunkContent:
    """Return what a recipient said."""
    assert isinstance(push, AnswerChunk)
    return push.content


@pytest.mark.parametrize("speaks", ["B3", "A1"])
def test_call_that_is_never_answered_is_refused_in_time(speaks: str) -> None:
    """By the loop's clock, whichever kind of stream the peer knows; the peer is told that it is over."""
    with (
        Emulator(limits=Limits(answer=0.05)) as emulator,
        RawClient(emulator, "ada", speaks="B3") as ada,
        RawClient(emulator, "ben", speaks=speaks) as ben,
    ):
        ada.read()
        ada.ask(OpenCall("X"), 7)
        ada.ask(CallChunk("X", CallMessage("stream.open", {}, to=ben.id)), 8)
        assert ada.read() == Reply(8, Empty())
        assert ada.read() == Reply(7, Error("the participant did not answer within 0.05 s", 1009))
        if speaks == "B3":
            assert isinstance(ben.read(), Call)
            ben.read()
            assert ben.read() == CallChunk("X", CLOSE)
        else:
            assert ben.read() == Push(ada.id, "stream.open", {"stream_id": "X", "header": {}})
            assert ben.read() == Push(ada.id, "stream.close", {"stream_id": "X"})


def test_classic_handler_that_comes_a_moment_late_is_offered_the_stream_again(emulator: Emulator) -> None:
    """Clients up to 0.35.6 install it only after the reply to enabling."""
    with RawClient(emulator, "ada", speaks="B3") as ada, RawClient(emulator, "ben", speaks="B1") as ben:
        ada.read()
        ada.ask(OpenCall("X"), 7)
        ada.ask(CallChunk("X", CallMessage("stream.open", {}, to=ben.id)), 8)
        assert ada.read() == Reply(8, Empty())
        offer = Push(ada.id, "stream.open", {"stream_id": "X", "header": {}})
        assert ben.read() == offer
        ben.ask(Send(ada.id, "stream.reject", {"stream_id": "X", "error": NO_HANDLER}), 9)
        assert ben.read() == Reply(9, Empty())
        assert ben.read() == offer
        ben.ask(Send(ada.id, "stream.accept", {"stream_id": "X"}), 10)
        assert ada.read() == Reply(7, Control("open"))


def test_what_a_client_knows_follows_from_its_version_and_its_speech(emulator: Emulator) -> None:
    """The same offer is passed on, translated, and rejected."""
    with (
        RawClient(emulator, "ada", speaks="A1") as ada,
        RawClient(emulator, "old", speaks="A2") as old,
        RawClient(emulator, "ben", speaks="B3") as ben,
        RawClient(emulator, "eve", speaks="B2") as eve,
    ):
        ada.read(), ada.read(), ada.read(), old.read(), old.read(), ben.read()
        body = {"stream_id": "S", "header": {}}
        for id, to in enumerate((old, ben, eve), 5):
            ada.ask(Send(to.id, "stream.open", body), id)
            assert ada.read() == Reply(id, Empty())
        assert old.read() == Push(ada.id, "stream.open", body)
        assert isinstance(ben.read(), Call)
        rejection = ada.read()
        assert isinstance(rejection, Push)
        assert (rejection.sender, rejection.type) == (eve.id, "stream.reject")


# --- coming back ------------------------------------------------------------------------------------------------------


def test_client_that_was_dropped_is_welcomed_again(emulator: Emulator) -> None:
    """It ends without a close frame; the others see it go and come, with all the attributes that it brings along."""
    attributes = {"name": "ada", "mood": "calm"}
    with RawClient(emulator, "ben", speaks="B3") as ben:
        with RawClient(emulator, "ada", speaks="B3") as ada:
            first_id = ada.id
            assert ben.read() == Push(
                ada.id, "participant.enabled", {"id": ada.id, "role": "user", "attributes": {"name": "ada"}}
            )
            emulator.drop("ada")
            assert ada.ending() == (None, "")
        assert ben.read() == Push(first_id, "participant.disabled", {"id": first_id})
        with RawClient(emulator, "ada", speaks="B3", enable=False) as ada:
            assert ada.id != first_id
            # In the order in which releases from 0.38.0 on do it, with ids that start over.
            ada.ask(SetAttributes(attributes), 1)
            ada.ask(Enable(), 2)
            assert ada.read() == Reply(2, Empty())
            roster = ada.read()
            assert isinstance(roster, Push)
            assert [entry["id"] for entry in roster.message["participants"]] == [ben.id]
            described = {"id": ada.id, "role": "user", "attributes": attributes}
            assert ben.read() == Push(ada.id, "participant.enabled", described)
            ben.ask(Send(ada.id, "chat", {}), 3)
            assert ada.read() == Push(ben.id, "chat", {})


def test_drop_ends_streams_at_the_other_end(emulator: Emulator) -> None:
    """A duplex caller hears who has gone; a classic opener that its stream is closed."""
    with RawClient(emulator, "ada", speaks="B3") as ada, RawClient(emulator, "old", speaks="A1") as old:
        ada.read()
        with RawClient(emulator, "ben", speaks="B3") as ben:
            ada.read(), old.read()
            ada.ask(OpenCall("X"), 7)
            ada.ask(CallChunk("X", CallMessage("ask", {}, to=ben.id)), 8)
            old.ask(Send(ben.id, "stream.open", {"stream_id": "S", "header": {}}), 9)
            ada.read(), old.read()
            calls = [push.push_id for push in (ben.read() for _ in range(4)) if isinstance(push, Call)]
            for push_id in calls:
                ben.ask(AnswerCall(push_id, Control("open")), push_id)
            ada.read(), ada.read(), old.read()
            emulator.drop("ben")
            gone = Push(ben.id, "participant.disabled", {"id": ben.id})
            assert ada.read() == gone
            assert said(ada.read()) == RecipientGone(ben.id)
            assert said(ada.read()) == CLOSE
            assert old.read() == gone
            assert old.read() == Push(ben.id, "stream.close", {"stream_id": "S"})


# --- being let in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["header", "query", "subprotocol"])
def test_token_is_found_wherever_clients_put_it(emulator: Emulator, place: str) -> None:
    """In the header, in the URL, or as a subprotocol, which is returned."""
    token = emulator.token("lab", "ada")
    url = f"{emulator.url}/rooms/lab" + (f"?token={token}" if place == "query" else "")
    headers = {"Authorization": f"Bearer {token}"} if place == "header" else {}
    offers = [Subprotocol(f"meshagent-room.{token}")] if place == "subprotocol" else None
    with connect(url, additional_headers=headers, subprotocols=offers) as ws:
        assert ws.recv(timeout=PATIENCE)[16:] == b"room_ready"
        assert ws.subprotocol == (offers[0] if offers else None)


def refusal(url: str) -> tuple[int, str]:
    """Return status and text of a refused handshake."""
    with pytest.raises(InvalidStatus) as caught:
        with connect(url):
            pass
    return caught.value.response.status_code, bytes(caught.value.response.body or b"").decode()


OTHER_SECRET = "another-secret-another-secret-another-secret"


@pytest.mark.parametrize(
    ("room", "token", "status", "reason"),
    [
        ("lab", lambda e: "", 401, "no token"),
        ("lab", lambda e: "nonsense", 401, "not a JSON Web Token"),
        ("lab", lambda e: ParticipantToken.for_room("lab", "ada").encode(OTHER_SECRET), 401, "signature"),
        ("lab", lambda e: e.token("lab", "ada", expires=1_000_000_000), 401, "expired"),
        ("lab", lambda e: e.token("other", "ada"), 403, "for another room"),
        ("lab", lambda e: e.token("LAB", "ada"), 403, "for another room"),
        ("lab", lambda e: ParticipantToken("ada").encode(e.secret), 403, "admits to no room"),
        ("-lab", lambda e: e.token("-lab", "ada"), 404, "a room's name"),
        ("l%20ab", lambda e: e.token("l ab", "ada"), 404, "a room's name"),
        ("x" * 64, lambda e: e.token("x" * 64, "ada"), 404, "a room's name"),
        ("lab/more", lambda e: e.token("lab/more", "ada"), 404, ""),
    ],
    ids=["none", "nonsense", "secret", "expired", "room", "case", "no room", "hyphen", "blank", "long", "slash"],
)
def test_who_may_not_join_is_refused_with_a_status(
    emulator: Emulator, room: str, token: Callable[[Emulator], str], status: int, reason: str
) -> None:
    """401 for a token that is not believed, 403 for one that is for something else, 404 for what is no room."""
    presented = token(emulator)
    code, text = refusal(f"{emulator.url}/rooms/{room}?token={presented}")

    assert (code, reason in text) == (status, True), text
    assert len(presented) < 20 or presented not in text
    assert emulator.secret not in text


@pytest.mark.parametrize("version", ["8", "7", "14", "13, 8"])
def test_other_versions_of_websockets_are_refused_with_the_one_that_is_spoken(emulator: Emulator, version: str) -> None:
    """As RFC 6455 has it in section 4.4."""
    with PlainSocket(emulator, "ada", version=version) as ada:
        head = ada.received.lower()
        assert head.startswith(b"http/1.1 426")
        assert b"\r\nsec-websocket-version: 13\r\n" in head


def test_request_in_one_segment_with_the_handshake_is_served(emulator: Emulator) -> None:
    """What comes behind the handshake's request belongs to the connection, whole frames and a part of one."""
    behind = frames_of([*packets_of(Enable(), 41), *packets_of(UnknownRequest("odd"), 42)])
    with RawClient(emulator, "ben") as ben, PlainSocket(emulator, "ada", behind=behind[:-3]) as ada:
        assert ben.read().type == "participant.enabled"
        ada.socket.sendall(behind[-3:])
        seen = ada.received
        while b"unknown request 'odd'" not in seen:
            data = ada.socket.recv(1 << 16)
            assert data
            seen += data
        assert seen.index(b"connected") < seen.index(struct.pack(">Q", 41)) < seen.index(struct.pack(">Q", 42))


@pytest.mark.parametrize("name", ["a", "Support_Desk.2", "x" * 63, "a--b"])
def test_names_that_sdks_connect_to_are_rooms(emulator: Emulator, name: str) -> None:
    """The check of official SDKs is stricter, but their connecting does not apply it."""
    with RawClient(emulator, "ada", room=name) as ada:
        assert ada.id


def test_rights_of_the_token_are_enforced(emulator: Emulator) -> None:
    """An ``api`` grant without broadcasting reaches the room's rules."""
    token = emulator.token("lab", "ada", messaging=MessagingRights(broadcast=False))
    with RawClient(emulator, "ada") as ada:
        ada.ws.close()
        url = f"{emulator.url}/rooms/lab?v=0.29.4&token={token}"
        ada.ws = connect(url).__enter__()
        ada.read(), ada.read()
        ada.ask(Enable())
        ada.read(), ada.read()
        ada.ask(Broadcast("news", {}))
        assert ada.read().content.code == 1001
        ada.ws.close()


def test_rooms_are_apart_and_equal_names_are_allowed(emulator: Emulator) -> None:
    """Two called Ada in one room see each other; a third in another room sees nobody."""
    with RawClient(emulator, "ada") as first, RawClient(emulator, "ada") as second:
        with RawClient(emulator, "ada", room="other") as third:
            third.ask(Send(first.id, "chat", {}))
            assert third.read().content.code == 1003
            assert first.read().message["id"] == second.id
            assert len({first.id, second.id, third.id}) == 3


def test_room_is_new_when_everybody_had_left(emulator: Emulator) -> None:
    """Nothing of the last conversation is left, ids included."""
    with RawClient(emulator, "ada") as ada:
        before = ada.id
    with RawClient(emulator, "ada", enable=False) as ada:
        ada.ask(Enable())
        assert [ada.read(), ada.read()][1].message == {"participants": []}
        assert ada.id != before


def test_compression_is_declined(emulator: Emulator) -> None:
    """A client that offers it goes on without."""
    url = f"{emulator.url}/rooms/lab?token={emulator.token('lab', 'ada')}"
    with connect(url, compression="deflate") as ws:
        assert "Sec-WebSocket-Extensions" not in ws.response.headers
        assert ws.recv(timeout=PATIENCE)[16:] == b"room_ready"


def test_large_message_arrives_whole(emulator: Emulator) -> None:
    """Nearly 4 MiB in packets of 1 KiB come out in packets of 64 KiB, the same bytes."""
    attachment = bytes(range(256)) * (4 * 4096 - 2)
    with RawClient(emulator, "ada") as ada, RawClient(emulator, "ben") as ben:
        ada.read()
        ada.ask(Send(ben.id, "file", {}, attachment), 3)
        assert ben.read() == Push(ada.id, "file", {}, attachment)
        assert ada.read() == Reply(3, Empty())


def test_many_messages_keep_their_order(emulator: Emulator) -> None:
    """2000 sends at once: each sender's pushes and replies come in order, whole."""
    with RawClient(emulator, "ada") as ada, RawClient(emulator, "ben") as ben:
        ada.read()
        for number in range(2000):
            ada.ask(Send(ben.id, "chat", {"n": number}), number)
        assert [ben.read().message["n"] for _ in range(2000)] == list(range(2000))
        assert [ada.read().request_id for _ in range(2000)] == list(range(2000))


# --- what must not be sent --------------------------------------------------------------------------------------------


def frames_of(packets: list[bytes]) -> bytes:
    """Return packets as a client frames them."""
    return b"".join(frame(0x82, packet) for packet in packets)


FRAMES: dict[str, tuple[bytes, int]] = {
    "text frame": (frame(0x81, b"{}"), 1003),
    "text frame that is not UTF-8": (frame(0x81, b"\xff"), 1003),
    "reserved bit": (frame(0xC2, b"x" * 20), 1002),
    "unknown opcode": (frame(0x83, b""), 1002),
    "fragmented ping": (frame(0x09, b""), 1002),
    "long ping": (frame(0x89, bytes(126)), 1002),
    "continuation of nothing": (frame(0x80, b""), 1002),
    "binary inside a fragmented message": (frame(0x02, b"x") + frame(0x82, b"x"), 1002),
    "close code that may not be sent": (frame(0x88, struct.pack("!H", 1005)), 1002),
    "frame that announces 5 GB": (frame(0x82, b"x", length=5_000_000_000), 1009),
    **{name: (frames_of(packets), code) for name, (packets, code, _) in FAULTS.items()},
}


@pytest.mark.parametrize("fault", FRAMES)
def test_malformed_input_ends_that_connection_with_a_reason(emulator: Emulator, fault: str) -> None:
    """The offender reads a fitting close code and why; two others in the room hear it leave and go on talking."""
    if fault == "frame that announces 5 GB" and AIOHTTP < (3, 14):
        pytest.skip("this release of aiohttp judges the size of a frame only when all of it has come")
    data, code = FRAMES[fault]
    with RawClient(emulator, "ben") as ben, RawClient(emulator, "eve") as eve, RawClient(emulator, "mal") as mal:
        ben.read(), ben.read(), eve.read()

        with suppress(OSError):  # One that is still sending may see its own end of the socket closed by goodbye.
            mal.ws.socket.sendall(data)

        ended, reason = mal.ending()
        assert (ended, len(reason) > 5) == (code, True), reason
        assert ben.read() == Push(mal.id, "participant.disabled", {"id": mal.id})
        ben.ask(Send(eve.id, "chat", {"n": 1}), 7)
        assert ben.read() == Reply(7, Empty())
        assert [eve.read(), eve.read()][1] == Push(ben.id, "chat", {"n": 1})


REFUSALS = {
    "message of 5 MB in one packet": split(2, "messaging.broadcast", bytes(5_000_000), size=1 << 30),
    "message of 5 MB in 1 KiB packets": split(2, "messaging.broadcast", bytes(5_000_000)),
    **{name: packets for name, (packets, _) in REFUSED.items()},
}


@pytest.mark.parametrize("value", REFUSALS)
def test_bad_value_is_refused_and_the_connection_goes_on(emulator: Emulator, value: str) -> None:
    """The reply has the request's id and 1002; the next request of the same connection arrives."""
    with RawClient(emulator, "ben") as ben, RawClient(emulator, "mal") as mal:
        ben.read()
        mal.ws.socket.sendall(frames_of(REFUSALS[value]))
        mal.ask(Send(ben.id, "chat", {"n": 1}), 7)

        refusal = mal.read()
        assert (refusal.request_id, refusal.content.code) == (2, 1002)
        assert mal.read() == Reply(7, Empty())
        assert ben.read() == Push(mal.id, "chat", {"n": 1})


def test_largest_message_is_taken_in_one_packet(emulator: Emulator) -> None:
    """4 MiB are allowed however they are cut."""
    head = struct.pack(">Q", 25) + b'{"type":"t","message":{}}'
    with RawClient(emulator, "ada") as ada:
        ada.send(split(2, "messaging.broadcast", head + bytes(MAX_MESSAGE_SIZE - 200), size=1 << 30))
        assert ada.read() == Reply(2, Empty())
        # The largest of all is read too, and refused: with its sender's id it would be too large for its recipients.
        ada.send(split(3, "messaging.broadcast", head + bytes(MAX_MESSAGE_SIZE - len(head)), size=1 << 30))
        assert (answer := ada.read()).content.code == 1002
        assert answer.request_id == 3


# --- peers that are not there -----------------------------------------------------------------------------------------


def test_half_open_peer_is_noticed() -> None:
    """One that answers no ping is given up after its time, and the others are told; one that answers stays."""
    # Of three seconds, the one that answers has one for it: a busy machine must not make it look dead too.
    with Emulator(limits=Limits(heartbeat=2.0)) as emulator:
        with RawClient(emulator, "ben") as ben, PlainSocket(emulator, "mal") as mal:
            mal.ask(Enable())
            assert ben.read().type == "participant.enabled"
            assert ben.read().type == "participant.disabled"
            ben.ask(Broadcast("chat", {}), 5)
            assert ben.read() == Reply(5, Empty())


def test_slow_reader_is_disconnected_and_told_why() -> None:
    """One that reads nothing has a bounded queue: the sender is never held up, and the reader can read the reason."""
    with Emulator(limits=Limits(queue=500_000)) as emulator:
        with RawClient(emulator, "ben") as ben, PlainSocket(emulator, "mal") as mal:
            mal.ask(Enable())
            assert ben.read().type == "participant.enabled"
            # What the kernel buffers on both sides of a loopback comes on top of the queue; it is a few megabytes.
            for number in range(2000):
                ben.ask(Broadcast("data", {}, bytes(100_000)), number)
                answer = ben.read()
                if isinstance(answer, Push):
                    break
            assert answer == Push(answer.sender, "participant.disabled", {"id": answer.sender})
            assert struct.pack("!H", 1008) + b"reads too slowly" in mal.rest()
            ben.ask(Broadcast("chat", {}), 3000)
            assert [ben.read(), ben.read()][1] == Reply(3000, Empty())


def test_reader_that_catches_up_has_missed_nothing() -> None:
    """6 MB wait for one that does not read, in messages of 0 to 300 KB: then it gets all of them, in order."""
    # The last is larger than all headers together, so that it alone may be under way when so many bytes have come.
    sizes = [*[0, 300_000, 10, 70_000, 0] * 16, 300_000]
    with Emulator() as emulator, RawClient(emulator, "ben") as ben, PlainSocket(emulator, "mal") as mal:
        mal.ask(Enable())
        assert ben.read().type == "participant.enabled"
        for number, size in enumerate(sizes):
            ben.ask(Broadcast("data", {"n": number}, bytes(size)), number)
        assert [ben.read().request_id for _ in sizes] == list(range(len(sizes)))

        messages = Reassembler(1 << 30).feed(mal.packets(sum(sizes)))
        pushes = [push for push in map(decode_push, messages) if isinstance(push, Push) and push.type == "data"]

        assert len(pushes) >= len(sizes) - 1
        assert [(push.message["n"], len(push.attachment)) for push in pushes] == [*enumerate(sizes)][: len(pushes)]


def test_slow_reader_that_never_reads_is_cut() -> None:
    """It is not waited for: soon after the others have seen it leave, its socket is dead."""
    limits = Limits(queue=500_000, linger=0.1)
    with Emulator(limits=limits) as emulator, RawClient(emulator, "ben") as ben, PlainSocket(emulator, "mal") as mal:
        mal.ask(Enable())
        assert ben.read().type == "participant.enabled"
        number = 0
        while True:
            ben.ask(Broadcast("data", {}, bytes(100_000)), number)
            if isinstance(ben.read(), Push):
                break
            number += 1
        mal.wait_until_cut()


def test_offender_that_does_not_go_is_cut() -> None:
    """Having been told goodbye, it may read that for a moment; then its connection ends, whatever it sends."""
    with Emulator(limits=Limits(linger=0.1)) as emulator, PlainSocket(emulator, "mal") as mal:
        mal.socket.sendall(frame(0x81, b"text"))
        mal.wait_until_cut()


def test_empty_rooms_are_forgotten() -> None:
    """A thousand names that came and went leave nothing behind."""
    with Emulator() as emulator:
        with RawClient(emulator, "ada", room="one"), RawClient(emulator, "ben", room="two") as ben:
            assert emulator.stats() == EmulatorStats(rooms=2, participants=2, connections=2)
            with RawClient(emulator, "eve", room="two") as eve:
                ben.read()
                eve.ws.close()
                assert ben.read().type == "participant.disabled"
            figures = emulator.stats()
            assert (figures.rooms, figures.participants) == (2, 2)
        emulator.close()
        assert emulator.stats() == EmulatorStats()
