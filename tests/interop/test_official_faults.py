"""The known faults of official clients: each shown on releases that have it, and borne by the emulator and meshsync.

The table is that of PROTOCOL section 11. What an emulator never does, a scripted server does: it shows the fault. The
test beside it shows that rooms and peers of this project give the fault no occasion, or cope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import jwt
import pytest

import meshsync
from meshsync.protocol import codec, dialects, greeting
from meshsync.protocol.content import Control, Error
from meshsync.protocol.envelopes import decode_envelope
from meshsync.protocol.operations import (
    Call,
    CallChunk,
    CallMessage,
    Connected,
    Enable,
    Push,
    Reply,
    Request,
    RoomReady,
    Send,
)
from meshsync.protocol.packets import split
from simulator import Emulator
from simulator.emulator.emulator import Limits
from tests.interop.company import Enter, Meet, Pool
from tests.interop.matrix import MESHSYNC, each
from tests.interop.meshsync_peer import MeshsyncPeer
from tests.interop.peers import OfficialPeer, PeerFailed
from tests.interop.releases import PythonRelease, Release, Streams, chosen, find
from tests.support.rooms import own_port
from tests.support.scripted_server import ScriptedPeer, ScriptedServer
from tests.support.sockets import RawClient

pytestmark = [pytest.mark.releases, pytest.mark.timeout(180)]

SILENCE = 1.0
"""Seconds without a word after which a client is taken for one that waits for ever."""

Start = Callable[..., OfficialPeer]


def kinds(has: Callable[[Release], bool]) -> list[Any]:
    """Return the chosen releases for which something holds, as parameters of a test."""
    return each([kind for kind in chosen() if has(find(kind))], "")


def is_python(first: str, last: str = "999.0.0") -> Callable[[Release], bool]:
    """Return what tells Python releases from one version to another, both included."""
    low, high = PythonRelease(first).number, PythonRelease(last).number
    return lambda release: isinstance(release, PythonRelease) and low <= release.number <= high


def is_typescript(release: Release) -> bool:
    """Return whether a release is one of the TypeScript SDK."""
    return not isinstance(release, PythonRelease)


CLASSIC = kinds(lambda release: release.streams in (Streams.ONE_WAY, Streams.BOTH_WAYS))
DUPLEX = kinds(lambda release: release.streams is Streams.DUPLEX)
TYPESCRIPT = kinds(is_typescript)
RECONNECTING = kinds(lambda release: is_typescript(release) and release.reconnects)


@pytest.fixture
def start(pool: Pool, record_property: Callable[[str, object], None]) -> Iterator[Start]:
    """Return a function that has a process of a release ready, for rooms at a URL; the emulator's unless given."""
    started: list[tuple[str, OfficialPeer]] = []

    def start(kind: str, url: str | None = None) -> OfficialPeer:
        peer = pool.take_official(kind)
        if url is not None:
            base = url.partition("/rooms/")[0].replace("ws://", "http://")
            peer.environ = {**pool.environ, "MESHAGENT_API_URL": base}
        record_property("release", peer.description)
        started.append((kind, peer))
        return peer

    yield start
    for kind, peer in started:
        with suppress(AssertionError, PeerFailed):  # after what was done to it, it may not be able to leave
            pool.give_back(kind, peer)


# --- a server that does as it is told ---------------------------------------------------------------------------------


def greet(connection: ScriptedPeer, kind: str) -> None:
    """Greet a client of that release as it expects."""
    release = find(kind)
    form = greeting.greeting_form(None if is_typescript(release) else release.version)
    ready = greeting.encode_room_ready(RoomReady(ScriptedServer.ROOM, "https://example.test/demo", "s-1"), form)
    connected = greeting.encode_connected(Connected(ScriptedServer.ALICE, {"name": "alice"}), form)
    connection.say((1, *ready), (2, *connected))


def connect(peer: OfficialPeer, server: ScriptedServer, kind: str) -> ScriptedPeer:
    """Let a client into the scripted room and return the server's end of its connection."""
    connecting = peer.begin("connect", room=ScriptedServer.ROOM, name="alice")
    connection = server.accept()
    greet(connection, kind)
    peer.finish(connecting)
    return connection


