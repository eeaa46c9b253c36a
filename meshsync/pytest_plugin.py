"""Fixtures for tests of programs that talk to rooms. Installing the package is enough for pytest to find them.

::

    @pytest.mark.simulated(seeds=20, latency=latency.uniform(0.01, 0.05), schedule="random")
    def test_answer(sim_room):
        sim_room.add(participants.Echo("bot"))
        alice = sim_room.join("alice", enable=True)
        ...

pytest loads this module in every project that has the package, also in one that has a module of its own with the name
``simulator``. So nothing of that name is imported before a test uses a fixture, and then only if it is ours. This is
the one place of meshsync that may import the simulator.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from meshsync.pytest_cases import (
    MARKER,
    MARKER_NAME,
    NO_CASE,
    OWN_SEEDS,
    WITHOUT_EFFECT,
    check_marker,
    fixtures_of,
    has_own_seeds,
    is_another_seed,
    is_never_run,
    may_be_simulated,
    options_of,
    read_seed,
    read_seeds,
    seeds_for,
)
from meshsync.pytest_tracebacks import shortened, shortened_collection, text_of

if TYPE_CHECKING:
    from simulator.emulator import Emulator
    from simulator.fixtures.emulating import Watch
    from simulator.simulation import SimulatedRoom, Simulation

__all__ = [
    "class_emulator",
    "emulator",
    "emulator_factory",
    "module_emulator",
    "package_emulator",
    "session_emulator",
    "sim_room",
    "sim_seed",
    "simulation",
]

ONE_WORLD = """a test has either the fixture emulator or a simulation, and this one asks for both: a program in a \
simulation is in no real room. Make two tests of it"""
NO_COROUTINE = """a simulated test is a plain function: a loop of asyncio waits in real time, for a simulation that \
stands still meanwhile. Coroutines, as of the official SDK, are tested with the fixture emulator"""
WIDER = """the fixture emulator is of one test. For several there are class_emulator, module_emulator, \
package_emulator and session_emulator; or make one with options in a fixture of your own:
    @pytest.fixture(scope="module")
    def rooms(emulator_factory):
        with emulator_factory(latency=0.02) as emulator:
            yield emulator"""
OF_ONE_TEST = "a simulation is of one test: have the fixture that uses it be of the scope function"


@dataclass(slots=True)
class _Trial:
    """One run of a test: a test that is run again has another."""

    simulation: Simulation | None = None
    has_emulator: bool = False
    has_failed: bool = False
    failures: str = ""
    """Exceptions of actors and receivers that the test did not see, since it had failed before."""


_TRIAL = pytest.StashKey[_Trial]()
_FAULT = pytest.StashKey[str]()
"""Why a test would not test what it says."""
_WATCHES = pytest.StashKey[list["Watch"]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options on seeds."""
    group = parser.getgroup("simulator", "simulated rooms")
    group.addoption("--sim-seed", type=read_seed, metavar="N", help="run each simulated test with this seed alone")
    group.addoption(
        "--sim-seeds", type=read_seeds, metavar="FROM:TO", help="run each simulated test with each of these seeds"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker.

    Raises:
        UsageError: If the command line has two answers to which seeds.
    """
    config.addinivalue_line("markers", MARKER)
    config.stash[_WATCHES] = []
    if config.option.sim_seed is not None and config.option.sim_seeds is not None:
        raise pytest.UsageError("--sim-seed and --sim-seeds: give one of them")


# --- what a test is run with ------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a simulated test once with each of its seeds, if it or the command line has any.

    Raises:
        CollectError: If a test would be none, or not the one that its marker tells of.
    """
    item = metafunc.definition
    try:
        check_marker(item)
        if "sim_seed" in fixtures_of(item) and (seeds := seeds_for(item)) is not None:
            if has_own_seeds(item):
                if "seeds" in options_of(item):
                    raise ValueError("its seeds are given twice: sim_seed is parametrized, and its marker has some")
                return
            metafunc.parametrize("sim_seed", seeds, ids=[f"seed{seed}" for seed in seeds], indirect=True)
    except ValueError as error:
        raise pytest.Collector.CollectError(f"{item.nodeid}: {error}") from None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Find markers without effect where no test is parametrized: methods of ``unittest.TestCase``, classes, modules.

    The tests concerned fail. A session that is refused as a whole would end workers of pytest-xdist without a reason.
    """
    using, marked = set[str](), dict[str, list[pytest.Item]]()
    for item in items:
        try:
            check_marker(item)
        except ValueError as error:
            item.stash[_FAULT] = f"{item.nodeid}: {error}"
        if is_another_seed(item):
            item.stash[_FAULT] = f"{item.nodeid}: {OWN_SEEDS}"
        if is_never_run(item):
            item.stash[_FAULT] = f"{item.nodeid}: {NO_CASE}"
        for node in item.listchain()[:-1]:
            if any(marker.name == MARKER_NAME for marker in node.own_markers):
                marked.setdefault(node.nodeid, []).append(item)
                if may_be_simulated(item):
                    using.add(node.nodeid)
    # Where some tests of a class were chosen, it is not known what the others use.
    if not any("::" in argument for argument in config.args) and not config.getoption("lf", False):
        for name, concerned in marked.items():
            for item in concerned if name not in using else ():
                item.stash[_FAULT] = f"{name}: {WITHOUT_EFFECT}"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let a session fail that has seeds on the command line, and no test that is run with one."""
    option = session.config.option
    name = "--sim-seed" if option.sim_seed is not None else "--sim-seeds" if option.sim_seeds is not None else ""
    if name and session.items and not any(map(may_be_simulated, session.items)):
        session.items[0].stash[_FAULT] = f"{name}: none of the tests chosen is simulated, so that it changes nothing"


# --- the package that the fixtures come from --------------------------------------------------------------------------


def _own_simulator() -> Path:
    return Path(__file__).resolve().parents[1] / "simulator"


def _find_simulator() -> list[Path] | None:
    """Return the files or folders of the `simulator` that Python imports or has imported, None if there is none."""
    try:
        spec = find_spec("simulator")
    except ValueError:  # It is imported and tells nothing of itself, as one that a test has put there.
        return []
    if spec is None:
        return None
    places = spec.submodule_search_locations or [spec.origin or ""]
    return [Path(place).resolve() for place in places]


def _check_simulator(fixture: str) -> None:
    """Fail the test if the package `simulator` is another one than ours; that is not imported."""
    found, own = _find_simulator(), _own_simulator()
    if found is not None and own in found:
        return
    needs = f"the fixture {fixture} needs the package simulator of meshsync-client, in {own}"
    if found is None:
        pytest.fail(f"{needs}, which is missing: install meshsync-client again", pytrace=False)
    other = ", ".join(map(str, found)) or "one that a program made"
    pytest.fail(
        f"{needs}, and Python finds another one of that name: {other}. Tests without this fixture are not affected. "
        "For those with it, rename the other one, or run them where it is not on Python's path",
        pytrace=False,
    )


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Show our errors at the import of a module as in tests; tell a project whose `simulator` ours hides, of that."""
    with shortened_collection(collector):
        report = yield
    if report.failed and _HIDDEN.search(str(report.longrepr)):
        own = _own_simulator()
        folder = next((path for place in sys.path if (path := Path(place, "simulator")).is_dir()), None)
        if _find_simulator() == [own] and folder is not None and folder.resolve() != own:
            text = f"Python finds the package simulator of meshsync-client, in {own}, before {folder.resolve()}"
            if not (folder / "__init__.py").exists():
                text += ", since a folder without an __init__.py comes last: add one"
            report.sections.append(("two packages are called simulator", text))
    return report


_HIDDEN = re.compile(r"No module named 'simulator\.|cannot import name .* from 'simulator'")


# --- simulations ------------------------------------------------------------------------------------------------------


@pytest.fixture
def sim_seed(request: pytest.FixtureRequest) -> int | str:
    """Return the seed of the test's simulation."""
    if hasattr(request, "param"):
        seed: int | str = request.param
        return seed
    # Asked for as it runs, or in a unittest.TestCase: neither is run once with each of several.
    try:
        seeds = seeds_for(request.node)
    except ValueError as error:
        pytest.fail(f"{request.node.nodeid}: {error}", pytrace=False)
    if seeds is not None and len(seeds) != 1:
        text = "a method of a unittest.TestCase, and a test that asks for its simulation as it runs, has one seed"
        pytest.fail(f"{request.node.nodeid} is to run with {len(seeds)} seeds: {text}", pytrace=False)
    return 0 if seeds is None else seeds[0]


@pytest.fixture
def simulation(request: pytest.FixtureRequest, sim_seed: int | str) -> Iterator[Simulation]:
    """Open a `Simulation` for one test, as its marker ``simulated`` says.

    What an actor or a receiver raises fails the test; where receivers are meant to fail,
    ``@pytest.mark.simulated(failing_receivers="log")``.
    """
    _check_simulator("simulation")
    from simulator.fixtures import simulating

    trial = _trial_of(request.node)
    if trial.has_emulator:
        pytest.fail(ONE_WORLD, pytrace=False)
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        pytest.fail(NO_COROUTINE, pytrace=False)
    options = {name: value for name, value in options_of(request.node).items() if name != "seeds"}
    fault = ""
    try:
        trial.simulation = simulating.open_simulation(request.node.nodeid, sim_seed, options)
    except (TypeError, ValueError) as error:
        fault = f"{request.node.nodeid}: the marker simulated: {error}"
    if (made := trial.simulation) is None:
        pytest.fail(fault, pytrace=False)
    yield made
    # One failure is enough; errors that follow from it when the actors are ended add nothing.
    with suppress(*([simulating.SimulationError] if trial.has_failed else [])):
        made.close()


@pytest.fixture
def sim_room(simulation: Simulation) -> SimulatedRoom:
    """Return the room ``demo`` of the test's simulation."""
    return simulation.room("demo")


# --- the emulator -----------------------------------------------------------------------------------------------------


@pytest.fixture
def emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """Run an emulator for one test, with the environment set so that official SDKs and meshsync connect to it.

    Its rooms are empty at first; clients still connected at the end are disconnected. It records what happens, and the
    report of a test that fails tells who was there and shows what was said. Programs that look for an emulator that
    runs (``url="emulator"``) find this one alone. What a receiver of a client in this process, or a participant without
    a thread, raises fails the test; where that is meant, ``emulator.failing_receivers = "log"``.
    """
    trial = _trial_of(request.node)
    if trial.simulation is not None:
        pytest.fail(ONE_WORLD, pytrace=False)
    trial.has_emulator = True
    yield from _emulator_of(request, "emulator", is_of_one_test=True)


@pytest.fixture(scope="class")
def class_emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """Run an emulator for all tests of a class, as `emulator` for one; a failure shows what happened in its test."""
    yield from _emulator_of(request, "class_emulator")


@pytest.fixture(scope="module")
def module_emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """Run an emulator for all tests of a module; see `class_emulator`."""
    yield from _emulator_of(request, "module_emulator")


@pytest.fixture(scope="package")
def package_emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """Run an emulator for all tests of a package; see `class_emulator`."""
    yield from _emulator_of(request, "package_emulator")


@pytest.fixture(scope="session")
def session_emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """Run an emulator for all tests of a session, on each worker of pytest-xdist; see `class_emulator`."""
    yield from _emulator_of(request, "session_emulator")


def _emulating(fixture: str) -> ModuleType:
    """Return what emulators of tests are made of; fail the test if it needs what is not installed."""
    _check_simulator(fixture)
    fault = ""
    try:
        return import_module("simulator.fixtures.emulating")
    except ImportError as error:
        fault = f"the fixture {fixture}: {error}"
    pytest.fail(fault, pytrace=False)


def _emulator_of(request: pytest.FixtureRequest, name: str, *, is_of_one_test: bool = False) -> Iterator[Emulator]:
    emulating = _emulating(name)
    with emulating.open_emulator(name, is_of_one_test=is_of_one_test) as watch:
        request.config.stash[_WATCHES].append(watch)
        emulator: Emulator = watch.emulator
        yield emulator


@pytest.fixture(scope="session")
def emulator_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., Emulator]]:
    """Return a function that takes the options of `Emulator` and starts one, for fixtures of any scope.

    While it is open the environment leads to it, and a test that fails shows what happened in it. It is closed by
    ``close()`` or at the end of its ``with`` block, at the latest with the session.
    """
    emulating = _emulating("emulator_factory")
    with ExitStack() as opened:

        def make(**options: Any) -> Emulator:
            lent: Emulator = opened.enter_context(emulating.LentEmulator(**options))
            watch = emulating.Watch("emulator_factory", lent, is_recorded=bool(options.get("record", True)))
            request.config.stash[_WATCHES].append(watch)
            return lent

        yield make


