"""Where a late step is aimed at: behind events that came, and not far away."""

from __future__ import annotations

from random import Random

import pytest

from simulator.engine import aiming
from simulator.engine.aiming import Step, Targets
from simulator.engine.kernel import SECOND


@pytest.fixture
def among(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes behind all of the run on purpose."""
    monkeypatch.setattr(aiming, "_BEHIND_ALL", 0.0)


def aimed(targets: Targets, count: int = 300) -> set[tuple[str, int]]:
    """Return who comes when, in whole seconds, of many draws."""
    stream = Random(4)
    due = {(step.who, step.kind, step.number): step.due for step in targets.steps}
    drawn = [targets.aim(stream) for _ in range(count)]
    return {(one.who, (due[one.who, one.kind, one.step] + one.by) // SECOND) for one in drawn}


def step(who: str, second: float, kind: str = "sleep", by: float = 0.0) -> Step:
    """Return the first step of one of that kind."""
    return Step(who, kind, 1, round(second * SECOND), round(by * SECOND))


@pytest.mark.usefixtures("among")
def test_time_limit_beyond_the_end_never_came() -> None:
    """It is neither late itself nor a target; one within the run is."""
    steps = [step("ada", 1), step("bob", 3), step("eve", 30, "wait"), step("kim", 2, "wait")]
    assert aimed(Targets(steps)) == {("ada", 2), ("ada", 3), ("kim", 3), ("bob", 3)}
    assert Targets([step("eve", 30, "wait")]).steps == ()


@pytest.mark.usefixtures("among")
def test_late_step_comes_just_behind_its_target() -> None:
    """Before the next event, and by a second at most behind one that is followed by a pause; not at its own instant."""
    assert aimed(Targets([step("ada", 1), step("bob", 3), step("eve", 9)])) == {
        ("ada", 3),
        ("ada", 9),
        ("bob", 9),
        ("eve", 9),
    }


@pytest.mark.usefixtures("among")
def test_events_far_away_are_no_targets() -> None:
    """But for the next one, if there is none near."""
    assert aimed(Targets([step("ada", 0), step("bob", 10), step("eve", 20), step("kim", 90)])) == {
        ("ada", 10),
        ("bob", 20),
        ("eve", 90),
        ("kim", 90),
    }


@pytest.mark.usefixtures("among")
def test_what_was_late_is_a_target_where_it_came() -> None:
    """And is aimed anew from when it could have come."""
    assert aimed(Targets([step("ada", 1, by=4), step("bob", 2)])) == {("ada", 2), ("ada", 5), ("bob", 5)}


def test_some_come_behind_all_of_the_run() -> None:
    """By up to as long as that took, so that what lasts longer than the run can end before."""
    seen = aimed(Targets([step("ada", 1), step("bob", 5)]))
    assert seen == {(who, end) for who in ("ada", "bob") for end in range(5, 9)}
    far = aimed(Targets([step("ada", 1), step("bob", 90)]))
    assert {end for who, end in far if who == "ada"} == {90}
    assert max(end for who, end in far if who == "bob") == 103


def test_one_with_few_steps_is_late_as_well() -> None:
    """Of two steps, beside nine of another one: in half of the draws by who, and else by step; 34 % of all."""
    many = [Step("ada", "sleep", number, SECOND) for number in range(1, 10)]
    targets, stream = Targets([*many, Step("bob", "sleep", 1, SECOND), Step("bob", "sleep", 2, 2 * SECOND)]), Random(4)
    assert 0.28 < sum(targets.aim(stream).who == "bob" for _ in range(1000)) / 1000 < 0.4
