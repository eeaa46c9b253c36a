"""What must hold of a whole client whatever a program does in its receivers, and whatever goes wrong with one call.

What needs a clock, many threads or the end of a process is in ``tests/threads/test_client_threads.py``.
"""

from __future__ import annotations

import gc
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import meshsync
from meshsync import MeshsyncError, MessagingClient, RoomClient, RoomMessage, RoomMessageEvent, signals
from meshsync.protocol.content import Error
from meshsync.signals import EVENTS
from simulator import Emulator
from tests.support.rooms import (
    PATIENCE,
    Ears,
    Join,
    finish,
    own_port,
    run,
    settle,
    start,
)
from tests.support.scripted_server import ScriptedPeer, ScriptedServer

Receiver = Callable[[RoomMessageEvent], Any]


def ask(asker: RoomClient, answerer: RoomClient, kind: str = "ask") -> None:
    """Send one message of a type."""
    asker.messaging.send_message(answerer.local_participant, kind, {}, timeout=PATIENCE)


# --- what a receiver may do -------------------------------------------------------------------------------------------


def test_receiver_can_send_and_wait_for_the_acknowledgement(join: Join) -> None:
    """A receiver that answers with a blocking send does not wait for itself."""
    alice, bob = join("alice"), join("bob")
    bob.messaging.on_message("ask", lambda event: bob.messaging.send_message(event.participant, "reply", {}))
    with alice.messaging.messages("reply") as replies:
        ask(alice, bob)
        assert replies.get(PATIENCE).from_participant_id == bob.local_participant.id


def test_receiver_can_broadcast_and_set_an_attribute(join: Join) -> None:
    """A receiver that sets an attribute and broadcasts is seen to do so."""
    alice, bob, heard = join("alice"), join("bob"), Ears()
    alice.messaging.on("participant_attributes_updated", heard)
    alice.messaging.on("message", heard)

    def receive(event: RoomMessageEvent) -> None:
        bob.local_participant.set_attribute("mood", "asked")
        bob.messaging.broadcast_message("done", {})

    bob.messaging.on_message("ask", receive)
    ask(alice, bob)
    assert [heard.next().message.type, heard.next().message.type] == ["participant.attributes", "done"]


def test_receiver_can_wait_for_a_message(join: Join) -> None:
    """A receiver that asks back and waits for the answer gets it, while it holds up all other receivers."""
    alice, bob, got = join("alice"), join("bob"), Ears()

    def receive(event: RoomMessageEvent) -> None:
        with bob.messaging.messages("second") as inbox:
            bob.messaging.send_message(event.participant, "go on", {})
            got(inbox.get(PATIENCE))

    bob.messaging.on_message("ask", receive)
    alice.messaging.on_message("go on", lambda event: ask(alice, bob, "second"))
    ask(alice, bob)
    assert got.next().type == "second"


def test_receiver_can_wait_for_a_participant(join: Join) -> None:
    """A receiver that waits for somebody to come sees him come."""
    alice, bob, got = join("alice"), join("bob"), Ears()
    bob.messaging.on_message("ask", lambda _: got(bob.messaging.wait_for_participant(name="carol", timeout=PATIENCE)))
    ask(alice, bob)
    join("carol")
    assert got.next().name == "carol"


def test_receiver_can_disable_and_enable_messaging(join: Join) -> None:
    """A receiver that leaves messaging and takes part again is out and in when the calls return."""
    alice, bob, got = join("alice"), join("bob"), Ears()

    def receive(event: RoomMessageEvent) -> None:
        bob.messaging.disable()
        got((bob.messaging.is_enabled, bob.messaging.remote_participants))
        bob.messaging.enable()
        got([participant.name for participant in bob.messaging.remote_participants])

    bob.messaging.on_message("ask", receive)
    ask(alice, bob)
    assert (got.next(), got.next()) == ((False, ()), ["alice"])


def test_receiver_can_close_its_client(join: Join) -> None:
    """``close()`` in a receiver begins to close and returns; the client then ends as ever, ``disconnected`` told."""
    alice, bob, removed, heard = join("alice"), join("bob"), Ears(), Ears()
    alice.messaging.on("participant_removed", removed)
    bob.messaging.on("disconnected", heard)

    def receive(event: RoomMessageEvent) -> None:
        bob.close()
        bob.close()
        heard(bob.is_connected)

    bob.messaging.on_message("ask", receive)
    ask(alice, bob)
    assert heard.next() is False
    assert bob.wait_closed(PATIENCE)
    assert (heard.next().name, removed.next().name) == ("disconnected", "participant_removed")
    bob.close()


