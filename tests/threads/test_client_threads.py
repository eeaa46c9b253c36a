"""Whole clients under many threads, interrupts, stalls and crashes, with real clocks and real processes.

Nothing has to be quick: what comes is waited for, and only what must not come sooner is timed, from before it began.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from websockets.frames import Opcode

import meshsync
from meshsync import MeshsyncError, MessagingClient, RoomClient
from meshsync.protocol.codec import decode_request
from meshsync.protocol.operations import Enable, Send, SetAttributes
from simulator import Emulator
from tests.support.rooms import PATIENCE, ROOT, Ears, Join, finish, run, start
from tests.support.scripted_server import ScriptedPeer, ScriptedServer
from tests.support.waiting import EARLY

posix = pytest.mark.skipif(os.name != "posix", reason="needs signals, or fork")
BOB = ScriptedServer.BOB


class Answering:
    """Serves one connection in a thread: answers every request and keeps it, but is silent to what it is told."""

    def __init__(self, wire: ScriptedPeer, *, silent: tuple[str, ...] = ()) -> None:
        self.wire = wire
        self.silent = frozenset(silent)
        self.sends: list[Send] = []
        self.ids: list[int] = []
        self.told = threading.Condition()
        self._unanswered: list[int] = []
        self.serving = start(self._serve)

    def _serve(self) -> None:
        wire = self.wire
        while True:
            try:
                message = wire.read_message()
            except (AssertionError, OSError):
                return
            batch = [message, *wire.take_messages()]
            answers = []
            for message in batch:
                request = decode_request(message)
                self.ids.append(message.id)
                if getattr(request, "type", type(request).__name__) in self.silent:
                    self._unanswered.append(message.id)
                elif isinstance(request, Enable):
                    wire.enable(message.id)
                elif not isinstance(request, SetAttributes):
                    answers.append(wire.answer(message.id))
                if isinstance(request, Send):
                    self.sends.append(request)
            with self.told:
                self.told.notify_all()
            try:
                wire.say(*answers)
            except OSError:
                return

    def wait_for(self, kind: str, count: int = 1) -> None:
        """Wait until so many messages of a type have come."""
        with self.told:
            assert self.told.wait_for(lambda: sum(send.type == kind for send in self.sends) >= count, PATIENCE)

    def answer_the_rest(self) -> None:
        """Answer what it was silent to."""
        unanswered, self._unanswered = self._unanswered, []
        self.wire.say(*(self.wire.answer(id) for id in unanswered))

    def by_type(self) -> dict[str, list[int]]:
        """Return the numbers in the messages, by type, in order of arrival; a torn message fails."""
        numbers: dict[str, list[int]] = {}
        for request in self.sends:
            n = request.message["n"]
            assert bytes(request.attachment) == payload(n)
            numbers.setdefault(request.type, []).append(n)
        return numbers


def payload(n: int) -> bytes:
    """Return an attachment that shows by itself whether it arrived whole; some span several packets."""
    return n.to_bytes(4, "big") * (1 + n % 7 * 100)


def interrupt(thread: threading.Thread, error: type[BaseException] | None = KeyboardInterrupt) -> None:
    """Raise an exception in a thread, at whatever it does next in Python; None takes back one not yet raised."""
    what = ctypes.py_object() if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), what)


def await_waiting(ident: int | None) -> None:
    """Return when a thread waits for an acknowledgement; before that, what strikes it may strike it while it sends."""
    names: list[str] = []
    while "send_message" not in names or "request" in names or names[0] not in ("wait", "_acquire_heeding_signals"):
        time.sleep(0.01)
        frame = sys._current_frames().get(ident or 0)
        names = []
        while frame is not None:
            names.append(frame.f_code.co_name)
            frame = frame.f_back


def await_frame(thread: threading.Thread, function: Callable[..., object]) -> None:
    """Return when a thread waits inside a function: that one, whatever it is called."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        frame, codes = sys._current_frames().get(thread.ident or 0), []
        while frame is not None:
            codes.append(frame.f_code)
            frame = frame.f_back
        if codes and codes[0].co_name in ("wait", "_acquire_heeding_signals") and function.__code__ in codes:
            return
        time.sleep(0.005)
    raise AssertionError(f"the thread does not wait in {function.__qualname__}")


def send_many(room: RoomClient, kind: str, count: int) -> None:
    """Send numbered messages, a few of them without waiting, and wait for all acknowledgements."""
    deliveries = []
    for n in range(count):
        if n % 10 == 9:
            room.messaging.send_message(BOB, kind, {"n": n}, payload(n), timeout=30)
        else:
            deliveries.append(room.messaging.send_message_nowait(BOB, kind, {"n": n}, payload(n), timeout=30))
    for delivery in deliveries:
        delivery.wait(30)


