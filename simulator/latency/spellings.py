"""What to write in place of names that programs try in vain at the package of laws of delays."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from simulator.spellings import answered, each

__all__ = ["SPELLINGS", "missing"]

SPELLINGS: dict[str, str] = {
    **each("normal gaussian gauss Normal", "lognormal(median, sigma), since no delay is below 0"),
    **each("fixed const static", "constant(seconds)"),
    **each("random range jitter between", "uniform(low, high)"),
    **each("expo expovariate poisson", "exponential(mean)"),
    **each("samples measured histogram trace from_samples", "empirical(samples)"),
    **each("pareto weibull gamma triangular", "empirical(samples), of samples of it"),
    **each("regions by_region places pairs", "matrix(pairs, regions=…, default=…)"),
    **each("ms milliseconds seconds", "a number of seconds: 0.04 for 40 ms"),
    **each("none zero no_latency", "0, a number of seconds"),
}

missing: Callable[[str], NoReturn] = answered("simulator.latency", SPELLINGS)
"""The face's ``__getattr__``."""
