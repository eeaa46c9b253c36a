"""``connect``: which room, at which address, as whom; what beats what; and what is left when it fails."""

from __future__ import annotations

import importlib
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

import meshsync
from meshsync.connection.connection import State
from meshsync.errors import (
    AuthenticationFailed,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    InvalidMessage,
    MeshsyncError,
    NotEnabled,
    NotSent,
    ParticipantNotFound,
    RoomNotFound,
    RoomUnavailable,
    UsageError,
)
from meshsync.protocol.operations import Broadcast, Enable, Push, Send, SetAttributes
from meshsync.runtime import threads
from meshsync.runtime.interfaces import Runtime
from meshsync.runtime.threads import ThreadRuntime
from meshsync.targets import ROOM_NAMES
from meshsync.tokens import ApiKey, ParticipantToken
from meshsync.transport.connector import WebSocketConnector
from meshsync.transport.interfaces import Connector, Endpoint
from meshsync.world import REAL_WORLD, World, install_world
from tests.support.interrupts import Interrupt
from tests.support.scripted import PATIENCE, ScriptedConnector, ScriptedTransport

SECRET = "a secret that signs tokens in these tests"
KEY = ApiKey("00000000-0000-4000-8000-000000000002", "00000000-0000-4000-8000-000000000001", SECRET)
OTHER_KEY = ApiKey(KEY.key_id, KEY.project_id, "another secret, of another key, as long as the first")


def token(name: str = "ada", role: str = "user", room: str = "lab") -> str:
    """Return a participant's token."""
    return ParticipantToken.for_room(room, name, role=role).encode(SECRET)


class Asked:
    """A world without a network, that notes what would be connected to."""

    def __init__(self) -> None:
        self.environ: dict[str, str] = {}
        self.endpoint: Endpoint
        self.runtime: Runtime
        self.connector = ScriptedConnector(ScriptedTransport())
        self.world = World(ThreadRuntime(), self._connector, self.environ)

    def _connector(self, endpoint: Endpoint, runtime: Runtime) -> Connector:
        self.endpoint, self.runtime = endpoint, runtime
        return self.connector

    def join(self, *arguments: Any, **options: Any) -> Endpoint:
        """Connect and leave; return where to, and as whom."""
        self.connector = ScriptedConnector(ScriptedTransport())
        meshsync.connect(*arguments, **options).close(0)
        return self.endpoint

    def token(self, *arguments: Any, **options: Any) -> ParticipantToken:
        """Return the token that would be presented."""
        return ParticipantToken.decode(self.join(*arguments, **options).token(), SECRET, now=0)


@pytest.fixture
def asked() -> Iterator[Asked]:
    """Return an empty environment, installed for the test."""
    asked = Asked()
    install_world(asked.world)
    yield asked
    install_world(None)


# --- which room, and where --------------------------------------------------------------------------------------------

KEYED = {"name": "ada", "api_key": str(KEY)}


@pytest.mark.parametrize(
    ("room", "url", "environ", "address"),
    [
        ("lab", None, {}, "wss://api.meshagent.com/rooms/lab"),
        ("lab", "wss://rooms.test", {}, "wss://rooms.test/rooms/lab"),
        ("lab", "https://rooms.test/", {}, "wss://rooms.test/rooms/lab"),
        ("lab", "http://rooms.test:81/base/", {}, "ws://rooms.test:81/base/rooms/lab"),
        ("lab", "ws://rooms.test/?a=1", {}, "ws://rooms.test/rooms/lab?a=1"),
        ("lab", "ws://rooms.test/rooms/lab", {}, "ws://rooms.test/rooms/lab"),
        (None, "ws://rooms.test/base/rooms/lab?a=1", {}, "ws://rooms.test/base/rooms/lab?a=1"),
        (None, None, {"ROOM": "lab"}, "wss://api.meshagent.com/rooms/lab"),
        ("lab", None, {"ROOM": "den", "API_URL": "ws://rooms.test"}, "ws://rooms.test/rooms/lab"),
        (None, None, {"ROOM_URL": "ws://rooms.test/rooms/lab"}, "ws://rooms.test/rooms/lab"),
        (None, None, {"ROOM_URL": "ws://a.test/rooms/lab", "ROOM": "den", "API_URL": "ws://b.test"}, "ws://a.test/rooms/lab"),
        ("lab", None, {"ROOM_URL": "ws://a.test/rooms/lab", "API_URL": "ws://b.test"}, "ws://a.test/rooms/lab"),
        ("lab", None, {"ROOM_URL": "ws://a.test/rooms/den", "API_URL": "ws://b.test"}, "ws://a.test/rooms/lab"),
        ("lab", None, {"ROOM_URL": "ws://a.test/base/"}, "ws://a.test/base/rooms/lab"),
        ("lab", "ws://c.test", {"ROOM_URL": "ws://a.test/rooms/lab", "API_URL": "ws://b.test"}, "ws://c.test/rooms/lab"),
        (None, "ws://c.test", {"ROOM": "lab", "API_URL": "ws://b.test"}, "ws://c.test/rooms/lab"),
        ("lab", None, {"API_URL": ""}, "wss://api.meshagent.com/rooms/lab"),
    ],
)  # fmt: skip
def test_room_is_found_at_its_address(
    asked: Asked, room: str | None, url: str | None, environ: Mapping[str, str], address: str
) -> None:
    """An argument beats the environment, a room's own address beats the service's, and empty is unset."""
    asked.environ.update({f"MESHAGENT_{name}": value for name, value in environ.items()})
    assert asked.join(room, url=url, **KEYED).url == address


