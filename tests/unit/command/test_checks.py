"""What the doctor says of settings and tokens, without a network."""

from __future__ import annotations

import pytest

from meshsync.cli.checks import Source, check_token, describe_sources, first
from meshsync.tokens import ParticipantToken

NOW = 1_800_000_000.0
SECRET = "a-secret-of-more-than-32-bytes-for-this-test"


def check(token: ParticipantToken, secret: Source | None = None, **options: object) -> dict[str, tuple[str, str]]:
    """Return outcome and detail of each step for a token."""
    asked = {"room": "lab", "name": None, "now": NOW, **options}
    found = check_token(token.encode(SECRET), "MESHAGENT_TOKEN", secret=secret, **asked)  # type: ignore[arg-type]
    return {finding.step: (finding.outcome, finding.detail) for finding in found}


@pytest.mark.parametrize(
    ("left", "outcome", "words"),
    [
        (None, "ok", "never expires"),
        (-1, "failed", "expired 1 s ago"),
        (-86400 * 3, "failed", "expired 3 days ago"),
        (30, "warning", "good for 30 s"),
        (7200, "ok", "good for 2 hours"),
    ],
)
def test_an_expiry_is_told_with_its_distance(left: float | None, outcome: str, words: str) -> None:
    """In the unit that suits; a token that is about to end is a warning."""
    expires = None if left is None else NOW + left
    found = check(ParticipantToken.for_room("lab", "ada", expires=expires))["token expiry"]
    assert (found[0], words in found[1]) == (outcome, True)


def test_a_signature_is_checked_whatever_the_clock_says() -> None:
    """An expired token may still be one of that secret."""
    expired = ParticipantToken.for_room("lab", "ada", expires=NOW - 100)
    assert check(expired, Source("MESHAGENT_SECRET", SECRET))["token signature"][0] == "ok"
    assert check(expired, Source("MESHAGENT_SECRET", SECRET[::-1]))["token signature"][0] == "warning"
    assert "token signature" not in check(expired)


def test_names_that_differ_are_told() -> None:
    """The token's own counts."""
    found = check(ParticipantToken.for_room("lab", "ada"), name="bob")
    assert found["token name"] == ("warning", "--name 'bob' is not used")
    assert "token name" not in check(ParticipantToken.for_room("lab", "ada"), name="ada")


def test_a_token_without_a_room_is_odd() -> None:
    """A service may refuse it, or not."""
    assert check(ParticipantToken("ada"))["token room"][0] == "warning"


def test_the_first_source_wins_and_the_others_are_told() -> None:
    """Empty ones are none; a default is named only where it counts."""
    sources = [Source("--url", None), Source("MESHAGENT_API_URL", ""), Source("default", "wss://x", is_default=True)]
    assert first(sources) is sources[2]
    assert [finding.detail for finding in describe_sources({"address": sources})] == ["address: default is wss://x"]
    sources[0] = Source("--url", "ws://me:hunter22@y/?token=abcdef")
    assert [finding.detail for finding in describe_sources({"address": sources})] == ["address: --url is ws://y/?…"]
    ignored = list(describe_sources({"address": sources}, "the emulator has its own"))
    assert [finding.facts["is_used"] for finding in ignored] == [False]
