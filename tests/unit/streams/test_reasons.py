"""Reasons that cannot be sent as they are: the last message of a stream goes out all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meshsync.streams.offers import FAULT
from tests.support.stream_tables import TableOfStreams
from tests.support.textless import Numbered, Stubborn, Textless

REASONS = [
    ("caf\udce9.txt", "caf?.txt"),
    ("x" * 5_000_000, "x" * 999 + "…"),
    (None, ""),
    (ValueError("too late"), "too late"),
    (Textless(), "(Textless without a text)"),
]
BY_REASON = pytest.mark.parametrize(("reason", "text"), REASONS, ids=range(len(REASONS)))


def offered(accepter: Callable[[Any], object]) -> TableOfStreams:
    """Return a client to which Bob has offered a stream, and whose callback has run."""
    client = TableOfStreams()
    client.table.accepter = accepter
    client.hear("open", header={}, meshsync={"version": 1, "window": 70_000})
    client.line.tasks[0]()
    return client


@BY_REASON
def test_rejection_goes_out_with_any_reason(reason: Any, text: str) -> None:
    """By ``reject``, and by ``close`` of a stream on which the program has not decided."""
    for end in (lambda reader: reader.reject(reason), lambda reader: reader.close(reason)):
        assert offered(end).line.sent == [("stream.reject", {"stream_id": "s-1", "error": text})]


@BY_REASON
def test_cancellation_goes_out_with_any_reason(reason: Any, text: str) -> None:
    """By ``close`` of the reader, and by ``abort`` of the writer."""

    def close(reader: Any) -> None:
        reader.accept()
        reader.close(reason)

    def abort(reader: Any) -> None:
        reader.accept()
        reader.writer.abort(reason)

    for end in (close, abort):
        client = offered(end)
        assert client.line.sent[1:] == [("stream.meshsync.cancel", {"stream_id": "s-1", "reason": text})]


@pytest.mark.parametrize("kind", [Textless, Numbered, Stubborn])
def test_exception_without_text_in_a_callback_is_answered(kind: type[Exception]) -> None:
    """An undecided stream is rejected; an accepted one is cancelled, and the failure is reported."""

    def fail(reader: Any) -> None:
        raise kind

    def accept_and_fail(reader: Any) -> None:
        reader.accept()
        raise kind

    undecided = offered(fail)
    ((type_, body),) = undecided.line.sent
    assert (type_, type(body["error"])) == ("stream.reject", str)
    accepted = offered(accept_and_fail)
    assert accepted.line.sent[1:] == [("stream.meshsync.cancel", {"stream_id": "s-1", "reason": FAULT})]
    assert [type(error) for error in accepted.reports] == [kind]
