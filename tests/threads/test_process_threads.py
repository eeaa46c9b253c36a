"""What a process does around its clients: it forks, runs out of descriptors and threads, drops them, is told to end."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import meshsync
from meshsync import ReceiveTimeout, RoomClient, StreamCancelled, StreamInterrupted
from simulator import Emulator
from tests.support.rooms import PATIENCE, Ears, Join, finish, run

posix = pytest.mark.skipif(os.name != "posix", reason="needs signals, fork or limits of the process")

# --- a process that forks ---------------------------------------------------------------------------------------------

BEGINNING = """
import gc, os, resource, signal, sys, threading, time, warnings
import meshsync
from meshsync import buffering, compression, filters
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork where there are threads
url, token, peer_token = sys.argv[1:]
room = meshsync.connect(url=url, token=token)
messaging = room.messaging
"""

FORKED = """
from meshsync.runtime.threads import ThreadCondition

messaging.enable()
peer = meshsync.connect(url=url, token=peer_token)
peer.messaging.enable(lambda reader: reader.accept())
bob = messaging.wait_for_participant(name="bob", timeout=30)
alice = peer.messaging.wait_for_participant(name="alice", timeout=30)
heard = messaging.on("message", print)
quiet = lambda sender, event: None
messages, streams = messaging.messages(), messaging.streams()
writer = messaging.create_stream(bob, {})
joining = buffering.buffered(messaging.create_stream(bob, {}), max_delay=60)
joining.write(b"waits")
packing = filters.filtered(messaging.create_stream(bob, {}), compression.compression())
heard.cancel()
delivery = messaging.send_message_nowait(bob, "done", {})
delivery.wait(30)
peer.messaging.send_message(alice, "unread", {}, timeout=30)

calls = {
    "send": lambda: messaging.send_message(bob, "child", {}),
    "send nowait": lambda: messaging.send_message_nowait(bob, "child", {}),
    "broadcast": lambda: messaging.broadcast_message("child", {}),
    "broadcast nowait": lambda: messaging.broadcast_message_nowait("child", {}),
    "enable": lambda: messaging.enable(),
    "disable": lambda: messaging.disable(),
    "wait for participant": lambda: messaging.wait_for_participant(name="bob"),
    "wait for message": lambda: messaging.wait_for_message(),
    "messages": lambda: messaging.messages(),
    "streams": lambda: messaging.streams(),
    "create stream": lambda: messaging.create_stream(bob),
    "send file": lambda: messaging.send_file("no such file", bob),
    "receive file": lambda: messaging.receive_file(writer.reader, ".", name="file"),
    "on": lambda: messaging.on("message", print),
    "on message": lambda: messaging.on_message("chat", print),
    "attribute": lambda: room.local_participant.set_attribute("a", 1),
    "stats": lambda: room.stats(),
    "wait closed": lambda: room.wait_closed(),
    "run forever": lambda: room.run_forever(),
    "get unread": lambda: messages.get(),
    "next unread": lambda: next(messages),
    "get stream": lambda: streams.get(),
    "write": lambda: writer.write(b""),
    "flush": lambda: writer.flush(),
    "close writer": lambda: writer.close(),
    "read": lambda: writer.reader.read(),
    "read all": lambda: writer.reader.read_all(),
    "accept": lambda: writer.reader.accept(),
    "reject": lambda: writer.reader.reject("no"),
    "write joined": lambda: joining.write(b""),
    "flush joined": lambda: joining.flush(),
    "close joined": lambda: joining.close(),
    "write packed": lambda: packing.write(b""),
    "flush packed": lambda: packing.flush(),
    "close packed": lambda: packing.close(),
    "read packed": lambda: packing.reader.read(),
}
harmless = [
    lambda: room.close(),
    lambda: room.close(wait=True),
    lambda: messaging.off("message"),
    lambda: messages.close(),
    lambda: streams.close(),
    lambda: heard.cancel(),
    lambda: delivery.wait(),
    lambda: writer.abort(),
    lambda: writer.reader.close(),
    lambda: joining.abort(),
    lambda: packing.abort(),
    lambda: packing.reader.close(),
    lambda: meshsync.signals.message.connect(quiet),
    lambda: meshsync.signals.message.disconnect(quiet),
    lambda: [repr(one) for one in (room, messaging, messages, writer, writer.reader, delivery, heard)],
    lambda: [messages.pending, room.room_name, room.is_connected, messaging.remote_participants, delivery.error],
]

