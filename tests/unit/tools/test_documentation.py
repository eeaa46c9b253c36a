"""The documentation is whole: pages are in the index, questions have their answers, and nothing public is missing."""

from __future__ import annotations

import configparser
import importlib
import inspect
import re
from fnmatch import fnmatch
from pathlib import Path

import click
import pytest

import meshsync
from meshsync.signals import EVENTS
from tools import reference
from tools.reference import SUBJECTS, VARIABLES, Subject, bodies, commands, missing, pages

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
INDEX = (DOCS / "index.md").read_text(encoding="utf-8")
WRITTEN = {str(file.relative_to(DOCS).with_suffix("")): file for file in DOCS.rglob("*.md")}
"""The pages that are written by hand, by the names that toctrees use."""
GENERATED = {f"reference/{name}" for name in pages()}
COLUMNS = int(re.findall(r"^line-length = (\d+)$", (DOCS / "ruff.toml").read_text(encoding="utf-8"), re.M)[0])
"""How many characters of code a line of a page has place for."""

QUESTIONS = {
    "install without a checkout": ("howto/install", "From a wheel"),
    "which names: distribution, modules, extras": ("howto/names", "Extras"),
    "who is in my room": ("howto/who-is-there", "Now"),
    "does a broadcast reach me": ("howto/broadcasts", "Does a broadcast reach me"),
    "role and token": ("howto/roles-and-tokens", "As whom a program joins"),
    "lost connections": ("howto/lost-connections", "Lost connections"),
    "from FastAPI": ("howto/web-frameworks", "FastAPI"),
    "from Django": ("howto/web-frameworks", "Django"),
    "from Celery": ("howto/web-frameworks", "Celery"),
    "threads": ("howto/threads-and-fork", "Threads"),
    "fork": ("howto/threads-and-fork", "Fork"),
    "limits": ("howto/limits", "Of a message"),
    "order and delivery": ("howto/order-and-delivery", "In which order"),
    "ask and answer": ("asking", "Asking and answering"),
    "see the wire": ("howto/the-wire", "What this client sends and gets"),
    "stop a daemon": ("howto/stopping", "Stop a daemon"),
    "test official SDK code": ("howto/official-sdk-tests", "Test code on the official SDK"),
    "history": ("howto/history", "A participant that remembers"),
    "latency in the emulator": ("howto/emulator-latency", "Latency in the emulator"),
    "own participants": ("howto/own-participants", "On the emulator"),
    "Windows": ("windows", "Windows, and Python 3.14"),
    "Python 3.14": ("windows", "Windows, and Python 3.14"),
    "report a bug": ("howto/report-a-bug", "A run that fails"),
    "port from the official SDK": ("howto/port-from-the-sdk", "Messaging"),
    "port from the public documentation": ("howto/port-from-the-public-docs", "A program of that page"),
}
"""What a newcomer asks in the first week, and the page and heading that answer it."""


# --- pages ------------------------------------------------------------------------------------------------------------


def indexed(index: str, there: set[str]) -> list[str]:
    """Return the pages that the toctrees of the index name, in their order; patterns stand for what is left."""
    entries = [line for tree in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL) for line in tree.splitlines()]
    entries = [line for line in entries if line and not line.startswith(":")]
    named = {entry for entry in entries if "*" not in entry}
    found = []
    for entry in entries:
        if "*" not in entry:
            found.append(entry)
            continue
        matching = sorted(
            page for page in there - named if fnmatch(page, entry) and page.count("/") == entry.count("/")
        )
        found += matching
        named.update(matching)
    return found


def test_every_page_is_in_the_index_once() -> None:
    """Two clicks lead to each: the index, and the page."""
    there = ({*WRITTEN} | GENERATED) - {"index"}
    found = indexed(INDEX, there)
    assert sorted(found) == sorted(there)


def test_a_page_that_is_in_no_toctree_is_found() -> None:
    """A planted one, in a directory of which the index knows nothing; and one that it names and that is not there."""
    index = "```{toctree}\n:caption: a\n\nhere\ngone\nhowto/*\n```\n"
    assert indexed(index, {"here", "howto/one", "elsewhere/two"}) == ["here", "gone", "howto/one"]


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_is_answered_on_a_page_that_the_index_links(question: str) -> None:
    """One click to the page, one to the heading."""
    page, heading = QUESTIONS[question]
    assert page in indexed(INDEX, {*WRITTEN})
    headings = re.findall(r"^#+ (.*)$", WRITTEN[page].read_text(encoding="utf-8"), re.MULTILINE)
    assert heading in headings


@pytest.mark.parametrize("page", sorted(WRITTEN))
def test_every_picture_is_there_and_has_a_sentence_below_it(page: str) -> None:
    """For a reader who knows nothing."""
    text = WRITTEN[page].read_text(encoding="utf-8")
    for words, target in re.findall(r"^\[?!\[(.*)\]\((.*?)\)(?:\]\(.*\))?$", text, re.MULTILINE):
        assert (WRITTEN[page].parent / target).resolve().is_file(), target
        assert len(words) > 20
        following = text.partition(f"]({target})")[2].removeprefix(f"]({target})").strip()
        assert re.match(r"\*[^*]+\.\*(\n|$)", following), target


