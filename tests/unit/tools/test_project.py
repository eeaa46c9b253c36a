"""The project's own machinery: packaging, the search for interpreters, and the verdict of a CI run."""

from __future__ import annotations

import configparser
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.interop.matrix import BEGIN, END, Matrix, write
from tests.interop.releases import RELEASES, SHORT, PythonRelease, Streams, TypeScriptRelease, chosen, find
from tools import interpreters, seeds

ROOT = Path(__file__).parents[3]


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
    passed = {"exit_status": 0, "outcomes": {"passed": 10}, "releases": {}, "skipped": [], "seconds": 1.0}
    counts = {"collected": 10, "everywhere": 10, "selected": 10, "has_all_examples": True, "parts": {}, "longest": {}}
    return {"environment": environment, "python": python, "hash_seed": seed, **passed, **counts, **changes}


def part(environment: str, python: str, seed: str = "1", *, ran: int = 7, **changes: Any) -> dict[str, Any]:
    """Return the record of a session that passed so many of ten tests, all it was asked for, with changes."""
    return record(environment, python, seed, **{"outcomes": {"passed": ran}, "selected": ran, **changes})


DOCS = record("docs", "3.13.0")
ONCE = [DOCS, record("py310", "3.10.13"), record("py312", "3.12.1"), record("py313", "3.13.0")]
PYTHONS = [*ONCE, part("py313", "3.13.0")]
IN_PYTHON = {"0.0.21 on 3.11.7": 3, "0.35.6 on 3.13.0": 2, "0.56.0 on 3.13.0": 2}
OLDER = {"collected": 20, "everywhere": 18, "selected": 18, "outcomes": {"passed": 18}, "has_all_examples": False}
"""Two of 20 tests are for one Python, and this is not the one."""
NEWER = {**OLDER, "selected": 20, "outcomes": {"passed": 20}, "has_all_examples": True}
DIVIDED = [
    DOCS,
    record("py310", "3.10.13", **OLDER),
    record("py311", "3.11.7", **OLDER),
    record("py313", "3.13.0", **NEWER),
    part("py312", "3.12.1", **{**OLDER, "selected": 14, "outcomes": {"passed": 14}}),
]
INTEROP = record("interop", "3.11.7", releases={**IN_PYTHON, "ts-0.39.9 on node 20.20.2": 1})
WITHOUT_NODE = record("interop", "3.11.7", releases=IN_PYTHON)


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


def test_tests_that_need_the_libraries_of_notebooks_run_there() -> None:
    """Elsewhere they are skipped, so that the environment ``notebooks`` has to name each file with one."""
    config = configparser.ConfigParser()
    config.read(ROOT / "tox.ini", encoding="utf-8")
    commands = config["testenv:notebooks"]["commands"]
    needing = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r'importorskip\("(matplotlib|pandas)"\)', path.read_text(encoding="utf-8"))
    ]
    assert [path for path in needing if path not in commands] == []
    assert "tests/unit/record/test_charts.py" in needing


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


def test_three_pythons_and_the_releases_of_the_short_form_are_enough() -> None:
    """Nothing is missing when three Pythons passed all under one hash seed, and one of them a part under another."""
    assert {*summary.RELEASES, summary.NODE_RELEASE} == set(SHORT)
    assert summary.faults([*PYTHONS, INTEROP], has_node=True) == []
    assert summary.left_out([*PYTHONS, INTEROP], has_node=True) is None


def test_a_test_for_one_python_may_run_on_one_and_has_to() -> None:
    """The others pass without it and with fewer examples; where it ran nowhere, or with so few, that is told."""
    assert summary.faults([*DIVIDED, INTEROP], has_node=True) == []
    *rest, newest, again = DIVIDED
    for change in ({"selected": 19}, {"outcomes": {"passed": 19}}, {"has_all_examples": False}):
        (fault,) = summary.faults([*rest, {**newest, **change}, again, INTEROP], has_node=True)
        assert "for one Python ran nowhere" in fault
    (fault,) = summary.faults([*rest, {**newest, "everywhere": 17}, again, INTEROP], has_node=True)
    assert "too many" in fault


def test_the_time_of_each_environment_stands_beside_its_budget() -> None:
    """Of what tox reports; what it did not run is left out."""
    took = {"result": {"duration": 20.0}, "test": [{"elapsed": 9.0}, {"elapsed": 3.4}]}
    nothing = {"result": {"duration": 0.1}}
    failed = {"test": [{"elapsed": 4.0}]}
    envs = {".pkg": {}, "style": took, "py314": nothing, "docs": failed}
    printed = summary.durations({"testenvs": envs}).splitlines()
    assert printed[1] == "  style         20 s of   5, its commands    12 s, 15 s over its budget"
    assert printed[2].startswith("  docs           4 s of ")
    assert printed[3:] == [f"  all           24 s of {sum(summary.BUDGETS.values())}"]


