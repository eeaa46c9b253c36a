"""Who reads a connection: its reader, or a task that asks again and again."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from meshsync.connection import turns
from meshsync.connection.connection import Connection, State
from meshsync.connection.turns import Turns
from meshsync.errors import ConnectionLost, DeliveryUnknown, ProtocolError, SendTimeout, WouldDeadlock
from meshsync.protocol import events
from meshsync.protocol.content import Empty
from meshsync.protocol.dialects import dialect
from meshsync.protocol.frames import FrameDecoder
from meshsync.protocol.operations import Push, Reply
from meshsync.protocol.session import Session
from meshsync.runtime.threads import ThreadCondition, ThreadRuntime
from meshsync.transport.shared_socket import SharedSocket
from meshsync.transport.websocket import WebSocketTransport
from tests.support.interrupts import CtrlC
from tests.support.scripted import PATIENCE, ScriptedTransport, greeting, packets_of, wait_until
from tests.unit.connection.test_connection import CHAT, Client, Recorder

POKE = Push("p-2", "poke", {})


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader stands aside until it is called, however slow the machine is."""
    monkeypatch.setattr(turns, "_PAUSE", 2 * PATIENCE)
    monkeypatch.setattr(turns, "_LOOKS", 0)


@pytest.fixture
def client(patient: None) -> Iterator[Client]:
    """A client whose connection is open."""
    client = Client(ScriptedTransport()).open()
    yield client
    client.close()
    assert client.wait_ended()


def lead(client: Client) -> None:
    """Ask until the calling task reads."""
    assert client.connection._turns is not None
    while not client.connection._turns._is_aside:  # An answer that is there already is not waited for, and counts not.
        client.send().wait(PATIENCE)


def test_a_task_that_asks_again_and_again_reads_its_answers_itself(client: Client) -> None:
    """And is no reader to those that look, once it has them."""
    lead(client)
    count = len(client.transport.receivers)
    for _ in range(5):
        client.send().wait(PATIENCE)
    assert client.transport.receivers[count:] == [threading.get_ident()] * 5
    assert not client.connection.is_on_reader


def test_the_reader_reads_when_nobody_asks_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """So what comes by itself waits for that moment at most."""
    monkeypatch.setattr(turns, "_PAUSE", 0.5)
    client = Client(ScriptedTransport()).open()
    lead(client)
    client.transport.say(POKE)
    wait_until(lambda: any(isinstance(event, events.Received) for event in client.handler.events))
    client.close()
    assert client.wait_ended()


class Asking(ThreadCondition):
    """A place to wait at which time passes at once, and a program asks all the while, for 16 ms."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.waits: list[float | None] = []
        self.turns: Turns

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        self.now += timeout or 0
        if self.now < 0.016:
            self.turns._left_at = self.now
        return False


def test_the_reader_looks_the_less_often_the_longer_a_program_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 1 ms, 2 ms and then each 4 ms whether it still does; and it reads once that was 1 ms ago."""
    runtime, condition = ThreadRuntime(), Asking()
    monkeypatch.setattr(runtime, "monotonic", lambda: condition.now)
    condition.turns = waiting = Turns(runtime, lambda: None, ScriptedTransport(), lambda packets: None, (), ())
    waiting._condition, waiting._is_wanted = condition, True
    waiting.stand_aside()
    assert condition.waits == [0.001, 0.002, 0.004, 0.004, 0.004, 0.004]


def test_the_reader_reads_as_soon_as_something_else_comes(client: Client) -> None:
    """Of that there may be more, and no task may be there to read it."""
    lead(client)
    client.transport.before_answer = lambda: client.transport.say(POKE)
    client.send().wait(PATIENCE)
    client.transport.before_answer = lambda: None
    client.transport.say(POKE)
    wait_until(lambda: sum(isinstance(event, events.Received) for event in client.handler.events) == 2)


def test_the_reader_reads_while_an_answer_to_another_task_is_awaited(client: Client) -> None:
    """The one that reads does not stay for the other."""
    lead(client)
    client.transport.answers = False
    pending = client.send()
    task = client.spawn(lambda: pending.wait(PATIENCE))
    other = client.send()
    client.transport.answer(client.transport.requests[-1][0])
    other.wait(PATIENCE)
    client.transport.answer(client.transport.requests[-2][0])
    assert task.join(PATIENCE)
    assert task.error is None


def test_a_task_with_an_alarm_to_come_leaves_reading_to_the_reader(client: Client) -> None:
    """Which alone keeps time limits."""
    rung = threading.Event()
    client.handler.on_event = lambda event: client.connection.alarms.set("key", 0.0, rung.set)
    lead(client)
    client.transport.before_answer = lambda: client.transport.say(POKE)
    client.send().wait(PATIENCE)
    assert rung.wait(PATIENCE)


def test_a_task_that_reads_heeds_its_time_limit(client: Client) -> None:
    """It does not wait for the network without an end."""
    lead(client)
    client.transport.answers = False
    with pytest.raises(SendTimeout, match="not acknowledged"):
        client.send().wait(0.01)
    client.transport.answer(client.transport.requests[-1][0])


