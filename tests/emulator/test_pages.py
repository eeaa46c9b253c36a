"""Every page of the documentation, run as it is: its programs, its commands, and what they print."""

from __future__ import annotations

import configparser
import os
import re
from pathlib import Path

import pytest

from tests.support.finding import places
from tests.support.pages import EMULATED, Block, fits, left_unsaid, needs, read_blocks, run_page

__all__ = ["places"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

NOT_RUN = {
    "howto/hosted-room.md: export MESHAGENT_API_KEY=ma-…      # or MESHAGENT_TOKEN, a participant token": (
        "it needs an account"
    ),
    "howto/install.md: pip install \\": "the address is yours",
    "howto/install.md: dependencies = [": "it is a part of a file",
    "howto/install.md: python -m pip wheel --no-deps --wheel-dir dist .": "it needs the checkout",
    'howto/install.md: pip install --find-links dist "meshsync-client[emulator]"': "it needs the wheel",
    "howto/port-from-the-sdk.md: async with RoomClient(": (
        "it needs the official SDK; the page on testing its code has a program of it that runs"
    ),
    "howto/stopping.md: [Service]": "a file of systemd",
}
"""Why a block of a page is not run, by the page and the beginning of its text."""

MADE = ("mistakes.md",)
"""Pages that are made from tests, which run what they show."""
_OTHERS = "".join(
    file.read_text(encoding="utf-8") for file in ROOT.glob("tests/**/test_*page*.py") if file != Path(__file__)
)
PAGES = {
    str(page.relative_to(DOCS)): page.read_text(encoding="utf-8")
    for page in sorted(DOCS.rglob("*.md"))
    if f'{page.name}"' not in _OTHERS and page.name not in MADE
}
"""The pages by their paths, but those that a module of their own runs."""

LONG = (
    "command-line.md",
    "latency.md",
    "replaying.md",
    "sweeps.md",
    "tutorial/a-failing-test.md",
    "walkthrough.md",
)
"""Pages of hundreds of simulated runs or dozens of processes: half of the time of all. `test_long_pages.py` runs them:
a module stays on one processor, and that one on one Python."""


@pytest.mark.slow
@pytest.mark.timeout(360)
@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
@pytest.mark.parametrize(
    "name",
    [name for name, text in PAGES.items() if name not in LONG and re.search("^```(sh|python)$", text, re.M)],
)
def test_page_does_what_it_says(name: str, places: Path, tmp_path: Path) -> None:
    """Each block prints the text below it, and nothing of the page is left running."""
    check_page(name, places, tmp_path)


def check_page(name: str, places: Path, directory: Path) -> None:
    """Run a page in an empty directory below another one."""
    for library in needs(PAGES[name]):
        pytest.importorskip(library)
    for ran in run_page(DOCS / name, directory / "empty"):
        assert ran.fits, f"{ran.block.text}\nprints\n{ran.printed}\nand not\n{ran.block.output}"
    assert not places.exists() or list(places.iterdir()) == []


def test_long_pages_are_there() -> None:
    """A page of another name would run twice."""
    assert {*LONG} <= {*PAGES}


def test_blocks_that_are_not_run_are_known() -> None:
    """A block that is left out would be taken for one that was tried; each has its reason."""
    left_out = {
        f"{name}: {block.text.splitlines()[0]}": block.reason
        for name, text in PAGES.items()
        for block in read_blocks(text)
        if block.reason
    }
    assert left_out == NOT_RUN


@pytest.mark.parametrize(
    ("printed", "output", "is_so"),
    [
        ("a (b)\n", "a (b)\n", True),
        ("a (c)\n", "a (b)\n", False),
        ("1 passed in 0.3s\n", "1 passed in …\n", True),
        ("1 passed in 0.3s\nmore\n", "1 passed in …\n", False),
        ("a\nb\nc\nd\n", "a\n…\nd\n", True),
        ("a\nd\n", "a\n…\nd\n", True),
        ("a\nb\nc\n", "a\n…\nd\n", False),
    ],
)
def test_text_of_a_page_stands_for_what_is_printed(printed: str, output: str, is_so: bool) -> None:
    """Otherwise the tests of pages could not fail."""
    assert fits(printed, output) is is_so


PAGE = """
```python
print("a")
```

```text
a
```

Some words.

```text
shown
```

<!-- file: bot.py -->
```python
print("bot")
```

<!-- not run: it takes a day -->
```sh
sleep 86400
```
"""


def test_blocks_are_told_apart() -> None:
    """What runs, with its output; what is shown; what is a file; what is left out."""
    assert read_blocks(PAGE) == [
        Block("python", 'print("a")\n', output="a\n"),
        Block("text", "shown\n"),
        Block("python", 'print("bot")\n', file="bot.py"),
        Block("sh", "sleep 86400\n", reason="it takes a day"),
    ]


def extras() -> dict[str, list[str]]:
    """Return by the names of our extras the libraries that they bring."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    return {name: re.findall(r"^[\w-]+", text, re.M) for name, text in settings["options.extras_require"].items()}


@pytest.mark.parametrize("name", ["../README.md", *PAGES])
def test_a_page_says_what_its_comments_do(name: str) -> None:
    """Who pastes a block knows the name of its file, and what to install: a comment is not shown."""
    assert left_unsaid((DOCS / name).read_text(encoding="utf-8"), extras()) == []


def test_what_a_comment_alone_says_is_found() -> None:
    """A file that is named after its block, and a library without a line that installs it."""
    file = '<!-- file: bot.py -->\n```python\nprint("bot")\n```\n'
    needed = "<!-- page: needs django -->\n<!-- page: needs matplotlib -->\n# Of django\n"
    assert left_unsaid(f"{needed}\n{file}\nThat was `bot.py`.\n", extras()) == ["django", "matplotlib", "bot.py"]
    said = "`pip install httpx django`\n`pip install 'meshsync-client[notebook]'`\nIn `bot.py`:\n\n"
    assert left_unsaid(f"{needed}{said}{file}", extras()) == []


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
def test_a_page_runs_by_the_command_that_it_shows(places: Path, tmp_path: Path) -> None:
    """With an emulator by that of pages whose programs join rooms, and not without, though one may run elsewhere."""
    page = tmp_path / "page.md"
    join = 'with meshsync.connect("lab", name="ada") as room:\n    print(1)\n'
    program = f"```python\nimport meshsync\n```\n```python\n{join}```\n"
    page.write_text(f"`{EMULATED}`\n{program}")
    assert [ran.printed.strip() for ran in run_page(page, tmp_path / "one")] == ["", "1"]
    page.write_text(program)
    with pytest.raises(AssertionError, match="nothing to join with"):
        run_page(page, tmp_path / "other")


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
@pytest.mark.parametrize("begin", ["", "```sh\npython bot.py\n```\n"], ids=["python", "sh"])
def test_a_page_that_prints_something_else_is_found(begin: str, places: Path, tmp_path: Path) -> None:
    """And one that fails is an error, in a page of Python and in one of commands."""
    page = tmp_path / "page.md"
    file = '<!-- file: bot.py -->\n```python\nprint("bot")\n```\n'
    page.write_text(f'{file}{begin}```python\nprint("b")\n```\n```text\na\n```\n')
    assert [ran.fits for ran in run_page(page, tmp_path / "one")][-1:] == [False]
    page.write_text(f'{file}{begin}```python\nraise ValueError("no")\n```\n')
    with pytest.raises(AssertionError, match="ValueError: no"):
        run_page(page, tmp_path / "other")
