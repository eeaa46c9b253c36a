"""Where what arrives goes: through the hook, to subscriptions, to receivers, in one order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from meshsync import signals
from meshsync.connection.connection import Connection
from meshsync.connection.deliveries import Delivery
from meshsync.dispatch.router import Hook, Router
from meshsync.dispatch.subscriptions import Subscription
from meshsync.errors import ClientClosed, ConnectionLost, MeshsyncError, WouldDeadlock
from meshsync.messages import RoomMessage, RoomMessageEvent
from meshsync.protocol import events
from meshsync.protocol.dialects import dialect
from meshsync.protocol.operations import Push
from meshsync.protocol.session import Session
from meshsync.runtime.threads import ThreadRuntime
from tests.support.rooms import Ears
from tests.support.scripted import PATIENCE, ScriptedTransport


class Sender:
    """What stands for the messaging client."""


class Client:
    """A router, with the test in the reader's place; what a client does at its end, and no connection."""

    def __init__(self, hook: Hook | None = None) -> None:
        self.runtime = ThreadRuntime()
        self.sender = Sender()
        self.router = Router(self.runtime, "me in lab", lambda what: None)
        self.router.start(self.sender, hook)

    def subscribe(self, **options: Any) -> Subscription:
        """Subscribe to everything."""
        defaults: dict[str, Any] = {"type": None, "sender": None, "timeout": None, "maxsize": 1000, "overflow": "error"}
        return self.router.subscribe(**(defaults | options))

    def say(self, *numbers: int) -> None:
        """Publish messages as the reader does."""
        for number in numbers:
            self.router.publish(RoomMessageEvent("message", RoomMessage("chat", {"number": number})))

    def finish(self, failure: MeshsyncError | None = None) -> None:
        """End, and wait until all that was published has been dispatched."""
        self.router.end(failure or ClientClosed("the client was closed"))
        assert self.router.dispatcher.join(PATIENCE)


def number_of(event: RoomMessageEvent) -> int:
    """Return what tells a message from others."""
    return int(event.message.message["number"])


Make = Callable[..., Client]


@pytest.fixture
def make() -> Iterator[Make]:
    """Return what makes clients; they are closed in the end."""
    made: list[Client] = []

    def new(hook: Hook | None = None) -> Client:
        made.append(Client(hook))
        return made[-1]

    yield new
    for client in made:
        client.router.end(ClientClosed("the client was closed"))


# --- receivers --------------------------------------------------------------------------------------------------------


def test_receivers_of_the_client_and_signals_are_called_in_order(make: Make) -> None:
    """First what ``on`` registered, then blinker's, told the client and the event, each for every event in turn."""
    client, called = make(), list[object]()
    client.router.receivers.add("message", lambda event: called.append(("a", number_of(event))))
    client.router.receivers.add("message", lambda event: called.append(("b", number_of(event))))
    with signals.message.connected_to(
        lambda sender, event: called.append(("signal", number_of(event))), sender=client.sender
    ):
        client.say(1, 2)
        client.finish()
    assert called == [(name, number) for number in (1, 2) for name in ("a", "b", "signal")]


