"""What the texts of this repository refer to is there: files, modules and what they define."""

from __future__ import annotations

import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.reference import pages

ROOT = Path(__file__).parents[3]

FOLDERS = "meshsync|simulator|tests|tools|docs|examples|notebooks"

PATH = re.compile(rf"(?<![\w/.-])((?:(?:{FOLDERS})/[\w./-]+\.(?:py|md|ipynb|json|svg))|[A-Z]{{4,}}\.md)(?![\w-])")
"""A file by its path from the repository's root, or a document by its name."""

DOTTED = re.compile(r"``((?:meshsync|simulator)(?:\.\w+)+)(?:\(\))?``")
"""A module, or what a module defines, between double backticks."""

INVENTED = frozenset({"tests/test_x.py", "simulator/room/novelty.py", "meshsync/novelty.py"})
"""Files that tests make up."""

ON_THE_WIRE = frozenset({"meshsync.type"})
"""Members and message types, which are no names of Python."""

PLACES = {"PROTOCOL.md": "docs/PROTOCOL.md", "ARCHITECTURE.md": "docs/ARCHITECTURE.md"}
"""Where documents lie that are called by their names alone."""


def texts() -> Iterator[tuple[str, str]]:
    """Yield the path and the content of each text that git tracks."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        file = ROOT / name
        is_text = file.suffix in (".py", ".md", ".cfg", ".toml", ".ini") and "golden" not in name
        if is_text and file.exists() and file != Path(__file__):  # This one invents files that are not there.
            yield name, file.read_text(encoding="utf-8")


def missing_files(text: str) -> list[str]:
    """Return the files that a text refers to and that are not there."""
    found = {match[1] for match in PATH.finditer(text)} - INVENTED
    return sorted(name for name in found if not (ROOT / PLACES.get(name, name)).exists())


def missing_names(text: str) -> list[str]:
    """Return the dotted names that a text refers to and that neither are modules nor lead to what one defines."""
    return sorted(name for name in {match[1] for match in DOTTED.finditer(text)} - ON_THE_WIRE if not is_there(name))


def is_there(dotted: str) -> bool:
    """Return whether a dotted name can be imported, or reached from what can be."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            if not hasattr(value, name):
                return False
            value = getattr(value, name)
        return True
    return False


def test_what_programs_leave_behind_is_not_in_the_repository() -> None:
    """A record of a search at the root, say: what `.gitignore` has is not tracked."""
    listed = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    assert subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout == ""


def test_every_file_that_a_text_names_is_there() -> None:
    """Texts of all kinds: documents, docstrings, comments, settings."""
    assert {path: missing for path, text in texts() if (missing := missing_files(text))} == {}


def test_every_module_and_name_that_a_docstring_names_is_there() -> None:
    """Modules move; what points to them has to move with them."""
    sources = ((path, text) for path, text in texts() if path.split("/")[0] in ("meshsync", "simulator", "tools"))
    assert {path: missing for path, text in sources if (missing := missing_names(text))} == {}


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("see docs/DESIGN.md", ["docs/DESIGN.md"]),
        ("as DESIGN.md has it, and PROTOCOL.md", ["DESIGN.md"]),
        ("in meshsync/streams.py, line 3", ["meshsync/streams.py"]),
        ("in meshsync/errors.py, and README.md", []),
    ],
)
def test_a_planted_reference_to_a_file_is_found(text: str, missing: list[str]) -> None:
    """By path or by name; what is there is not reported."""
    assert missing_files(text) == missing


def test_a_planted_reference_to_a_name_is_found() -> None:
    """A module that is gone, a name that a module does not define, and three that are right."""
    text = "``meshsync.presence``, ``meshsync.errors.Nothing``, ``meshsync.errors``, ``simulator.check()``"
    assert missing_names(text) == ["meshsync.errors.Nothing", "meshsync.presence"]


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.replace("`", "")).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


GENERATED = {ROOT / "docs" / "reference" / f"{name}.rst" for name in pages()}
"""The pages of the reference, which Sphinx makes first of all; they are nowhere else."""


def broken_links(name: str, text: str) -> list[str]:
    """Return the links of a page to files that are not there, or to headings that their files have not."""
    prose = re.sub(r"^(```+).*?^\1$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    broken = []
    for link in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", prose):
        path, _, anchor = link.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        content = file.read_text(encoding="utf-8") if file.suffix == ".md" and file.exists() else ""
        outside = re.sub(r"^```.*?^```$", "", content, flags=re.MULTILINE | re.DOTALL)
        headings = re.findall(r"^#+ (.*)$", outside, re.MULTILINE)
        is_generated = file.resolve() in GENERATED
        if not (is_generated or file.exists()) or (anchor and content and anchor not in map(slug, headings)):
            broken.append(link)
    return broken


def test_every_link_between_pages_leads_somewhere() -> None:
    """To a file, and to a heading of it: on GitHub as well as in the pages that Sphinx makes."""
    written = {name: text for name, text in texts() if name.endswith(".md")}
    assert {name: links for name, text in written.items() if (links := broken_links(name, text))} == {}


def test_a_broken_link_is_found() -> None:
    """A missing file, a missing heading there and here; not one into the world, nor an example."""
    text = "# Here\n[a](gone.md) [b](README.md#gone) [c](#gone) [d](#here) [e](https://gone.invalid#x) `[f](gone.md)`\n"
    assert broken_links("README.md", text) == ["gone.md", "README.md#gone", "#gone", "#here"]
    assert broken_links("README.md", "[two](#two-agents) [time](docs/howto/limits.md#of-time)") == []
