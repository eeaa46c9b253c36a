"""Connections that are reset at random moments of each kind of call; hundreds of times in ``tests/soak``."""

from __future__ import annotations

import pytest

from tests.threads.kills import KINDS, kill

ROUNDS = 5


@pytest.mark.parametrize("name", KINDS)
def test_a_client_that_does_not_come_back_ends_as_documented(name: str) -> None:
    """The call ends in time, the client is over, and nothing of it is left."""
    assert not kill(name, ROUNDS, seed=1, reconnects=False).violations


@pytest.mark.parametrize("name", KINDS)
def test_a_client_that_comes_back_is_usable_again(name: str) -> None:
    """The call ends in time, messages come once, streams without a hole, and nothing is left after closing."""
    assert not kill(name, ROUNDS, seed=1, reconnects=True).violations
