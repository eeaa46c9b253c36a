"""Between the two kinds of streams: a chunk's header and data, and a message on a call.

A classic stream is opened with a header, and each chunk has a header and data. On a call everything is a message with a
type, a JSON object and an attachment, the opening included. One stands for the other like this:

=======================================  ==============================================================================
classic                                  duplex
=======================================  ==============================================================================
opened with header ``H``                 first message: type ``stream.open``, message ``H``, no attachment
chunk with header ``H`` and data ``D``   message: type ``stream.chunk``, message ``H``, attachment ``D``
``H`` with ``"meshsync.type": "T"``      type ``T``, and the rest of ``H`` as the message
=======================================  ==============================================================================

Read from right to left, the last line is for messages of any other type, which programs on newer releases choose
freely: so each program understands the other's messages, and each line back restores the original. A member
``meshsync.type`` that is no text of at least one character stands for itself; on calls the name is not to be used.

A first message's attachment becomes the data of the opening, which official programs do not look at.
Negotiated extensions, the member ``meshsync`` beside a header and messages ``stream.meshsync.…``, do not cross.
"""

from __future__ import annotations

from meshsync.protocol.envelopes import JsonObject
from meshsync.protocol.operations import Buffer, CallMessage

__all__ = ["CHUNK_TYPE", "NO_HANDLER", "OPEN_TYPE", "TYPE_MEMBER", "chunk_to_message", "message_to_chunk"]

OPEN_TYPE = "stream.open"
CHUNK_TYPE = "stream.chunk"
TYPE_MEMBER = "meshsync.type"

NO_HANDLER = "Streams are not allowed by this client"
"""With this text official clients reject a classic stream while their program has not installed a handler.

Source: PROTOCOL.md, sections 6.1 and 8.
"""


def chunk_to_message(header: JsonObject, data: Buffer = b"", *, is_first: bool = False) -> CallMessage:
    """Return the message on a call that stands for a chunk, or for the opening of a classic stream."""
    type = header.get(TYPE_MEMBER)
    if not isinstance(type, str) or not type:
        return CallMessage(OPEN_TYPE if is_first else CHUNK_TYPE, header, data)
    return CallMessage(type, {name: value for name, value in header.items() if name != TYPE_MEMBER}, data)


def message_to_chunk(message: CallMessage, *, is_first: bool = False) -> tuple[JsonObject, Buffer]:
    """Return header and data of the chunk, or of the opening, that stands for a message on a call."""
    if message.type == (OPEN_TYPE if is_first else CHUNK_TYPE):
        return message.message, message.attachment
    return {**message.message, TYPE_MEMBER: message.type}, message.attachment
