"""What a command prints: tables and sentences for people, one line of JSON for each thing for programs.

Names, types and messages are other participants' texts: none of them may move a terminal's cursor, and what the
standard output cannot encode is escaped. Not the business of this module: which members a record has.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO

from meshsync.cli.masking import Mask

__all__ = ["Output", "compact", "plain", "plural"]

_BLANK = "–"
"""Stands for a value that is not there, in tables."""


class Output:
    """Where a command prints.

    Args:
        is_json: True for lines of JSON, False for text; None for text on a terminal alone.
        mask: Hides secrets in what is said on standard error.
    """

    def __init__(self, is_json: bool | None, mask: Mask) -> None:
        self.is_json: bool = not sys.stdout.isatty() if is_json is None else is_json
        self.mask = mask
        self.reached: Callable[[], str] | None = None
        """Says what was reached so far, for Ctrl-C; None while that is nothing."""

    # --- standard output ----------------------------------------------------------------------------------------------

    def record(self, members: Mapping[str, Any], text: str | None = None) -> None:
        """Print one thing: its members as a line of JSON, or its text for people; None for no text."""
        if self.is_json:
            self._print(json.dumps(members))
        elif text is not None:
            self._print(text)

    def table(self, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], empty: str) -> None:
        """Print several things of one kind: a line of JSON for each, or a table.

        Args:
            columns: The members that people see.
            empty: What people read where there are no rows.
        """
        found = list(rows)
        if self.is_json:
            for row in found:
                self.record(row)
        elif not found:
            self._print(empty)
        else:
            cells = [[_cell(row[column]) for column in columns] for row in found]
            self._print_table(columns, cells)

    def text(self, text: str) -> None:
        """Print a line for people; nothing with JSON."""
        if not self.is_json:
            self._print(text)

    def _print(self, line: str) -> None:
        print(line, flush=True)

    def _print_table(self, columns: Sequence[str], cells: list[list[str]]) -> None:
        heads = [column.replace("_", " ") for column in columns]
        try:
            from rich.box import SIMPLE_HEAD
            from rich.console import Console
            from rich.table import Table
            from rich.text import Text
        except ImportError:
            widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
            for row in (heads, *cells):
                padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                self._print("  ".join(padded).rstrip())
            return
        table = Table(*heads, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for row in cells:
            table.add_row(*map(Text, row))  # Text, since a name with brackets would be taken for markup.
        Console(file=sys.stdout).print(table)
        sys.stdout.flush()

    # --- standard error -----------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Say on standard error what goes on, secrets left out."""
        say(self.mask(text))


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line on standard error that begins with the command's name; without standard error, nothing."""
    target = stream or sys.stderr
    if target is not None:
        with suppress(OSError):
            print(f"meshsync: {plain(text, keep=chr(10))}", file=target, flush=True)


def plain(text: str, *, keep: str = "") -> str:
    """Return a text with everything escaped that is not printed as itself, but for the letters to keep."""
    return "".join(
        letter if letter.isprintable() or letter in keep else letter.encode("unicode_escape").decode()
        for letter in text
    )


def compact(value: Any) -> str:
    """Return a JSON value as a person reads it: on one line, letters beyond ASCII as they are."""
    return plain(json.dumps(value, ensure_ascii=False))


def plural(number: int, thing: str) -> str:
    """Return ``1 message``, ``2 messages``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _cell(value: Any) -> str:
    if value is None or value in ("", {}):
        return _BLANK
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(name)}={compact(item)}" for name, item in value.items())
    return plain(value) if isinstance(value, str) else compact(value)
