"""A connection: its reader, what is sent and unacknowledged, how it ends, and which task may not wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from meshsync.connection import forks
from meshsync.connection.connection import Connection, State
from meshsync.connection.deliveries import Delivery, Receipt
from meshsync.errors import (
    ClientClosed,
    ConnectionLost,
    DeliveryUnknown,
    ForkedClientError,
    InvalidMessage,
    MeshsyncError,
    NotSent,
    ParticipantNotFound,
    ProtocolError,
    RoomError,
    SendTimeout,
    WouldDeadlock,
)
from meshsync.protocol import events
from meshsync.protocol.content import Error
from meshsync.protocol.dialects import dialect
from meshsync.protocol.operations import Broadcast, Push, Request, Send, SetAttributes
from meshsync.protocol.session import Session
from meshsync.runtime.threads import ThreadRuntime, ThreadTask
from tests.support.interrupts import Interrupt, quiet_threads
from tests.support.scripted import PATIENCE, ScriptedTransport, packets_of, wait_until

CHAT = Send("p-2", "chat", {"text": "hi"})


class Recorder:
    """A handler that notes what it is notified of."""

    def __init__(self) -> None:
        self.events: list[events.Event] = []
        self.ends: list[MeshsyncError | None] = []
        self.unwritten: list[Delivery] = []
        self.on_event: Callable[[events.Event], None] = lambda event: None

    def received(self, event: events.Event) -> None:
        self.events.append(event)
        self.on_event(event)

    def comes_back(self, error: MeshsyncError) -> bool:
        return False

    def ended(self, error: MeshsyncError | None, unwritten: Sequence[Delivery]) -> None:
        self.ends.append(error)
        self.unwritten += unwritten


class Client:
    """A connection over a scripted transport, and its handler."""

    def __init__(self, transport: ScriptedTransport) -> None:
        self.transport = transport
        self.handler = Recorder()
        self.runtime = ThreadRuntime()
        self.connection = Connection(transport, Session(dialect("A")), self.runtime, self.handler, "me in lab")

    def open(self) -> Client:
        """Start, and wait for the greeting."""
        self.connection.start()
        assert self.connection.wait_open(PATIENCE)
        return self

    def wait_ended(self) -> bool:
        """Wait until the reader has ended; return whether it has."""
        return all(task.join(PATIENCE) for task in self.connection.tasks)

    def close(self) -> None:
        """Close it, as a client does that has time."""

        def finish() -> None:
            self.connection.flush(PATIENCE)
            self.connection.close_transport(1.0)

        self.connection.close(finish)

    def send(self, request: Request = CHAT, timeout: float | None = PATIENCE) -> Delivery:
        """Send a request as messaging does."""
        return self.connection.request(request, "it", timeout)

    def spawn(self, target: Callable[[], object]) -> ThreadTask:
        """Run something in a task of the program's."""
        return self.runtime.spawn(lambda: target() and None, name="program")

    def on_reader(self, target: Callable[[], object]) -> Any:
        """Run something on the reader and return what it returns or raises."""
        done, outcome = threading.Event(), list[Any]()

        def run(event: events.Event) -> None:
            try:
                outcome.append(target())
            except BaseException as error:
                outcome.append(error)
            done.set()

        self.handler.on_event = run
        self.transport.say(Push("p-2", "poke", {}))
        assert done.wait(PATIENCE)
        return outcome[0]


@pytest.fixture
def client() -> Iterator[Client]:
    """Return an open client whose room answers everything."""
    made = Client(ScriptedTransport()).open()
    yield made
    made.connection.abandon()


@pytest.fixture
def silent() -> Iterator[Client]:
    """Return an open client whose room answers nothing by itself."""
    made = Client(ScriptedTransport(answers=False)).open()
    yield made
    made.connection.abandon()


# --- opening ----------------------------------------------------------------------------------------------------------


