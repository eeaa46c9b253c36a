"""Keeps tokens, keys and secrets out of everything that a command says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

__all__ = ["CREDENTIALS", "Mask", "abbreviate"]

CREDENTIALS = ("MESHAGENT_TOKEN", "MESHAGENT_API_KEY", "MESHAGENT_SECRET")
"""The variables that hold one."""

_OPTIONS = ("--token", "--api-key")

_SHAPES = re.compile(r"\beyJ[\w-]+(?:\.[\w-]*)*|\bma-(?!KEYID-PROJECTID-SECRET\b)[\w.~+/=-]+-[\w.~+/=-]+-[^\s'\"]+")
"""What looks like a token or an API key, wherever a person has put it; but not the form of one, which our
advice has. Source: PROTOCOL.md, section 3."""

_SHORTEST = 6
"""The least length of a value that is taken for a secret: others would hide ordinary words."""


class Mask:
    """Hides what the arguments and the environment hold as credentials, and what looks like one."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        given = [environ.get(name, "") for name in CREDENTIALS]
        for place, argument in enumerate(arguments):
            name, has_value, value = argument.partition("=")
            if name in _OPTIONS:
                given.append(value if has_value else "".join(arguments[place + 1 : place + 2]))
        self._secrets = sorted((text for text in given if len(text) >= _SHORTEST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text with ``[secret]`` in place of each."""
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return _SHAPES.sub("[secret]", text)


def abbreviate(credential: str) -> str:
    """Return so much of a credential that its owner recognizes its kind, and nothing of use."""
    kind = "a token" if credential.startswith("eyJ") else "an API key" if credential.startswith("ma-") else "a text"
    return f"{kind} of {len(credential)} character{'' if len(credential) == 1 else 's'}"
