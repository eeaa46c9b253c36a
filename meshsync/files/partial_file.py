"""A file in the making: under a temporary name in its directory, under its own when it is whole, or gone.

The temporary name is ``.meshsync-``, 16 hexadecimal digits, ``.part``. With a key the digits are made from it, so that
the next transfer with this key finds what an earlier one left; without, they are drawn. Any such file may be deleted
while nothing is received. Not the business of this module: whether a name is safe, and the content of the file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from io import FileIO
from stat import S_ISDIR

from meshsync.files.exclusive import open_exclusively
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


_holders: dict[str, PartialFile] = {}
"""The transfers of this process that have the file for their key, by its path; each change is one operation."""


class PartialFile:
    """A file under a temporary name, which gets a name of its own when it is complete, or else vanishes.

    Args:
        folder: The directory where it lies.
        runtime: The temporary name is drawn from its entropy.
        key: Transfers with the same key in the same folder are of the same file: one goes on where the other stopped.
            While one has the file, others begin one of their own. None for a transfer that never goes on.
        is_abandoned: Whether nothing more may come for this one, so that another with its key may take the file over.
    """

    def __init__(
        self,
        folder: str,
        runtime: Runtime,
        key: str | None = None,
        is_abandoned: Callable[[], bool] = lambda: False,
    ) -> None:
        self.size_found: int = 0
        """Bytes that an earlier transfer left; reading and writing begin at the first of them."""
        self._folder = folder
        self._runtime = runtime
        self._key = key
        self._has_key = False
        """Whether the file is the one for the key."""
        self._is_kept = False
        self._is_gone = False
        """Whether the temporary name is free again, so that it may be another transfer's by now."""
        self._is_abandoned = is_abandoned
        self._lock = runtime.condition()
        """Held to write, and to take the file from this transfer."""
        self._path: str
        self._file: FileIO

    def __enter__(self) -> PartialFile:
        if self._key is not None:
            self._path = self._path_of(sha256(self._key.encode("utf-8", "surrogatepass")).hexdigest()[:16])
            found = open_exclusively(self._path)
            holder = _holders.get(self._path)
            if found is None and holder is not None and holder._give_up():
                found = open_exclusively(self._path)
            if found is not None:
                self._file, self._has_key = found, True
                _holders[self._path] = self
                self.size_found = os.fstat(found.fileno()).st_size
                return self
        while True:
            self._path = self._path_of(self._runtime.entropy(8).hex())
            with suppress(FileExistsError):  # Left behind by a process that was killed, in a run of the same seed.
                self._file = FileIO(_create(self._path), "wb")
                return self

    def _path_of(self, digits: str) -> str:
        return os.path.join(self._folder, f".meshsync-{digits}.part")

    def _give_up(self) -> bool:
        """Leave the file to another transfer, if nothing more may come for this one; return whether that is so."""
        if not self._is_abandoned():
            return False
        with self._lock:
            self._is_gone = True
            self._file.close()
        return True

    def __exit__(self, *exception: object) -> None:
        if self._has_key and _holders.get(self._path) is self:
            del _holders[self._path]
        with suppress(OSError):
            if not self._is_gone and not (self._is_kept and os.fstat(self._file.fileno()).st_size):
                if os.name == "nt":
                    self._file.close()  # Windows removes no open file. Elsewhere it is locked until it is gone.
                os.unlink(self._path)
        self._file.close()

    def keep(self) -> None:
        """Let the next transfer with the key find it, if there is one, at the end of the ``with`` block."""
        self._is_kept = self._has_key

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes of what was found; none at its end."""
        return self._file.read(size)

    def cut(self, size: int) -> None:
        """Keep that many bytes of what was found, and write on behind them."""
        self._file.truncate(size)
        self._file.seek(size)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add data at its end.

        Raises:
            OSError: If the system cannot store it, as on a full disk.
        """
        view = memoryview(data)
        with self._lock:
            if self._file.closed:
                raise OSError(errno.ESTALE, "a later transfer of the same file has taken it over")
            while True:
                if not view:
                    return
                view = view[self._file.write(view) :]

    def settle(self, name: str, *, overwrite: bool) -> None:
        """Give it its name for good, in one step.

        Raises:
            FileExistsError: If there is one of that name and ``overwrite`` is false.
            OSError: If the system cannot store it. The file vanishes at the end of the ``with`` block.
        """
        os.fsync(self._file.fileno())
        if os.name == "nt":
            self._file.close()  # Windows renames no open file. Elsewhere its lock is kept until it has its name.
        path = os.path.join(self._folder, name)
        if overwrite:
            os.replace(self._path, path)
            self._is_gone = True
        else:
            try:
                self._is_gone = _name_anew(self._path, path)
            except FileExistsError:
                raise _exists(name) from None
        _sync_folder(self._folder)


def _create(path: str) -> int:
    # No existing file is opened, not by a link either.
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)


def _name_anew(source: str, target: str) -> bool:
    """Give a file another name, in one step, unless a file has it; return whether the old one is gone."""
    if os.name == "nt":
        os.rename(source, target)
        return True
    try:
        os.link(source, target)
        return False
    except FileExistsError:
        raise
    except OSError:  # No links in this file system, or none allowed. For an instant an empty file holds the name.
        os.close(_create(target))
        try:
            os.replace(source, target)
        except BaseException:
            os.unlink(target)
            raise
        return True


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