def test_connection_is_open_once_the_greeting_came() -> None:
    """Until both halves of the greeting are there the connection is opening."""
    client = Client(ScriptedTransport(greets=False))
    client.connection.start()
    assert not client.connection.wait_open(0)
    assert client.connection.state is State.OPENING
    assert not client.connection.is_open
    client.transport.feed(ScriptedTransport()._incoming[0])
    assert client.connection.wait_open(PATIENCE)
    assert client.connection.is_open
    client.connection.abandon()


def test_loss_before_the_greeting_ends_the_wait_for_it() -> None:
    """Whoever waits for the greeting of a connection that ends is told, with the reason."""
    client = Client(ScriptedTransport(greets=False))
    client.transport.lose("reset by peer")
    client.open()
    assert client.connection.state is State.LOST
    assert str(client.connection.failure()) == "reset by peer"


def test_close_before_the_start_leaves_a_connection_that_ends_at_once() -> None:
    """A program that closes while the client is still being made gets a client that ends as closed."""
    client = Client(ScriptedTransport(greets=False))
    client.connection.abandon()
    client.connection.start()
    assert client.connection.wait_open(PATIENCE)
    assert client.wait_ended()
    assert client.connection.state is State.CLOSED
    assert isinstance(client.connection.failure(), ClientClosed)


def test_client_that_gets_no_reader_leaves_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system starts no more threads, what was started already ends."""
    client = Client(ScriptedTransport())
    spawn = client.runtime.spawn

    def refuse_the_reader(target: Callable[[], None], *, name: str) -> ThreadTask:
        if "reader" in name:
            raise RuntimeError("can't start new thread")
        return spawn(target, name=name)

    monkeypatch.setattr(client.runtime, "spawn", refuse_the_reader)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        client.connection.start()
    assert client.wait_ended()
    assert (client.connection.state, client.transport.closes) == (State.LOST, [(0, 1000)])
    assert str(client.handler.ends[0]) == "the client failed: RuntimeError: can't start new thread"


# --- requests and answers ---------------------------------------------------------------------------------------------


def test_acknowledged_request_is_done_and_no_longer_pending(silent: Client) -> None:
    """The answer with the request's id resolves it."""
    delivery = silent.send()
    assert (delivery.is_done, silent.connection.stats().pending) == (False, 1)
    silent.transport.answer(1)
    delivery.wait(PATIENCE)
    assert (delivery.error, silent.connection.stats().pending) == (None, 0)


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (Error("nobody", 1003), ParticipantNotFound, 1003),
        (Error("not allowed", 1001), RoomError, 1001),
        (Error("no"), RoomError, None),
    ],
)
def test_refusal_is_raised_as_its_kind(silent: Client, content: Error, kind: type[RoomError], code: int | None) -> None:
    """An error of the room becomes an error here, with its text and number, and the connection lives."""
    delivery = silent.send()
    silent.transport.answer(1, content)
    with pytest.raises(RoomError, match=content.text) as info:
        delivery.wait(PATIENCE)
    assert (type(info.value), info.value.code, info.value.connection_alive) == (kind, code, True)


def test_answer_that_came_before_send_returned_is_not_lost(silent: Client) -> None:
    """The room may answer while the sender is still in ``send``: the delivery is already known then."""
    resolved = threading.Event()
    silent.transport.answers = True
    silent.transport.before_answer = lambda: None
    inner = silent.transport.send

    def send(packets: Any, timeout: float | None) -> None:
        inner(packets, timeout)
        wait_until(lambda: silent.connection.stats().pending == 0)
        resolved.set()

    silent.transport.send = send  # type: ignore[method-assign]
    delivery = silent.send()
    assert resolved.is_set()
    delivery.wait(0)


def test_answers_may_come_in_any_order(silent: Client) -> None:
    """Each answer finds its own request."""
    first, second = silent.send(), silent.send()
    silent.transport.answer(2)
    second.wait(PATIENCE)
    assert not first.is_done
    silent.transport.answer(1)
    first.wait(PATIENCE)