# --- running, and what is told of a failure ---------------------------------------------------------------------------


def _trial_of(item: pytest.Item) -> _Trial:
    return item.stash.setdefault(_TRIAL, _Trial())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin the record of a run of a test, or refuse it."""
    if fault := item.stash.get(_FAULT, None):
        pytest.fail(fault, pytrace=False)
    item.stash[_TRIAL] = _Trial()
    _pop_receivers()  # What is left was of another test.
    for watch in item.config.stash[_WATCHES]:
        watch.begin()


@pytest.hookimpl(trylast=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Fail a test that went well with what an actor or a receiver raised, before fixtures are torn down."""
    _raise_failures(item, concludes=True)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Fail a test that went well with what a receiver raised since, when its fixtures have been torn down."""
    failed = _pop_receivers()
    if failed is not None and not _trial_of(item).has_failed:
        raise failed


def _pop_receivers() -> Exception | None:
    """Return what tells of receivers that raised beside an emulator since the last time."""
    emulating = sys.modules.get("simulator.fixtures.emulating")  # Else there has been no emulator.
    failed: Exception | None = None if emulating is None else emulating.failures.pop()
    return failed


def _raise_failures(item: pytest.Item, *, concludes: bool = False) -> None:
    trial = _trial_of(item)
    if trial.simulation is not None:
        from simulator.fixtures import simulating

        simulating.raise_failures(trial.simulation, concludes=concludes)
    if (failed := _pop_receivers()) is not None:
        raise failed


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure's report charts of the rooms, and of a simulation the command that repeats it."""
    with shortened(item.config, call.excinfo):
        report = yield
    trial, watches = _trial_of(item), item.config.stash[_WATCHES]
    if report.failed:
        trial.has_failed = True
        if report.when == "call":
            try:
                _raise_failures(item)
            except Exception as error:
                trial.failures = text_of(item.config, error)
        if trial.simulation is not None:
            report.sections.append((f"simulation, seed {trial.simulation.seed}", _story(item, trial, trial.simulation)))
        elif trial.failures:
            report.sections.append(("receivers that failed", trial.failures))
        names = fixtures_of(item)
        for watch in watches:
            if account := watch.account(is_asked_for=watch.is_of_one_test or watch.name in names):
                report.sections.append((watch.name, account))
        if mismatch := _MISMATCH.search(str(call.excinfo and call.excinfo.value)):
            report.sections.append(("a wider scope", WIDER if mismatch[1] == "emulator" else OF_ONE_TEST))
    if report.when == "teardown":  # Items live as long as the session.
        del item.stash[_TRIAL]
        watches[:] = [watch for watch in watches if watch.emulator.is_open]
    return report


_MISMATCH = re.compile(r"^ScopeMismatch: .* function scoped fixture (emulator|simulation|sim_room|sim_seed)\b")


def _story(item: pytest.Item, trial: _Trial, simulation: Simulation) -> str:
    from simulator.fixtures import simulating

    config, seed = item.config, simulation.seed
    path, _, name = item.nodeid.partition("::")
    name = f"{os.path.relpath(config.rootpath / path, config.invocation_params.dir)}::{name}"
    if has_own_seeds(item):
        command = simulating.command_of(name, None)
    else:
        command = simulating.command_of(name.removesuffix(f"[seed{seed}]"), seed)
    return simulating.story(simulation, command, trial.failures)
