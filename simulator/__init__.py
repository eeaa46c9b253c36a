"""Rooms without the hosted service: an emulator on a real WebSocket, which clients of any release can join."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.emulator import Emulator

__all__ = ["Emulator"]


def __getattr__(name: str) -> Any:
    # The emulator needs aiohttp, which is an extra: whoever does not ask for it does not need it.
    if name != "Emulator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from simulator.emulator import Emulator
    except ModuleNotFoundError as error:
        if error.name != "aiohttp":
            raise
        raise ImportError("the emulator needs aiohttp: pip install 'meshsync-client[emulator]'") from None
    return Emulator
