"""Delay laws: draws match their law, come from one number each, and are whole microseconds."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from random import Random
from statistics import median, quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import faults, latency
from simulator.latency import Law, as_law, constant, empirical, exponential, lognormal, uniform
from simulator.settings import as_delays, check_positive

DRAWS = 10_000
TOLERANCE = 0.03
"""Share by which median and 95th percentile of so many draws may miss those of the law."""

MEASURED = [0.010, 0.011, 0.012, 0.012, 0.013, 0.015, 0.018, 0.030, 0.090, 0.250]

LAWS = {
    "constant": (constant(0.040), 0.040, 0.040),
    "uniform": (uniform(0.010, 0.030), 0.020, 0.029),
    # ln 2 and ln 20 means.
    "exponential": (exponential(0.200), 0.200 * math.log(2), 0.200 * math.log(20)),
    # exp(1.6449 * 0.4) medians.
    "lognormal": (lognormal(median=0.040, sigma=0.4), 0.040, 0.040 * math.exp(1.644854 * 0.4)),
    "empirical": (empirical([0.1, 0.2, 0.3]), 0.2, 0.3),
}
"""Each law with its median and 95th percentile, from textbooks and not from the code."""


class Counting(Random):
    """A random stream that counts its draws and knows no other method."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.draws = 0

    def random(self) -> float:
        self.draws += 1
        return super().random()

    def _refuse(self, *_: object, **__: object) -> float:
        raise AssertionError("only random() may be drawn on")

    uniform = gauss = expovariate = lognormvariate = choice = choices = getrandbits = _refuse  # type: ignore[assignment]


@pytest.mark.parametrize(("law", "median", "high"), LAWS.values(), ids=LAWS)
def test_draws_match_their_law(law: Law, median: float, high: float) -> None:
    """Median and 95th percentile of 10,000 seeded draws are within 3 % of the law's."""
    stream = Random(7)
    twentieths = quantiles([law.draw(stream) for _ in range(DRAWS)], n=20)
    assert twentieths[9] == pytest.approx(median, rel=TOLERANCE)
    assert twentieths[18] == pytest.approx(high, rel=TOLERANCE)


@pytest.mark.parametrize(("law", "median", "high"), LAWS.values(), ids=LAWS)
def test_quantiles_are_the_laws(law: Law, median: float, high: float) -> None:
    """Asked without chance, a law gives its exact quantiles."""
    assert law.quantile(0.5) == pytest.approx(median)
    assert law.quantile(0.95) == pytest.approx(high)


def test_measured_delays_are_drawn_equally_often() -> None:
    """An empirical law gives its samples and nothing between them, repeated ones more often."""
    law, stream = empirical(MEASURED), Random(1)
    drawn = [law.draw(stream) for _ in range(DRAWS)]
    assert set(drawn) == set(MEASURED)
    assert 0.18 < drawn.count(0.012) / DRAWS < 0.22


@pytest.mark.parametrize("law", [law for law, *_ in LAWS.values()], ids=LAWS)
def test_a_draw_takes_one_number_at_most(law: Law) -> None:
    """Each draw takes one number of ``random()`` and nothing else; a constant takes none."""
    stream = Counting(3)
    for _ in range(100):
        law.draw(stream)
    assert stream.draws == (0 if law == constant(0.040) else 100)


@pytest.mark.parametrize("law", [law for law, *_ in LAWS.values()], ids=LAWS)
def test_same_seed_gives_the_same_delays(law: Law) -> None:
    """Delays follow from the seed."""
    first, second, other = ([law.draw(stream) for _ in range(50)] for stream in map(Random, (5, 5, 6)))
    assert first == second
    assert (first == other) is (law == constant(0.040))


def test_delays_of_a_seed_are_known() -> None:
    """The delays of one seed are the same on every machine: these were drawn once and written down."""
    drawn = {name: [law.draw_us(Random(2026)), law.draw_us(Random(7))] for name, (law, *_) in LAWS.items()}
    assert drawn == {
        "constant": [40_000, 40_000],
        "uniform": [12_382, 16_477],
        "exponential": [25_367, 78_263],
        "lognormal": [24_956, 33_317],
        "empirical": [100_000, 100_000],
    }


