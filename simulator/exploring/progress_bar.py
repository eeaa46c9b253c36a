"""The progress of a search, on a terminal where tqdm is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from importlib.util import find_spec

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(seeds: Iterable[object]) -> Iterator[Callable[[int, int], object]]:
    """Yield a function that is called with the number of seeds that are done, and of those that failed.

    It shows them and the seeds per second if standard error is a terminal and tqdm is installed, else nothing.
    """
    # There is no standard error under pythonw or in some services.
    if sys.stderr is None or not sys.stderr.isatty() or not find_spec("tqdm"):
        yield lambda done, failing: None
        return
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        monitor_interval = 0
        """No thread of tqdm's own beside the simulation's."""

    total = len(seeds) if isinstance(seeds, Sized) else None
    with Bar(total=total, unit=" seeds", dynamic_ncols=True) as bar:

        def show(done: int, failing: int) -> None:
            if failing:
                bar.set_postfix(failures=failing, refresh=False)
            bar.update(done - bar.n)

        yield show
