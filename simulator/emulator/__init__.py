"""Rooms on a real WebSocket, which clients of any release can join. Needs aiohttp: the extra ``emulator`` brings it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.emulator.emulator import (
        CLEARED,
        DEVELOPMENT_SECRET,
        Emulator,
        EmulatorStats,
        Limits,
        Occupant,
        Recording,
    )

__all__ = ["CLEARED", "DEVELOPMENT_SECRET", "Emulator", "EmulatorStats", "Limits", "Occupant", "Recording"]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that the rest of the simulator works without aiohttp.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from simulator.emulator import emulator
    except ModuleNotFoundError as error:
        if error.name != "aiohttp":
            raise
        text = "the emulator needs aiohttp: pip install 'meshsync-client[emulator]'"
        raise ImportError(text, name="aiohttp") from None
    return getattr(emulator, name)
