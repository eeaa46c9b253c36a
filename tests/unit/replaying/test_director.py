"""The order in which a conversation is replayed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshsync.errors import UsageError
from meshsync.protocol.bridging import NO_HANDLER
from simulator.errors import ReplayFailed, ReplayStalled
from simulator.replaying.director import Director, plain_names
from simulator.replaying.steps import Step


class Impatient:
    """A condition whose wait lets a clock go on to its time limit, unless something is to happen first."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon: list[Callable[[], object]] = []
        self._is_held = False

    def __enter__(self) -> None:
        assert not self._is_held
        self._is_held = True

    def __exit__(self, *_: object) -> None:
        self._is_held = False

    def wait(self, timeout: float | None = None) -> bool:
        """Let the next thing happen, or the time pass."""
        if self.soon:
            self._is_held = False
            self.soon.pop(0)()
            self._is_held = True
            return True
        assert timeout is not None
        self.now += timeout
        return False

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        """Not used."""
        raise NotImplementedError

    def notify_all(self) -> None:
        """Everything that waits looks again by itself."""
        assert self._is_held


def directed(*steps: Step, subject: str | None = "bot") -> tuple[Director, Impatient]:
    """Return a director of these steps, and what it waits on."""
    condition = Impatient()
    director = Director(steps, condition, lambda: condition.now, stall=10.0, subject=subject)  # type: ignore[arg-type]
    for name in dict.fromkeys(step.who for step in steps):
        director.met(f"id of {name}", name)
    return director, condition


def said(who: str, to: str, type: str, at: float = 0.0) -> Step:
    """Return the step of a message."""
    return Step(at, who, "send", to=to, type=type)


def test_a_step_waits_for_all_above_it() -> None:
    """For a scripted one to be done and to arrive, for one of the subject to arrive."""
    director, condition = directed(said("ada", "ben", "one"), said("bot", "ada", "two"), said("ben", "bot", "three"))
    happened: list[str] = []

    def happen(text: str, action: Callable[[], object]) -> Callable[[], None]:
        def act() -> None:
            happened.append(text)
            action()

        return act

    condition.soon = [
        happen("done", lambda: director.done(0)),
        happen("two", lambda: director.arrived("ada", "bot", "send", "two")),
        happen("one", lambda: director.arrived("ben", "ada", "send", "one")),
        happen("late", lambda: None),
    ]
    director.await_turn(2)
    assert happened == ["done", "two", "one"]
    assert condition.now == 0


def test_what_does_not_come_ends_it_with_who_waits_for_what() -> None:
    """After the time limit, counted from the last progress; what came instead is named."""
    director, condition = directed(said("ada", "bot", "ask"), said("bot", "ada", "reply", 3.2), said("ada", "bot", "x"))
    director.done(0)
    condition.now = 4.0
    director.arrived("ada", "bot", "send", "replay")
    with pytest.raises(ReplayFailed, match="the conversation is over"):
        director.await_turn(2)
    assert condition.now == 14.0
    with pytest.raises(ReplayStalled) as caught:
        director.await_all()
    assert str(caught.value) == (
        "nothing has happened for 10 s: ada waits for 'reply' from bot, which the record has at 3.2 s; "
        "what came besides: 'replay' from bot to ada"
    )


def test_a_recipient_that_was_never_seen_is_waited_for() -> None:
    """Where no scripted participant was there to see it come."""
    condition = Impatient()
    steps = (Step(0, "bot", "connect"), Step(0, "bot", "enable"), said("ada", "bot", "ask"))
    director = Director(steps, condition, lambda: condition.now, stall=10.0, subject="bot")  # type: ignore[arg-type]
    director.done(0)
    with pytest.raises(ReplayFailed):
        director.await_turn(2)
    with pytest.raises(ReplayStalled, match="ada waits for bot to enable messaging"):
        director.check()
    assert director.known("7", "bot") == "bot"
    assert director.id_of("bot") == "7"


