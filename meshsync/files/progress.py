"""Reports of a transfer's progress: to a function of the program, to a bar, or none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from meshsync.errors import UsageError
from meshsync.signals import check_callable, check_result

__all__ = ["Progress", "Report", "reporting"]

Report = Callable[[int, "int | None"], object]
"""Called with the bytes done so far and the total, None where that is not known."""
Progress = Report | bool
"""Or True for a bar."""


@contextmanager
def reporting(progress: Progress, name: str) -> Iterator[Report]:
    """Yield the function that is called with the bytes done and the total.

    Raises:
        UsageError: If a bar is wanted and tqdm is missing.
        TypeError: If the function has to be awaited.
    """
    if callable(progress):
        check_callable(progress, "the bytes done and the total", "progress", count=2)
        function = progress

        def call(done: int, total: int | None) -> None:
            check_result(function(done, total))

        yield call
    elif progress:
        with _bar(name) as report:
            yield report
    else:
        yield lambda done, total: None


@contextmanager
def _bar(name: str) -> Iterator[Report]:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise UsageError("a bar needs tqdm: pip install 'meshsync-client[files]', or give a function") from None

    class Bar(tqdm):  # type: ignore[misc]
        monitor_interval = 0
        """No thread of tqdm's own beside the client's."""

    # There is no standard error under pythonw or in some services.
    is_hidden = sys.stderr is None
    with Bar(desc=name, unit="B", unit_scale=True, unit_divisor=1024, disable=is_hidden) as bar:

        def report(done: int, total: int | None) -> None:
            if bar.total != total:
                bar.total = total
            bar.update(done - bar.n)

        yield report
