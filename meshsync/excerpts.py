"""Names and bodies as a log shows them: short, on one line, and without secrets.

They come from peers, and a log is read in a terminal and line by line: a name with a newline in it must not look like
a line of its own, nor an escape sequence change the terminal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

__all__ = ["HIDDEN", "excerpt", "hide_tokens", "printable", "show_name", "show_text"]

HIDDEN = "[hidden]"
"""What stands for a secret."""

_LONGEST_NAME = 64
"""Characters of a name that are shown."""

_PLAIN = re.compile(r"[\w.@+#:/-]{1,64}")
"""Names that need no quotes: nothing in them could be taken for a part of the sentence around them."""

_SECRET_MEMBER = re.compile(r"token|secret|proof|password|passwd|api_?-?key|authorization|cookie", re.IGNORECASE)

_TOKEN = re.compile(r"eyJ[\w-]{5,}(?:\.[\w-]*){0,2}|\bma-[\w.-]{20,}")
"""A JSON Web Token, or the beginning of one, and a key of the hosted service.

Source: RFC 7515, section 3 (the header is a JSON object in base64url); `meshsync.tokens.ApiKey`.
"""


def hide_tokens(text: str) -> str:
    """Return a text with `HIDDEN` in the place of what looks like a token or a key."""
    return _TOKEN.sub(HIDDEN, text)


def printable(text: str) -> str:
    """Return a text with everything escaped that is no visible character or blank.

    Those are newlines, escape sequences, marks that turn the direction of writing, halves of surrogate pairs.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def show_name(name: str) -> str:
    """Return a name as a sentence shows it: in quotes, and escaped, unless it is plainly a name; long ones are cut."""
    name = hide_tokens(name)
    if _PLAIN.fullmatch(name):
        return name
    return repr(name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…")


def show_text(text: str, limit: int = 200) -> str:
    """Return the beginning of a sentence of a peer, on one line and without tokens."""
    shown = printable(hide_tokens(text[: limit + 1]))
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def excerpt(value: object, limit: int = 200) -> str:
    """Return the beginning of a value as JSON, on one line, with `HIDDEN` in the place of what may be a secret.

    Hidden are members with the name of a secret (token, secret, password, key …), at any depth, and texts that look
    like a token. The cost does not grow with the value.

    Args:
        limit: The most characters; a longer text ends in an ellipsis.
    """
    pieces: list[str] = []
    left = limit
    for piece in _write(value, limit):
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            break
    text = "".join(pieces)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _write(value: object, limit: int) -> Iterable[str]:
    if isinstance(value, str):
        yield printable(json.dumps(hide_tokens(value[: limit + 1]), ensure_ascii=False))
    elif isinstance(value, Mapping):
        yield "{"
        for number, (name, member) in enumerate(value.items()):
            yield ", " if number else ""
            yield from _write(str(name), limit)
            yield ": "
            yield from _write(HIDDEN if _SECRET_MEMBER.search(str(name)) else member, limit)
        yield "}"
    elif isinstance(value, (list, tuple)):
        yield "["
        for number, member in enumerate(value):
            yield ", " if number else ""
            yield from _write(member, limit)
        yield "]"
    elif value is None or isinstance(value, (bool, int, float)):
        yield json.dumps(value)
    else:
        yield json.dumps(f"({type(value).__name__})")
