"""Participant tokens and API keys: a participant's identity and its rights in a room.

A token is a JSON Web Token signed with a project's secret. A holder of the secret makes tokens (a program with an
API key, a test), the room verifies them. No text of an error and no ``repr`` here shows a token or a secret.

Source: PROTOCOL.md, section 3.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from meshsync.errors import AuthenticationFailed, UsageError
from meshsync.hints import Hinted, HintedClass

__all__ = ["ApiKey", "Grant", "MessagingRights", "ParticipantToken", "join_lines"]

_ALGORITHM = "HS256"
_KEY_PREFIX = "ma-"
"""How an API key begins."""


def join_lines(credential: str) -> str:
    """Return a key or token as it was before a file, a terminal or a mail broke it into lines.

    Neither holds a line break, and none begins or ends with a blank or the mark that some editors begin a file with.
    """
    return re.sub(r"[ \t]*[\r\n]+[ \t]*", "", credential).strip("\ufeff \t")


@dataclass(frozen=True, slots=True)
class Grant:
    """One permission: its kind, and its scope."""

    name: str
    """``room``, ``role``, ``api``, or another of PROTOCOL.md, section 3."""
    scope: Any = None
    """A text such as a room's name; a JSON object for ``api``."""


@dataclass(frozen=True, slots=True)
class MessagingRights:
    """The rights of a token in a room's messaging."""

    send: bool = True
    broadcast: bool = True
    list: bool = True
    """See the others that take part."""


_NO_MESSAGING = MessagingRights(send=False, broadcast=False, list=False)


@dataclass(frozen=True, slots=True)
class ParticipantToken(Hinted, metaclass=HintedClass):
    """A token's content: a participant's name and grants, and the project that vouches for them."""

    name: str
    """Visible to others; not unique."""
    grants: tuple[Grant, ...] = ()
    project_id: str | None = None
    key_id: str | None = None
    """The API key that signed it, or None for a project's default secret."""
    version: str | None = None
    """The SDK release that made the token, as ``0.29.4``. Tokens from before 0.6.0 have none."""
    expires: float | None = None
    """Seconds since the Unix epoch, written in whole seconds, rounded down; None for never."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Claims besides those above, kept as they came."""

    @classmethod
    def for_room(
        cls,
        room: str,
        name: str,
        *,
        role: str = "user",
        project_id: str | None = None,
        key_id: str | None = None,
        version: str | None = None,
        expires: float | None = None,
        messaging: bool | MessagingRights = True,
    ) -> ParticipantToken:
        """Return a token that admits ``name`` to one room.

        Args:
            role: ``user`` needs no grant, so none is written.
            expires: Seconds since the Unix epoch, or None for never.
            messaging: Its rights there; True for all, False for none.
        """
        if isinstance(messaging, bool):
            messaging = MessagingRights() if messaging else _NO_MESSAGING
        grants = [Grant("room", room)]
        if role != "user":
            grants.append(Grant("role", role))
        grants.append(Grant("api", _encode_rights(messaging)))
        return cls(name, tuple(grants), project_id, key_id, version, expires)

    @property
    def role(self) -> str:
        """The role, ``user`` unless a grant says otherwise."""
        for grant in self.grants:
            if grant.name == "role" and isinstance(grant.scope, str) and grant.scope != "user":
                return grant.scope
        return "user"

    @property
    def room(self) -> str | None:
        """The room that this admits to, or None."""
        for grant in self.grants:
            if grant.name == "room" and isinstance(grant.scope, str):
                return grant.scope
        return None

    @property
    def messaging(self) -> MessagingRights:
        """The rights in messaging: all of them without an ``api`` grant, since tokens once had none."""
        for grant in self.grants:
            if grant.name == "api":
                return _decode_rights(grant.scope)
        return MessagingRights()

    def encode(self, secret: str) -> str:
        """Return the token, signed.

        Raises:
            UsageError: If the secret cannot sign, or a claim is not JSON.
        """
        claims: dict[str, Any] = dict(self.extra)
        claims["name"] = self.name
        claims["grants"] = [{"name": grant.name, "scope": grant.scope} for grant in self.grants]
        for claim, value in (("sub", self.project_id), ("kid", self.key_id), ("version", self.version)):
            if value is not None:
                claims[claim] = value
        if self.expires is not None:
            claims["exp"] = _whole_seconds(self.expires)
        if not secret:
            raise UsageError("cannot sign a token: the secret is empty")
        try:
            key = secret.encode()
        except UnicodeEncodeError:  # Its text would quote the secret.
            raise UsageError("cannot sign a token: the secret is not a text that UTF-8 can write") from None
        try:
            return jwt.encode(claims, key, algorithm=_ALGORITHM)
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            raise UsageError(f"cannot sign a token: {error}") from None

    @classmethod
    def decode(cls, text: str, secret: str, *, now: float) -> ParticipantToken:
        """Return the content of a token, verified.

        Args:
            now: Seconds since the Unix epoch, which the times in the token are compared with.
        Raises:
            AuthenticationFailed: If it is no token, was not signed with ``secret``, has expired, is not valid yet, or
                lacks what a participant needs.
        """
        return cls._read(_verify(text, secret), now)

    @classmethod
    def peek(cls, text: str) -> ParticipantToken:
        """Return the content of a token, unverified: for a carrier without the secret. Line breaks are ignored.

        Raises:
            AuthenticationFailed: If it is no token, or lacks what a participant needs.
        """
        return cls._read(_verify(join_lines(text), None), None)

    @classmethod
    def _read(cls, claims: dict[str, Any], now: float | None) -> ParticipantToken:
        expires = _time(claims, "exp")
        if now is not None and expires is not None and now >= expires:
            raise AuthenticationFailed("the token has expired")
        begins = _time(claims, "nbf")
        if now is not None and begins is not None and now < begins:
            raise AuthenticationFailed("the token is not valid yet")
        claims.pop("exp", None)
        name = claims.pop("name", None)
        if not isinstance(name, str):
            raise AuthenticationFailed("the token does not name a participant")
        texts = {claim: claims.pop(claim, None) for claim in ("sub", "kid", "version")}
        for claim, value in texts.items():
            if not (value is None or isinstance(value, str)):
                raise AuthenticationFailed(f"the token's {claim!r} is not a text")
        grants = _decode_grants(claims.pop("grants", None))
        return cls(name, grants, texts["sub"], texts["kid"], texts["version"], expires, claims)


