"""Fault plans: values that say what goes wrong and when, checked, and the same after a trip through JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import faults, latency
from simulator.faults import Fault, Planned, at, during, every, on, partition, quiet, reset
from simulator.faults.fault import LastingFault, OneOffFault
from simulator.faults.registry import KINDS

ONE_OFF: dict[str, Fault] = {
    "reset": reset("alice"),
    "half_open": faults.half_open("alice"),
    "drop": faults.drop("alice"),
    "pause": faults.pause("alice", 3),
    "restart": faults.restart(down=2, forgets=False),
    "malformed_push": faults.malformed_push("alice", "json"),
    "oversized_push": faults.oversized_push("alice", 5),
    "leave": faults.leave("alice"),
    "join": faults.join("zoe", "agent"),
    "crash": faults.crash("server", "machine", restart_after=2),
    "pause_program": faults.pause_program("server", 3),
}
LASTING: dict[str, Fault] = {
    "partition": partition({"bob", "alice"}),
    "partition of one direction": partition({"bob"}, direction="up"),
    "block": faults.block("alice", {"carol", "bob"}, loses=True),
    "refuse_connect": faults.refuse_connect("alice"),
    "delay_connect": faults.delay_connect("alice", latency.uniform(1, 2)),
    "latency": faults.latency(latency.empirical([0.1, 0.2]), "alice", direction="down"),
    "latency of all": faults.latency(0.5),
    "throttle": faults.throttle("alice", 1000, direction="up"),
    "reject_streams": faults.reject_streams("alice", "in a call", 0.3),
    "delay_accept": faults.delay_accept("alice", 0.25),
    "error_replies": faults.error_replies("alice", 1003, 0.5),
    "late_replies": faults.late_replies("alice", 31),
    "slow_program": faults.slow_program("server", factor=2, by=0.1),
    "skew_clock": faults.skew_clock("server", -3600, drift=0.01),
}
FAULTS = {**ONE_OFF, **LASTING}
PLANS: dict[str, Planned] = {
    "at": at(12, reset("alice")),
    "during": during(30, 45, partition({"bob"})),
    "every": every(latency.exponential(10), reset("bob")),
    "on": on("message", sender="alice", to="bob", type="chat", nth=3).do(faults.pause("bob", 1)),
    "quiet": quiet(after=60),
}


def test_every_kind_of_fault_is_tested_here() -> None:
    """The tables above leave out no kind of fault and no kind of plan."""
    known = {kind for kind in KINDS.values() if kind.__module__.startswith("simulator.")}
    assert {type(fault) for fault in FAULTS.values()} == known
    assert {fault.word for fault in FAULTS.values()} | {plan.word for plan in PLANS.values()} <= set(faults.__all__)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_are_frozen_values(fault: Fault) -> None:
    """Equal faults are equal and hash alike; no field can be set."""
    assert dataclasses.replace(fault) == fault
    assert hash(dataclasses.replace(fault)) == hash(fault)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(fault, dataclasses.fields(fault)[0].name, None)


def test_one_off_and_lasting_faults_are_told_apart() -> None:
    """A lasting fault is in force until it is lifted; a one-off fault is over by itself."""
    assert [(isinstance(fault, OneOffFault), isinstance(fault, LastingFault)) for fault in FAULTS.values()] == [
        (name in ONE_OFF, name in LASTING) for name in FAULTS
    ]


def test_names_are_those_who_have_to_be_known() -> None:
    """Each participant a plan is about is named once, in order of appearance; one who joins may be new."""
    assert faults.names([*PLANS.values(), faults.join("zoe"), faults.restart()]) == ("alice", "bob")
    assert partition(["b", "a", "b"]).names == ("a", "b")
    assert faults.latency(1).names == ()


def test_partitions_do_not_depend_on_the_order_of_a_set() -> None:
    """Equal sets of names make equal partitions, sorted."""
    assert partition({"b", "a"}) == partition(["a", "b"]) == partition(("b", "a", "a"))


@pytest.mark.parametrize(
    ("event", "given", "matches"),
    [
        (on("message").do(reset("a")), {}, True),
        (on("message", sender="a").do(reset("a")), {"sender": "a", "to": "b"}, True),
        (on("message", sender="a").do(reset("a")), {"sender": "b", "to": "a"}, False),
        (on("message", to="b", type="t").do(reset("a")), {"sender": "a", "to": "b", "type": "t"}, True),
        (on("message", to="b", type="t").do(reset("a")), {"sender": "a", "to": "b", "type": "u"}, False),
        (on("message", to="b").do(reset("a")), {"sender": "a"}, False),
    ],
)
def test_triggers_match_what_they_name(event: faults.On, given: dict[str, str], matches: bool) -> None:
    """What a trigger leaves open matches anything, what it names only that; never another event."""
    assert event.trigger.matches("message", **given) is matches
    assert not event.trigger.matches("join", **given)


def test_a_trigger_can_be_given_whole() -> None:
    """``on`` takes a trigger as it takes its parts, but not both."""
    assert on(faults.Trigger("join", sender="a"), nth=2).do(reset("b")) == on("join", sender="a", nth=2).do(reset("b"))
    with pytest.raises(ValueError, match="not both"):
        on(faults.Trigger("join"), sender="a")


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "rate above 1": (lambda: faults.reject_streams("a", "no", 1.1), "rate must be at least 0 and at most 1, got 1.1"),
    "rate below 0": (lambda: faults.error_replies("a", 1, -0.1), "rate must be at least 0"),
    "rate that is no number": (lambda: faults.error_replies("a", 1, math.nan), "rate must be at least 0"),
    "no name": (lambda: reset(""), "name must be a participant's name"),
    "a client for a name": (lambda: reset(object()), "name must be a participant's name"),  # type: ignore[arg-type]
    "nobody cut off": (lambda: partition(()), "cut_off must not be empty"),
    "a name for names": (lambda: partition("bob"), "cut_off must be a set of names, not 'bob'"),
    "a bad name among names": (lambda: partition({"", "a"}), "cut_off must be a participant's name"),
    "negative pause": (lambda: faults.pause("a", -1), "seconds must be at least 0"),
    "endless pause": (lambda: faults.pause("a", math.inf), "seconds must be at least 0 and at most"),
    "no bandwidth": (lambda: faults.throttle("a", 0), "bandwidth must be above 0"),
    "sideways": (lambda: faults.throttle("a", 1, direction="left"), "direction must be one of both, up, down"),
    "bad delay": (lambda: faults.delay_accept("a", -1), "delay: seconds must be at least 0"),
    "delay of a text": (lambda: faults.latency("slow"), "delay: a delay is a law of simulator.latency, or a number"),  # type: ignore[arg-type]
    "unknown malformation": (lambda: faults.malformed_push("a", "xml"), "kind must be one of packet, json, text"),
    "empty push": (lambda: faults.oversized_push("a", 0), "size must be a whole number, at least 1"),
    "code that is no number": (lambda: faults.error_replies("a", True), "code must be a whole number"),
    "forgets maybe": (lambda: faults.restart(forgets=1), "forgets must be True or False"),  # type: ignore[arg-type]
    "role of no text": (lambda: faults.join("a", 3), "role must be a text"),  # type: ignore[arg-type]
    "at no time": (lambda: at(-1, reset("a")), "time must be at least 0"),
    "no fault": (lambda: at(1, "reset"), "fault must be a fault, not str"),  # type: ignore[arg-type]
    "a plan of a plan": (lambda: at(1, at(1, reset("a"))), "fault must be a fault, not At"),  # type: ignore[arg-type]
    "end before start": (lambda: during(2, 2, partition({"a"})), "during needs a start before its end, got 2 and 2"),
    "a one-off one that lasts": (lambda: during(1, 2, reset("a")), "reset is over by itself .* use at"),
    "a lasting one repeated": (
        lambda: every(1, partition({"a"})),
        "partition holds until it is lifted .* use during",
    ),
    "no interval": (lambda: every(0, reset("a")), "an interval of 0 seconds"),
    "unknown event": (lambda: on("mesage"), "event must be one of connect, join"),
    "zeroth": (lambda: on("message", nth=0).do(reset("a")), "nth must be a whole number, at least 1"),
    "quiet before the start": (lambda: quiet(after=-1), "after must be at least 0"),
}


@pytest.mark.parametrize(("make", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_refused(make: Callable[[], object], text: str) -> None:
    """Each argument that cannot be is refused with an error that names it."""
    with pytest.raises(ValueError, match=text):
        make()


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_plans_survive_json() -> None:
    """Every fault and every way to plan one is equal after a trip through JSON text."""
    plan = (*FAULTS.values(), *PLANS.values(), *(at(1, fault) for fault in FAULTS.values()))
    assert faults.from_json(json.loads(json.dumps(faults.to_json(plan)))) == plan


def test_a_partition_of_both_directions_is_written_as_ever() -> None:
    """So that transcripts keep their digests, and plans of before there were directions are read."""
    plain, way = partition({"bob"}), partition({"bob"}, direction="down")
    assert faults.to_json([plain, way]) == [
        {"fault": "partition", "cut_off": ["bob"]},
        {"fault": "partition", "cut_off": ["bob"], "direction": "down"},
    ]
    assert faults.from_json([{"fault": "partition", "cut_off": ["bob"], "direction": "both"}]) == (plain,)


def test_a_plan_in_json_can_be_read() -> None:
    """This is what a replay file holds."""
    plan = [PLANS["on"], PLANS["every"], faults.during(1, 2, partition({"b", "a"}))]
    assert faults.to_json(plan) == [
        {
            "when": "on",
            "trigger": {"event": "message", "sender": "alice", "to": "bob", "type": "chat"},
            "nth": 3,
            "fault": {"fault": "pause", "name": "bob", "seconds": 1.0},
        },
        {
            "when": "every",
            "interval": {"law": "exponential", "mean": 10.0},
            "fault": {"fault": "reset", "name": "bob"},
        },
        {"when": "during", "start": 1.0, "end": 2.0, "fault": {"fault": "partition", "cut_off": ["a", "b"]}},
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("[]", "a fault plan is a list, not str"),
        ({}, "a fault plan is a list, not dict"),
        ([1], "entry 0: expected an object, got int"),
        ([{"fault": "reset", "name": "a"}, {"fault": "rest"}], "entry 1: 'rest' is none of block, .*, reset, "),
        ([{}], "entry 0: None is none of block, "),
        ([{"when": "reset", "name": "a"}], "'reset' is none of at, during"),
        ([{"fault": "reset"}], "entry 0: reset takes name, got nothing"),
        ([{"fault": "reset", "name": "a", "x": 1}], "reset takes name, got name, x"),
        ([{"fault": "reset", "name": {}}], "name must be a participant's name"),
        (
            [{"fault": "reject_streams", "name": "a", "reason": "no", "rate": 2}],
            "rate must be at least 0 and at most 1",
        ),
        ([{"when": "at", "time": 1, "fault": {"fault": "nothing"}}], "'nothing' is none of"),
        ([{"when": "at", "time": 1, "fault": "reset"}], "fault must be a fault, not str"),
        ([{"when": "every", "interval": {"law": "x"}, "fault": {"fault": "leave", "name": "a"}}], "'x' is no law"),
        ([{"when": "on", "trigger": {"evnt": 1}, "nth": 1, "fault": {"fault": "leave", "name": "a"}}], "entry 0: "),
    ],
)
def test_other_json_is_refused(value: object, text: str) -> None:
    """What no plan wrote raises, with the place and the reason."""
    with pytest.raises(ValueError, match=text):
        faults.from_json(value)


# --- chance -----------------------------------------------------------------------------------------------------------


class Barren(Random):
    """A random stream that must not be drawn on."""

    def random(self) -> float:
        raise AssertionError("a draw")


def test_certainties_draw_nothing() -> None:
    """A rate of 0 never happens, one of 1 always, and neither touches the stream."""
    assert [faults.happens(rate, Barren()) for rate in (0, 0.0, 1, 1.0)] == [False, False, True, True]


@given(seed=st.integers(0, 10**6))
def test_a_rate_happens_as_often_as_it_says(seed: int) -> None:
    """Of 2,000 draws at 0.3, whose share has a standard deviation of 0.0102, 0.25 to 0.35 happen."""
    stream = Random(seed)
    count = sum(faults.happens(0.3, stream) for _ in range(2000))
    assert 0.25 < count / 2000 < 0.35


def test_a_seeded_rate_is_within_three_hundredths() -> None:
    """Of 2,000 draws at 0.3 from this seed, 0.27 to 0.33 happen."""
    stream = Random(7)
    assert 0.27 < sum(faults.happens(0.3, stream) for _ in range(2000)) / 2000 < 0.33
