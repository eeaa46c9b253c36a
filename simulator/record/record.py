"""One event of a room, and one packet, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshsync.values import made_quickly

__all__ = ["KINDS", "Packet", "Record"]

KINDS = (
    "message",
    "confirming",
    "reply",
    "stream",
    "enabled",
    "disabled",
    "attributes",
    "connected",
    "disconnected",
    "refused",
    "fault",
)
"""The events that have records: a message, a broadcast or a stream's chunk, once for each recipient, a confirmed one
each time that it is sent; a proof or a report between two clients that confirm; the room's answer to a request, in real
rooms alone; a stream's opening, answer, credit or end; enabling and disabling messaging; attributes; a connection's
beginning and end; an attempt to connect that failed; a fault that struck or ended."""


@made_quickly
@dataclass(frozen=True, slots=True)
class Record:
    """One event of a room."""

    time_ns: int
    """The instant its fate was decided, in nanoseconds since the start of the simulation, or since the real room was
    opened."""
    kind: str
    """One of `KINDS`."""
    sender: str = ""
    """The name of the participant that caused it; a second one is ``bob#2``. Empty for the room."""
    recipient: str = ""
    type: str = ""
    """Of a message or fault; of the request that an answer is about."""
    size_bytes: int = 0
    """Of the body that was sent or delivered, header and attachment."""
    latency_ns: int | None = None
    """From sending to arrival, in nanoseconds; None for an event that did not arrive, or does not travel. In a real
    room, from the reading of the request to the recipient's queue."""
    outcome: str = ""
    """Its fate: ``delivered``, ``lost``, ``error 1003: …``; of a real connection's end, the reason."""
    stream_id: str = ""
    """Of the stream it belongs to, numbered in the order of opening; empty for none."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """The message's JSON, the attributes, the fault's parameters."""
    attachment: str = ""
    """The SHA-256 of a message's attachment in hex; empty for none. `Transcript.attachments` has the bytes."""
    id: str = ""
    """Of a participant that connected, as the room gave it: messages may name it. Empty for all else."""
    mark: Mapping[str, Any] = field(default_factory=dict)
    """What makes a confirmed message a question or an answer, as the wire has it: ``{"ask": {"id": 3}}``. Empty for all
    else."""

    @property
    def time_s(self) -> float:
        """The instant in seconds."""
        return self.time_ns / 1e9

    @property
    def latency_s(self) -> float | None:
        """The delay in seconds."""
        return None if self.latency_ns is None else self.latency_ns / 1e9


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet that entered or left a room."""

    time_ns: int
    link: str
    """The participant's connection, as ``alice``; its second one is ``alice~2``."""
    direction: str
    """``up`` to the room, ``down`` from it."""
    size_bytes: int
    sha256: str
