"""From what a program asks for, and the environment, to a room's address and a token to present there.

Not the business of this module: connecting, and finding an emulator.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ssl import SSLContext
from urllib.parse import urlsplit, urlunsplit

from meshsync.errors import AuthenticationFailed, RoomNotFound, UsageError
from meshsync.protocol.dialects import Dialect
from meshsync.tokens import ApiKey, ParticipantToken, join_lines
from meshsync.transport.interfaces import Endpoint

__all__ = ["DEFAULT_API_URL", "ROOM_NAMES", "JoinRequest", "JoinSettings", "Target"]

ROOM_NAMES = "a room's name has 1 to 63 letters, digits, dots, hyphens and underscores, the first a letter or digit"
"""The names of rooms that simulations and emulators have, for errors. The client itself only refuses what would lead
elsewhere than to a room: what the hosted service has is unknown. Source: PROTOCOL.md, section 2.
"""

DEFAULT_API_URL = "wss://api.meshagent.com"
"""Source: PROTOCOL.md, section 2."""


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What a program asks for: where to go and as whom."""

    room: str | None
    name: str | None
    role: str
    token: str | Callable[[], str] | None
    api_key: str | None
    url: str | None
    dialect: Dialect
    ssl_context: SSLContext | None
    ca_file: str | None

    def __post_init__(self) -> None:
        for name in ("room", "name", "role", "api_key", "url"):
            value = getattr(self, name)
            if not (value is None or isinstance(value, str)):
                raise TypeError(f"{name}= is a text, not {value!r:.100}")
        if not (self.token is None or isinstance(self.token, str) or callable(self.token)):
            raise TypeError(f"token= is a text, or a function that returns one, not {type(self.token).__name__}")
        if not self.role:
            raise UsageError("role= is empty: give user, agent or another")

    def resolve(self, settings: JoinSettings) -> Target:
        """Return what that is, with what it lacks from the environment."""
        where = settings.address(self.room, self.url)
        admission = settings.admission(where.room, self.name, self.role, self.token, self.api_key, self.dialect)
        endpoint = Endpoint(
            url=where.url,
            token=admission.token,
            token_in=self.dialect.token_in,
            version=self.dialect.version,
            ssl_context=self.ssl_context,
            ca_file=self.ca_file or (None if self.ssl_context else settings.get("EXTRA_CA_FILE")),
        )
        return Target(endpoint, admission.role, f"{self.name or admission.name} in {where.room}")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to go, and as whom."""

    endpoint: Endpoint
    role: str
    label: str
    """For logs and names of tasks."""


@dataclass(frozen=True, slots=True)
class _Address:
    room: str
    url: str


@dataclass(frozen=True, slots=True)
class _Admission:
    name: str
    role: str
    token: Callable[[], str]


class JoinSettings:
    """Reads arguments and, behind them, the environment."""

    def __init__(self, environ: Mapping[str, str], describe: Callable[[], str] = lambda: "") -> None:
        self._environ = environ
        self._describe = describe
        """Returns what a program might have wanted that has nothing to join with, as the end of an error's text."""

    def get(self, name: str) -> str | None:
        """Return the variable ``MESHAGENT_…``, or None if it is not set or empty."""
        return self._environ.get(f"MESHAGENT_{name}") or None

    def address(self, room: str | None, url: str | None) -> _Address:
        """Return the room's name and its address."""
        address = (url or self.get("ROOM_URL") or self.get("API_URL") or DEFAULT_API_URL).strip()
        shown = _without_secrets(address)
        try:
            parts = urlsplit(address)
            has_host = bool(parts.hostname) and parts.port != 0
        except ValueError:  # Brackets that do not pair, or a port that is none.
            has_host = False
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme) if has_host else ""
        if scheme not in ("ws", "wss"):
            from difflib import get_close_matches  # Few programs need it.

            hint = f"; did you mean {'ws://' + shown!r}?" if "//" not in shown else "; give one like wss://…"
            if get_close_matches(shown, ["emulator"], 1, 0.7):
                hint = "; did you mean 'emulator', for the one that runs on this machine?"
            raise UsageError(f"not an address of a room service: {shown!r}{hint}")
        named = _room_of(address)
        chosen = room or named or self.get("ROOM")
        if not chosen:
            raise UsageError("no room to join: give room=, or set MESHAGENT_ROOM or MESHAGENT_ROOM_URL")
        if url and named not in (None, chosen):
            raise UsageError(f"the address {shown!r} is that of room {named!r}, not of {chosen!r}")
        _check_room_name(chosen)
        # To official clients MESHAGENT_ROOM_URL is a base, despite its name: so where it names a room, another one that
        # is asked for lies beside it.
        base = parts.path.rstrip("/").removesuffix(f"/rooms/{named}")
        path = parts.path if named == chosen else f"{base}/rooms/{chosen}"
        return _Address(chosen, urlunsplit((scheme, parts.netloc, path, parts.query, "")))

    def admission(
        self,
        room: str,
        name: str | None,
        role: str,
        token: str | Callable[[], str] | None,
        api_key: str | None,
        dialect: Dialect,
    ) -> _Admission:
        """Return name, role, and the function that gives each attempt its token."""
        if token is None and api_key is None:
            token = self.get("TOKEN")
        if callable(token):
            return _Admission(name or "", role, lambda: _checked_token(token()))
        if token is not None:
            known = ParticipantToken.peek(token)
            fixed = join_lines(token)
            return _Admission(known.name, known.role, lambda: fixed)
        key = self._key(api_key)
        if not name:
            raise UsageError("no name to join with: give name=, which goes into the token that is made from the key")
        made = ParticipantToken.for_room(
            room, name, role=role, project_id=key.project_id or None, key_id=key.key_id or None, version=dialect.version
        ).encode(key.secret)
        return _Admission(name, role, lambda: made)

    def _key(self, api_key: str | None) -> ApiKey:
        text = api_key or self.get("API_KEY")
        if text:
            return ApiKey.parse(text)
        secret = self.get("SECRET")
        if secret:
            return ApiKey(self.get("KEY_ID") or "", self.get("PROJECT_ID") or "", join_lines(secret))
        raise AuthenticationFailed(
            "nothing to join with: looked for token=, api_key=, MESHAGENT_TOKEN, MESHAGENT_API_KEY, and "
            f"MESHAGENT_SECRET with MESHAGENT_PROJECT_ID and MESHAGENT_KEY_ID{self._describe()}"
        )


