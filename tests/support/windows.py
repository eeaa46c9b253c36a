"""A double of Windows for the two packages alone: what they import as `os`, `sys` and so on lacks what is not there.

Loaded by ``pytest -p tests.support.windows``, or imported, before anything of the packages is. Tests, the standard
library and other packages see the system as it is. The doubles refuse what Windows refuses: to remove or rename a file
that this process has open, to rename onto another one, to open a directory, to wait for what is no socket, to handle a
signal that it does not have; and ``os.kill``, which ends the process there whatever it is sent.

What it cannot show: Windows' own event loop, its consoles, its error numbers, and its sockets.

Source: "Availability" in the documentation of the modules, Python 3.13.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import os
import select
import signal
import stat
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

PACKAGES = ("meshsync", "simulator")

MISSING = {
    "os": """
        fork forkpty register_at_fork getuid geteuid getgid getegid getpgrp getpgid setpgid getsid setsid tcgetpgrp
        tcsetpgrp killpg nice uname mkfifo mknod chroot chown fchown lchown openpty wait wait3 wait4 waitid getpriority
        setpriority sched_getaffinity sched_setaffinity sched_getscheduler sched_setscheduler sched_param sched_yield
        SCHED_OTHER SCHED_BATCH SCHED_IDLE posix_spawn pread pwrite readv writev sendfile statvfs fstatvfs getloadavg
        O_NOFOLLOW O_NONBLOCK O_DIRECTORY O_CLOEXEC O_SYNC O_DSYNC O_NOCTTY WIFEXITED WEXITSTATUS WIFSIGNALED WNOHANG
        sysconf confstr pathconf sync fdatasync fchdir getrandom
    """,
    "select": "poll epoll kqueue POLLIN POLLOUT POLLERR POLLHUP POLLPRI EPOLLIN",
    "socket": "AF_UNIX SO_REUSEPORT MSG_DONTWAIT MSG_NOSIGNAL AF_NETLINK AF_PACKET TCP_USER_TIMEOUT TCP_INFO TCP_CORK",
    "signal": """
        SIGHUP SIGQUIT SIGKILL SIGUSR1 SIGUSR2 SIGPIPE SIGALRM SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGWINCH
        alarm setitimer getitimer pause siginterrupt pthread_kill pthread_sigmask sigpending sigwait sigwaitinfo
        sigtimedwait SIG_BLOCK SIG_UNBLOCK SIG_SETMASK ITIMER_REAL
    """,
}
"""Names that the modules do not have there."""

UNKNOWN = ("fcntl", "termios", "resource", "pwd", "grp", "tty", "pty", "readline", "syslog", "posix")
"""Modules that there are none of."""


class Double(ModuleType):
    """A module that lacks some names, and has others of its own; all else is that of the real one."""

    def __init__(self, real: ModuleType, missing: Sequence[str], own: Mapping[str, Any]) -> None:
        super().__init__(real.__name__, real.__doc__)
        vars(self).update(own)
        object.__setattr__(self, "_real", real)
        object.__setattr__(self, "_missing", frozenset(missing))

    def __getattr__(self, name: str) -> Any:
        if name in self._missing:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on Windows")
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)


# --- files ------------------------------------------------------------------------------------------------------------


def _check_closed(path: Any) -> None:
    """Raise as Windows does if this process has a file open."""
    path = os.path.realpath(path)
    for number in os.listdir("/proc/self/fd"):
        try:
            is_open = os.readlink(f"/proc/self/fd/{number}") == path
        except OSError:
            continue
        if is_open:
            raise PermissionError(errno.EACCES, "the file is used by a process", str(path))


def _rename(source: Any, target: Any) -> None:
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "the file exists", str(target))
    _replace(source, target)


def _replace(source: Any, target: Any) -> None:
    _check_closed(source)
    _check_closed(target)
    os.replace(source, target)


def _unlink(path: Any, **options: Any) -> None:
    _check_closed(path)
    os.unlink(path, **options)


def _open(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "it is a directory", str(path))
    return os.open(path, flags, *arguments, **options)


def _open_file(file: Any, *arguments: Any, **options: Any) -> Any:
    if str(file).startswith(("/proc/", "/sys/", "/dev/")):
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(file))
    return builtins.open(file, *arguments, **options)


def _kill(pid: int, number: int) -> None:
    raise AssertionError(f"process {pid} would be ended by {number}")


def _locking(descriptor: int, mode: int, size: int) -> None:
    assert size == 1
    assert os.lseek(descriptor, 0, os.SEEK_CUR) > 2**32, "others could not read what is locked"
    fcntl.flock(descriptor, fcntl.LOCK_UN if mode == 0 else fcntl.LOCK_EX | fcntl.LOCK_NB)


# --- waiting ----------------------------------------------------------------------------------------------------------


def _select(reads: Sequence[Any], writes: Sequence[Any], failed: Sequence[Any], timeout: float | None = None) -> Any:
    for waited in (*reads, *writes, *failed):
        descriptor = waited if isinstance(waited, int) else waited.fileno()
        assert stat.S_ISSOCK(os.fstat(descriptor).st_mode), f"{waited!r} is no socket"
    if not (reads or writes or failed):
        raise OSError(errno.EINVAL, "there is nothing to wait for")
    return select.select(reads, writes, failed, timeout)


def _signal(number: int, handler: Any) -> Any:
    if number not in (signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGINT, signal.SIGSEGV, signal.SIGTERM):
        raise ValueError("invalid signal value")
    return signal.signal(number, handler)


OWN: Mapping[str, Mapping[str, Any]] = {
    "sys": {"platform": "win32"},
    "os": {
        "name": "nt",
        "O_BINARY": 0,
        "rename": _rename,
        "replace": _replace,
        "unlink": _unlink,
        "remove": _unlink,
        "open": _open,
        "kill": _kill,
    },
    "select": {"select": _select},
    "signal": {"signal": _signal},
}


def _doubles() -> dict[str, ModuleType]:
    names = {*MISSING, *OWN}
    doubles: dict[str, ModuleType] = {
        name: Double(__import__(name), MISSING.get(name, "").split(), OWN.get(name, {})) for name in sorted(names)
    }
    locks = ModuleType("msvcrt")
    vars(locks).update(locking=_locking, LK_UNLCK=0, LK_LOCK=1, LK_NBLCK=2)
    return {**doubles, "msvcrt": locks}


DOUBLES = _doubles()


def _import(
    name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] | None = (), level: int = 0
) -> ModuleType:
    """Import as the packages do: the double of a module where there is one."""
    if not level and name in UNKNOWN:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    if not level and name in DOUBLES:
        return DOUBLES[name]
    return builtins.__import__(name, globals, locals, fromlist or (), level)


class Loader(SourceFileLoader):
    """Runs a module whose imports are those of the double."""

    def exec_module(self, module: ModuleType) -> None:
        """Run it."""
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import, "open": _open_file}
        super().exec_module(module)


class Finder(MetaPathFinder):
    """Finds the modules of the two packages."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of theirs, to be run by `Loader`."""
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec


if any(name.partition(".")[0] in PACKAGES for name in sys.modules):
    raise RuntimeError("the packages are imported already, on the system as it is")
sys.meta_path.insert(0, Finder())