# Another thread holds every lock that there is, so that the child never sees one released.
is_held, may_go = threading.Event(), threading.Event()
def hold():
    conditions = [one for one in gc.get_objects() if isinstance(one, ThreadCondition)]
    for condition in conditions:
        condition.acquire()
    is_held.set()
    may_go.wait()
    for condition in conditions:
        condition.release()
threading.Thread(target=hold).start()
assert is_held.wait(30)
sys.stdout.flush()
child = os.fork()
if child == 0:
    signal.alarm(30)  # Its end, should it hang.
    for name, call in calls.items():
        try:
            call()
            print(name, "returned")
        except meshsync.ForkedClientError:
            pass
    for call in harmless:
        call()
    room = messaging = None
    gc.collect()
    print("child is through")
    sys.stdout.flush()
    os._exit(0)
status = os.waitpid(child, 0)[1]
may_go.set()
print("status", status, os.WTERMSIG(status))
messaging.send_message(bob, "after", {}, timeout=30)
writer.write(b"after")
writer.close()
print("parent", room.is_connected)
"""


@pytest.fixture
def arguments(emulated: Emulator) -> Iterator[tuple[str, str, str]]:
    """Return what the scripts are given: an address, and the tokens of alice and bob."""
    name = f"process-{time.monotonic_ns()}"
    yield f"{emulated.url}/rooms/{name}", emulated.token(name, "alice"), emulated.token(name, "bob")


@posix
def test_child_never_waits_for_a_lock_that_its_parent_held(arguments: tuple[str, str, str]) -> None:
    """Whatever it calls is refused or does nothing, though every lock was held; and the parent goes on."""
    output = finish(run(BEGINNING + FORKED, *arguments))
    assert output.splitlines() == ["child is through", "status 0 0", "parent True"]


FORKING_RECEIVER = """
def fork(event):
    print("called", event.message.type)
    sys.stdout.flush()
    if event.message.type == "first":
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            return
        print("status", os.waitpid(child, 0)[1])

messaging.enable()
messaging.on("message", fork)
me = room.local_participant
for kind in ("first", "second"):
    messaging.send_message(me, kind, {}, timeout=30)
room.close(30)
"""


@posix
def test_receiver_that_returns_in_a_child_ends_it(arguments: tuple[str, str, str]) -> None:
    """The child's copy of the dispatcher calls no receiver any more, and waits for nothing."""
    output = finish(run(BEGINNING + FORKING_RECEIVER, *arguments))
    assert output.splitlines() == ["called first", "status 0", "called second"]


# --- a process without descriptors or threads -------------------------------------------------------------------------

WITHOUT_DESCRIPTORS = """
outcomes = []
for spare in range(12):
    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        for descriptor in taken[:spare]:
            os.close(descriptor)
    try:
        meshsync.connect(url=url, token=peer_token, timeout=30).close()
        outcomes.append("joined")
    except Exception as error:
        outcomes.append(type(error).__name__)
    for descriptor in taken[spare:]:
        os.close(descriptor)
print(sorted(set(outcomes)), outcomes[0], outcomes[-1])
messaging.enable()
print(room.is_connected)
"""


@posix
def test_connecting_without_descriptors_raises_its_class_at_every_step(arguments: tuple[str, str, str]) -> None:
    """However many are left, the outcome is a room or `RoomUnavailable`, and a client that is there goes on."""
    script = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)){BEGINNING}{WITHOUT_DESCRIPTORS}"
    output = finish(run(script, *arguments))
    assert output.splitlines() == ["['RoomUnavailable', 'joined'] RoomUnavailable joined", "True"]


