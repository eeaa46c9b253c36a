"""Refuses waits by the real clock whose time runs out in an actor: no virtual time has passed, so the run is wrong.

While a simulation is open, Python's own waits with a time limit are replaced by ones that look at who calls. In an
actor that has its turn, one that ends because its time is over raises `BlockingRefused`, with the line and the portable
spelling. One that got what it waited for is left alone, as is everything in other threads: what a pool outside the
simulation computes does not depend on how long it takes. A wait without a limit, or longer than the watchdog's
patience, is the watchdog's business.

Replaced are ``threading.Condition.wait``, on which events, queues, barriers, semaphores, futures and timers are built;
``select`` of `selectors`, in which event loops wait; ``time.sleep``; and for locks and simple queues, whose classes are
written in C and cannot be changed, the names under which programs make them. A program's module may have imported such
a name before, or made a lock; both are found there. All of them only call others, so Ctrl-C and the watchdog may cut
them.
"""

from __future__ import annotations

import queue
import selectors
import sys
import threading
import time
from _thread import get_ident
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from simulator.engine import diagnosis, mistakes
from simulator.engine.lives import refuse_doomed
from simulator.engine.marks import interruptible
from simulator.engine.scheduler import Scheduler

if TYPE_CHECKING:
    from threading import _RLock
else:
    from _thread import RLock as _RLock

__all__ = ["RealWaits", "check_timer"]

__engine__ = True

_SPELLINGS = {
    "Barrier": "meshsync.Barrier",
    "BoundedSemaphore": "meshsync.Semaphore",
    "Condition": "meshsync.condition",
    "Event": "meshsync.Event",
    "Future": "meshsync.spawn and meshsync.Queue",
    "LifoQueue": "meshsync.Queue",
    "PriorityQueue": "meshsync.Queue",
    "Queue": "meshsync.Queue",
    "Semaphore": "meshsync.Semaphore",
}
"""What stands in for each class of the standard library that waits."""

_real_wait = threading.Condition.wait
_real_sleep = time.sleep
_RealLock: Any = threading.Lock
_RealRLock: Any = threading.RLock
_RealSimpleQueue: Any = queue.SimpleQueue


class RealWaits:
    """Has the waits of actors looked at while a simulation is open.

    Args:
        is_main_watched: Returns whether the creating thread is in the program, where it is an actor like others.
    """

    def __init__(self, scheduler: Scheduler, is_main_watched: Callable[[], bool]) -> None:
        self.scheduler = scheduler
        self._is_main_watched = is_main_watched
        self._replaced: list[tuple[Any, str, object, object]] = []
        """Owner and name of each, what was there before, and what is there now."""

    def apply(self) -> None:
        """Put the replacements in place."""
        global _open
        _open = self
        for owner, name, new in _REPLACEMENTS:
            self._replace(owner, name, new)
        for module, name, new in _imported():
            self._replace(module, name, new)

    def _replace(self, owner: Any, name: str, new: object) -> None:
        self._replaced.append((owner, name, vars(owner)[name], new))  # Not what inheritance or a module's hook gives.
        setattr(owner, name, new)

    def undo(self) -> None:
        """Restore what was there, unless another has been put there meanwhile."""
        global _open
        _open = None
        for owner, name, before, new in self._replaced:
            if vars(owner).get(name) is new:
                setattr(owner, name, before)
        self._replaced.clear()

    def is_actor(self) -> bool:
        """Return whether the caller is an actor that has its turn, and may not wait for real."""
        scheduler = self.scheduler
        running = scheduler.running
        if running.ident != get_ident() or scheduler.is_over:
            return False
        return running is not scheduler.main or self._is_main_watched()

    def refuse(self, wait: str, portable: str) -> None:
        """Raise for a wait of an actor that is over, here and in the main thread: a program may catch it here.

        Raises:
            BlockingRefused: With the line.
        """
        scheduler = self.scheduler
        error = mistakes.waits_for_real(scheduler.running, wait, portable)
        if scheduler.running is not scheduler.main and not scheduler.in_callback:
            scheduler.summon(error)
        raise error


_open: RealWaits | None = None


def _begin() -> None:
    """Refuse any wait, before it begins, of an actor whose life is over."""
    if _open is not None:
        refuse_doomed(_open.scheduler)


def _ran_out(wait: str, seconds: float | None, portable: str) -> None:
    """Refuse a wait whose time is over, if an actor waited; one of no length is a look, and no wait."""
    if _open is not None and seconds is not None and seconds > 0 and _open.is_actor():
        _open.refuse(f"{wait} of {seconds:g} s", portable)


def check_timer(thread: threading.Thread) -> None:
    """Refuse a `threading.Timer` that an actor starts.

    Raises:
        BlockingRefused: With the line.
    """
    if isinstance(thread, threading.Timer) and _open is not None:
        _open.refuse(f"a threading.Timer of {thread.interval:g} s", "meshsync.spawn and meshsync.sleep")


def _waits_as(frame: FrameType | None) -> tuple[str, str]:
    """Return which class of the standard library waits on a condition, as a program named it, and what is portable."""
    found = ("a threading.Condition", "meshsync.condition")
    while frame is not None and diagnosis.is_standard(frame):
        kind = type(frame.f_locals.get("self"))
        if kind.__name__ in _SPELLINGS and kind.__module__.split(".")[0] in ("threading", "queue", "concurrent"):
            found = (f"a wait for a {kind.__module__}.{kind.__name__}", _SPELLINGS[kind.__name__])
        frame = frame.f_back
    return found


@interruptible
def _wait(condition: threading.Condition, timeout: float | None = None) -> bool:
    """Be ``threading.Condition.wait``."""
    _begin()
    if _real_wait(condition, timeout):
        return True
    if _open is not None and timeout is not None and timeout > 0:
        wait, portable = _waits_as(sys._getframe(1))
        _ran_out(wait, timeout, portable)
    return False


