"""A file for one transfer alone: two of one process, two processes, one that was killed; and what others put there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meshsync.files.exclusive import open_exclusively

POSIX = pytest.mark.skipif(os.name == "nt", reason="files of this kind are not on Windows")

HOLDER = """
import sys
from meshsync.files.exclusive import open_exclusively
file = open_exclusively(sys.argv[1])
file.write(b"part")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Return the path of a file that is not there yet."""
    return os.fspath(tmp_path / "part")


def hold(path: str) -> bool:
    """Return whether the file can be had, and give it back."""
    file = open_exclusively(path)
    if file is not None:
        file.close()
    return file is not None


def test_two_of_one_process_do_not_have_it_at_once(path: str) -> None:
    """The second gets it when the first has closed it, as it was left."""
    first = open_exclusively(path)
    assert first is not None
    first.write(b"part")
    assert not hold(path)
    first.close()
    second = open_exclusively(path)
    assert second is not None
    with second:
        assert second.read() == b"part"


def test_a_process_that_is_killed_gives_it_back(path: str) -> None:
    """While it lives nobody else gets it; then at once, with what it has written."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"held"
        assert not hold(path)
        process.kill()
        process.wait()
        assert hold(path)
    assert Path(path).read_bytes() == b"part"


def test_a_file_that_has_its_own_name_already_is_not_written_to(path: str, tmp_path: Path) -> None:
    """A process was killed between giving the whole file its name and removing the temporary one."""
    whole = tmp_path / "film.mp4"
    whole.write_bytes(b"whole")
    os.link(whole, path)
    file = open_exclusively(path)
    assert file is not None
    with file:
        file.write(b"other")
    assert whole.read_bytes() == b"whole"


@POSIX
def test_what_is_no_file_of_this_user_is_left_alone(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link, a directory, a pipe, and a file that another user put there, who could change it at any time."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"kept")
    os.symlink(outside, path)
    assert not hold(path)
    os.unlink(path)
    os.mkfifo(path)
    assert not hold(path)
    os.unlink(path)
    os.mkdir(path)
    assert not hold(path)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    assert not hold(os.fspath(outside))
    assert outside.read_bytes() == b"kept"


def test_a_file_that_is_removed_before_it_is_locked_is_made_anew(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else two would have files of which only one has the name."""
    removals = [path]

    def lock(descriptor: int) -> None:
        if removals:
            os.unlink(removals.pop())

    monkeypatch.setattr("meshsync.files.exclusive._lock", lock)
    file = open_exclusively(path)
    assert file is not None
    with file:
        file.write(b"part")
    assert Path(path).read_bytes() == b"part"


def test_without_locks_nobody_has_it(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in some network file systems: a transfer uses a file of its own there."""

    def fail(descriptor: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr("meshsync.files.exclusive._lock", fail)
    assert not hold(path)
