"""What is said on calls, as the words of classic streams that it stands for: records and charts know only those."""

from __future__ import annotations

from meshsync.protocol.content import Control
from meshsync.protocol.operations import Accepted, AnswerChunk, Call, CallChunk, CallMessage, Connected, Push, RoomReady

__all__ = ["as_message"]


def as_message(what: Push | Call | CallChunk | AnswerChunk | RoomReady | Connected) -> Push | None:
    """Return what a room sends in a participant's name, or None for what it says itself.

    The sender of a word on a call is not in it, and stays empty.
    """
    if isinstance(what, Push):
        return what
    if not isinstance(what, (CallChunk, AnswerChunk)):
        return None
    body: dict[str, object] = {"stream_id": what.call_id}
    match what.content:
        case Accepted():
            return Push("", "stream.accept", body)
        case CallMessage(message=message, attachment=attachment, sender=sender):
            # Only the first message on a call says from whom it is.
            return Push("", "stream.open" if sender else "stream.chunk", {**body, "header": message}, attachment)
        case Control("close", 1000):
            return Push("", "stream.close", body)
        case Control("close", _, reason):
            return Push("", "stream.meshsync.cancel", {**body, "reason": reason})
    return None
