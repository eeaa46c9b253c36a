"""Admission of clients to rooms: the token that a client presents, and its claims.

Sockets and the room itself are not this module's business.

Source: PROTOCOL.md, sections 2 and 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from meshsync.errors import AuthenticationFailed, MeshsyncError, PermissionDenied, RoomNotFound
from meshsync.excerpts import hide_tokens
from meshsync.targets import ROOM_NAMES
from meshsync.tokens import ParticipantToken
from simulator.room.limits import MAX_NAME_SIZE, is_longer
from simulator.room.rules import Rights

__all__ = [
    "SUBPROTOCOL",
    "Admission",
    "Credentials",
    "admit",
    "check_room_name",
    "find_credentials",
    "is_room_name",
    "name_in",
]

SUBPROTOCOL = "meshagent-room."
"""The beginning of the subprotocol in which browsers send the token."""

_ROOM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""Names that a room may have here.

Official SDKs have a stricter check (1 to 63 of ``a-z0-9`` and single inner hyphens), which their connecting does not
apply; whether the hosted service does is unknown. So names that are likely to be in use pass, and names that would be
escaped or cut in a URL do not.
"""


_FIRST_WITHOUT_TOKEN_IN_URL = "0.43.0"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The token that a client presented, and where."""

    token: str
    subprotocol: str | None = None
    """To be returned in the handshake, or browsers refuse the connection."""
    is_in_url: bool = False
    """Releases before 0.43.0 put the token there."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The claims that a participant is admitted with."""

    name: str
    role: str
    rights: Rights
    version: str | None
    """The release of its SDK as stated, or the earliest it can be; None if unknown."""
    token_version: str | None = None
    """The release that made its token, which need not be the client's."""


def find_credentials(headers: Mapping[str, str], query: Mapping[str, str]) -> Credentials | None:
    """Return the first token in header, query and subprotocol, None if there is none."""
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return Credentials(value.strip())
    if query.get("token"):
        return Credentials(query["token"], is_in_url=True)
    for offer in headers.get("Sec-WebSocket-Protocol", "").split(","):
        if offer.strip().startswith(SUBPROTOCOL):
            return Credentials(offer.strip().removeprefix(SUBPROTOCOL), offer.strip())
    return None


def is_room_name(name: str) -> bool:
    """Return whether a room can have that name."""
    return _ROOM_NAME.fullmatch(name) is not None


def check_room_name(name: str) -> None:
    """Raise `RoomNotFound` unless a room can have that name, and TypeError if it is none."""
    if not isinstance(name, str):
        raise TypeError(f"a room has a text as its name, not {name!r:.100}")
    if not is_room_name(name):
        raise RoomNotFound(f"{hide_tokens(name)!r:.100} cannot be the name of a room: {ROOM_NAMES}", http_status=404)


def admit(room: str, credentials: Credentials | None, *, version: str | None, secret: str, now: float) -> Admission:
    """Return the claims that a client is admitted with.

    Args:
        version: The release that the client states in the URL.
        now: Seconds since the Unix epoch.
    Raises:
        RoomNotFound: If the room cannot have that name.
        AuthenticationFailed: If no token was presented, or it is not valid.
        PermissionDenied: If the token is for another room, or for none, or its name or role is longer than a name may
            be.
    """
    check_room_name(room)
    if credentials is None:
        raise AuthenticationFailed("no token was presented", http_status=401)
    try:
        token = ParticipantToken.decode(credentials.token, secret, now=now)
    except AuthenticationFailed as error:
        raise AuthenticationFailed(str(error), http_status=401) from None
    if token.room != room:
        text = "admits to no room" if token.room is None else "is for another room"
        raise PermissionDenied(f"the token {text}", http_status=403)
    for what, text in (("name", token.name), ("role", token.role)):
        if is_longer(text, MAX_NAME_SIZE):  # By status: the oldest clients hang if they are closed before the greeting.
            raise PermissionDenied(f"the token's {what} has more than {MAX_NAME_SIZE} bytes", http_status=403)
    rights = token.messaging
    # TypeScript states no release, but the place of its token narrows it down.
    shown = version or (None if credentials.is_in_url else _FIRST_WITHOUT_TOKEN_IN_URL)
    return Admission(token.name, token.role, Rights(rights.send, rights.broadcast, rights.list), shown, token.version)


def name_in(token: str) -> str:
    """Return the name in a token, whose signature is not checked; empty if it has none."""
    try:
        return ParticipantToken.peek(token).name
    except MeshsyncError:
        return ""
