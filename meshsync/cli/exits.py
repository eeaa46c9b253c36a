"""The exit codes of ``meshsync``, and which of them an error has."""

from __future__ import annotations

from enum import IntEnum

from meshsync.errors import (
    AuthenticationFailed,
    ConnectFailed,
    ConnectionLost,
    DeliveryUnknown,
    NotSent,
    PermissionDenied,
    ProtocolError,
    RoomError,
    UsageError,
)
from meshsync.protocol.content import ErrorCode

__all__ = ["ExitCode", "Interrupted", "Unfinished", "exit_code"]


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    """In the room, or with a file: a request was refused, a message or a file could not be delivered or stored."""
    USAGE = 2
    """The arguments, the environment or a message on the input make no sense."""
    UNREACHABLE = 3
    """No connection came about, or it was lost for good."""
    REFUSED = 4
    """The token was rejected or is missing, or does not allow this."""
    LATE = 5
    """A time limit passed."""
    INTERRUPTED = 130
    """Ctrl-C."""
    TERMINATED = 143
    """SIGTERM."""


class Interrupted(KeyboardInterrupt):
    """SIGTERM, handled as Ctrl-C is."""


class Unfinished(Exception):
    """A command came to its end without all that it was asked for; what is missing was printed already.

    Args:
        code: An `ExitCode`, or the exit status of a process that was started.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def exit_code(error: BaseException) -> int:
    """Return the code with which a command ends that met an error."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.TERMINATED if isinstance(error, Interrupted) else ExitCode.INTERRUPTED
    if isinstance(error, Unfinished):
        return error.code
    # Before the rest: some errors of every kind are time-outs too.
    if isinstance(error, TimeoutError):
        return ExitCode.LATE
    if isinstance(error, (AuthenticationFailed, PermissionDenied)):
        return ExitCode.REFUSED
    if isinstance(error, RoomError) and error.code == ErrorCode.PERMISSION_DENIED:
        return ExitCode.REFUSED
    if isinstance(error, (NotSent, DeliveryUnknown)):
        return ExitCode.FAILED
    if isinstance(error, (ConnectFailed, ConnectionLost, ProtocolError)):
        return ExitCode.UNREACHABLE
    return ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.FAILED
