"""The picture of the packages is that of today's imports, and shows no arrow that follows from others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.draw_packages import PICTURE, draw, main, panel_of, read_graph, reduce


def test_the_picture_in_docs_is_up_to_date() -> None:
    """Whoever changes what imports what draws it anew: python -m tools.draw_packages."""
    assert main(["--check"]) == 0


@pytest.mark.parametrize("hash_seed", ["3", "4"])
def test_the_picture_is_the_same_whatever_the_order_of_sets(hash_seed: str) -> None:
    """Under these seeds sums of places differed in the last digit, and with it which of two boxes came first."""
    command = [sys.executable, "-m", "tools.draw_packages", "--check"]
    environ = {**os.environ, "PYTHONHASHSEED": hash_seed}
    assert subprocess.run(command, check=False, cwd=Path(__file__).parents[3], env=environ).returncode == 0


def test_the_picture_is_as_wide_as_a_page() -> None:
    """So that its text is shown there in its own size; no box sticks out."""
    picture = PICTURE.read_text(encoding="utf-8")
    width = int(re.search(r'viewBox="0 0 (\d+) \d+" width="\1"', picture)[1])  # type: ignore[index]
    boxes = re.findall(r'<rect class="(?:package|module)" x="(\d+)" y="\d+" width="(\d+)"', picture)
    assert width <= 800
    assert len(boxes) > 60
    assert max(int(x) + int(wide) for x, wide in boxes) <= width


def test_edges_that_follow_from_others_are_left_out() -> None:
    """What is reached in two steps needs no arrow of its own."""
    assert reduce({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_a_circle_is_refused_by_name() -> None:
    """There is no picture of floors for one."""
    with pytest.raises(ValueError, match="imports in a circle: b -> c -> b"):
        reduce({"a": {"b"}, "b": {"c"}, "c": {"b"}})


@pytest.mark.parametrize(
    ("path", "text", "edge"),
    [
        (
            "meshsync/errors.py",
            "import meshsync.room",
            "meshsync.errors imports meshsync.room, which is not on a lower",
        ),
        ("meshsync/files/progress.py", "\nfrom meshsync.filters import buffering", "progress.py:2: meshsync.files"),
        (
            "meshsync/errors.py",
            "import importlib\nimportlib.import_module('.room', 'meshsync')",
            "imports meshsync.room",
        ),
        ("meshsync/novelty.py", "import meshsync.errors", "meshsync.novelty has no floor"),
        ("meshsync/room.py", "import meshsync.novelty", "meshsync.novelty has no floor"),
    ],
)
def test_an_import_that_does_not_go_down_is_refused(path: str, text: str, edge: str) -> None:
    """The picture leaves no such import out: it names it, so that what is drawn shows that there is no circle."""
    tree = {"meshsync/errors.py": "", "meshsync/room.py": "", "meshsync/filters/buffering.py": "", path: text}
    with pytest.raises(ValueError, match=edge):
        draw(tree)


def test_the_other_half_is_one_box() -> None:
    """simulator uses a dozen modules of meshsync: its half of the picture shows that it stands on meshsync."""
    graph = {"simulator.room": {"meshsync.errors", "meshsync.protocol"}, "meshsync.errors": set(), "meshsync": set()}
    assert panel_of(graph, "simulator") == {"simulator.room": {"meshsync"}, "meshsync": set()}


def test_a_planted_import_appears_as_an_arrow() -> None:
    """The picture is made from imports and from nothing else."""
    tree = {"meshsync/errors.py": "", "meshsync/tokens.py": "", "meshsync/runtime/interfaces.py": ""}
    importing = {**tree, "meshsync/tokens.py": "from meshsync.errors import UsageError"}
    assert read_graph(importing)["meshsync.tokens"] == {"meshsync.errors"}
    arrow = "meshsync.tokens imports meshsync.errors"
    assert arrow in draw(importing)
    assert arrow not in draw(tree)


@pytest.mark.parametrize("word", ["protocol", "streams", "engine", "faults"])
def test_each_package_has_a_box(word: str) -> None:
    """A reader finds the package by its name."""
    assert f">{word}</text>" in draw({"meshsync/errors.py": ""})
