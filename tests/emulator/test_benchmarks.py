"""The command of the benchmarks works at its smallest size, and says what it could not measure. No figure matters."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import PARTS
from tests.benchmarks.rows import Kept, Row, load, save

ROOT = Path(__file__).parents[2]


def run(*options: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "tests.benchmarks", *map(str, options)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.slow
@pytest.mark.timeout(360)
@pytest.mark.skipif(sys.platform != "linux", reason="figures of /proc")
@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_measured_kept_and_compared(part: str, tmp_path: Path) -> None:
    """No official client can be installed in a directory that is a file: the rows say so, and the rest is there."""
    (tmp_path / "file").touch()
    kept, before = tmp_path / "rows.json", tmp_path / "before.json"
    save({part: Kept([Row("errands", "1/s", ours=[1.0])], "2026-01-31", "3.11.7", 2, 0.0)}, before)
    options = ("--quick", "--only", part, "--save", kept, "--compare", before)
    done = run(*options, MESHSYNC_RELEASES=str(tmp_path / "file"))
    assert (done.returncode, done.stderr) == (0, "")
    rows = load(kept)[part].rows
    assert rows
    assert all(row.ours for row in rows)
    assert all(f"\n{row.work} " in done.stdout for row in rows)
    marks = done.stdout.partition(f"--- {part}, against 2026-01-31\n")[2]
    assert marks.splitlines()[: len(rows) + 1] == [*(f"new     {row.work}" for row in rows), "gone    errands"]
    if part in ("messages", "streams", "growth"):
        assert re.search(r"^  official 0\.0\.21 +- +not measured: \S", done.stdout, re.MULTILINE)


def test_a_part_that_cannot_run_leaves_the_status_at_0(tmp_path: Path) -> None:
    """And is told with its traceback."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['tests.benchmarks.simulation'] = None\n")
    done = run("--only", "simulation", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0
    assert "ModuleNotFoundError: import of tests.benchmarks.simulation halted" in done.stderr


def test_files_that_are_no_kept_runs_are_told_before_anything_is_measured(tmp_path: Path) -> None:
    """To compare with, or to save into; as is a part that does not exist."""
    other = tmp_path / "other.json"
    other.write_text("{}", encoding="utf-8")
    for options in (("--compare", tmp_path / "none.json"), ("--save", other)):
        done = run(*options)
        assert (done.returncode, done.stdout) == (2, "")
        assert "error: no kept run: " in done.stderr
    assert other.read_text(encoding="utf-8") == "{}"
    assert "no such part: nothing; there are messages, streams," in run("--only", "nothing").stderr
