"""Ten thousand seeds, run in order here and by each kind of workers, of which one is killed in the midst."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from simulator.exploring.exploration import explore
from tests.support.crews import WORKERS
from tests.support.sweeping import MARK, fails_late

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]

SEEDS = range(10_000)


def searched(executor: object) -> tuple[object, ...]:
    """Return all that a search tells, and print how long it took."""
    reports: list[str] = []
    begun = time.monotonic()
    failure = explore(fails_late, SEEDS, latency=0.01, save=None, report=reports.append, executor=executor)  # type: ignore[arg-type]
    assert failure is not None
    print(f"\n{executor}: {failure.runs} runs, {time.monotonic() - begun:.0f} s")
    return failure.seed, failure.runs, failure.run.digests, failure.run.deviations, failure.run.lates, reports


def test_report_is_the_same_wherever_the_seeds_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed, the counts, the transcripts and the text; each kind of workers loses a process to seed 5000."""
    mark = tmp_path / "mark"
    monkeypatch.setenv(MARK, str(mark))
    found = {}
    for workers in ("processes", "loky", "dask"):
        mark.unlink(missing_ok=True)
        with WORKERS[workers]() as executor:
            found[workers] = searched(executor)
        assert mark.exists()
    found["here"] = searched(None)  # The mark is there, so that it kills nothing here.
    assert len(set(map(repr, found.values()))) == 1, found
    assert found["here"][0] == 9973
