"""Bars for what takes longer than a second: on a terminal alone, with rich where it is installed, else as text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from meshsync.cli.output import plain

__all__ = ["Transfers"]

_QUIET = 1.0
"""Seconds before a bar appears, and between two lines of text."""

Report = Callable[[int, "int | None"], None]


class Transfers:
    """The transfers under way, and how far each is; several tasks may report at once."""

    def __init__(self) -> None:
        self._states: dict[int, tuple[str, int, int | None]] = {}
        self._begun = 0

    def unfinished(self) -> list[str]:
        """Return ``report.pdf at 40 %`` for each that has not ended."""
        return [f"{plain(name)} at {_share(done, total)}" for name, done, total in list(self._states.values())]

    @contextmanager
    def following(self, name: str, bars: Any) -> Iterator[Report]:
        """Yield the function that is called with the bytes done and the total of one transfer.

        One that is interrupted by Ctrl-C stays among the unfinished.

        Args:
            bars: What `bars` yields.
        """
        self._begun += 1
        number, begun, shown = self._begun, monotonic(), 0.0
        bar: Any = None

        def report(done: int, total: int | None) -> None:
            nonlocal bar, shown
            self._states[number] = (name, done, total)
            now = monotonic()
            if bars is None or now - begun < _QUIET:
                return
            if bars is not _TEXT:
                if bar is None:
                    bar = bars.add_task(plain(name), total=total)
                bars.update(bar, completed=done, total=total)
            elif now - shown >= _QUIET:
                shown = now
                print(f"{plain(name)}: {_share(done, total)}", file=sys.stderr, flush=True)

        try:
            yield report
            self._states.pop(number, None)
        except Exception:
            self._states.pop(number, None)
            raise
        finally:
            if bar is not None:
                bars.remove_task(bar)


_TEXT = object()
"""In place of rich's bars."""


@contextmanager
def bars() -> Iterator[Any]:
    """Yield rich's bars on standard error, or `_TEXT` without rich; None where that is no terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield _TEXT
        return

    class Bars(Progress):
        def add_task(self, description: str, **options: Any) -> Any:  # type: ignore[override]
            return super().add_task(escape(description), **options)

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    # Lines on the same terminal go above the bars. Elsewhere rich would carry them off to standard error.
    is_shared = sys.stdout.isatty()
    with Bars(*columns, console=Console(stderr=True), transient=True, redirect_stdout=is_shared) as shown:
        yield shown


def _share(done: int, total: int | None) -> str:
    return f"{done} bytes" if not total else f"{100 * done // total} %"
