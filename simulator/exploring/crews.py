"""The workers of a sweep: an executor that is given, made by a factory, or made here; and how it is made anew.

What the jobs are, and in which order they are reported, is not this module's business.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, Literal, Protocol, TypeAlias, cast, runtime_checkable

from meshsync.errors import UsageError

__all__ = ["PROCESSES", "Crew", "DaskClient", "Workers", "crew_of", "pool", "processors"]

PROCESSES = "processes"
"""Stands for as many processes as there are processors."""


@runtime_checkable
class DaskClient(Protocol):
    """A client of Dask, as far as it is needed here."""

    def get_executor(self, **options: Any) -> Executor:
        """Return an executor that runs on the workers of the cluster."""
        ...


Workers: TypeAlias = "str | Executor | DaskClient | Callable[[], Executor | DaskClient]"
"""``"processes"``, an executor of processes, a client of Dask, or a callable that makes one of these."""


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class Crew:
    """Workers that do jobs.

    Args:
        executor: Their executor; None to make it.
        make: Makes another one, when the last is broken; None if that cannot be done.
        is_own: Whether the executor is closed with the crew, as one that was made always is.
    """

    def __init__(
        self, executor: Executor | None, *, make: Callable[[], Executor] | None = None, is_own: bool = False
    ) -> None:
        self._make = make
        self._is_own = is_own
        if executor is None:
            assert make is not None
            executor, self._is_own = make(), True
        self._executor = executor
        self._greeting: Future[dict[str, Any]] | None = None

    @property
    def workers(self) -> int:
        """How many jobs can run at a time, as far as is known."""
        client = getattr(self._executor, "_client", None)
        if client is not None:
            return max(1, int(sum(client.nthreads().values())))
        # Not public in the standard library, though each executor there and loky's have it.
        return int(getattr(self._executor, "_max_workers", None) or processors())

    def begin(self) -> Future[dict[str, Any]]:
        """Have the workers start, unless they have; return what is done as soon as one of them answers."""
        if self._greeting is None:
            # A pool of processes that begin anew starts one for each call for which none is idle.
            number = self.workers if isinstance(self._executor, _Pool) else 1
            try:
                self._greeting = [self._executor.submit(_greet, "") for _ in range(number)][-1]
            except Exception as error:  # Whatever an executor raises that takes no jobs.
                self._greeting = Future()
                self._greeting.set_exception(error)
        return self._greeting

    def submit(self, function: Callable[[str], dict[str, Any]], text: str) -> Future[dict[str, Any]]:
        """Have a worker call a function, sometime."""
        return self._executor.submit(function, text)

    def make_anew(self) -> bool:
        """Replace an executor that is broken; return whether that can be done."""
        if self._make is None:
            return False
        if self._is_own:
            self._close(is_idle=False)
        self._executor, self._is_own, self._greeting = self._make(), True, None
        return True

    def cause_of_death(self, error: BaseException) -> str:
        """Return how a worker ended, as far as is known, after the executor broke with an error."""
        if isinstance(self._executor, _Pool):
            return self._executor.cause_of_death()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # Of loky's text this line has the statuses, behind others about what may have been the cause.
        return next((line for line in lines if "exit codes" in line), lines[0] if lines else type(error).__name__)

    def close(self, *, is_idle: bool) -> None:
        """Stop the workers, in the midst of their jobs unless they have none. An executor that was given stays.

        Closing again does nothing.
        """
        if self._is_own:
            self._is_own = False
            self._close(is_idle=is_idle)

    def _close(self, is_idle: bool) -> None:
        if is_idle:
            self._executor.shutdown()
        elif isinstance(self._executor, _Pool):
            self._executor.kill()
        elif _is_loky(self._executor):
            self._executor.shutdown(kill_workers=True)  # type: ignore[call-arg]
        else:
            self._executor.shutdown(wait=False)  # Dask's has no other argument; the sweep has taken back its jobs.
        if (client := getattr(self._executor, "_client", None)) is not None:
            client.close()


def _greet(text: str) -> dict[str, Any]:
    """Return an empty answer, for a sign that there is a worker."""
    return {}


def crew_of(workers: Workers, most: int | None = None) -> Crew:
    """Return the crew of an executor.

    Args:
        most: How many jobs there will be; None if that is not known.
    Raises:
        UsageError: If it is none that can be used, as one of threads.
    """
    if workers == PROCESSES:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise UsageError("explore() while its program is imported: put the call under if __name__ == '__main__'")
        number = processors() if most is None else min(processors(), max(1, most))
        return Crew(None, make=lambda: pool(number))
    if isinstance(workers, (Executor, DaskClient)):
        executor = _as_executor(workers)
        return Crew(executor, make=_maker_of_loky(executor) if _is_loky(executor) else None)
    if callable(workers):
        factory = workers
        return Crew(None, make=lambda: _as_executor(factory()))
    raise UsageError(f"executor is {PROCESSES!r}, an executor, a client of Dask, or a factory, not {workers!r:.100}")


def _as_executor(made: object) -> Executor:
    if isinstance(made, DaskClient):
        return made.get_executor(pure=False)
    if isinstance(made, ThreadPoolExecutor):
        raise UsageError("an executor of threads makes nothing faster: a process runs one simulation at a time")
    if not isinstance(made, Executor):
        raise UsageError(f"the factory made no executor, but {made!r:.100}")
    return made


# --- loky -------------------------------------------------------------------------------------------------------------


def _is_loky(executor: Executor) -> bool:
    return type(executor).__module__.partition(".")[0] == "loky"


def _maker_of_loky(executor: Executor) -> Callable[[], Executor]:
    import loky

    number = getattr(executor, "_max_workers", None)

    def make() -> Executor:
        made: Executor
        if isinstance(executor, loky.ProcessPoolExecutor) and type(executor) is loky.ProcessPoolExecutor:
            made = loky.ProcessPoolExecutor(number)
        else:
            made = loky.get_reusable_executor(max_workers=number, reuse=True)
        return made

    return make


# --- processes --------------------------------------------------------------------------------------------------------


def pool(workers: int) -> Executor:
    """Return an executor of so many processes."""
    return _Pool(workers)


class _Pool(ProcessPoolExecutor):
    """A pool of processes that can be killed, and of which one can say how they ended.

    They are copies of this process where that is whole, which takes milliseconds. Else they begin anew and import all
    that they need, in tenths of a second.
    """

    def __init__(self, workers: int) -> None:
        self._context = _Context("fork" if _is_whole_when_copied() else "spawn")
        super().__init__(workers, mp_context=cast(BaseContext, self._context), initializer=_begin)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a worker call a function; what is started for that, Ctrl-C does not reach."""
        if sys.platform == "win32":
            return super().submit(fn, *args, **kwargs)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(fn, *args, **kwargs)  # Processes and threads inherit what is blocked.
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def kill(self) -> None:
        """Kill the workers, and wait until they are gone."""
        for process in self._context.started:
            if process.is_alive():
                process.kill()
        self.shutdown()

    def cause_of_death(self) -> str:
        """Return how the worker ended that broke the pool, which then terminates the others."""
        self.shutdown()  # Which waits for the processes.
        codes = [process.exitcode for process in self._context.started if process.exitcode]
        code = next((code for code in codes if code != -signal.SIGTERM), codes[0] if codes else None)
        if code is None:
            return "unknown"
        if code < 0:
            return f"{signal.Signals(-code).name}"
        return f"exit status {code}"


