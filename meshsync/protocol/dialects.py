"""The dialects of the wire: requests and pushes to message types and bodies, and back.

A client speaks one dialect. A room asks for none: it decodes each request by its type and answers in kind, since
replies and pushes have one shape in every release; only the greeting has to be chosen beforehand.

Source: PROTOCOL.md, sections 1, 4.3, 4.4 and 6. Dialect B's requests are written in `tool_calls`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meshsync.protocol.greeting import version_numbers

__all__ = ["CLASSIC", "DIALECTS", "DUPLEX", "Dialect", "dialect", "ends_streams_of_leavers", "family_of", "streams_of"]

CLASSIC, DUPLEX = "classic", "duplex"
"""The kinds of streams: messages of types ``stream.…``, and tool calls."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One version of the wire's names and shapes, as a client speaks it."""

    name: str
    first_release: tuple[int, int, int]
    version: str
    """The newest release that speaks it, which a client of ours gives in the URL and in tokens."""
    token_in: str
    """Where the token goes: ``"query"`` or ``"header"``."""
    is_bare: bool = False
    """Whether greeting and attributes are bare JSON instead of envelopes."""
    streams: tuple[str, ...] = (CLASSIC,)
    """The kinds of streams that its releases know."""
    ends_at_dismissal: bool = False
    """Whether the message ``dismiss``, from anyone, makes its clients leave for good (PROTOCOL.md, section 10)."""
    family: str = field(init=False, compare=False, repr=False)
    """The letter of its name: ``A`` or ``B``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "family", self.name[0])  # Asked for at each message.


DIALECTS = (
    Dialect("A1", (0, 0, 2), "0.0.30", "query", is_bare=True),
    Dialect("A2", (0, 0, 31), "0.8.4", "query"),
    Dialect("A3", (0, 9, 0), "0.29.4", "query"),
    Dialect("B1", (0, 30, 0), "0.35.6", "query"),
    Dialect("B2", (0, 35, 7), "0.47.0", "header", streams=()),
    Dialect("B3", (0, 47, 1), "0.56.0", "header", streams=(DUPLEX,), ends_at_dismissal=True),
)
"""All dialects that can be spoken, oldest first."""


def dialect(name: str) -> Dialect:
    """Return a dialect by its name; a letter alone means the newest of that family.

    Raises:
        ValueError: If there is none.
    """
    for candidate in reversed(DIALECTS):
        if candidate.name.startswith(name.upper()) and name:
            return candidate
    raise ValueError(f"no dialect {name!r}; there are {', '.join(d.name for d in DIALECTS)}")


def streams_of(version: str | None, family: str) -> tuple[str, ...]:
    """Return the kinds of streams that a client knows, from its version and its family of dialects.

    Args:
        version: Of its release, or of its token's maker; None if unknown.
        family: Of its requests, as from `family_of`; empty if it sent none yet.

    The family is sure, and the version may be that of its token's maker. A client of A has classic streams, since every
    release of A has. A client of B that shows no version of B is TypeScript, whose published releases have no streams.
    A client that sent no request and shows no version is like the first releases, which show none.
    """
    numbers = version_numbers(version)
    known = [dialect for dialect in DIALECTS if numbers is not None and numbers >= dialect.first_release]
    if family == "A" or (not family and not known):
        return (CLASSIC,)
    if family == "B" and (not known or known[-1].family == "A"):
        return ()
    return known[-1].streams


_FIRST_TO_END_STREAMS = (0, 10, 0)
"""The release of the SDK, as its three numbers. Source: PROTOCOL.md, section 8."""


def ends_streams_of_leavers(version: str | None) -> bool:
    """Return whether a client of that release ends a classic stream when notified that its peer has left.

    Clients before 0.10.0, which may show no version, wait for ever. Source: PROTOCOL.md, section 8.
    """
    numbers = version_numbers(version)
    return numbers is not None and numbers >= _FIRST_TO_END_STREAMS


def family_of(type: str) -> str:
    """Return the family of dialects that a request of that message type is from; empty if it is of every one."""
    return "A" if type.startswith("messaging.") else "B" if type.startswith("room.") else ""
