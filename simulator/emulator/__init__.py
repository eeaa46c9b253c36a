"""Rooms on a real WebSocket, which clients of any release can join. Needs aiohttp: the extra ``emulator`` brings it."""

try:
    from simulator.emulator.emulator import CLEARED, DEVELOPMENT_SECRET, Emulator, Limits
except ModuleNotFoundError as error:
    if error.name != "aiohttp":
        raise
    raise ImportError("the emulator needs aiohttp: pip install 'meshsync-client[emulator]'", name="aiohttp") from None

__all__ = ["CLEARED", "DEVELOPMENT_SECRET", "Emulator", "Limits"]
