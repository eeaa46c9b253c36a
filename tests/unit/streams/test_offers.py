"""Streams that peers offer, over a connection that is none: who decides, and when nobody does."""

from __future__ import annotations

from typing import Any

import pytest

from meshsync.connection.inbox import Inbox
from meshsync.errors import ClientClosed
from meshsync.runtime.interfaces import TaskExit
from tests.support.interrupts import Interrupt
from tests.support.stream_tables import NO_HANDLER, TableOfStreams


@pytest.fixture
def client() -> TableOfStreams:
    """Return a client."""
    return TableOfStreams()


def test_an_offer_has_30_seconds(client: TableOfStreams) -> None:
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
        subscription = client.table.subscribe(None, 1)
        client.hear("open", header={})
        assert len(client.line.alarms) == 1
        getattr(subscription.get(0), decide)()
        assert client.line.alarms == {}
        client.hear("close")
        subscription.close()


def test_a_callback_runs_in_a_task_and_accepts_by_returning(client: TableOfStreams) -> None:
    """Not on the task that reads."""
    called: list[Any] = []
    client.table.accepter = called.append
    client.hear("open", header={"n": 1})
    assert called == []
    client.line.tasks[0]()
    assert [reader.header for reader in called] == [{"n": 1}]
    assert client.line.sent == [("stream.accept", {"stream_id": "s-1"})]
    assert client.table.callbacks == 0


def test_a_task_that_cannot_be_started_rejects(client: TableOfStreams) -> None:
    """The system has no threads left, say."""
    client.table.accepter = lambda reader: None
    client.line.spawn_error = RuntimeError("can't start new thread")
    client.hear("open", header={})
    assert client.line.sent == [("stream.reject", {"stream_id": "s-1", "error": "can't start new thread"})]
    assert client.is_tidy


def test_a_task_that_is_told_to_end_ends(client: TableOfStreams) -> None:
    """A simulation ends its tasks by an exception, which is no failure of the program."""

    def end(reader: Any) -> None:
        raise TaskExit

    client.table.accepter = end
    client.hear("open", header={})
    with pytest.raises(TaskExit):
        client.line.tasks[0]()
    assert client.reports == []
    assert client.table.callbacks == 0


def test_no_more_callbacks_run_at_once_than_64(client: TableOfStreams) -> None:
    """Those that have returned do not count."""
    client.table.accepter = lambda reader: None
    for n in range(65):
        client.hear("open", id=f"s-{n}", header={})
    assert len(client.line.tasks) == 64
    assert client.line.sent == [("stream.reject", {"stream_id": "s-64", "error": "too many streams"})]
    client.line.tasks[0]()
    client.hear("open", id="s-65", header={})
    assert len(client.line.tasks) == 65


def test_rejection_without_a_callback_is_final() -> None:
    """Here it does not change by itself."""
    client = TableOfStreams()
    client.hear("open", header={})
    assert client.line.sent == [
        (
            "stream.reject",
            {"stream_id": "s-1", "error": NO_HANDLER, "meshsync": {"version": 1, "is_final": True}},
        )
    ]


# --- subscriptions ----------------------------------------------------------------------------------------------------


def test_an_offer_that_meets_a_closing_subscription_is_rejected(
    client: TableOfStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscription that the program closes while it is given a stream rejects that."""
    subscription, put = client.table.subscribe(None, 5), Inbox.put

    def put_when_closed(inbox: Inbox[Any], item: object) -> bool:
        subscription.close()
        return put(inbox, item)

    monkeypatch.setattr(Inbox, "put", put_when_closed)
    client.hear("open", header={})
    assert client.line.sent == [("stream.reject", {"stream_id": "s-1", "error": "the program takes no more streams"})]
    assert client.is_tidy


def test_a_stream_that_a_task_has_read_is_not_rejected_by_the_close_of_its_subscription(
    client: TableOfStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which comes while the stream is handed out: it is the task's to decide on."""
    subscription, put = client.table.subscribe(None, 5), Inbox.put
    read: list[Any] = []

    def put_and_close(inbox: Inbox[Any], item: object) -> bool | None:
        result = put(inbox, item)
        read.append(subscription.get(0))
        subscription.close()
        return result

    monkeypatch.setattr(Inbox, "put", put_and_close)
    client.hear("open", header={})
    assert client.line.sent == []
    read[0].accept()
    assert [type for type, _ in client.line.sent] == ["stream.accept"]


def test_a_subscription_whose_making_was_interrupted_gets_nothing(client: TableOfStreams) -> None:
    """Ctrl-C at each place of it: no program could read the streams that it takes from the accept callback."""
    for place in range(1, 1000):
        was_interrupted = Interrupt(place, spared=("subscribe",)).run(lambda: client.table.subscribe(None, 5))
        if not was_interrupted:
            break
        assert client.table._offers._subscriptions == (), f"interrupted at place {place}"
    assert 10 < place < 999


def test_a_client_that_leaves_has_no_new_streams(client: TableOfStreams) -> None:
    """None would end those that come behind the last look: opening is refused, and offers are rejected."""
    client.table.leave(0)
    client.hear("open", header={})
    assert client.line.sent == [("stream.reject", {"stream_id": "s-1", "error": "the recipient is leaving"})]
    with pytest.raises(ClientClosed):
        client.open()
    assert len(client.line.sent) == 1
    assert client.is_tidy


def test_the_end_of_the_client_ends_subscriptions(client: TableOfStreams) -> None:
    """Those that are there, and one that is made afterwards."""
    before = client.table.subscribe(None, 5)
    client.table.end()
    for subscription in (before, client.table.subscribe(None, 5)):
        with pytest.raises(ClientClosed):
            subscription.get(None)
        assert list(subscription) == []


def test_a_subscription_holds_at_least_one(client: TableOfStreams) -> None:
    """Or it would take none."""
    with pytest.raises(ValueError, match="maxsize is at least 1"):
        client.table.subscribe(None, 0)
