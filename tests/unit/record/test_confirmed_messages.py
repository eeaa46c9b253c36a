"""Confirmed messages in records: as the messages that they carry."""

from __future__ import annotations

from typing import Any

import pytest

from meshsync.protocol.operations import Broadcast, Push, Send
from simulator.record.confirmed_messages import inside

INNER = {"n": 1, "base": 1, "type": "chat", "message": {"text": "hi"}}


@pytest.mark.parametrize(
    "what", [Push("p-1", "meshsync.message", INNER), Send("p-1", "meshsync.message", INNER)], ids=["push", "send"]
)
def test_inner_message_is_shown(what: Any) -> None:
    """Its type and its body."""
    assert inside(what) == ("chat", {"text": "hi"})


@pytest.mark.parametrize(
    ("type", "body"),
    [
        ("chat", {"type": "other", "message": {}}),
        ("meshsync.message", {"type": 5, "message": {}}),
        ("meshsync.message", {"type": "chat"}),
        ("meshsync.confirmed", {"upto": 1, "arrived": 1}),
    ],
)
def test_all_else_is_shown_as_it_is(type: str, body: dict[str, Any]) -> None:
    """Also what only claims to carry one."""
    assert inside(Broadcast(type, body)) == (type, body)
