"""Histories of operations: recorded in order, and held against models, as brute force would."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.errors import UsageError
from simulator import Simulation
from simulator.errors import SimulationError
from simulator.histories import NOTHING, History, Model, Operation, counter, fifo_queue, linearizable, register


def operation(begun: int, ended: int | None, name: str, *arguments: object, result: object = None) -> Operation:
    """Return an operation of a process of its own."""
    one = Operation(f"process {begun}", name, arguments, None, begun, float(begun))
    one.ended = ended
    one.ended_at = None if ended is None else float(ended)
    one.result = result
    return one


def explains(order: tuple[Operation, ...], model: Model) -> bool:
    """Return whether operations in this order have their results, and keep the order of those that do not overlap."""
    state = model.initial
    for number, one in enumerate(order):
        if any(later.ended is not None and later.ended < one.begun for later in order[number:]):
            return False
        state, expected = model.apply(state, one.name, one.arguments)
        if one.ended is not None and expected is not NOTHING and expected != one.result:
            return False
    return True


def by_brute_force(operations: list[Operation], model: Model) -> bool:
    """Return whether any order of those that returned, with any of the others, explains them."""
    over = [one for one in operations if one.ended is not None]
    pending = [one for one in operations if one.ended is None]
    return any(
        explains(order, model)
        for count in range(len(pending) + 1)
        for some in combinations(pending, count)
        for order in permutations([*over, *some])
    )


CALLS = {
    "register": st.one_of(
        st.tuples(st.just("write"), st.tuples(st.integers(0, 2)), st.none()),
        st.tuples(st.just("read"), st.just(()), st.sampled_from([None, 0, 1, 2])),
        st.tuples(st.just("compare_and_set"), st.tuples(st.integers(0, 2), st.integers(0, 2)), st.booleans()),
    ),
    "counter": st.one_of(
        st.tuples(st.just("add"), st.tuples(st.integers(1, 2)), st.none()),
        st.tuples(st.just("increment"), st.just(()), st.integers(1, 4)),
        st.tuples(st.just("read"), st.just(()), st.integers(0, 4)),
    ),
    "queue": st.one_of(
        st.tuples(st.just("put"), st.tuples(st.integers(0, 2)), st.none()),
        st.tuples(st.just("get"), st.just(()), st.sampled_from([None, 0, 1, 2])),
    ),
}
MODELS = {"register": register(), "counter": counter(), "queue": fifo_queue()}


@st.composite
def histories(draw: st.DrawFn, name: str) -> list[Operation]:
    """Draw up to five operations that overlap in any way; one or the other never returns."""
    calls = draw(st.lists(CALLS[name], min_size=1, max_size=5))
    ends = draw(st.permutations([number // 2 for number in range(2 * len(calls))]))
    places: dict[int, list[int]] = {}
    for place, number in enumerate(ends, 1):
        places.setdefault(number, []).append(place)
    returned = draw(st.lists(st.integers(0, 5), min_size=len(calls), max_size=len(calls)))
    return [
        operation(places[number][0], places[number][1] if returned[number] else None, call, *arguments, result=result)
        for number, (call, arguments, result) in enumerate(calls)
    ]


@pytest.mark.parametrize("name", ["register", "counter", "queue"])
@given(data=st.data())
def test_the_answer_is_that_of_brute_force(name: str, data: st.DataObject) -> None:
    """All orders of up to five operations are tried."""
    operations = data.draw(histories(name))
    model = MODELS[name]
    found = linearizable(operations, name)
    assert bool(found) == by_brute_force(operations, model)
    if found:
        assert explains(found.order, model)
        assert {one for one in operations if one.is_over} <= set(found.order)
    else:
        assert found.stuck and explains(found.order, model)


@pytest.mark.parametrize("last", [1, 2])
def test_the_same_operations_in_another_order_lead_to_another_state(last: int) -> None:
    """Two writes at once: either may have been the last, and what was tried with one says nothing of the other."""
    operations = [operation(1, 4, "write", 1), operation(2, 3, "write", 2), operation(5, 6, "read", result=last)]
    assert linearizable(operations, "register")


def test_a_stale_read_is_named_with_what_it_should_have_been() -> None:
    """The report shows the most that an order explains."""
    history = History()
    with history.operation("ada", "write", 1):
        pass
    with history.operation("ada", "write", 2):
        pass
    with history.operation("bob", "read") as read:
        read.result = 1
    found = linearizable(history, register(0))
    assert not found
    assert [one.arguments for one in found.order] == [(1,), (2,)]
    assert (found.stuck, found.expected) == ((read,), (2,))
    assert "bob: read() -> 1 [0.000000 s to 0.000000 s], not 2" in str(found)


def test_an_operation_that_failed_may_have_taken_effect_or_not() -> None:
    """Unless it is stated that it has not."""
    for seen, is_dropped, is_fine in [(1, False, True), (0, False, True), (0, True, True), (1, True, False)]:
        history = History()
        with pytest.raises(TimeoutError), history.operation("ada", "write", 1) as write:
            if is_dropped:
                write.drop()
            raise TimeoutError
        with history.operation("ada", "read") as read:  # The same process may go on.
            read.result = seen
        assert bool(linearizable(history, register(0))) is is_fine


def test_each_key_is_an_object_of_its_own() -> None:
    """A register each, and one of them is wrong."""
    history = History()
    for key in ("left", "right"):
        with history.operation("ada", "write", key, key=key):
            pass
    for key, result in (("left", "left"), ("right", "left")):
        with history.operation("ada", "read", key=key) as read:
            read.result = result
    found = linearizable(history, "register")
    assert [one.key for one in found.stuck] == ["right"]


def test_times_are_those_of_the_simulation_and_order_is_that_of_the_turns() -> None:
    """Two operations at one instant have an order, which their times do not show."""
    with Simulation() as sim:
        history = History(sim)
        with history.operation("ada", "write", 1):
            sim.sleep(2)
        with history.operation("ada", "read") as read:
            read.result = 1
    write, read = history.operations
    assert (write.begun_at, write.ended_at, read.begun_at) == (0.0, 2.0, 2.0)
    assert write.ended is not None and write.ended < read.begun


def test_misuse_is_refused() -> None:
    """What would make an answer mean nothing: overlapping operations of one process, no result, an unknown word."""
    history = History()
    with history.operation("ada", "write", 1), pytest.raises(UsageError, match="is in progress"):
        with history.operation("ada", "write", 2):
            pass
    with history.operation("ada", "read"):
        pass
    with pytest.raises(UsageError, match="has no result"):
        linearizable(history, "register")
    with pytest.raises(UsageError, match=r"has no operation write\(1\)"):
        linearizable(history, fifo_queue())
    with pytest.raises(UsageError, match="no model is named 'stack'"):
        linearizable(history, "stack")


def test_a_long_right_history_is_decided_in_a_few_steps() -> None:
    """Six processes at a time, 3,000 operations: a state for each, and few more."""
    operations = []
    for number in range(3000):
        begun = 2 * number + 1
        operations.append(operation(begun, begun + 11, "increment", result=number + 1))
    assert linearizable(operations, "counter", most=20_000)


def test_a_search_that_would_not_end_is_given_up() -> None:
    """Twenty writes at once and a read of what none has written: two to the 20th sets, times states."""
    operations = [operation(number, 100 + number, "write", number) for number in range(1, 21)]
    operations.append(operation(50, 99, "read", result="none of these"))
    with pytest.raises(SimulationError, match="not decided after 10,000 states"):
        linearizable(operations, "register", most=10_000)
