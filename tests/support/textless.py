"""Exceptions that have no text: each way in which ``str`` can fail."""

from __future__ import annotations

from typing import Any

__all__ = ["Numbered", "Stubborn", "Textless"]


class Textless(Exception):
    """Has neither a text nor a representation."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Numbered(Exception):
    """Returns a number in the place of a text."""

    def __str__(self) -> Any:
        return 404  # noqa: PLE0307  # on purpose


class Stubborn(Exception):
    """Ends the process in the place of a text."""

    def __str__(self) -> str:
        raise SystemExit(1)