def test_late_and_unknown_answers_do_no_harm(silent: Client) -> None:
    """Answers that nobody waits for are skipped, and the next request works."""
    silent.transport.answer(77)
    delivery = silent.send()
    silent.transport.answer(1)
    silent.transport.answer(1)
    delivery.wait(PATIENCE)
    silent.transport.answers = True
    silent.send().wait(PATIENCE)


def test_attributes_are_done_when_accepted(silent: Client) -> None:
    """The one request without an answer is not pending."""
    delivery = silent.send(SetAttributes({"mood": "calm"}))
    assert (delivery.is_done, silent.connection.stats().pending) == (True, 0)


def test_invalid_message_sends_nothing_and_uses_no_id(silent: Client) -> None:
    """What cannot be encoded raises before anything happens."""
    with pytest.raises(InvalidMessage, match=r"message\['x'\]"):
        silent.send(Send("p-2", "chat", {"x": float("nan")}))
    silent.send()
    assert silent.transport.requests == [(1, CHAT)]
    assert silent.connection.stats().pending == 1


def test_each_tasks_order_is_kept_on_the_wire(client: Client) -> None:
    """Eight tasks that send fifty each arrive complete, with each one's messages in order."""

    # 8 tasks x 50 messages = 400 requests.
    def program(task: int) -> None:
        for number in range(50):
            client.send(Broadcast("n", {"task": task, "number": number}))

    tasks = [client.spawn(lambda task=task: program(task)) for task in range(8)]  # type: ignore[misc]
    assert all(task.join(PATIENCE) for task in tasks)
    came = [r.message for _, r in client.transport.requests if isinstance(r, Broadcast)]
    assert len(came) == 400
    for task in range(8):
        assert [m["number"] for m in came if m["task"] == task] == list(range(50))
    assert [number for number, _ in client.transport.requests] == list(range(1, 401))
    wait_until(lambda: client.connection.stats().pending == 0)
    assert client.connection.stats().waiting_senders == 0
    assert client.connection.session.stats().pending == 0


# --- time limits of sending -------------------------------------------------------------------------------------------


def test_no_room_in_time_sends_nothing_and_says_that_repeating_is_safe(silent: Client) -> None:
    """A full buffer raises after the time limit, nothing is pending, and the next send works."""
    silent.transport.fill()
    with pytest.raises(SendTimeout) as info:
        silent.send(timeout=0)
    assert info.value.retryable
    assert silent.connection.stats().pending == 0
    assert silent.connection.session.stats().pending == 0
    silent.transport.make_room()
    silent.transport.answers = True
    silent.send().wait(PATIENCE)


def test_busy_connection_times_out_those_behind_by_their_own_limits(silent: Client) -> None:
    """While one waits for room with no limit, another's limit runs, and then both can go on."""
    silent.transport.fill()
    blocked = silent.spawn(lambda: silent.send(timeout=None))
    silent.transport.wait_for_sender()
    with pytest.raises(SendTimeout, match="it: the connection was busy for 0 s; not sent") as info:
        silent.send(timeout=0)
    assert info.value.retryable
    silent.transport.make_room()
    assert blocked.join(PATIENCE)
    assert silent.send().is_done is False
    assert len(silent.transport.requests) == 2


@pytest.mark.parametrize("end", ["acknowledgement", "refusal", "loss", "disregard", "full buffer"])
def test_room_is_made_by_every_end_of_a_delivery(end: str, silent: Client) -> None:
    """A message that fills the room keeps another out until it is done, in whatever way; control always goes."""
    big, room = Send("p-2", "chat", {"text": "x" * 100}), silent.connection.send_room
    room.limit = 100
    delivery = silent.send(big)
    with pytest.raises(SendTimeout, match=r"it: \d+ bytes are sent and were not acknowledged within 0 s") as info:
        silent.send(timeout=0)
    assert info.value.retryable
    assert silent.connection.stats().bytes_unacknowledged > 100
    silent.send(Send("p-2", "stream.meshsync.credit", {"stream_id": "s", "bytes": 1}), timeout=0)
    if end == "acknowledgement":
        silent.transport.answer(1)
    elif end == "refusal":
        silent.transport.answer(1, Error("no", 1001))
    elif end == "disregard":
        silent.connection.disregard(delivery)
    elif end == "loss":
        silent.transport.lose()
    else:
        silent.transport.answer(1)
        wait_until(lambda: room.held == 0)
        silent.transport.fill()
        with pytest.raises(SendTimeout):
            silent.send(big, timeout=0)
    wait_until(lambda: room.held == 0)


