"""Nothing that a command says shows a credential."""

from __future__ import annotations

import pytest

from meshsync.cli.masking import Mask, abbreviate
from meshsync.errors import UsageError
from meshsync.tokens import ApiKey, ParticipantToken

SECRET = "a-secret-of-more-than-32-bytes-for-this-test"
TOKEN = ParticipantToken.for_room("lab", "ada").encode(SECRET)
KEY = str(ApiKey("00000000-0000-4000-8000-000000000002", "00000000-0000-4000-8000-000000000001", SECRET))


@pytest.mark.parametrize(
    ("arguments", "environ", "text"),
    [
        (["--token", "opensesame"], {}, "bad: opensesame!"),
        (["--token=opensesame"], {}, "bad: opensesame!"),
        (["--api-key", "opensesame"], {}, "bad: opensesame!"),
        ([], {"MESHAGENT_SECRET": "opensesame"}, "bad: opensesame!"),
        ([], {"MESHAGENT_TOKEN": "opensesame"}, "bad: opensesame!"),
        ([], {"MESHAGENT_API_KEY": "opensesame"}, "bad: opensesame!"),
        ([], {}, f"bad: {TOKEN}!"),
        ([], {}, f"bad: {KEY} !"),
    ],
)
def test_a_credential_is_hidden(arguments: list[str], environ: dict[str, str], text: str) -> None:
    """Given by an option or a variable, or just by its shape in the wrong place."""
    shown = Mask(arguments, environ)(text)
    assert shown.startswith("bad: [secret]")
    assert not any(secret in shown for secret in ("opensesame", TOKEN, KEY, SECRET))


def test_ordinary_words_are_left() -> None:
    """A short value would hide too much, an option without a value nothing."""
    text = "there is no 'ma-rie' in 'lab': eyes only"
    assert Mask(["--token"], {"MESHAGENT_SECRET": "lab"})(text) == text


def test_the_form_of_a_key_in_our_own_advice_is_left() -> None:
    """A wrong key is hidden, and the advice says how one reads."""
    with pytest.raises(UsageError) as caught:
        ApiKey.parse("ma-abcdef")
    mask = Mask([], {"MESHAGENT_API_KEY": "ma-abcdef"})
    assert mask(str(caught.value)).startswith("not an API key: it has to read ma-KEYID-PROJECTID-SECRET")
    assert mask("ma-abcdef, ma-KEYID-PROJECTID-SECRETIVE") == "[secret], [secret]"


@pytest.mark.parametrize(
    ("credential", "shown"),
    [
        (TOKEN, f"a token of {len(TOKEN)} characters"),
        (KEY, f"an API key of {len(KEY)} characters"),
        ("x", "a text of 1 character"),
    ],
)
def test_a_credential_is_described_by_kind_and_length(credential: str, shown: str) -> None:
    """So that its owner sees whether it was cut."""
    assert abbreviate(credential) == shown