@pytest.fixture
def served(server: ScriptedServer) -> Iterator[Callable[..., tuple[RoomClient, Answering]]]:
    """Return what makes a client that takes part, and the thread that serves it."""
    rooms: list[RoomClient] = []

    def serve(**options: Any) -> tuple[RoomClient, Answering]:
        room, wire = server.join()
        rooms.append(room)
        return room, Answering(wire, **options)

    yield serve
    for room in rooms:
        room.close(0)


Served = Callable[..., tuple[RoomClient, Answering]]


def ours() -> set[threading.Thread]:
    """Return the threads of clients that are alive; those of a test are those that were not there before."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("meshsync")}


# --- many threads, one client -----------------------------------------------------------------------------------------


def test_fifty_threads_share_a_client_while_one_is_interrupted_and_one_times_out(served: Served) -> None:
    """50 threads send 200 messages each: all arrive, none torn, each thread's in order, whatever befell two others.

    Ids are given in the order on the wire, on which telling the sent from the unsent rests.
    """
    room, server = served(silent=("interrupted", "unanswered"))
    caught: Future[BaseException] = Future()

    def be_interrupted() -> None:
        try:
            room.messaging.send_message(BOB, "interrupted", {"n": 0}, payload(0), timeout=None)
        except BaseException as error:
            caught.set_result(error)

    victim = threading.Thread(target=be_interrupted)
    victim.start()
    late = start(room.messaging.send_message, BOB, "unanswered", {"n": 0}, payload(0), timeout=2.0)
    server.wait_for("unanswered")
    senders = [start(send_many, room, f"thread {i}", 200) for i in range(50)]
    server.wait_for("interrupted")
    await_waiting(victim.ident)
    interrupt(victim)
    assert isinstance(late.exception(PATIENCE), meshsync.SendTimeout)
    for sender in senders:
        sender.result(30)
    server.answer_the_rest()
    assert type(caught.result(PATIENCE)) is KeyboardInterrupt
    numbers = server.by_type()
    assert {kind: n for kind, n in numbers.items() if n == list(range(200))}.keys() == {
        f"thread {i}" for i in range(50)
    }
    assert numbers.keys() >= {"interrupted", "unanswered"}
    assert server.ids == sorted(server.ids)
    room.messaging.send_message(BOB, "after", {"n": 0}, payload(0), timeout=PATIENCE)


def test_fifty_threads_reach_a_real_peer_in_order(join: Join) -> None:
    """Over the emulator, too: 10,000 messages of 50 threads arrive whole and in each thread's order."""
    alice, bob = join("alice"), join("bob")

    def send(kind: str) -> None:
        sends = [alice.messaging.send_message_nowait(bob.local_participant, kind, {"n": n}) for n in range(200)]
        for delivery in sends:
            delivery.wait(30)

    with bob.messaging.messages(maxsize=10_000) as inbox:
        for sender in [start(send, str(i)) for i in range(50)]:
            sender.result(30)
        received: dict[str, list[int]] = {}
        for _ in range(10_000):
            message = inbox.get(PATIENCE)
            received.setdefault(message.type, []).append(message.message["n"])
    assert received == {str(i): list(range(200)) for i in range(50)}


MAIN_INTERRUPTED = """
import sys, threading
import meshsync
from tests.threads.test_client_threads import BOB, await_waiting, payload, send_many
from tests.support.rooms import start
room = meshsync.connect(url=sys.argv[1], token=sys.argv[2])
room.messaging.enable()
senders = [start(send_many, room, f"thread {i}", 200) for i in range(50)]
main = threading.get_ident()
start(lambda: (await_waiting(main), print("waits", flush=True)))
try:
    room.messaging.send_message(BOB, "interrupted", {"n": 0}, payload(0), timeout=None)
except KeyboardInterrupt:
    print("interrupted", flush=True)
for sender in senders:
    sender.result(30)
print(room.is_connected)
room.close(0.2)
"""


@posix
def test_interrupt_of_the_main_thread_costs_the_others_nothing(server: ScriptedServer) -> None:
    """Ctrl-C in the main thread, while it waits for an acknowledgement, leaves 50 sending threads alone."""
    token = meshsync.ParticipantToken.for_room("demo", "alice").encode("s" * 32)
    process = run(MAIN_INTERRUPTED, server.url, token)
    answering = Answering(server.serve(), silent=("interrupted",))
    answering.wait_for("interrupted")
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    process.send_signal(signal.SIGINT)
    assert finish(process, 40).split() == ["interrupted", "True"]
    numbers = answering.by_type()
    del numbers["interrupted"]
    assert numbers == {f"thread {i}": list(range(200)) for i in range(50)}


