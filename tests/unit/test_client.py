"""A client behind its faces: how it begins and ends, where it may not wait, and what its subclasses may define."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from meshsync.client import Client
from meshsync.connection import forks
from meshsync.connection.connection import State
from meshsync.connection.deliveries import Delivery
from meshsync.errors import (
    ClientClosed,
    DeliveryUnknown,
    ForkedClientError,
    NotSent,
    SendTimeout,
    WouldDeadlock,
)
from meshsync.protocol.dialects import dialect
from meshsync.protocol.operations import Request, Send
from meshsync.protocol.session import Session
from meshsync.runtime.threads import ThreadRuntime, ThreadTask
from tests.support.interrupts import Interrupt, quiet_threads
from tests.support.scripted import PATIENCE, ScriptedTransport, wait_until

CHAT = Send("p-2", "chat", {"text": "hi"})


class ExitingRuntime(ThreadRuntime):
    """Real threads in a process that seems to be ending, once told."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun_to_exit = False

    def is_exiting(self) -> bool:
        return self.has_begun_to_exit


class Joined:
    """A client over a scripted transport, without faces."""

    def __init__(self, transport: ScriptedTransport) -> None:
        self.transport = transport
        self.runtime = ExitingRuntime()
        self.core = Client(
            transport, Session(dialect("A")), self.runtime, role="user", default_timeout=None, name="me in lab"
        )
        self.ends: list[BaseException | None] = []
        """What each ``disconnected`` came with."""
        self.core.router.receivers.add("disconnected", lambda event: self.ends.append(event.error))

    def open(self) -> Joined:
        """Start, and wait for the greeting."""
        self.core.open(PATIENCE)
        return self

    def send(self, request: Request = CHAT, timeout: float | None = PATIENCE) -> Delivery:
        """Send a request as messaging does."""
        return self.core.request(request, "it", timeout)

    def spawn(self, target: Callable[[], object]) -> ThreadTask:
        """Run something in a task of the program's."""
        return self.runtime.spawn(lambda: target() and None, name="program")

    def inside(self, target: Callable[[], object]) -> Any:
        """Run something on the dispatcher and return what it returns or raises."""
        return self._run(target, self.core.router.dispatcher.post)

    def on_reader(self, target: Callable[[], object]) -> Any:
        """Run something on the reader, which brings an answer, and return what it returns or raises."""
        return self._run(target, lambda run: self.core.request(CHAT, "it", PATIENCE, lambda error: run()))

    def _run(self, target: Callable[[], object], begin: Callable[[Callable[[], None]], object]) -> Any:
        done, outcome = threading.Event(), list[Any]()

        def run() -> None:
            try:
                outcome.append(target())
            except BaseException as error:
                outcome.append(error)
            done.set()

        begin(run)
        assert done.wait(PATIENCE)
        return outcome[0]


@pytest.fixture
def client() -> Iterator[Joined]:
    """Return an open client whose room answers everything."""
    made = Joined(ScriptedTransport()).open()
    yield made
    made.core.close(0, None)


@pytest.fixture
def silent() -> Iterator[Joined]:
    """Return an open client whose room answers nothing by itself."""
    made = Joined(ScriptedTransport(answers=False)).open()
    yield made
    made.core.close(0, None)


def tasks_end(client: Joined) -> bool:
    """Return whether every task of the client ends in good time."""
    return all(task.join(PATIENCE) for task in client.core.tasks)


