"""The `Runtime` contract on real threads and on the virtual clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from meshsync.runtime import Condition, Runtime, Task
from meshsync.threads import ThreadCondition, ThreadRuntime, ThreadTask
from tests.contract.runtime_contract import RuntimeContract


class TestThreadRuntime(RuntimeContract):
    """Real threads, the real clock."""

    @pytest.fixture
    def runtime(self) -> Iterator[Runtime]:
        yield ThreadRuntime()

    def test_classes_fulfil_the_interfaces(self) -> None:
        """The type checker accepts each class for its interface; at run time the names are there."""
        runtime: Runtime = ThreadRuntime()
        condition: Condition = ThreadCondition()
        task: Task = ThreadTask(lambda: None, "done")
        assert task.join(10)
        assert isinstance(runtime.condition(), type(condition))