HAIL = """
import json, random, sys, threading, time
import meshsync
from tests.support.rooms import start
from tests.threads.test_client_threads import _suffer, interrupt, send_many
draw = random.Random(20260101)
for _ in range(int(sys.argv[3])):
    room = meshsync.connect(url=sys.argv[1], token=sys.argv[2], reconnect=False)
    room.messaging.enable()
    is_over = threading.Event()
    victim = threading.Thread(target=_suffer, args=(room, is_over), daemon=True)
    victim.start()
    senders = [start(send_many, room, f"thread {i}", 60) for i in range(4)]
    limit = time.monotonic() + 10  # so that a hail which lets nobody through ends, too
    while any(not sender.done() for sender in senders) and time.monotonic() < limit:
        time.sleep(draw.random() * 0.004)
        interrupt(victim, ZeroDivisionError)
    interrupt(victim, None)
    is_over.set()
    victim.join(30)
    outcomes = [type(sender.exception(30)).__name__ for sender in senders]
    room.close(1)
    print(json.dumps([victim.is_alive(), *outcomes]), flush=True)
"""


def test_hail_of_interrupts_hangs_nobody_and_tears_nothing(server: ScriptedServer) -> None:
    """Wherever exceptions strike one sender, the others are through or told of the loss; what arrives is whole."""
    token = meshsync.ParticipantToken.for_room("demo", "alice").encode("s" * 32)
    rounds = 12
    # In a process of its own: what strikes a finalizer there is printed, and pytest would take it for a failure.
    process = run(HAIL, server.url, token, str(rounds))
    all_numbers = []
    for _ in range(rounds):
        answering = Answering(server.serve())
        answering.serving.result(30)
        all_numbers.append(answering.by_type())
    lines = finish(process).splitlines()
    for numbers, (is_alive, *outcomes) in zip(all_numbers, map(json.loads, lines), strict=True):
        assert not is_alive
        assert {*outcomes} <= {"NoneType", "NotSent", "DeliveryUnknown"}
        for i, outcome in enumerate(outcomes):
            arrived = numbers.get(f"thread {i}", [])
            assert arrived == list(range(len(arrived)))
            assert outcome != "NoneType" or len(arrived) == 60


def _suffer(room: RoomClient, is_over: threading.Event) -> None:
    """Send, however often that is interrupted, until it is over."""
    while not is_over.is_set():
        try:
            while not is_over.is_set():  # Two loops: an exception may strike between one's handler and its next turn.
                try:
                    room.messaging.send_message(BOB, "victim", {"n": 7}, payload(7), timeout=PATIENCE)
                except ZeroDivisionError:
                    pass
                except meshsync.ConnectionLost:
                    is_over.wait(0.001)
        except ZeroDivisionError:
            pass


def test_attributes_set_by_many_threads_are_all_there(join: Join) -> None:
    """40 threads set 5 attributes each: the owner and another participant see all 200."""
    alice, bob = join("alice"), join("bob")

    def paint(i: int) -> None:
        for n in range(5):
            alice.local_participant.set_attribute(f"{i}.{n}", n)

    for painter in [start(paint, i) for i in range(40)]:
        painter.result(PATIENCE)
    assert len(alice.local_participant.attributes) == 1 + 200
    seen = bob.messaging.wait_for_participant(where=lambda p: len(p.attributes) == 201, timeout=PATIENCE)
    assert seen.attributes == alice.local_participant.attributes


# --- a server that stops reading --------------------------------------------------------------------------------------


@pytest.fixture
def stalled(server: ScriptedServer) -> Iterator[tuple[RoomClient, ScriptedPeer]]:
    """Return a client whose server reads nothing, with so much sent that its buffer is full. A loss is its end."""
    server.shrink_buffers()
    room, wire = server.join(reconnect=False)
    with pytest.raises(meshsync.SendTimeout) as caught:
        while True:
            room.messaging.send_message_nowait(BOB, "flood", {}, bytes(60_000), timeout=0)
    assert caught.value.retryable
    yield room, wire
    room.close(0)


