"""What a simulated test is run with: its marker and its seeds, and whether it would test nothing.

Part of `meshsync.pytest_plugin`, of which it imports nothing.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

__all__ = [
    "ARGUMENTS",
    "MARKER",
    "MARKER_NAME",
    "NO_CASE",
    "OWN_SEEDS",
    "WITHOUT_EFFECT",
    "check_marker",
    "fixtures_of",
    "has_own_seeds",
    "is_another_seed",
    "is_never_run",
    "may_be_simulated",
    "options_of",
    "read_seed",
    "read_seeds",
    "seeds_for",
]

MARKER_NAME = "simulated"
MARKER = """simulated(seeds=…, latency=…, schedule=…, horizon=…): how the fixture `simulation` is made. \
`seeds` is how many, or which; the test is run once with each. All else is given to simulator.Simulation. \
What a class or module has by its own marker, a test's marker adds to, and beats."""

ARGUMENTS = (
    "seeds",
    "latency",
    "schedule",
    "horizon",
    "pin",
    "start",
    "stall_after",
    "latency_down",
    "bandwidth",
    "window",
    "heartbeat",
    "service",
    "failing_receivers",
)
"""The marker's: seeds, and the options of `simulator.Simulation`, which is not imported to find a misspelling."""

_SIMILAR = 0.7
"""How much of a marker's name is to be that of ours, as `difflib` counts, for it to be meant, as is ``simulation``."""
_SCOPES = ("class", "module", "package", "session")
_FIXTURES = {"sim_seed", "emulator", "emulator_factory", *(f"{scope}_emulator" for scope in _SCOPES)}
"""Of which each test of rooms has one, be it by another fixture."""

WITHOUT_EFFECT = "the marker simulated does nothing to a test without the fixture simulation or sim_room"
NO_CASE = "there is no value to parametrize it with, so that it would never run; pytest.mark.skip is how to want that"
OWN_SEEDS = (
    "sim_seed is parametrized, so that the command line cannot give it another seed: choose tests by their names"
)


def read_seed(text: str) -> int | str:
    """Return the seed that an option gives."""
    return int(text) if text.lstrip("-").isdecimal() else text


def read_seeds(text: str) -> Sequence[int | str]:
    """Return the seeds of an option, as ``5:20``; raises what argparse shows."""
    first, _, last = text.rpartition(":")
    with suppress(ValueError):
        if seeds := range(int(first or 0), int(last)):
            return seeds
    raise argparse.ArgumentTypeError(f"{text!r} has no seed: 5:20 has those from 5 to 19")


def fixtures_of(item: pytest.Item) -> Sequence[str]:
    """Return the names of all fixtures that a test is known to use, be it by others."""
    names: Sequence[str] = getattr(item, "fixturenames", ())
    return names


def may_be_simulated(item: pytest.Item) -> bool:
    """Return whether a test uses a simulation, or can ask for one as it runs."""
    return not isinstance(item, pytest.Function) or not {"sim_seed", "request"}.isdisjoint(fixtures_of(item))


def check_marker(item: pytest.Item) -> None:
    """Raise ValueError if the marker of a test does nothing, or not what it says."""
    if "sim_seed" not in fixtures_of(item):
        # A class or a module may have the marker for those of its tests that are simulated.
        if any(marker.name == MARKER_NAME for marker in item.own_markers):
            raise ValueError(WITHOUT_EFFECT)
        return
    known = {line.partition(":")[0].partition("(")[0].strip() for line in item.config.getini("markers")}
    for marker in item.iter_markers():
        if marker.name not in known and difflib.get_close_matches(marker.name, [MARKER_NAME], 1, _SIMILAR):
            hint = f"did you mean {MARKER_NAME}? One of your own is to be among the markers of pytest's configuration"
            raise ValueError(f"there is no marker {marker.name!r}, so that it does nothing: {hint}")
    for marker in item.iter_markers(MARKER_NAME):
        if marker.args:
            raise ValueError("the marker simulated takes its arguments by name, as seeds=20")
        for name in marker.kwargs:
            if name not in ARGUMENTS:
                near = difflib.get_close_matches(name, ARGUMENTS, 1)
                hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(ARGUMENTS)}"
                raise ValueError(f"the marker simulated has no argument {name!r}: {hint}")


def is_another_seed(item: pytest.Item) -> bool:
    """Return whether a test has another seed, by hand, than the command line wants."""
    seed = _callspec(item).get("sim_seed")
    option = item.config.option
    if seed is None or (option.sim_seed is None and option.sim_seeds is None):
        return False
    return seed not in (option.sim_seeds if option.sim_seed is None else [option.sim_seed])


def _callspec(item: pytest.Item) -> dict[str, Any]:
    """Return the parameters of a test."""
    return dict(item.callspec.params) if hasattr(item, "callspec") else {}


def is_never_run(item: pytest.Item) -> bool:
    """Return whether a test of rooms is skipped for no other reason than that it is parametrized with nothing."""
    reasons = [str(marker.kwargs.get("reason")) for marker in item.iter_markers("skip")]
    is_empty = bool(reasons) and all(reason.startswith("got empty parameter set") for reason in reasons)
    return is_empty and not _FIXTURES.isdisjoint(fixtures_of(item))


def has_own_seeds(item: pytest.Item) -> bool:
    """Return whether a test is parametrized with seeds by hand."""
    for marker in item.iter_markers("parametrize"):
        names = marker.args[0] if marker.args else marker.kwargs.get("argnames", ())
        if "sim_seed" in ([name.strip() for name in names.split(",")] if isinstance(names, str) else names):
            return True
    return False


def options_of(item: pytest.Item) -> dict[str, Any]:
    """Return the arguments of all markers of a test; its own beat those of what is around it."""
    options: dict[str, Any] = {}
    for marker in item.iter_markers(MARKER_NAME):
        options = {**marker.kwargs, **options}
    return options


def seeds_for(item: pytest.Item) -> Sequence[int | str] | None:
    """Return the seeds to run a test with, None where neither the command line nor its marker has any.

    Raises:
        ValueError: If there is none, or what the marker has are no seeds.
    """
    option = item.config.option
    if option.sim_seed is not None:
        return [option.sim_seed]
    if option.sim_seeds is not None:
        chosen: Sequence[int | str] = option.sim_seeds
        return chosen
    given = options_of(item).get("seeds")
    if given is None:
        return None
    # The order of a set may be another in each process, and an iterator has nothing left for a second test.
    if isinstance(given, (str, bytes, bool)) or not isinstance(given, (int, Sequence)):
        raise ValueError(f"seeds is how many, or a sequence of them, as a list or a range, not {given!r:.100}")
    seeds = range(given) if isinstance(given, int) else list(given)
    if not seeds:
        raise ValueError("there is no seed to run it with")
    for seed in seeds:
        if type(seed) not in (int, str):
            raise ValueError(f"a seed is a number or a text, not {seed!r:.100}")
    return seeds
