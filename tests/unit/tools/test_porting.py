"""The tables for those who come from the official SDK have every call that it has for messaging."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[3] / "docs" / "howto" / "port-from-the-sdk.md").read_text(encoding="utf-8")
OTHER_SERVICES = {
    "agents", "containers", "datasets", "developer", "livekit", "memory", "mounts", "queues", "services", "sqlite",
    "storage", "sync",
}  # fmt: skip
"""Attributes of the official room client that lead to other services of a room."""


def public(kind: type) -> set[str]:
    """Return the public names of a class and of its bases."""
    return {name for name in dir(kind) if not name.startswith("_")}


def test_every_official_call_is_in_a_table() -> None:
    """By its name, as a word."""
    sdk = pytest.importorskip("meshagent.api.room_server_client")
    api = pytest.importorskip("meshagent.api")
    kinds = [sdk.MessagingClient, sdk.RoomClient, sdk.RemoteParticipant, sdk.LocalParticipant, api.ParticipantToken]
    kinds += [sdk.MessagingStream, sdk.IncomingMessagingStreamRequest]
    rows = " ".join(re.findall(r"^\| (.*?) \|", PAGE, re.MULTILINE))
    words = set(re.findall(r"\w+", rows))
    assert {kind.__name__: missing for kind in kinds if (missing := public(kind) - words - OTHER_SERVICES)} == {}
