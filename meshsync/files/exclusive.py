"""A file for one transfer alone, across processes: opened, or found as an earlier one left it, and locked.

The system gives the lock back when the file is closed, however its process ends, so that a killed one bars nobody.
Not the business of this module: what the file is called, and what is in it.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import FileIO
from stat import S_ISREG

__all__ = ["open_exclusively"]

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # A byte far behind the end: the lock of a byte that is there would keep others from reading it.
        os.lseek(descriptor, 2**40, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        # Of ``lockf`` two opened files of one process would not notice each other.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_ATTEMPTS = 10
"""Another process may remove the file between its opening and its lock; it does so once in a transfer."""
_OPTIONAL = ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK")
_FLAGS = os.O_RDWR | os.O_CREAT | sum(getattr(os, name, 0) for name in _OPTIONAL)
"""Following no link; and not blocking, since to open a pipe might wait for its other end."""


def open_exclusively(path: str) -> FileIO | None:
    """Open a file to read and write it, made if there is none; None if it cannot be this caller's alone.

    Another transfer has it then, or it is a link, another user's or no file, or the file system has no locks.
    """
    for _ in range(_ATTEMPTS):
        try:
            file = FileIO(os.open(path, _FLAGS, 0o666), "r+b")
        except OSError:
            return None
        try:
            is_left = _can_be_left(file) and _is_locked(file)
            if is_left and _is_there(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()
        if not is_left:
            return None
    return None


def _can_be_left(file: FileIO) -> bool:
    """Return whether an earlier transfer of this user may have left it, rather than another user for us to fill."""
    found = os.fstat(file.fileno())
    return S_ISREG(found.st_mode) and (not hasattr(os, "geteuid") or found.st_uid == os.geteuid())


def _is_locked(file: FileIO) -> bool:
    try:
        _lock(file.fileno())
    except OSError:
        return False
    return True


def _is_there(file: FileIO, path: str) -> bool:
    """Return whether the locked file still has that name, and no other."""
    found = os.fstat(file.fileno())
    with suppress(OSError):
        if not os.path.samestat(os.lstat(path), found):
            return False
        if found.st_nlink == 1:
            return True
        # A process was killed when it had given the whole file its own name, too: to write to it would change that.
        os.unlink(path)
    return False