@pytest.mark.parametrize(
    ("room", "url", "error", "text"),
    [
        (None, None, UsageError, "no room to join: give room=, or set MESHAGENT_ROOM or MESHAGENT_ROOM_URL"),
        ("", None, UsageError, "no room to join: "),
        ("den", "ws://a.test/rooms/lab", UsageError, "'ws://a.test/rooms/lab' is that of room 'lab', not of 'den'"),
        ("lab", "ftp://a.test", UsageError, "not an address of a room service: 'ftp://a.test'; give one like wss://"),
        ("lab", "rooms.test", UsageError, "not an address of a room service: 'rooms.test'"),
        ("lab", "ws://[::1", UsageError, "not an address of a room service"),
        ("lab", "ws://a.test:99999", UsageError, "not an address of a room service"),
        ("my room", None, RoomNotFound, f"'my room' cannot be the name of a room: {ROOM_NAMES}"),
        ("../admin", None, RoomNotFound, "cannot be the name of a room"),
        ("..", None, RoomNotFound, "cannot be the name of a room"),
        ("lab?x=1", None, RoomNotFound, "cannot be the name of a room"),
        ("a" * 256, None, RoomNotFound, "cannot be the name of a room"),
    ],
)
def test_room_that_cannot_be_is_refused_before_anything_is_opened(
    asked: Asked, room: str | None, url: str | None, error: type[Exception], text: str
) -> None:
    """The text says what is wrong and what to give; nothing was connected to."""
    with pytest.raises(error, match=text.replace("?", r"\?")):
        meshsync.connect(room, url=url, **KEYED)  # type: ignore[arg-type]
    assert asked.connector.timeouts == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://me:s3cret@a.test",
        "me:s3cret@a.test",
        "ws://me:s3cret@a.test:port",
        "ws://me:s3c?ret@a.test/",
        "ma-s3-s3cret",
        "eyJhbGciOiJIUzI1NiJ9.s3cret.s3cret",
    ],
)
def test_address_in_an_error_does_not_show_a_password(asked: Asked, url: str) -> None:
    """Neither where the address can be read nor where it cannot, and no key that is in the wrong place."""
    with pytest.raises(UsageError, match="not an address of a room service") as info:
        meshsync.connect("lab", url=url, **KEYED)  # type: ignore[arg-type]
    assert "s3c" not in str(info.value)


def test_key_given_for_the_room_is_not_shown(asked: Asked) -> None:
    """A token is longer than any room's name may be."""
    with pytest.raises(RoomNotFound) as info:
        meshsync.connect("eyJ" + "s3cret" * 50, **KEYED)  # type: ignore[arg-type]
    assert "s3cret" not in str(info.value)


@pytest.mark.parametrize("room", ["a;b", "a;b;c=d", ";", "a\\b", "a&b=c", "schön", "a@b", "a:b"])
def test_room_of_an_unusual_name_is_asked_for_by_its_whole_name(asked: Asked, room: str) -> None:
    """No part of the name is taken for something else of an address."""
    assert asked.join(room, url="ws://a.test", **KEYED).url == f"ws://a.test/rooms/{room}"


