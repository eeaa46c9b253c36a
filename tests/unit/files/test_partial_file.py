"""Files in the making: the last step where the system has fewer means than most, and leftovers."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from meshsync.files.partial_file import PartialFile
from meshsync.runtime.interfaces import Runtime
from meshsync.runtime.threads import ThreadRuntime

REAL = ThreadRuntime()
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows renames without replacing")


def store(folder: Path, runtime: Runtime = REAL, *, overwrite: bool = False) -> None:
    """Store a file ``new``."""
    with PartialFile(os.fspath(folder), runtime) as partial:
        partial.write(b"data")
        partial.settle("new", overwrite=overwrite)


def no_links(*_: object, **__: object) -> NoReturn:
    """Be a file system that knows no hard links."""
    raise OSError(errno.EPERM, "Operation not permitted")


@POSIX
def test_without_links_a_file_is_stored_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a memory card."""
    monkeypatch.setattr(os, "link", no_links)
    store(tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"data"]


@POSIX
def test_without_links_an_existing_file_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links or not, nothing is replaced unless asked."""
    monkeypatch.setattr(os, "link", no_links)
    (tmp_path / "new").write_text("kept")
    with pytest.raises(FileExistsError, match="there is a file of that name already"):
        store(tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]


@POSIX
def test_without_links_a_failure_frees_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The empty file that held it goes too."""
    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(os, "replace", no_links)
    with pytest.raises(PermissionError):
        store(tmp_path)
    assert os.listdir(tmp_path) == []


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power failure there is no empty file of that name."""
    synced: list[list[str]] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.listdir(tmp_path)))
    store(tmp_path)
    assert "new" not in synced[0]


def test_what_a_killed_process_left_is_passed_over(tmp_path: Path) -> None:
    """A simulation of the same seed draws the same name again."""

    class Drawing(ThreadRuntime):
        drawn = iter([b"\1" * 8, b"\1" * 8, b"\2" * 8])

        def entropy(self, size: int) -> bytes:
            return next(self.drawn)

    (tmp_path / ".meshsync-0101010101010101.part").write_text("left")
    store(tmp_path, Drawing())
    assert sorted(os.listdir(tmp_path)) == [".meshsync-0101010101010101.part", "new"]
    assert (tmp_path / ".meshsync-0101010101010101.part").read_text() == "left"


def test_what_is_written_in_part_is_written_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may take less at once than it is given."""
    with PartialFile(os.fspath(tmp_path), REAL) as partial:

        class Reluctant:
            def __init__(self, file: Any) -> None:
                self.file = file

            def write(self, view: memoryview) -> int:
                return int(self.file.write(view[:3]))

            def __getattr__(self, name: str) -> Any:
                return getattr(self.file, name)

        partial._file = Reluctant(partial._file)  # type: ignore[assignment]
        partial.write(b"0123456789")
        partial.settle("new", overwrite=False)
    assert (tmp_path / "new").read_bytes() == b"0123456789"