def take_part(start: Start, server: ScriptedServer, kind: str) -> tuple[OfficialPeer, ScriptedPeer]:
    """Return a client that has enabled messaging in the scripted room, where Bob is, and the server's end."""
    peer = start(kind, server.url)
    connection = connect(peer, server, kind)
    enabling = peer.begin("enable")
    while (request := connection.read_request()).type == "set_attributes":  # TypeScript 0.35.8 sends back what it got
        pass
    connection.enable(request.id)
    peer.finish(enabling)
    peer.do("wait_for_peer", name="bob")
    return peer, connection


def next_word(peer: OfficialPeer, connection: ScriptedPeer) -> str:
    """Return the type of what the client sends next, which is a marker unless it had something to say."""
    peer.begin("send", to="bob", type="marker", message={})
    return connection.read_send()[1].type


# --- classic streams --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CLASSIC)
def test_a_classic_client_never_answers_a_stranger(kind: str, start: Start, server: ScriptedServer) -> None:
    """An offer of a stream from somebody it was not told of gets no answer at all."""
    peer, room = take_part(start, server, kind)
    room.say(room.push("stream.open", {"stream_id": "s-1", "header": {}}, sender="p-99"), room.push("chat", {}))
    peer.expect("message")
    assert next_word(peer, room) == "marker"


@pytest.mark.parametrize("kind", CLASSIC)
def test_the_emulator_tells_of_a_newcomer_before_its_offer(kind: str, enter: Enter, served: Emulator) -> None:
    """A client that enables messaging and offers a stream in one breath is answered."""
    ada = enter(kind, "ada", room="strangers")
    ada.do("enable")
    ada.expect("messaging_enabled")
    with RawClient(served, "bob", room="strangers", enable=False) as bob:
        offer = Send(ada.own["id"], "stream.open", {"stream_id": "s-1", "header": {}})
        bob.send([*packets(1, Enable()), *packets(2, offer)])
        ada.expect("stream_offered")


@pytest.mark.parametrize("kind", CLASSIC)
def test_a_classic_client_refuses_what_comes_with_its_being_enabled(
    kind: str, start: Start, server: ScriptedServer
) -> None:
    """A stream in the same burst as the reply to enable meets no handler, though the program has given one."""
    peer = start(kind, server.url)
    room = connect(peer, server, kind)
    peer.begin("enable")
    reply = room.answer(room.read_request().id)
    room.say(reply, room.roster(), room.push("stream.open", {"stream_id": "s-1", "header": {}}))
    _, answer = room.read_send()
    assert answer.type == "stream.reject"
    assert answer.message == {"stream_id": "s-1", "error": "Streams are not allowed by this client"}


@pytest.mark.parametrize("kind", CLASSIC)
def test_a_stream_to_whoever_has_just_come_is_accepted(kind: str, enter: Enter) -> None:
    """meshsync can open a stream in the very receiver that is told of a newcomer."""
    ada, bob = enter(MESHSYNC, "ada"), enter(kind, "bob")
    assert isinstance(ada, MeshsyncPeer)
    ada.do("enable")

    def open_stream(event: meshsync.RoomMessageEvent) -> None:
        assert event.participant is not None
        ada.do("open_stream", to=event.participant.id, header={"hello": True})

    ada.room.messaging.on("participant_added", open_stream)
    bob.do("enable")
    assert bob.expect("stream_offered")["header"] == {"hello": True}


@pytest.mark.parametrize("kind", kinds(is_python("0.0.2", "0.9.3")))
def test_an_old_reader_hangs_when_its_opener_has_gone(kind: str, start: Start, server: ScriptedServer) -> None:
    """That a participant left ends no stream of theirs; a close does."""
    peer, room = take_part(start, server, kind)
    room.say(room.push("stream.open", {"stream_id": "s-1", "header": {}}))
    request_id, answer = room.read_send()
    assert answer.type == "stream.accept"
    room.say(room.answer(request_id), room.push("participant.disabled", {"id": ScriptedServer.BOB}))
    peer.expect("participant_removed")
    assert not peer.has("stream_ended")
    room.say(room.push("stream.close", {"stream_id": "s-1"}))
    peer.expect("stream_ended")


