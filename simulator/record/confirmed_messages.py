"""Confirmed messages, as the messages that they carry: records show those, each time that one is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshsync.protocol.operations import Broadcast, Push, Send

__all__ = ["inside"]


def inside(what: Push | Send | Broadcast) -> tuple[str, Mapping[str, Any]]:
    """Return the type and the body of a message, those of the inner one where it carries one."""
    type, message = what.message.get("type"), what.message.get("message")
    if what.type == "meshsync.message" and isinstance(type, str) and isinstance(message, dict):
        return type, message
    return what.type, what.message
