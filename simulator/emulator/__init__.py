"""A room on a real WebSocket, which clients of any release can join."""

from simulator.emulator.emulator import DEVELOPMENT_SECRET, Emulator, Limits

__all__ = ["DEVELOPMENT_SECRET", "Emulator", "Limits"]
