"""Opening streams, over a connection that is none: offers, answers, and peers of other releases."""

from __future__ import annotations

import re
from typing import Any

import pytest

from meshsync.errors import ConnectionLost, SendTimeout, StreamRejected, StreamTimeout
from meshsync.streams import opening
from tests.support.stream_tables import NO_HANDLER, TableOfStreams, answer_offers


@pytest.fixture
def client() -> TableOfStreams:
    """Return a client."""
    return TableOfStreams()


def test_ids_are_uuids(client: TableOfStreams) -> None:
    """Of version 4, as official openers make them; each its own."""
    ids = set()
    for _ in range(20):
        with pytest.raises(StreamTimeout):
            client.open()
        ids.add(client.line.sent[-2][1]["stream_id"])
    assert len(ids) == 20
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", id) for id in ids)


def test_an_opening_that_is_interrupted_is_taken_back(client: TableOfStreams) -> None:
    """Ctrl-C while waiting: the other side is told, and nothing is left."""

    def strike() -> None:
        client.line.on_send = lambda: None
        raise KeyboardInterrupt

    client.line.on_send = strike
    with pytest.raises(KeyboardInterrupt):
        client.open()
    assert [type for type, _ in client.line.sent] == ["stream.open", "stream.close"]
    assert client.is_tidy


def test_an_offer_that_could_not_be_sent_was_not_made(client: TableOfStreams) -> None:
    """The connection's error comes out; there is nobody to be told."""
    client.line.refusal = ConnectionLost("lost")
    with pytest.raises(ConnectionLost):
        client.open()
    client.line.refusal = SendTimeout("no room", retryable=True)
    with pytest.raises(StreamTimeout, match="no room"):
        client.open()
    assert client.is_tidy


def test_an_answer_that_is_there_before_the_wait_is_found(client: TableOfStreams) -> None:
    """Consent, or refusal."""

    def answer(**answers: Any) -> None:
        ((type, body),) = answers.items()

        def say() -> None:
            client.line.on_send = lambda: None
            client.hear(type, client.line.sent[-1][1]["stream_id"], **body)

        client.line.on_send = say

    answer(accept={})
    assert client.open().stream.identity.header == {"kind": "x"}
    answer(reject={"error": "busy"})
    with pytest.raises(StreamRejected, match=r"^busy$"):
        client.open()
    assert len(client.table.streams) == 1


# --- clients of other releases ----------------------------------------------------------------------------------------


def test_newcomer_that_seems_to_want_no_streams_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a moment after it has enabled messaging, an official client only seems so."""
    monkeypatch.setattr(opening, "RETRY_AFTER", 0.001)
    client = TableOfStreams()
    client.table.peer_came(client.bob)
    answer_offers(
        client,
        lambda id: client.hear("reject", id, error=NO_HANDLER),
        lambda id: client.hear("accept", id),
    )
    stream = client.table.open(client.bob, {}, 10.0, "classic")
    offers = [body["stream_id"] for type, body in client.line.sent if type == "stream.open"]
    assert len(set(offers)) == 2  # another id: old clients keep the first
    assert stream.writer.stream_id == offers[1]


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
    client = TableOfStreams()
    if is_new:
        client.table.peer_came(client.bob)
    answer_offers(client, lambda id: client.hear("reject", id, **rejection))
    with pytest.raises(StreamRejected) as caught:
        client.table.open(client.bob, {}, 10.0, "classic")
    assert caught.value.is_final == ("meshsync" in rejection)
    assert ("messaging.enable(callback)" in str(caught.value)) == (rejection["error"] == NO_HANDLER)


def test_newcomer_has_no_more_time_than_there_is() -> None:
    """The rejection is raised rather than a time-out."""
    client = TableOfStreams()
    client.table.peer_came(client.bob)
    answer_offers(client, lambda id: client.hear("reject", id, error=NO_HANDLER))
    with pytest.raises(StreamRejected, match="not allowed"):
        client.table.open(client.bob, {}, 0.05, "classic")
