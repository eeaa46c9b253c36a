"""The steps of ``doctor`` that need no network: what is configured, from where, and what the token says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

from meshsync.cli.exits import ExitCode
from meshsync.cli.masking import CREDENTIALS, abbreviate
from meshsync.cli.output import plain
from meshsync.errors import AuthenticationFailed
from meshsync.tokens import ParticipantToken

__all__ = ["TOKENS", "Finding", "Source", "check_token", "describe_sources", "first"]

Outcome = Literal["ok", "warning", "failed"]

TOKENS = ("--token", "MESHAGENT_TOKEN")
"""The sources of a finished token; the others are of keys to make one with."""

_SOON = 60.0
"""Seconds before its end in which a token is about to expire."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One step of an examination, and what became of it."""

    step: str
    outcome: Outcome
    detail: str
    advice: str = ""
    """What to do; empty where nothing is wrong."""
    seconds: float | None = None
    """How long it took; None for what takes none."""
    code: int = ExitCode.DONE
    """The exit code of a failure."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs; secrets left out."""


@dataclass(frozen=True, slots=True)
class Source:
    """An option or a variable that may give a value."""

    name: str
    value: str | None = field(repr=False)
    is_default: bool = False
    """Whether it is what counts where nothing is configured."""

    @property
    def shown(self) -> str:
        """The value for people: a credential is not shown, nor an address's query and password."""
        value = self.value or ""
        if self.name in (*CREDENTIALS, "--token", "--api-key"):
            return abbreviate(value)
        address, _, query = value.partition("?")
        scheme, slashes, rest = address.partition("//")
        shown = f"{scheme}{slashes}{rest.rpartition('@')[2]}" if slashes else address
        return plain(shown + ("?…" if query else ""))


def first(sources: Sequence[Source]) -> Source | None:
    """Return the source that wins: the first that has a value."""
    return next((source for source in sources if source.value), None)


def describe_sources(groups: Mapping[str, Sequence[Source]], why_not: str = "") -> Iterator[Finding]:
    """Yield a finding for every option and variable that has a value: what it is, and whether it is used.

    Args:
        groups: The sources of each thing, the one that wins first.
        why_not: Why none is used but for the room; empty if the first of each group is.
    """
    for thing, sources in groups.items():
        winner = first(sources)
        for source in sources:
            if not source.value:
                continue
            obstacle = "" if thing == "room" else why_not
            is_used = source is winner and not obstacle
            if source.is_default and not is_used:
                continue
            reason = "" if is_used or winner is None else obstacle or f"{winner.name} comes first"
            facts = {"name": source.name, "value": source.shown, "of": thing, "is_used": is_used}
            # A key beside its own secret is as it should be; beside a token it may be what its owner wants to be used.
            is_odd = bool(reason) and thing == "credential" and winner is not None and winner.name in TOKENS
            yield Finding(
                "setting",
                "warning" if is_odd else "ok",
                f"{thing}: {source.name} is {source.shown}" + (f"; not used: {reason}" if reason else ""),
                facts=facts,
            )


def check_token(
    text: str, origin: str, *, room: str, name: str | None, secret: Source | None, now: float
) -> Iterator[Finding]:
    """Yield what a token says, and what is wrong with it.

    Args:
        origin: Where it comes from, for people.
        room: The room that is to be joined.
        name: The name that was asked for beside it; None for none.
        secret: What the token should be signed with; None if that is not known here, or if it was made from it here.
        now: Seconds since the Unix epoch.
    """
    try:
        token = ParticipantToken.peek(text)
    except AuthenticationFailed as error:
        yield _bad(
            "token", f"{origin}: {error}", f"give a participant token in {origin}, three parts with dots between"
        )
        return
    rights = {right: getattr(token.messaging, right) for right in ("send", "broadcast", "list")}
    facts = {"name": token.name, "role": token.role, "room": token.room, "expires": token.expires, **rights}
    yield Finding("token", "ok", f"{origin}: {plain(token.name)!r} as {plain(token.role)}", facts=facts)
    if secret is not None and secret.value:
        yield _check_signature(text, token, secret.name, secret.value)
    yield from _check_times(token, origin, now)
    if token.room is not None and token.room != room:
        advice = f"join {token.room!r}, or get a token for {room!r}"
        yield _bad("token room", f"the token is for the room {token.room!r}, not for {room!r}", advice)
    elif token.room is None:
        yield Finding("token room", "warning", "the token names no room", "a service may refuse it")
    else:
        yield Finding("token room", "ok", f"{room!r}")
    lacking = [right for right, is_granted in rights.items() if not is_granted]
    if len(lacking) == len(rights):
        advice = "get a token that grants messaging: an 'api' grant with a member 'messaging'"
        yield _bad("token rights", "the token does not grant messaging", advice)
    elif lacking:
        yield Finding("token rights", "warning", f"messaging without {', '.join(lacking)}", "calls that need it fail")
    else:
        yield Finding("token rights", "ok", "messaging: send, broadcast, list")
    if name is not None and name != token.name:
        yield Finding("token name", "warning", f"--name {name!r} is not used", f"the token's own is {token.name!r}")


def _check_signature(text: str, token: ParticipantToken, name: str, secret: str) -> Finding:
    inside = float("inf") if token.expires is None else token.expires - 1  # Whatever the clock says.
    try:
        ParticipantToken.decode(text, secret, now=inside)
    except AuthenticationFailed as error:
        advice = "one of the two is of another service or project: leave one out"
        return Finding("token signature", "warning", f"{error} in {name}", advice)
    return Finding("token signature", "ok", f"signed with the secret in {name}")


def _check_times(token: ParticipantToken, origin: str, now: float) -> Iterator[Finding]:
    begins = max((float(token.extra.get(claim) or 0) for claim in ("nbf", "iat")), default=0.0)
    if begins > now + 1:
        yield Finding(
            "clock",
            "warning",
            f"the token is from {begins - now:.0f} s in the future; this machine's clock says {_instant(now)}",
            "set this machine's clock, or the one where the token was made",
        )
    if token.expires is None:
        yield Finding("token expiry", "ok", "never expires")
    elif token.expires <= now:
        detail = f"the token expired {_span(now - token.expires)} ago, at {_instant(token.expires)}"
        advice = f"get a new one for {origin}; if it should be good, this machine's clock ({_instant(now)}) is wrong"
        yield _bad("token expiry", detail, advice)
    else:
        left = token.expires - now
        detail = f"good for {_span(left)}, until {_instant(token.expires)}"
        yield Finding("token expiry", "warning" if left < _SOON else "ok", detail)


def _bad(step: str, detail: str, advice: str) -> Finding:
    return Finding(step, "failed", detail, advice, code=ExitCode.REFUSED)


def _instant(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return f"{seconds:.0f} s after 1970"


def _span(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
