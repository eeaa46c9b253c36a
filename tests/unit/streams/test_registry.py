"""All streams of one client, over a connection that is none: who gets offers, what is told to whom, what is left."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from meshsync.connection.deliveries import Delivery
from meshsync.errors import (
    ClientClosed,
    ConnectionLost,
    MeshsyncError,
    SendTimeout,
    StreamInterrupted,
    StreamRejected,
    StreamTimeout,
)
from meshsync.messages import RoomMessageEvent
from meshsync.participants import ParticipantDirectory, RemoteParticipant
from meshsync.protocol import events
from meshsync.protocol.dialects import dialect
from meshsync.protocol.roster import RosterEntry
from meshsync.runtime.interfaces import TaskExit
from meshsync.runtime.threads import ThreadRuntime
from meshsync.streams import registry
from meshsync.streams.registry import StreamTable

RUNTIME = ThreadRuntime()


class Line:
    """A connection that notes what is asked of it, and acknowledges everything that it has room for."""

    runtime = RUNTIME
    is_open = True

    def __init__(self) -> None:
        self.session = SimpleNamespace(dialect=dialect("A"))
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.alarms: dict[object, tuple[float, Callable[[], None]]] = {}
        self.posted: list[Callable[[], None]] = []
        self.tasks: list[Callable[[], None]] = []
        self.refusal: BaseException | None = None
        """What sending raises."""
        self.spawn_error: Exception | None = None
        self.on_send: Callable[[], object] = lambda: None
        self.timeouts: list[float | None] = []

    def request(self, request: Any, what: str, timeout: float | None) -> Delivery:
        self.timeouts.append(timeout)
        if self.refusal is not None:
            raise self.refusal
        self.sent.append((request.type, dict(request.message)))
        delivery = Delivery(what, RUNTIME, self.refuse_to_block)
        delivery._resolve(None)
        self.on_send()
        return delivery

    def refuse_to_block(self, what: str) -> None:
        pass

    def set_alarm(self, key: object, seconds: float, ring: Callable[[], None]) -> None:
        self.alarms[key] = (seconds, ring)

    def cancel_alarm(self, key: object) -> None:
        self.alarms.pop(key, None)

    def post(self, item: Any) -> None:
        self.posted.append(item)

    def spawn(self, target: Callable[[], None], name: str) -> None:
        if self.spawn_error is not None:
            raise self.spawn_error
        self.tasks.append(target)

    def failure(self) -> MeshsyncError:
        return ClientClosed("the client was closed")


class Client:
    """A table over a line, in a room with Bob."""

    def __init__(self) -> None:
        self.line = Line()
        self.published: list[RoomMessageEvent] = []
        self.reports: list[BaseException] = []
        presence = ParticipantDirectory(RUNTIME)
        self.bob: RemoteParticipant = presence.enter(RosterEntry("p-2", "user", {"name": "bob"}))
        line: Any = self.line
        self.table = StreamTable(
            line,
            presence,
            publish=self.published.append,
            limit=lambda timeout: 0.0 if timeout == "default" else timeout,
            hook=lambda reader: reader,
            report=lambda accepter, error: self.reports.append(error),
        )

    def hear(self, type: str, id: str = "s-1", sender: str = "p-2", **body: Any) -> None:
        """Have somebody say something."""
        self.table.take(events.Received(sender, f"stream.{type}", {"stream_id": id} | body, b""))

    def open(self) -> Any:
        """Open a stream to Bob, who has no time to answer unless it was arranged."""
        return self.table.open(self.bob, {"kind": "x"}, "default", "classic")

    @property
    def is_tidy(self) -> bool:
        """Whether nothing is left of any stream, but for the tasks of callbacks."""
        return not (self.table._streams or self.line.alarms)


@pytest.fixture
def client() -> Client:
    """Return a client."""
    return Client()


# --- opening ----------------------------------------------------------------------------------------------------------


def test_ids_are_uuids(client: Client) -> None:
    """Of version 4, as official openers make them; each its own."""
    ids = set()
    for _ in range(20):
        with pytest.raises(StreamTimeout):
            client.open()
        ids.add(client.line.sent[-2][1]["stream_id"])
    assert len(ids) == 20
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", id) for id in ids)


def test_an_opening_that_is_interrupted_is_taken_back(client: Client) -> None:
    """Ctrl-C while waiting: the other side is told, and nothing is left."""

    def strike() -> None:
        client.line.on_send = lambda: None
        raise KeyboardInterrupt

    client.line.on_send = strike
    with pytest.raises(KeyboardInterrupt):
        client.open()
    assert [type for type, _ in client.line.sent] == ["stream.open", "stream.close"]
    assert client.is_tidy


def test_an_offer_that_could_not_be_sent_was_not_made(client: Client) -> None:
    """The connection's error comes out; there is nobody to be told."""
    client.line.refusal = ConnectionLost("lost")
    with pytest.raises(ConnectionLost):
        client.open()
    client.line.refusal = SendTimeout("no room", retryable=True)
    with pytest.raises(StreamTimeout, match="no room"):
        client.open()
    assert client.is_tidy


