"""A run that failed since lateness made it pass a time limit is overdue, also where another error shows first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import meshsync
from meshsync import MessagingClient, ParticipantNotFound, RemoteParticipant
from simulator.engine.schedules import Late
from simulator.exploring.runs import Case, Run, run
from simulator.latency import constant
from simulator.simulation import Simulation

ANSWER = Late("bob#1/down", 8, 2_000_000_000, "delivery")
"""Bob gets the answer 2 s late, and so what is behind it on his link."""


def ask(sim: Simulation, behind: Callable[[MessagingClient, RemoteParticipant], None] = lambda alice, bob: None) -> int:
    """Have Bob wait 0.5 s for Alice's answer; return how many he got. ``behind`` is called after it was sent."""
    alice = sim.room("demo").join("alice", enable=True)
    got = []

    def bob() -> None:
        with meshsync.connect("demo", name="bob") as client:
            client.messaging.enable()
            to = client.messaging.wait_for_participant(name="alice")
            with client.messaging.messages("answer") as answers:
                client.messaging.send_message(to, "question", {})
                got.append(answers.get(timeout=0.5))

    with alice.messaging.messages("question") as questions:
        task = sim.spawn(bob)
        question = questions.get()
        assert isinstance(question.sender, RemoteParticipant)
        alice.messaging.send_message(question.sender, "answer", {})
        behind(alice.messaging, question.sender)
    task.join()
    return len(got)


def counts(sim: Simulation) -> None:
    """Fail if Bob got no answer, before the failure of the task that was joined is raised."""
    assert ask(sim) == 1


def repeats(sim: Simulation) -> None:
    """Fail if Bob leaves, which he does 0.5 s after the answer was late, while his connection still ends."""

    def repeat(alice: MessagingClient, bob: RemoteParticipant) -> None:
        for _ in range(10):
            meshsync.sleep(0.06)
            alice.send_message(bob, "answer", {})

    ask(sim, repeat)


def forgets(sim: Simulation) -> None:
    """Fail of its own accord, though the answer is late as well."""
    ask(sim, lambda alice, bob: alice.send_message("a stranger", "answer", {}))


def run_late(program: Callable[[Simulation], None]) -> Run:
    """Run a program in which the answer is late."""
    return run(program, Case(latency=constant(0.02), deviations=(), lates=(ANSWER,)))


def test_assertion_behind_a_joined_task_that_passed_its_limit_is_overdue():
    """The program joins the task and does not read its error."""
    assert run(counts, Case(latency=constant(0.02))).error is None
    made = run_late(counts)
    assert isinstance(made.error, AssertionError)
    assert made.is_overdue
    assert not replace(made, case=replace(made.case, lates=())).is_overdue


def test_error_about_a_participant_that_leaves_for_a_limit_is_overdue():
    """The task that passed its limit has not ended when another one fails."""
    made = run_late(repeats)
    assert isinstance(made.error, ParticipantNotFound)
    assert made.is_overdue


def test_error_before_any_limit_is_passed_is_not_overdue():
    """Lateness alone is no excuse."""
    made = run_late(forgets)
    assert isinstance(made.error, ParticipantNotFound)
    assert not made.is_overdue