def test_line_breaks_around_credentials_are_dropped(asked: Asked) -> None:
    """Of an argument, of the environment and of what a function returns, as ``$(cat file)`` leaves them."""
    token = ParticipantToken.for_room("lab", "ada").encode("a secret of at least 32 letters, for HS256")
    asked.environ["MESHAGENT_TOKEN"] = f"{token[:30]}\n{token[30:]}\r\n"
    assert asked.join("lab", url="ws://a.test").token() == token
    assert asked.join("lab", url="ws://a.test", token=f"{token}\n").token() == token
    assert asked.join("lab", url="ws://a.test\n", token=lambda: f"\n{token}\n").token() == token


def test_function_that_returns_no_token_is_a_mistake_of_the_program(asked: Asked) -> None:
    """The type is named, not the value."""
    endpoint = asked.join("lab", url="ws://a.test", token=lambda: b"s3cret")
    with pytest.raises(UsageError, match="returned no text, but bytes"):
        endpoint.token()


def test_address_in_an_error_does_not_show_its_query(asked: Asked) -> None:
    """A token may stand there."""
    with pytest.raises(UsageError) as info:
        meshsync.connect("lab", url="ftp://a.test?token=secret", **KEYED)  # type: ignore[arg-type]
    assert "secret" not in str(info.value)


# --- as whom ----------------------------------------------------------------------------------------------------------


def test_key_makes_a_token_for_the_room(asked: Asked) -> None:
    """Name, role, room, project, key and the dialect's version are in it; the secret is not in the endpoint's text."""
    made = asked.token("lab", name="ada", role="agent", api_key=str(KEY))
    assert (made.name, made.role, made.room) == ("ada", "agent", "lab")
    assert (made.project_id, made.key_id, made.version) == (KEY.project_id, KEY.key_id, "0.56.0")
    assert SECRET not in repr(asked.endpoint)
    assert asked.endpoint.token() not in repr(asked.endpoint)


@pytest.mark.parametrize(
    ("options", "environ", "name"),
    [
        # An argument beats the environment, and a token beats a key.
        ({"token": token("arg")}, {"TOKEN": token("env"), "API_KEY": str(OTHER_KEY)}, "arg"),
        ({"token": token("arg"), "api_key": str(OTHER_KEY)}, {}, "arg"),
        ({"api_key": str(KEY), "name": "key"}, {"TOKEN": token("env")}, "key"),
        ({"name": "x"}, {"TOKEN": token("env"), "API_KEY": str(OTHER_KEY)}, "env"),
        ({"api_key": str(KEY), "name": "key"}, {"API_KEY": str(OTHER_KEY)}, "key"),
        ({"name": "x"}, {"API_KEY": str(KEY), "SECRET": "unused, since a whole key is there"}, "x"),
        ({"name": "x"}, {"SECRET": SECRET}, "x"),
        ({"token": lambda: token("made")}, {"TOKEN": token("env")}, "made"),
        ({"name": "x"}, {"TOKEN": "", "API_KEY": "", "SECRET": SECRET}, "x"),
    ],
)
def test_who_joins_is_found(asked: Asked, options: dict[str, Any], environ: Mapping[str, str], name: str) -> None:
    """The token presented is the one that goes before all others."""
    asked.environ.update({f"MESHAGENT_{name}": value for name, value in environ.items()})
    assert asked.token("lab", **options).name == name


def test_secret_with_project_and_key_signs_as_them(asked: Asked) -> None:
    """The three variables together are a key."""
    asked.environ.update(
        MESHAGENT_SECRET=SECRET, MESHAGENT_PROJECT_ID="project-1", MESHAGENT_KEY_ID="key-1", MESHAGENT_ROOM="lab"
    )
    made = asked.token(name="ada")
    assert (made.project_id, made.key_id) == ("project-1", "key-1")


def test_token_is_for_the_room_of_the_address(asked: Asked) -> None:
    """An address that names a room beats ``MESHAGENT_ROOM``, also in the token."""
    asked.environ["MESHAGENT_ROOM"] = "den"
    assert asked.token(url="ws://rooms.test/rooms/lab", **KEYED).room == "lab"


def test_secret_alone_names_neither_project_nor_key(asked: Asked) -> None:
    """An emulator needs no more."""
    asked.environ["MESHAGENT_SECRET"] = SECRET
    made = asked.token("lab", name="ada")
    assert (made.project_id, made.key_id) == (None, None)