def test_reserved_request_goes_ahead_of_those_that_wait(silent: Client) -> None:
    """It waits for no turn, and not for room either; acknowledged, it is done."""
    silent.transport.fill()
    blocked = silent.spawn(lambda: silent.send(timeout=None))
    silent.transport.wait_for_sender()
    delivery = silent.connection.request(CHAT, "it", None, is_reserved=True)
    silent.transport.answer(silent.transport.requests[0][0])
    delivery.wait(PATIENCE)
    assert not blocked.is_done
    silent.transport.make_room()
    assert blocked.join(PATIENCE)


def test_reserved_request_that_the_reserve_refuses_leaves_nothing(silent: Client) -> None:
    """It raises at once, whatever its time limit, and is neither pending nor counted."""
    silent.transport.fill()
    silent.transport.has_reserve = False
    silent.transport.let_time_run_out()
    with pytest.raises(SendTimeout):
        silent.connection.request(CHAT, "it", None, is_reserved=True)
    assert silent.connection.stats().pending == silent.connection.session.stats().pending == 0


def test_reserved_requests_are_counted_in_the_order_of_the_wire(silent: Client) -> None:
    """Each is two packets: three written ones are the reserved request, and half of the one behind it."""
    deliveries = [silent.connection.request(CHAT, "it", 0, is_reserved=True), silent.send(), silent.send()]
    silent.transport.packets_written = 3
    silent.transport.lose()
    assert silent.wait_ended()
    assert [type(delivery.error) for delivery in deliveries] == [DeliveryUnknown, DeliveryUnknown, NotSent]


# --- the end ----------------------------------------------------------------------------------------------------------


def test_loss_tells_what_was_written_from_what_was_not(silent: Client) -> None:
    """Of three unacknowledged requests two had a byte written: they are unknown, the third is safe to repeat."""
    # Each request is a start packet and one body packet: 3 written packets are the first request and half the second.
    deliveries = [silent.send() for _ in range(3)]
    silent.transport.packets_written = 3
    silent.transport.lose()
    assert silent.wait_ended()
    assert [type(delivery.error) for delivery in deliveries] == [DeliveryUnknown, DeliveryUnknown, NotSent]
    assert str(deliveries[0].error) == "the message may or may not have arrived: the network is gone"
    assert str(deliveries[2].error) == "the message was not sent: the network is gone"
    assert [delivery.error.code for delivery in deliveries if isinstance(delivery.error, ConnectionLost)] == [1006] * 3


def test_exactly_unwritten_request_is_safe_to_repeat(silent: Client) -> None:
    """A request of whose packets none was written is `NotSent`, with the one before it unknown."""
    deliveries = [silent.send() for _ in range(2)]
    silent.transport.packets_written = 2
    silent.transport.lose()
    assert silent.wait_ended()
    assert [type(delivery.error) for delivery in deliveries] == [DeliveryUnknown, NotSent]


def test_requests_that_timed_out_unsent_do_not_count_as_written(silent: Client) -> None:
    """What the buffer never took has no place in the count of packets."""
    silent.transport.fill()
    with pytest.raises(SendTimeout):
        silent.send(timeout=0)
    silent.transport.make_room()
    delivery = silent.send()
    silent.transport.packets_written = 0
    silent.transport.lose()
    assert silent.wait_ended()
    assert isinstance(delivery.error, NotSent)