def test_the_dispatcher_is_not_woken_for_what_nobody_receives(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it rests; a receiver, or one of the signals, gets the next message."""
    client, got = make(), Ears()
    posted: list[object] = []
    post = client.router.dispatcher.post
    monkeypatch.setattr(client.router.dispatcher, "post", lambda job, size: (posted.append(job), post(job, size)))
    await_rest(client)
    with signals.message.connected_to(lambda sender, event: None, sender=Sender()):  # Another client's.
        client.say(1)
    assert not posted
    with signals.message.connected_to(got, sender=client.sender):
        client.say(2)
        assert number_of(got.next()) == 2
    client.router.receivers.add("message", got)
    client.say(3)
    assert number_of(got.next()) == 3
    assert len(posted) == 2


def test_what_a_receiver_registers_gets_what_came_while_it_ran(make: Make) -> None:
    """The dispatcher does not rest then."""
    client, got, goes_on = make(), Ears(), threading.Event()

    def register(event: RoomMessageEvent) -> None:
        assert goes_on.wait(PATIENCE)
        client.router.receivers.add("message", got)

    registration = client.router.receivers.add("participant_added", register)
    await_rest(client)
    client.router.publish(RoomMessageEvent("participant_added", RoomMessage("participant.enabled", {})))
    client.say(1)
    goes_on.set()
    assert number_of(got.next()) == 1
    registration.cancel()


def await_rest(client: Client) -> None:
    """Wait until the dispatcher has nothing to do."""
    limit = time.monotonic() + PATIENCE
    while not client.router.dispatcher.is_idle:
        assert time.monotonic() < limit
        time.sleep(0.001)


@pytest.mark.parametrize("failure", [ZeroDivisionError("oops"), SystemExit(3), pytest.fail.Exception("oops")])
def test_failing_receiver_is_reported_and_stops_nobody_else(
    make: Make, failure: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it raises, it is logged, told to ``receiver_failed``, and the next one is called."""
    client, called, reports = make(), list[int](), list[RoomMessageEvent]()

    def fails(event: RoomMessageEvent) -> None:
        raise failure

    client.router.receivers.add("message", fails)
    client.router.receivers.add("message", lambda event: called.append(number_of(event)))
    client.router.receivers.add("receiver_failed", reports.append)
    client.say(1, 2)
    client.finish()
    name = f"{__name__}.test_failing_receiver_is_reported_and_stops_nobody_else.<locals>.fails"
    assert called == [1, 2]
    assert [dict(report.message.message) for report in reports] == [{"event": "message", "receiver": name}] * 2
    assert reports[0].error is failure
    assert f"receiver {name} raised {type(failure).__name__}" in caplog.text


class TaskEnd(BaseException):
    """What a runtime raises in a task that it ends, at every wait from then on."""


def test_runtime_that_ends_the_dispatcher_is_not_taken_for_a_failing_receiver(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception of the runtime's own passes the guard around receivers, and is not logged as theirs."""
    client, called = make(), list[object]()

    def end(seconds: float) -> None:
        raise TaskEnd

    def waits(event: RoomMessageEvent) -> None:
        client.runtime.sleep(1)

    client.router.receivers.add("message", waits)
    client.router.receivers.add("message", called.append)
    monkeypatch.setattr(client.runtime, "sleep", end)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    client.say(1)
    assert client.router.dispatcher.join(PATIENCE)
    assert (called, caplog.text) == ([], "")


def test_failing_signal_receiver_is_reported_too(make: Make) -> None:
    """A receiver connected to a signal is shielded and reported like any other."""
    client, reports = make(), list[RoomMessageEvent]()

    def fails(sender: object, event: RoomMessageEvent) -> None:
        raise ZeroDivisionError("oops")

    client.router.receivers.add("receiver_failed", reports.append)
    with signals.message.connected_to(fails, sender=client.sender):
        client.say(1)
        client.finish()
    assert [str(report.error) for report in reports] == ["oops"]


def test_receiver_of_failures_that_fails_is_only_logged(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """It does not go round for ever."""
    client, calls = make(), list[str]()

    def fails(event: RoomMessageEvent) -> None:
        calls.append(event.name)
        raise ZeroDivisionError("oops")

    client.router.receivers.add("message", fails)
    client.router.receivers.add("receiver_failed", fails)
    client.say(1)
    client.finish()
    assert calls == ["message", "receiver_failed"]
    assert caplog.text.count("raised ZeroDivisionError") == 2


def test_dropped_events_are_told(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """The count goes to the receivers of ``messages_dropped`` and into the log."""
    client, told = make(), list[object]()
    client.router.receivers.add("messages_dropped", lambda event: told.append(event.message.message))
    with caplog.at_level(logging.WARNING, "meshsync"):
        client.router.dispatcher.count_dropped(7)
        client.say(1)
        client.finish()
    assert told == [{"count": 7}]
    assert "7 events were dropped: the receivers are too slow" in caplog.text


# --- connections ------------------------------------------------------------------------------------------------------


class Handler:
    """What hears of one connection, for a router that outlives it."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def received(self, event: events.Event) -> None:
        if isinstance(event, events.Received):
            self.client.say(int(event.message["number"]))

    def comes_back(self, error: MeshsyncError) -> bool:
        return False

    def ended(self, error: MeshsyncError | None, unwritten: Sequence[Delivery]) -> None:
        pass


def test_second_connection_is_served_by_the_same_dispatcher(make: Make) -> None:
    """What the first brought runs before what the second brings; receivers and subscriptions need not know."""
    client, ran = make(), list[tuple[int, int]]()
    client.router.receivers.add("message", lambda event: ran.append((number_of(event), threading.get_ident())))
    subscription = client.subscribe()
    for numbers in ((1, 2), (3, 4)):
        transport = ScriptedTransport()
        connection = Connection(transport, Session(dialect("A")), client.runtime, Handler(client), "me in lab")
        connection.start()
        transport.say(*[Push("p-2", "chat", {"number": number}) for number in numbers])
        transport.lose()
        assert all(task.join(PATIENCE) for task in connection.tasks)
    client.finish()
    assert [number for number, _ in ran] == [1, 2, 3, 4]
    assert len({ident for _, ident in ran}) == 1
    assert [subscription.get(0).message["number"] for _ in range(4)] == [1, 2, 3, 4]


# --- subscriptions ----------------------------------------------------------------------------------------------------


def test_subscription_gets_messages_while_a_receiver_runs(make: Make) -> None:
    """A receiver may wait for a message: subscriptions are fed apart from the dispatcher."""
    client, got = make(), list[int]()
    subscription = client.subscribe()

    def receiver(event: RoomMessageEvent) -> None:
        if number_of(event) == 1:
            got.extend(subscription.get(PATIENCE).message["number"] for _ in range(2))

    client.router.receivers.add("message", receiver)
    client.say(1, 2)
    client.finish()
    assert got == [1, 2]


def test_only_messages_go_to_subscriptions(make: Make) -> None:
    """Events of the client are for receivers."""
    client = make()
    subscription = client.subscribe()
    client.router.publish(RoomMessageEvent("participant_added", RoomMessage("participant.enabled", {})))
    client.say(1)
    assert [subscription.get(0).message, subscription.pending] == [{"number": 1}, 0]


def test_closed_subscription_is_fed_no_more(make: Make) -> None:
    """Nothing is kept for one that has closed or overflowed."""
    client = make()
    closed, full, open = client.subscribe(), client.subscribe(maxsize=1), client.subscribe()
    closed.close()
    client.say(1, 2)
    assert client.router.stats().subscriptions == 1
    assert [closed.pending, full.pending, open.pending] == [0, 1, 2]


@pytest.mark.parametrize("failure", [ConnectionLost("gone"), ClientClosed("closed")])
def test_subscriptions_end_with_the_client(make: Make, failure: MeshsyncError) -> None:
    """Those from before, and those made afterwards, end with the reason."""
    client = make()
    before = client.subscribe()
    client.say(1)
    client.finish(failure)
    assert before.get(0).message == {"number": 1}
    for subscription in (before, client.subscribe()):
        with pytest.raises(type(failure), match=str(failure)):
            subscription.get(PATIENCE)


# --- the hook ---------------------------------------------------------------------------------------------------------


def test_hook_changes_and_drops_messages_before_anybody_sees_them(make: Make) -> None:
    """Subscriptions and receivers get what the hook returns, and nothing for None, in order."""

    def hook(message: RoomMessage) -> RoomMessage | None:
        number = message.message["number"]
        return None if number == 2 else RoomMessage(message.type, {"number": number * 10})

    client, called = make(hook), list[int]()
    client.router.receivers.add("message", lambda event: called.append(number_of(event)))
    subscription = client.subscribe()
    client.say(1, 2, 3)
    client.finish()
    assert called == [10, 30]
    assert [message.message["number"] for message in (subscription.get(0), subscription.get(0))] == [10, 30]


def test_nothing_overtakes_a_message_in_the_hook(make: Make) -> None:
    """Events that no hook sees wait behind the messages before them."""
    let_go = threading.Event()

    def hook(message: RoomMessage) -> RoomMessage | None:
        assert let_go.wait(PATIENCE)
        return message

    client, order = make(hook), list[str]()
    for name in ("message", "participant_removed"):
        client.router.receivers.add(name, lambda event: order.append(event.name))
    client.say(1)
    client.router.publish(RoomMessageEvent("participant_removed", RoomMessage("participant.disabled", {})))
    let_go.set()
    client.finish()
    assert order == ["message", "participant_removed"]


@pytest.mark.parametrize("failure", [ZeroDivisionError("oops"), SystemExit(3), pytest.fail.Exception("oops")])
def test_message_at_which_the_hook_fails_is_dropped_and_reported(make: Make, failure: BaseException) -> None:
    """Whatever it raises, later messages still pass, and the client still ends."""

    def hook(message: RoomMessage) -> RoomMessage | None:
        if message.message["number"] == 1:
            raise failure
        return message

    client, reports = make(hook), list[RoomMessageEvent]()
    client.router.receivers.add("receiver_failed", reports.append)
    subscription = client.subscribe()
    client.say(1, 2)
    client.finish()
    assert subscription.get(0).message == {"number": 2}
    assert [(report.message.message["event"], report.error) for report in reports] == [("message", failure)]


def test_hook_that_returns_something_else_is_reported(make: Make) -> None:
    """Such as True: the message is dropped, and the error says what a hook returns."""
    client, reports = make(lambda message: True), list[RoomMessageEvent]()  # type: ignore[arg-type, return-value]
    client.router.receivers.add("receiver_failed", reports.append)
    client.say(1)
    client.finish()
    assert [str(report.error) for report in reports] == ["a hook returns a RoomMessage or None, not True"]


def test_hook_cannot_wait_for_messages(make: Make) -> None:
    """All messages pass through it, so that would never end, and is refused at once."""

    def hook(message: RoomMessage) -> RoomMessage | None:
        with pytest.raises(WouldDeadlock, match="in the hook that all messages pass through would never end"):
            subscription.get(None)
        outcomes.append("refused")
        return message

    outcomes: list[str] = []
    client = make(hook)
    subscription = client.subscribe()
    client.say(1)
    assert subscription.get(PATIENCE).message == {"number": 1}
    assert outcomes == ["refused"]


def test_slow_hook_makes_the_oldest_events_go(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for the hook is bounded too, and counted with the rest."""
    # 2 places behind the one in the hook: of 4 more, 2 are dropped.
    monkeypatch.setattr("meshsync.dispatch.router.UNHOOKED", 2)
    running, let_go = threading.Event(), threading.Event()

    def hook(message: RoomMessage) -> RoomMessage | None:
        running.set()
        assert let_go.wait(PATIENCE)
        return message

    client, told = make(hook), list[object]()
    client.router.receivers.add("messages_dropped", lambda event: told.append(event.message.message))
    subscription = client.subscribe()
    client.say(0)
    assert running.wait(PATIENCE)
    client.say(1, 2, 3, 4)
    let_go.set()
    client.finish()
    assert [subscription.get(0).message["number"] for _ in range(3)] == [0, 3, 4]
    assert (told, client.router.dispatcher.dropped) == ([{"count": 2}], 2)
