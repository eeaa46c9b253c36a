"""Settings of the process that a simulation changes while it is open, and restores: one processor, garbage, Ctrl-C."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from types import FrameType
from typing import Any

__all__ = ["AtExit", "Garbage", "Interrupts", "Pin", "own_processor", "processor_use"]

__engine__ = True


class Pin:
    """Keeps the calling thread, and those it starts, on one processor, where handing the baton over is far cheaper.

    It also asks the system not to let a thread that wakes interrupt the one that woke it (Linux: ``SCHED_BATCH``, which
    needs no privilege). The thread that gets the baton would run at once, find the interpreter's lock taken, and go to
    sleep again: three switches instead of one.

    Source: measured on Linux with ten threads that pass a lock around, in microseconds of processor time for each time:
        8.6 on one processor, 3.9 so with ``SCHED_BATCH``, and 1.0 instead of 3.1 switches.
    """

    def __init__(self) -> None:
        self._before: set[int] | None = None
        self._was_ordinary = False

    def apply(self) -> None:
        """Choose the one on which it runs, since the system spreads what is busy; nothing where it has no such call."""
        if sys.platform != "linux":
            return
        allowed = sorted(os.sched_getaffinity(0))
        try:
            present = _present_processor()
            os.sched_setaffinity(0, {present if present in allowed else allowed[os.getpid() % len(allowed)]})
            self._before = set(allowed)
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
                self._was_ordinary = True
        except OSError:  # not allowed here, in some containers: slower, and otherwise the same
            return

    def undo(self) -> None:
        """Let the calling thread run where and as it did before."""
        if sys.platform != "linux":
            return
        before, self._before = self._before, None
        was_ordinary, self._was_ordinary = self._was_ordinary, False
        try:
            if was_ordinary:
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            if before is not None:
                os.sched_setaffinity(0, before)
        except OSError:
            return


class AtExit:
    """Has a function called if the process ends before this is undone."""

    def __init__(self, notice: Callable[[], None]) -> None:
        self._notice = notice

    def apply(self) -> None:
        """Register it."""
        atexit.register(self._notice)

    def undo(self) -> None:
        """Forget it."""
        atexit.unregister(self._notice)


@contextmanager
def own_processor() -> Iterator[None]:
    """Within the block, keep the calling thread on a processor that no other process has chosen by this.

    The first one that is free is this process's until it ends. Where none is free, or the system has no such call, the
    thread runs where it may. Two processes that choose theirs by their numbers often choose the same one.
    """
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    chosen = _claim(tuple(sorted(before)))
    if chosen is not None:
        os.sched_setaffinity(0, {chosen})
    try:
        yield
    finally:
        if chosen is not None:
            os.sched_setaffinity(0, before)


@lru_cache
def _claim(allowed: tuple[int, ...]) -> int | None:
    """Lock the file of the first processor that has none locked; the system unlocks it when this process ends."""
    import fcntl  # no such module on Windows

    for processor in allowed:
        path = os.path.join(tempfile.gettempdir(), f"meshsync-processor-{os.getuid()}-{processor}.lock")
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
        else:
            return processor
    return None


if sys.platform == "linux":
    os.register_at_fork(after_in_child=_claim.cache_clear)  # The copy has none of its own.


def _present_processor() -> int | None:
    """Return the processor on which the calling thread runs; None if that is not known.

    Source: proc(5), the field ``processor`` of ``stat``, the 39th; the second one may have blanks.
    """
    try:
        with open("/proc/thread-self/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[36])
    except (OSError, ValueError, IndexError):
        return None


class Garbage:
    """Keeps cyclic garbage until an explicit collection: a finalizer would run in the actor that allocates most."""

    def __init__(self) -> None:
        self._was_enabled = False

    def apply(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def undo(self) -> None:
        if self._was_enabled:
            gc.enable()


class Interrupts:
    """Gets Ctrl-C before the program's own handler does, and may keep it for later.

    Args:
        receive: Gets the program's handler, ready to call, and the frame that was interrupted.
        thread: The identifier of the calling thread.
    """

    def __init__(self, receive: Callable[[Callable[[], object], FrameType | None], None], thread: int) -> None:
        self._receive = receive
        self._before: Callable[[int, FrameType | None], Any] | None = None
        self._thread = thread
        self._error: BaseException | None = None
        """What the next signal raises in place of the program's handler."""

    def apply(self) -> None:
        """Step in front of the handler; not if there is none in Python, or in a thread that may not set one."""
        before = signal.getsignal(signal.SIGINT)
        if not callable(before):
            return
        try:
            signal.signal(signal.SIGINT, self._handle)
        except ValueError:
            return
        self._before = before

    def undo(self) -> None:
        """Put the handler back, unless the program has set another one meanwhile."""
        before, self._before = self._before, None
        if before is not None and signal.getsignal(signal.SIGINT) == self._handle:
            try:
                signal.signal(signal.SIGINT, before)
            except ValueError:
                return

    def strike(self, error: BaseException) -> bool:
        """Raise an error in the thread that applied this, as Ctrl-C would, whatever it waits for; any thread may ask.

        Returns:
            Whether that can be done: only Python's main thread handles signals.
        """
        if self._before is None:
            return False
        self._error = error
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(self._thread, signal.SIGINT)
        else:  # Windows: a lock is still waited for, but a sleep is not.
            signal.raise_signal(signal.SIGINT)
        return True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        error, self._error = self._error, None
        if error is not None:
            self._receive(partial(_throw, error), frame)
            return
        before = self._before
        if before is not None:
            self._receive(lambda: before(number, frame), frame)


def _throw(error: BaseException) -> None:
    raise error


def processor_use(native_id: int | None) -> tuple[float, bool]:
    """Return the seconds of processor time that a thread has used, and whether it could use more at this moment.

    Where the system has no such figure, the whole process's time, and False.

    Source: proc(5) of Linux, ``/proc/[pid]/stat``: fields 3 (state), 14 (utime) and 15 (stime).
    """
    if native_id is not None:
        try:
            with open(f"/proc/self/task/{native_id}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), fields[0] == "R"
        except (OSError, ValueError, IndexError):
            pass
    used = os.times()
    return used.user + used.system, False