def test_an_answer_that_is_there_before_the_wait_is_found(client: Client) -> None:
    """Consent, or refusal."""

    def answer(**answers: Any) -> None:
        ((type, body),) = answers.items()

        def say() -> None:
            client.line.on_send = lambda: None
            client.hear(type, client.line.sent[-1][1]["stream_id"], **body)

        client.line.on_send = say

    answer(accept={})
    assert client.open().header == {"kind": "x"}
    answer(reject={"error": "busy"})
    with pytest.raises(StreamRejected, match=r"^busy$"):
        client.open()
    assert len(client.table._streams) == 1


# --- offers -----------------------------------------------------------------------------------------------------------


def test_an_offer_has_30_seconds(client: Client) -> None:
    """An alarm is set, which rejects; whatever decides before takes it back."""
    client.table.accepter = lambda reader: None
    client.hear("open", header={})
    ((seconds, ring),) = client.line.alarms.values()
    ring()
    assert seconds == 30
    assert client.line.sent == [("stream.reject", {"stream_id": "s-1", "error": "not decided upon within 30 s"})]
    ring()
    assert len(client.line.sent) == 1
    assert client.is_tidy
    for decide in ("accept", "reject", "close"):
        client.hear("open", header={})
        (stream,) = client.table._streams.values()
        assert len(client.line.alarms) == 1
        getattr(stream.reader, decide)()
        assert client.line.alarms == {}
        client.hear("close")


def test_a_callback_runs_in_a_task_and_accepts_by_returning(client: Client) -> None:
    """Not on the task that reads."""
    called: list[Any] = []
    client.table.accepter = called.append
    client.hear("open", header={"n": 1})
    assert called == []
    client.line.tasks[0]()
    assert [reader.header for reader in called] == [{"n": 1}]
    assert client.line.sent == [("stream.accept", {"stream_id": "s-1"})]
    assert client.table._callbacks == 0


def test_a_task_that_cannot_be_started_rejects(client: Client) -> None:
    """The system has no threads left, say."""
    client.table.accepter = lambda reader: None
    client.line.spawn_error = RuntimeError("can't start new thread")
    client.hear("open", header={})
    assert client.line.sent == [("stream.reject", {"stream_id": "s-1", "error": "can't start new thread"})]
    assert client.is_tidy


def test_a_task_that_is_told_to_end_ends(client: Client) -> None:
    """A simulation ends its tasks by an exception, which is no failure of the program."""

    def end(reader: Any) -> None:
        raise TaskExit

    client.table.accepter = end
    client.hear("open", header={})
    with pytest.raises(TaskExit):
        client.line.tasks[0]()
    assert client.reports == []
    assert client.table._callbacks == 0


def test_no_more_callbacks_run_at_once_than_64(client: Client) -> None:
    """Those that have returned do not count."""
    client.table.accepter = lambda reader: None
    for n in range(65):
        client.hear("open", id=f"s-{n}", header={})
    assert len(client.line.tasks) == 64
    assert client.line.sent == [("stream.reject", {"stream_id": "s-64", "error": "too many streams"})]
    client.line.tasks[0]()
    client.hear("open", id="s-65", header={})
    assert len(client.line.tasks) == 65


