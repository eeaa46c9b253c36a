"""What to write in place of names that programs try in vain at a simulation, an emulator and their rooms."""

from __future__ import annotations

from typing import ClassVar

from meshsync.hints import Hinted

__all__ = ["HintedEmulator", "HintedRoom", "HintedSimulation"]


class HintedSimulation(Hinted):
    """A simulation."""

    _spellings: ClassVar[dict[str, str]] = {
        "connect": "meshsync.connect, in a program that sim.spawn or sim.run runs, or in the with block",
        "room_client": "meshsync.connect, in a program that sim.spawn runs, or in the with block",
        "client": "meshsync.connect, in a program that sim.spawn runs, or in the with block",
        "participant": "sim.room(name).add(Participant(name)), or a program for sim.spawn",
        "add": "sim.room(name).add",
        "add_participant": "sim.room(name).add",
        "join": "sim.room(name).join",
        "start": "spawn for a program, and run, sleep or advance to let time pass",
        "wait": "sleep, or run until nothing is left to do",
        "time": "now",
        "clock": "now",
        "stop": "close, or the end of the with block",
        "kick": "plan(faults.Leave(…)), see simulator.faults",
        "fault": "plan",
        "inject": "plan",
        "add_fault": "plan",
        "faults": "plan; what there is lies in simulator.faults",
        "transcript": "sim.room(name).transcript",
        "plot": "sim.room(name).transcript.plot",
        "invariant": "always, never or eventually",
    }


class HintedRoom(Hinted):
    """A room of a simulation."""

    _spellings: ClassVar[dict[str, str]] = {
        "connect": "meshsync.connect(room.name, name=…)",
        "participant": "add",
        "messages": "transcript.records",
        "plot": "transcript.plot",
        "timeline": "transcript.timeline",
    }


class HintedEmulator(Hinted):
    """An emulator."""

    _spellings: ClassVar[dict[str, str]] = {
        "stop": "close, or the end of the with block",
        "shutdown": "close, or the end of the with block",
        "kick": "drop",
        "disconnect": "drop",
        "run": "start; from a shell, python -m simulator serve",
        "serve": "start; from a shell, python -m simulator serve",
        "serve_forever": "start; from a shell, python -m simulator serve",
        "environ": "env",
        "environment": "env",
        "address": "url",
        "room": "rooms, participants(room) and transcript(room)",
        "fault": "plan",
        "inject": "plan",
    }