@pytest.mark.parametrize("law", [law for law, *_ in LAWS.values()], ids=LAWS)
@given(draw=st.one_of(st.sampled_from([0.0, 2.0**-53, 1 - 2.0**-53]), st.floats(0, 1, exclude_max=True)))
def test_every_draw_is_a_delay(law: Law, draw: float) -> None:
    """Whatever ``random()`` gives, the delay is finite, not negative, and a whole number of microseconds."""

    class Fixed(Random):
        def random(self) -> float:
            return draw

    delay = law.draw_us(Fixed())
    assert isinstance(delay, int)
    assert 0 <= delay < 10 * latency.MICROSECONDS
    assert law.draw(Fixed()) == delay / latency.MICROSECONDS


@given(low=st.floats(0, 1e3), width=st.floats(0, 1e3), seed=st.integers(0, 2**32))
def test_uniform_delays_stay_between_their_bounds(low: float, width: float, seed: int) -> None:
    """No uniform delay leaves the bounds by more than rounding to microseconds does."""
    delay = Fraction(uniform(low, low + width).draw(Random(seed)))
    assert Fraction(low) - Fraction(1, 10**6) <= delay <= Fraction(low + width) + Fraction(1, 10**6)


WRONG: dict[str, tuple[Callable[[], Law], str]] = {
    "negative": (lambda: constant(-0.1), "seconds must be at least 0"),
    "not a number": (lambda: constant(math.nan), "seconds must be at least 0"),
    "infinite": (lambda: exponential(math.inf), "at most 1e\\+09 seconds, got inf"),
    "a text": (lambda: constant("0.1"), "seconds must be a number, not str"),  # type: ignore[arg-type]
    "a truth": (lambda: constant(True), "seconds must be a number, not bool"),
    "bounds swapped": (lambda: uniform(0.2, 0.1), "low must not be above high"),
    "median of nothing": (lambda: lognormal(0, 1), "median must be above 0"),
    "sigma too wide": (lambda: lognormal(1, 11), "sigma must be at least 0 and at most 10, got 11"),
    "no samples": (lambda: empirical([]), "samples must not be empty"),
    "a bad sample": (lambda: empirical([0.1, -1]), r"samples\[1\] must be at least 0"),
}


@pytest.mark.parametrize(("make", "text"), WRONG.values(), ids=WRONG)
def test_wrong_parameters_are_refused(make: Callable[[], Law], text: str) -> None:
    """Each parameter out of its range raises an error that names it."""
    with pytest.raises(ValueError, match=text):
        make()


def test_a_number_is_a_law() -> None:
    """Where a delay is expected, a number of seconds means a constant."""
    law = exponential(1)
    assert as_law(law) is law
    assert as_law(2) == as_law(2.0) == constant(2.0)
    for wrong in (None, "1", True):
        with pytest.raises(TypeError, match=r"a law of simulator.latency, or a number of seconds"):
            as_law(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("law", [law for law, *_ in LAWS.values()], ids=LAWS)
def test_laws_survive_json(law: Law) -> None:
    """A law written as JSON text and read again is equal."""
    assert latency.from_json(json.loads(json.dumps(law.to_json()))) == law


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"law": "normal", "mean": 1}, "'normal' is no law of delays; there are constant, "),
        ({}, "None is no law"),
        ({"law": ["uniform"]}, "is no law"),
        ({"law": "uniform", "low": 1}, "uniform takes low and high, got low"),
        ({"law": "constant", "seconds": 1, "more": 2}, "constant takes seconds"),
        ({"law": "constant", "seconds": -1}, "seconds must be at least 0"),
        ({"law": "empirical", "samples": 1}, "samples must be a list"),
    ],
)
def test_other_json_is_refused(value: dict[str, object], text: str) -> None:
    """What no law wrote is refused with its fault named."""
    with pytest.raises(ValueError, match=text):
        latency.from_json(value)


class Time:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0


def along(law: latency.Law, gap: int, count: int) -> list[float]:
    """Return delays in milliseconds that were drawn one ``gap`` in nanoseconds after the other."""
    clock, stream = Time(), Random(5)
    path = law.along(clock)
    drawn = []
    for _ in range(count):
        drawn.append(path.draw_us(stream) / 1000)
        clock.now += gap
    return drawn


