"""A subscription after the request: the answer can be there before anything waits for it."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import MessagingClient, RemoteParticipant, RoomMessageEvent
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


def note(question: str) -> None:
    """Write the question down, so that it can be charged for."""
    meshsync.sleep(0.02)


def ask(messaging: MessagingClient, oracle: RemoteParticipant, question: str) -> str:
    """The bug: an answer takes a while, but nothing says so."""
    messaging.send_message(oracle, "question", {"text": question})
    note(question)
    return str(messaging.wait_for_message("answer").message["text"])


def ask_listening(messaging: MessagingClient, oracle: RemoteParticipant, question: str) -> str:
    """Listen before asking."""
    with messaging.messages("answer") as answers:
        messaging.send_message(oracle, "question", {"text": question})
        note(question)
        return str(answers.get().message["text"])


def delphi(sim: Simulation, consult: Callable[[MessagingClient, RemoteParticipant, str], str]) -> None:
    """A king asks an oracle, which thinks for 0.3 s."""
    oracle = sim.room("delphi").join("oracle", enable=True)

    @oracle.messaging.on_message("question")
    def answer(event: RoomMessageEvent) -> None:
        meshsync.sleep(0.3)
        assert event.participant is not None
        oracle.messaging.send_message(event.participant, "answer", {"text": "a great empire will fall"})

    def king() -> None:
        with meshsync.connect("delphi", name="king") as client:
            client.messaging.enable()
            peer = client.messaging.wait_for_participant(name="oracle")
            assert consult(client.messaging, peer, "shall I go to war?") == "a great empire will fall"

    sim.spawn(king).join()


def racy(sim: Simulation) -> None:
    """A king who asks and then listens."""
    delphi(sim, ask)


def repaired(sim: Simulation) -> None:
    """A king who listens and asks."""
    delphi(sim, ask_listening)


RACE = Race(
    racy,
    repaired,
    Planted("SimulationDeadlock", "ask", 'messaging.wait_for_message("answer")'),
    LateStep("king", "meshsync.sleep(0.02)", 0.6),
)
