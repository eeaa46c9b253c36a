"""Seeds of sweeps: the first ones on every Python, all of them in one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

__all__ = ["sweep"]


def sweep(seeds: Sequence[int], *, everywhere: int) -> list[Any]:
    """Return seeds as parameters, those behind the first so many marked ``once``: see ``tools/seeds.py``.

    A simulation of one seed is the same on every Python and under every hash seed, as committed digests tell.
    """
    mark = pytest.mark.once
    return [*seeds[:everywhere], *(pytest.param(seed, marks=mark) for seed in seeds[everywhere:])]
