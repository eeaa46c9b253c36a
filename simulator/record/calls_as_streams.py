"""Messages on calls, as the classic streams' messages that they stand for: records and charts know only those."""

from __future__ import annotations

from meshsync.protocol.content import Control
from meshsync.protocol.operations import Accepted, AnswerChunk, Call, CallChunk, CallMessage, Connected, Push, RoomReady

__all__ = ["as_message"]


def as_message(what: Push | Call | CallChunk | AnswerChunk | RoomReady | Connected) -> Push | None:
    """Return the push that a room sends in a participant's name, or None for the room's own messages.

    A message on a call does not name its sender, which stays empty.
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
            # Only the first message on a call names its sender.
            return Push("", "stream.open" if sender else "stream.chunk", {**body, "header": message}, attachment)
        case Control("close", 1000):
            return Push("", "stream.close", body)
        case Control("close", _, reason):
            return Push("", "stream.meshsync.cancel", {**body, "reason": reason})
    return None
