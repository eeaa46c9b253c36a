"""No loop of the packages jumps out of the `with` or `try` around it."""

from __future__ import annotations

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
