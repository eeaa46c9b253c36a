"""An actor's life goes by its table, also where its thread and the main thread note it at one moment."""

from __future__ import annotations

import threading

import pytest

from simulator.engine.actors import Actor, ActorState
from simulator.engine.kernel import SECOND
from simulator.engine.runtime import VirtualRuntime


@pytest.fixture
def actor() -> Actor:
    """Return an actor without a thread."""
    return Actor(1, "worker", "worker#2", "main/worker#2", threading.Lock())


def test_an_actor_begins_and_ends(actor: Actor) -> None:
    """It is done once its target has ended; noting that twice changes nothing."""
    assert (actor.state, actor.is_done) == (ActorState.NEW, False)
    actor.begin()
    assert (actor.state, actor.is_done) == (ActorState.STARTED, False)
    actor.finish()
    actor.finish()
    assert (actor.state, actor.is_done) == (ActorState.DONE, True)


def test_an_actor_that_never_began_may_end(actor: Actor) -> None:
    """Its thread could not be made, or the simulation ended first."""
    actor.finish()
    actor.begin()
    assert actor.is_done


def test_a_lost_actor_may_end_and_one_that_has_ended_is_not_lost(actor: Actor) -> None:
    """Its thread goes on for real until it ends."""
    actor.begin()
    actor.lose()
    assert (actor.state, actor.is_done) == (ActorState.LOST, False)
    actor.begin()
    actor.finish()
    actor.lose()
    assert actor.state is ActorState.DONE


def test_an_actor_that_is_done_is_not_laid_to_rest(actor: Actor) -> None:
    """The table has no such move, and the error names the actor."""
    actor.finish()
    with pytest.raises(RuntimeError, match=r"worker#2.* cannot go from DONE to RESTING"):
        actor.rest()
    assert actor.is_done


def test_a_step_that_an_error_cuts_short_leaves_nothing_behind() -> None:
    """The next step, and the next wait for idleness, begin anew."""
    with VirtualRuntime(7) as runtime:
        seen: list[float] = []

        def fail() -> None:
            raise ValueError("on purpose")

        runtime.kernel.after(1, fail)
        for seconds in (2, 3, 4):
            runtime.kernel.after(seconds, lambda: seen.append(runtime.kernel.now / SECOND))
        with pytest.raises(Exception, match="on purpose"):
            runtime.step()
        assert runtime.step()
        assert seen == [2]
        runtime.run_until_idle()
        assert seen == [2, 3, 4]
        assert not runtime.step()
        assert not runtime.step()