# --- words for which nobody waits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["answer", "late rejection", "overflow", "late consent"])
def test_where_the_reader_finds_no_room_the_dispatcher_says_it(client: Client, word: str) -> None:
    """The reader does not wait; the other side is told all the same."""
    line = client.line
    if word in ("late rejection", "overflow"):
        client.table.accepter = lambda reader: None
        client.hear("open", header={})
    if word == "late consent":
        with pytest.raises(StreamTimeout):
            client.open()
    id = line.sent[0][1]["stream_id"] if line.sent else "s-1"
    line.sent.clear()
    line.refusal = SendTimeout("busy", retryable=True)
    if word == "answer":
        client.hear("open", header={})
    elif word == "late rejection":
        client.line.alarms["p-2", "s-1"][1]()
    elif word == "overflow":
        big = bytes(4 * 1024 * 1024)
        client.table._streams["p-2", "s-1"].accept = lambda: None  # type: ignore[method-assign]
        client.table._streams["p-2", "s-1"].account.open(None)
        for _ in range(17):
            client.table.take(events.Received("p-2", "stream.chunk", {"stream_id": "s-1", "header": {}}, big))
    else:
        client.hear("accept", id)
    line.refusal = None
    assert line.sent == []
    (say,) = line.posted
    say()
    ((type, body),) = line.sent
    assert type == {"answer": "stream.reject", "late rejection": "stream.reject"}.get(word, "stream.close")
    assert body["stream_id"] == id
    assert client.is_tidy


def test_a_word_that_cannot_be_said_at_all_is_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Unless the connection has ended, when nobody would hear it anyway."""
    client.line.refusal = SendTimeout("busy", retryable=True)
    client.hear("open", header={})
    client.line.posted[0]()
    assert [record.getMessage() for record in caplog.records] == ["rejecting a stream of p-2 was not sent: busy"]
    client.line.refusal = ConnectionLost("lost")
    client.hear("open", header={})
    assert len(client.line.posted) == len(caplog.records) == 1


def test_a_log_handler_that_raises_harms_nobody(client: Client) -> None:
    """What it is told of is somebody else's fault already."""

    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no log")

    handler = Raising()
    logging.getLogger("meshsync").addHandler(handler)
    try:
        client.hear("chunk", header={})
    finally:
        logging.getLogger("meshsync").removeHandler(handler)


# --- what has been ----------------------------------------------------------------------------------------------------


