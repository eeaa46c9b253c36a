"""The payloads of a network's links: packets of clients, or values of participants without a client."""

from __future__ import annotations

from typing import TypeAlias

from meshsync.protocol.operations import Request
from simulator.room.members import Output

__all__ = ["Traffic"]

Traffic: TypeAlias = bytes | Request | Output
"""A packet, either way; a request, up; a message of the room, down."""