WITHOUT_THREADS = """
messaging.enable()
done = threading.Event()

def receive(event):
    # So large a stack that the limit leaves no room for it: "can't start new thread".
    threading.stack_size(256 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20), resource.RLIM_INFINITY))
    for call in (
        lambda: meshsync.connect(url=url, token=peer_token, timeout=30),
        lambda: messaging.send_message(room.local_participant, "sent", {}, timeout=30),
        lambda: room.close(),
        lambda: messaging.send_message(room.local_participant, "late", {}),
    ):
        try:
            call()
            print("returned")
        except Exception as error:
            print(type(error).__name__, error)
    done.set()

with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
messaging.on_message("go", receive)
messaging.send_message(room.local_participant, "go", {}, timeout=30)
done.wait(60)
print(room.wait_closed(30))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs a limit of memory that can be placed")
def test_calls_without_threads_raise_their_class_or_do_without(arguments: tuple[str, str, str]) -> None:
    """Connecting is refused; a client that is there sends, and closes from a receiver, which takes a thread else."""
    lines = finish(run(BEGINNING + WITHOUT_THREADS, *arguments)).splitlines()
    assert lines[0].startswith("RoomUnavailable no connection can be opened: the system starts no more threads")
    assert [line.split()[0] for line in lines[1:]] == ["returned", "returned", "ClientClosed", "True"]


# --- a client that the program drops ----------------------------------------------------------------------------------


def threads_of(name: str) -> set[str]:
    """Return the names of the threads of one client."""
    return {thread.name for thread in threading.enumerate() if f" {name} in " in thread.name}


@pytest.fixture
def join_unkept(emulated: Emulator, join: Join) -> Iterator[Callable[..., RoomClient]]:
    """Return what joins the room of a client named observer, as ``join`` does, which would keep it."""
    observer = join("observer", enable=False)
    observer.messaging.enable(lambda reader: reader.accept())

    def join_unkept(name: str, **options: Any) -> RoomClient:
        token = emulated.token(observer.room_name, name)
        room = meshsync.connect(observer.room_name, url=emulated.url, token=token, **options)
        room.messaging.enable()
        return room

    yield join_unkept


def await_end(name: str) -> None:
    """Wait until no thread of a client is left."""
    deadline = time.monotonic() + PATIENCE
    while threads_of(name):
        assert time.monotonic() < deadline, threads_of(name)
        time.sleep(0.005)


@pytest.mark.parametrize("last", ["room", "messaging", "a circle"])
def test_dropped_client_is_closed_with_a_warning(join_unkept: Callable[..., RoomClient], last: str) -> None:
    """When the last face goes, alone or in a circle of garbage; the warning has room, line and file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        room = join_unkept("dropped")
        name = room.room_name
        if last == "messaging":
            messaging = room.messaging
            del room
            assert messaging.is_enabled
            assert len(threads_of("dropped")) == 2
            del messaging
        elif last == "a circle":
            room.itself = room  # type: ignore[attr-defined]
            del room
            gc.collect()
        else:
            del room
        await_end("dropped")
    (warning,) = [one for one in caught if issubclass(one.category, ResourceWarning) and "unclosed client" in str(one)]
    assert f"unclosed client 'dropped' in room {name!r}, connected at {__file__}:" in str(warning.message)
    assert warning.filename == __file__


class Hooked(meshsync.MessagingClient):
    """Has a hook, for which each message may be what it is there for."""

    def received(self, message: meshsync.RoomMessage) -> meshsync.RoomMessage:
        return message


NEEDED = {
    "a receiver": lambda room: room.messaging.on("message", lambda event: None),
    "a subscription": lambda room: room.messaging.messages(),
    "a stream subscription": lambda room: room.messaging.streams(),
    "a callback": lambda room: room.messaging.enable(lambda reader: None),
    "a stream": lambda room: room.messaging.create_stream(room.messaging.wait_for_participant(name="observer")),
    "a signal's receiver": lambda room: meshsync.signals.stream_opened.connect(lambda sender, event: None),
    "a receiver of its signal": lambda room: meshsync.signals.message.connect(
        lambda sender, event: None, sender=room.messaging
    ),
    "a hook": lambda room: None,
}


