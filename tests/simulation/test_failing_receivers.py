"""What a receiver raises fails the run, as an actor's exception does, unless the program says that it is meant."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import meshsync
import simulator
from meshsync.errors import MeshsyncError, RequestFailed, StreamRejected
from meshsync.messages import RoomMessage, RoomMessageEvent
from simulator import Simulation
from simulator.errors import ActorFailed, ReceiverFailed, SimulationDeadlock
from tests.support.worlds import simulated


class _Hooked(meshsync.MessagingClient):
    """Its hook raises."""

    def received(self, message: RoomMessage) -> RoomMessage:
        raise LookupError("no price")


def _fail(event: object) -> None:
    raise LookupError("no price")


def _receiver(sim: Simulation) -> None:
    room = sim.room("demo")
    ada, bob = room.join("ada", enable=True), room.join("bob", enable=True)
    bob.messaging.on_message("price", _fail)
    for _ in range(3):
        ada.messaging.send_message(ada.messaging.wait_for_participant("bob"), "price", {})
    sim.sleep(1)


def _of_a_signal(sim: Simulation) -> None:
    room = sim.room("demo")
    ada, bob = room.join("ada", enable=True), room.join("bob", enable=True)

    def fails(sender: object, event: RoomMessageEvent) -> None:
        _fail(event)

    with meshsync.signals.message.connected_to(fails, sender=bob.messaging):
        ada.messaging.send_message(ada.messaging.wait_for_participant("bob"), "price", {})
        sim.sleep(1)


def _handler(sim: Simulation) -> None:
    room = sim.room("demo")
    ada, bob = room.join("ada", enable=True), room.join("bob", enable=True)
    bob.messaging.on_request("price", _fail)
    with pytest.raises(RequestFailed):
        ada.messaging.ask(ada.messaging.wait_for_participant("bob"), "price", {}, timeout=5)


def _accept_callback(sim: Simulation) -> None:
    room = sim.room("demo")
    ada, bob = room.join("ada", enable=True), room.join("bob")
    bob.messaging.enable(_fail)
    with pytest.raises(StreamRejected):
        ada.messaging.create_stream(ada.messaging.wait_for_participant("bob"))


def _hook(sim: Simulation) -> None:
    room = sim.room("demo")
    ada, bob = room.join("ada", enable=True), room.join("bob", enable=True, messaging=_Hooked)
    ada.messaging.send_message(ada.messaging.wait_for_participant("bob"), "price", {})
    sim.sleep(1)
    assert bob.is_connected


KINDS: list[tuple[Callable[[Simulation], None], str, int]] = [
    (_receiver, "message", 3),
    (_of_a_signal, "message", 1),
    (_handler, "on_request", 1),
    (_accept_callback, "on_stream_accept", 1),
    (_hook, "message", 1),
]


@pytest.mark.parametrize(("program", "event", "count"), KINDS)
def test_what_a_receiver_raises_is_raised_at_the_end(
    program: Callable[[Simulation], None], event: str, count: int
) -> None:
    """With its name, its client, the event and the place; the first one, and how many there were."""
    with pytest.raises(ReceiverFailed) as caught, Simulation(7) as sim:
        program(sim)
    failed, text = caught.value, str(caught.value)
    assert isinstance(failed, ActorFailed)
    assert (failed.event, failed.actor, failed.count) == (event, "bob", count)
    assert f"of 'bob' failed at {event!r}, test_failing_receivers.py:" in text
    assert "LookupError: no price" in text
    assert ("and 2 more failures of receivers" in text) == (count == 3)
    assert isinstance(failed.__cause__, LookupError)
    with Simulation(7, failing_receivers="log") as sim:
        program(sim)


def test_a_program_that_is_given_its_simulation_says_that_it_is_meant() -> None:
    """From then on; and a choice that there is not is none."""
    with Simulation(7) as sim:
        sim.failing_receivers = "log"
        _receiver(sim)
        with pytest.raises(ValueError, match="failing_receivers: 'raise' or 'log', not 'ignore'"):
            sim.failing_receivers = "ignore"
    with pytest.raises(ValueError, match="failing_receivers"):
        Simulation(7, failing_receivers="ignore")


def test_an_error_on_its_way_out_is_not_replaced_and_the_receivers_is_a_warning() -> None:
    """It may be what the other one follows from."""
    with (
        pytest.warns(RuntimeWarning, match="ReceiverFailed: .*LookupError: no price"),
        pytest.raises(SimulationDeadlock),
        Simulation(7) as sim,
    ):
        _receiver(sim)
        forever = meshsync.condition()
        with forever:
            forever.wait()


def test_check_and_explore_find_it() -> None:
    """The symptom is the receiver's line; and with the option there is none."""
    found = simulator.explore(_receiver, 3, report=None, save=None)
    assert found is not None
    assert found.run.symptom is not None
    assert str(found.run.symptom).startswith("ReceiverFailed: LookupError at test_failing_receivers.py:")
    with pytest.raises(ReceiverFailed):
        simulator.check(_receiver)
    assert simulator.explore(_receiver, 3, failing_receivers="log", report=None) is None


def test_the_transcript_is_the_same_with_and_without() -> None:
    """Nothing of the run depends on it."""
    digests = []
    for choice in ("raise", "log"):
        sim = Simulation(7, failing_receivers=choice)
        _receiver(sim)
        with suppress(ReceiverFailed):
            sim.close()
        digests.append(sim.room("demo").transcript.digest())
    assert digests[0] == digests[1]


def test_what_follows_from_the_programs_own_close_is_no_failure() -> None:
    """A receiver that is under way when its client is closed cannot send any more."""
    raised: list[type] = []

    def late(event: Any) -> None:
        meshsync.sleep(1)
        try:
            bob.messaging.broadcast_message("late", {})
        except MeshsyncError as error:
            raised.append(type(error))
            raise

    with simulated() as sim:
        room = sim.room("demo")
        ada, bob = room.join("ada", enable=True), room.join("bob", enable=True)
        bob.messaging.on_message("price", late)
        ada.messaging.send_message(ada.messaging.wait_for_participant("bob"), "price", {})
        sim.sleep(0.5)
        bob.close(0)
        sim.sleep(5)
    assert raised == [meshsync.ClientClosed]


def test_a_receiver_of_another_world_does_not_fail_the_simulation() -> None:
    """A real client beside it has tests of its own."""
    from meshsync.dispatch.reports import Failure, note_failure
    from meshsync.runtime.threads import ThreadRuntime

    with simulated():
        note_failure(Failure(LookupError("elsewhere"), "a.b", "message", "ada in lab", ThreadRuntime()))
