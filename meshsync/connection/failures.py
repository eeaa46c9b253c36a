"""The error of a call that the room refused, or that the connection's end cut short."""

from __future__ import annotations

from meshsync.errors import ConnectionLost, ParticipantNotFound, RoomError
from meshsync.protocol.content import Content, Error, ErrorCode
from meshsync.reasons import safe_text

__all__ = ["carry_over", "refusal"]


def refusal(content: Content) -> RoomError | None:
    """Return the error that an answer of the room stands for; None for success."""
    if not isinstance(content, Error):
        return None
    if content.code == ErrorCode.NOT_FOUND:
        return ParticipantNotFound(content.text, content.code)
    return RoomError(content.text, content.code)


def carry_over(kind: type[ConnectionLost], text: str, cause: BaseException | None) -> ConnectionLost:
    """Return an error of a kind with its cause's attributes.

    Args:
        text: The consequence for the call; empty where the cause is enough.
        cause: Why the connection ended; None if the program closed it.
    """
    reason = "the client was closed" if cause is None else safe_text(cause)
    lost = cause if isinstance(cause, ConnectionLost) else None
    return kind(
        f"{text}: {reason}" if text else reason,
        code=lost.code if lost else None,
        reason=lost.reason if lost else reason,
        clean=lost.clean if lost else cause is None,
    )
