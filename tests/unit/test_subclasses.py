"""What users subclass is free: any name that our own code uses may be defined, and everything works as before."""

from __future__ import annotations

import ast
import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import meshsync
from meshsync import MessagingClient, RoomClient
from meshsync.filters.compression import compression
from meshsync.filters.encryption import encryption
from meshsync.filters.negotiation import accept_filtered, open_filtered
from meshsync.protocol.operations import Enable, Push, Send, SetAttributes
from meshsync.runtime.threads import ThreadRuntime
from meshsync.world import runtime_of
from tests.support.scripted import PATIENCE, ScriptedConnector, ScriptedTransport
from tests.support.worlds import simulated

SOURCES = Path(meshsync.__file__).parent
BOB = {"id": "p-2", "role": "user", "attributes": {"name": "bob"}}

HOOKS = {"received", "offered"}
SENDING = {"send_message_nowait", "broadcast_message_nowait", "create_stream"}
"""What all sending goes through, so that a subclass changes it there."""
OURS = {"_meshsync"}

THOUGHT_OF = """
    handle start end closing open received dispatch dropped take publish route stop run join state connection client
    _client _room _router _connection _state _lock _queue _runtime
"""
"""What a subclass would be likely to define; the sources add some hundreds."""


@functools.cache
def names_of_ours() -> set[str]:
    """Return every name of a function or an attribute in the client's sources, and some besides."""
    names = set(THOUGHT_OF.split())
    for file in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                names.add(node.name)
            elif isinstance(node, ast.Attribute):
                names.add(node.attr)
    return {name for name in names if not name.startswith("__")} - OURS


def public_names(facade: type) -> set[str]:
    """Return what programs call on it."""
    return {name for name in dir(facade) if not name.startswith("_")}


def subclass(facade: type, names: set[str]) -> Any:
    """Return a subclass in which each of these names is a method of the program's, which nobody else may call."""

    def trap(name: str) -> Callable[..., None]:
        def method(self: object, *arguments: object, **options: object) -> None:
            raise AssertionError(f"{name} was called by {sys._getframe(1).f_code.co_name}")

        return method

    return type(f"Own{facade.__name__}", (facade,), {name: trap(name) for name in sorted(names)})


OwnMessaging: type[MessagingClient] = subclass(MessagingClient, names_of_ours() - public_names(MessagingClient))
OwnRoom: type[RoomClient] = subclass(RoomClient, names_of_ours() - public_names(RoomClient) - {"messaging"})
NoOther: type[MessagingClient] = subclass(MessagingClient, names_of_ours() - HOOKS - SENDING)
"""Public names too, whatever the program means by them; its tests call the originals."""


@pytest.fixture(params=[False, True], ids=["RoomClient", "OwnRoomClient"])
def _rooms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``connect`` make rooms of each class."""
    if request.param:
        monkeypatch.setattr(importlib.import_module("meshsync.connect"), "RoomClient", OwnRoom)


def test_many_names_are_tried() -> None:
    """Those that a subclass would think of are among them."""
    assert len(names_of_ours()) > 500
    assert set(THOUGHT_OF.split()) - HOOKS <= set(vars(OwnMessaging))
    assert set(THOUGHT_OF.split()) - {"state"} <= set(vars(OwnRoom))


@pytest.mark.usefixtures("_rooms")
@pytest.mark.parametrize("messaging", [OwnMessaging, NoOther])
def test_client_whose_subclass_defines_our_names_works(messaging: type[MessagingClient]) -> None:
    """It enables, sends, receives by receiver and subscription, sees others come and go, and closes."""
    transport = ScriptedTransport(roster=[BOB])
    room = meshsync.connect(connector=ScriptedConnector(transport), default_timeout=PATIENCE, messaging=messaging)
    own, base, seen = room.messaging, MessagingClient, list[str]()
    assert type(own) is messaging
    for name in meshsync.signals.EVENTS:
        base.on(own, name, lambda event: seen.append(event.name))
    base.enable(own)
    (bob,) = base.remote_participants.fget(own)  # type: ignore[attr-defined]
    assert base.wait_for_participant(own, name="bob", timeout=PATIENCE) is bob
    base.send_message(own, bob, "chat", {"n": 1})
    with base.messages(own, "reply", bob) as replies:
        transport.say(Push("p-2", "reply", {"n": 2}), Push("p-2", "participant.disabled", {"id": "p-2"}))
        assert replies.get(PATIENCE).message == {"n": 2}
    assert room.stats().pending == 0
    assert repr(room).endswith("in 'lab': online>")
    room.close(PATIENCE)
    assert [type(request) for _, request in transport.requests] == [SetAttributes, Enable, Send]
    assert seen == ["messaging_enabled", "participant_added", "message", "participant_removed", "disconnected"]


class Stamping(MessagingClient):
    """Adds to each message that it is sent, wherever it came from."""

    def send_message_nowait(self, to: Any, type: Any = None, message: Any = None, *rest: Any, **options: Any) -> Any:
        return super().send_message_nowait(to, type, {**message, "stamp": 1}, *rest, **options)


@pytest.mark.parametrize("is_class", [True, False], ids=["of the class", "of the object"])
def test_a_blocking_send_goes_through_the_programs_own_sending(is_class: bool) -> None:
    """Be it a subclass's, or one that was put into the object, as a test of the program does."""
    transport = ScriptedTransport(roster=[BOB])
    factory = Stamping if is_class else MessagingClient
    room = meshsync.connect(connector=ScriptedConnector(transport), default_timeout=PATIENCE, messaging=factory)
    room.messaging.enable()
    if not is_class:
        plain = room.messaging.send_message_nowait

        def own(to: Any, type: Any, message: Any, *rest: Any, **options: Any) -> Any:
            return plain(to, type, {**message, "stamp": 1}, *rest, **options)

        room.messaging.send_message_nowait = own  # type: ignore[method-assign]
    room.messaging.send_message("p-2", "chat", {"n": 1})
    room.close(PATIENCE)
    assert transport.requests[-1][1] == Send("p-2", "chat", {"n": 1, "stamp": 1})


