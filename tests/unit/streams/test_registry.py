"""What is shared by all streams of a client: what is told without waiting, and which streams are remembered."""

from __future__ import annotations

import pytest

from meshsync.errors import ConnectionLost, SendTimeout, StreamTimeout
from meshsync.protocol import events
from meshsync.streams import registry
from meshsync.streams.registry import StreamStats
from tests.support.stream_tables import TableOfStreams


@pytest.fixture
def client() -> TableOfStreams:
    """Return a client."""
    return TableOfStreams()


@pytest.mark.parametrize("word", ["answer", "late rejection", "overflow", "late consent"])
def test_what_no_task_waits_for_is_sent_from_the_reserve(client: TableOfStreams, word: str) -> None:
    """The reader does not wait, and receivers that run do not put it off."""
    line = client.line
    if word in ("late rejection", "overflow"):
        client.table.accepter = lambda reader: None
        client.hear("open", header={})
    if word == "overflow":
        client.table.streams[0].accept()
    if word == "late consent":
        with pytest.raises(StreamTimeout):
            client.open()
    id = line.sent[0][1]["stream_id"] if line.sent else "s-1"
    line.sent.clear()
    line.is_full = True
    if word == "answer":
        client.hear("open", header={})
    elif word == "late rejection":
        client.line.alarms["p-2", "s-1"][1]()
    elif word == "overflow":
        big = bytes(4 * 1024 * 1024)
        for _ in range(17):
            client.table.take(events.Received("p-2", "stream.chunk", {"stream_id": "s-1", "header": {}}, big))
    else:
        client.hear("accept", id)
    ((type, body),) = line.sent
    assert type == {"answer": "stream.reject", "late rejection": "stream.reject"}.get(word, "stream.close")
    assert body["stream_id"] == id
    assert client.is_tidy


def test_a_word_that_cannot_be_said_at_all_is_logged(client: TableOfStreams, caplog: pytest.LogCaptureFixture) -> None:
    """Unless the connection has ended, when nobody would hear it anyway."""
    client.line.refusal = SendTimeout("busy", retryable=True)
    client.hear("open", header={})
    assert [record.getMessage() for record in caplog.records] == ["rejecting a stream of p-2 was not sent: busy"]
    client.line.refusal = ConnectionLost("lost")
    client.hear("open", header={})
    assert len(caplog.records) == 1


def test_so_many_ended_streams_are_remembered(
    client: TableOfStreams, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
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
    assert client.table.stats() == StreamStats(live=0, remembered=3, refused=0)


def test_an_ended_stream_whose_id_was_used_again_is_the_latest(
    client: TableOfStreams, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
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