def test_receiver_of_the_disconnection_can_close_and_connect_anew(join: Join, emulated: Emulator) -> None:
    """A receiver of ``disconnected`` may close the lost client and join again."""
    join("bob")
    alice, again = join("alice-to-lose"), Ears()

    def receive(event: RoomMessageEvent) -> None:
        alice.close()
        again(join("alice-anew"))

    alice.messaging.on("disconnected", receive)
    emulated.drop("alice-to-lose")
    assert again.next().messaging.get_participant_by_name("bob") is not None


# --- what can never end raises at once --------------------------------------------------------------------------------

ENDLESS_IN_A_RECEIVER: dict[str, Callable[[RoomClient], Any]] = {
    "close(wait=True)": lambda room: room.close(wait=True),
    "wait_closed()": lambda room: room.wait_closed(),
    "wait_closed(5)": lambda room: room.wait_closed(5),
}


@pytest.mark.parametrize("where", ["receiver", "signal", "hook"])
@pytest.mark.parametrize("call", ENDLESS_IN_A_RECEIVER)
def test_waiting_in_a_receiver_for_its_own_end_is_refused(join: Join, where: str, call: str) -> None:
    """Wherever the program's code is run by the client, waiting for the client's end raises, and changes nothing."""
    caught = Ears()

    def receive(*_: Any, **__: Any) -> None:
        try:
            ENDLESS_IN_A_RECEIVER[call](bob)
        except BaseException as error:
            caught(error)

    class Hooked(MessagingClient):
        def received(self, message: RoomMessage) -> RoomMessage | None:
            receive()
            return message

    bob = join("bob", messaging=Hooked if where == "hook" else MessagingClient)
    if where == "receiver":
        bob.messaging.on("message", receive)
    with signals.message.connected_to(receive if where == "signal" else Ears(), sender=bob.messaging):
        ask(bob, bob)
        error = caught.next()
    assert type(error) is meshsync.WouldDeadlock
    assert (error.retryable, error.connection_alive) == (False, True)
    ask(bob, bob)


ENDLESS_ON_THE_READER: dict[str, Callable[[RoomClient], Any]] = {
    "send_message": lambda room: room.messaging.send_message(ScriptedServer.BOB, "chat", {}),
    "broadcast_message": lambda room: room.messaging.broadcast_message("chat", {}),
    "wait of a delivery": lambda room: room.messaging.send_message_nowait(ScriptedServer.BOB, "chat", {}).wait(),
    "disable": lambda room: room.messaging.disable(),
    "wait_for_participant": lambda room: room.messaging.wait_for_participant(name="nobody"),
    "wait_for_message": lambda room: room.messaging.wait_for_message(),
    "get of a subscription": lambda room: room.messaging.messages().get(),
    "iterating": lambda room: next(room.messaging.messages()),
    "wait_closed": lambda room: room.wait_closed(),
    "close(wait=True)": lambda room: room.close(wait=True),
}


class Reacting(logging.Handler):
    """A log handler that does something at each warning, and lets out what that raises."""

    def __init__(self, reaction: Callable[[], Any]) -> None:
        super().__init__(logging.WARNING)
        self.reaction = reaction

    def emit(self, record: logging.LogRecord) -> None:
        self.reaction()


