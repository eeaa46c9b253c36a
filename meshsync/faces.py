"""The faces by which a program refers to a client, and the end of a client to which none refers any more.

The reader of a connection keeps its client alive, but not the client's faces. So a face that goes tells that the
program has dropped it, and with the last one nothing can use the client but its own receivers, hooks, subscriptions and
streams: where there are none, it is closed.

A finalizer runs in whatever task drops the last reference or collects the garbage, which may hold any lock. So nothing
here takes one, or waits. In a simulation faces are kept as long as their client: nothing there may depend on garbage.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

__all__ = ["Faces"]


class Faces:
    """The `RoomClient` and the `MessagingClient` objects of one client that are alive."""

    def __init__(self) -> None:
        self._alive: dict[int, None] = {}
        """By their ids: each change is one operation of a dict."""
        self._sender: Callable[[], object] = lambda: None
        self._is_needed: Callable[[], bool] | None = None
        self._on_dropped: Callable[[], None] | None = None
        self._kept: object = None

    def enter(self, face: object) -> None:
        """Count a face that was made."""
        self._alive[id(face)] = None

    def watch(self, sender: object, is_needed: Callable[[], bool], on_dropped: Callable[[], None]) -> None:
        """Find out from now on when no face is left.

        Args:
            sender: The face that signals name as their sender; no longer kept alive.
            is_needed: Asked then, in a finalizer, whether the client goes on all the same, its last face included.
            on_dropped: Called then, in a finalizer, if it does not.
        """
        self._sender = weakref.ref(sender)
        self._is_needed, self._on_dropped = is_needed, on_dropped

    def sender(self) -> object:
        """Return the face that signals name as their sender."""
        return self._sender()

    def review(self) -> None:
        """Let go of the last face, if it was kept and is not needed any more."""
        kept, is_needed, on_dropped = self._kept, self._is_needed, self._on_dropped
        if kept is None or is_needed is None or on_dropped is None or is_needed():
            return
        self._kept, rest = None, weakref.ref(kept)
        del kept
        if rest() is None:  # Its finalizer has run before, and runs but once.
            self._on_dropped = None
            on_dropped()

    def leave(self, face: object) -> None:
        """Count out a face whose finalizer calls this."""
        self._alive.pop(id(face), None)
        is_needed, on_dropped = self._is_needed, self._on_dropped
        if is_needed is None or on_dropped is None:
            return
        if self._sender() is None:
            # Collecting a circle of garbage clears references before it calls finalizers; another of the circle may
            # yet be kept, and this one with it.
            self._sender = weakref.ref(face)
        if self._alive:
            return
        if is_needed():
            self._kept = face  # Alive again, with all that it refers to.
            return
        self._on_dropped = None
        on_dropped()
