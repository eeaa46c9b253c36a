"""The world of each task: real by default, another where one is installed, and the portable spellings of waiting."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import meshsync
from meshsync.runtime.interfaces import Runtime
from meshsync.runtime.threads import ThreadCondition, ThreadRuntime
from meshsync.transport.interfaces import Connector, Endpoint
from meshsync.world import REAL_WORLD, World, current_world, install_world
from tests.support.scripted import PATIENCE, ScriptedConnector, ScriptedTransport


class RecordingRuntime(ThreadRuntime):
    """Real threads, with a clock that stands, which notes what is slept and spawned."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []
        self.spawned: list[str] = []

    monotonic = staticmethod(lambda: 42.0)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def spawn(self, target: Callable[[], None], *, name: str) -> Any:
        self.spawned.append(name)
        return super().spawn(target, name=name)


def connector(endpoint: Endpoint, runtime: Runtime) -> Connector:
    """Return a connector to a scripted room."""
    return ScriptedConnector(ScriptedTransport())


@pytest.fixture
def world() -> Iterator[World]:
    """Return a world that is installed for the test."""
    world = World(RecordingRuntime(), connector, {"MESHAGENT_SECRET": "s" * 32})
    install_world(world)
    yield world
    install_world(None)


def test_default_world_is_the_real_one() -> None:
    """Importing meshsync is enough."""
    assert current_world() is REAL_WORLD
    assert isinstance(REAL_WORLD.runtime, ThreadRuntime)
    assert REAL_WORLD.environ is os.environ
    assert install_world(None) is None


def test_installed_world_is_that_of_the_installing_task_alone(world: World) -> None:
    """Another task lives in the default one, also if it is spawned here."""
    seen: list[World] = []
    thread = threading.Thread(target=lambda: seen.append(current_world()))
    thread.start()
    thread.join(PATIENCE)
    assert current_world() is world
    assert seen[0] is not world


def test_installing_returns_what_was_installed_before(world: World) -> None:
    """So that it can be put back; None gives the default world back."""
    other = World(ThreadRuntime(), connector, {})
    assert install_world(other) is world
    assert current_world() is other
    assert install_world(None) is other
    assert current_world() not in (world, other)


def test_spellings_are_those_of_the_callers_world(world: World) -> None:
    """Sleeping, spawning, time and conditions all come from the installed runtime."""
    recording = world.runtime
    assert isinstance(recording, RecordingRuntime)
    meshsync.sleep(3.5)
    got: list[tuple[int, ...]] = []
    task = meshsync.spawn(lambda *numbers: got.append(numbers), 1, 2, name="adds")
    assert task.join(PATIENCE)
    assert (recording.slept, recording.spawned, got) == ([3.5], ["adds"], [(1, 2)])
    assert meshsync.monotonic() == 42.0
    assert isinstance(meshsync.condition(), ThreadCondition)


def test_spawned_task_is_named_after_its_target(world: World) -> None:
    """A function lends its name, an object that of its class."""

    class Program:
        def __call__(self) -> None: ...

    def program() -> None: ...

    assert isinstance(world.runtime, RecordingRuntime)
    assert all(task.join(PATIENCE) for task in (meshsync.spawn(program), meshsync.spawn(Program())))
    assert world.runtime.spawned == ["program", "Program"]


def test_connect_joins_rooms_of_the_callers_world(world: World) -> None:
    """The same call that would open a WebSocket takes connector, clock, tasks and settings of the installed runtime."""
    with meshsync.connect("lab", name="planner") as room:
        assert room._meshsync.runtime is world.runtime
        assert room.is_connected


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_task_that_hides_a_coroutine_fails(world: World) -> None:
    """A function around a coroutine function does not show that nothing of it would run; its result does."""

    async def program() -> None:
        raise AssertionError

    def hides() -> object:
        return program()

    task = meshsync.spawn(hides)
    assert task.join(PATIENCE)
    assert "nothing here would run" in str(task.error)
