"""A vote that is counted in the next round: each round takes what comes until it is over."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import ReceiveTimeout, RoomMessage, Subscription
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race

CHOICES = {"first": {"eve": "yes", "abe": "yes"}, "second": {"eve": "no", "abe": "no"}}


def counts(question: str, vote: RoomMessage) -> bool:
    """The bug: a vote that comes in this round is one of this round."""
    return True


def counts_by_question(question: str, vote: RoomMessage) -> bool:
    """Look what the vote is about."""
    return bool(vote.message["question"] == question)


def collect(question: str, votes: Subscription, is_counted: Callable[[str, RoomMessage], bool]) -> dict[str, str]:
    """Return the votes of a round by name; a round ends when all have voted, or after 0.8 s."""
    found: dict[str, str] = {}
    end = meshsync.monotonic() + 0.8
    while len(found) < 2 and (left := end - meshsync.monotonic()) > 0:
        try:
            vote = votes.get(timeout=left)
        except ReceiveTimeout:
            break
        if is_counted(question, vote) and vote.sender is not None:
            found[vote.sender.name] = vote.message["choice"]
    return found


def council(sim: Simulation, is_counted: Callable[[str, RoomMessage], bool]) -> None:
    """A chair asks two members two questions; each thinks for 0.2 s."""
    chair = sim.room("council").join("chair", enable=True)

    def member(name: str) -> None:
        with meshsync.connect("council", name=name) as client:
            with client.messaging.messages() as inbox:
                client.messaging.enable()
                to = client.messaging.wait_for_participant(name="chair")
                for got in inbox:
                    if got.type == "closed":
                        return
                    question = got.message["question"]
                    meshsync.sleep(0.2)
                    choice = CHOICES[question][name]
                    client.messaging.send_message(to, "vote", {"question": question, "choice": choice})

    members = [sim.spawn(member, name, name=name) for name in ("eve", "abe")]
    for name in ("eve", "abe"):
        chair.messaging.wait_for_participant(name=name)
    results = {}
    with chair.messaging.messages("vote") as votes:
        for question in CHOICES:
            chair.messaging.broadcast_message("vote, please", {"question": question})
            results[question] = collect(question, votes, is_counted)
    chair.messaging.broadcast_message("closed", {})
    for task in members:
        task.join()
    sim.run_until_idle()
    for question, found in results.items():
        assert found.items() <= CHOICES[question].items(), f"{question}: {found}"


def racy(sim: Simulation) -> None:
    """A chair who counts what comes."""
    council(sim, counts)


def repaired(sim: Simulation) -> None:
    """A chair who looks at the question."""
    council(sim, counts_by_question)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "council", "assert found.items() <= CHOICES[question].items()"),
    LateStep("eve", "meshsync.sleep(0.2)", 0.8),
)
