"""The tasks of the program's code: one for its receivers, and others for its hooks and callbacks.

A dispatcher outlives connections: posted jobs run in order, whichever connection brought them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from meshsync.connection.budget import Share
from meshsync.connection.forks import Home
from meshsync.connection.inbox import Inbox, InboxClosed
from meshsync.runtime.interfaces import Runtime, Task

__all__ = ["Dispatcher"]

logger: logging.Logger = logging.getLogger("meshsync")

BACKLOG = 10_000
"""The most jobs that wait for the dispatcher; beyond it the oldest are dropped, counted and reported."""


class Dispatcher:
    """Runs jobs one after the other on a task of its own, until ``finish``.

    Args:
        name: For the names of its tasks.
        on_dropped: Called on that task, before the next job, with how many jobs were dropped since the last time.
        share: Bounds the bytes of the jobs that wait; then the oldest are dropped, too.
    """

    def __init__(
        self, runtime: Runtime, name: str, on_dropped: Callable[[int], None], share: Share | None = None
    ) -> None:
        self._runtime = runtime
        self._home = Home()
        self._name = name
        self._on_dropped = on_dropped
        self._condition = runtime.condition()
        self._backlog: Inbox[Callable[[], None]] = Inbox(runtime, BACKLOG, share)
        self._dropped = 0
        self._dropped_reported = 0
        self._inside: set[object] = set()
        """The tasks on which the program's code runs; they must not wait for the client's end."""
        self._task: Task | None = None
        self._tasks: tuple[Task, ...] = ()

    def start(self) -> None:
        """Begin to run the posted jobs."""
        self._task = self.spawn(self._run, "dispatcher")

    def post(self, job: Callable[[], None], size: int = 0) -> None:
        """Run a job after all that were posted before. Never waits; after ``finish``, and in a child, it is ignored.

        Args:
            size: Bytes that the job holds.
        """
        if self._home.is_here and (dropped := self._backlog.put_dropping(job, size)):
            self.count_dropped(dropped)

    @property
    def is_idle(self) -> bool:
        """Whether its task has run all jobs and told of all drops, and waits for the next one."""
        return self._backlog.is_awaited and self._dropped == self._dropped_reported

    def has_room(self, size: int) -> bool:
        """Return whether a job that holds so many bytes could be posted to be kept."""
        return self._backlog.has_room(size, is_dropping=True)

    def post_kept(self, job: Callable[[], None], size: int) -> None:
        """Run a job after all that were posted before, and never drop it. Never waits; ignored as in `post`."""
        if self._home.is_here:
            self.count_dropped(self._backlog.keep(job, size, is_dropping=True))

    def count_dropped(self, count: int) -> None:
        """Count events dropped on their way here; ``on_dropped`` gets the count before the next job."""
        if count and self._home.is_here:
            with self._condition:  # The reader counts, and a hook's task.
                self._dropped += count

    @property
    def dropped(self) -> int:
        """How many jobs, and events on their way here, were dropped so far."""
        return self._dropped

    def finish(self) -> None:
        """End after the jobs posted so far. Later calls do nothing."""
        self._backlog.close()

    def cut(self) -> list[Callable[[], None]]:
        """End after the job that is running; return those that will not be run."""
        return self._backlog.cut()

    def spawn(self, target: Callable[[], None], name: str) -> Task:
        """Run code of the program in a task of its own, which must not wait for the client's end.

        Raises:
            RuntimeError: If no task can be started any more.
        """

        def run() -> None:
            me = self._runtime.current()
            self._inside.add(me)
            try:
                target()
            finally:
                self._inside.discard(me)

        task = self._runtime.spawn(run, name=f"meshsync {name} of {self._name}")
        with self._condition:
            self._tasks = (*(other for other in self._tasks if not other.is_done), task)
        return task

    def _run(self) -> None:
        while self._home.is_here:  # A receiver may fork, and return in the child.
            try:
                job = self._backlog.get(None)
            except InboxClosed:
                return
            try:
                if self._dropped != self._dropped_reported:
                    count, self._dropped_reported = self._dropped - self._dropped_reported, self._dropped
                    self._on_dropped(count)
                job()
            except Exception:
                # A fault of ours, since receivers are shielded one by one. Nothing would be dispatched ever again.
                logger.exception("an event was lost in dispatching")
            del job  # The next may be long in coming.

    @property
    def is_inside(self) -> bool:
        """Whether the caller is a task on which the program's code runs."""
        return self._runtime.current() in self._inside

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Its tasks, in order of their beginning; those that have ended may be left out."""
        return self._tasks

    def join(self, timeout: float | None) -> bool:
        """Wait until all jobs have run after ``finish``, at most ``timeout`` seconds; return whether they have."""
        return self._task is None or self._task.join(timeout)