def test_correlated_delays_share_most_with_their_neighbours() -> None:
    """Those 10 ms apart are about the same, those 10 s apart as different as independent ones."""
    law = latency.correlated(latency.lognormal(0.04, 0.4), 1.0)
    near, far = along(law, 10_000_000, 4000), along(law, 10_000_000_000, 4000)
    steps = [median(abs(one - other) for one, other in pairwise(some)) for some in (near, far)]
    assert steps[0] < 2.0
    assert steps[1] > 10.0


def test_each_correlated_delay_by_itself_follows_the_law() -> None:
    """The quantiles of many, far apart, are the law's."""
    plain = latency.lognormal(0.04, 0.4)
    drawn = sorted(along(latency.correlated(plain, 1.0), 20_000_000_000, 4000))
    for share in (0.1, 0.5, 0.9):
        assert drawn[int(share * 4000)] == pytest.approx(1000 * plain.quantile(share), rel=0.05)


def test_delays_of_one_instant_are_one_delay() -> None:
    """No time, no change."""
    drawn = along(latency.correlated(latency.exponential(0.1), 1.0), 0, 5)
    assert len(set(drawn)) == 1


def test_a_correlated_law_is_written_and_read() -> None:
    """With the law in it; its own draws, without a clock, are that law's."""
    law = latency.correlated(latency.uniform(0.01, 0.02), 5)
    assert latency.from_json(law.to_json()) == law
    assert law.draw_us(Random(3)) == latency.uniform(0.01, 0.02).draw_us(Random(3))
    with pytest.raises(ValueError, match="a law that is not correlated"):
        latency.correlated(law, 1)
    with pytest.raises(ValueError, match="seconds must be above 0"):
        latency.correlated(0.1, 0)
    with pytest.raises(ValueError, match="correlated takes of, which is a law, and seconds"):
        latency.from_json({"law": "correlated", "of": 3, "seconds": 1})


# --- numbers that seem to be milliseconds -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: latency.as_latency(40),
        lambda: as_delays(0.04, 40),
        lambda: latency.matrix({("eu", "us"): 40}),
        lambda: latency.matrix({("eu", "us"): 0.04}, default=40),
    ],
)
def test_latency_that_seems_to_be_in_milliseconds_is_warned_of(make: Callable[[], object]) -> None:
    """At the program's line, with the number to write, and how to say that seconds are meant."""
    with pytest.warns(RuntimeWarning, match="a latency of 40 is 40 s, each way: for 40 ms give 0.04, and ") as caught:
        make()
    (warning,) = caught
    assert warning.filename == __file__
    assert "for that many seconds simulator.latency.constant(40)" in str(warning.message)


@pytest.mark.parametrize("law", [uniform(10, 50), lognormal(40, 0.4), exponential(200), empirical([12, 30, 45])])
def test_law_that_seems_to_be_in_milliseconds_is_warned_of(law: Law) -> None:
    """By its median, wherever a connection's is given."""
    for give in (latency.as_latency, lambda law: as_delays(0.04, law), faults.latency):
        with pytest.warns(
            RuntimeWarning, match=r"half of the delays of \w+\(.*\) take .* s or longer.* 40 ms are 0.04"
        ):
            give(law)
    with pytest.warns(RuntimeWarning, match="a latency of 40 is 40 s"):
        faults.latency(40)


def test_heartbeat_that_seems_to_be_in_milliseconds_is_warned_of() -> None:
    """As time limits are."""
    with pytest.warns(RuntimeWarning, match="heartbeat=30000 is 30000 s: for 30000 ms give 30"):
        check_positive(window=5000, heartbeat=30_000, horizon=5000)


def test_long_latency_can_be_meant() -> None:
    """A constant law is, and those between places; and waits that are no connection's have any length."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert latency.as_latency(latency.constant(40)) == latency.constant(40)
        latency.as_latency(9.9)
        latency.as_latency(uniform(0, 19))
        faults.latency(latency.constant(40))
        latency.as_law(200)
        latency.matrix({("earth", "mars"): latency.uniform(200, 1200)})
