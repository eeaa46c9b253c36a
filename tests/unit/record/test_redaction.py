"""What is taken out of records, and what is left as it is."""

from __future__ import annotations

from typing import Any

import pytest

from meshsync.errors import UsageError
from simulator.record.records import Record
from simulator.record.redaction import Redaction

BODY = {"password": "p", "users": [{"token": "a", "n": 1}, {"token": "b"}, "text"], "a.b": {"c": 1}, "n": None}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("message.password", BODY | {"password": "[redacted]"}),
        ("message.n", BODY | {"n": "[redacted]"}),
        ("message.users", BODY | {"users": "[redacted]"}),
        (
            "message.users.*.token",
            BODY | {"users": [{"token": "[redacted]", "n": 1}, {"token": "[redacted]"}, "text"]},
        ),
        ("message.users.0", BODY | {"users": ["[redacted]", {"token": "b"}, "text"]}),
        ("message.users.1.*", BODY | {"users": [{"token": "a", "n": 1}, {"token": "[redacted]"}, "text"]}),
        (r"message.a\.b.c", BODY | {"a.b": {"c": "[redacted]"}}),
        ("message.*", dict.fromkeys(BODY, "[redacted]")),
        ("message.users.9", BODY),
        ("message.password.deeper", BODY),
        ("message.missing", BODY),
        ("attributes.password", BODY),
        ("header.password", BODY),
    ],
)
def test_a_path_takes_out_what_it_names(path: str, expected: dict[str, Any]) -> None:
    """And nothing else; the record that was given is as before."""
    record = Record(1, "message", "ada", detail=BODY)
    before = repr(record)
    assert Redaction([path]).apply(record).detail == expected
    assert repr(record) == before


@pytest.mark.parametrize(
    ("kind", "stream_id", "path"),
    [
        ("attributes", "", "attributes.key"),
        ("message", "", "message.key"),
        ("confirming", "", "message.key"),
        ("stream", "stream 1", "header.inner"),
        ("message", "stream 1", "header.inner"),
        ("stream", "stream 1", "message.header.inner"),
    ],
)
def test_each_kind_of_record_has_its_root(kind: str, stream_id: str, path: str) -> None:
    """A stream's header is a part of the body of the message that carries it."""
    detail = {"key": 1, "header": {"inner": 1}}
    made = Redaction([path]).apply(Record(1, kind, stream_id=stream_id, detail=detail)).detail
    assert [made["key"], made["header"]["inner"]].count("[redacted]") == 1


def test_several_paths_are_all_taken_out() -> None:
    """In whatever order."""
    made = Redaction(["message.users.0.token", "message.password"]).apply(Record(1, "message", detail=BODY)).detail
    assert (made["password"], made["users"][0]) == ("[redacted]", {"token": "[redacted]", "n": 1})


@pytest.mark.parametrize("path", ["password", "message", "message.", "message..x", "", ".message", "body.x", 3])
def test_a_path_that_names_nothing_is_refused(path: Any) -> None:
    """With what one looks like."""
    with pytest.raises(UsageError, match=r"redact: .* message\.password"):
        Redaction([path])