def test_calls_after_the_loss_raise_at_once(silent: Client) -> None:
    """A request on a lost connection was not sent, and says why."""
    silent.transport.lose("reset by peer")
    assert silent.wait_ended()
    with pytest.raises(NotSent, match="nothing was sent: reset by peer") as info:
        silent.send()
    assert (info.value.retryable, info.value.connection_alive) == (True, False)
    assert silent.handler.ends[0] is not None
    assert len(silent.handler.ends) == 1


def test_blocked_senders_are_let_go_by_the_loss(silent: Client) -> None:
    """Those who wait for room, and those who wait for their turn behind them, all learn that nothing was sent."""
    silent.transport.fill()
    tasks = [silent.spawn(lambda: silent.send(timeout=None)) for _ in range(3)]
    silent.transport.wait_for_sender()
    wait_until(lambda: silent.connection.stats().waiting_senders == 3)
    with quiet_threads():
        silent.transport.lose()
        assert all(task.join(PATIENCE) for task in tasks)
    assert [type(task.error) for task in tasks] == [NotSent] * 3
    assert silent.connection.stats().pending == 0


def test_what_came_before_the_loss_is_still_reported(silent: Client) -> None:
    """Events that arrived in the last read come before the end."""
    told = list[str]()
    silent.handler.on_event = lambda event: told.append(type(event).__name__)
    ended = silent.handler.ended

    def note_end(error: MeshsyncError | None, unwritten: Sequence[Delivery]) -> None:
        told.append("end")
        ended(error, unwritten)

    silent.handler.ended = note_end  # type: ignore[method-assign]
    silent.transport.feed(packets_of(*[Push("p-2", "chat", {})] * 3))
    silent.transport.lose()
    assert silent.wait_ended()
    assert told == ["Received", "Received", "Received", "end"]


def test_broken_protocol_ends_the_connection_with_its_code(silent: Client) -> None:
    """A packet that makes no sense closes the transport with the fault's code, and callers get the fault."""
    silent.transport.feed([b"\0\0\0"])
    assert silent.wait_ended()
    assert silent.transport.closes[0] == (1.0, 1002)
    assert isinstance(silent.connection.failure(), ProtocolError)
    assert silent.connection.failure() is not silent.connection.failure()
    assert isinstance(silent.handler.ends[0], ProtocolError)


def test_fault_of_ours_on_the_reader_ends_everything_loudly(silent: Client, caplog: pytest.LogCaptureFixture) -> None:
    """An exception where none should be fails what is pending instead of leaving callers waiting."""

    def fail(event: events.Event) -> None:
        raise ZeroDivisionError("oops")

    delivery = silent.send()
    silent.handler.on_event = fail
    silent.transport.say(Push("p-2", "chat", {}))
    with pytest.raises(DeliveryUnknown, match="the client failed: ZeroDivisionError: oops"):
        delivery.wait(PATIENCE)
    assert silent.wait_ended()
    assert "the reader failed" in caplog.text


