"""The project's own machinery: packaging, the search for interpreters, and the verdict of a CI run."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests import interpreters

ROOT = Path(__file__).parents[2]


def load_summary() -> ModuleType:
    """Return .ci/summary.py as a module."""
    spec = importlib.util.spec_from_file_location("ci_summary", ROOT / ".ci" / "summary.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


summary = load_summary()


def record(environment: str, python: str, seed: str = "0", **changes: Any) -> dict[str, Any]:
    """Return the record of a session that passed, with changes."""
    passed = {"exit_status": 0, "outcomes": {"passed": 5}, "releases": {}, "skipped": [], "seconds": 1.0}
    return {"environment": environment, "python": python, "hash_seed": seed, **passed, **changes}


PYTHONS = [
    record(environment, python, seed)
    for environment, python in (("py310", "3.10.13"), ("py312", "3.12.1"), ("py313", "3.13.0"))
    for seed in ("0", "1")
]
INTEROP = record("interop", "3.11.7", releases={"0.0.21 on 3.11.7": 3, "0.29.4 on 3.13.0": 2})


# --- packaging --------------------------------------------------------------------------------------------------------


def test_the_wheel_has_every_module_of_the_tree() -> None:
    """What tox installs is all of both packages, their markers for type checkers included."""
    try:
        distribution = importlib.metadata.distribution("meshsync-client")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("meshsync-client is not installed here")
    installed = {path.as_posix() for path in distribution.files or ()}
    if any(path.startswith("__editable__") or path.endswith(".egg-link") for path in installed):
        pytest.skip("an editable installation has no modules of its own")
    files = [file for package in ("meshsync", "simulator") for file in (ROOT / package).rglob("*")]
    wanted = {file.relative_to(ROOT).as_posix() for file in files if file.suffix == ".py" or file.name == "py.typed"}
    assert wanted - installed == set()


def test_every_directory_with_modules_is_a_package() -> None:
    """A directory without __init__.py would be left out of the wheel."""
    files = [file for package in ("meshsync", "simulator") for file in (ROOT / package).rglob("*.py")]
    assert [str(file) for file in files if not (file.parent / "__init__.py").exists()] == []


def test_ci_runs_the_test_command_of_the_readme() -> None:
    """The command in .ci/run is, word for word, one line of README.md."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (command,) = re.findall(r"^\{ (python3 .*); \} \|\| status", script, flags=re.MULTILINE)
    assert command in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()


# --- interpreters -----------------------------------------------------------------------------------------------------


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    """Return a program named as this interpreter that refuses to start one, as shims of version managers do."""
    path = tmp_path / "shims" / f"python3.{sys.version_info[1]}"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="shims are shell scripts")
def test_a_shim_that_does_not_start_is_passed_over(shim: Path) -> None:
    """The search goes on behind a shim, and finds the interpreter."""
    here = Path(sys.executable)
    assert interpreters.ask(shim) is None
    assert interpreters.find([shim, here]) == {sys.version_info[:2]: here}


def test_version_managers_are_searched_before_the_path(tmp_path: Path) -> None:
    """An interpreter under pyenv's root is a candidate before anything on PATH, the newest of a version first."""
    path = tmp_path / "bin" / "python3.12"
    managed = [tmp_path / "pyenv" / "versions" / version / "bin" / "python3.12" for version in ("3.12.10", "3.12.9")]
    for file in (path, *managed):
        file.parent.mkdir(parents=True)
        file.touch()
    environ = {"HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path / "pyenv"), "PATH": str(path.parent)}
    assert list(interpreters.candidates(environ)) == [*managed, path]


def test_what_tox_is_told_comes_first() -> None:
    """TOX_DISCOVER names interpreters outright."""
    environ = {"TOX_DISCOVER": "/a/python3.11,/b/python3.12", "HOME": "/nowhere", "PATH": ""}
    assert list(interpreters.candidates(environ)) == [Path("/a/python3.11"), Path("/b/python3.12")]


# --- the verdict ------------------------------------------------------------------------------------------------------


def test_three_pythons_and_both_releases_are_enough() -> None:
    """Nothing is missing when three Pythons passed under two hash seeds and both releases took part."""
    assert summary.faults([*PYTHONS, INTEROP]) == []


@pytest.mark.parametrize(
    ("records", "fault"),
    [
        ([], "0 Pythons"),
        ([*PYTHONS[:4], INTEROP], "2 Pythons"),
        ([*PYTHONS[:5], INTEROP], "2 Pythons"),
        ([*PYTHONS[:5], record("py313", "3.12.1", "1"), INTEROP], "2 Pythons"),
        ([*PYTHONS[:5], record("py313", "3.13.0", "1", outcomes={"skipped": 5}), INTEROP], "2 Pythons"),
        ([*PYTHONS[:5], record("py313", "3.13.0", "1", exit_status=1), INTEROP], "ended with status 1"),
        (PYTHONS, "SDK 0.0.21 on Python 3.11 did not run"),
        ([*PYTHONS, {**INTEROP, "releases": {"0.0.21 on 3.11.7": 3}}], "SDK 0.29.4 on Python 3.13 did not run"),
        ([*PYTHONS, {**INTEROP, "releases": {"0.0.21 on 3.13.0": 3}}], "SDK 0.0.21 on Python 3.11 did not run"),
        ([*PYTHONS, {**INTEROP, "exit_status": 1}], "SDK 0.0.21 on Python 3.11 did not run"),
    ],
)
def test_what_did_not_run_is_named(records: list[dict[str, Any]], fault: str) -> None:
    """A missing Python, hash seed or release, a failed session and one that only skipped are each a fault."""
    assert any(fault in found for found in summary.faults(records))