def test_stalled_server_blocks_only_senders_and_those_up_to_their_time_limits(
    stalled: tuple[RoomClient, ScriptedPeer],
) -> None:
    """While nothing can be sent, messages still come in and are dispatched; sends end at their own limits."""
    room, wire = stalled
    heard = Ears()
    room.messaging.on_message("news", heard)

    def send(limit: float | None) -> tuple[bool, float]:
        begun = time.monotonic()
        with pytest.raises(MeshsyncError) as caught:
            room.messaging.send_message(BOB, "late", {}, bytes(60_000), timeout=limit)
        return type(caught.value) is meshsync.SendTimeout and caught.value.retryable, time.monotonic() - begun

    limits = [0.2, 0.4, 0.6]
    unlimited = start(send, None)
    senders = [start(send, limit) for limit in limits]
    with room.messaging.messages() as inbox:
        for n in range(50):
            wire.say(wire.push("news", {"n": n}))
            assert inbox.get(PATIENCE).message == heard.next().message.message == {"n": n}
        assert room.messaging.wait_for_participant(name="bob", timeout=0).id == BOB
        assert room.stats().bytes_buffered > 500_000
    for limit, sender in zip(limits, senders, strict=True):
        was_retryable, elapsed = sender.result(PATIENCE)
        assert was_retryable
        assert elapsed >= limit - EARLY
    assert not unlimited.done()


def test_ping_of_a_stalled_server_is_answered_before_what_waits(stalled: tuple[RoomClient, ScriptedPeer]) -> None:
    """A server that pings and then reads again finds the pong ahead of the data that waited."""
    room, wire = stalled
    with room.messaging.messages("behind") as inbox:
        wire.ping(b"are you there?")
        wire.say(wire.push("behind", {}))
        inbox.get(PATIENCE)  # so that the reader has taken the ping, too, while nothing can be written
    last = start(room.messaging.send_message_nowait, BOB, "last", {}, timeout=PATIENCE)
    while wire.read_send()[1].type != "last":
        pass
    last.result(PATIENCE)
    kinds = [frame.opcode for frame in wire.frames]
    behind = wire.frames[kinds.index(Opcode.PONG) + 1 :]
    assert [bytes(frame.data) for frame in wire.frames if frame.opcode is Opcode.PONG] == [b"are you there?"]
    assert sum(len(frame.data) for frame in behind) > 500_000


def test_senders_go_on_when_a_stalled_server_reads_again(stalled: tuple[RoomClient, ScriptedPeer]) -> None:
    """A send that waits for room gets it, and its acknowledgement, as soon as the server reads and answers."""
    room, wire = stalled
    sender = start(room.messaging.send_message, BOB, "late", {"n": 0}, bytes(60_000), timeout=PATIENCE)
    while not room._meshsync.connection.stats().traffic.waiting_senders:
        time.sleep(0.01)
    assert not sender.done()
    answering = Answering(wire)
    sender.result(PATIENCE)
    assert answering.sends[-1].type == "late"


def test_interrupted_wait_for_room_leaves_the_turn_to_others(stalled: tuple[RoomClient, ScriptedPeer]) -> None:
    """A sender that is interrupted while it waits for room, or for its turn, is out of everybody's way."""
    room, wire = stalled
    results = [Ears(), Ears()]

    def be_interrupted(told: Ears) -> None:
        for _ in range(2):
            try:
                room.messaging.send_message(BOB, "interrupted", {"n": 0}, bytes(200_000), timeout=1.0)
            except BaseException as error:
                told(type(error))

    victims = [threading.Thread(target=be_interrupted, args=(told,)) for told in results]
    for victim in victims:
        victim.start()
    for victim in victims:
        await_frame(victim, MessagingClient.send_message)
    for victim in victims:
        interrupt(victim)
    for told in results:
        assert {told.next(), told.next()} <= {KeyboardInterrupt, meshsync.SendTimeout}
    for victim in victims:
        victim.join(PATIENCE)
    sender = start(room.messaging.send_message, BOB, "late", {"n": 0}, payload(0), timeout=PATIENCE)
    answering = Answering(wire)
    sender.result(PATIENCE)
    assert answering.sends[-1].type == "late"


# --- a server that dies -----------------------------------------------------------------------------------------------


