"""Laws that delays are drawn from.

Durations are in seconds. A draw puts one number from ``Random.random()``, which is the same on every Python, through
the inverse of the law's distribution function; the result is rounded to whole microseconds, since the logarithms of
different C libraries differ in the last bit. A constant draws nothing. What is delayed is not this module's business.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from numbers import Real
from random import Random
from statistics import NormalDist
from typing import Any, Protocol

from meshsync.places import warn_program

__all__ = [
    "IMPLAUSIBLE",
    "Constant",
    "Correlated",
    "Empirical",
    "Exponential",
    "Law",
    "Lognormal",
    "Uniform",
    "as_law",
    "as_link_law",
    "constant",
    "correlated",
    "empirical",
    "exponential",
    "from_json",
    "lognormal",
    "uniform",
]

MICROSECONDS = 1_000_000
"""Microseconds in a second."""

_LONGEST = 1e9
"""The largest parameter in seconds: thirty years, beyond which a number is a mistake and not a delay."""

IMPLAUSIBLE = 10.0
"""From this number of seconds on, a mere number in the place of a connection's law, or its median, rather means
milliseconds."""

_WIDEST = 10.0
"""The largest sigma of a lognormal law: at 10 the delays of one run already span thirty powers of ten."""

_SMALLEST = 2.0**-54
"""Stands for a draw of exactly 0, where some laws have no value: half the smallest other draw."""

_inverse_normal = NormalDist().inv_cdf
_normal = NormalDist().cdf
_STEPS = 2**32
"""In one standard deviation."""


class Clock(Protocol):
    """Whole nanoseconds that pass."""

    @property
    def now(self) -> int: ...


class Law(ABC):
    """A distribution of delays; one of the classes below."""

    __slots__ = ()

    @abstractmethod
    def quantile(self, share: float) -> float:
        """Return the delay that a share of the draws, above 0 and below 1, does not exceed, in seconds."""

    def along(self, clock: Clock) -> Law:
        """Return this law for one sequence of delays that are drawn as time passes; most laws take no note of it."""
        return self

    def draw_us(self, stream: Random) -> int:
        """Return one delay in whole microseconds."""
        return round(self.quantile(stream.random() or _SMALLEST) * MICROSECONDS)

    def draw(self, stream: Random) -> float:
        """Return one delay in seconds, a whole number of microseconds."""
        return self.draw_us(stream) / MICROSECONDS

    def to_json(self) -> dict[str, Any]:
        """Return the law as a JSON object, which `from_json` reads."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {"law": type(self).__name__.lower()} | {
            name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
        }


@dataclass(frozen=True, slots=True)
class Constant(Law):
    """Always the same delay."""

    seconds: float

    def __post_init__(self) -> None:
        _settle(self, "seconds")

    def quantile(self, share: float) -> float:
        return self.seconds

    def draw_us(self, stream: Random) -> int:
        return round(self.seconds * MICROSECONDS)


@dataclass(frozen=True, slots=True)
class Uniform(Law):
    """Each delay between two bounds is as likely as the others."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _settle(self, "low")
        _settle(self, "high")
        if self.low > self.high:
            raise ValueError(f"low must not be above high, got {self.low:g} and {self.high:g} seconds")

    def quantile(self, share: float) -> float:
        return self.low + (self.high - self.low) * share


@dataclass(frozen=True, slots=True)
class Lognormal(Law):
    """Delays mostly near the median, sometimes far above it, like those on the Internet.

    The 95th percentile is ``median * exp(1.645 * sigma)``.
    """

    median: float
    sigma: float
    """Standard deviation of the delay's natural logarithm; 0 makes the law a constant."""

    def __post_init__(self) -> None:
        _settle(self, "median", is_zero_fine=False)
        _settle(self, "sigma", most=_WIDEST, unit="")

    def quantile(self, share: float) -> float:
        return self.median * math.exp(self.sigma * _inverse_normal(share))

    def draw_us(self, stream: Random) -> int:
        # As all laws do, in one call: a simulation draws for whatever goes onto a link.
        share = stream.random() or _SMALLEST
        return round(self.median * math.exp(self.sigma * _inverse_normal(share)) * MICROSECONDS)


