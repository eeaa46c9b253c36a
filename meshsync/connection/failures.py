"""The error of a call that the room refused, or that the connection's end cut short."""

from __future__ import annotations

from copy import copy
from typing import TypeVar

from meshsync.errors import ConnectionLost, MeshsyncError, ParticipantNotFound, RoomError
from meshsync.protocol.content import Content, Error, ErrorCode
from meshsync.reasons import safe_text

__all__ = ["CLOSED_HERE", "another", "carry_over", "client_failed", "refusal", "simulation_over"]

L = TypeVar("L", bound=ConnectionLost)

CLOSED_HERE = "the client was closed by this program; connect again"
"""The text of `ClientClosed`."""


def refusal(content: Content, what: str) -> RoomError | None:
    """Return the error that an answer of the room stands for; None for success.

    Args:
        what: The request, such as ``the message 'chat' to bob``.
    """
    if not isinstance(content, Error):
        return None
    if content.code == ErrorCode.NOT_FOUND:
        here = "messaging.remote_participants has those who are here"
        return ParticipantNotFound(f"{what}: {content.text}; {here}", content.code)
    return RoomError(content.text, content.code)


def carry_over(kind: type[L], text: str, cause: BaseException | None) -> L:
    """Return an error of a kind with its cause's attributes.

    Args:
        text: The consequence for the call; empty where the cause is enough.
        cause: Why the connection ended; None if the program closed it.
    """
    reason = "the client was closed" if cause is None else safe_text(cause)
    lost = cause if isinstance(cause, ConnectionLost) else None
    error = kind(
        f"{text}: {reason}" if text else reason,
        code=lost.code if lost else None,
        reason=lost.reason if lost else reason,
        clean=lost.clean if lost else cause is None,
        http_status=lost.http_status if lost else None,
    )
    error.connection_alive = isinstance(cause, MeshsyncError) and cause.connection_alive
    return error


def another(error: MeshsyncError) -> MeshsyncError:
    """Return an error to raise: one that is raised collects tracebacks, and each caller is to get its own."""
    again = copy(error)
    again.__cause__ = error.__cause__  # which `copy` leaves out
    return again


def client_failed(why: str) -> ConnectionLost:
    """Return the end of a connection for a fault of this side, which another connection would meet again."""
    return _final(f"the client failed: {why}" if why else "the client failed")


def simulation_over() -> ConnectionLost:
    """Return the end of a client in a simulation that has ended."""
    return _final("the simulation that this client lived in is over")


def _final(text: str) -> ConnectionLost:
    error = ConnectionLost(text)
    error._is_final = True
    return error
