"""What every test shares: the simulator's fixtures, a profile of Hypothesis, and a record of what really ran.

With ``MESHSYNC_RUN_RECORD`` naming a directory, each session leaves one file of JSON there: which Python, which hash
seed, which SDK releases, how many tests passed. ``.ci/summary.py`` reads them, so that an environment that was skipped
cannot be taken for one that passed.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support import profiles
from tools import seeds

_INSTALLED = "meshsync" in {entry.name for entry in entry_points(group="pytest11")}
if not _INSTALLED and find_spec("meshsync.pytest_plugin"):  # a source tree, not an installation: load it ourselves
    pytest_plugins = ["meshsync.pytest_plugin"]

# What leads the user's own programs to a room is nothing to tests, nor to the programs that they start.
for name in [name for name in os.environ if name.startswith("MESHAGENT_")]:
    del os.environ[name]

# A shell has what it starts in the background ignore Ctrl-C, and so would the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Those have an environment of their own, which can build: see tox.ini. A folder of that name is no such thing.
_build = find_spec("build")
collect_ignore = [] if _build is not None and _build.origin is not None else ["packaging"]

# Before any module with a property is imported.
profiles.choose(os.environ)


def _is_usual(item: pytest.Item) -> bool:
    """Whether a test belongs to the default run."""
    return not any(item.get_closest_marker(name) for name in ("releases", "soak"))


class RunRecord:
    """Counts outcomes and writes them down when the session ends."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.outcomes: Counter[str] = Counter()
        self.releases: Counter[str] = Counter()
        """Passed tests for each SDK release that a test reported through ``record_property("release", …)``."""
        self.begun = time.monotonic()
        self.parts: Counter[str] = Counter()
        """Milliseconds that tests took, by their directory below tests/."""
        self.modules: Counter[str] = Counter()
        """Likewise by their module."""
        self.skipped: list[str] = []
        """Why tests were skipped, one line each."""
        self.collected = 0
        """How many tests there were to choose from, without those that have environments of their own."""
        self.everywhere = 0
        """How many of these are for every Python: all that are not marked ``one_python``."""
        self.selected = 0
        """How many of them were chosen to run."""

    @pytest.hookimpl(optionalhook=True)  # There is none without xdist.
    def pytest_testnodedown(self, node: Any) -> None:
        """Take from a worker of pytest-xdist how many tests there were: each has collected all of them."""
        self.collected, self.everywhere, self.selected = node.workeroutput.get("counts", self._counts)

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Iterator[None]:
        """Count before and after pytest leaves out what was not asked for."""
        usual = [item for item in items if _is_usual(item)]
        self.collected = len(usual)
        yield
        # By now those have their marks too that get them by their place.
        self.everywhere = sum(not item.get_closest_marker("one_python") for item in usual)
        self.selected = sum(map(_is_usual, items))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once: when it ran, or when its setup or teardown decided otherwise."""
        module, took = report.nodeid.partition("::")[0], round(1000 * report.duration)
        self.parts[module.split("/")[1] if "/" in module else ""] += took
        self.modules[module.removeprefix("tests/")] += took
        if report.when != "call" and report.outcome == "passed":
            return
        self.outcomes[report.outcome] += 1
        if report.skipped and isinstance(report.longrepr, tuple):
            self.skipped.append(f"{report.nodeid}: {report.longrepr[2]}")
        if report.passed:
            self.releases.update({str(value) for name, value in report.user_properties if name == "release"})

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write this session's record under a name no other session uses; a worker leaves that to its controller."""
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output["counts"] = self._counts
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        environment = os.environ.get("TOX_ENV_NAME", "")
        record = {
            "environment": environment,
            "python": platform.python_version(),
            "hash_seed": os.environ.get("PYTHONHASHSEED", "random"),
            "exit_status": int(exitstatus),
            "outcomes": dict(self.outcomes),
            "releases": dict(self.releases),
            "skipped": self.skipped,
            "has_all_examples": not profiles.is_shorter_than_usual(),
            "collected": self.collected,
            "everywhere": self.everywhere,
            "selected": self.selected,
            "parts": dict(self.parts),
            "longest": dict(self.modules.most_common(12)),
            "seconds": round(time.monotonic() - self.begun, 1),
        }
        path = self.directory / f"{environment or 'pytest'}-{os.getpid()}.json"
        path.write_text(json.dumps(record, indent=1), encoding="utf-8")

    @property
    def _counts(self) -> tuple[int, int, int]:
        return self.collected, self.everywhere, self.selected


def pytest_configure(config: pytest.Config) -> None:
    """Keep a record where one is asked for."""
    if directory := os.environ.get("MESHSYNC_RUN_RECORD"):
        config.pluginmanager.register(RunRecord(Path(directory)), "run_record")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what could depend on the hash seed and runs under two, and what runs on one Python: see ``tools/seeds.py``.

    Workers of pytest-xdist begin with the modules that take longest.


    Raises:
        UsageError: If a name of a test has an address in it: workers of pytest-xdist would not know it by that.
    """
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(
                f"{item.nodeid}: give ids= to its parameters, since an address is another each time"
            )
        if profiles.is_longer_than_usual():
            item.add_marker(pytest.mark.timeout(0))
        is_once = item.get_closest_marker("once") is not None
        if seeds.depends(item.path) and not is_once:
            item.add_marker("hash_seed")
        if seeds.is_for_one_python(item.path) or is_once:
            item.add_marker("one_python")
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: seeds.turn_of(item.path))


@pytest.fixture(scope="session")
def golden_directory() -> Path:
    """Return the directory of recorded conversations, one JSON file for each SDK release."""
    return Path(__file__).parent / "golden"