def test_nothing_to_join_with_lists_what_was_looked_for(asked: Asked) -> None:
    """All arguments and variables are named."""
    with pytest.raises(AuthenticationFailed) as info:
        meshsync.connect("lab", name="ada")
    for name in ("token=", "api_key=", "TOKEN", "API_KEY", "SECRET", "PROJECT_ID", "KEY_ID"):
        assert (name if name.endswith("=") else f"MESHAGENT_{name}") in str(info.value)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"api_key": str(KEY)}, UsageError, r"no name to join with: give name="),
        ({"token": "no token"}, AuthenticationFailed, "not a JSON Web Token"),
        ({"api_key": "sk-1", "name": "ada"}, UsageError, "not an API key: it has to begin with 'ma-'"),
        ({"token": token(), "dialect": "Z"}, ValueError, "no dialect 'Z'; there are A1, A2, A3"),
        ({"token": token(), "packet_size": 0}, ValueError, "at least 1 body byte, not 0"),
    ],
)
def test_arguments_that_do_not_do_are_refused_before_anything_is_opened(
    asked: Asked, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """Each names what is wrong."""
    with pytest.raises(error, match=text):
        meshsync.connect("lab", **options)
    assert asked.connector.timeouts == []


def test_role_is_that_of_the_token(asked: Asked) -> None:
    """What a given token says beats the argument, which is for tokens made here."""
    with meshsync.connect("lab", token=token(role="agent"), role="tool") as room:
        assert room.local_participant.role == "agent"
        assert (room.local_participant.id, room.local_participant.name) == ("p-me", "me")


@pytest.mark.parametrize(
    ("options", "version", "token_in"),
    [
        ({}, "0.56.0", "header"),
        ({"dialect": "B"}, "0.56.0", "header"),
        ({"dialect": "B1"}, "0.35.6", "query"),
        ({"dialect": "A"}, "0.29.4", "query"),
        ({"dialect": "A1"}, "0.0.30", "query"),
        ({"dialect": "a2"}, "0.8.4", "query"),
    ],
)
def test_dialect_decides_what_the_client_says_it_is(
    asked: Asked, options: dict[str, str], version: str, token_in: str
) -> None:
    """A letter alone means the newest of its family, and nothing means B."""
    endpoint = asked.join("lab", **options, **KEYED)
    assert (endpoint.version, endpoint.token_in) == (version, token_in)
    assert ParticipantToken.peek(endpoint.token()).version == version


def test_certificates_come_from_argument_or_environment_unless_a_context_is_given(asked: Asked) -> None:
    """A context stands for itself."""
    asked.environ["MESHAGENT_EXTRA_CA_FILE"] = "env.pem"
    context = ssl.create_default_context()
    assert asked.join("lab", **KEYED).ca_file == "env.pem"
    assert asked.join("lab", ca_file="arg.pem", **KEYED).ca_file == "arg.pem"
    endpoint = asked.join("lab", ssl_context=context, **KEYED)
    assert (endpoint.ssl_context, endpoint.ca_file) == (context, None)


# --- the clock --------------------------------------------------------------------------------------------------------


def test_connection_has_the_runtime_of_the_client(asked: Asked) -> None:
    """One that is given counts for both, and else the caller's world's; so a client has one clock."""
    asked.join("lab", **KEYED)
    assert asked.runtime is asked.world.runtime
    runtime = ThreadRuntime()
    asked.join("lab", runtime=runtime, **KEYED)
    assert asked.runtime is runtime


def test_connector_of_the_real_world_has_the_runtime_it_is_given() -> None:
    """A WebSocket's waits, tasks and heartbeats are those of the client."""
    runtime = ThreadRuntime()
    connector = REAL_WORLD.connector(Endpoint("ws://lab.test/rooms/lab", token), runtime)
    assert isinstance(connector, WebSocketConnector)
    assert connector._runtime is connector._take_over.keywords["runtime"] is runtime


# --- a connector of one's own -----------------------------------------------------------------------------------------


def test_own_connector_needs_neither_room_nor_token() -> None:
    """It knows where to go and as whom; time limits are handed to it."""
    connector = ScriptedConnector(ScriptedTransport())
    with meshsync.connect(connector=connector, role="agent", timeout=7) as room:
        assert room.is_connected
        assert (room.room_name, room.session_id, room.room_url) == ("lab", "s-1", "ws://lab.test/rooms/lab")
        assert room.local_participant.role == "agent"
    assert connector.timeouts == [7]


@pytest.mark.parametrize(
    ("options", "limit"), [({}, 30.0), ({"default_timeout": 9}, 9), ({"timeout": None, "default_timeout": 9}, None)]
)
def test_time_limit_of_connecting(options: dict[str, Any], limit: float | None) -> None:
    """30 s, or the default for all, or what is given, None included."""
    connector = ScriptedConnector(ScriptedTransport())
    meshsync.connect(connector=connector, **options).close()
    assert connector.timeouts == [limit]


# --- failures ---------------------------------------------------------------------------------------------------------


def tasks_of(room: meshsync.RoomClient) -> list[bool]:
    """Return which tasks of a client have ended."""
    return [task.join(PATIENCE) for task in room._meshsync.tasks]


class Rooms:
    """Notes the clients that were made, also of attempts that failed."""

    def __init__(self) -> None:
        self.made: list[meshsync.RoomClient] = []

    def messaging(self, room: meshsync.RoomClient) -> meshsync.MessagingClient:
        self.made.append(room)
        return meshsync.MessagingClient(room)


def test_room_that_does_not_greet_in_time_is_left() -> None:
    """The error says that the connection was accepted; nothing stays behind."""
    transport, rooms = ScriptedTransport(greets=False), Rooms()
    with pytest.raises(ConnectTimeout, match="accepted the connection and did not greet within 0 s"):
        meshsync.connect(connector=ScriptedConnector(transport), timeout=0, messaging=rooms.messaging)
    assert transport.closes
    assert all(tasks_of(rooms.made[0]))
    assert rooms.made[0]._meshsync.connection.state is State.CLOSED


class Hooked(meshsync.MessagingClient):
    """One with a hook, which has a task of its own."""

    def received(self, message: meshsync.RoomMessage) -> meshsync.RoomMessage:
        return message


def client_tasks() -> list[threading.Thread]:
    """Return the threads of clients."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("meshsync")]


@pytest.mark.parametrize("messaging", [meshsync.MessagingClient, Hooked])
def test_connect_interrupted_anywhere_leaves_no_task(messaging: Any) -> None:
    """Ctrl-C at each place of it: no program has the client, so nothing else would end its tasks."""
    others = client_tasks()
    made: list[meshsync.RoomClient] = []
    for place in range(1, 1000):
        was_interrupted = Interrupt(place, spared=("connect", "join", "_join", "call")).run(
            lambda: made.append(meshsync.connect(connector=ScriptedConnector(ScriptedTransport()), messaging=messaging))
        )
        if not was_interrupted:
            break
        for thread in set(client_tasks()) - set(others):
            thread._started.wait(PATIENCE)  # Its start may have been struck while it waited for this.
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"{thread.name} is left, interrupted at place {place}"
    made[0].close()
    assert 50 < place < 999


@pytest.mark.parametrize("task", ["dispatcher", "hook", "reader"])
def test_connect_interrupted_while_it_starts_a_task_leaves_none(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the wait for the thread to begin, which `Thread.start` does: it runs, and no task knows of it."""
    others, start = client_tasks(), threads._start_thread

    def start_interrupted(thread: threading.Thread) -> None:
        start(thread)
        if f" {task} " in thread.name:
            raise KeyboardInterrupt

    monkeypatch.setattr(threads, "_start_thread", start_interrupted)
    with pytest.raises(KeyboardInterrupt):
        meshsync.connect(connector=ScriptedConnector(ScriptedTransport()), messaging=Hooked)
    for thread in set(client_tasks()) - set(others):
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_room_that_goes_before_it_greets_is_unavailable() -> None:
    """Safe to try again, with the reason in the text."""
    transport, rooms = ScriptedTransport(greets=False), Rooms()
    transport.lose("restarting")
    with pytest.raises(RoomUnavailable, match="the connection ended before the room was ready: restarting") as info:
        meshsync.connect(connector=ScriptedConnector(transport), messaging=rooms.messaging)
    assert info.value.retryable
    assert all(tasks_of(rooms.made[0]))


def test_room_that_greets_nonsense_is_unavailable() -> None:
    """What broke is in the text."""
    transport = ScriptedTransport(greets=False)
    transport.feed([b"\0"])
    with pytest.raises(RoomUnavailable, match="a start packet needs 16 bytes, got 1"):
        meshsync.connect(connector=ScriptedConnector(transport))


def test_failing_messaging_factory_leaves_no_connection() -> None:
    """What it raises gets through, and the transport is closed."""
    transport = ScriptedTransport()

    def factory(room: meshsync.RoomClient) -> meshsync.MessagingClient:
        raise ZeroDivisionError("oops")

    with pytest.raises(ZeroDivisionError):
        meshsync.connect(connector=ScriptedConnector(transport), messaging=factory)
    assert transport.closes == [(0, 1000)]


def test_refusal_of_the_connector_gets_through() -> None:
    """Nothing is made of it."""
    with pytest.raises(ConnectFailed, match="no"):
        meshsync.connect(connector=ScriptedConnector(ConnectFailed("no")))


def test_open_clients_are_closed_when_the_process_ends() -> None:
    """The handler of ``atexit`` says goodbye for those that never closed."""
    transport = ScriptedTransport()
    room = meshsync.connect(connector=ScriptedConnector(transport))
    importlib.import_module("meshsync.connect")._close_all()
    assert room.wait_closed(PATIENCE)
    assert transport.closes


# --- the joined room --------------------------------------------------------------------------------------------------

BOB = {"id": "p-2", "role": "user", "attributes": {"name": "bob"}}


class Joined:
    """A room, with bob in it, and the transport that plays it."""

    def __init__(self) -> None:
        self.transport = ScriptedTransport(roster=[BOB])
        connector = ScriptedConnector(self.transport)
        self.room = meshsync.connect(connector=connector, default_timeout=PATIENCE, reconnect=False)
        self.messaging = self.room.messaging


@pytest.fixture
def joined() -> Iterator[Joined]:
    """Return a room that was joined, messaging enabled."""
    joined = Joined()
    joined.messaging.enable()
    yield joined
    joined.room.close(0)


def test_message_to_a_participant_and_its_mapping_form_are_the_same(joined: Joined) -> None:
    """A participant, its id and a mapping all reach the same recipient."""
    bob = joined.messaging.remote_participants[0]
    joined.messaging.send_message(bob, "chat", {"n": 1}, b"\1")
    joined.messaging.send_message({"to": "p-2", "type": "chat", "message": {"n": 1}, "attachment": b"\1"})
    joined.messaging.broadcast_message({"type": "all", "message": {}})
    joined.messaging.broadcast_message("all", {})
    sent = [request for _, request in joined.transport.requests][2:]
    assert sent == [Send("p-2", "chat", {"n": 1}, b"\1")] * 2 + [Broadcast("all", {})] * 2


def test_sending_to_oneself_is_allowed(joined: Joined) -> None:
    """The local participant is a recipient like others."""
    joined.messaging.send_message(joined.room.local_participant, "note", {})
    assert joined.transport.requests[-1][1] == Send("p-me", "note", {})


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda m, room: m.send_message("bob", "chat", {}), ParticipantNotFound, "'bob' is a name and no id"),
        (lambda m, room: m.send_message(room, "chat", {}), TypeError, "give its .local_participant"),
        (lambda m, room: m.send_message(7, "chat", {}), TypeError, "give a participant or the id of one, not 7"),
        (lambda m, room: m.send_message({"to": "p-2", "typ": "x"}), TypeError, "lacks type, message and has 'typ'"),
        (lambda m, room: m.send_message({"to": "p-2", "type": "x", "message": {}}, "y"), TypeError, "one mapping"),
        (lambda m, room: m.send_message("p-2", "", {}), InvalidMessage, "type: needs a text"),
        (lambda m, room: m.send_message("p-2", "chat", [1]), InvalidMessage, "message: list is not a JSON object"),
        (lambda m, room: m.send_message("p-2", "chat", {}, "text"), InvalidMessage, "attachment: str does not"),
        (lambda m, room: m.broadcast_message("chat", {"x": float("inf")}), InvalidMessage, r"message\['x'\]: inf"),
    ],
)  # fmt: skip
def test_wrong_calls_send_nothing_and_harm_nothing(
    joined: Joined, call: Callable[[Any, Any], object], error: type[Exception], text: str
) -> None:
    """Each says what to give, and the next call works."""
    before = len(joined.transport.requests)
    with pytest.raises(error, match=text):
        call(joined.messaging, joined.room)
    assert len(joined.transport.requests) == before
    joined.messaging.send_message("p-2", "chat", {})


