"""The `Runtime` contract on real threads and on the virtual clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from meshsync.runtime.interfaces import Condition, Runtime, Task
from meshsync.runtime.threads import ThreadCondition, ThreadRuntime, ThreadTask
from simulator.engine.conditions import VirtualCondition
from simulator.engine.runtime import VirtualRuntime
from simulator.engine.tasks import VirtualTask
from tests.contract.runtime_contract import RuntimeContract


class TestThreadRuntime(RuntimeContract):
    """Real threads, the real clock."""

    @pytest.fixture
    def runtime(self) -> Iterator[Runtime]:
        yield ThreadRuntime()

    def test_classes_fulfil_the_interfaces(self, runtime: Runtime) -> None:
        """What the runtime makes are its own condition and task, which the type checker takes for the interfaces'."""
        condition: Condition = runtime.condition()
        task: Task = runtime.spawn(lambda: None, name="nothing")
        assert task.join(10)
        assert (type(condition), type(task)) == (ThreadCondition, ThreadTask)


@pytest.mark.parametrize("schedule", ["fifo", "random", "pct"])
class TestVirtualRuntime(RuntimeContract):
    """The virtual clock, under each schedule."""

    @pytest.fixture
    def runtime(self, schedule: str) -> Iterator[Runtime]:
        with VirtualRuntime(7, schedule=schedule) as runtime:
            yield runtime

    def test_classes_fulfil_the_interfaces(self, runtime: Runtime) -> None:
        """What the runtime makes are its own condition and task, which the type checker takes for the interfaces'."""
        condition: Condition = runtime.condition()
        task: Task = runtime.spawn(lambda: None, name="nothing")
        assert task.join(10)
        assert isinstance(condition, VirtualCondition)
        assert isinstance(task, VirtualTask)
