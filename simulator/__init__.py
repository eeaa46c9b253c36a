"""Rooms without the hosted service: an emulator on a real WebSocket, which clients of any release can join."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.emulator import Emulator

__all__ = ["Emulator"]


def __getattr__(name: str) -> Any:
    # Not imported before it is asked for: it needs aiohttp, which not everybody installs.
    if name != "Emulator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from simulator.emulator import Emulator

    return Emulator
