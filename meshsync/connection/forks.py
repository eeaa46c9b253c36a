"""The process that a client belongs to: after a fork the child has a copy of it, and none of its threads."""

from __future__ import annotations

import os

from meshsync.errors import ForkedClientError

__all__ = ["Home"]

_forks = 0
"""How many forks lie between the first process and this one. Asking for the process's id is slow where many send."""


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):  # Not on Windows, where nothing forks.
    os.register_at_fork(after_in_child=_count_fork)


class Home:
    """The process in which it was made."""

    __slots__ = ("_forks",)

    def __init__(self) -> None:
        self._forks = _forks

    @property
    def is_here(self) -> bool:
        """Whether this is that process, and not a child of it."""
        return self._forks == _forks

    def check(self) -> None:
        """Refuse to go on in a child.

        Raises:
            ForkedClientError: If this is not the process in which it was made.
        """
        if self._forks != _forks:
            raise ForkedClientError("this client belongs to the parent process: call meshsync.connect() in the child")
