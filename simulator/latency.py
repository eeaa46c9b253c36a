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
from typing import Any

__all__ = [
    "Constant",
    "Empirical",
    "Exponential",
    "Law",
    "Lognormal",
    "Uniform",
    "as_law",
    "constant",
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

_WIDEST = 10.0
"""The largest sigma of a lognormal law: at 10 the delays of one run already span thirty powers of ten."""

_SMALLEST = 2.0**-54
"""Stands for a draw of exactly 0, where some laws have no value: half the smallest other draw."""

_inverse_normal = NormalDist().inv_cdf


class Law(ABC):
    """A distribution of delays; one of the classes below."""

    __slots__ = ()

    @abstractmethod
    def quantile(self, share: float) -> float:
        """Return the delay that a share of the draws, above 0 and below 1, does not exceed, in seconds."""

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


def as_law(value: Law | float) -> Law:
    """Return a law unchanged, and a number of seconds as a constant.

    Raises:
        TypeError: If it is neither.
        ValueError: If the number is negative or not finite.
    """
    if isinstance(value, Law):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, Real)):
        raise TypeError(f"a delay is a law or a number of seconds, not {type(value).__name__}")
    return Constant(value)


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
    law = _LAWS.get(name) if isinstance(name, str) else None
    if law is None:
        raise ValueError(f"{name!r} is no law of delays; there are {', '.join(_LAWS)}")
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