def test_sending_while_not_enabled_is_refused_locally() -> None:
    """The text says what to call first."""
    joined = Joined()
    for call in (
        lambda: joined.messaging.send_message("p-2", "chat", {}),
        lambda: joined.messaging.broadcast_message("chat", {}),
        joined.messaging.wait_for_participant,
    ):
        with pytest.raises(NotEnabled, match=r"call room.messaging.enable\(\) first"):
            call()
    assert joined.transport.requests == []
    joined.room.close(0)


def test_participant_that_left_cannot_be_sent_to(joined: Joined) -> None:
    """Its object is offline, and the error says so instead of asking the room."""
    bob = joined.messaging.remote_participants[0]
    with joined.messaging.messages() as messages:
        joined.transport.say(Push("p-2", "participant.disabled", {"id": "p-2"}), Push("p-3", "chat", {}))
        messages.get(PATIENCE)
    with pytest.raises(ParticipantNotFound, match="'bob' has left the room's messaging") as info:
        joined.messaging.send_message(bob, "chat", {})
    assert info.value.connection_alive


@pytest.mark.parametrize(("is_lost", "error"), [(True, NotSent), (False, ClientClosed)])
def test_after_the_end_sending_to_anybody_says_that_it_ended(
    joined: Joined, is_lost: bool, error: type[Exception]
) -> None:
    """Everybody is offline then, which is not the reason."""
    bob = joined.messaging.remote_participants[0]
    if is_lost:
        joined.transport.lose()
        with pytest.raises(ConnectionLost):
            joined.room.wait_closed(PATIENCE)
    else:
        joined.room.close(0)
        assert joined.room.wait_closed(PATIENCE)
    assert not bob.online
    for to in (bob, "p-2"):
        with pytest.raises(error):
            joined.messaging.send_message(to, "chat", {})
    with pytest.raises(error):
        joined.messaging.enable()


