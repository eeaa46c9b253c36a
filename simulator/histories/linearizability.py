"""Whether the results of concurrent operations are those of some order of them, one after the other.

Such an order must keep an operation that had returned when another was called before that one (Herlihy and Wing, 1990).
Histories of several objects are linearizable if each object's is (their theorem 1), so each key is searched by itself.
The search is Wing's and Gong's (1993), with Lowe's memory of what was tried (2017): two paths that have taken the same
operations to the same state have the same future. No maintained library for Python does this.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from meshsync.errors import UsageError
from simulator.errors import SimulationError
from simulator.histories.history import UNSET, History, Operation
from simulator.histories.models import MODELS, NOTHING, Model

__all__ = ["Linearization", "linearizable"]

MOST = 1_000_000
"""Pairs of a set of operations and a state to look at, for one key: some hundred MB of memory."""


@dataclass(frozen=True, slots=True)
class Linearization:
    """An answer of `linearizable`; true if there is an order. Its text is a report."""

    order: tuple[Operation, ...]
    """Operations in an order that explains their results: all of them that returned; or if there is none such, the most
    of one key that any order explains."""
    stuck: tuple[Operation, ...] = ()
    """The operations of that key which had to come next, none of which has a result that fits."""
    expected: tuple[object, ...] = ()
    """What each of these would have returned there."""

    def __bool__(self) -> bool:
        return not self.stuck

    def __str__(self) -> str:
        lines = [f"  {one!r}" for one in self.order]
        if not self.stuck:
            return "\n".join(["in this order each operation has the result it had:", *lines])
        stuck = [f"  {one!r}, not {value!r}" for one, value in zip(self.stuck, self.expected, strict=True)]
        return "\n".join(["not linearizable: the most that one order explains is", *lines, "and then none of", *stuck])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


def linearizable(history: History | Iterable[Operation], model: Model | str, *, most: int = MOST) -> Linearization:
    """Return an order of a history's operations in which all results are right; false if there is none.

    Operations that never returned are in it, or are not, as it suits.

    Args:
        model: What the object does; or ``"register"``, ``"counter"``, ``"queue"``.
        most: How many states of the search to look at, for one key, before giving up.
    Raises:
        UsageError: If the model has no such operation, or an operation that returned has no result where it needs one.
        SimulationError: If it is not decided after ``most`` states: the search may take time that grows exponentially
            with the operations that overlap.
    """
    if isinstance(model, str):
        if model not in MODELS:
            raise UsageError(f"no model is named {model!r}: there are {', '.join(map(repr, MODELS))}")
        model = MODELS[model]()
    by_key: dict[Hashable, list[Operation]] = {}
    for operation in history:
        by_key.setdefault(operation.key, []).append(operation)
    orders: list[Operation] = []
    for operations in by_key.values():
        found = _search(operations, model, most)
        if not found:
            return found
        orders += found.order
    return Linearization(tuple(orders))


def _search(operations: list[Operation], model: Model, most: int) -> Linearization:
    """Return an order of the operations of one key; depth first, so that a right history takes little more than once.

    A set of operations is an integer, with a bit for each.
    """
    operations = sorted(operations, key=lambda one: one.begun)
    needed = sum(1 << number for number, one in enumerate(operations) if one.is_over)
    seen: set[tuple[int, Hashable]] = {(0, model.initial)}
    # Each entry: what is taken, the state, and the numbers that may come next and were not tried.
    path: list[tuple[int, Hashable, list[int]]] = [(0, model.initial, _next(operations, 0))]
    order: list[int] = []
    longest: tuple[list[int], Hashable] = ([], model.initial)
    while path:
        taken, state, candidates = path[-1]
        if taken & needed == needed:
            return Linearization(tuple(operations[number] for number in order))
        if not candidates:
            path.pop()
            if order:
                order.pop()
            continue
        number = candidates.pop(0)
        after, is_right, _ = _applied(model, state, operations[number])
        reached = (taken | 1 << number, after)
        if not is_right or reached in seen:
            continue
        if len(seen) >= most:
            raise SimulationError(f"not decided after {most:,} states: {len(operations)} operations overlap too much")
        seen.add(reached)
        order.append(number)
        path.append((*reached, _next(operations, reached[0])))
        if len(order) > len(longest[0]):
            longest = (list(order), after)
    best, state = longest
    taken = sum(1 << number for number in best)
    stuck = [operations[number] for number in _next(operations, taken) if operations[number].is_over]
    return Linearization(
        tuple(operations[number] for number in best),
        tuple(stuck),
        tuple(_applied(model, state, one)[2] for one in stuck),
    )


def _next(operations: list[Operation], taken: int) -> list[int]:
    """Return the numbers of the operations that may come next: called before any other that is left has returned."""
    numbers = []
    first_return: float = float("inf")
    for number in range((~taken & (taken + 1)).bit_length() - 1, len(operations)):  # from the first that is left
        one = operations[number]
        if one.begun > first_return:
            break
        if not taken >> number & 1:
            numbers.append(number)
            if one.ended is not None:
                first_return = min(first_return, one.ended)
    return numbers


def _applied(model: Model, state: Hashable, operation: Operation) -> tuple[Hashable, bool, object]:
    """Return the state after an operation, whether its result is the right one, and the right one."""
    after, expected = model.apply(state, operation.name, operation.arguments)
    if expected is NOTHING or not operation.is_over:
        return after, True, expected
    if operation.result is UNSET:
        raise UsageError(f"an operation that returned has no result: set operation.result in its block; {operation!r}")
    return after, bool(operation.result == expected), expected
