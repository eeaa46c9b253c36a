"""No loop of the packages jumps out of the `with` or `try` around it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tools.interrupts import uncovered

ROOT = Path(__file__).parents[3]

INDIFFERENT = ROOT / "simulator" / "emulator"
"""Its code runs in the thread of an event loop, which signals do not reach."""

MODULES = [
    path
    for package in ("meshsync", "simulator")
    for path in sorted((ROOT / package).rglob("*.py"))
    if INDIFFERENT not in path.parents
]


def test_ctrl_c_leaves_no_lock_held() -> None:
    """Nor any other `with` or `try` left without its end."""
    found = [
        line for path in MODULES for line in uncovered(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))
    ]
    assert not found, "see tools/interrupts.py for what to do"


WITH = """
def work(lock, step):
    with lock:
        while step():
            pass
"""

COMPREHENSION = """
def work(lock, steps):
    with lock:
        return [step for step in steps if step]
"""

CONDITION_FIRST = """
def work(lock, step):
    with lock:
        while True:
            if not step():
                break
"""

FUNCTION = """
def work(step):
    while step():
        pass
"""


@pytest.mark.parametrize("source", [WITH, COMPREHENSION])
def test_a_loop_that_ends_with_its_condition_is_found_where_python_has_the_fault(source: str) -> None:
    """In a comprehension, too."""
    found = uncovered(source, "module.py")
    assert found == (["module.py: work"] if sys.version_info[:2] in {(3, 12), (3, 13)} else found)


@pytest.mark.parametrize("source", [CONDITION_FIRST, FUNCTION])
def test_a_loop_whose_condition_comes_first_is_not(source: str) -> None:
    """Nor one in a function of its own."""
    assert not uncovered(source, "module.py")


# --- handlers of signals ----------------------------------------------------------------------------------------------

LOCKING = {"set", "clear", "notify", "notify_all", "acquire", "wait", "wait_for", "join", "info", "warning", "error"}
"""Methods that take a lock. The thread that runs a handler may hold it, and waits for itself then."""


def locking_handlers(source: str) -> list[str]:
    """Return the calls that take a lock in functions that a module has as handlers of signals."""
    tree = ast.parse(source)
    handlers = {
        node.args[1].attr if isinstance(node.args[1], ast.Attribute) else getattr(node.args[1], "id", "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "signal.signal" and len(node.args) == 2
    }
    return [
        f"{function.name}: {ast.unparse(call.func)}"
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name in handlers
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in LOCKING
    ]


def test_no_handler_of_a_signal_takes_a_lock() -> None:
    """As that of an event does, which hung ``serve`` at a signal that struck while it waited for the event."""
    paths = [path for package in ("meshsync", "simulator") for path in sorted((ROOT / package).rglob("*.py"))]
    found = {path.name: calls for path in paths if (calls := locking_handlers(path.read_text(encoding="utf-8")))}
    assert found == {}


def test_a_handler_that_takes_a_lock_is_found() -> None:
    """A function of the module, or a method."""
    function = "def stop(number, frame):\n    event.set()\nsignal.signal(signal.SIGTERM, stop)\n"
    method = "class A:\n    def on(self, number, frame):\n        self.lock.acquire()\nsignal.signal(2, a.on)\n"
    assert locking_handlers(function) == ["stop: event.set"]
    assert locking_handlers(method) == ["on: self.lock.acquire"]
    assert locking_handlers(function.replace("event.set()", "queue.put(number)")) == []