# --- the beginning ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["dispatcher", "reader"])
def test_client_that_gets_not_all_its_tasks_leaves_none(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system starts no more threads, what was started already ends."""
    client = Joined(ScriptedTransport())
    spawn = client.runtime.spawn

    def refuse(target: Callable[[], None], *, name: str) -> ThreadTask:
        if task in name:
            raise RuntimeError("can't start new thread")
        return spawn(target, name=name)

    monkeypatch.setattr(client.runtime, "spawn", refuse)
    client.core.attach(object(), lambda message: message, lambda reader: reader)  # With a hook, and so one task more.
    with pytest.raises(RuntimeError, match="can't start new thread"):
        client.core.open(PATIENCE)
    assert [task.name for task in client.core.tasks if not task.is_done] == []
    assert client.transport.closes


def test_tasks_begin_in_order_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the actors' paths in a simulation."""
    client = Joined(ScriptedTransport())
    client.core.attach(object(), lambda message: message, lambda reader: reader)
    client.open()
    assert [task.name for task in client.core.tasks] == [
        "meshsync hook of me in lab",
        "meshsync dispatcher of me in lab",
        "meshsync reader of me in lab",
    ]
    client.core.close(PATIENCE, None)


# --- close, from everywhere -------------------------------------------------------------------------------------------


def test_close_leaves_no_task_behind(client: Joined) -> None:
    """After closing from the program everything of the connection has ended, and it counts as closed."""
    client.core.close(PATIENCE, None)
    assert client.core.connection.state is State.CLOSED
    assert all(task.is_done for task in client.core.tasks)
    assert client.ends == [None]
    with pytest.raises(ClientClosed, match="closed by this program; connect again"):
        client.send()


def test_close_waits_for_what_is_under_way(silent: Joined) -> None:
    """A request that is acknowledged while closing succeeds, and the goodbye comes after it."""
    delivery = silent.send()
    closing = silent.spawn(lambda: silent.core.close(PATIENCE, None))
    wait_until(lambda: silent.core.connection.state is State.CLOSING)
    assert silent.transport.closes == []
    with pytest.raises(ClientClosed):
        silent.send()
    silent.transport.answer(1)
    assert closing.join(PATIENCE)
    delivery.wait(0)


def test_streams_are_given_up_before_closing(silent: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    """While requests can be made, once, and not where there is no time."""
    states: list[State] = []
    monkeypatch.setattr(silent.core.streams, "leave", lambda timeout: states.append(silent.core.connection.state))
    silent.core.close(4.0, None)
    silent.core.close(4.0, None)
    assert states == [State.OPEN]


def test_close_gives_up_waiting_when_half_its_time_is_gone(silent: Joined) -> None:
    """What is not acknowledged by then fails, as unknown since it was written."""
    delivery = silent.send()
    silent.core.close(0, None)
    with pytest.raises(DeliveryUnknown, match="may or may not have arrived: the client was closed"):
        delivery.wait(PATIENCE)


def test_close_does_not_wait_for_a_send_that_timed_out_meanwhile(silent: Joined) -> None:
    """A request that is no longer pending because it was never sent lets closing go on too."""
    silent.transport.fill()
    with quiet_threads():
        sending = silent.spawn(lambda: silent.send(timeout=None))
        silent.transport.wait_for_sender()
        closing = silent.spawn(lambda: silent.core.close(1000, None))
        wait_until(lambda: silent.core.connection.state is State.CLOSING)
        silent.transport.let_time_run_out()
        assert closing.join(PATIENCE)
        assert sending.join(PATIENCE)
    assert isinstance(sending.error, SendTimeout)


def test_closing_twice_at_once_ends_once(client: Joined) -> None:
    """Ten tasks that close together all return, and the end is told once."""
    gate = threading.Barrier(10)

    def close() -> None:
        gate.wait(PATIENCE)
        client.core.close(PATIENCE, None)

    tasks = [client.spawn(close) for _ in range(10)]
    assert all(task.join(PATIENCE) for task in tasks)
    assert [task.error for task in tasks] == [None] * 10
    assert client.ends == [None]


def test_close_from_a_receiver_begins_and_returns(client: Joined) -> None:
    """On the dispatcher closing only starts; the end comes once the receiver has returned."""
    assert client.inside(lambda: client.core.close(PATIENCE, None)) is None
    assert client.core.wait_closed(PATIENCE)
    assert tasks_end(client)
    assert client.core.connection.state is State.CLOSED


def test_close_from_a_part_of_the_connection_begins_and_returns(client: Joined) -> None:
    """A hook's task may close too, though the end waits for it."""
    closed = threading.Event()

    def hook() -> None:
        client.core.close(PATIENCE, None)
        closed.set()

    client.core.spawn(hook, "hook")
    assert closed.wait(PATIENCE)
    assert client.core.wait_closed(PATIENCE)


def test_close_from_the_reader_begins_and_returns(client: Joined) -> None:
    """A log handler on the reader may close."""
    assert client.on_reader(lambda: client.core.close(PATIENCE, None)) is None
    assert client.core.wait_closed(PATIENCE)


def test_close_without_waiting_returns_before_the_end(silent: Joined) -> None:
    """``wait=False`` only begins, also from the program's own task."""
    silent.send()
    silent.core.close(1000, False)
    assert silent.core.connection.state is State.CLOSING
    silent.transport.answer(1)
    assert silent.core.wait_closed(PATIENCE)
    assert "meshsync closing of me in lab" in [task.name for task in silent.core.tasks]
    assert tasks_end(silent)


def test_close_lets_go_those_who_are_blocked_in_sending(silent: Joined) -> None:
    """A sender waiting for room, and one waiting for its turn, end with the connection; nothing was sent."""
    silent.transport.fill()
    tasks = [silent.spawn(lambda: silent.send(timeout=None)) for _ in range(2)]
    silent.transport.wait_for_sender()
    wait_until(lambda: silent.core.connection.stats().waiting_senders == 2)
    with quiet_threads():
        silent.core.close(0, None)
        assert all(task.join(PATIENCE) for task in tasks)
    assert {type(task.error) for task in tasks} == {NotSent, ClientClosed}


def test_close_of_a_lost_connection_waits_for_its_receivers(client: Joined) -> None:
    """Closing after the loss returns when the dispatcher is through, and changes nothing."""
    let_go = threading.Event()
    client.core.router.dispatcher.post(lambda: let_go.wait(PATIENCE))
    client.transport.lose()
    wait_until(lambda: client.core.connection.state is State.LOST)
    let_go.set()
    client.core.close(PATIENCE, None)
    assert tasks_end(client)
    assert client.core.connection.state is State.LOST


def test_close_while_the_process_exits_only_says_goodbye(client: Joined) -> None:
    """In a handler of ``atexit`` no task can be started: the transport is closed here, within a second."""
    client.runtime.has_begun_to_exit = True
    client.core.close(5, None)
    assert client.transport.closes[0] == (1.0, 1000)


def test_backlog_runs_before_the_end(client: Joined) -> None:
    """Closing waits for what was posted before it."""
    let_go, ran = threading.Event(), list[int]()
    client.core.router.dispatcher.post(lambda: let_go.wait(PATIENCE))
    for number in range(3):
        client.core.router.dispatcher.post(lambda number=number: ran.append(number))
    client.core.close(1, False)
    let_go.set()
    assert client.core.wait_closed(PATIENCE)
    assert ran == [0, 1, 2]


# --- what would never end ---------------------------------------------------------------------------------------------


def test_waiting_for_the_end_inside_is_refused_and_changes_nothing(client: Joined) -> None:
    """On the dispatcher ``close(wait=True)`` and ``wait_closed`` raise at once, and the connection stays open."""
    for call in (lambda: client.core.close(1, True), lambda: client.core.wait_closed(1)):
        error = client.inside(call)
        assert isinstance(error, WouldDeadlock)
    assert client.core.is_open
    client.send().wait(PATIENCE)


def test_waiting_on_the_reader_is_refused(client: Joined) -> None:
    """The task that reads must not wait for what only it could bring."""
    delivery = client.send()
    for call in (
        lambda: client.core.refuse_to_block("it"),
        lambda: client.core.wait_closed(1),
        lambda: client.core.close(1, True),
    ):
        assert isinstance(client.on_reader(call), WouldDeadlock)
    delivery.wait(PATIENCE)


def test_waiting_for_the_end_while_exiting_is_refused(client: Joined) -> None:
    """``close(wait=True)`` in a handler of ``atexit`` says where it was called."""
    client.runtime.has_begun_to_exit = True
    with pytest.raises(WouldDeadlock, match="while the process is exiting"):
        client.core.close(1, True)
    client.runtime.has_begun_to_exit = False
    assert client.core.is_open


def test_child_of_a_fork_leaves_its_parents_client_alone(client: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a child, waiting raises at once, and closing does nothing."""
    delivery = client.send()
    monkeypatch.setattr(forks, "_forks", 1)
    with pytest.raises(ForkedClientError):
        client.core.wait_closed(None)
    client.core.close(1, None)
    monkeypatch.undo()
    assert client.transport.closes == []
    delivery.wait(PATIENCE)


# --- Ctrl-C, anywhere -------------------------------------------------------------------------------------------------


def test_close_interrupted_anywhere_can_be_done_again() -> None:
    """Ctrl-C at each place of ``close``: it has done nothing yet, or the connection ends."""
    for place in range(1, 1000):
        client = Joined(ScriptedTransport(answers=False)).open()
        client.send()
        was_interrupted = Interrupt(place).run(lambda client=client: client.core.close(0.01, None))
        if client.core.connection.state is State.OPEN:
            client.core.close(0, None)
        assert client.core.wait_closed(PATIENCE), f"it never ends, interrupted at place {place}"
        if not was_interrupted:
            break
    assert 10 < place < 999