@pytest.mark.parametrize("what", NEEDED)
def test_dropped_client_goes_on_while_anything_is_registered_at_it(
    join_unkept: Callable[..., RoomClient], what: str
) -> None:
    """Its receivers and subscriptions are what a program of callbacks has of it, and signals keep their sender."""
    before = [dict(signal.receivers) for signal in meshsync.signals.EVENTS.values()]

    room = join_unkept("needed", messaging=Hooked if what == "a hook" else meshsync.MessagingClient)
    client = room._meshsync
    kept = NEEDED[what](room)
    del room
    gc.collect()
    time.sleep(0.1)  # A task that closes it would begin now.
    is_open, sender = client.is_open, client.router.sender()
    client.close(30, None)
    del kept
    for event, receivers in zip(meshsync.signals.EVENTS.values(), before, strict=True):
        for receiver in [one for key, one in event.receivers.items() if key not in receivers]:
            event.disconnect(receiver)
    assert is_open
    assert isinstance(sender, meshsync.MessagingClient)


def test_dropped_client_is_closed_when_its_last_subscription_is(join_unkept: Callable[..., RoomClient]) -> None:
    """What kept it may end later."""
    messages = join_unkept("reading").messaging.messages()
    assert len(threads_of("reading")) == 2
    with pytest.warns(ResourceWarning, match="unclosed client 'reading'"):
        messages.close()
        await_end("reading")


def test_dropped_client_is_closed_when_an_event_comes_for_which_no_receiver_is_left(
    join_unkept: Callable[..., RoomClient], join: Join
) -> None:
    """A signal does not tell of a receiver that is disconnected, so the next event does."""
    other, room, heard = join("teller"), join_unkept("reading"), Ears()
    signal = meshsync.signals.message
    signal.connect(heard, sender=room.messaging)
    id = room.local_participant.id
    del room
    signal.disconnect(heard)
    with signal.connected_to(heard, sender=other.messaging), pytest.warns(ResourceWarning, match="unclosed client"):
        other.messaging.send_message(id, "hello", {})
        await_end("reading")


# --- streams that a program drops -------------------------------------------------------------------------------------


class Pair:
    """Ada, and Bob, who reads all streams of hers."""

    def __init__(self, join: Join) -> None:
        self.bob = join("bob", enable=False)
        self.streams = self.bob.messaging.streams()
        self.bob.messaging.enable()
        self.ada = join("ada")
        self.to = self.ada.messaging.wait_for_participant(name="bob", timeout=PATIENCE)

    def open(self) -> tuple[Any, Any]:
        """Return writer and reader of a stream."""
        readers: list[Any] = []

        def accept() -> None:
            reader = self.streams.get(PATIENCE)
            reader.accept()
            readers.append(reader)

        accepting = threading.Thread(target=accept)
        accepting.start()
        writer = self.ada.messaging.create_stream(self.to)
        accepting.join()
        return writer, readers[0]


@pytest.fixture
def pair(join: Join) -> Pair:
    """Two clients that stream."""
    return Pair(join)


@pytest.mark.parametrize("last", ["the writer", "the reader", "a circle"])
def test_dropped_stream_is_cut_off_with_a_warning(pair: Pair, last: str) -> None:
    """Else its reader would wait as long as the client lives. The warning has the line that opened it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        writer, reader = pair.open()
        writer.write(b"x")
        if last == "the reader":
            back = writer.reader
            del writer
            gc.collect()
            with pytest.raises(ReceiveTimeout):
                back.read(0.05)  # Of the dispatcher's event, too, nothing is left by now.
            del back
        elif last == "a circle":
            held = [writer]
            held.append(held)
            del writer, held
            gc.collect()
        else:
            del writer
        assert reader.read(PATIENCE).data == b"x"
        with pytest.raises(StreamInterrupted, match=r"ada ended the stream early: the program dropped its writer"):
            reader.read(PATIENCE)
    (warning,) = [one for one in caught if "unclosed stream" in str(one.message)]
    assert f"to bob, opened at {__file__}:" in str(warning.message)
    assert (warning.category, warning.filename) == (ResourceWarning, __file__)


def test_closed_stream_is_dropped_without_a_warning(pair: Pair) -> None:
    """Nor is one that the peer has ended, or whose acceptor lets go of its ends."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        writer, reader = pair.open()
        del reader  # It is the opener's to end.
        gc.collect()
        writer.write(b"x")
        writer.close()
        del writer
        gc.collect()
        writer, reader = pair.open()
        reader.close()
        with pytest.raises(StreamCancelled):
            while True:
                writer.write(b"x")
        del writer
        gc.collect()
        pair.ada.close()  # Behind any task that the finalizer started.
    assert not [one for one in caught if "unclosed stream" in str(one.message)]


