"""How often something happened in a number of runs, and what that says about its probability."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt

__all__ = ["Estimate"]

_Z = 1.959964
"""Standard deviations on either side of a mean that hold 95 % of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A probability, by counting."""

    count: int
    """In how many runs it happened."""
    runs: int

    @property
    def share(self) -> float:
        """The estimate, in [0, 1]."""
        return self.count / self.runs

    @property
    def interval(self) -> tuple[float, float]:
        """Where the probability lies, with a confidence of 95 %.

        Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927).
        """
        n, share = self.runs, self.share
        middle = share + _Z**2 / (2 * n)
        half = _Z * sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
        scale = 1 + _Z**2 / n
        low, high = (middle - half) / scale, (middle + half) / scale
        # Without the rounding: 0 of 32 does not exclude 0, nor 32 of 32 all.
        return (low if self.count else 0.0), (high if self.count < n else 1.0)

    def differs(self, other: Estimate) -> bool:
        """Return whether two probabilities are not the same, with a confidence of 95 %.

        Source: Newcombe, "Interval Estimation for the Difference between Independent Proportions" (1998), method 10.
        """
        less, more = sorted((self, other), key=lambda one: one.share)
        return more.share - less.share > hypot(more.share - more.interval[0], less.interval[1] - less.share)

    def factor_to(self, other: Estimate) -> float:
        """Return by which factor the other probability is higher; half a run is added, so that none is zero."""
        return (other.count + 0.5) / (other.runs + 1) * (self.runs + 1) / (self.count + 0.5)

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.count + other.count, self.runs + other.runs)
