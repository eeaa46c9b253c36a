"""Ctrl-C hundreds of times at random moments of each of several kinds of work.

``MESHSYNC_SOAK_STRIKES`` (500) is how many of each; ``MESHSYNC_SOAK_SEED`` (1) is what the moments are drawn from.
"""

from __future__ import annotations

import os

import pytest

from tests.threads.strikes import KINDS, strike

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]

STRIKES = int(os.environ.get("MESHSYNC_SOAK_STRIKES", "500"))
SEED = int(os.environ.get("MESHSYNC_SOAK_SEED", "1"))

LIMIT = 1.0
"""Seconds from a strike until the client is usable or cleanly gone."""


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_of_work(name: str) -> None:
    """After each the client is usable or cleanly gone in time; nothing is lost, doubled, torn or left behind."""
    report = strike(name, STRIKES, SEED)
    longest = max(report.times)
    print(f"\n{name}: {report.struck} strikes, {report.lost} losses, longest {longest:.3f} s")
    assert not report.violations, "\n".join(report.violations[:10])
    assert longest <= LIMIT
