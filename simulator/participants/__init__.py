"""Participants without a thread: scripted people and agents, for a room's ``add``.

Ready-made ones, and `Participant`, whose subclasses are a program's own; see ``simulator.participants.participant`` for
their methods. Those that read or write streams have a ``window``, the bytes that they hold unread, or None for
participants without flow control, such as programs on the official SDK. With flow control their streams outlive losses
of connections, unless ``resumes`` is False.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.participants.messaging import Chatter, Echo, Scripted
from simulator.participants.participant import Participant
from simulator.participants.peers import Chunk, Message, Offer, Peer, Question
from simulator.participants.stream import Stream, StreamState
from simulator.participants.streaming import Rejecting, Silent, Sink, Streamer
from simulator.participants.surroundings import Surroundings
from simulator.participants.visiting import Visitor, churn

__all__ = [
    "Chatter",
    "Chunk",
    "Echo",
    "Message",
    "Offer",
    "Participant",
    "Peer",
    "Question",
    "Rejecting",
    "Scripted",
    "Silent",
    "Sink",
    "Stream",
    "StreamState",
    "Streamer",
    "Surroundings",
    "Visitor",
    "churn",
]

if not TYPE_CHECKING:  # To type checkers a wrong name is wrong.
    from simulator.participants.spellings import missing as _missing

    __getattr__ = _missing
