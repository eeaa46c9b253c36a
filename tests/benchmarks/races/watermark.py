"""A watermark that a slow worker is behind: parts below it are deleted while it reads one."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import RemoteParticipant
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race

PARTS = 6


class Tape:
    """Parts of a recording, and which of them are done."""

    def __init__(self) -> None:
        self.parts = {number: f"part {number}" for number in range(PARTS)}
        self.done: set[int] = set()


def forget(tape: Tape, number: int) -> None:
    """The bug: what lies three parts behind the last one is believed to be done."""
    tape.done.add(number)
    for old in [old for old in tape.parts if old <= max(tape.done) - 3]:
        del tape.parts[old]


def forget_done(tape: Tape, number: int) -> None:
    """Forget what is done."""
    tape.done.add(number)
    tape.parts.pop(number, None)


def transcribe(sim: Simulation, report: Callable[[Tape, int], None]) -> None:
    """An editor gives parts to two workers in turn, one each 0.2 s; each looks at its part, thinks, and reads it."""
    editor = sim.room("studio").join("editor", enable=True)
    tape = Tape()

    def worker(name: str) -> None:
        with meshsync.connect("studio", name=name) as client:
            with client.messaging.messages("part") as parts:
                client.messaging.enable()
                for _ in range(PARTS // 2):
                    number = parts.get().message["number"]
                    meshsync.sleep(0.05)  # the tape is wound
                    text = tape.parts[number]
                    to = client.messaging.wait_for_participant(name="editor")
                    client.messaging.send_message(to, "done", {"number": number, "text": text})

    workers = [sim.spawn(worker, name, name=name) for name in ("uma", "udo")]
    peers: list[RemoteParticipant] = []
    for name in ("uma", "udo"):
        peers.append(editor.messaging.wait_for_participant(name=name))
    done = editor.messaging.messages("done")

    def collect() -> None:
        for _ in range(PARTS):
            report(tape, done.get().message["number"])

    collector = sim.spawn(collect)
    for number in range(PARTS):
        editor.messaging.send_message(peers[number % 2], "part", {"number": number})
        meshsync.sleep(0.2)
    for task in (*workers, collector):
        task.join()


def racy(sim: Simulation) -> None:
    """An editor with a watermark."""
    transcribe(sim, forget)


def repaired(sim: Simulation) -> None:
    """An editor who counts."""
    transcribe(sim, forget_done)


RACE = Race(
    racy,
    repaired,
    Planted("ActorFailed: KeyError", "worker", "text = tape.parts[number]"),
    LateStep("uma", "meshsync.sleep(0.05)", 1.2),
)
