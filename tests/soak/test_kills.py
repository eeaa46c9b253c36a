"""Hundreds of connections reset at random moments of each kind of call.

``MESHSYNC_SOAK_KILLS`` (200) is how many of each; ``MESHSYNC_SOAK_SEED`` (1) is what the moments are drawn from.
"""

from __future__ import annotations

import os

import pytest

from tests.threads.kills import KINDS, kill

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]

KILLS = int(os.environ.get("MESHSYNC_SOAK_KILLS", "200"))
SEED = int(os.environ.get("MESHSYNC_SOAK_SEED", "1"))


@pytest.mark.parametrize("reconnects", [False, True], ids=["ends", "comes back"])
@pytest.mark.parametrize("name", KINDS)
def test_a_kind_of_call(name: str, reconnects: bool) -> None:
    """Each ends as documented within its limit, messages come once, streams have no hole, nothing is left behind."""
    report = kill(name, KILLS, SEED, reconnects=reconnects)
    print(f"\n{name}: {report}")
    assert not report.violations, "\n".join(report.violations[:10])
