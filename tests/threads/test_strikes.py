"""Ctrl-C at random moments of five kinds of work; hundreds of times in ``tests/soak``."""

from __future__ import annotations

import pytest

from tests.threads.strikes import KINDS, strike

ROUNDS = 20


# A client whose `connect` is interrupted once it is online goes on reconnecting; a message interrupted before the
# transport has it stays pending.
_KNOWN = {"connect, close", "send"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.xfail(strict=False, reason="not mended yet")] if name in _KNOWN else [])
        for name in KINDS
    ],
)
def test_a_client_is_usable_after_ctrl_c(name: str) -> None:
    """Nothing is lost, doubled, torn or left behind."""
    assert not strike(name, ROUNDS, seed=1).violations