@pytest.fixture
def react() -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Return what makes a function run on the reader: it is called whenever the client logs."""
    handlers: list[Reacting] = []
    logger = logging.getLogger("meshsync")

    def react(reaction: Callable[[], Any]) -> None:
        handlers.append(Reacting(reaction))
        logger.addHandler(handlers[-1])

    yield react
    for handler in handlers:
        logger.removeHandler(handler)


def make_reader_log(wire: ScriptedPeer) -> None:
    """Send what a client does not know: its reader logs that it skipped it."""
    wire.say((9, "a type of another service", b""))


@pytest.mark.parametrize("call", ENDLESS_ON_THE_READER)
def test_blocking_on_the_reader_is_refused_at_once(
    server: ScriptedServer, react: Callable[[Callable[[], Any]], None], call: str
) -> None:
    """A log handler that blocks while the reader logs gets `WouldDeadlock`, lets it out, and the client lives on."""
    alice, wire = server.join()
    caught = Ears()

    def reaction() -> None:
        caught(threading.current_thread().name)
        try:
            ENDLESS_ON_THE_READER[call](alice)
        except BaseException as error:
            caught(error)
            raise

    react(reaction)
    make_reader_log(wire)
    assert caught.next().startswith("meshsync reader")
    assert type(caught.next()) is meshsync.WouldDeadlock
    with alice.messaging.messages() as inbox:
        wire.say(wire.push("chat", {"still": "alive"}))
        assert inbox.get(PATIENCE).message == {"still": "alive"}
    assert alice.is_connected
    alice.close(0)


def test_finalizer_that_blocks_on_the_reader_is_refused(
    server: ScriptedServer, react: Callable[[Callable[[], Any]], None]
) -> None:
    """An object whose ``__del__`` happens to run on the reader cannot hang it."""
    alice, wire = server.join()
    caught = Ears()

    class Farewell:
        def __del__(self) -> None:
            try:
                alice.messaging.send_message(ScriptedServer.BOB, "farewell", {})
            except MeshsyncError as error:
                caught(error)

    kept = [Farewell()]
    react(kept.clear)
    make_reader_log(wire)
    assert type(caught.next()) is meshsync.WouldDeadlock
    alice.close(0)


def test_what_does_not_block_works_on_the_reader(
    server: ScriptedServer, react: Callable[[Callable[[], Any]], None]
) -> None:
    """Sending without waiting, setting an attribute, reading what is there and closing do not block, so they work."""
    alice, wire = server.join()
    done = Ears()

    def reaction() -> None:
        alice.messaging.send_message_nowait(ScriptedServer.BOB, "chat", {})
        alice.local_participant.set_attribute("mood", "calm")
        alice.messaging.enable()
        alice.close()
        done(True)

    react(reaction)
    make_reader_log(wire)
    assert done.next()
    request_id, request = wire.read_send()
    assert request.type == "chat"
    wire.say(wire.answer(request_id))
    assert wire.read_close_code() == 1000
    assert alice.wait_closed(PATIENCE)


def test_log_handler_that_raises_costs_neither_receivers_nor_connection(
    join: Join, react: Callable[[Callable[[], Any]], None]
) -> None:
    """A log handler that fails while a receiver's failure is logged stops no other receiver."""
    alice, heard = join("alice"), Ears()
    alice.messaging.on("message", lambda event: 1 / 0)
    alice.messaging.on("message", heard)
    react(lambda: 1 / 0)
    for _ in range(2):
        ask(alice, alice)
        assert heard.next().name == "message"


# --- nothing is missed, nothing is taken for something else -----------------------------------------------------------


@pytest.mark.parametrize("order", ["reply first", "acknowledgement first"])
def test_reply_in_the_same_instant_as_the_acknowledgement_is_never_missed(server: ScriptedServer, order: str) -> None:
    """In 300 rounds, a reply that arrives in one piece with the acknowledgement reaches who subscribed before."""
    alice, wire = server.join()

    def answer() -> None:
        for n in range(300):
            request_id, _ = wire.read_send()
            pieces = [wire.push("reply", {"n": n}), wire.answer(request_id)]
            wire.say(*(pieces if order == "reply first" else reversed(pieces)))

    answering = start(answer)
    for n in range(300):
        with alice.messaging.messages("reply") as replies:
            alice.messaging.send_message(ScriptedServer.BOB, "ask", {}, timeout=PATIENCE)
            assert replies.get(PATIENCE).message == {"n": n}
    answering.result(PATIENCE)
    alice.close(0)


def test_no_reply_is_missed_in_many_rounds_with_a_real_peer(join: Join) -> None:
    """In 300 rounds, the reply of a peer that answers in its receiver is there after the blocking send."""
    alice, bob = join("alice"), join("bob")
    bob.messaging.on_message(
        "ask", lambda event: bob.messaging.send_message_nowait(event.participant, "reply", event.message.message)
    )
    for n in range(300):
        with alice.messaging.messages("reply", bob.local_participant) as replies:
            alice.messaging.send_message(bob.local_participant, "ask", {"n": n})
            assert replies.get(PATIENCE).message == {"n": n}


def test_enabling_is_done_when_the_roster_is_there(server: ScriptedServer) -> None:
    """The room's consent alone does not end ``enable``: who is there is known when it returns."""
    serving = start(server.accept)
    connecting = start(server.connect)
    wire = serving.result(PATIENCE)
    wire.greet()
    alice = connecting.result(PATIENCE)

    def enable() -> list[str]:
        alice.messaging.enable()
        return [participant.name for participant in alice.messaging.remote_participants]

    enabling = start(enable)
    wire.say(wire.answer(wire.read_enabling().id))
    for _ in range(3):  # round trips: the consent has long been read
        wire.ping(b"")
        wire.read()
    wire.say(wire.roster())
    assert enabling.result(PATIENCE) == ["bob"]
    alice.close(0)


