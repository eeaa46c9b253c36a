"""What the participants without a thread of one room share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simulator.engine.seeds import Seeds
from simulator.network.network import Network
from simulator.participants.peers import Peer
from simulator.room.seat import SeatedRoom

__all__ = ["Surroundings"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The network, room and chance that the participants of one room share."""

    network: Network
    room: SeatedRoom
    seeds: Seeds
    peers: dict[str, Peer] = field(default_factory=dict)
    """The latest description of each participant, by id: a thousand participants share a thousand of them."""
    attributes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """The attributes it was made of, those that no participant sees included."""
