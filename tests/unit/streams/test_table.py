"""All streams of a client as its messaging uses them: late messages, leaving, ending."""

from __future__ import annotations

import logging

import pytest

from meshsync.errors import StreamInterrupted, StreamTimeout
from tests.support.stream_tables import TableOfStreams, answer_offers


@pytest.fixture
def client() -> TableOfStreams:
    """Return a client."""
    return TableOfStreams()


def test_a_late_consent_is_answered_only_where_this_client_gave_up(client: TableOfStreams) -> None:
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
    client.hear("close", stream.writer.stream_id)
    client.line.sent.clear()
    client.hear("accept", stream.writer.stream_id)
    assert client.line.sent == []


def test_a_log_handler_that_raises_harms_nobody(client: TableOfStreams) -> None:
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
    assert client.line.sent == []


def test_who_would_wait_for_ever_is_told_before_the_client_leaves() -> None:
    """Old clients end no stream because its other side has left; those of this package do."""
    client = TableOfStreams()
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
    client.table.leave(0)
    assert client.line.sent == [
        ("stream.close", {"stream_id": mine.writer.stream_id}),
        ("stream.close", {"stream_id": "theirs"}),
        ("stream.reject", {"stream_id": "undecided", "error": "left the room"}),
    ]
    with pytest.raises(StreamInterrupted, match="closed") as caught:
        mine.writer.write(b"more", timeout=0.0)
    assert not caught.value.connection_alive
    assert client.table.streams == (agreed.stream,)
