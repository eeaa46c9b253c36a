"""The examples that need no real network are programs that work and say what they should."""

from __future__ import annotations

import pytest

from examples import stream_handshake


def test_handshake_admits_who_proves_to_know_the_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """And tells the other why not."""
    stream_handshake.main()
    assert capsys.readouterr().out.splitlines() == [
        "bob reads b'all is well'",
        "mallory is refused: the header is not signed by somebody who may stream",
    ]
