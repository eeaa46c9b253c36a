"""What a run is given besides its latency, of the network and of receivers that raise: arguments of `Simulation`.

A file can keep them.

They are named here and nowhere else between `explore` or the command line and `Simulation`. What they mean is not this
module's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, cast

from meshsync.arguments import near_argument
from simulator import latency as laws
from simulator.latency import Law
from simulator.network.bandwidths import Bandwidth

__all__ = ["NetworkOptions", "as_network_options", "from_json", "to_json"]


_BESIDE = ("latency", "schedule", "plan", "horizon", "start", "report", "stall_after")
"""What else takes them has."""


class NetworkOptions(TypedDict, total=False):
    """Arguments of `Simulation` that say what its network and its rooms take besides ``latency``; see there."""

    latency_down: Law | float | None
    bandwidth: Bandwidth
    window: int
    heartbeat: float | None
    service: Law | float | Mapping[str, Law | float] | None
    failing_receivers: str


def as_network_options(given: Mapping[str, Any]) -> NetworkOptions:
    """Return what was given by name.

    Raises:
        TypeError: If there is no such option.
    """
    names = NetworkOptions.__annotations__
    if unknown := [name for name in given if name not in names]:
        near = near_argument(unknown[0], [*names, *_BESIDE])
        hint = f": it is {near}=" if near else f"; of the network there are {', '.join(names)}"
        raise TypeError(f"there is no argument {unknown[0]!r}{hint}")
    return cast(NetworkOptions, dict(given))


def to_json(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as a JSON object, which `from_json` reads."""
    return {name: _written(value) for name, value in options.items()}


def from_json(value: Mapping[str, Any]) -> NetworkOptions:
    """Return the options that `to_json` wrote.

    Raises:
        ValueError: If a law is none.
        TypeError: If there is no such option.
    """
    return as_network_options({name: _read(member) for name, member in value.items()})


def _written(value: Any) -> Any:
    if isinstance(value, Law):
        return value.to_json()
    return to_json(value) if isinstance(value, Mapping) else value


def _read(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    is_law = isinstance(value.get("law"), str)  # and not what a participant called law has
    return laws.from_json(value) if is_law else {name: _read(member) for name, member in value.items()}
