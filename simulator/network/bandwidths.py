"""How much each connection carries: the same for all, or by participant or region, in one direction or both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, TypeAlias

__all__ = ["OTHERS", "Bandwidth", "Bandwidths"]

Bandwidth: TypeAlias = float | Mapping[str, float | Mapping[str, float]] | None
"""Bytes per second; see `Bandwidths`."""

OTHERS = "*"
"""The name of all that are not named."""

_WAYS = ("up", "down")


class Bandwidths:
    """The bandwidths of connections, in bytes per second.

    Args:
        given: A number, for each connection in each direction. Or ``{"up": …, "down": …}``, of which one may be
            missing. Or such a number or such directions by the name of a participant, or of its region, which counts
            after the participant; ``"*"`` is for all others. What is not named has no limit; None for no limits at all.
    Raises:
        ValueError: If something is no number above 0; the text says whose.
    """

    def __init__(self, given: Bandwidth) -> None:
        self._by_name: dict[str, dict[str, float]] = {}
        if given is None:
            return
        if isinstance(given, Mapping) and not set(given) <= set(_WAYS):
            for name, limits in given.items():
                self._by_name[name] = _directions(f"bandwidth of {name!r}", limits)
        else:
            self._by_name[OTHERS] = _directions("bandwidth", given)

    def of(self, name: str, region: str | None) -> dict[str, list[float]]:
        """Return the limit of a participant's connections in each direction, in a list that is empty for none."""
        known = self._by_name
        limits = known.get(name) or (region is not None and known.get(region)) or known.get(OTHERS) or {}
        return {way: [limits[way]] if way in limits else [] for way in _WAYS}


def _directions(what: str, given: Any) -> dict[str, float]:
    if not isinstance(given, Mapping):
        return dict.fromkeys(_WAYS, _number(what, given))
    unknown = [way for way in given if way not in _WAYS]
    if unknown or not given:
        raise ValueError(f"{what}: a number, or one for 'up' and 'down', not for {unknown[:1] or 'nothing'}")
    return {way: _number(f"{what}, {way}", number) for way, number in given.items()}


def _number(what: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise ValueError(f"{what}: a number above 0, not {value!r:.100}; it is in bytes per second")
    return value
