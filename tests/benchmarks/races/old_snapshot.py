"""A snapshot that is older than an update: it is copied, packed and sent, and meanwhile something changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import meshsync
from meshsync import RemoteParticipant, RoomMessage
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


def apply(board: dict[str, int], got: Iterable[RoomMessage]) -> None:
    """The bug: what comes last is the newest."""
    for message in got:
        board.update(message.message["scores"])


def apply_newer(board: dict[str, int], got: Iterable[RoomMessage]) -> None:
    """Let no older version replace a newer one."""
    known: dict[str, int] = {}
    for message in got:
        for name, score in message.message["scores"].items():
            if message.message["version"] >= known.get(name, 0):
                board[name], known[name] = score, message.message["version"]


def stadium(sim: Simulation, show: Callable[[dict[str, int], Iterable[RoomMessage]], None]) -> None:
    """A board asks for all scores when it is switched on; a goal falls 0.6 s after the referee saw it."""
    referee = sim.room("stadium").join("referee", enable=True)
    scores, versions = {"home": 0, "guests": 0}, [1]
    board: dict[str, int] = {}

    def send_all(to: RemoteParticipant) -> None:
        copied, version = dict(scores), versions[-1]
        meshsync.sleep(0.05)  # it is signed
        referee.messaging.send_message(to, "scores", {"scores": copied, "version": version})

    def screen() -> None:
        with meshsync.connect("stadium", name="board") as client:
            client.messaging.enable()
            to = client.messaging.wait_for_participant(name="referee")
            with client.messaging.messages("scores") as messages:
                client.messaging.send_message(to, "scores?", {})
                show(board, [messages.get(), messages.get()])

    with referee.messaging.messages("scores?") as questions:
        task = sim.spawn(screen)
        asked = questions.get()
    assert isinstance(asked.sender, RemoteParticipant)
    sender = sim.spawn(send_all, asked.sender)
    meshsync.sleep(0.6)
    scores["home"] += 1
    versions.append(2)
    referee.messaging.broadcast_message("scores", {"scores": {"home": scores["home"]}, "version": 2})
    for one in (task, sender):
        one.join()
    sim.run_until_idle()
    assert board == scores, f"the board shows {board}"


def racy(sim: Simulation) -> None:
    """A board that shows what came last."""
    stadium(sim, apply)


def repaired(sim: Simulation) -> None:
    """A board that looks at versions."""
    stadium(sim, apply_newer)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "stadium", "assert board == scores"),
    LateStep("send_all", "meshsync.sleep(0.05)", 0.9),
)