def test_so_many_ended_streams_are_remembered(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late words for those are no fault; of earlier ones nothing is kept."""
    monkeypatch.setattr(registry, "PAST", 3)
    client.table.accepter = lambda reader: None
    for n in range(5):
        client.hear("open", id=f"s-{n}", header={})
        client.hear("close", id=f"s-{n}")
    for n in range(5):
        client.hear("chunk", id=f"s-{n}", header={})
    assert len(caplog.records) == 2
    assert len(client.table._past) == 3


def test_an_ended_stream_whose_id_was_used_again_is_the_latest(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is remembered as long as others from then on."""
    monkeypatch.setattr(registry, "PAST", 3)
    client.table.accepter = lambda reader: None
    for n in (0, 1, 2, 0, 3):
        client.hear("open", id=f"s-{n}", header={})
        client.hear("close", id=f"s-{n}")
    client.hear("chunk", id="s-0", header={})
    assert caplog.records == []
    client.hear("chunk", id="s-1", header={})
    assert len(caplog.records) == 1


def test_a_late_consent_is_answered_only_where_this_client_gave_up(client: Client) -> None:
    """Where its stream had been open, its acceptor knows the end."""
    with pytest.raises(StreamTimeout):
        client.open()
    id = client.line.sent[0][1]["stream_id"]
    client.line.sent.clear()
    client.hear("accept", id)
    body = {"stream_id": id, "meshsync": {"version": 1, "is_complete": False}}
    assert client.line.sent == [("stream.close", body)]
    client.line.on_send = lambda: client.hear("accept", client.line.sent[-1][1]["stream_id"])
    stream = client.open()
    client.line.on_send = lambda: None
    client.hear("close", stream.id)
    client.line.sent.clear()
    client.hear("accept", stream.id)
    assert client.line.sent == []


# --- subscriptions ----------------------------------------------------------------------------------------------------


def test_an_offer_that_meets_a_closing_subscription_is_rejected(client: Client) -> None:
    """Nobody would find it there."""
    subscription = client.table.subscribe(None, 5)
    subscription.close()
    client.table._subscriptions = (subscription,)  # As the reader saw it before.
    client.hear("open", header={})
    assert client.line.sent == [("stream.reject", {"stream_id": "s-1", "error": "the program takes no more streams"})]
    assert client.is_tidy


def test_the_end_of_the_client_ends_subscriptions(client: Client) -> None:
    """Those that are there, and one that is made afterwards."""
    before = client.table.subscribe(None, 5)
    client.table.end()
    for subscription in (before, client.table.subscribe(None, 5)):
        with pytest.raises(ClientClosed):
            subscription.get(None)
        assert list(subscription) == []


def test_a_subscription_holds_at_least_one(client: Client) -> None:
    """Or it would take none."""
    with pytest.raises(ValueError, match="maxsize is at least 1"):
        client.table.subscribe(None, 0)


# --- clients of other releases ----------------------------------------------------------------------------------------

NO_HANDLER = "Streams are not allowed by this client"


def answer_offers(client: Client, *answers: Callable[[str], None]) -> None:
    """Have Bob answer offers, one after the other."""
    waiting = list(answers)

    def answer() -> None:
        type, body = client.line.sent[-1]
        if type == "stream.open":
            waiting.pop(0)(body["stream_id"])

    client.line.on_send = answer


def test_newcomer_that_seems_to_want_no_streams_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a moment after it has enabled messaging, an official client only seems so."""
    monkeypatch.setattr(registry, "RETRY_AFTER", 0.001)
    client = Client()
    client.table.peer_came(client.bob)
    answer_offers(
        client,
        lambda id: client.hear("reject", id, error=NO_HANDLER),
        lambda id: client.hear("accept", id),
    )
    stream = client.table.open(client.bob, {}, 10.0, "classic")
    offers = [body["stream_id"] for type, body in client.line.sent if type == "stream.open"]
    assert len(set(offers)) == 2  # another id: old clients keep the first
    assert stream.id == offers[1]


@pytest.mark.parametrize(
    ("is_new", "rejection"),
    [
        (False, {"error": NO_HANDLER}),
        (True, {"error": "busy"}),
        (True, {"error": NO_HANDLER, "meshsync": {"version": 1, "is_final": True}}),
    ],
)
def test_rejection_that_stands_is_not_tried_again(is_new: bool, rejection: dict[str, Any]) -> None:
    """Of somebody who has been here, with another reason, or of a client that says so."""
    client = Client()
    if is_new:
        client.table.peer_came(client.bob)
    answer_offers(client, lambda id: client.hear("reject", id, **rejection))
    with pytest.raises(StreamRejected) as caught:
        client.table.open(client.bob, {}, 10.0, "classic")
    assert caught.value.is_final == ("meshsync" in rejection)


def test_newcomer_has_no_more_time_than_there_is() -> None:
    """The rejection is raised rather than a time-out."""
    client = Client()
    client.table.peer_came(client.bob)
    answer_offers(client, lambda id: client.hear("reject", id, error=NO_HANDLER))
    with pytest.raises(StreamRejected, match="not allowed"):
        client.table.open(client.bob, {}, 0.05, "classic")


def test_rejection_without_a_callback_is_final() -> None:
    """Here it does not change by itself."""
    client = Client()
    client.hear("open", header={})
    assert client.line.sent == [
        (
            "stream.reject",
            {"stream_id": "s-1", "error": NO_HANDLER, "meshsync": {"version": 1, "is_final": True}},
        )
    ]


def test_who_would_wait_for_ever_is_told_before_the_client_leaves() -> None:
    """Old clients end no stream because its other side has left; those of this package do."""
    client = Client()
    answer_offers(client, lambda id: client.hear("accept", id))
    mine = client.open()
    answer_offers(client, lambda id: client.hear("accept", id, meshsync={"version": 1, "window": 99}))
    agreed = client.open()
    client.line.on_send = lambda: None
    client.table.accepter = lambda reader: reader.accept()
    client.hear("open", "theirs", header={})
    client.hear("open", "undecided", header={})
    client.line.tasks[0]()
    client.line.sent.clear()
    client.table.leave(1.0)
    assert client.line.sent == [
        ("stream.close", {"stream_id": mine.id}),
        ("stream.close", {"stream_id": "theirs"}),
        ("stream.reject", {"stream_id": "undecided", "error": "left the room"}),
    ]
    with pytest.raises(StreamInterrupted, match="closed") as caught:
        mine.write(b"more", 0.0)
    assert not caught.value.connection_alive
    assert list(client.table._streams.values()) == [agreed]