def test_death_of_the_server_is_known_to_everybody(
    stalled: tuple[RoomClient, ScriptedPeer],
) -> None:
    """Blocked sends, subscriptions and waits each end with the right class; after that, calls raise at once."""
    room, wire = stalled
    messaging, heard = room.messaging, Ears()
    messaging.on("disconnected", heard)
    inbox = messaging.messages("news")
    waiting: list[tuple[type[MeshsyncError], Future[Any]]] = [
        (meshsync.NotSent, start(messaging.send_message, BOB, "late", {}, bytes(60_000), timeout=None)),
        (meshsync.NotSent, start(messaging.broadcast_message, "late", {}, bytes(60_000), timeout=None)),
        (meshsync.NotSent, start(messaging.disable, timeout=None)),
        (meshsync.ConnectionLost, start(messaging.wait_for_participant, name="nobody")),
        (meshsync.ConnectionLost, start(messaging.wait_for_message, "nothing")),
    ]
    wire.say(wire.push("news", {"n": 0}), wire.push("news", {"n": 1}))
    reading = start(list_until_error, inbox)
    with messaging.messages("last") as last:
        wire.say(wire.push("last", {}))
        last.get(PATIENCE)  # What was not read when the reset comes is lost.
    time.sleep(0.2)  # So that all of them wait as a rule; who does not yet is told the same.
    wire.cut()
    for kind, future in waiting:
        assert type(future.exception(PATIENCE)) is kind
    messages, error = reading.result(PATIENCE)
    assert [message.message["n"] for message in messages] == [0, 1]
    assert type(error) is meshsync.ConnectionLost
    with pytest.raises(meshsync.ConnectionLost):
        room.wait_closed(PATIENCE)
    with pytest.raises(meshsync.NotSent):
        messaging.send_message(BOB, "later", {})
    assert type(heard.next(0).error) is meshsync.ConnectionLost
    assert heard.is_silent


def list_until_error(inbox: meshsync.Subscription) -> tuple[list[meshsync.RoomMessage], MeshsyncError | None]:
    """Return all messages of a subscription and what it raised in the end."""
    messages = []
    try:
        for message in inbox:
            messages.append(message)
    except MeshsyncError as error:
        return messages, error
    return messages, None


def test_loss_tells_what_was_never_sent_from_what_may_have_arrived(server: ScriptedServer) -> None:
    """Of deliveries under way, those with bytes on the wire are `DeliveryUnknown`, the others are safe to repeat."""
    server.shrink_buffers()
    room, wire = server.join(reconnect=False)
    first = room.messaging.send_message_nowait(BOB, "first", {})
    wire.read_send()
    deliveries = []
    with pytest.raises(meshsync.SendTimeout):
        while True:
            deliveries.append(room.messaging.send_message_nowait(BOB, "flood", {}, bytes(60_000), timeout=0))
    wire.cut()
    with pytest.raises(meshsync.ConnectionLost):
        room.wait_closed(PATIENCE)
    kinds = [type(delivery.error) for delivery in deliveries]
    border = kinds.index(meshsync.NotSent)
    assert type(first.error) is meshsync.DeliveryUnknown
    assert set(kinds[:border]) == {meshsync.DeliveryUnknown}
    assert set(kinds[border:]) == {meshsync.NotSent}
    assert [d.error.retryable for d in (first, deliveries[-1]) if d.error] == [False, True]
    room.close(0)