def test_enabling_that_another_thread_undoes_at_once_still_returns(server: ScriptedServer) -> None:
    """Who waits for messaging to be enabled does not miss that it was, although another thread disabled it since."""
    serving = start(server.accept)
    connecting = start(server.connect)
    wire = serving.result(PATIENCE)
    wire.greet()
    alice = connecting.result(PATIENCE)
    enabling = [start(alice.messaging.enable, timeout=PATIENCE) for _ in range(2)]
    first, second = wire.read_enabling().id, wire.read_enabling().id
    wire.say(wire.roster())
    wire.say(wire.answer(second))
    while not alice.messaging.is_enabled:  # round trips
        wire.ping(b"")
        wire.read()
    disabling = start(alice.messaging.disable, timeout=PATIENCE)
    wire.say(wire.answer(first), wire.answer(wire.read_request().id))
    disabling.result(PATIENCE)
    for waiting in enabling:
        waiting.result(PATIENCE)
    alice.close(0)


def test_messages_named_like_events_are_only_messages(join: Join) -> None:
    """A peer that sends every event's name, and the wire's own types, fires ``message`` and ``on_message`` alone.

    All but ``dismiss``, by which it ends the client.
    """
    alice, bob, events, typed, signalled = join("alice"), join("bob"), Ears(), Ears(), Ears()
    kinds = [*EVENTS, "messaging.enable", "__response__", "room.status", "room_ready", "connected"]
    settle(bob)
    for name, signal in EVENTS.items():
        bob.messaging.on(name, events)
        signal.connect(signalled, sender=bob.messaging)
    for kind in kinds:
        bob.messaging.on_message(kind, typed)
        ask(alice, bob, kind)
    heard = [[ears.next() for _ in kinds] for ears in (events, typed, signalled)]
    expected = [("message", kind) for kind in kinds]
    assert [[(event.name, event.message.type) for event in part] for part in heard] == [expected] * 3
    ask(alice, bob, "disconnected")
    assert [ears.next().name for ears in (events, typed, signalled)] == ["message"] * 3
    assert events.is_silent and typed.is_silent and signalled.is_silent
    for signal in EVENTS.values():
        signal.disconnect(signalled)


def test_room_cannot_be_forged_by_a_peer(join: Join) -> None:
    """A message with one of the room's own types is refused by the emulator, and tells nobody anything."""
    alice, bob, heard = join("alice"), join("bob"), Ears()
    bob.messaging.on("participant_removed", heard)
    with pytest.raises(meshsync.RoomError, match=r"participant\.disabled"):
        alice.messaging.send_message(bob.local_participant, "participant.disabled", {"id": alice.local_participant.id})
    ask(alice, bob)
    assert heard.is_silent
    assert bob.messaging.get_participant_by_name("alice") is not None


def test_lambda_connected_to_a_signal_survives_garbage_collection(join: Join) -> None:
    """A lambda that nobody else keeps still hears, after a collection."""
    alice, heard = join("alice"), Ears()
    with signals.message.connected_to(Ears()):
        signals.message.connect(lambda sender, event: heard(event), sender=alice.messaging)
        gc.collect()
        ask(alice, alice)
        assert heard.next().message.type == "ask"


ORDER = """
import json, sys
import meshsync
order = []
url, token = sys.argv[1:]
with meshsync.connect(url=url, token=token) as room:
    room.messaging.enable()
    for n in range(10):
        meshsync.signals.message.connect(lambda sender, event, n=n: order.append(n))
    for n in range(10, 20):
        room.messaging.on("message", lambda event, n=n: order.append(n))
    room.messaging.send_message(room.local_participant, "chat", {})
print(json.dumps(order))
"""


def test_receivers_run_in_the_order_of_connecting_in_every_process(emulated: Emulator) -> None:
    """Ten receivers of a signal, and ten of a client, run in order in three processes with three hash seeds."""
    where = f"{emulated.url}/rooms/order", emulated.token("order", "alice")
    processes = [run(ORDER, *where, PYTHONHASHSEED=seed) for seed in ("0", "1", "20260101")]
    orders = [json.loads(finish(process, 30)) for process in processes]
    assert orders == [[*range(10, 20), *range(10)]] * 3


# --- each error by its class ------------------------------------------------------------------------------------------


def fails(kind: type[MeshsyncError], call: Callable[[], Any], *, retryable: bool, connection_alive: bool) -> Any:
    """Call, and return what it raised, which has to be of exactly that class and say exactly that."""
    with pytest.raises(MeshsyncError) as caught:
        call()
    error = caught.value
    assert type(error) is kind, repr(error)
    assert (error.retryable, error.connection_alive) == (retryable, connection_alive)
    assert str(error)
    return error


