"""Laws that delays are drawn from, and matrices that tell whose delays follow which law.

Durations are in seconds. What is delayed is not this package's business.
"""

from typing import TYPE_CHECKING

from simulator.latency.laws import (
    IMPLAUSIBLE,
    MICROSECONDS,
    Constant,
    Correlated,
    Empirical,
    Exponential,
    Law,
    Lognormal,
    Uniform,
    as_law,
    as_link_law,
    constant,
    correlated,
    empirical,
    exponential,
    lognormal,
    uniform,
)
from simulator.latency.matrices import ROOM, Latency, Matrix, as_latency, from_json, matrix

__all__ = [
    "IMPLAUSIBLE",
    "MICROSECONDS",
    "ROOM",
    "Constant",
    "Correlated",
    "Empirical",
    "Exponential",
    "Latency",
    "Law",
    "Lognormal",
    "Matrix",
    "Uniform",
    "as_latency",
    "as_law",
    "as_link_law",
    "constant",
    "correlated",
    "empirical",
    "exponential",
    "from_json",
    "lognormal",
    "matrix",
    "uniform",
]

if not TYPE_CHECKING:  # To type checkers a wrong name is wrong.
    from simulator.latency.spellings import missing as _missing

    __getattr__ = _missing