def test_after_disabling_sending_says_that_it_is_not_enabled(joined: Joined) -> None:
    """Everybody is offline then too."""
    bob = joined.messaging.remote_participants[0]
    joined.messaging.disable()
    with pytest.raises(NotEnabled):
        joined.messaging.send_message(bob, "chat", {})


def test_in_the_midst_of_the_end_nobody_is_said_to_have_left(joined: Joined) -> None:
    """Between the first departure and the last, a send to one who is offline says that the connection ended."""
    bob, raised = joined.messaging.remote_participants[0], list[BaseException]()
    membership = joined.room._meshsync.membership
    removed = membership._removed

    def removed_and_send(participant: meshsync.RemoteParticipant) -> None:
        removed(participant)
        try:
            joined.messaging.send_message_nowait(bob, "chat", {})
        except MeshsyncError as error:
            raised.append(error)

    membership._removed = removed_and_send  # type: ignore[method-assign]
    joined.transport.lose()
    with pytest.raises(ConnectionLost):
        joined.room.wait_closed(PATIENCE)
    assert [type(error) for error in raised] == [NotSent]


def test_enabling_while_enabled_asks_nothing(joined: Joined) -> None:
    """The roster is kept."""
    joined.messaging.enable()
    assert [type(request) for _, request in joined.transport.requests] == [SetAttributes, Enable]


def test_everybody_is_there_when_enabling_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The participants come before the flag, so that whoever sees the one finds the others."""
    joined, there = Joined(), list[int]()
    presence = joined.messaging._meshsync.participants
    set_enabled = presence.set_enabled

    def note(is_enabled: bool) -> None:
        there.append(len(presence.participants))
        set_enabled(is_enabled)

    monkeypatch.setattr(presence, "set_enabled", note)
    joined.messaging.enable()
    assert there == [1]
    joined.room.close(0)


def test_own_attributes_are_sent_and_kept(joined: Joined) -> None:
    """Others are told, and the own copy has them."""
    joined.room.local_participant.set_attribute("mood", "calm")
    assert joined.transport.requests[-1][1] == SetAttributes({"mood": "calm"})
    assert joined.room.local_participant.attributes == {"name": "me", "mood": "calm"}


def test_stats_count_what_is_pending(joined: Joined) -> None:
    """Unanswered requests are pending until they are answered."""
    joined.transport.answers = False
    delivery = joined.messaging.send_message_nowait("p-2", "chat", {})
    assert joined.room.stats().pending == 1
    joined.transport.answer(joined.transport.requests[-1][0])
    delivery.wait(PATIENCE)
    assert joined.room.stats().pending == 0