@dataclass(frozen=True, slots=True)
class Exponential(Law):
    """The time until an event that may happen at any moment: mostly short, above three times the mean in 5 %."""

    mean: float

    def __post_init__(self) -> None:
        _settle(self, "mean")

    def quantile(self, share: float) -> float:
        return -self.mean * math.log1p(-share)


@dataclass(frozen=True, slots=True)
class Empirical(Law):
    """One of the measured delays, each as likely as the others."""

    samples: tuple[float, ...]
    """In seconds, kept in ascending order."""

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError("samples must not be empty")
        samples = sorted(_number(f"samples[{index}]", sample) for index, sample in enumerate(self.samples))
        object.__setattr__(self, "samples", tuple(samples))

    def quantile(self, share: float) -> float:
        return self.samples[int(share * len(self.samples))]


@dataclass(frozen=True, slots=True)
class Correlated(Law):
    """Delays of another law, of which neighbours in time share most; see `correlated`."""

    law: Law
    seconds: float
    """The time after which the correlation has fallen to 1/e."""

    def __post_init__(self) -> None:
        if isinstance(self.law, Correlated):
            raise ValueError(f"law: a law that is not correlated, not {self.law!r:.100}")
        _settle(self, "seconds", is_zero_fine=False)

    def quantile(self, share: float) -> float:
        return self.law.quantile(share)

    def along(self, clock: Clock) -> Law:
        return _Path(self.law, self.seconds, clock)

    def to_json(self) -> dict[str, Any]:
        return {"law": "correlated", "of": self.law.to_json(), "seconds": self.seconds}


class _Path(Law):
    """One sequence of correlated delays, which wander through the law.

    A standard normal number z wanders as an Ornstein-Uhlenbeck process, at the instants of the draws: over a time t
    it keeps the share exp(-t / seconds) of itself, and the rest is drawn anew. The delay is the law's quantile at the
    share of normal numbers below z, so that each by itself follows the law. z is rounded, so that the last bit, in
    which libraries differ, is not carried on.

    Source: Gillespie (1996), Exact numerical simulation of the Ornstein-Uhlenbeck process, equation 1.9a.
    """

    __slots__ = ("_at", "_clock", "_law", "_seconds", "_z")

    def __init__(self, law: Law, seconds: float, clock: Clock) -> None:
        self._law = law
        self._seconds = seconds
        self._clock = clock
        self._z: float | None = None
        self._at = 0

    def quantile(self, share: float) -> float:
        return self._law.quantile(share)

    def draw_us(self, stream: Random) -> int:
        now = self._clock.now
        drawn = _inverse_normal(stream.random() or _SMALLEST)
        if self._z is None:
            z = drawn
        else:
            kept = math.exp((self._at - now) / (1e9 * self._seconds))
            z = kept * self._z + math.sqrt(1 - kept * kept) * drawn
        self._z, self._at = round(z * _STEPS) / _STEPS, now
        share = min(max(_normal(self._z), _SMALLEST), 1 - 2 * _SMALLEST)
        return round(self._law.quantile(share) * MICROSECONDS)


# --- constructors -----------------------------------------------------------------------------------------------------


def constant(seconds: float) -> Law:
    """Return the law of one delay, in seconds. It draws nothing.

    Raises:
        ValueError: As for all laws, if a parameter is no finite number in its range.
    """
    return Constant(seconds)


def uniform(low: float, high: float) -> Law:
    """Return the law of equally likely delays from ``low`` to ``high`` seconds."""
    return Uniform(low, high)


def lognormal(median: float, sigma: float) -> Law:
    """Return the law with a median in seconds and a spread; ``sigma=0.4`` puts 95 % below 1.93 medians."""
    return Lognormal(median, sigma)


def exponential(mean: float) -> Law:
    """Return the law of waiting for an event that may happen at any moment, with a mean in seconds."""
    return Exponential(mean)


def empirical(samples: Iterable[float]) -> Law:
    """Return the law of measured delays, in seconds, in any order: each draw is one of them.

    Raises:
        ValueError: If there are none, or if one is negative or no finite number.
    """
    return Empirical(tuple(samples))