def test_the_share_of_each_directory_stands_beside_what_it_may_have() -> None:
    """Where all tests ran; a part of them has other shares."""
    parts, longest = {"unit": 3000, "simulation": 6000, "new": 1000}, {"unit/test_a.py": 2600, "unit/test_b.py": 400}
    printed = summary.table([record("py313", "3.13.0", parts=parts, longest=longest)]).splitlines()
    assert printed[-2] == "    simulation 60% of 23%, unit 30% of 23%, new 10% of 1%"
    assert printed[-1] == "    longest: unit/test_a.py 3, unit/test_b.py 0"
    assert "simulation" not in summary.table([part("py313", "3.13.0", parts=parts)])
    assert sum(summary.SHARES.values()) == 100
    assert [name for name in summary.SHARES if not (seeds.TESTS / name).is_dir()] == []


def test_every_environment_of_a_run_has_a_budget() -> None:
    """All that tox runs by itself and that finds a Python on the machine of CI."""
    config = configparser.ConfigParser()
    config.read(ROOT / "tox.ini", encoding="utf-8")
    listed = {name.strip() for name in config["tox"]["env_list"].split(",")}
    assert {*summary.BUDGETS} == listed - {"py314", "py314t"}


def test_the_release_for_node_may_be_missing_by_name_where_there_is_none() -> None:
    """Without node its absence is told and no fault; with node it is one."""
    records = [*PYTHONS, WITHOUT_NODE]
    assert summary.faults(records, has_node=False) == []
    assert summary.left_out(records, has_node=False) == "ts-0.39.9"
    assert summary.faults(records, has_node=True) == ["SDK ts-0.39.9 did not run, though there is node"]


def test_skips_are_counted_by_their_reason() -> None:
    """The table has one line for each reason."""
    skipped = [f"tests/test_x.py::test_{name}: Skipped: no node here" for name in ("a", "b")]
    assert summary.table([record("interop", "3.11.7", skipped=skipped)]).endswith("\n    skipped 2: no node here")


@pytest.mark.parametrize(
    ("records", "fault"),
    [
        ([], "0 Pythons"),
        ([*ONCE[:3], INTEROP], "2 Pythons"),
        ([*ONCE[:3], part("py313", "3.13.0"), INTEROP], "2 Pythons"),
        ([*ONCE[:3], part("py313", "3.13.0", "0"), part("py313", "3.13.0"), INTEROP], "2 Pythons"),
        ([*ONCE, INTEROP], "hash seeds"),
        ([*ONCE, part("py313", "3.12.1"), INTEROP], "hash seeds"),
        ([*ONCE, part("py313", "3.13.0", "0"), INTEROP], "hash seeds"),
        ([*ONCE, part("py313", "3.13.0", ran=5), INTEROP], "hash seeds"),
        ([*ONCE, part("py313", "3.13.0", outcomes={"passed": 1}), INTEROP], "hash seeds"),
        ([*ONCE, part("py313", "3.13.0", outcomes={"skipped": 7}), INTEROP], "hash seeds"),
        ([*ONCE, part("py313", "3.13.0", exit_status=1), INTEROP], "ended with status 1"),
        ([*PYTHONS[1:], INTEROP], "the documentation"),
        ([*PYTHONS[1:], {**DOCS, "exit_status": 1}, INTEROP], "the documentation"),
        (
            [DOCS, *(record(f"py3{n}", f"3.{n}.1", **OLDER) for n in (10, 11, 13)), INTEROP],
            "for one Python ran nowhere",
        ),
        (PYTHONS, "SDK 0.0.21 on Python 3.11 did not run"),
        ([*PYTHONS, {**INTEROP, "releases": {"0.0.21 on 3.11.7": 3}}], "SDK 0.56.0 on Python 3.13 did not run"),
        ([*PYTHONS, {**INTEROP, "releases": {"0.0.21 on 3.13.0": 3}}], "SDK 0.0.21 on Python 3.11 did not run"),
        ([*PYTHONS, {**INTEROP, "exit_status": 1}], "SDK 0.0.21 on Python 3.11 did not run"),
    ],
)
def test_what_did_not_run_is_named(records: list[dict[str, Any]], fault: str) -> None:
    """A missing Python, hash seed or release, a failed session and one that only skipped are each a fault."""
    assert any(fault in found for found in summary.faults(records, has_node=True))


