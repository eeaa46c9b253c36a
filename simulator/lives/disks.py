"""Directories that outlive the lives of programs, and what of their files counts when a life is ended by force.

They are real directories, below one that is removed when the simulation ends. What a program has written counts when
the operating system has it: from ``flush`` or ``close`` on if the process crashes, from ``os.fsync`` on if the machine
does. A crash takes a picture of each disk before the life unwinds, and restores that when it has: what a ``finally``
block, a ``with`` or the end of a file object writes, flushes, renames or removes is undone.

A name counts at once (a file made, renamed or removed), as on a file system that keeps a journal of these; its content
does not. So a file that was never synchronized is there after a crash of its machine, and empty.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Disks"]

_SYNCS = ("fsync", "fdatasync")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


@dataclass(slots=True)
class _Disk:
    path: Path
    owner: str
    """The program on whose machine it is."""
    synced: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """The content of each file when it was last synchronized, by device and inode."""
    kept: list[int] = field(default_factory=list)
    """Descriptors of these files, so that the system gives no other file the inode of one that was removed."""

    def forget(self) -> None:
        """Forget what was synchronized."""
        for descriptor in self.kept:
            os.close(descriptor)
        self.kept.clear()
        self.synced.clear()


@dataclass(slots=True)
class _Picture:
    """A disk at the instant of a crash."""

    disk: _Disk
    copy: Path
    is_own: bool
    """Whether it belongs to the program that crashed, whose files that are open write to it no more."""
    synced: dict[str, bytes]
    """What was synchronized, by path within the disk."""


class Disks:
    """The disks of one simulation, by name."""

    def __init__(self) -> None:
        self._disks: dict[str, _Disk] = {}
        self._root: Path | None = None
        self._pictures = 0
        self._replaced: dict[str, tuple[Any, Any]] = {}
        """Of each function that synchronizes: what was there before, and what is there now."""

    def get(self, name: str, owner: str | None) -> Path:
        """Return the directory of that name, made now unless it exists.

        Args:
            owner: The program on whose machine it is, for a new one; None for the one that has the disk's name.
        Raises:
            ValueError: If the disk is there, and belongs to another.
        """
        disk = self._disks.get(name)
        if disk is None:
            if self._root is None:
                self._root = Path(tempfile.mkdtemp(prefix="simulation-"))
                self._watch_syncs()
            plain = "".join(c if c in _PLAIN else "_" for c in name)[:60]
            path = self._root / f"{len(self._disks)}-{plain}"
            path.mkdir()
            disk = self._disks[name] = _Disk(path, name if owner is None else owner)
        elif owner is not None and owner != disk.owner:
            raise ValueError(f"of: disk {name!r} belongs to {disk.owner!r} already, not to {owner!r:.100}")
        return disk.path

    def picture(self, program: str, *, is_machine: bool) -> Callable[[], None]:
        """Take a picture of all disks, at the instant at which a life of a program is ended; return what restores it.

        Args:
            is_machine: Whether what was not synchronized is lost on the program's own disks.
        """
        pictures = [self._take(disk, disk.owner == program, is_machine) for disk in self._disks.values()]

        def restore() -> None:
            for picture in pictures:
                _restore(picture)

        return restore

    def close(self) -> None:
        """Remove all disks."""
        for name, (before, new) in self._replaced.items():
            if getattr(os, name) is new:
                setattr(os, name, before)
        for disk in self._disks.values():
            disk.forget()
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)

    # --- pictures -----------------------------------------------------------------------------------------------------

    def _take(self, disk: _Disk, is_own: bool, is_machine: bool) -> _Picture:
        assert self._root is not None
        self._pictures += 1
        copy = self._root / f"picture-{self._pictures}"
        synced: dict[str, bytes] = {}
        copy.mkdir()
        for path in _walk(disk.path):
            name = path.relative_to(disk.path)
            status = path.lstat()
            content = disk.synced.get((status.st_dev, status.st_ino))
            if content is not None:
                synced[str(name)] = content
            _copy(path, copy / name)
            if is_own and is_machine and stat.S_ISREG(status.st_mode):
                (copy / name).write_bytes(content or b"")
        return _Picture(disk, copy, is_own, synced)

    # --- what is synchronized -----------------------------------------------------------------------------------------

    def _watch_syncs(self) -> None:
        for name in _SYNCS:
            before = getattr(os, name, None)
            if before is not None:
                new = self._noting(before)
                self._replaced[name] = before, new
                setattr(os, name, new)

    def _noting(self, sync: Callable[[Any], None]) -> Callable[[Any], None]:
        def noting(fd: Any) -> None:
            sync(fd)
            self._note(fd if isinstance(fd, int) else fd.fileno())

        return noting

    def _note(self, descriptor: int) -> None:
        """Note the content of a file that was synchronized, if it is on one of the disks."""
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return
        for disk in self._disks.values():
            for path in _walk(disk.path):
                here = path.lstat()
                key = here.st_dev, here.st_ino
                if key == (status.st_dev, status.st_ino):
                    if key not in disk.synced:
                        disk.kept.append(os.dup(descriptor))
                    disk.synced[key] = path.read_bytes()
                    return


def _walk(directory: Path) -> Iterator[Path]:
    """Yield everything below a directory, each directory before what is in it, in the order of names."""
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        path = Path(entry.path)
        yield path
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path)


def _copy(path: Path, to: Path) -> None:
    """Copy a file, a link, or a directory without what is in it; leave out what is neither, such as a socket."""
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        to.mkdir()
    elif stat.S_ISLNK(mode) or stat.S_ISREG(mode):
        shutil.copy2(path, to, follow_symlinks=False)


def _restore(picture: _Picture) -> None:
    disk, copy = picture.disk, picture.copy
    for path in reversed([*_walk(disk.path)]):
        # Each file of its own disks is another one from here on: files that are still open write to the old ones.
        if picture.is_own or _kind(path) != _kind(copy / path.relative_to(disk.path)):
            if _kind(path) == stat.S_IFDIR:
                shutil.rmtree(path)
            else:
                path.unlink()
    for path in [*_walk(copy)]:
        there = disk.path / path.relative_to(copy)
        if not os.path.lexists(there):
            _copy(path, there)
        elif _kind(path) == stat.S_IFREG and not filecmp.cmp(path, there, shallow=False):
            there.write_bytes(path.read_bytes())  # The same file as before: other programs may have it open.
    shutil.rmtree(copy)
    if picture.is_own:
        disk.forget()
        for name, content in picture.synced.items():
            there = disk.path / name
            status = there.lstat()
            disk.kept.append(os.open(there, os.O_RDONLY))
            disk.synced[status.st_dev, status.st_ino] = content


def _kind(path: Path) -> int:
    """Return the kind of what is there: a file, a directory, a link; 0 for nothing."""
    return stat.S_IFMT(path.lstat().st_mode) if os.path.lexists(path) else 0
