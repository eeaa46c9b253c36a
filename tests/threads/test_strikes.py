"""Ctrl-C at random moments of several kinds of work; hundreds of times in ``tests/soak``."""

from __future__ import annotations

import pytest

from tests.threads.strikes import KINDS, strike

ROUNDS = 20


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_client_is_usable_after_ctrl_c(name: str) -> None:
    """Nothing is lost, doubled, torn or left behind."""
    assert not strike(name, ROUNDS, seed=1).violations
