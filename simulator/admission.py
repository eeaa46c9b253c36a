"""Who is let into which room: the token that a client presents, and what it says.

Not the business of this module: sockets, and what happens inside.

Source: PROTOCOL.md, sections 2 and 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from meshsync.errors import AuthenticationFailed, PermissionDenied, RoomNotFound
from meshsync.tokens import ParticipantToken
from simulator.room.rules import Rights

__all__ = ["SUBPROTOCOL", "Admission", "Credentials", "admit", "check_room_name", "find_credentials"]

SUBPROTOCOL = "meshagent-room."
"""How the subprotocol begins in which browsers carry the token."""

_ROOM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""Names that a room may have here.

Official SDKs have a stricter check (1 to 63 of ``a-z0-9`` and single inner hyphens) which their connecting does not
apply, and whether the hosted service does is unknown. So what is likely to be in use passes, and what would be escaped
or cut in a URL does not.
"""


_FIRST_WITHOUT_TOKEN_IN_URL = "0.43.0"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client presented."""

    token: str
    subprotocol: str | None = None
    """To be returned in the handshake, or browsers refuse it."""
    is_in_url: bool = False
    """Where releases before 0.43.0 have them."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What a participant is let in with."""

    name: str
    role: str
    rights: Rights
    version: str | None
    """The release of its SDK, or an earlier one, as it shows it; None if it does not."""
    token_version: str | None = None
    """The release that made its token, which need not be its own."""


def find_credentials(headers: Mapping[str, str], query: Mapping[str, str]) -> Credentials | None:
    """Return the first token of header, query and subprotocol, None if there is none."""
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return Credentials(value.strip())
    if query.get("token"):
        return Credentials(query["token"], is_in_url=True)
    for offer in headers.get("Sec-WebSocket-Protocol", "").split(","):
        if offer.strip().startswith(SUBPROTOCOL):
            return Credentials(offer.strip().removeprefix(SUBPROTOCOL), offer.strip())
    return None


def check_room_name(name: str) -> None:
    """Raise `RoomNotFound` unless a room can have that name."""
    if _ROOM_NAME.fullmatch(name) is None:
        raise RoomNotFound("a room's name has 1 to 63 letters, digits, dots, hyphens and underscores", http_status=404)


def admit(room: str, credentials: Credentials | None, *, version: str | None, secret: str, now: float) -> Admission:
    """Return what a client is let in with.

    Args:
        version: What the client says in the URL that it is.
        now: Seconds since the Unix epoch.
    Raises:
        RoomNotFound: If the room cannot have that name.
        AuthenticationFailed: If no token was presented, or it is not to be believed.
        PermissionDenied: If the token is for another room, or for none.
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
    rights = token.messaging
    # TypeScript never says what it is, but shows it by where it has the token.
    shown = version or (None if credentials.is_in_url else _FIRST_WITHOUT_TOKEN_IN_URL)
    return Admission(token.name, token.role, Rights(rights.send, rights.broadcast, rights.list), shown, token.version)