def _verify(text: str, secret: str | None) -> dict[str, Any]:
    if secret == "":
        raise AuthenticationFailed("the token cannot be verified: the secret is empty")
    # Only the signature: PyJWT compares times with the process's clock, and a simulation has one of its own.
    checks = ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
    options: Any = {"verify_signature": secret is not None} | {f"verify_{claim}": False for claim in checks}
    try:
        claims: dict[str, Any] = jwt.decode(text, secret or "", algorithms=[_ALGORITHM], options=options)
    except jwt.InvalidSignatureError:
        raise AuthenticationFailed("the token's signature does not fit the secret") from None
    except jwt.InvalidAlgorithmError:
        raise AuthenticationFailed(f"the token is not signed with {_ALGORITHM}") from None
    except jwt.InvalidKeyError:
        raise AuthenticationFailed("the token cannot be verified: the secret is not one that signs tokens") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        # Their texts may quote the token.
        hint = ": it has to be the whole text of one, eyJ… with two dots in it"
        if text.startswith(_KEY_PREFIX):
            hint = ": it begins as an API key does, which goes to api_key="
        raise AuthenticationFailed("what was presented is not a JSON Web Token", hint=hint) from None
    return claims


def _whole_seconds(expires: float) -> int:
    try:
        return math.floor(expires)
    except (OverflowError, TypeError, ValueError):
        raise UsageError(
            f"expires is a number of seconds since 1970, or None for never; not {expires!r:.100}"
        ) from None


def _time(claims: Mapping[str, Any], claim: str) -> float | None:
    value = claims.get(claim)
    # NaN and infinities, which Python reads though they are no JSON, are before and after nothing.
    is_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if value is None or (is_number and not isinstance(value, bool)):
        return value
    raise AuthenticationFailed(f"the token's {claim!r} is no number of seconds")


def _decode_grants(value: Any) -> tuple[Grant, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise AuthenticationFailed("the token's 'grants' is not a list")
    grants = []
    for item in value:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise AuthenticationFailed("the token holds a grant without a name")
        grants.append(Grant(item["name"], item.get("scope")))
    return tuple(grants)


_RIGHTS = ("send", "broadcast", "list")


def _encode_rights(rights: MessagingRights) -> dict[str, Any]:
    if rights == _NO_MESSAGING:
        return {}
    return {"messaging": {right: False for right in _RIGHTS if not getattr(rights, right)}}


def _decode_rights(scope: Any) -> MessagingRights:
    messaging = scope.get("messaging") if isinstance(scope, dict) else None
    if not isinstance(messaging, dict):
        return _NO_MESSAGING
    # A value equal to the default, which is true, is left out; some writers have null for that. Official readers take 1
    # and 0 for truth values; any other value is no grant.
    values = {right: messaging.get(right) for right in _RIGHTS}
    return MessagingRights(**{right: value is None or value == 1 for right, value in values.items()})


# --- API keys ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A project's API key: ``ma-KEYID-PROJECTID-SECRET``. ``str()`` writes it, secret included; ``repr`` hides it."""

    key_id: str
    """A UUID, as in the claim ``kid``."""
    project_id: str
    """A UUID, as in the claim ``sub``."""
    secret: str = field(repr=False)
    """Signs tokens."""

    def __str__(self) -> str:
        """Return the key as `parse` reads it.

        Raises:
            UsageError: If an id is not a UUID.
        """
        return f"{_KEY_PREFIX}{_shorten(self.key_id, 'key id')}-{_shorten(self.project_id, 'project id')}-{self.secret}"

    @classmethod
    def parse(cls, text: str) -> ApiKey:
        """Return the parts of an API key; line breaks in it, and blanks around it, are ignored.

        Raises:
            UsageError: If it is none; the text gives the reason, and nothing of it.
        """
        text = join_lines(text)
        if not text.startswith(_KEY_PREFIX):
            raise UsageError("not an API key: it has to begin with 'ma-'")
        parts = text.split("-", 3)
        if len(parts) < 4 or not parts[3]:
            raise UsageError("not an API key: it has to read ma-KEYID-PROJECTID-SECRET")
        return cls(_lengthen(parts[1], "key id"), _lengthen(parts[2], "project id"), parts[3])


def _shorten(id: str, what: str) -> str:
    digits = id.replace("-", "")
    if not re.fullmatch(r"[0-9a-fA-F]{32}", digits):
        raise UsageError(f"cannot write an API key: the {what} is not a UUID")
    return base64.urlsafe_b64encode(bytes.fromhex(digits)).decode().rstrip("=").replace("-", ".")


def _lengthen(text: str, what: str) -> str:
    try:
        data = base64.b64decode(text.replace(".", "+").replace("_", "/") + "==", validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != 16:
        raise UsageError(f"not an API key: the {what} in it is not a UUID in URL-safe base64")
    return re.sub(r"(.{8})(.{4})(.{4})(.{4})(.{12})", r"\1-\2-\3-\4-\5", data.hex())
