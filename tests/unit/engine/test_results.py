"""What programs return: nothing is right, and what somebody may rely on is told."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import pytest

from meshsync.errors import UsageError
from simulator.engine.results import check_run, check_task


def program() -> None:
    """Stand for a program that returns something else."""


class Bot:
    """Something whose method is a program."""

    def live(self) -> None:
        """Stand for a program that returns something else."""


@pytest.mark.parametrize("result", [True, False])
@pytest.mark.parametrize("function", [program, lambda: None, print])
def test_truth_value_of_a_run_is_an_error(function: Callable[..., object], result: bool) -> None:
    """Of a run that holds, too: it would seem that one which does not were seen."""
    with pytest.raises(UsageError, match=rf"returned {result}, which decides nothing: .* What to do: assert"):
        check_run(function, result)


@pytest.mark.parametrize("function", [program, Bot().live, partial(program, 1)])
@pytest.mark.parametrize(("check", "result"), [(check_run, 0), (check_run, "done"), (check_task, False)])
def test_value_that_nothing_reads_is_warned_of(
    function: Callable[..., object], check: Callable[[Callable[..., object], object], None], result: object
) -> None:
    """At the program's function."""
    with pytest.warns(RuntimeWarning, match=r"returned .*, which nothing reads: ") as caught:
        check(function, result)
    assert [one.filename for one in caught] == [__file__]


@pytest.mark.parametrize(
    ("check", "function", "result"),
    [
        (check_run, program, None),
        (check_run, lambda: 5, 5),
        (check_run, [].append, 5),
        (check_task, program, None),
        (check_task, program, 5),
        (check_task, lambda: True, True),
        (check_task, check_run, True),
        (check_task, partial(pytest.importorskip, "sys"), True),
    ],
)
def test_what_may_be_by_the_way_is_not(
    check: Callable[[Callable[..., object], object], None], function: Callable[..., object], result: object
) -> None:
    """A lambda always returns something, so do methods of libraries, and a script's function returns its status."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(function, result)