PANDAS = "could not import 'pandas': No module named 'pandas'"
NO_NODE = "SDK ts-0.39.9 needs node and npm, which are not on this machine"


@pytest.mark.parametrize(
    ("environment", "reason", "has_node", "is_fault"),
    [
        ("py313", PANDAS, True, False),
        ("notebooks", PANDAS, True, True),
        ("py313", "could not import 'xdist': No module named 'xdist'", True, True),
        ("py313", "meshsync-client is not installed here", True, True),
        ("interop", NO_NODE, False, False),
        ("interop", NO_NODE, True, True),
        ("interop", "SDK 0.0.21 needs Python 3.11, which is not on this machine", True, True),
        ("interop", "none of the chosen releases has what this is about", True, False),
        ("py313", "unconditional skip", True, True),
    ],
)
def test_a_skipped_test_is_a_fault_but_for_few_reasons(
    environment: str, reason: str, has_node: bool, is_fault: bool
) -> None:
    """Of a session that passed otherwise; the fault names environment, reason and the number of tests."""
    skipped = [f"tests/test_x.py::test_{name}: Skipped: {reason}" for name in ("a", "b")]
    session = record(environment, "3.13.0", "7", skipped=skipped)
    expected = [f"{environment} (hash seed 7) skipped 2: {reason}"] if is_fault else []
    assert summary.faults([*PYTHONS, INTEROP, session], has_node=has_node) == expected


# --- hash seeds -------------------------------------------------------------------------------------------------------


def test_what_runs_under_one_hash_seed_only_is_there() -> None:
    """A name in the table that no file has any more would leave out nothing, or its successor."""
    assert [name for name in seeds.INDIFFERENT if not (seeds.TESTS / name).exists()] == []
    assert [name for name in seeds.ONE_PYTHON if not (seeds.TESTS / name).exists()] == []
    assert [name for name in seeds.FIRST if not (seeds.TESTS / name).is_file()] == []


@pytest.mark.parametrize(
    ("name", "is_marked"),
    [
        ("simulation/test_determinism.py", True),
        ("stateful/test_rooms.py", True),
        ("unit/test_signals.py", True),
        ("unit/protocol/test_dialects.py", True),
        ("unit/test_that_is_new.py", True),
        ("contract/test_simulated_transport.py", True),
        ("contract/test_transport.py", False),
        ("threads/test_threads.py", False),
        ("interop/test_client.py", False),
    ],
)
def test_what_could_depend_on_the_hash_seed_runs_under_two(name: str, is_marked: bool) -> None:
    """Everything but what is named: real sockets, threads, processes and files."""
    assert seeds.depends(seeds.TESTS / name) is is_marked


def test_marks_are_given_to_tests_by_their_place(request: pytest.FixtureRequest) -> None:
    """This module is one of those that run once, on one Python; elsewhere in this session there are others."""
    marked = {item.path for item in request.session.items if item.get_closest_marker("hash_seed")}
    assert Path(__file__) not in marked
    assert all(seeds.depends(path) for path in marked)
    for_one = {item.path for item in request.session.items if item.get_closest_marker("one_python")}
    assert Path(__file__) in for_one
    assert not seeds.is_for_one_python(seeds.TESTS / "unit" / "test_signals.py")


def collect(marks: str, *places: str, record: Path) -> int:
    """Return the exit status of pytest, which only collects the tests with these marks, and leaves its record there."""
    variables = {"MESHSYNC_RUN_RECORD": str(record), "HYPOTHESIS_PROFILE": "brief"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only", "-m", marks, *places]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, check=False, capture_output=True
    ).returncode


def test_what_runs_once_is_for_one_python_and_no_other_hash_seed(tmp_path: Path) -> None:
    """Though it stands in a module whose other tests are for all."""
    place = "tests/simulation/test_determinism.py"
    assert collect("once and one_python and not hash_seed", place, record=tmp_path) == 0
    assert collect("once and (hash_seed or not one_python)", place, record=tmp_path) == seeds.NOTHING_COLLECTED


