"""Texts in which neither a secret nor a piece of one is left."""

from __future__ import annotations

import pytest

from meshsync.transport.redaction import redact

SECRET = "abcdefghijklmnop"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no harm", "no harm"),
        (f"got {SECRET}!", "got [token]!"),
        (f"{SECRET}{SECRET}", "[token][token]"),
        ("cut: abcdefghi", "cut: [token]"),
        ("klmnop is its end", "[token] is its end"),
        ("mid fghijkl, and ghijklm", "mid [token], and [token]"),
        ("short abcde", "short abcde"),
        ("", ""),
    ],
)
def test_pieces_of_six_letters_are_hidden(text: str, shown: str) -> None:
    """The whole secret, its beginning, its end and its middle."""
    assert redact(text, ["", SECRET]) == shown


def test_short_secret_is_hidden_as_a_whole() -> None:
    """It has no piece of six letters."""
    assert redact("got pw1, or pw", ["pw1"]) == "got [token], or pw"
