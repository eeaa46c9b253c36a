"""Asking faults: a kind of fault that answers nonsense, or raises, is named by its word, in each layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from meshsync.errors import UsageError
from simulator.faults.asking import ask, strike_connection, strike_simulation
from simulator.faults.layers import (
    PASS,
    ConnectionFault,
    Delay,
    Fail,
    Hold,
    Limit,
    NetworkFault,
    Pass,
    Postpone,
    Refuse,
    RejectOffer,
    RoomFault,
    SimulationFault,
)
from simulator.latency import as_law

LAW = as_law(1)
VERDICTS = (PASS, Hold(), Delay(LAW), Limit(5), Refuse(), Postpone(1), RejectOffer("no"), Fail(7, "no"))
ALLOWED: dict[str, tuple[type, ...]] = {
    "on_link": (Pass, Hold, Delay, Limit),
    "on_attempt": (Pass, Refuse, Delay),
    "on_request": (Pass, Postpone, RejectOffer, Fail),
    "on_reply": (Pass, Postpone),
}
LAYERS: dict[str, type] = {
    "on_link": NetworkFault,
    "on_attempt": NetworkFault,
    "on_request": RoomFault,
    "on_reply": RoomFault,
}


@dataclass(frozen=True, slots=True)
class OddLink(NetworkFault):
    """A network fault whose verdicts are whatever it is given."""

    word: ClassVar[str] = "odd"
    answer: ClassVar[Callable[[], Any]]

    def on_link(self, name: str) -> Any:
        return OddLink.answer()

    def on_attempt(self, name: str) -> Any:
        return OddLink.answer()


@dataclass(frozen=True, slots=True)
class OddRoom(RoomFault):
    """A room fault whose verdicts are whatever it is given."""

    word: ClassVar[str] = "odd"
    answer: ClassVar[Callable[[], Any]]

    def on_request(self, request: Any, chance: Any) -> Any:
        return OddRoom.answer()

    def on_reply(self, name: str) -> Any:
        return OddRoom.answer()


def answered(question: str, answer: Callable[[], Any]) -> Any:
    """Return the verdict on a question of a fault that answers so."""
    OddLink.answer = OddRoom.answer = staticmethod(answer)
    fault: Any = OddLink() if LAYERS[question] is NetworkFault else OddRoom()
    arguments = (None, None) if question == "on_request" else ("bob",)
    return ask(getattr(LAYERS[question], question), fault, *arguments)


@pytest.mark.parametrize("question", ALLOWED)
@pytest.mark.parametrize("verdict", [*VERDICTS, None, 5, Hold, "Refuse"], ids=repr)
def test_only_verdicts_on_the_question_are_taken(question: str, verdict: object) -> None:
    """Any other value is an error with the fault's word, the value, the question and its layer."""
    if isinstance(verdict, ALLOWED[question]):
        assert answered(question, lambda: verdict) is verdict
        return
    with pytest.raises(UsageError) as caught:
        answered(question, lambda: verdict)
    *others, last = (kind.__name__ for kind in ALLOWED[question])
    layer = LAYERS[question].__name__
    assert str(caught.value) == (
        f"odd: {question} returned {verdict!r:.100}, which is no verdict on that question; "
        f"a {layer} returns {', '.join(others)} or {last} there"
    )


@pytest.mark.parametrize("question", ALLOWED)
def test_a_fault_that_raises_is_named(question: str) -> None:
    """The program's own error is the cause."""
    with pytest.raises(UsageError, match=f"^odd: {question} raised ZeroDivisionError: division by zero$") as caught:
        answered(question, lambda: 1 / 0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Delay(LAW, "upp"), "direction"),
        (lambda: Delay("slow"), "law"),  # type: ignore[arg-type]
        (lambda: Limit(5, "left"), "direction"),
        (lambda: Limit(0), "bandwidth"),
        (lambda: Postpone("1"), "seconds"),  # type: ignore[arg-type]
        (lambda: Postpone(-1), "seconds"),
        (lambda: RejectOffer(None), "reason"),  # type: ignore[arg-type]
        (lambda: Fail("7", "no"), "code"),  # type: ignore[arg-type]
        (lambda: Fail(7, None), "text"),  # type: ignore[arg-type]
    ],
)
def test_a_verdict_checks_its_fields(make: Callable[[], object], field: str) -> None:
    """A direction that is none, or a time that is no number, has no silent meaning."""
    with pytest.raises(ValueError, match=field):
        make()


@dataclass(frozen=True, slots=True)
class Bang(ConnectionFault):
    """A connection fault that fails."""

    word: ClassVar[str] = "bang"

    def strike(self, connection: object) -> None:
        raise ValueError("no powder")


@dataclass(frozen=True, slots=True)
class Blast(SimulationFault):
    """A fault of the simulation that cannot strike."""

    word: ClassVar[str] = "blast"

    def strike(self, simulation: object) -> None:
        raise UsageError("no fuse")


def test_a_strike_that_raises_names_the_fault() -> None:
    """Whichever layer it is of: its word comes first, and the program's own error is the cause."""
    nothing: Any = None
    with pytest.raises(UsageError, match=r"^bang: strike raised ValueError: no powder$") as caught:
        strike_connection(Bang(), nothing)
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(UsageError, match=r"^blast: no fuse$"):
        strike_simulation(Blast(), nothing)
