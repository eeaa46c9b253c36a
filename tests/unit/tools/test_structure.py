"""The floors and the seam hold in this tree, and each planted fault is caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.structure import check_clock, check_floors, check_seam, read_floors, read_tree

ROOT = Path(__file__).parents[3]

SOUND = {
    "meshsync/__init__.py": "from meshsync.connect import connect\nfrom meshsync import errors\n",
    "meshsync/errors.py": "",
    "meshsync/protocol/__init__.py": "from meshsync.protocol.frames import Frame\n",
    "meshsync/protocol/frames.py": "from meshsync.errors import MeshsyncError\n",
    "meshsync/protocol/content.py": "from .frames import Frame\nfrom .. import errors\n",
    "meshsync/protocol/session.py": "import meshsync.protocol.content\n",
    "meshsync/runtime/interfaces.py": "from random import Random\n",
    "meshsync/runtime/threads.py": "import time\nimport threading as t\nfrom os import urandom\n",
    "meshsync/room.py": "from meshsync import errors\n",
    "meshsync/connect.py": "from datetime import time\nfrom meshsync.room import RoomClient\n",
    "simulator/__init__.py": "from simulator.simulation import Simulation\n",
    "simulator/room/__init__.py": "",
    "simulator/room/rules.py": "from meshsync.protocol import content\nfrom meshsync import errors\n",
    "simulator/emulator/gateway.py": "import asyncio, socket\nfrom simulator.room.rules import Room\n",
    "simulator/simulation.py": "import meshsync\nfrom simulator.room import rules\n",
    "simulator/cli/main.py": "import time\n",
}
"""A small tree without a fault."""


def planted(path: str, text: str) -> dict[str, str]:
    """Return the sound tree with one file replaced or added."""
    return {**SOUND, path: text}


def test_modules_import_only_from_lower_floors() -> None:
    """The tree of this repository keeps the table of floors."""
    tree = read_tree(ROOT)
    assert "meshsync/errors.py" in tree
    assert check_floors(tree) == []


def test_only_the_seam_meets_the_world() -> None:
    """Time, threads, sockets and chance enter this repository through the seam alone."""
    tree = read_tree(ROOT)
    assert "meshsync/runtime/threads.py" in tree
    assert check_seam(tree) == []


def test_a_sound_tree_passes() -> None:
    """Neither check complains about what is allowed."""
    assert check_floors(SOUND) == []
    assert check_seam(SOUND) == []


@pytest.mark.parametrize(
    ("path", "text", "breach"),
    [
        ("meshsync/errors.py", "import meshsync.room", "lower floor"),
        ("meshsync/runtime/interfaces.py", "from meshsync import room", "lower floor"),
        ("meshsync/runtime/interfaces.py", "from .. import room", "lower floor"),
        ("meshsync/runtime/interfaces.py", "from ..room import RoomClient", "lower floor"),
        ("meshsync/runtime/interfaces.py", "from meshsync import RoomClient", "lower floor"),
        ("meshsync/runtime/interfaces.py", "import meshsync", "lower floor"),
        (
            "meshsync/runtime/interfaces.py",
            "def f():\n    from meshsync.runtime.threads import ThreadRuntime",
            "lower floor",
        ),
        ("meshsync/protocol/frames.py", "from ..connect import connect", "lower floor"),
        (
            "meshsync/runtime/interfaces.py",
            "import importlib as i\ni.import_module('meshsync.room')",
            "lower floor",
        ),
        ("meshsync/runtime/interfaces.py", "room = __import__('meshsync.room')", "lower floor"),
        ("meshsync/runtime/interfaces.py", "from meshsync.rom import RoomClient", "does not exist"),
        ("meshsync/room.py", "import simulator", "meshsync never imports simulator"),
        ("meshsync/connect.py", "from simulator.room.rules import Room", "meshsync never imports simulator"),
        ("meshsync/connect.py", "import importlib\nimportlib.import_module('simulator')", "never imports simulator"),
        ("simulator/room/rules.py", "from meshsync.protocol.session import Session", "participants share only"),
        ("simulator/room/rules.py", "import meshsync.protocol.session as s", "participants share only"),
        ("simulator/room/rules.py", "from meshsync.protocol import Session", "participants share only"),
        ("simulator/room/rules.py", "import meshsync", "participants share only"),
        ("simulator/room/rules.py", "import simulator.simulation", "lower floor"),
        ("simulator/room/__init__.py", "import simulator.simulation", "hands on only its own modules"),
        ("meshsync/protocol/frames.py", "import meshsync.protocol.content", "lower floor"),
        ("meshsync/protocol/frames.py", "from meshsync.protocol import Session", "lower floor"),
        ("meshsync/protocol/frames.py", "import meshsync.protocol.session", "lower floor"),
        ("meshsync/protocol/session.py", "import meshsync.room", "lower floor"),
        ("simulator/faults/plans.py", "from simulator.room.rules import Room", "lower floor"),
        ("simulator/emulator/gateway.py", "from simulator import simulation", "lower floor"),
        ("simulator/participants/stream.py", "import meshsync.protocol.session", "participants share only"),
        ("meshsync/novelty.py", "", "give it a floor in tools/structure.py"),
        ("simulator/room/novelty.py", "", "give it a floor in tools/structure.py"),
    ],
)
def test_a_planted_import_is_caught_by_the_floors(path: str, text: str, breach: str) -> None:
    """One import against the table yields a complaint that names its file."""
    (complaint,) = check_floors(planted(path, text))
    assert breach in complaint
    assert complaint.startswith(path)


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "import time as t",
        "from time import sleep as s",
        "def f():\n    import threading",
        "import os, queue",
        "import _thread",
        "import concurrent.futures",
        "from concurrent import futures",
        "from asyncio import sleep",
        "import importlib\nimportlib.import_module('time')",
        "import importlib as i\ni.import_module(name='time')",
        "from importlib import import_module\nclock = import_module('time')",
        "__import__('time')",
        "import builtins\nbuiltins.__import__('socket')",
        "import importlib\nimportlib.import_module('ti' + 'me')",
        "import pkgutil\npkgutil.resolve_name('time:sleep')",
        "from pkgutil import resolve_name\nresolve_name('ti' + 'me')",
        "import runpy\nrunpy.run_module('sched')",
        "import sys\nsys.modules['time']",
        "import os\nkey = os.urandom(16)",
        "import os as o\no.urandom(16)",
        "from os import urandom",
        "from os import urandom as fresh",
        "import os\nsystem = os\nsystem.urandom(16)",
        "import os\ngetattr(os, 'urandom')(16)",
        "from datetime import datetime\ndatetime.now()",
        "import datetime as d\nd.datetime.now()",
        "from meshsync.runtime.threads import time",
        "import logging\nlogging.time.sleep(1)",
        "import random\nrandom.random()",
        "import random as r\nr.shuffle([])",
        "from random import choice",
        "from random import *",
        "from random import SystemRandom",
        "from random import Random\nRandom()",
    ],
)
def test_a_planted_use_of_the_world_is_caught_by_the_seam(text: str) -> None:
    """Time, threads and chance are found behind aliases, in functions and behind dynamic imports."""
    complaints = check_seam(planted("meshsync/room.py", text))
    assert complaints
    assert all(complaint.startswith("meshsync/room.py:") for complaint in complaints)


@pytest.mark.parametrize("text", ["from random import choice", "import random\nrandom.seed(1)"])
def test_the_shared_generator_is_forbidden_in_the_seam_too(text: str) -> None:
    """The module-level functions of random are nobody's."""
    assert check_seam(planted("meshsync/runtime/threads.py", text))


