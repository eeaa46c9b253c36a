"""The client ends in another task, here and there in each kind of call; at each place in ``tests/soak``."""

from __future__ import annotations

import pytest

from tests.threads.ends import CALLS, WAYS, sweep

STEP = 37


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CALLS)
def test_a_call_during_which_the_client_ends_does_not_wait_for_its_time_limit(name: str, way: str) -> None:
    """It returns, or says that there is no connection or no messaging any more."""
    check(sweep(name, way, first=len(name), step=STEP))


def check(outcomes: list[str]) -> None:
    """Check what calls raised: no time limit passed, but those of waits that were over before."""
    assert len(outcomes) > 2, "it has no places"
    assert not [outcome for outcome in outcomes if "Timeout" in outcome], outcomes
    if "in vain" in outcomes:
        first = outcomes.index("in vain")
        assert set(outcomes[first:]) == {"in vain"}, outcomes
