"""Fixtures for tests of programs that talk to rooms. Installing the package is enough for pytest to find them.

::

    @pytest.mark.simulated(seeds=20, latency=latency.uniform(0.01, 0.05), schedule="random")
    def test_answer(sim_room):
        sim_room.add(participants.Echo("bot"))
        alice = sim_room.join("alice", enable=True)
        ...

pytest loads this module in every project that has the package. So nothing of the simulator is imported before a test
uses a fixture.
"""

from __future__ import annotations

import os
import shlex
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from simulator.emulator import Emulator
    from simulator.simulation import SimulatedRoom, Simulation

__all__ = ["emulator", "sim_room", "sim_seed", "simulation"]

MARKER = """simulated(seeds=…, latency=…, schedule=…, horizon=…): how the fixture `simulation` is made. \
`seeds` is how many, or which; the test is run once with each. All else is given to simulator.Simulation."""

_SIMULATION = pytest.StashKey["Simulation"]()
_EMULATOR = pytest.StashKey["Emulator"]()
_FAILURES = pytest.StashKey[str]()
"""Exceptions of actors that the test did not see, since it had failed before."""
_HAS_FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options on seeds."""
    group = parser.getgroup("simulator", "simulated rooms")
    group.addoption("--sim-seed", type=_seed, metavar="N", help="run each simulated test with this seed alone")
    group.addoption(
        "--sim-seeds", type=_seeds, metavar="FROM:TO", help="run each simulated test with each of these seeds"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", MARKER)


def _seed(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdecimal() else text


def _seeds(text: str) -> Sequence[int | str]:
    first, _, last = text.rpartition(":")
    seeds = range(int(first or 0), int(last))
    if not seeds:
        raise ValueError(text)
    return seeds


# --- simulations ------------------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a simulated test once with each of its seeds, if it or the command line has any.

    Raises:
        CollectError: If a test would be none: its marker is without effect, or there is no seed.
    """
    item = metafunc.definition
    if "sim_seed" not in metafunc.fixturenames:
        # A class or a module may have the marker for those of its tests that are simulated.
        if any(marker.name == "simulated" for marker in item.own_markers):
            text = "the marker simulated does nothing to a test without the fixture simulation or sim_room"
            raise pytest.Collector.CollectError(f"{item.nodeid}: {text}")
        return
    options = metafunc.config.option
    seeds: Any = metafunc.definition.get_closest_marker("simulated")
    seeds = seeds.kwargs.get("seeds") if seeds is not None else None
    if options.sim_seed is not None:
        seeds = [options.sim_seed]
    elif options.sim_seeds is not None:
        seeds = options.sim_seeds
    if seeds is not None:
        seeds = range(seeds) if isinstance(seeds, int) else list(seeds)
        if not seeds:
            raise pytest.Collector.CollectError(f"{item.nodeid}: there is no seed to run it with")
        metafunc.parametrize("sim_seed", seeds, ids=[f"seed{seed}" for seed in seeds], indirect=True)


@pytest.fixture
def sim_seed(request: pytest.FixtureRequest) -> int | str:
    """Return the seed of the test's simulation."""
    seed: int | str = getattr(request, "param", 0)
    return seed


@pytest.fixture
def simulation(request: pytest.FixtureRequest, sim_seed: int | str) -> Iterator[Simulation]:
    """Open a `Simulation` for one test, as its marker ``simulated`` says. An actor's exception fails the test."""
    from simulator.errors import SimulationError
    from simulator.simulation import Simulation

    item = request.node
    marker = item.get_closest_marker("simulated")
    if marker is not None and marker.args:
        raise pytest.UsageError(f"{item.nodeid}: the marker simulated takes its arguments by name, as seeds=20")
    options = {name: value for name, value in (marker.kwargs if marker is not None else {}).items() if name != "seeds"}
    made = Simulation(sim_seed, **options)
    made.runtime.opened_at = f"the fixture simulation of {item.nodeid}"  # and not somewhere in pytest
    item.stash[_SIMULATION] = made
    yield made
    # One failure is enough; errors that follow from it when the actors are ended add nothing.
    with suppress(*([SimulationError] if item.stash.get(_HAS_FAILED, False) else [])):
        made.close()