def test_the_end_of_the_connection_is_met_by_the_reader(client: Client) -> None:
    """The loop that reconnects runs on it, and no task of the program is to become that."""
    lead(client)
    ended_on: list[object] = []
    client.handler.ended = lambda error, unwritten: ended_on.append((threading.get_ident(), error))  # type: ignore[method-assign]
    client.transport.answers = False
    pending = client.send()
    client.transport.end(ConnectionLost("gone"))
    with pytest.raises(DeliveryUnknown):
        pending.wait(PATIENCE)
    assert client.wait_ended()
    [(thread, error)] = ended_on  # type: ignore[misc]
    assert thread != threading.get_ident()
    assert "gone" in str(error)


def test_a_fault_that_a_task_meets_ends_the_connection(client: Client) -> None:
    """As if the reader had met it."""
    lead(client)
    client.transport.answers = False
    client.transport.feed([b"no packet"])
    with pytest.raises(DeliveryUnknown) as caught:
        client.send().wait(PATIENCE)
    assert isinstance(caught.value, DeliveryUnknown)
    assert client.wait_ended()
    assert isinstance(client.handler.ends[0], ProtocolError)
    assert client.connection.state is State.LOST


def test_a_handler_that_is_not_put_off_and_raises_loses_the_connection(client: Client) -> None:
    """And no more: the client may come back."""
    lead(client)

    def strike(event: events.Event) -> None:
        raise SystemExit("at SIGUSR1, say")

    client.handler.on_event = strike
    client.transport.before_answer = lambda: client.transport.say(POKE)
    with pytest.raises(SystemExit):
        client.send().wait(PATIENCE)
    assert client.wait_ended()
    [error] = client.handler.ends
    assert isinstance(error, ConnectionLost)
    assert "interrupted" in str(error)


def test_what_runs_while_a_task_handles_what_it_read_may_not_wait(client: Client) -> None:
    """As on the reader: a finalizer, say."""
    lead(client)
    outcome: list[BaseException] = []

    def run(event: events.Event) -> None:
        try:
            client.send().wait(PATIENCE)
        except WouldDeadlock as error:
            outcome.append(error)

    client.handler.on_event = run
    client.transport.before_answer = lambda: client.transport.say(POKE)
    client.send().wait(PATIENCE)
    assert outcome


def test_ctrl_c_anywhere_neither_tears_the_connection_nor_keeps_the_turn(client: Client) -> None:
    """The reader, or the next that asks, reads on; what came is handled once."""
    place, was_interrupted = 0, True
    while was_interrupted:
        place += 1
        lead(client)
        was_interrupted = CtrlC(place).run(lambda: client.send().wait(PATIENCE))
        assert client.connection.state is State.OPEN, f"at place {place}"
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, f"at place {place}"
        client.transport.say(POKE)
        client.send().wait(PATIENCE)
        wait_until(lambda: not client.connection.stats().pending)
    assert place > 150


class Wire:
    """A connection over a socket, and the room at its other end, which answers every request."""

    def __init__(self) -> None:
        ours, self._theirs = socket.socketpair()
        runtime = ThreadRuntime()
        self.socket = SharedSocket(ours, runtime)
        transport = WebSocketTransport(self.socket, runtime)
        self.connection = Connection(transport, Session(dialect("A")), runtime, Recorder(), "me in lab")
        self.before_answer: Callable[[], None] = lambda: None
        """Called once."""
        self._say(greeting())
        self._room = threading.Thread(target=self._answer)
        self._room.start()
        self.connection.start()
        assert self.connection.wait_open(PATIENCE)

    def _say(self, packets: list[bytes]) -> None:
        self._theirs.sendall(b"".join(bytes([0x82, len(packet)]) + packet for packet in packets))

    def _answer(self) -> None:
        decoder, packets, answered = FrameDecoder(masked=True), list[bytes](), 0
        while data := self._theirs.recv(1 << 16):
            decoder.feed(data, packets)
            while len(packets) >= 2:
                del packets[:2]
                answered += 1
                before, self.before_answer = self.before_answer, lambda: None
                before()
                self._say(packets_of(Reply(answered, Empty())))

    def ask(self) -> None:
        self.connection.request(CHAT, "it", PATIENCE).wait(PATIENCE)

    @property
    def is_read_by_caller(self) -> bool:
        assert self.connection._turns is not None
        return self.connection._turns._is_aside

    def close(self) -> None:
        self.connection.close(lambda: self.connection.close_transport(0))
        assert all(task.join(PATIENCE) for task in self.connection.tasks)
        self._room.join(PATIENCE)
        self._theirs.close()


def test_a_handler_of_a_signal_may_ask_while_its_task_reads(patient: None) -> None:
    """The task waits for its own answer: the handler's comes meanwhile, and each gets its own."""
    wire = Wire()
    while not wire.is_read_by_caller:
        wire.ask()
    handled = threading.Event()

    def handle(number: int, frame: object) -> None:
        wire.ask()
        handled.set()

    def strike() -> None:
        wait_until(lambda: wire.socket.is_polling)  # No send is under way, for which the handler would wait.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        wire.before_answer = strike
        wire.ask()
        assert handled.wait(PATIENCE)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not wire.connection.stats().pending
    wire.close()
