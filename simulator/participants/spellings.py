"""What to write in place of names that programs try in vain at the package of scripted participants."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from simulator.spellings import answered, each

__all__ = ["SPELLINGS", "missing"]

SPELLINGS: dict[str, str] = {
    **each("Bot Agent Base BaseParticipant", "Participant, whose subclass has on_message(message)"),
    **each("Script ScriptedParticipant", "Scripted"),
    **each("EchoBot Echoer Replier Answerer", "Echo"),
    **each("Talker Broadcaster Sender Speaker", "Chatter"),
    **each("Receiver Listener Reader Collector", "Sink"),
    **each("Writer Uploader", "Streamer"),
    **each("Rejecter Rejector Refusing", "Rejecting"),
    **each("Mute Deaf Idle", "Silent"),
    **each("Guest Flapping", "Visitor"),
    **each("crowd many", "churn"),
    **each("RemoteParticipant LocalParticipant", "Peer, as a scripted participant sees others"),
    **each("MessageStreamReader MessageStreamWriter", "Stream"),
    **each("MessageStreamChunk StreamChunk", "Chunk"),
    **each("RoomMessage RoomMessageEvent", "Message"),
    **each("Client connect join", "sim.room(name).join(name), which returns a client"),
}

missing: Callable[[str], NoReturn] = answered("simulator.participants", SPELLINGS)
"""The face's ``__getattr__``."""