@pytest.fixture
def sim_room(simulation: Simulation) -> SimulatedRoom:
    """Return the room ``demo`` of the test's simulation."""
    return simulation.room("demo")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail the test with an actor's failure that was not read, before the fixtures are torn down."""
    try:
        result = yield
    except BaseException:
        with suppress(Exception):
            _raise_failures(item)
        raise
    _raise_failures(item, concludes=True)
    return result


def _raise_failures(item: pytest.Item, *, concludes: bool = False) -> None:
    simulation = item.stash.get(_SIMULATION, None)
    if simulation is None or not simulation.runtime.is_open:
        return
    try:
        simulation.runtime.raise_failures()
        if concludes:
            simulation.runtime.conclude()
    except Exception as error:
        item.stash[_FAILURES] = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure's report charts of the rooms, and of a simulation the command that repeats it."""
    report = yield
    simulation, emulator = item.stash.get(_SIMULATION, None), item.stash.get(_EMULATOR, None)
    if report.failed and simulation is not None:
        item.stash[_HAS_FAILED] = True
        report.sections.append((f"simulation, seed {simulation.seed}", _story(item, simulation)))
    if report.failed and emulator is not None:
        report.sections.append(("emulator", _account(emulator)))
    if report.when == "teardown":  # Items live as long as the session.
        if simulation is not None:
            del item.stash[_SIMULATION]
        if emulator is not None:
            del item.stash[_EMULATOR]
    return report


def _story(item: pytest.Item, simulation: Simulation) -> str:
    from simulator.exploring.runs import chart

    config = item.config
    path, _, name = item.nodeid.partition("::")
    path = os.path.relpath(config.rootpath / path, config.invocation_params.dir)
    name = f"{path}::{name}".removesuffix(f"[seed{simulation.seed}]")
    parts = [
        f"pytest {shlex.quote(name)} --sim-seed {shlex.quote(str(simulation.seed))}",
        *([item.stash[_FAILURES]] if _FAILURES in item.stash else []),
        chart(room.transcript for room in simulation.rooms),
    ]
    return "\n\n".join(filter(None, parts))


# --- the emulator -----------------------------------------------------------------------------------------------------


def _account(emulator: Emulator) -> str:
    """Return who was in which room, and charts of what was said there."""
    from simulator.exploring.runs import chart

    open_rooms = emulator.rooms if emulator.is_open else ()
    parts = []
    for room in emulator.recorded:
        transcript = emulator.transcript(room)
        there = [f"{one.name} ({one.role})" for one in emulator.participants(room)] if room in open_rooms else []
        came = dict.fromkeys(record.sender for record in transcript if record.kind == "connected")
        present = ", ".join(there) or "no participant"
        parts += [f"room {room}: now {present}; there were {', '.join(came) or 'none'}", chart([transcript])]
    return "\n\n".join(parts) or "no room was opened"


@pytest.fixture
def emulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Run an emulator for one test, with the environment set so that official SDKs and meshsync connect to it.

    Its rooms are empty at first; clients still connected at the end are disconnected. It records what happens, and the
    report of a test that fails tells who was there and shows what was said. Programs that look for an emulator that
    runs (``url="emulator"``) find this one alone.
    """
    from meshsync.discovery import only
    from simulator.emulator import CLEARED, Emulator

    with Emulator(record=True) as running:
        request.node.stash[_EMULATOR] = running
        for name in CLEARED:
            monkeypatch.delenv(name, raising=False)
        for name, value in {**running.env, **only(running.url, running.env)}.items():
            monkeypatch.setenv(name, value)
        yield running
