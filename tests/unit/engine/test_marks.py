"""Marks of code hold wherever it moves and whatever its functions are called."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType

import pytest

import meshsync
import simulator
import simulator.engine
from simulator.engine import conditions, diagnosis, marks
from simulator.engine.conditions import VirtualCondition
from simulator.engine.runtime import VirtualRuntime
from simulator.engine.tasks import VirtualTask

SOURCE = """
import sys

from simulator.engine.marks import interruptible

__engine__ = True

def torn(call):
    return call()

@interruptible
def {name}(call):
    return call()
"""
"""A module of the engine, of which one function may be cut."""


def here() -> FrameType:
    """Return the caller's frame."""
    return sys._getframe(1)


def moved(source: str, name: str, file: str) -> dict[str, Callable[..., FrameType]]:
    """Run a module's source under another name and in another file, and return what it defines."""
    module = ModuleType(name)
    exec(compile(source, file, "exec"), module.__dict__)
    return module.__dict__


def call(function: Callable[..., FrameType]) -> FrameType:
    """Return a frame that the function has called, with nothing above the function on the stack."""
    frame = function(here_again)
    assert frame.f_back is not None
    return frame.f_back


def here_again() -> FrameType:
    """Return this very frame."""
    return sys._getframe(0)


def engine_modules() -> Iterator[str]:
    """Yield the name of each module of the engine."""
    yield "simulator.engine"
    yield from (f"simulator.engine.{found.name}" for found in pkgutil.iter_modules(simulator.engine.__path__))


@pytest.mark.parametrize("name", list(engine_modules()))
def test_each_module_of_the_engine_has_its_mark(name: str) -> None:
    """None is forgotten, or else a diagnosis would show its frames and Ctrl-C would cut it."""
    assert importlib.import_module(name).__dict__["__engine__"] is True


def test_nothing_else_has_the_mark_of_the_engine() -> None:
    """The mark stands in the files of that package alone."""
    engine = Path(simulator.engine.__file__).parent
    roots = [Path(package.__file__).parent for package in (meshsync, simulator)]
    marked = {file.parent for root in roots for file in root.rglob("*.py") if "\n__engine__ =" in file.read_text()}
    assert marked == {engine}


def test_both_packages_have_the_mark_of_the_library() -> None:
    """What is theirs is not the program's."""
    assert meshsync.__library__
    assert simulator.__library__


@pytest.mark.parametrize("name", ["wait_for", "hold_on"])
@pytest.mark.parametrize(("module", "file"), [("simulator.engine.old", "old.py"), ("elsewhere", "/other/place.py")])
def test_a_renamed_function_and_a_moved_module_keep_their_marks(name: str, module: str, file: str) -> None:
    """Neither the name of a function, nor that of its module or file, decides what may be cut and what is hidden."""
    found = moved(SOURCE.format(name=name), module, file)
    frame, torn = call(found[name]), call(found["torn"])
    assert marks.is_engine(frame)
    assert marks.is_interruptible(frame)
    assert marks.is_engine(torn)
    assert not marks.is_interruptible(torn)


def test_a_function_with_the_name_of_a_marked_one_has_no_mark() -> None:
    """A function of the engine that is called as one that may be cut is not cut for that."""
    found = moved(SOURCE.format(name="marked").replace("def torn", "def wait_for"), "simulator.engine.new", "new.py")
    frame = call(found["wait_for"])
    assert not marks.is_interruptible(frame)


def test_the_engine_moved_elsewhere_is_still_hidden_and_whole() -> None:
    """The conditions' own source, run under another name and file, is hidden in a diagnosis and not cut."""
    source = Path(conditions.__file__).read_text()
    copy = moved(source, "conditions_of_before", "/elsewhere/conditions_of_before.py")
    seen: list[tuple[str, bool]] = []

    def look() -> bool:
        frame = sys._getframe(0)
        seen.append((diagnosis.line_of(frame.f_back), marks.may_cut(frame)))
        return True

    with VirtualRuntime(7) as runtime:
        condition: VirtualCondition = copy["VirtualCondition"](runtime._scheduler)  # type: ignore[assignment]
        with condition:
            assert condition.wait_for(look)
    ((line, may_cut),) = seen
    assert "test_marks.py" in line
    assert may_cut


@pytest.mark.parametrize(
    "function", [VirtualCondition.wait_for, VirtualTask.join, VirtualRuntime.run], ids=lambda f: str(f.__qualname__)
)
def test_what_only_calls_others_may_be_cut(function: Callable[..., object]) -> None:
    """These three are marked; they have been since the first release."""
    assert function.__code__ in marks._interruptible


def test_the_program_is_what_has_no_mark() -> None:
    """A frame of a program has neither mark; code that a class of the library generates has the library's."""
    assert not marks.is_engine(here())
    assert not marks.is_library(here())
    assert marks.is_library(call(moved("def act(call):\n    return call()", "m", "f")["act"])) is False
    module: dict[str, object] = {"__package__": "simulator.room"}
    exec(compile("def act(call):\n    return call()", "<string>", "exec"), module)
    assert marks.is_library(call(module["act"]))  # type: ignore[arg-type]