def test_killed_emulator_ends_a_conversation() -> None:
    """With the emulator's process killed under ten senders, each is told, waits end, ``disconnected`` fires once."""
    command = [sys.executable, "-m", "simulator", "serve", "--port", "0", "--json"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    clients = [
        meshsync.connect("demo", name=n, url=told["url"], api_key=told["env"]["MESHAGENT_API_KEY"], reconnect=False)
        for n in "ab"
    ]
    a, b = clients
    heard = Ears()
    for client in clients:
        client.messaging.enable()
        client.messaging.on("disconnected", heard)

    def send() -> MeshsyncError:
        with pytest.raises(MeshsyncError) as caught:
            while True:
                a.messaging.send_message(b.local_participant, "chat", {})
        return caught.value

    senders = [start(send) for _ in range(10)]
    reading = start(list_until_error, b.messaging.messages(maxsize=1_000_000))
    with b.messaging.messages("chat") as some:
        for _ in range(20):
            some.get(PATIENCE)
    process.kill()
    assert {type(sender.result(PATIENCE)) for sender in senders} <= {meshsync.NotSent, meshsync.DeliveryUnknown}
    messages, error = reading.result(PATIENCE)
    assert len(messages) > 10
    assert type(error) is meshsync.ConnectionLost
    for client in clients:
        with pytest.raises(meshsync.ConnectionLost):
            client.wait_closed(PATIENCE)
    assert {heard.next(0).message.message["will_retry"], heard.next(0).message.message["will_retry"]} == {False}
    assert heard.is_silent
    process.wait(PATIENCE)
    process.stdout.close()


@pytest.mark.parametrize("code", [1000, 1001, 1011])
def test_goodbye_of_the_server_is_told_with_its_code_and_reason(server: ScriptedServer, code: int) -> None:
    """A server that closes in order is a loss too, of which code and reason are known."""
    room, wire = server.join(reconnect=False)
    unanswered = start(room.messaging.send_message, BOB, "chat", {}, timeout=None)
    wire.read_send()
    wire.close(code, "closing time")
    error = unanswered.exception(PATIENCE)
    assert type(error) is meshsync.DeliveryUnknown
    assert (error.code, error.reason, error.clean) == (code, "closing time", True)
    assert "closing time" in str(error)
    with pytest.raises(meshsync.ConnectionLost, match="closing time"):
        room.wait_closed(PATIENCE)
    room.close()


# --- ending -----------------------------------------------------------------------------------------------------------

NEVER_CLOSED = """
import os, signal, sys, threading, time
import meshsync
room = meshsync.connect(url=sys.argv[1], token=sys.argv[2])
room.messaging.enable()
"""
ENDINGS = {
    "falling off the end": ("pass", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "an exception": ("raise LookupError('no such thing')", 1),
    "a thread that goes on for a while": ("threading.Thread(target=time.sleep, args=(0.2,)).start()", 0),
    "a receiver that never returns": (
        "room.messaging.on('participant_added', lambda _: time.sleep(60))\n"
        "room.messaging.disable(); room.messaging.enable()",
        0,
    ),
    "a subscription that is being read elsewhere": (
        "threading.Thread(target=list, args=(room.messaging.messages(),), daemon=True).start()",
        0,
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_script_that_never_closes_exits_and_says_goodbye(server: ScriptedServer, ending: str) -> None:
    """However a script ends that forgot to close, it ends soon, and the server gets a regular close frame."""
    code, status = ENDINGS[ending]
    process, answering = _script(server, NEVER_CLOSED + code)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, errors
    answering.serving.result(PATIENCE)
    assert answering.wire.read_close_code() == 1000
    assert "meshsync" not in errors.replace("meshsync.connect", "")


def _script(server: ScriptedServer, script: str) -> tuple[subprocess.Popen[str], Answering]:
    """Start a script that connects and takes part, and serve it."""
    token = meshsync.ParticipantToken.for_room("demo", "alice").encode("s" * 32)
    process = run(script, server.url, token)
    return process, Answering(server.serve())


@posix
@pytest.mark.parametrize("call", ["room.wait_closed()", "room.messaging.wait_for_message()", "time.sleep(60)"])
def test_script_that_is_interrupted_ends_and_says_goodbye(server: ScriptedServer, call: str) -> None:
    """Ctrl-C ends a script that waits for ever, with or without ``with``, and its peers see it leave."""
    script = f"{NEVER_CLOSED}\nwith room:\n    room.messaging.send_message_nowait('p-2', 'ready', {{}})\n    {call}"
    process, answering = _script(server, script)
    answering.wait_for("ready")
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode in (-signal.SIGINT, 130), errors
    assert "KeyboardInterrupt" in errors
    answering.serving.result(PATIENCE)
    assert answering.wire.read_close_code() == 1000


def test_closing_ends_every_thread(join: Join, emulated: Emulator) -> None:
    """After ``close`` no thread of the client's is alive: closed from outside, from a receiver, after a loss."""

    class Hooked(meshsync.MessagingClient):
        def received(self, message: meshsync.RoomMessage) -> meshsync.RoomMessage:
            return message

    before = ours()
    first, second, third = join("one"), join("two", messaging=Hooked), join("three-to-lose", reconnect=False)
    assert len(ours() - before) == 7
    first.close()
    assert len(ours() - before) == 5
    second.messaging.on("participant_removed", lambda _: second.close())
    emulated.drop("three-to-lose")
    assert second.wait_closed(PATIENCE)
    with pytest.raises(meshsync.ConnectionLost):
        third.wait_closed(PATIENCE)
    second.close()
    third.close()
    assert ours() <= before


def test_attempts_that_fail_leave_no_thread(server: ScriptedServer, emulated: Emulator) -> None:
    """Refused, unbelieved, or never greeted: a failed ``connect`` leaves nothing behind."""
    before = ours()
    refusing = start(server.refuse, 500)
    with pytest.raises(meshsync.RoomUnavailable):
        server.connect()
    refusing.result(PATIENCE)
    accepting = start(server.accept)
    with pytest.raises(meshsync.ConnectTimeout):
        server.connect(timeout=1.0)
    accepting.result(PATIENCE)
    with pytest.raises(meshsync.AuthenticationFailed):
        meshsync.connect("lab", url=emulated.url, token=meshsync.ParticipantToken.for_room("lab", "a").encode("s" * 32))
    assert ours() <= before


THREADS = """
import json, sys, threading
import meshsync
room = meshsync.connect(url=sys.argv[1], token=sys.argv[2])
room.messaging.enable()
room.messaging.on("disconnected", lambda event: print("disconnected"))
print(len(threading.enumerate()))
room.close()
print([thread.name for thread in threading.enumerate()])
"""


def test_process_has_only_its_own_threads_after_closing(emulated: Emulator) -> None:
    """In a process of its own, a client has two threads while it is open and none after ``close``."""
    output = finish(run(THREADS, f"{emulated.url}/rooms/threads", emulated.token("threads", "alice")))
    assert output == "3\ndisconnected\n['MainThread']\n"


@pytest.mark.parametrize("state", ["idle", "unacknowledged", "stalled", "a receiver that never returns"])
def test_closing_takes_no_longer_than_its_limit(server: ScriptedServer, state: str) -> None:
    """``close(0.5)`` returns, whatever server and receivers do that would keep it for ever."""
    server.shrink_buffers()
    before = ours()
    room, wire = server.join()
    release = threading.Event()
    room.messaging.on_message("stuck", lambda _: release.wait(PATIENCE))
    delivery = room.messaging.send_message_nowait(BOB, "chat", {}) if state != "idle" else None
    if state == "stalled":
        with pytest.raises(meshsync.SendTimeout):
            while True:
                room.messaging.send_message_nowait(BOB, "flood", {}, bytes(60_000), timeout=0)
    if state == "a receiver that never returns":
        wire.say(wire.push("stuck", {}))
    start(room.close, 0.5).result(PATIENCE)
    release.set()
    assert room.wait_closed(PATIENCE)
    assert delivery is None or type(delivery.error) is meshsync.DeliveryUnknown
    for thread in ours() - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_closing_waits_for_what_is_unacknowledged(server: ScriptedServer) -> None:
    """An answer that comes while the client closes still reaches its delivery, and ends closing before its limit."""
    room, wire = server.join()
    delivery = room.messaging.send_message_nowait(BOB, "chat", {})
    request_id, _ = wire.read_send()
    closing = start(room.close, 1000)
    while room.is_connected:
        time.sleep(0.001)
    with pytest.raises(meshsync.ClientClosed):
        room.messaging.send_message(BOB, "later", {})
    wire.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):  # no goodbye yet
        wire.read()
    wire.socket.settimeout(PATIENCE)
    wire.say(wire.answer(request_id))
    assert wire.read_close_code() == 1000
    closing.result(PATIENCE)
    delivery.wait(0)


# --- a process that forks ---------------------------------------------------------------------------------------------

FORKED = """
import os, sys, warnings
import meshsync
warnings.simplefilter("ignore")
room = meshsync.connect(url=sys.argv[1], token=sys.argv[2])
room.messaging.enable()
me = room.local_participant
delivery = room.messaging.send_message_nowait(me, "before", {})
delivery.wait(30)
inbox = room.messaging.messages("never")
calls = {
    "send": lambda: room.messaging.send_message(me, "child", {}),
    "nowait": lambda: room.messaging.send_message_nowait(me, "child", {}),
    "broadcast": lambda: room.messaging.broadcast_message("child", {}),
    "enable": lambda: room.messaging.enable(),
    "disable": lambda: room.messaging.disable(),
    "attribute": lambda: me.set_attribute("a", 1),
    "participant": lambda: room.messaging.wait_for_participant(name="nobody"),
    "message": lambda: room.messaging.wait_for_message(),
    "subscription": lambda: inbox.get(),
    "wait_closed": lambda: room.wait_closed(),
}
sys.stdout.flush()
child = os.fork()
if child == 0:
    for name, call in calls.items():
        try:
            call()
            print(name, "returned")
        except meshsync.MeshsyncError as error:
            if (type(error), error.retryable, error.connection_alive) != (meshsync.ForkedClientError, False, False):
                print(name, repr(error))
    room.close()
    with meshsync.connect(url=sys.argv[1], token=sys.argv[2]) as again:
        again.messaging.enable()
        print("child", [p.id == me.id for p in again.messaging.remote_participants])
    sys.exit(0)
print("status", os.waitpid(child, 0)[1])
room.messaging.send_message(me, "after", {}, timeout=30)
print("parent", room.is_connected)
"""


@posix
def test_forked_child_is_refused_at_once_and_costs_the_parent_nothing(emulated: Emulator) -> None:
    """In a child every call on the parent's client raises, a client of its own works, and the parent's goes on."""
    output = finish(run(FORKED, f"{emulated.url}/rooms/fork", emulated.token("fork", "alice")), 50)
    assert output.splitlines() == ["child [True]", "status 0", "parent True"]


# --- time limits and Ctrl-C -------------------------------------------------------------------------------------------

BLOCKING = {
    "send_message": (meshsync.SendTimeout, "messaging.send_message('p-2', 'silent', {}, timeout=TIMEOUT)"),
    "broadcast_message": (meshsync.SendTimeout, "messaging.broadcast_message('silent', {}, timeout=TIMEOUT)"),
    "delivery": (meshsync.SendTimeout, "messaging.send_message_nowait('p-2', 'silent', {}).wait(TIMEOUT)"),
    "disable": (meshsync.SendTimeout, "messaging.disable(timeout=TIMEOUT)"),
    "get": (meshsync.ReceiveTimeout, "messaging.messages().get(TIMEOUT)"),
    "message": (meshsync.ReceiveTimeout, "messaging.wait_for_message(timeout=TIMEOUT)"),
    "participant": (meshsync.ReceiveTimeout, "messaging.wait_for_participant(name='nobody', timeout=TIMEOUT)"),
}


@pytest.mark.parametrize("name", BLOCKING)
def test_time_limit_raises_its_class_in_time(server: ScriptedServer, name: str) -> None:
    """A limit of 0.15 s ends each blocking call with its own class, and not sooner."""
    room, _ = server.join()
    kind, call = BLOCKING[name]
    begun = time.monotonic()
    with pytest.raises(MeshsyncError) as caught:
        eval(call, {"messaging": room.messaging, "TIMEOUT": 0.15})
    assert time.monotonic() - begun >= 0.15 - EARLY
    assert type(caught.value) is kind
    assert caught.value.connection_alive
    assert room.is_connected
    room.close(0)


@pytest.mark.parametrize("stage", ["no handshake", "no greeting", "no roster"])
def test_connecting_and_enabling_end_at_their_limits(server: ScriptedServer, stage: str) -> None:
    """A server that falls silent at any stage costs no more than the limit."""
    connecting = start(server.accept) if stage != "no handshake" else None
    begun = time.monotonic()
    if stage == "no roster":
        client = start(server.connect)
        assert connecting is not None
        connecting.result(PATIENCE).greet()
        with pytest.raises(meshsync.SendTimeout):
            client.result(PATIENCE).messaging.enable(timeout=0.2)
        assert not client.result().messaging.is_enabled
        client.result().close(0)
    else:
        with pytest.raises(meshsync.ConnectTimeout) as caught:
            server.connect(timeout=0.2)
        assert (caught.value.retryable, caught.value.connection_alive) == (True, False)
    assert time.monotonic() - begun >= 0.2 - EARLY


INTERRUPTED = (
    NEVER_CLOSED
    + """
import json
calls = json.loads(sys.argv[3])
calls += ["room.wait_closed()", "list(messaging.messages())", "meshsync.connect(url=sys.argv[4], token=sys.argv[2])"]
messaging, TIMEOUT = room.messaging, None
def interrupt_waiting():
    # Ctrl-C when the main thread has not moved in three looks; wherever it is, that is inside of what is tried.
    def strike():
        looks = []
        while looks[-3:] != [(frame := sys._current_frames()[threading.main_thread().ident], frame.f_lasti)] * 3:
            looks.append((frame, frame.f_lasti))
            time.sleep(0.03)
        looks.clear()
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=strike, daemon=True).start()
for call in calls:
    try:
        interrupt_waiting()
        eval(compile(call, call, "eval"))  # eval() of a text leaves a mark that makes the process end as if interrupted
        print(call, "returned")
    except KeyboardInterrupt:
        pass
    messaging.send_message("p-2", "answered", {}, timeout=30)
try:
    interrupt_waiting()
    room.close(1000)  # which waits for what is unacknowledged
    print("close() returned")
except KeyboardInterrupt:
    pass
print(len(calls), room.wait_closed(30), [t.name for t in threading.enumerate() if "demo" in t.name])
"""
)


@posix
def test_interrupt_ends_every_blocking_call_and_the_client_goes_on(server: ScriptedServer) -> None:
    """Ctrl-C raises out of each call that waits, at once; the next message is acknowledged, until it ends ``close``."""
    token = meshsync.ParticipantToken.for_room("demo", "alice").encode("s" * 32)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        calls = [call for _, call in BLOCKING.values()]
        nowhere = f"ws://127.0.0.1:{deaf.getsockname()[1]}/rooms/demo"
        process = run(INTERRUPTED, server.url, token, json.dumps(calls), nowhere)
        Answering(server.serve(), silent=("silent", "Disable"))
        assert finish(process, 50) == f"{len(calls) + 3} True []\n"
