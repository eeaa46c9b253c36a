"""Rooms without the hosted service: simulated in this process, or on a real WebSocket for clients of any release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator import faults, histories, latency, participants
    from simulator.calibration import calibrate
    from simulator.emulator import Emulator
    from simulator.exploring.checking import check
    from simulator.exploring.exploration import explore, replay
    from simulator.exploring.origin import why
    from simulator.histories import History, linearizable
    from simulator.record.comparing import diff
    from simulator.record.transcript import Transcript
    from simulator.replaying.replay import replay_room
    from simulator.simulation import Simulation, current

__library__ = True  # see simulator/engine/marks.py

__all__ = [
    "Emulator",
    "History",
    "Simulation",
    "Transcript",
    "calibrate",
    "check",
    "current",
    "diff",
    "explore",
    "faults",
    "histories",
    "latency",
    "linearizable",
    "participants",
    "replay",
    "replay_room",
    "why",
]


def __getattr__(name: str) -> Any:
    # Not imported before first use: the emulator needs aiohttp, which need not be installed, and pytest's plugin must
    # not make every test session wait for a simulator.
    if name == "Emulator":
        from simulator import emulator

        return emulator.Emulator
    if name == "calibrate":
        from simulator import calibration

        return calibration.calibrate
    if name in ("Simulation", "current"):
        from simulator import simulation

        return getattr(simulation, name)
    if name == "check":
        from simulator.exploring import checking

        return checking.check
    if name in ("explore", "replay", "why"):
        from simulator.exploring import exploration, origin

        return getattr(origin if name == "why" else exploration, name)
    if name == "diff":
        from simulator.record import comparing

        return comparing.diff
    if name == "replay_room":
        from simulator.replaying import replay as replaying

        return replaying.replay_room
    if name in ("History", "histories", "linearizable"):
        import simulator.histories

        return simulator.histories if name == "histories" else getattr(simulator.histories, name)
    if name == "Transcript":
        from simulator.record import transcript

        return transcript.Transcript
    # Not by `from simulator import …`, which would call this again.
    if name == "faults":
        import simulator.faults

        return simulator.faults
    if name == "latency":
        import simulator.latency

        return simulator.latency
    if name == "participants":
        import simulator.participants

        return simulator.participants
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
