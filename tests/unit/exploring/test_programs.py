"""Naming programs, and finding them by name."""

from __future__ import annotations

import functools
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from meshsync.errors import UsageError
from simulator.exploring.programs import load, reference

ROOT = Path(__file__).resolve().parents[3]

PROGRAMS = """
    from os.path import join

    VALUE = 3

    def good(sim):
        return sim

    def _private(sim): pass

    def without_argument(): pass

    class Family:
        @staticmethod
        def member(sim):
            return "member"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file of programs in the current directory, under a name that no other test has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / f"programs_of_{tmp_path.name}.py"
    path.write_text(textwrap.dedent(PROGRAMS))
    return path


def test_program_in_a_file_is_found(file: Path):
    """By a path, relative or not; it is imported once, and by its name."""
    relative = load(f"{file.name}:good")
    assert relative(5) == 5
    assert load(f"{file}:good") is relative
    assert relative.__module__ == file.stem
    assert load(f"{file.name}:Family.member")(None) == "member"


def test_program_in_a_module_is_found():
    """By the module's name."""
    assert load("tests.simulation.planted:lost_update").__name__ == "lost_update"


def test_reference_leads_back(file: Path, monkeypatch: pytest.MonkeyPatch):
    """By module from the directory that the module lies in, else by file; relative if that is below."""
    program = load(f"{file.name}:good")
    assert reference(program) == f"{file.stem}:good"
    assert reference(load(f"{file.name}:Family.member")) == f"{file.stem}:Family.member"
    monkeypatch.chdir(file.parent.parent)
    assert reference(program) == f"{file.parent.name}/{file.name}:good"
    assert load(reference(program)) is program
    monkeypatch.chdir("/")
    assert Path(reference(program).rpartition(":")[0]).name == file.name


def test_what_has_no_name_has_no_reference():
    """A lambda, a function inside another, a part of one, what has been replaced."""

    def inner(sim):
        pass

    for program in (lambda sim: None, inner, functools.partial(inner), print, "text".join):
        assert reference(program) is None


def test_main_program_is_found_by_its_file(file: Path):
    """And not as ``__main__``, which another process has not."""
    file.write_text("def good(sim): pass\nfrom simulator.exploring.programs import reference\nprint(reference(good))")
    out = subprocess.run(
        [sys.executable, file.name], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)}
    ).stdout
    assert out == f"{file.name}:good\n"


def test_module_of_a_package_may_import_relatively(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file in a package is imported as the package's."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    package = tmp_path / f"package_of_{tmp_path.name}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "words.py").write_text("word = 'neighbour'")
    (package / "acts.py").write_text("from .words import word\ndef good(sim): return word")
    assert load(f"{package / 'acts.py'}:good")(None) == "neighbour"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("goood", "has no 'goood'; is 'good' meant?"),
        ("zzz", "has no 'zzz'; it defines good, without_argument"),
        ("VALUE", "is no program, which is a callable, but int"),
        ("without_argument", r"is called with the Simulation, which .*without_argument\(\) does not take"),
        ("", "which program of"),
    ],
)
def test_what_is_no_program_is_told(file: Path, name: str, text: str):
    """With what there is instead."""
    with pytest.raises(UsageError, match=text.replace("?", r"\?")):
        load(f"{file.name}:{name}")


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("nowhere.py:good", "no file nowhere.py"),
        ("nowhere.py", "no file nowhere.py"),
        ("no_such_module:good", "no module is named 'no_such_module'.*FILE.py:NAME"),
        ("tests.no_such_module:good", "no module is named 'tests.no_such_module'"),
        ("no module:good", "is no name of a module"),
    ],
)
def test_place_that_is_none_is_told(place: str, text: str):
    """Whether a file or a module."""
    with pytest.raises(UsageError, match=text):
        load(place)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import no_such_thing", r"ModuleNotFoundError: No module named 'no_such_thing' \(.*:1\)"),
        ("\n\n1 / 0", r"ZeroDivisionError: division by zero \(.*:3\)"),
        ("def good(", r"SyntaxError: .*:1\)"),
    ],
)
def test_file_that_cannot_be_imported_is_told_with_its_line(file: Path, source: str, text: str):
    """And leaves nothing behind."""
    file.write_text(source)
    with pytest.raises(UsageError, match=f"cannot be imported: {text}"):
        load(f"{file.name}:good")
    assert file.stem not in sys.modules