def test_a_fault_in_files_is_found_as_in_text(tmp_path: Path) -> None:
    """A tree on disk is read whole, packages inside packages too."""
    for path, text in planted("simulator/room/rules.py", "import time as t").items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert check_seam(read_tree(tmp_path)) == ["simulator/room/rules.py:1: imports time"]


def test_only_joining_reads_the_world_of_the_calling_task() -> None:
    """All else in meshsync takes the runtime of its client."""
    assert check_clock(read_tree(ROOT)) == []


@pytest.mark.parametrize(
    "text",
    [
        "from meshsync.world import current_world",
        "from meshsync.world import World, spawn as start",
        "from meshsync.world import *",
        "from .world import sleep",
        "from . import world\nworld.condition()",
        "from meshsync import world\nworld.monotonic()",
        "import meshsync.world\nmeshsync.world.sleep(1)",
        "import meshsync.world as w\nnow = w.monotonic\nnow()",
        "import meshsync.world\ngetattr(meshsync.world, 'current_world')()",
        "from meshsync import sleep",
        "import meshsync\ndef f(): meshsync.sleep(1)",
        "from importlib import import_module\nimport_module('meshsync.world').sleep(1)",
    ],
)
def test_a_planted_second_clock_is_caught(text: str) -> None:
    """Behind aliases and in functions, too; the three files that join or hand on may do it."""
    complaints = check_clock(planted("meshsync/room.py", text))
    assert complaints
    assert all(complaint.startswith("meshsync/room.py:") for complaint in complaints)
    assert check_clock(planted("meshsync/connect.py", text)) == []


def test_the_clock_of_an_owner_is_nobodys_ambient_one() -> None:
    """The function that finds it, and the types, may be imported."""
    text = "from meshsync.world import World, runtime_of\nimport meshsync.world\nmeshsync.world.runtime_of(None)"
    assert check_clock(planted("meshsync/room.py", text)) == []


def test_floors_are_read_from_the_table() -> None:
    """Labels in order, packages with floors of their own, lines that go on."""
    floors = read_floors("0 a.errors\n1 a.pack: low also / high\n         / top\n1 a.flat\n")
    places = {name: (floor.outer, floor.unit, floor.inner) for name, floor in floors.items()}
    face = places.pop("a.pack")
    assert places == {
        "a.errors": (0, "a.errors", 0),
        "a.pack.low": (1, "a.pack", 0),
        "a.pack.also": (1, "a.pack", 0),
        "a.pack.high": (1, "a.pack", 1),
        "a.pack.top": (1, "a.pack", 2),
        "a.flat": (1, "a.flat", 0),
    }
    assert face[:2] == (1, "a.pack")
    assert face[2] > 2


def test_a_loader_of_programs_is_held_to_the_seam_otherwise() -> None:
    """It may import what a user names, and nothing of the world that it names itself."""
    path = "simulator/exploring/programs.py"
    assert check_seam(planted(path, "import pkgutil\ndef f(name): return pkgutil.resolve_name(name)")) == []
    assert len(check_seam(planted(path, "import pkgutil\npkgutil.resolve_name('time:sleep')"))) == 1
    assert len(check_seam(planted(path, "import time"))) == 1