def test_pushes_that_cannot_be_read_are_skipped(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """A message of an unknown type is logged, and the conversation goes on."""
    client.transport.feed([bytes(16) + b"room.unknown"])
    client.send().wait(PATIENCE)
    assert "skipped a message of type 'room.unknown', which this client does not know" in caplog.text


# --- closing ----------------------------------------------------------------------------------------------------------


def test_closing_refuses_new_requests_and_lets_those_under_way_finish(silent: Client) -> None:
    """The end comes after the acknowledgement, and counts as the program's wish."""
    delivery = silent.send()
    closing = silent.spawn(silent.close)
    wait_until(lambda: silent.connection.state is State.CLOSING)
    with pytest.raises(ClientClosed, match="closed by this program; connect again"):
        silent.send()
    assert silent.transport.closes == []
    silent.transport.answer(1)
    assert closing.join(PATIENCE)
    assert silent.wait_ended()
    delivery.wait(0)
    assert (silent.connection.state, silent.handler.ends) == (State.CLOSED, [None])


def test_only_the_first_close_finishes_the_connection(client: Client) -> None:
    """Whatever comes later finds it closing or ended."""
    finished: list[int] = []
    for number in range(3):
        client.connection.close(lambda number=number: finished.append(number))  # type: ignore[misc]
    assert finished == [0]


def test_close_that_fails_cuts_the_connection(client: Client) -> None:
    """Where no task can be started, say: nothing else would end it, since a second close only waits."""

    def fail() -> None:
        raise RuntimeError("can't start new thread")

    with pytest.raises(RuntimeError, match="can't start new thread"):
        client.connection.close(fail)
    assert client.wait_ended()
    assert (client.connection.state, client.transport.closes[0]) == (State.CLOSED, (0, 1000))


def test_abandoned_before_its_start_it_ends_all_the_same() -> None:
    """There is no reader that notices, and the handler has to know."""
    client = Client(ScriptedTransport(greets=False))
    client.connection.abandon()
    assert (client.connection.state, client.handler.ends) == (State.CLOSED, [None])
    assert client.transport.closes == [(0, 1000)]


# --- what would never end ---------------------------------------------------------------------------------------------


def test_sending_on_the_reader_never_waits(silent: Client) -> None:
    """A finalizer on the reader may send; for room it cannot wait, since it would have to make it."""
    assert isinstance(silent.on_reader(silent.send), Delivery)
    silent.transport.fill()
    assert isinstance(silent.on_reader(lambda: silent.send(timeout=None)), SendTimeout)
    silent.transport.make_room()


def test_task_that_got_the_readers_name_is_not_taken_for_it(silent: Client) -> None:
    """The system gives a dead thread's name to a new one, which may wait like any other."""
    silent.transport.lose()
    assert silent.wait_ended()
    assert silent.connection._reader_id is None
    silent.connection.refuse_to_block("it")


def test_waiting_on_the_reader_is_refused(client: Client) -> None:
    """The task that reads must not wait for what only it could bring."""
    delivery = client.send()
    assert isinstance(client.on_reader(lambda: client.connection.refuse_to_block("it")), WouldDeadlock)
    assert client.on_reader(lambda: client.connection.is_on_reader)
    assert not client.connection.is_on_reader
    delivery.wait(PATIENCE)


def test_child_of_a_fork_cannot_use_its_parents_connection(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a child, sending and waiting raise at once, and the connection is not open."""
    monkeypatch.setattr(forks, "_forks", 1)
    pending = Delivery("it", client.runtime, client.connection.refuse_to_block)
    for call in (client.send, pending.wait):
        with pytest.raises(ForkedClientError, match=r"belongs to the parent process: call meshsync.connect\(\)"):
            call()
    assert (client.connection.is_open, client.connection.is_of_parent) == (False, True)


# --- Ctrl-C, anywhere -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_contended", [False, True])
def test_send_interrupted_anywhere_leaves_the_turn_free(client: Client, is_contended: bool) -> None:
    """Ctrl-C at each place of a send, alone or with somebody waiting behind: that one and the next send work."""
    for place in range(1, 1000):
        behind: list[ThreadTask] = []

        def let_another_queue_up(behind: list[ThreadTask] = behind) -> None:
            client.transport.before_answer = lambda: None
            behind.append(client.spawn(lambda: client.send().wait(PATIENCE)))
            wait_until(lambda: client.connection.stats().waiting_senders == 2)

        if is_contended:
            client.transport.before_answer = let_another_queue_up
        was_interrupted = Interrupt(place).run(lambda: client.send().wait(PATIENCE))
        client.transport.before_answer = lambda: None
        assert all(task.join(PATIENCE) for task in behind), f"the one behind hangs, interrupted at place {place}"
        client.send(timeout=PATIENCE).wait(PATIENCE)
        if not was_interrupted:
            break
    assert 20 < place < 999
    wait_until(lambda: client.connection.stats().pending == 0)
    assert client.connection.stats().waiting_senders == 0


def test_waiting_for_the_turn_interrupted_anywhere_leaves_the_line(silent: Client) -> None:
    """Ctrl-C at each place of waiting behind somebody who is blocked: the line holds nobody who has gone."""
    silent.transport.fill()
    for place in range(1, 1000):
        holder = silent.spawn(lambda: silent.send(timeout=None))
        silent.transport.wait_for_sender()
        try:
            was_interrupted = Interrupt(place).run(lambda: silent.send(timeout=0))
        except SendTimeout:
            was_interrupted = False
        assert silent.connection.stats().waiting_senders == 1, f"interrupted at place {place}"
        silent.transport.make_room()
        assert holder.join(PATIENCE)
        silent.transport.fill()
        if not was_interrupted:
            break
    assert 20 < place < 999


def test_interrupted_send_is_not_waited_for_when_closing(silent: Client) -> None:
    """Nobody has the handle of a send that Ctrl-C struck, so closing does not wait for its answer."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    silent.transport.answers = True
    silent.transport.before_answer = interrupt
    with pytest.raises(KeyboardInterrupt):
        silent.send()
    assert silent.connection.stats().pending == 0
    silent.close()
    assert silent.wait_ended()
    assert silent.connection.state is State.CLOSED


def test_receipt_of_an_interrupted_send_tells_whether_it_was_sent(silent: Client) -> None:
    """At each place of it, and in the transport before and behind the moment of acceptance."""
    for place in range(1, 1000):
        receipt, before = Receipt(), len(silent.transport.requests)
        was_interrupted = Interrupt(place).run(
            lambda receipt=receipt: silent.connection.request(CHAT, "it", PATIENCE, None, receipt)
        )
        assert receipt.is_sent == (len(silent.transport.requests) > before), f"interrupted at place {place}"
        if not was_interrupted:
            break
    assert 20 < place < 999

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    silent.transport.answers, silent.transport.before_answer, behind = True, interrupt, Receipt()
    with pytest.raises(KeyboardInterrupt):
        silent.connection.request(CHAT, "it", PATIENCE, None, behind)
    silent.transport.send, in_front = interrupt, Receipt()  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        silent.connection.request(CHAT, "it", PATIENCE, None, in_front)
    assert (behind.is_sent, in_front.is_sent) == (True, False)


def test_end_of_an_interrupted_send_is_reported_to_who_counts_on_it(silent: Client) -> None:
    """A stream counts what the room has not acknowledged, and would wait for ever."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    reported: list[object] = []
    silent.transport.answers, silent.transport.before_answer = True, interrupt
    with pytest.raises(KeyboardInterrupt):
        silent.connection.request(CHAT, "it", PATIENCE, reported.append)
    assert silent.connection.stats().pending == 1
    silent.transport.lose()
    assert silent.wait_ended()
    assert [type(one) for one in reported] == [DeliveryUnknown]


def test_after_an_interrupted_send_the_count_of_packets_is_exact(silent: Client) -> None:
    """So a loss calls a delivery unsent that is, as it does without Ctrl-C."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    silent.transport.answers, silent.transport.before_answer = True, interrupt
    with pytest.raises(KeyboardInterrupt):
        silent.send()
    silent.transport.answers = False
    delivery = silent.send()
    silent.transport.packets_written = 0
    silent.transport.lose()
    assert silent.wait_ended()
    assert isinstance(delivery.error, NotSent)


def test_after_an_interrupted_use_of_the_reserve_no_delivery_is_called_unsent(silent: Client) -> None:
    """Others may use it at once, so the count of packets is in doubt: repeating what had arrived would be worse."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    silent.transport.answers, silent.transport.before_answer = True, interrupt
    with pytest.raises(KeyboardInterrupt):
        silent.connection.request(CHAT, "it", 0, None, is_reserved=True)
    silent.transport.answers = False
    delivery = silent.send()
    silent.transport.packets_written = 0
    silent.transport.lose()
    assert silent.wait_ended()
    assert isinstance(delivery.error, DeliveryUnknown)