@pytest.mark.parametrize("way", ["close", "disable"])
@pytest.mark.parametrize("kind", CLASSIC)
def test_meshsync_closes_its_streams_before_it_goes(kind: str, way: str, meet: Meet) -> None:
    """The reader of a release that would hang is told. For an opener that crashes, see the table's ``stream cut``."""
    ada, bob = meet(MESHSYNC, kind)
    ada.do("open_stream", to="bob", header={})
    bob.expect("stream_offered")
    ada.do(way)
    bob.expect("stream_ended")


@pytest.mark.parametrize("kind", CLASSIC)
def test_the_room_keeps_chunks_of_anybody_from_a_classic_client(kind: str, enter: Enter, served: Emulator) -> None:
    """It would believe them: whoever knows a stream's id can write on it. The room refuses them, and no others."""
    with RawClient(served, "eve", room=f"forged-{kind}") as eve:
        bob = enter(kind, "bob", room=f"forged-{kind}")
        bob.do("enable")
        bob.expect("messaging_enabled")
        with RawClient(served, "ada", room=f"forged-{kind}") as ada:
            to = bob.own["id"]
            ada.ask(Send(to, "stream.open", {"stream_id": "s-1", "header": {}}))
            bob.expect("stream_offered")
            for word, by in ((eve, "eve"), (ada, "ada")):
                word.ask(Send(to, "stream.chunk", {"stream_id": "s-1", "header": {"by": by}}), 7)
                while not (isinstance(reply := word.read(), Reply) and reply.request_id == 7):
                    pass
                assert isinstance(reply.content, Error) is (by == "eve")
            assert bob.expect("chunk")["header"] == {"by": "ada"}


def test_meshsync_believes_the_opener_alone(enter: Enter, served: Emulator) -> None:
    """A chunk and a close by somebody else are ignored; the opener's count."""
    with RawClient(served, "eve", room="forged") as eve:
        bob = enter(MESHSYNC, "bob", room="forged")
        bob.do("enable")
        with RawClient(served, "ada", room="forged") as ada:
            to = bob.own["id"]
            ada.ask(Send(to, "stream.open", {"stream_id": "s-1", "header": {}}))
            bob.expect("stream_offered")
            for word in ({"stream_id": "s-1", "header": {"by": "eve"}}, {"stream_id": "s-1"}):
                eve.ask(Send(to, "stream.chunk" if "header" in word else "stream.close", word))
            eve.ask(Send(to, "chat", {}))
            bob.expect("message")
            ada.ask(Send(to, "stream.chunk", {"stream_id": "s-1", "header": {"by": "ada"}}))
            assert bob.expect("chunk")["header"] == {"by": "ada"}


# --- duplex streams ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DUPLEX)
def test_a_client_without_a_handler_never_answers_a_call(kind: str, start: Start, server: ScriptedServer) -> None:
    """A duplex call to a program that takes none gets neither yes nor no."""
    peer = start(kind, server.url)
    room = connect(peer, server, kind)
    peer.do("enable", streams=False)
    room.enable(room.read_request().id)
    peer.do("wait_for_peer", name="bob")
    first = CallMessage("ask", {}, sender=ScriptedServer.BOB)
    for push in (Call(9, "c-1", ScriptedServer.BOB, "stream", Control("open")), CallChunk("c-1", first)):
        room.say((9, *codec.encode_push(push)))
    room.say(room.push("chat", {}))
    peer.expect("message")
    assert next_word(peer, room) == "marker"


@pytest.mark.parametrize("kind", DUPLEX)
def test_the_emulator_ends_a_call_that_nobody_answers(kind: str, start: Start) -> None:
    """The caller is told after the emulator's time limit, and goes on."""
    with Emulator(limits=Limits(answer=SILENCE)) as emulator:
        ada, bob = (start(kind, emulator.url) for _ in range(2))
        for peer, name in ((ada, "ada"), (bob, "bob")):
            peer.do("connect", room="lab", name=name)
            peer.do("enable", streams=False)
        ada.do("wait_for_peer", name="bob")
        with pytest.raises(PeerFailed, match="did not answer"):
            ada.do("open_stream", to="bob", header={})
        ada.do("send", to="bob", type="chat", message={})
        bob.expect("message")


