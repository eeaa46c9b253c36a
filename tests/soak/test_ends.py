"""The client ends in another task at each place of each kind of call: some 15,000, in about ten minutes."""

from __future__ import annotations

import pytest

from tests.threads.ends import CALLS, WAYS, sweep
from tests.threads.test_ends import check

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CALLS)
def test_at_each_place(name: str, way: str) -> None:
    """No call waits for its time limit."""
    check(sweep(name, way))