def test_wrong_token_is_an_authentication_failure(emulated: Emulator) -> None:
    """A token that was signed with another secret is refused; the next connect with a good one succeeds."""
    token = meshsync.ParticipantToken.for_room("lab", "eve").encode("some other secret, long enough to sign with")

    def join(token: str) -> RoomClient:
        return meshsync.connect("lab", url=emulated.url, token=token)

    error = fails(meshsync.AuthenticationFailed, lambda: join(token), retryable=False, connection_alive=False)
    assert error.http_status == 401
    assert token not in str(error)
    join(emulated.token("lab", "eve")).close()


def test_token_for_another_room_is_a_lack_of_permission(emulated: Emulator) -> None:
    """A genuine token does not admit to a room it does not name."""
    token = emulated.token("lab", "eve")
    error = fails(
        meshsync.PermissionDenied,
        lambda: meshsync.connect("vault", url=emulated.url, token=token),
        retryable=False,
        connection_alive=False,
    )
    assert error.http_status == 403
    meshsync.connect("lab", url=emulated.url, token=token).close()


def test_nothing_to_join_with_lists_what_was_looked_for(emulated: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without token, key or secret the error names every place that was looked at."""
    for name in ("MESHAGENT_TOKEN", "MESHAGENT_API_KEY", "MESHAGENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    error = fails(
        meshsync.AuthenticationFailed,
        lambda: meshsync.connect("lab", name="eve", url=emulated.url),
        retryable=False,
        connection_alive=False,
    )
    for name in ("token=", "api_key=", "MESHAGENT_TOKEN", "MESHAGENT_API_KEY", "MESHAGENT_SECRET"):
        assert name in str(error)


def test_nothing_listening_is_a_room_that_cannot_be_had_now(emulated: Emulator) -> None:
    """A refused connection may be tried again, when something listens."""
    port = own_port()
    closed = Emulator(port=port)
    with closed:
        url, token = closed.url, closed.token("lab", "eve")

    def join() -> RoomClient:
        return meshsync.connect("lab", url=url, token=token)

    error = fails(meshsync.RoomUnavailable, join, retryable=True, connection_alive=False)
    assert error.http_status is None
    with Emulator(port=port):
        join().close()


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (500, meshsync.RoomUnavailable, True),
        (503, meshsync.RoomUnavailable, True),
        (423, meshsync.RoomUnavailable, True),
        (429, meshsync.RoomUnavailable, True),
        (401, meshsync.AuthenticationFailed, False),
        (403, meshsync.PermissionDenied, False),
        (404, meshsync.RoomNotFound, False),
        (400, meshsync.ConnectFailed, False),
    ],
)
def test_refusal_by_status_tells_whether_to_come_back(
    server: ScriptedServer, status: int, kind: type[MeshsyncError], retryable: bool
) -> None:
    """Each HTTP status is one class that says whether trying again makes sense; the next attempt succeeds."""
    refusing = start(server.refuse, status)
    error = fails(kind, server.connect, retryable=retryable, connection_alive=False)
    refusing.result(PATIENCE)
    assert error.http_status == status
    alice, _ = server.join()
    alice.close(0)


@pytest.mark.parametrize("name", ["no room", "a/b", "a?b", "a#b", "50%", "..", "a\n", "x" * 300])
def test_name_that_is_not_a_room_name_is_refused_before_connecting(emulated: Emulator, name: str) -> None:
    """A name that would lead elsewhere than to a room is no room; nothing is sent, not even to find out."""
    error = fails(
        meshsync.RoomNotFound,
        lambda: meshsync.connect(name, url="ws://127.0.0.1:1", token=emulated.token("lab", "eve")),
        retryable=False,
        connection_alive=False,
    )
    assert error.http_status is None
    assert len(str(error)) < 400


def test_name_that_the_room_refuses_is_not_found(emulated: Emulator) -> None:
    """A name that passes here and not at the service is answered with 404."""
    token = emulated.token("-lab", "eve")
    error = fails(
        meshsync.RoomNotFound,
        lambda: meshsync.connect("-lab", url=emulated.url, token=token),
        retryable=False,
        connection_alive=False,
    )
    assert error.http_status == 404


@pytest.mark.parametrize("method", ["send_message", "send_message_nowait"])
@pytest.mark.parametrize("recipient", ["3f0c8a1e-0000-4000-8000-000000000000", "bob", "a name of nobody", "é"])
def test_unknown_recipient_is_not_found(join: Join, method: str, recipient: str) -> None:
    """An id of nobody, and a name in place of an id, are `ParticipantNotFound`; the next good send succeeds."""
    bob, alice = join("bob"), join("alice")

    def send() -> None:
        delivery = getattr(alice.messaging, method)(recipient, "chat", {})
        if delivery is not None:
            delivery.wait(PATIENCE)

    fails(meshsync.ParticipantNotFound, send, retryable=False, connection_alive=True)
    ask(alice, bob)


def test_participant_who_has_left_is_not_found(join: Join) -> None:
    """A message to somebody who left a moment ago fails by itself; the next good one succeeds."""
    carol, bob, alice = join("carol"), join("bob"), join("alice")
    gone = bob.local_participant
    bob.close()
    fails(
        meshsync.ParticipantNotFound,
        lambda: alice.messaging.send_message(gone, "chat", {}),
        retryable=False,
        connection_alive=True,
    )
    ask(alice, carol)


def test_other_refusal_of_the_room_is_a_room_error_with_its_code(server: ScriptedServer) -> None:
    """What the room refuses for another reason carries the room's text and number; the next send succeeds."""
    alice, wire = server.join()

    def refuse() -> None:
        wire.say(wire.answer(wire.read_send()[0], Error("not on Sundays", 1006)))
        wire.say(wire.answer(wire.read_send()[0]))

    refusing = start(refuse)

    def send() -> None:
        alice.messaging.send_message(ScriptedServer.BOB, "chat", {}, timeout=PATIENCE)

    error = fails(meshsync.RoomError, send, retryable=False, connection_alive=True)
    assert (str(error), error.code) == ("not on Sundays", 1006)
    send()
    refusing.result(PATIENCE)
    alice.close(0)


@pytest.mark.parametrize("method", ["send_message", "send_message_nowait", "broadcast_message", "set_attribute"])
def test_oversized_message_is_refused_before_sending(join: Join, method: str) -> None:
    """Five MB are more than a room takes: refused here, nothing sent, and the next message goes through."""
    bob, alice = join("bob"), join("alice")
    sent = alice.stats().packets_sent
    big = "x" * 5_000_000
    calls: dict[str, Callable[[], Any]] = {
        "send_message": lambda: alice.messaging.send_message(bob.local_participant, "chat", {"text": big}),
        "send_message_nowait": lambda: alice.messaging.send_message_nowait(
            bob.local_participant, "chat", {}, big.encode()
        ),
        "broadcast_message": lambda: alice.messaging.broadcast_message("chat", {}, big.encode()),
        "set_attribute": lambda: alice.local_participant.set_attribute("text", big),
    }
    error = fails(meshsync.InvalidMessage, calls[method], retryable=False, connection_alive=True)
    assert isinstance(error, ValueError)
    assert alice.stats().packets_sent == sent
    ask(alice, bob)


UNSERIALISABLE: dict[str, tuple[Any, str]] = {
    "not a number": ({"score": float("nan")}, r"message\['score'\]"),
    "infinity": ({"a": [1, {"b": float("inf")}]}, r"message\['a'\]\[1\]\['b'\]"),
    "a key that is no text": ({"a": {1: 2}}, r"message\['a'\]: the key 1"),
    "a set": ({"tags": {1}}, r"message\['tags'\]: set"),
    "bytes": ({"data": b"x"}, r"message\['data'\]: bytes"),
    "an object": ({"o": object()}, r"message\['o'\]: object"),
    "half a surrogate pair": ({"text": "\ud800"}, r"message\['text'\]"),
    "a list": ([1], r"message: list"),
    "a text": ("hi", r"message: str"),
    "nothing": (None, r"message: NoneType"),
}


@pytest.mark.parametrize("name", UNSERIALISABLE)
def test_unserialisable_message_is_refused_with_its_path(join: Join, name: str) -> None:
    """What JSON cannot carry raises with the path to it, in sends and broadcasts; the next message goes through."""
    alice = join("alice")
    message, path = UNSERIALISABLE[name]
    messaging = alice.messaging
    for call in (
        lambda: messaging.send_message(alice.local_participant, "chat", message),
        lambda: messaging.send_message({"to": alice.local_participant, "type": "chat", "message": message}),
        lambda: messaging.broadcast_message_nowait("chat", message),
    ):
        error = fails(meshsync.InvalidMessage, call, retryable=False, connection_alive=True)
        assert re.match(path, str(error))
    ask(alice, alice)


def test_message_within_itself_is_refused(join: Join) -> None:
    """A message that holds itself is refused and exhausts nothing."""
    alice = join("alice")
    message: dict[str, Any] = {}
    message["again"] = message
    fails(
        meshsync.InvalidMessage,
        lambda: alice.messaging.broadcast_message("chat", message),
        retryable=False,
        connection_alive=True,
    )
    ask(alice, alice)


@pytest.mark.parametrize("kind", ["", None, 7, b"chat"])
def test_type_that_is_no_text_is_refused(join: Join, kind: Any) -> None:
    """A message's type is a text of at least one character."""
    alice = join("alice")
    fails(
        meshsync.InvalidMessage,
        lambda: alice.messaging.send_message(alice.local_participant, kind, {}),
        retryable=False,
        connection_alive=True,
    )
    ask(alice, alice)


@pytest.mark.parametrize("state", ["never enabled", "disabled"])
def test_sending_while_not_enabled_is_refused_here(join: Join, state: str) -> None:
    """Before ``enable`` and after ``disable`` all sending raises `NotEnabled`, nothing goes out; enabling helps."""
    bob, alice = join("bob"), join("alice", enable=state == "disabled")
    to: Any = bob.local_participant
    if state == "disabled":
        to = alice.messaging.wait_for_participant(name="bob", timeout=PATIENCE)
        alice.messaging.disable()
    sent = alice.stats().packets_sent
    for call in (
        lambda: alice.messaging.send_message(to, "chat", {}),
        lambda: alice.messaging.send_message_nowait(to, "chat", {}),
        lambda: alice.messaging.broadcast_message("chat", {}),
        lambda: alice.messaging.broadcast_message_nowait("chat", {}),
    ):
        fails(meshsync.NotEnabled, call, retryable=False, connection_alive=True)
    assert alice.stats().packets_sent == sent
    alice.messaging.enable()
    ask(alice, bob)


def test_closed_client_refuses_everything_at_once(join: Join) -> None:
    """After ``close`` each call raises `ClientClosed`, also with objects from before; a new client can send."""
    bob, alice = join("bob"), join("alice")
    to = alice.messaging.wait_for_participant(name="bob", timeout=PATIENCE)
    alice.close()
    messaging = alice.messaging
    for call in (
        lambda: messaging.send_message(to, "chat", {}),
        lambda: messaging.send_message_nowait(bob.local_participant, "chat", {}),
        lambda: messaging.broadcast_message("chat", {}),
        messaging.enable,
        messaging.wait_for_participant,
        messaging.wait_for_message,
        lambda: alice.local_participant.set_attribute("mood", "calm"),
    ):
        fails(meshsync.ClientClosed, call, retryable=False, connection_alive=False)
    messaging.disable()
    fails(meshsync.ClientClosed, messaging.messages, retryable=False, connection_alive=False)
    assert (messaging.remote_participants, to.online) == ((), False)
    ask(join("alice"), bob)


def test_lost_client_refuses_everything_at_once(join: Join, emulated: Emulator) -> None:
    """After a loss for good, sends raise `NotSent` and waits `ConnectionLost`, also with objects from before."""
    bob, alice = join("bob"), join("alice-to-lose", reconnect=False)
    to = alice.messaging.wait_for_participant(name="bob", timeout=PATIENCE)
    emulated.drop("alice-to-lose")
    with pytest.raises(meshsync.ConnectionLost):
        alice.wait_closed(PATIENCE)
    messaging = alice.messaging
    for call in (
        lambda: messaging.send_message(to, "chat", {}),
        lambda: messaging.send_message_nowait(bob.local_participant, "chat", {}),
        lambda: messaging.broadcast_message("chat", {}),
        messaging.enable,
        lambda: alice.local_participant.set_attribute("mood", "calm"),
    ):
        fails(meshsync.NotSent, call, retryable=True, connection_alive=False)
    for wait in (
        messaging.wait_for_participant,
        messaging.wait_for_message,
        lambda: next(messaging.messages()),
    ):
        fails(meshsync.ConnectionLost, wait, retryable=False, connection_alive=False)
    assert alice.local_participant.get_attribute("mood") is None
    assert (alice.is_connected, messaging.is_enabled) == (False, False)
    ask(join("alice"), bob)


def test_wait_on_a_lost_client_is_possible_from_a_thread_that_took_over_the_readers_name(
    join: Join, emulated: Emulator
) -> None:
    """The system may give a dead thread's number to a new one; that one is not taken for the reader."""
    alice = join("alice-to-lose", reconnect=False)
    inbox = alice.messaging.messages()
    assert alice._meshsync.connection._reader_id is not None
    emulated.drop("alice-to-lose")
    with pytest.raises(meshsync.ConnectionLost):
        alice.wait_closed(PATIENCE)
    alice.close()
    assert alice._meshsync.connection._reader_id is None
    for _ in range(200):  # among which is one with that number, on most systems
        assert type(start(_error_of, inbox.get).result(PATIENCE)) is meshsync.ConnectionLost


def _error_of(call: Callable[[], Any]) -> MeshsyncError:
    """Return what a call raises."""
    with pytest.raises(MeshsyncError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"url": "https://example.test/rooms/a", "room": "b"}, "room 'a', not of 'b'"),
        ({"url": "ftp://example.test", "room": "b"}, "not an address"),
        ({"url": "ws://example.test"}, "no room to join"),
        ({"room": "b", "url": "ws://example.test", "api_key": "ma-key"}, "key"),
    ],
)
def test_arguments_that_do_not_fit_are_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], complaint: str
) -> None:
    """What cannot be meant is refused before anything is sent."""
    for name in ("ROOM", "TOKEN", "ROOM_URL", "API_URL"):
        monkeypatch.delenv(f"MESHAGENT_{name}", raising=False)
    token = None if "api_key" in arguments else meshsync.ParticipantToken.for_room("b", "eve").encode("s" * 32)
    with pytest.raises(MeshsyncError, match=complaint):
        meshsync.connect(**arguments, name="eve", token=token)


