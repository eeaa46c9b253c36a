"""A file in the making: under a temporary name in its directory, under its own when it is whole, or gone.

The temporary name is ``.meshsync-``, 16 hexadecimal digits, ``.part``; one that a killed process left behind may be
deleted. Not the business of this module: whether a name is safe, and the content of the file.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from io import FileIO
from stat import S_ISDIR

from meshsync.runtime.interfaces import Runtime

__all__ = ["PartialFile", "find_folder"]


def find_folder(directory: str | os.PathLike[str], name: str, *, overwrite: bool) -> str:
    """Return the directory's real path, if a file of that name may be stored there.

    Raises:
        NotADirectoryError: If it is no directory; `FileNotFoundError` if there is none, `OSError` if it cannot be read.
        FileExistsError: If there is a file of that name and ``overwrite`` is false, or a directory.
    """
    folder = os.path.realpath(directory)
    if not S_ISDIR(os.stat(folder).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
    with suppress(FileNotFoundError):
        found = os.lstat(os.path.join(folder, name))
        if not overwrite or S_ISDIR(found.st_mode):
            raise _exists(name)
    return folder


class PartialFile:
    """A file under a temporary name, which gets a name of its own when it is complete, or else vanishes.

    Args:
        folder: The directory where it lies.
        runtime: The temporary name is drawn from its entropy.
    """

    def __init__(self, folder: str, runtime: Runtime) -> None:
        self._folder = folder
        self._runtime = runtime
        self._path: str
        self._file: FileIO

    def __enter__(self) -> PartialFile:
        while True:
            self._path = os.path.join(self._folder, f".meshsync-{self._runtime.entropy(8).hex()}.part")
            with suppress(FileExistsError):  # Left behind by a process that was killed, in a run of the same seed.
                self._file = FileIO(_create(self._path), "wb")
                return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        with suppress(OSError):  # Most often it has another name by now.
            os.unlink(self._path)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add data at its end.

        Raises:
            OSError: If the system cannot store it, as on a full disk.
        """
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def settle(self, name: str, *, overwrite: bool) -> None:
        """Give it its name for good, in one step.

        Raises:
            FileExistsError: If there is one of that name and ``overwrite`` is false.
            OSError: If the system cannot store it. The file vanishes at the end of the ``with`` block.
        """
        os.fsync(self._file.fileno())
        self._file.close()
        path = os.path.join(self._folder, name)
        if overwrite:
            os.replace(self._path, path)
        else:
            try:
                _name_anew(self._path, path)
            except FileExistsError:
                raise _exists(name) from None
        _sync_folder(self._folder)


def _create(path: str) -> int:
    # No existing file is opened, not by a link either.
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)


def _name_anew(source: str, target: str) -> None:
    """Give a file another name, in one step, unless a file has it; the old one may stay."""
    if os.name == "nt":
        os.rename(source, target)
        return
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # No links in this file system, or none allowed. For an instant an empty file holds the name.
        os.close(_create(target))
        try:
            os.replace(source, target)
        except BaseException:
            os.unlink(target)
            raise


def _sync_folder(folder: str) -> None:
    # So that the name, too, outlives a power failure. Not every system can.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _exists(name: str) -> FileExistsError:
    # Without the directory, which is no business of the sender's: an accept callback's error is sent to it.
    return FileExistsError(errno.EEXIST, "there is a file of that name already", name)