def test_every_picture_that_is_drawn_is_shown() -> None:
    """And no other one lies there."""
    tool = (ROOT / "tools" / "pictures.py").read_text(encoding="utf-8")
    drawn = re.findall(r'^    "([\w-]+)": \w+,$', tool.partition("\nPICTURES")[2], re.MULTILINE)
    assert sorted(file.stem for file in (DOCS / "pictures").iterdir()) == sorted(drawn)
    texts = "".join(file.read_text(encoding="utf-8") for file in WRITTEN.values())
    assert [name for name in drawn if f"pictures/{name}.svg)" not in texts] == []


def test_no_page_calls_anything_easy() -> None:
    """Who does not find it so is not helped."""
    pattern = re.compile(r"\b(simply|easy|easily|obviously|of course)\b", re.IGNORECASE)
    found = {page: pattern.findall(file.read_text(encoding="utf-8")) for page, file in WRITTEN.items()}
    assert {page: words for page, words in found.items() if words} == {}


def test_the_page_on_names_has_every_extra() -> None:
    """And no other one."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    table = WRITTEN["howto/names"].read_text(encoding="utf-8").partition("## Extras")[2]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(settings["options.extras_require"])


def too_wide(page: str) -> list[str]:
    """Return the lines of programs and commands that are wider than a page; what these print is wrapped there."""
    blocks = re.findall(r"^```(?:py|python|sh|toml|ini)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if len(line) > COLUMNS]


@pytest.mark.parametrize("page", sorted(WRITTEN))
def test_no_line_of_a_program_is_cut_off(page: str) -> None:
    """Who reads a page sees all of it."""
    assert too_wide(WRITTEN[page].read_text(encoding="utf-8")) == []


def test_a_line_that_is_too_wide_is_found() -> None:
    """The width is that to which programs on pages are formatted, and beyond which what they print is wrapped."""
    line = "#" * (COLUMNS + 1)
    assert too_wide(f"```python\n{line}\n{line[1:]}\n```\n\n```text\n{line}\n```\n{line}\n") == [line]
    assert f"\nCOLUMNS = {COLUMNS}\n" in (DOCS / "conf.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", sorted(name for name in GENERATED if "errors" in name))
def test_no_line_of_the_tree_of_errors_is_cut_off(page: str) -> None:
    """It would lose its shape if it were wrapped."""
    tree = pages()[page.partition("/")[2]].partition("::")[2].partition(".. list-table")[0]
    assert [line for line in tree.splitlines() if len(line.removeprefix("    ")) > COLUMNS] == []


# --- the reference ----------------------------------------------------------------------------------------------------


def test_no_public_name_is_missing() -> None:
    """What no row of the table has stands on a page of its own."""
    text = "\n".join(pages().values())
    entries = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)$", text, re.MULTILINE))
    for face in reference.FACES:
        module = importlib.import_module(face)
        for name in module.__all__:
            if not inspect.ismodule(getattr(module, name)):
                assert f"{face}.{name}" in entries


def test_a_missing_name_is_found() -> None:
    """Of a table without the page on rooms."""
    some = {name: subject for name, subject in SUBJECTS.items() if name != "rooms"}
    lacking = {*missing(SUBJECTS.values())}
    assert {*missing(some.values())} - lacking == {
        ("meshsync", name) for name in ("ClientStats", "RoomClient", "connect")
    }
    with_one = [*some.values(), Subject("Rooms", {"meshsync.room": "RoomClient ClientStats"})]
    assert {*missing(with_one)} - lacking == {("meshsync", "connect")}


def test_no_event_is_missing() -> None:
    """Each has its signal's sentence, and its line in the docstring of `RoomMessageEvent`."""
    assert bodies().keys() == EVENTS.keys()
    assert all(f".. py:data:: meshsync.signals.{name}\n" in pages()["events"] for name in EVENTS)


@pytest.mark.parametrize("module", ["meshsync.errors", "simulator.errors", "simulator.exploring.checking"])
def test_every_error_says_what_to_do(module: str) -> None:
    """In its docstring, which is its entry in the reference."""
    found = importlib.import_module(module)
    kinds = [getattr(found, name) for name in found.__all__]
    errors = [kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, BaseException)]
    assert errors
    assert [
        kind.__name__ for kind in errors if not re.search(r"^What to do: \w", inspect.getdoc(kind) or "", re.M)
    ] == []


@pytest.mark.parametrize(("program", "page"), [("meshsync", "commands"), ("python -m simulator", "simulator-commands")])
def test_no_command_and_no_option_is_missing(program: str, page: str) -> None:
    """By their names."""
    text = pages()[page]
    found = commands(program)
    assert len(found) > 10
    for name, command in found.items():
        part = text.partition(f"\n{name}\n---")[2].partition(".. program:: ")[2].partition("\n---")[0]
        assert part, name
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.opts[-1] in part, f"{name} {option.opts[-1]}"


def test_no_variable_is_missing() -> None:
    """Every one whose name stands in the sources."""
    sources = [file for face in reference.FACES for file in (ROOT / face).rglob("*.py")]
    named = {
        name
        for file in sources
        for name in re.findall(r"\b(?:MESHAGENT|MESHSYNC)_[A-Z]+(?:_[A-Z]+)*\b", file.read_text(encoding="utf-8"))
    }
    assert named <= VARIABLES.keys()
    assert len(named) > 8


def test_the_errors_of_the_tree_are_those_of_the_reference() -> None:
    """The tree at the top of the page has each of them."""
    tree = pages()["errors"].partition("::")[2].partition(".. list-table")[0]
    assert sorted(re.findall(r"── (\w+)", tree)) == sorted({*meshsync.errors.__all__} - {"MeshsyncError"})