def test_environment_alone_is_enough_to_join(emulated: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variables that the emulator prints, only a name is needed."""
    for name in ("MESHAGENT_TOKEN", "MESHAGENT_ROOM_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**emulated.env, "MESHAGENT_ROOM": "from-env"}.items():
        monkeypatch.setenv(name, value)
    with meshsync.connect(name="alice") as room:
        assert (room.room_name, room.local_participant.name) == ("from-env", "alice")


# --- time limits ------------------------------------------------------------------------------------------------------


def test_time_limits_of_nothing_poll(server: ScriptedServer) -> None:
    """``timeout=0`` looks once: each call that finds nothing raises its own time-out, and the client lives."""
    alice, wire = server.join()
    messaging = alice.messaging
    delivery = messaging.send_message_nowait(ScriptedServer.BOB, "chat", {}, timeout=0)
    polls: list[tuple[type[MeshsyncError], bool, Callable[[], Any]]] = [
        (meshsync.SendTimeout, False, lambda: delivery.wait(0)),
        (meshsync.SendTimeout, False, lambda: messaging.send_message(ScriptedServer.BOB, "chat", {}, timeout=0)),
        (meshsync.SendTimeout, False, lambda: messaging.broadcast_message("chat", {}, timeout=0)),
        (meshsync.SendTimeout, False, lambda: messaging.disable(timeout=0)),
        (meshsync.ReceiveTimeout, True, lambda: messaging.messages().get(0)),
        (meshsync.ReceiveTimeout, True, lambda: messaging.wait_for_message(timeout=0)),
        (meshsync.ReceiveTimeout, True, lambda: messaging.wait_for_participant(name="nobody", timeout=0)),
    ]
    for kind, retryable, call in polls:
        error = fails(kind, call, retryable=retryable, connection_alive=True)
        assert isinstance(error, TimeoutError)
    assert list(messaging.messages(timeout=0)) == []
    assert alice.wait_closed(0) is False
    assert messaging.get_participant(ScriptedServer.BOB) is messaging.wait_for_participant(name="bob", timeout=0)
    wire.say(wire.answer(wire.read_send()[0]))
    delivery.wait(PATIENCE)
    alice.close(0)


def test_default_time_limit_of_a_client_holds_for_its_calls(server: ScriptedServer) -> None:
    """``default_timeout=`` limits every call that is not given a limit of its own."""
    serving = start(server.serve)
    alice = server.connect(default_timeout=PATIENCE)
    alice.messaging.enable()
    serving.result(PATIENCE)
    alice.default_timeout = 0
    fails(
        meshsync.SendTimeout,
        lambda: alice.messaging.send_message(ScriptedServer.BOB, "chat", {}),
        retryable=False,
        connection_alive=True,
    )
    alice.close(0)


def test_late_acknowledgement_is_ignored(server: ScriptedServer) -> None:
    """An answer that comes after its sender gave up disturbs nothing; the next send gets its own."""
    alice, wire = server.join()
    with pytest.raises(meshsync.SendTimeout):
        alice.messaging.send_message(ScriptedServer.BOB, "1", {}, timeout=0)
    late, _ = wire.read_send()

    def answer() -> None:
        mine, _ = wire.read_send()
        wire.say(wire.answer(late, Error("too late", 1003)), wire.answer(mine))

    answering = start(answer)
    alice.messaging.send_message(ScriptedServer.BOB, "2", {}, timeout=PATIENCE)
    answering.result(PATIENCE)
    assert alice.stats().pending == 0
    alice.close(0)
