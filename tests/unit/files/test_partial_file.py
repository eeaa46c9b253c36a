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


# --- parts that are kept ----------------------------------------------------------------------------------------------


def leave(folder: Path, key: str = "k", data: bytes = b"data") -> None:
    """Leave a part."""
    with PartialFile(os.fspath(folder), REAL, key) as partial:
        partial.write(data)
        partial.keep()


def test_a_part_that_is_kept_is_found_by_its_key(tmp_path: Path) -> None:
    """To read, to cut, and to write on behind."""
    leave(tmp_path)
    with PartialFile(os.fspath(tmp_path), REAL, "other") as partial:
        assert partial.size_found == 0
    with PartialFile(os.fspath(tmp_path), REAL, "k") as partial:
        assert (partial.size_found, partial.read(3), partial.read(3), partial.read(3)) == (4, b"dat", b"a", b"")
        partial.cut(2)
        partial.write(b"xyz")
        partial.settle("new", overwrite=False)
    assert os.listdir(tmp_path) == ["new"]
    assert (tmp_path / "new").read_bytes() == b"daxyz"


def test_a_part_vanishes_unless_it_is_kept(tmp_path: Path) -> None:
    """An empty one, and one without a key, which nobody would find, vanish anyway."""
    leave(tmp_path)
    with PartialFile(os.fspath(tmp_path), REAL, "k"):
        pass
    leave(tmp_path, data=b"")
    with PartialFile(os.fspath(tmp_path), REAL) as partial:
        partial.write(b"data")
        partial.keep()
    assert os.listdir(tmp_path) == []


def test_while_a_part_is_in_use_others_have_their_own(tmp_path: Path) -> None:
    """What ends first is of the whole name, and the other stays what it is."""
    leave(tmp_path)
    folder = os.fspath(tmp_path)
    with PartialFile(folder, REAL, "k") as first, PartialFile(folder, REAL, "k") as second:
        assert (first.size_found, second.size_found) == (4, 0)
        second.write(b"second")
        second.keep()
        second.settle("second", overwrite=False)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"second"]


@POSIX
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_part_of_another_transfer_that_begins_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    """Once the whole file has its name, the temporary one may be the next transfer's."""
    monkeypatch.setattr(os, "link", no_links)
    folder = os.fspath(tmp_path)
    with PartialFile(folder, REAL, "k") as first:
        first.write(b"first")
        first.settle("new", overwrite=overwrite)
        leave(tmp_path, data=b"second")
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"first", b"second"]


def test_the_name_of_a_part_does_not_depend_on_the_run(tmp_path: Path) -> None:
    """Another process finds it, and nobody reads in it who sends what."""
    leave(tmp_path, key="alice\nfilm.mp4")
    assert os.listdir(tmp_path) == [".meshsync-8a5b0b8c5b3309f0.part"]