@pytest.mark.usefixtures("_rooms")
def test_loss_reaches_a_program_whose_subclass_defines_our_names() -> None:
    """A wait ends with the loss, and so does the client, which was not to come back."""
    transport = ScriptedTransport(roster=[BOB])
    room = meshsync.connect(
        connector=ScriptedConnector(transport), default_timeout=PATIENCE, messaging=NoOther, reconnect=False
    )
    MessagingClient.enable(room.messaging)
    transport.lose("reset by peer")
    with pytest.raises(meshsync.ConnectionLost, match="reset by peer"):
        MessagingClient.wait_for_message(room.messaging, "never", timeout=PATIENCE)
    with pytest.raises(meshsync.ConnectionLost, match="reset by peer"):
        room.wait_closed(PATIENCE)
    assert not room.is_connected


@pytest.mark.usefixtures("_rooms")
def test_subclasses_stream_and_send_in_a_simulation() -> None:
    """Messages, broadcasts and streams between two such clients, as between any; and both leave in order."""
    with simulated() as sim:
        demo, taken = sim.room("demo"), list[bytes]()
        bob = demo.join("bob", messaging=OwnMessaging)
        bob.messaging.enable(lambda reader: taken.append(reader.read_all()))
        alice = demo.join("alice", enable=True, messaging=OwnMessaging)
        to = alice.messaging.wait_for_participant(name="bob", timeout=10)
        with bob.messaging.messages() as messages:
            alice.messaging.send_message(to, "chat", {"n": 1}, b"\1")
            alice.messaging.broadcast_message("all", {"n": 2})
            assert [messages.get(10).message["n"] for _ in range(2)] == [1, 2]
        with alice.messaging.create_stream(to, {"kind": "x"}) as writer:
            writer.write(b"whole")
        alice.local_participant.set_attribute("mood", "calm")
        bob.messaging.wait_for_participant(where=lambda one: one.get_attribute("mood") == "calm", timeout=10)
        sim.sleep(1)
        alice.close()
        assert (taken, alice.is_connected, bob.is_connected) == ([b"whole"], False, True)


class StoringMessaging(MessagingClient):
    """Stores a runtime of its own under a name that our streams have for theirs."""

    def __init__(self, room: RoomClient) -> None:
        super().__init__(room)
        self._runtime = ThreadRuntime()


@pytest.mark.parametrize("messaging", [StoringMessaging, OwnMessaging])
def test_filtered_streams_of_a_subclass_that_defines_our_names(messaging: type[MessagingClient]) -> None:
    """They live in the client's runtime, from which the salt is drawn, whatever the subclass calls by that name."""
    filters, taken = [compression(), encryption(bytes(32))], list[bytes]()
    with simulated() as sim:
        demo = sim.room("demo")
        demo.join("bob", messaging=messaging).messaging.enable(
            lambda reader: taken.append(accept_filtered(reader, filters).read_all())
        )
        alice = demo.join("alice", enable=True, messaging=messaging)
        to = alice.messaging.wait_for_participant(name="bob", timeout=10)
        assert runtime_of(alice.messaging) is sim.runtime
        with open_filtered(alice.messaging.create_stream, to, {}, filters=filters) as writer:
            writer.write(b"whole")
        sim.sleep(1)
    assert taken == [b"whole"]


def test_what_only_our_code_called_is_not_there() -> None:
    """So ``room.open(5)`` on a healthy client cannot break it."""
    for facade in (RoomClient, MessagingClient):
        for name in ["open", "start", "handle", "end", "ended", "closing", "dispatch", "dropped", "connection"]:
            assert not hasattr(facade, name), name


def test_messaging_that_is_wrapped_and_not_subclassed_works() -> None:
    """What the factory returns is not called by anything, so it may be of any class."""

    class Wrapper:
        def __init__(self, inner: MessagingClient) -> None:
            self.inner = inner

    transport = ScriptedTransport()
    wrapped: Any = lambda room: Wrapper(MessagingClient(room))  # noqa: E731
    room = meshsync.connect(connector=ScriptedConnector(transport), messaging=wrapped)
    inner: Any = room.messaging
    inner.inner.enable(timeout=PATIENCE)
    with inner.inner.messages() as messages:
        transport.say(Push("p-2", "chat", {}))
        assert messages.get(PATIENCE).type == "chat"
    room.close(PATIENCE)


def test_client_lives_while_a_program_keeps_its_messaging_alone() -> None:
    """The room object may go: the reader keeps what matters, and the end of the process still says goodbye."""
    transport = ScriptedTransport(roster=[BOB])
    messaging = meshsync.connect(connector=ScriptedConnector(transport), default_timeout=PATIENCE).messaging
    messaging.enable()
    importlib.import_module("meshsync.connect")._close_all()
    assert transport.closes


def test_second_messaging_client_of_a_room_shares_the_first_ones() -> None:
    """It sees the same, and takes nothing away: signals and hooks stay with the first."""
    transport, senders = ScriptedTransport(roster=[BOB]), list[object]()
    room = meshsync.connect(connector=ScriptedConnector(transport), default_timeout=PATIENCE)
    second = MessagingClient(room)
    second.enable()
    assert room.messaging.is_enabled
    with meshsync.signals.disconnected.connected_to(lambda sender, event: senders.append(sender)):
        room.close(PATIENCE)
    assert senders == [room.messaging]
