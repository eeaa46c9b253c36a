"""Histories of operations: who asked for what, when, with which result; and whether one order explains all results.

::

    history = History(sim)
    with history.operation("ada", "write", 3):
        store.write(3)
    with history.operation("bob", "read") as operation:
        operation.result = store.read()
    assert linearizable(history, register())
"""

from __future__ import annotations

from simulator.histories.history import History, Operation
from simulator.histories.linearizability import Linearization, linearizable
from simulator.histories.models import NOTHING, Model, counter, fifo_queue, register

__all__ = [
    "NOTHING",
    "History",
    "Linearization",
    "Model",
    "Operation",
    "counter",
    "fifo_queue",
    "linearizable",
    "register",
]