@interruptible
def _sleep(seconds: float, /) -> None:
    """Be ``time.sleep``."""
    _begin()
    _real_sleep(seconds)
    if _open is not None and not diagnosis.is_standard(sys._getframe(1)):
        _ran_out("time.sleep", seconds, "meshsync.sleep")


class _SimpleQueue(_RealSimpleQueue):  # type: ignore[misc]
    """A `queue.SimpleQueue` that looks at who waits."""

    @interruptible
    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        _begin()
        try:
            return super().get(block, timeout)
        except queue.Empty:
            if block:
                _ran_out("a wait for a queue.SimpleQueue", timeout, "meshsync.Queue")
            raise


class _RLockOfActor(_RLock):  # type: ignore[misc]
    """A `threading.RLock` that looks at who waits."""

    @interruptible
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        _begin()
        got = super().acquire(blocking, timeout)
        if not got and blocking:
            _ran_out("a wait for a threading.RLock", timeout, "meshsync.RLock")
        return got


def _rlock(*arguments: Any, **named: Any) -> Any:
    """Be ``threading.RLock``."""
    return _RLockOfActor() if _is_programs() else _RealRLock(*arguments, **named)


def _is_programs() -> bool:
    """Return whether the caller's caller is the program, in an actor."""
    return _open is not None and not diagnosis.is_standard(sys._getframe(2)) and _open.is_actor()


_LOCK_TYPE = type(_RealLock())


class _KindOfLock(type):
    """Makes real locks for all but actors, and says of each that it is one; ``threading.Lock`` may be a class."""

    def __call__(cls) -> Any:
        return cls.around(None) if _is_programs() else _RealLock()

    def around(cls, lock: object) -> Any:
        """Return one that looks at who waits for a real lock."""
        return super().__call__(lock)

    def __instancecheck__(cls, thing: object) -> bool:
        return isinstance(thing, _LOCK_TYPE) or super().__instancecheck__(thing)


class _LockOfActor(metaclass=_KindOfLock):
    """A `threading.Lock` that looks at who waits."""

    __slots__ = ("__weakref__", "_at_fork_reinit", "_lock", "locked", "release")

    def __init__(self, lock: Any = None) -> None:
        self._lock = lock = _RealLock() if lock is None else lock
        self.release = lock.release
        self.locked = lock.locked
        self._at_fork_reinit = lock._at_fork_reinit

    @interruptible
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        _begin()
        got: bool = self._lock.acquire(blocking, timeout)
        if not got and blocking:
            _ran_out("a wait for a threading.Lock", timeout, "meshsync.Lock")
        return got

    @interruptible
    def __enter__(self) -> bool:
        _begin()
        got: bool = self._lock.__enter__()
        return got

    def __exit__(self, *details: object) -> None:
        self._lock.release()

    def __repr__(self) -> str:
        return repr(self._lock)


# --- event loops ------------------------------------------------------------------------------------------------------


def _selecting(select: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Return what replaces the ``select`` of a class."""

    @interruptible
    def looking(selector: Any, timeout: float | None = None) -> list[Any]:
        _begin()
        ready = select(selector, timeout)
        if not ready and _open is not None:
            _ran_out("a wait of an event loop or a selector", timeout, "meshsync.sleep, outside of asyncio")
        return ready

    return looking


_SELECTORS = [
    kind
    for kind in vars(selectors).values()
    if isinstance(kind, type) and issubclass(kind, selectors.BaseSelector) and "select" in vars(kind)
]

_REPLACEMENTS: list[tuple[object, str, object]] = [
    (time, "sleep", _sleep),
    (threading, "Lock", _LockOfActor),
    (threading, "RLock", _rlock),
    (queue, "SimpleQueue", _SimpleQueue),
    (threading.Condition, "wait", _wait),
    *((kind, "select", _selecting(vars(kind)["select"])) for kind in dict.fromkeys(_SELECTORS)),
]

# --- names that a program's modules have imported ---------------------------------------------------------------------

_OTHERS = sys.stdlib_module_names | {"meshsync", "simulator"}
"""The packages that are not the program's, nor a library's that it calls."""
_known: set[str] = set()
"""The modules that were looked through; each is only once, but the one that is run, which may import more."""
_found: dict[tuple[str, str], tuple[object, object]] = {}
"""By module and name in it: what it stands for there, and what replaces that."""
_ORIGINALS = {
    id(before): (before, new)
    for before, new in [
        (_real_sleep, _sleep),
        (_RealLock, _LockOfActor),
        (_RealRLock, _rlock),
        (_RealSimpleQueue, _SimpleQueue),
    ]
}


def _imported() -> list[tuple[object, str, object]]:
    """Return the names in programs' modules that stand for something to replace: owner, name, replacement."""
    if len(sys.modules) != len(_known):
        for name in [name for name in sys.modules if name not in _known]:
            _known.add(name)
            if name.partition(".")[0] not in _OTHERS:
                _look_through(name)
        _known.intersection_update(sys.modules)
    _look_through("__main__")
    places = [(sys.modules.get(module), name, before, new) for (module, name), (before, new) in _found.items()]
    return [(module, name, new) for module, name, before, new in places if _members(module).get(name) is before]


def _look_through(module: str) -> None:
    for name, value in list(_members(sys.modules.get(module)).items()):
        original = _ORIGINALS.get(id(value))
        if original is not None:
            _found[module, name] = original
        elif type(value) is _LOCK_TYPE:
            _found[module, name] = value, _LockOfActor.around(value)


def _members(module: object) -> dict[str, object]:
    return getattr(module, "__dict__", {})