def test_presence_of_the_subject_is_seen_by_scripted_participants() -> None:
    """What each has seen counts once, and what was before it is no news."""
    steps = (
        Step(0, "ada", "enable"),
        Step(1, "bot", "connect"),
        Step(1, "bot", "enable"),
        Step(2, "bot", "disable"),
        Step(3, "ben", "enable"),
        Step(4, "bot", "enable"),
        Step(5, "bot", "leave"),
    )
    director, _ = directed(*steps)
    director.observes("ada", 0)
    director.done(0)
    director.done(1)
    director.seen("ada", "bot", ("enable",))
    director.seen("ada", "bot", ("disable", "leave"))
    director.observes("ben", 4)
    director.done(4)
    director.seen("ben", "bot", ("enable",))
    director.seen("ada", "bot", ("enable",))
    director.await_turn(6)
    director.seen("ben", "bot", ("disable", "leave"))
    director.await_all()


def test_one_that_comes_later_sees_what_is_the_case() -> None:
    """The subject has enabled messaging before: that is not its enabling again, later."""
    steps = (Step(0, "bot", "enable"), Step(1, "ada", "enable"), Step(2, "bot", "disable"), Step(3, "bot", "enable"))
    director, _ = directed(*steps)
    director.observes("ada", 1)
    director.done(1)
    director.seen("ada", "bot", ("enable",))
    with pytest.raises(ReplayStalled, match="all wait for bot to disable messaging"):
        director.await_all()


def test_what_crosses_the_end_of_a_stream_is_not_waited_for() -> None:
    """Nobody gets it."""
    steps = (
        Step(0, "ada", "open", to="ben", stream="s"),
        Step(0, "ben", "accept", to="ada", stream="s"),
        Step(0, "ada", "close", to="ben", stream="s"),
        Step(0, "ben", "chunk", to="ada", stream="s"),
        Step(0, "ben", "close", to="ada", stream="s"),
    )
    director, _ = directed(*steps, subject=None)
    for place in range(5):
        director.done(place)
    director.arrived("ben", "ada", "open", "", lambda step: None)
    director.arrived("ada", "ben", "accept", "s")
    director.arrived("ben", "ada", "end", "s")
    director.await_all()


def test_a_stream_that_a_client_rejects_by_itself_is_offered_to_no_program() -> None:
    """Its rejection arrives all the same."""
    steps = (
        Step(0, "ada", "open", to="ben", stream="s"),
        Step(0, "ben", "reject", to="ada", stream="s", reason=NO_HANDLER),
    )
    director, _ = directed(*steps, subject=None)
    director.done(0)
    director.done(1)
    with pytest.raises(ReplayStalled, match="ada waits for the rejection of s by ben"):
        director.await_all()
    director, _ = directed(*steps, subject=None)
    director.done(0)
    director.done(1)
    director.arrived("ada", "ben", "reject", "s")
    director.await_all()


def test_the_first_failure_is_the_one_that_is_raised() -> None:
    """Whoever else waits only learns that it is over."""
    director, _ = directed(said("ada", "bot", "one"), said("ada", "bot", "two"))
    director.fail(UsageError("first"))
    director.fail(UsageError("second"))
    with pytest.raises(ReplayFailed, match="the conversation is over"):
        director.await_turn(1)
    with pytest.raises(UsageError, match="first"):
        director.await_all()


def test_the_end_of_the_program_shortens_the_wait() -> None:
    """What is under way comes soon."""
    director, condition = directed(said("bot", "ada", "one"), said("ada", "bot", "two"))
    director.hurry(1.0)
    director.hurry(5.0)
    with pytest.raises(ReplayStalled, match="nothing has happened for 1 s: "):
        director.await_all()
    assert condition.now == 1.0


def test_second_ones_of_a_name_have_that_name() -> None:
    """A number behind it is a part of the name where there is no first one."""
    steps = [Step(0, who, "connect") for who in ("bob", "bob#2", "ada#2", "eve")] + [Step(1, "eve", "leave")]
    steps.append(Step(2, "eve#2", "connect"))
    assert plain_names(steps) == {"bob": "bob", "bob#2": "bob", "ada#2": "ada#2", "eve": "eve", "eve#2": "eve#2"}
