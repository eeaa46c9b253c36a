"""A message that arrived, as the members of a record and as words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

from meshsync.cli.output import plural
from meshsync.messages import RoomMessage

__all__ = ["describe_attachment", "describe_message", "sender_name", "store_attachment"]


def describe_message(message: RoomMessage) -> dict[str, Any]:
    """Return the members of a message that has just come.

    Returns:
        ``time`` (ISO 8601, UTC, in milliseconds), ``type``, ``from`` and ``from_id``, ``message``, and ``attachment``:
        None, or ``size`` in bytes, ``sha256`` and ``path``, which is None until it is stored.
    """
    attachment = None
    if message.attachment:
        digest = sha256(message.attachment).hexdigest()
        attachment = {"size": len(message.attachment), "sha256": digest, "path": None}
    return {
        "time": datetime.fromtimestamp(time.time(), timezone.utc).isoformat(timespec="milliseconds"),
        "type": message.type,
        "from": sender_name(message),
        "from_id": message.from_participant_id,
        "message": dict(message.message),
        "attachment": attachment,
    }


def describe_attachment(members: Mapping[str, Any]) -> str:
    """Return ``  + 2 bytes``, and where they are stored, for people; nothing without an attachment."""
    attachment = members["attachment"]
    if attachment is None:
        return ""
    return f"  + {plural(attachment['size'], 'byte')}" + (f" in {attachment['path']}" if attachment["path"] else "")


def sender_name(message: RoomMessage) -> str:
    """Return the name of a message's sender, empty if it is not known."""
    return message.sender.name if message.sender is not None else ""


def store_attachment(directory: Path, members: Mapping[str, Any], data: bytes) -> str:
    """Write an attachment to a file whose name is its hash, in one step, unless it is there; return the path.

    Args:
        members: From `describe_message`.
    """
    path = directory / members["attachment"]["sha256"]
    if not path.exists():
        unfinished = path.with_name(f".{path.name}.part")
        unfinished.write_bytes(data)
        unfinished.replace(path)
    return str(path.resolve())