def _checked_token(token: object) -> str:
    """Return a token that a program's function gave, without line breaks."""
    if not isinstance(token, str):
        raise UsageError(f"the function given as token= returned no text, but {type(token).__name__}")
    return join_lines(token)


def _without_credential(text: str) -> str:
    """Return an argument for an error, unless it is a key or a token in the wrong place."""
    return "[token]" if re.match(r"\s*(ma-.*-|eyJ)", text) else text


def _without_secrets(address: str) -> str:
    """Return an address for an error, without its query and password, even where it cannot be read as one."""
    shown = _without_credential(re.split(r"[?#]", address)[0])
    scheme, slashes, rest = shown.partition("//")
    if not slashes:
        scheme, rest = "", shown
    rest = rest.rpartition("@")[2]
    # A password with a question mark in it: what is left of it looks like a port that is none.
    if "@" in address and not rest.startswith("[") and re.match(r"[^/]*:[^/]*[^/0-9]", rest):
        rest = "…"
    return f"{scheme}{slashes}{rest}"


def _room_of(url: str) -> str | None:
    found = re.search(r"/rooms/([^/]+)/?$", urlsplit(url).path)
    return found.group(1) if found else None


def _check_room_name(room: str) -> None:
    # Official clients put any name into the path as it is (PROTOCOL.md, section 2), and rooms may have names that their
    # check would refuse. So only names that lead elsewhere than to a room are refused.
    if len(room) > 255 or not re.fullmatch(r"[^\s/?#%\x00-\x1f\x7f\ud800-\udfff]+", room) or room in (".", ".."):
        raise RoomNotFound(
            f"{_without_credential(room)!r:.200} cannot be the name of a room: {ROOM_NAMES}"
            + ("; an address is given as url=" if "://" in room else "")
        )