def test_a_run_counts_what_is_for_every_python(tmp_path: Path) -> None:
    """Those marked by their place are left out of the count, and so are those marked where they stand."""
    places = ("tests/unit/tools/test_interrupts.py", "tests/simulation/test_determinism.py")
    assert collect("not one_python", *places, record=tmp_path) == 0
    (file,) = tmp_path.glob("*.json")
    counts = json.loads(file.read_text(encoding="utf-8"))
    assert 0 < counts["everywhere"] == counts["selected"] < counts["collected"]
    assert not counts["has_all_examples"]


USUAL = "not releases and not soak"


@pytest.mark.parametrize(
    ("minor", "has_between", "runs"),
    [
        (10, True, [("0", f"not one_python and {USUAL}", "brief")]),
        (11, True, [("0", f"not one_python and {USUAL}", "brief")]),
        (12, True, [("20260101", f"hash_seed and {USUAL}", "brief")]),
        (13, True, [("0", None, "default")]),
        (13, False, [("0", None, "default"), ("20260101", f"hash_seed and {USUAL}", "brief")]),
    ],
)
def test_each_python_has_its_runs(minor: int, has_between: bool, runs: list[tuple[str, str | None, str]]) -> None:
    """The newest runs everything, and what could depend on the hash seed once more where no other does."""
    assert [*seeds.runs_on((3, minor), has_between)] == runs


# --- SDK releases -----------------------------------------------------------------------------------------------------


def test_an_environment_variable_says_which_releases_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """All, four, or any by name; without a word all."""
    for wanted, names in (
        ("", [*RELEASES]),
        ("full", [*RELEASES]),
        ("short", [*SHORT]),
        ("0.12.0, 0.8.4", ["0.12.0", "0.8.4"]),
    ):
        monkeypatch.setenv("MESHSYNC_INTEROP", wanted)
        assert chosen() == names
    assert isinstance(find("ts-0.35.8"), TypeScriptRelease)
    assert isinstance(find("0.12.0"), PythonRelease)


@pytest.mark.parametrize(
    ("version", "streams"),
    [
        ("0.8.4", Streams.ONE_WAY),
        ("0.9.0", Streams.BOTH_WAYS),
        ("0.10.0", Streams.BOTH_WAYS),
        ("0.35.6", Streams.BOTH_WAYS),
        ("0.35.7", Streams.NONE),
        ("0.47.0", Streams.NONE),
        ("0.47.1", Streams.DUPLEX),
    ],
)
def test_a_release_has_the_streams_of_its_time(version: str, streams: Streams) -> None:
    """The bounds are those of PROTOCOL section 1."""
    assert find(version).streams is streams


def filled(outcomes: dict[tuple[str, str, str], str]) -> Matrix:
    """Return a table that was told how tests went: first, second and column to outcome."""
    matrix = Matrix()
    for cell, outcome in outcomes.items():
        report = pytest.TestReport(
            "a test", ("", None, ""), {}, outcome, None, "call", user_properties=[("cell", cell)]
        )  # type: ignore[arg-type]
        matrix.pytest_runtest_logreport(report)
    return matrix


def test_the_table_joins_the_orders_of_a_pair_that_went_alike() -> None:
    """One line for both where they agree, two where they differ; what nobody tried is a dash."""
    old, new = "0.0.21", "0.35.6"
    alike = {(first, second, "send"): "passed" for first in (old, new) for second in (old, new)}
    assert filled(alike).lines() == [["", "send"], [old, "ok"], [new, "ok"], [f"{old} ⇄ {new}", "ok"]]
    differing = {**alike, (new, old, "send"): "failed", (old, old, "stream"): "skipped"}
    assert filled(differing).lines() == [
        ["", "send", "stream"],
        [old, "ok", "not run"],
        [new, "ok", "–"],
        [f"{old} → {new}", "ok", "–"],
        [f"{new} → {old}", "FAILED", "–"],
    ]


def test_the_table_is_written_between_the_markers_alone(tmp_path: Path) -> None:
    """What is around it stays, what was there goes; without markers nothing is written."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    write(page, [["", "send"], ["0.0.21", "ok"]])
    table = "|  | send |\n|---|---|\n| 0.0.21 | ok |"
    assert page.read_text(encoding="utf-8") == f"before\n{BEGIN}\n{table}\n{END}\nafter\n"
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="once each"):
        write(page, [["", "send"]])
    assert page.read_text(encoding="utf-8") == "nothing"


def test_the_table_of_the_page_has_every_release() -> None:
    """It was written by a run of the full form."""
    _, table = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8").split(BEGIN)
    lines = table.split(END)[0].splitlines()
    alone = {line.split("|")[1].strip() for line in lines if line.startswith("| ")}
    assert alone >= {*RELEASES, "meshsync"}