class _Context:
    """A context of multiprocessing that keeps the processes that it makes."""

    def __init__(self, method: Literal["fork", "spawn"]) -> None:
        self._context: Any = multiprocessing.get_context(method)
        self.started: list[BaseProcess] = []

    def Process(self, *args: Any, **options: Any) -> BaseProcess:
        process: BaseProcess = self._context.Process(*args, **options)
        self.started.append(process)
        return process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def _is_whole_when_copied() -> bool:
    """Return whether one thread alone runs in this process, those of libraries in C included.

    Else a copy has locks that its threads hold, which are not there to release them. False where that is not known.
    """
    if sys.platform != "linux" or sys.version_info < (3, 10, 3):  # Before, executors fork behind a thread of their own.
        return False
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _begin() -> None:
    """Have a worker leave Ctrl-C to the driver, which stops it, and do nothing of the driver's own on other signals.

    By a handler, since the simulation cuts a thread that blocks by the same signal, and that needs one.
    """
    signal.signal(signal.SIGINT, _leave_it)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    _end_with_driver()
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _end_with_driver() -> None:
    """Have this process killed when the driver's is; it would wait for jobs for ever. Linux alone has such a call.

    Source: prctl(2), ``PR_SET_PDEATHSIG``; the signal comes when the thread ends that started this process, which is
        the one that waits for its jobs. None comes for a driver that ended before the call.
    """
    if sys.platform == "linux":
        with suppress(ImportError, OSError, AttributeError):
            import ctypes  # not in every Python

            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
            driver = multiprocessing.parent_process()
            if driver is not None and os.getppid() != driver.pid:
                os.kill(os.getpid(), signal.SIGKILL)


def _leave_it(number: int, frame: object) -> None:
    return