# --- the end of a script ----------------------------------------------------------------------------------------------

SERVING = """
import signal, sys, time
import meshsync
{before}
room = meshsync.connect(url=sys.argv[1], token=sys.argv[2], reconnect={reconnect})

def answer(event):
    while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        time.sleep(0.01)  # until the main thread waits
    room.messaging.send_message(event.message.sender, "serving", {{}})

room.messaging.on("disconnected", lambda event: print("disconnected"))
room.messaging.on_message("close", lambda event: room.close())
room.messaging.on_message("ask", answer)
room.messaging.enable()
room.run_forever()
print("came to its end", room.is_connected, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""


class Script:
    """A script that serves for ever, and bob, who watches it."""

    def __init__(
        self, emulated: Emulator, arguments: tuple[str, str, str], before: str = "", *, reconnect: bool = True
    ) -> None:
        self.emulated = emulated
        self.bob = meshsync.connect(url=arguments[0], token=arguments[2])
        self.bob.messaging.enable()
        self.process: subprocess.Popen[str] = run(SERVING.format(before=before, reconnect=reconnect), *arguments[:2])
        self.alice = self.bob.messaging.wait_for_participant(name="alice", timeout=PATIENCE)
        with self.bob.messaging.messages("serving") as answers:
            self.bob.messaging.send_message(self.alice, "ask", {}, timeout=30)
            answers.get(PATIENCE)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; return status, output and errors."""
        output, errors = self.process.communicate(timeout=PATIENCE)
        self.bob.close()
        return self.process.returncode, output, errors


ENDED = "disconnected\ncame to its end False True\n"


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_script_of_receivers_ends_regularly_by_a_signal(
    emulated: Emulator, arguments: tuple[str, str, str], number: signal.Signals
) -> None:
    """The room is closed, ``disconnected`` comes, and the script goes on behind ``run_forever``, to a status of 0."""
    script = Script(emulated, arguments)
    script.process.send_signal(number)
    assert script.end() == (0, ENDED, "")


def test_script_of_receivers_ends_regularly_by_closing(emulated: Emulator, arguments: tuple[str, str, str]) -> None:
    """A receiver that closes ends it too."""
    script = Script(emulated, arguments)
    script.bob.messaging.send_message(script.alice, "close", {}, timeout=30)
    assert script.end() == (0, ENDED, "")


def test_script_of_receivers_ends_with_the_loss_of_its_connection(
    emulated: Emulator, arguments: tuple[str, str, str]
) -> None:
    """What the program did not wish for is an error, where the client is not to come back."""
    script = Script(emulated, arguments, reconnect=False)
    emulated.drop("alice")
    status, output, errors = script.end()
    assert (status, output) == (1, "disconnected\n")
    assert "meshsync.errors.ConnectionLost" in errors


@posix
def test_handler_of_the_program_stays_in_force(emulated: Emulator, arguments: tuple[str, str, str]) -> None:
    """A program that handles a signal has its reasons; an exception of that handler is its own."""
    script = Script(emulated, arguments, "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))")
    script.process.send_signal(signal.SIGTERM)
    status, output, errors = script.end()
    assert (status, errors) == (7, "")
    assert "came to its end" not in output
