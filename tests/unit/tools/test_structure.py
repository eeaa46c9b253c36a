"""The floors and the seam hold in this tree, and each planted fault is caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.imports import read_tree
from tools.sizes import check_sizes
from tools.structure import check_clock, check_floors, check_paths, check_seam, check_table, read_floors

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
    "simulator/cli/serving.py": "import time\n",
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


def test_pytest_s_plugin_may_import_the_simulator_in_functions() -> None:
    """And for a type checker, and nothing else of meshsync may."""
    text = "if TYPE_CHECKING:\n    from simulator import Simulation\ndef f():\n    from simulator.room import rules\n"
    assert check_floors(planted("meshsync/pytest_plugin.py", text)) == []
    assert len(check_floors(planted("meshsync/room.py", text))) == 2


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
        ("meshsync/pytest_plugin.py", "import simulator", "outside of a function"),
        ("meshsync/pytest_plugin.py", "class A:\n    from simulator.room.rules import Room", "outside of a function"),
        ("meshsync/pytest_plugin.py", "import meshsync\nif meshsync:\n    import simulator", "outside of a function"),
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
        ("meshsync/errors.py", "import importlib\nimportlib.import_module('.room', 'meshsync')", "lower floor"),
        (
            "meshsync/errors.py",
            "from importlib import import_module as im\nim('.room', package=__package__)",
            "lower floor",
        ),
        (
            "meshsync/protocol/frames.py",
            "from importlib import import_module\nimport_module('..room', __package__)",
            "lower floor",
        ),
        (
            "meshsync/protocol/__init__.py",
            "from importlib import import_module\nimport_module('..room', __name__)",
            "hands on only its own modules",
        ),
        ("meshsync/errors.py", "import importlib\ndef f(p): importlib.import_module('.room', p)", "not named"),
        ("meshsync/protocol/frames.py", "__import__('room', globals(), None, [], 2)", "lower floor"),
        ("meshsync/errors.py", "import importlib\nname = 'meshsync.room'\nimportlib.import_module(name)", "not named"),
        ("meshsync/errors.py", "import importlib\nimportlib.import_module('meshsync.' + 'room')", "not named"),
        ("meshsync/errors.py", "import importlib\nx = 'room'\nimportlib.import_module(f'meshsync.{x}')", "not named"),
        ("meshsync/connect.py", "import importlib\nimportlib.import_module('simul' + 'ator')", "not named"),
        ("meshsync/errors.py", "import sys\nsys.modules.get('meshsync.room')", "lower floor"),
        ("meshsync/errors.py", "from sys import modules as m\nm['meshsync.room']", "lower floor"),
        ("meshsync/errors.py", "import sys\nfor module in sys.modules.values(): pass", "not named"),
        ("meshsync/errors.py", "import sys\nloaded = vars(sys.modules)", "not named"),
        ("meshsync/errors.py", "from importlib.util import find_spec\nfind_spec('meshsync.room')", "lower floor"),
        ("meshsync/errors.py", "exec('import meshsync.room')", "not named"),
        ("meshsync/errors.py", "import functools, importlib\nfunctools.partial(importlib.import_module)", "not named"),
        ("meshsync/errors.py", "import importlib\n(im := importlib.import_module)('meshsync.room')", "lower floor"),
        ("meshsync/protocol/frames.py", "import meshsync.errors\nmeshsync.room.RoomClient", "imports meshsync.room"),
        ("meshsync/protocol/frames.py", "import meshsync.errors\ngetattr(meshsync, 'room')", "imports meshsync.room"),
        ("meshsync/protocol/frames.py", "import meshsync.errors\nmeshsync.RoomClient", "imports meshsync,"),
        ("meshsync/protocol/frames.py", "import meshsync.errors\nm = meshsync\nm.room.RoomClient", "lower floor"),
    ],
)
def test_a_planted_import_is_caught_by_the_floors(path: str, text: str, breach: str) -> None:
    """One import against the table yields a complaint that names its file."""
    (complaint,) = check_floors(planted(path, text))
    assert breach in complaint
    assert complaint.startswith(path)


@pytest.mark.parametrize(
    "binding",
    [
        "im = importlib.import_module",
        "im: object = importlib.import_module",
        "im, b = importlib.import_module, 1",
        "[(im, a), *b] = [(importlib.import_module, 1), 2]",
        "if im := importlib.import_module: pass",
        "def f(a, /, b, im=importlib.import_module, *, c=1): pass",
        "def f(a=1, *, im=importlib.import_module): pass",
    ],
)
def test_an_importing_function_is_known_by_each_name_it_is_bound_to(binding: str) -> None:
    """The import is seen whichever way the name was bound, and handing the function on is a breach of its own."""
    complaints = check_floors(planted("meshsync/errors.py", f"import importlib\n{binding}\nim('meshsync.room')"))
    assert {complaint.partition(": meshsync.errors imports ")[2] for complaint in complaints} == {
        "a module that is not named here, which cannot be checked",
        "meshsync.room, which is not on a lower floor",
    }


def test_a_chain_through_an_imported_module_is_not_named_again() -> None:
    """One import against the floors is one complaint, however often its names are used."""
    text = "import meshsync.room\nmeshsync.room.RoomClient\nmeshsync.room.ClientStats"
    (complaint,) = check_floors(planted("meshsync/errors.py", text))
    assert complaint.startswith("meshsync/errors.py:1:")


def test_the_table_and_the_tree_name_the_same_modules() -> None:
    """No module of this repository is without a floor, and no floor without a module."""
    assert check_table(read_tree(ROOT)) == []


TABLE = "0 a.errors\n1 a.pack: low / high\n2 a\n"
TABLED = {"a/__init__.py": "", "a/errors.py": "", "a/pack/__init__.py": "", "a/pack/low.py": "", "a/pack/high.py": ""}


def test_a_table_of_its_own_tree_passes() -> None:
    """Each module and each face has its row."""
    assert check_table(TABLED, TABLE) == []


@pytest.mark.parametrize(
    "path", ["a/novelty.py", "a/pack/novelty.py", "a/novelty/__init__.py", "a/pack/novelty/__init__.py"]
)
def test_a_module_or_a_face_without_a_row_is_caught(path: str) -> None:
    """The imports of a module that has no floor could not be judged."""
    assert check_table({**TABLED, path: ""}, TABLE) == [f"{path}: give it a floor in tools/structure.py"]


@pytest.mark.parametrize(
    ("table", "ghost"),
    [
        (f"{TABLE}3 a.ghost\n", "a.ghost"),
        (f"{TABLE}3 a.ghost:\n", "a.ghost"),
        (TABLE.replace("low", "low ghost"), "a.pack.ghost"),
    ],
)
def test_a_row_without_a_module_is_caught(table: str, ghost: str) -> None:
    """A table that names what is gone tells a reader of a house that does not stand."""
    assert check_table(TABLED, table) == [f"tools/structure.py: {ghost} has a floor and does not exist"]


@pytest.mark.parametrize("table", [f"{TABLE}3 a.errors\n", TABLE.replace("high", "high low"), f"{TABLE}3 a.pack: top"])
def test_a_module_with_two_floors_is_caught(table: str) -> None:
    """The second row would silently replace the first."""
    with pytest.raises(ValueError, match="has two floors"):
        check_table(TABLED, table)


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
        "from random import Random\nRandom(None)",
        "from random import Random\nRandom(x=None)",
        "from os import *\nurandom(3)",
        "from meshsync.errors import *",
        "import sys\nsys.modules.get('time').sleep(1)",
        "import sys\nsys.modules.get('ti' + 'me').sleep(1)",
        "from importlib.util import find_spec\nfind_spec('time')",
        "from importlib import util\nutil.spec_from_file_location('x', 'time.py')",
        "import os\nfresh: object = os.urandom\nfresh(3)",
        "import importlib\nim: object = importlib.import_module\nim('time')",
        "import importlib\nim, b = importlib.import_module, 1\nim('time')",
        "import importlib\n(im := importlib.import_module)('time')",
        "import datetime\n(now := datetime.datetime.now)()",
        "import os\ndef f(o=os): return o.urandom(3)",
        "import os\nos.urandom(3).hex()",
        "eval('__import__(\"time\")')",
        "from logging import importlib\nimportlib.import_module('time')",
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
        "from meshsync.world import REAL_WORLD\nREAL_WORLD.runtime.monotonic()",
        "import meshsync.world\nmeshsync.world.REAL_WORLD.runtime.monotonic()",
        "from meshsync.world import install_world\ninstall_world(None)",
        "from meshsync.world import _installed",
        "from meshsync.world import runtime_of\nruntime_of(None).sleep(1)",
        "from meshsync.world import runtime_of as of\nof(owner=None).sleep(1)",
        "from meshsync import *",
        "import sys\nsys.modules['meshsync.world'].monotonic()",
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
    text = "from meshsync.world import World, runtime_of\nimport meshsync.world\nmeshsync.world.runtime_of(len)"
    assert check_clock(planted("meshsync/room.py", text)) == []


@pytest.mark.parametrize("path", ["meshsync/room.py", "meshsync/connect.py", "meshsync/__init__.py"])
@pytest.mark.parametrize(
    "text",
    [
        "from meshsync.runtime.threads import ThreadRuntime\nThreadRuntime().monotonic()",
        "from .runtime import threads as t\nt.ThreadRuntime()",
        "import meshsync.runtime.threads\nmake = meshsync.runtime.threads.ThreadRuntime\nmake()",
    ],
)
def test_a_second_real_runtime_is_caught(path: str, text: str) -> None:
    """It is made with the real world; a client is given its runtime."""
    complaints = check_clock(planted(path, text))
    assert complaints
    assert all(complaint.startswith(f"{path}:") for complaint in complaints)
    assert check_clock(planted("meshsync/world.py", text)) == []
    assert check_clock(planted("simulator/cli/serving.py", text)) == []


WIRE = {
    "meshsync/protocol/__init__.py": '"""The wire."""',
    "meshsync/protocol/frames.py": "import os\n__all__ = ['A', 'B', 'C', 'Frame', 'read']\nA = B = 1\n"
    "if A:\n    C: int = 2\nclass Frame: ...\ndef read(): ...\nHOME = os.sep\n",
    "meshsync/protocol/content.py": "from .frames import Frame\n__all__ = ['Text']\nclass Text(Frame): ...\n",
    "meshsync/room.py": "from meshsync.protocol import content, frames\n"
    "from meshsync.protocol.frames import A, C, HOME\ncontent.Text(frames.read())\ncontent.__doc__\n",
}
"""A small tree in which each name of the wire has one path."""


def test_each_name_of_the_wire_has_one_import_path() -> None:
    """In meshsync/protocol nothing is handed on, in this repository and in the small tree."""
    assert check_paths(read_tree(ROOT)) == []
    assert check_paths(WIRE) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("meshsync/protocol/content.py", "from .frames import Frame\n__all__ = ['Frame', 'Text']\nclass Text: ...\n"),
        ("meshsync/protocol/content.py", "from .frames import Frame as F\n__all__ = ['G']\nG = F\nclass Text: ...\n"),
        ("meshsync/protocol/content.py", "__all__ = ['Text']\n__all__ += ['Frame']\nclass Text: ...\n"),
        ("meshsync/protocol/__init__.py", "from .frames import Frame\n__all__ = ['Frame']\n"),
        ("meshsync/room.py", "from meshsync.protocol.content import Frame\n"),
        ("meshsync/room.py", "from meshsync.protocol import content as c\nc.Frame()\n"),
        ("meshsync/room.py", "import meshsync.protocol.content\nmeshsync.protocol.content.Frame()\n"),
        ("meshsync/room.py", "from meshsync.protocol import Frame\n"),
        ("meshsync/room.py", "from meshsync.protocol.content import *\n"),
        ("simulator/room/rules.py", "from meshsync.protocol.content import Frame\n"),
    ],
)
def test_a_second_path_to_a_name_of_the_wire_is_caught(path: str, text: str) -> None:
    """A module that lists what it does not define, and an importer that takes it from there."""
    (complaint,) = check_paths({**WIRE, path: text})
    assert complaint.startswith(f"{path}:")
    assert "not define" in complaint


def test_no_module_class_or_function_is_too_long() -> None:
    """The limits hold in this repository, its tools included."""
    tools = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in ROOT.glob("tools/*.py")}
    assert "tools/sizes.py" in tools
    assert check_sizes({**read_tree(ROOT), **tools}) == []


def function(lines: int, name: str = "f", indent: str = "") -> str:
    """Return a function of a number of lines, and a docstring of three more."""
    body = ['"""Text', "", 'and more."""', *["x = 1"] * (lines - 1)]
    return "\n".join([f"{indent}def {name}():", *(f"{indent}    {line}" if line else "" for line in body)]) + "\n"


@pytest.mark.parametrize(
    ("fits", "too_long", "complaint"),
    [
        (function(60), function(61), "a.py:1: f has 61 lines without docstrings; at most 60"),
        (
            f"async {function(60)}",
            f"async {function(61)}",
            "a.py:1: f has 61 lines without docstrings; at most 60",
        ),
        (
            "class A:\n    'Text.'\n" + function(50, indent="    ") * 6 + "    x = 1\n    'Text.'\n" * 49,
            "class A:\n    'Text.'\n" + function(50, indent="    ") * 6 + "    x = 1\n    'Text.'\n" * 50,
            "a.py:1: A has 351 lines without docstrings; at most 350",
        ),
        (
            '"""Text\n\nand more."""\n' + "x = 1\n# why\n\n" * 150,
            '"""Text\n\nand more."""\n' + "x = 1\n# why\n\n" * 150 + "y = 2",
            "a.py:1: the module has 451 lines without docstrings; at most 450",
        ),
    ],
)
def test_what_is_too_long_is_caught_at_the_first_line_too_many(fits: str, too_long: str, complaint: str) -> None:
    """Comments and empty lines count, docstrings do not."""
    assert check_sizes({"a.py": fits}) == []
    assert check_sizes({"a.py": too_long}) == [complaint]


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