def correlated(law: Law | float, seconds: float) -> Law:
    """Return a law of delays of which those drawn at about the same time, on one connection, are about the same.

    Each by itself follows ``law``. After ``seconds`` the correlation of two delays has fallen to 1/e, or more exactly
    that of the normal numbers behind them. So messages of one moment share one delay, instead of waiting for the
    slowest of many; see ``docs/latency.md``. What is no connection's, such as the pauses of a participant, is drawn
    independently.
    """
    return Correlated(as_law(law), seconds)


def as_law(value: Law | float) -> Law:
    """Return a law unchanged, and a number of seconds as a constant.

    Raises:
        TypeError: If it is neither.
        ValueError: If the number is negative or not finite.
    """
    if isinstance(value, Law):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, Real)):
        raise TypeError(
            f"a delay is a law of simulator.latency, or a number of seconds (0.04 for 40 ms), not {value!r:.100}"
        )
    return Constant(value)


def as_link_law(value: Law | float, *, is_of_pair: bool = False) -> Law:
    """Return the law of a connection's delays; raises as `as_law`, and warns of what seems to be milliseconds.

    That is a number, or the median of a law, of at least 10 s. A constant that is written as a law, ``constant(40)``,
    is meant.

    Args:
        is_of_pair: Whether it is between two places, which may be planets: a law is meant, then.
    """
    law = as_law(value)
    if law is value:
        if not (is_of_pair or isinstance(law, Constant)) and (median := law.quantile(0.5)) >= IMPLAUSIBLE:
            warn_program(
                f"half of the delays of {law!r:.100} take {median:.3g} s or longer, each way: laws are in seconds, so "
                "40 ms are 0.04"
            )
    elif isinstance(law, Constant) and law.seconds >= IMPLAUSIBLE:
        number = f"{law.seconds:.15g}"
        warn_program(
            f"a latency of {number} is {number} s, each way: for {number} ms give {law.seconds / 1000:.15g}, and for "
            f"that many seconds simulator.latency.constant({number})"
        )
    return law


_LAWS: dict[str, type[Constant | Uniform | Lognormal | Exponential | Empirical]] = {
    law.__name__.lower(): law for law in (Constant, Uniform, Lognormal, Exponential, Empirical)
}


def from_json(value: Mapping[str, Any]) -> Law:
    """Return the law that `Law.to_json` wrote.

    Raises:
        ValueError: If there is no such law, or its parameters are wrong.
    """
    given = dict(value)
    name = given.pop("law", None)
    if name == "correlated":
        if sorted(given) != ["of", "seconds"] or not isinstance(given["of"], Mapping):
            raise ValueError(f"correlated takes of, which is a law, and seconds, got {', '.join(sorted(given))}")
        return Correlated(from_json(given["of"]), given["seconds"])
    law = _LAWS.get(name) if isinstance(name, str) else None
    if law is None:
        raise ValueError(f"{name!r} is no law of delays; there are {', '.join([*_LAWS, 'correlated'])}")
    wanted = [field.name for field in fields(law)]
    if sorted(given) != sorted(wanted):
        raise ValueError(f"{name} takes {' and '.join(wanted)}, got {', '.join(sorted(given)) or 'nothing'}")
    if law is Empirical:
        if not isinstance(given["samples"], (list, tuple)):
            raise ValueError(f"samples must be a list, got {type(given['samples']).__name__}")
        return Empirical(tuple(given["samples"]))
    return law(**given)


def _settle(law: Law, name: str, **limits: Any) -> None:
    """Check one parameter of a law under construction, and make it a plain float: it may be an int, or NumPy's."""
    object.__setattr__(law, name, _number(name, getattr(law, name), **limits))


def _number(
    name: str, value: Any, *, most: float = _LONGEST, is_zero_fine: bool = True, unit: str = " seconds"
) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number, not {type(value).__name__}")
    number = float(value)
    if not 0 <= number <= most or (number == 0 and not is_zero_fine):  # NaN is in no range
        least = "at least 0" if is_zero_fine else "above 0"
        raise ValueError(f"{name} must be {least} and at most {most:g}{unit}, got {number:g}")
    return number
