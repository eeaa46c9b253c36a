"""Rooms without the hosted service: simulated in this process, or on a real WebSocket for clients of any release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.checking import check
    from simulator.emulator import Emulator
    from simulator.exploration import explore, replay
    from simulator.network import faults, latency
    from simulator.record.transcript import Transcript
    from simulator.room import participants
    from simulator.simulation import Simulation, current

__all__ = [
    "Emulator",
    "Simulation",
    "Transcript",
    "check",
    "current",
    "explore",
    "faults",
    "latency",
    "participants",
    "replay",
]


def __getattr__(name: str) -> Any:
    # Not imported before it is asked for: the emulator needs aiohttp, which not everybody installs, and pytest's plugin
    # must not make every test session wait for a simulator.
    if name == "Emulator":
        from simulator import emulator

        return emulator.Emulator
    if name in ("Simulation", "current"):
        from simulator import simulation

        return getattr(simulation, name)
    if name == "check":
        from simulator import checking

        return checking.check
    if name in ("explore", "replay"):
        from simulator import exploration

        return getattr(exploration, name)
    if name == "Transcript":
        from simulator.record import transcript

        return transcript.Transcript
    if name in ("faults", "latency"):
        from simulator.network import faults, latency

        return faults if name == "faults" else latency
    if name == "participants":
        from simulator.room import participants

        return participants
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
