"""Workers of each kind, for as long as a block lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

import pytest

__all__ = ["WORKERS"]


@contextmanager
def _of_loky() -> Iterator[Executor]:
    """Yield loky's executor that is used again and again."""
    loky = pytest.importorskip("loky")
    yield loky.get_reusable_executor(max_workers=2)
    loky.get_reusable_executor().shutdown(kill_workers=True)


@contextmanager
def _of_dask() -> Iterator[Any]:
    """Yield a client of a cluster on this machine, in processes."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@contextmanager
def _of_dask_threads() -> Iterator[Any]:
    """Yield a client of a cluster whose workers are threads of this process, and take turns."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@contextmanager
def _of_processes() -> Iterator[str]:
    """Yield the word for one process for each processor."""
    yield "processes"


WORKERS: dict[str, Callable[[], Any]] = {
    "processes": _of_processes,
    "loky": _of_loky,
    "dask": _of_dask,
    "dask in threads": _of_dask_threads,
}
