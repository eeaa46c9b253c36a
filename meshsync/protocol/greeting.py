"""A room's greeting: its forms by release, and how each is written."""

from __future__ import annotations

import re
from enum import Enum

from meshsync.protocol.envelopes import (
    JsonObject,
    encode_envelope,
    encode_members,
)
from meshsync.protocol.operations import (
    Connected,
    RoomReady,
)

__all__ = ["GreetingForm", "encode_connected", "encode_room_ready", "greeting_form", "version_numbers"]


class GreetingForm(Enum):
    """How the bodies of ``room_ready`` and ``connected`` are written. Source: PROTOCOL.md, section 4.4."""

    BARE = "bare JSON"
    ENVELOPE = "envelope"
    BLANKS = "eight blanks and JSON"
    """White space to a reader of JSON, and to a reader of envelopes a length that those before 0.45.0 clamp."""


_FIRST_ENVELOPE = (0, 0, 31)
"""The release of the SDK, as its three numbers, that reads envelopes first. Source: PROTOCOL.md, section 4.4."""


def greeting_form(version: str | None) -> GreetingForm:
    """Return the form that a client of that release reads; ``None`` and texts that are no version mean unknown."""
    numbers = version_numbers(version)
    if numbers is None:
        return GreetingForm.BLANKS
    return GreetingForm.ENVELOPE if numbers >= _FIRST_ENVELOPE else GreetingForm.BARE


def version_numbers(version: str | None) -> tuple[int, ...] | None:
    """Return the three numbers of a release such as ``0.35.6``; None for other texts."""
    # Few digits, since any client may put any text into a URL, and int() raises at thousands of them.
    numbers = re.match(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})", version or "")
    # As numbers: as texts, 0.10.0 would come before 0.6.0.
    return None if numbers is None else tuple(map(int, numbers.groups()))


def encode_room_ready(ready: RoomReady, form: GreetingForm) -> tuple[str, bytes]:
    """Return the message type and the body of the greeting's first half.

    Raises:
        InvalidMessage: If it holds what JSON cannot carry.
    """
    members = {"room_name": ready.room_name, "room_url": ready.room_url, "session_id": ready.session_id}
    return "room_ready", _greet(members, form)


def encode_connected(connected: Connected, form: GreetingForm) -> tuple[str, bytes]:
    """Return the message type and the body of the greeting's second half.

    Raises:
        InvalidMessage: If it holds what JSON cannot carry.
    """
    members = {"type": "init", "participantId": connected.participant_id, "attributes": connected.attributes}
    return "connected", _greet(members, form)


def _greet(members: JsonObject, form: GreetingForm) -> bytes:
    header = encode_members(members, forwarded=True)
    match form:
        case GreetingForm.BARE:
            return header
        case GreetingForm.ENVELOPE:
            return encode_envelope(header)
        case GreetingForm.BLANKS:
            return b" " * 8 + header
