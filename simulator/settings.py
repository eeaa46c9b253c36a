"""Arguments of a simulation, read and checked: before anything is open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone

from meshsync.runtime.deadlines import warn_of_milliseconds
from simulator.latency import Latency, Law, Matrix, as_latency, as_law, as_link_law

__all__ = ["as_delays", "as_instant", "as_services", "check_positive"]

_SERVICES = ("room", "participants")


def as_services(given: Law | float | Mapping[str, Law | float] | None) -> dict[str, Law]:
    """Return the law of each of those that take time for a message; one alone is the room's."""
    if given is None:
        return {}
    laws = given if isinstance(given, Mapping) else {"room": given}
    if unknown := [name for name in laws if name not in _SERVICES]:
        raise ValueError(f"service: of {' and '.join(map(repr, _SERVICES))}, not of {unknown[0]!r:.100}")
    return {name: as_law(law) for name, law in laws.items()}


def as_delays(latency: Latency | float, down: Law | float | None) -> tuple[Latency, Law | None]:
    """Return the law of delays, and that of the way back if it is another.

    Raises:
        ValueError: If there is one for the way back beside a matrix.
    """
    law = as_latency(latency)
    if down is None:
        return law, None
    if isinstance(law, Matrix):
        raise ValueError("latency_down: a matrix has both directions: give the opposite pair where they differ")
    return law, as_link_law(down)


def as_instant(start: str) -> float:
    """Return an instant as seconds since the Unix epoch."""
    try:
        begin = datetime.fromisoformat(start.replace("Z", "+00:00"))  # 3.10 does not read the Z.
    except (AttributeError, ValueError):
        raise ValueError(f"start: an instant as ISO 8601, such as 2026-01-01T00:00:00Z, not {start!r:.100}") from None
    # And not in the zone of the machine that runs it.
    return (begin if begin.tzinfo is not None else begin.replace(tzinfo=timezone.utc)).timestamp()


def check_positive(**given: float | None) -> None:
    """Check numbers that are above 0 and finite, or None; a ``heartbeat`` that seems to be milliseconds is warned of.

    Raises:
        ValueError: If one is not; the text has its name.
    """
    for name, value in given.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name}: a number above 0, not {value!r:.100}")
    warn_of_milliseconds(given.get("heartbeat"), "heartbeat")