# --- packets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", chosen())
def test_leftovers_of_a_broken_message_damage_the_next(kind: str, start: Start, server: ScriptedServer) -> None:
    """After a message that lost a packet on the way, one is not heard as it was said, and the one after that is."""
    peer, room = take_part(start, server, kind)
    first, second, _, fourth = split(7, *codec.encode_push(Push("p-2", "chat", {"text": "x" * 70})), 48)
    for packet in (first, second, fourth):
        room.protocol.send_binary(packet)
    room.say(room.push("chat", {"text": "damaged"}), room.push("chat", {"text": "heard"}))
    assert peer.expect("message")["message"] == {"text": "heard"}


@pytest.mark.parametrize("kind", chosen())
def test_a_broken_message_gets_no_further_than_the_emulator(kind: str, enter: Enter, served: Emulator) -> None:
    """Its sender is disconnected, and others hear whole messages before and after."""
    bob = enter(kind, "bob", room="broken")
    bob.do("enable")
    bob.expect("messaging_enabled")
    with RawClient(served, "ada", room="broken") as ada, RawClient(served, "eve", room="broken") as eve:
        to = bob.own["id"]
        first, second, _, fourth, *_ = packets(7, Send(to, "chat", {"text": "x" * 140}), 48)
        eve.send([first, second, fourth])
        assert eve.ending()[0] == 1002
        ada.ask(Send(to, "chat", {"text": "whole"}))
        assert bob.expect("message")["message"] == {"text": "whole"}


# --- being let in -----------------------------------------------------------------------------------------------------


def hang_up(start: Start, server: ScriptedServer, kind: str) -> tuple[OfficialPeer, int]:
    """Let a client connect, hang up before it is ready, and return it with the number of its command."""
    peer = start(kind, server.url)
    connecting = peer.begin("connect", room=ScriptedServer.ROOM, name="alice")
    server.accept().close()
    return peer, connecting


@pytest.mark.parametrize("kind", kinds(is_python("0.0.2", "0.5.18")))
def test_an_old_client_hangs_when_it_is_hung_up_on(kind: str, start: Start, server: ScriptedServer) -> None:
    """A close before it is ready is no news to it."""
    peer, connecting = hang_up(start, server, kind)
    with pytest.raises(AssertionError, match="nothing for"):
        peer.finish(connecting, SILENCE)


@pytest.mark.parametrize("kind", kinds(is_python("0.6.0", "0.35.8")))
def test_a_client_that_is_hung_up_on_looks_connected(kind: str, start: Start, server: ScriptedServer) -> None:
    """A close before it is ready passes for the beginning of a session without a participant."""
    peer, connecting = hang_up(start, server, kind)
    assert peer.finish(connecting)["participant"] is None


# TypeScript 0.35.8 does not look at the status, and waits for ever.
@pytest.mark.parametrize("kind", kinds(lambda release: not is_typescript(release) or release.reconnects))
def test_whom_the_emulator_refuses_is_told_at_once(kind: str, start: Start, served: Emulator) -> None:
    """A refusal is an HTTP status, which every release takes for a failure to connect."""
    peer = start(kind)
    with pytest.raises(PeerFailed):
        peer.do("connect", room="lab", name="ada", token=served.token("another-room", "ada"))


@pytest.mark.parametrize("made_by", [None, "0.0.21", "0.10.0", "0.56.0"])
@pytest.mark.parametrize("kind", chosen())
def test_a_client_is_greeted_whatever_made_its_token(
    kind: str, made_by: str | None, enter: Enter, served: Emulator
) -> None:
    """The TypeScript SDK does not say its version, and tokens carry that of their maker; all are understood."""
    ada = enter(kind, "ada", room="tokens", token=served.token("tokens", "ada", version=made_by))
    ada.do("enable")
    ada.expect("messaging_enabled")


