"""The one Hypothesis profile of all tests, and the number of examples in proportion to it.

Nothing here is timed: a machine may be busy, so neither an example nor the making of its data has a deadline. Under CI
the examples are the same in every run, and so ``tools/seeds.py`` has all in one, and a quarter of them, ``brief``, in
the others. New ones are for ``HYPOTHESIS_PROFILE=fuzz``, which tries 20 times as many and has no time limit of pytest's
either. ``tests/conftest.py`` loads a profile before any test module is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import HealthCheck, settings

__all__ = ["PROFILES", "choose", "examples", "is_longer_than_usual", "is_shorter_than_usual"]

_USUAL = 100
"""Hypothesis's own number of examples, which both the default profile and the counts in the modules go by."""

PROFILES: dict[str, dict[str, Any]] = {
    "default": {"max_examples": _USUAL},
    "brief": {"max_examples": _USUAL // 4},
    "fuzz": {"max_examples": 20 * _USUAL, "derandomize": False},
}
"""The settings in which a profile differs from ``default``."""


def choose(environ: Mapping[str, str]) -> None:
    """Register the profiles and load the one that ``HYPOTHESIS_PROFILE`` names, else ``default``."""
    settings.register_profile(
        "default",
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=bool(environ.get("CI")),
        print_blob=True,
        **PROFILES["default"],
    )
    for name in ("brief", "fuzz"):
        settings.register_profile(name, settings.get_profile("default"), **PROFILES[name])
    settings.load_profile(environ.get("HYPOTHESIS_PROFILE") or "default")


def examples(count: int, *, suppress: Sequence[HealthCheck] = (), **more: Any) -> settings:
    """Return settings with so many examples under the default profile, and as many times more as the loaded one has.

    Args:
        count: Examples under the default profile.
        suppress: Health checks to leave out beside those of the profile.
        more: Further settings.
    """
    return settings(
        max_examples=max(1, count * settings.default.max_examples // _USUAL),
        suppress_health_check=[*settings.default.suppress_health_check, *suppress],
        **more,
    )


def is_longer_than_usual() -> bool:
    """Return whether the loaded profile has more examples than the time limits of tests allow for."""
    return settings.default.max_examples > _USUAL


def is_shorter_than_usual() -> bool:
    """Return whether the loaded profile has fewer examples than a test is written for."""
    return settings.default.max_examples < _USUAL
