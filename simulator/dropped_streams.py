"""Streams whose program has dropped the writer without closing it: told at the end of a simulation.

On real threads the writer's finalizer ends such a stream, so that its reader gets an error. In a simulation nothing
depends on garbage, and the reader waits: what happens in a run is as it would be if the writer were kept. The runs of a
search are not looked at: to collect garbage may take longer than they do.
"""

from __future__ import annotations

import gc
import warnings
from weakref import WeakKeyDictionary

from meshsync.streams.endpoints import Endpoints, unwatch_openings, watch_openings
from simulator.engine.lives import ProgramLife
from simulator.engine.runtime import VirtualRuntime

__all__ = ["DroppedStreams"]


class DroppedStreams:
    """The streams that programs of one simulation have opened, as long as they are there.

    Args:
        runtime: The simulation's.
    """

    def __init__(self, runtime: VirtualRuntime) -> None:
        self._runtime = runtime
        self._opened: WeakKeyDictionary[Endpoints, ProgramLife | None] = WeakKeyDictionary()
        """With the life of the program that opened it; None for what `Simulation.spawn` did not begin."""
        watch_openings(self._note)

    def _note(self, ends: Endpoints) -> None:
        if ends.stream.runtime is self._runtime:
            self._opened[ends] = self._runtime.lives.present

    def warn(self, error: BaseException | None = None) -> None:
        """Warn of each stream that goes on and that no program can end any more, at the line that opened it.

        Args:
            error: Of which the simulation ends; what is undone then follows from it, and is not told.
        """
        if (
            error is not None
            or not self._runtime.is_open
            or all(ends.stream.life.phase.is_over for ends in self._opened)
        ):
            return
        gc.collect()  # Else it would depend on garbage which of them are told.
        opened = list(self._opened.items())
        dropped = [ends for ends, life in opened if ends.is_dropped and not (life is not None and life.is_ended)]
        for ends in sorted(dropped, key=lambda ends: (*(ends.opened or ("", 0)), ends.stream.identity.stream_id)):
            path, line = ends.opened or ("", 0)
            text = (
                f"unclosed {ends.stream!r}, opened at {path}:{line}: nothing refers to its writer, and its reader "
                "waits for ever; on real threads it would get StreamInterrupted. What to do: use 'with', or close it"
            )
            warnings.warn_explicit(text, RuntimeWarning, path, line)

    def close(self) -> None:
        """Note no more of them."""
        unwatch_openings(self._note)
        self._opened.clear()