@pytest.mark.parametrize("kind", kinds(is_python("0.6.0", "0.28.8")))
def test_old_releases_compare_versions_as_text(kind: str, start: Start, served: Emulator) -> None:
    """To them a token of 0.10.0 is older than 0.6.0, from when on one without an ``api`` grant allows nothing."""
    peer = start(kind)
    ungranted = {"name": "ada", "grants": [{"name": "room", "scope": "lab"}]}
    may = [
        peer.do("may_use_api", token=jwt.encode({**ungranted, "version": version}, served.secret))["may"]
        for version in ("0.5.0", "0.10.0", "0.7.0")
    ]
    assert may == [True, True, False]


@pytest.mark.parametrize("version", ["0.5.0", "0.10.0", "0.56.0"])
@pytest.mark.parametrize("messaging", [True, False])
def test_the_emulator_reads_rights_from_grants_alone(version: str, messaging: bool, served: Emulator) -> None:
    """Who may take part does not depend on what made the token."""
    token = served.token("rights", "ada", version=version, messaging=messaging)
    with meshsync.connect("rights", url=served.url, token=token) as ada:
        if messaging:
            ada.messaging.enable()
        else:
            with pytest.raises(meshsync.RoomError) as refused:
                ada.messaging.enable()
            assert refused.value.code == 1001


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", chosen())
def test_clients_wait_for_replies_without_limit(kind: str, start: Start, server: ScriptedServer) -> None:
    """A request that nobody answers is waited for."""
    peer, room = take_part(start, server, kind)
    sending = peer.begin("send", to="bob", type="chat", message={})
    request_id, _ = room.read_send()
    with pytest.raises(AssertionError, match="nothing for"):
        peer.finish(sending, SILENCE)
    room.say(room.answer(request_id))
    peer.finish(sending)


@pytest.mark.parametrize("kind", chosen())
def test_the_emulator_answers_what_it_has_not(kind: str, enter: Enter) -> None:
    """A request to another service of a room fails, rather than hangs."""
    with pytest.raises(PeerFailed):
        enter(kind, "ada").do("use_storage")


@pytest.mark.parametrize("kind", TYPESCRIPT)
def test_typescript_calls_tools_without_an_id(kind: str, start: Start, server: ScriptedServer) -> None:
    """Its sends lack ``tool_call_id``. That the emulator does not need one, the table shows."""
    peer, room = take_part(start, server, kind)
    peer.begin("send", to="bob", type="chat", message={})
    header, _ = decode_envelope(room.read_request().body, "a tool call")
    assert header["tool"] == "send"
    assert "tool_call_id" not in header


# --- coming back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", RECONNECTING)
def test_a_refusal_on_the_way_back_ends_a_node_process(kind: str, start: Start, server: ScriptedServer) -> None:
    """An HTTP status while it reconnects is an error that nobody catches."""
    peer, room = take_part(start, server, kind)
    room.cut()
    server.refuse(403)
    peer.wait_end(timeout=30)
    assert not peer.is_running


@pytest.mark.parametrize("kind", RECONNECTING)
def test_node_survives_a_restart_of_the_emulator(kind: str, start: Start) -> None:
    """While it is away it does not listen, and then lets those in who come back."""
    port = own_port()
    with Emulator(port=port) as emulator:
        peer = start(kind, emulator.url)
        peer.do("connect", room="lab", name="ada")
        peer.do("enable")
        peer.expect("messaging_enabled")
    peer.expect("disconnected")
    with Emulator(port=port) as emulator:
        token = emulator.token("lab", "bob")
        with meshsync.connect("lab", url=emulator.url, token=token) as bob:
            bob.messaging.enable()
            ada = bob.messaging.wait_for_participant(name="ada", timeout=30)
            bob.messaging.send_message(ada, "chat", {"text": "welcome back"})
            assert peer.expect("message")["message"] == {"text": "welcome back"}


def packets(id: int, request: Request, size: int = 1024) -> list[bytes]:
    """Return what a client of 0.29.4 writes."""
    return split(id, *codec.encode_request(request, dialects.dialect("A3")), size)
