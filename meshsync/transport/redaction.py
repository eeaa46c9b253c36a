"""Texts without secrets and pieces of them: a server or a library may repeat a token, or a part of one."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["redact"]

_SHORTEST_PIECE = 6
"""The least length of a piece that is recognised. Shorter ones occur by chance, and tell nothing."""


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with ``[token]`` in place of each secret, and of each piece of one.

    Args:
        secrets: Every spelling of each secret.
    """
    pieces: set[str] = set()
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, "[token]")
        pieces.update(secret[at : at + _SHORTEST_PIECE] for at in range(len(secret) - _SHORTEST_PIECE + 1))
    pieces.discard("[token")
    pieces.discard("token]")
    shown: list[str] = []
    hidden_to = 0
    for at, letter in enumerate(text):
        if text[at : at + _SHORTEST_PIECE] in pieces:
            if at >= hidden_to:
                shown.append("[token]")
            hidden_to = at + _SHORTEST_PIECE
        if at >= hidden_to:
            shown.append(letter)
    return "".join(shown)
