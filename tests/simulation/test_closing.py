"""What of a program still runs when ``close()`` has returned: nothing that had not begun."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import meshsync
from meshsync import MessagingClient, RoomMessage, WouldDeadlock
from meshsync.errors import ConnectionLost
from simulator import Simulation, faults

ROOT = Path(__file__).parents[2]


def slow(event: object) -> None:
    """Take longer than closing may."""
    meshsync.sleep(10)


def test_no_receiver_begins_after_close_has_returned(caplog: pytest.LogCaptureFixture) -> None:
    """Its limit is 2 s: of four messages and the event of the end, all but the first are dropped and counted."""
    called: list[str] = []
    with Simulation() as sim:
        demo = sim.room("demo")
        alice, bob = demo.join("alice", enable=True), demo.join("bob", enable=True)
        alice.messaging.on("message", slow)
        alice.messaging.on("message", lambda event: called.append("second"))
        alice.messaging.on("disconnected", lambda event: called.append("disconnected"))
        for _ in range(4):
            bob.messaging.send_message(alice.local_participant, "chat", {})
        sim.sleep(1)
        before = sim.now
        with caplog.at_level(logging.WARNING):
            alice.close(2)
        assert sim.now - before == pytest.approx(2)
        assert alice.stats().events_dropped == 4
        sim.sleep(60)
        assert alice.wait_closed(0)
        assert called == []
        assert alice.stats().events_dropped == 5  # the first message did not reach the second receiver
    assert [record.getMessage() for record in caplog.records] == [
        "the client was closed before its receivers had run: 4 events were dropped",
        f"the client was closed while {__name__}.slow was still running",
    ]


def test_receivers_get_a_quarter_of_the_limit_when_the_room_is_silent() -> None:
    """A close frame that nothing answers does not cost the receivers their time: 1 s of 4."""
    ended: list[float] = []
    with Simulation() as sim:
        alice = sim.room("demo").join("alice", enable=True)
        alice.messaging.on("disconnected", lambda event: (meshsync.sleep(0.9), ended.append(sim.now)))
        sim.plan(faults.at(1, faults.half_open("alice")))
        sim.sleep(2)
        alice.close(4)
        assert ended == [pytest.approx(2 + 3 + 0.9)]
        assert alice.stats().events_dropped == 0


def test_signals_and_nested_reports_do_not_begin_either() -> None:
    """Neither a receiver of a signal, nor one of ``receiver_failed`` for a receiver that fails too late."""
    called: list[str] = []

    def fails_late(event: object) -> None:
        meshsync.sleep(10)
        raise ValueError

    with Simulation(failing_receivers="log") as sim:
        alice = sim.room("demo").join("alice", enable=True)
        alice.messaging.on("message", fails_late)
        alice.messaging.on("receiver_failed", lambda event: called.append("report"))
        alice.messaging.send_message(alice.local_participant, "chat", {})
        with meshsync.signals.message.connected_to(lambda sender, event: called.append("signal")):
            alice.close(1)
            sim.sleep(60)
    assert called == []


class Hooked(MessagingClient):
    """Its hook takes longer than closing may."""

    def received(self, message: RoomMessage) -> RoomMessage:
        meshsync.sleep(10)
        return message


def test_hook_is_not_called_again_and_subscriptions_end(caplog: pytest.LogCaptureFixture) -> None:
    """Of three messages two never reach the hook, and the first gets no further; a reader does not wait on."""
    called: list[object] = []
    with Simulation() as sim:
        alice = _join_hooked(sim)
        alice.messaging.on("message", called.append)
        messages = alice.messaging.messages()
        for _ in range(3):
            alice.messaging.send_message(alice.local_participant, "chat", {})
        with caplog.at_level(logging.WARNING):
            alice.close(1)
        assert list(messages) == []
        assert alice.stats().events_dropped == 2
        sim.sleep(60)
        assert alice.wait_closed(0)
        assert alice.stats().events_dropped == 3
    assert called == []
    assert caplog.messages[-1] == f"the client was closed while {__name__}.Hooked.received was still running"


def _join_hooked(sim: Simulation) -> meshsync.RoomClient:
    sim.room("demo")
    room = meshsync.connect("demo", name="alice", messaging=Hooked)
    room.messaging.enable()
    return room


def _offer(room: meshsync.RoomClient, to: str) -> None:
    with pytest.raises(meshsync.MeshsyncError):
        room.messaging.create_stream(to)


def test_accept_callback_still_running_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """As a receiver is."""
    with Simulation() as sim:
        demo = sim.room("demo")
        alice, bob = demo.join("alice"), demo.join("bob", enable=True)
        alice.messaging.enable(slow)
        sim.spawn(_offer, bob, alice.local_participant.id)
        sim.sleep(1)
        with caplog.at_level(logging.WARNING):
            alice.close(1)
        sim.sleep(60)
    assert f"the client was closed while {__name__}.slow was still running" in caplog.messages


# --- serving for ever -------------------------------------------------------------------------------------------------


def test_running_for_ever_ends_when_a_receiver_closes() -> None:
    """It is what the program wished for."""
    with Simulation() as sim:
        alice = sim.room("demo").join("alice", enable=True)
        alice.messaging.on_message("stop", lambda event: alice.close())
        alice.messaging.send_message(alice.local_participant, "stop", {})
        alice.run_forever()
        assert not alice.is_connected


def test_running_for_ever_raises_the_loss() -> None:
    """Where the client does not come back; and in a simulation nothing is done to the signals of the process."""
    with Simulation() as sim:
        alice = sim.room("demo").join("alice", enable=True, reconnect=False)
        sim.plan(faults.at(5, faults.reset("alice")))
        with pytest.raises(ConnectionLost):
            alice.run_forever()
        assert sim.now == pytest.approx(5, abs=1)


@pytest.mark.parametrize("call", [lambda room: room.run_forever(), lambda room: room.wait_closed()])
def test_receiver_cannot_wait_for_the_end(call: Callable[[meshsync.RoomClient], object]) -> None:
    """It would wait for itself; the client goes on."""
    errors: list[BaseException | None] = []
    with Simulation(failing_receivers="log") as sim:
        alice = sim.room("demo").join("alice", enable=True)
        alice.messaging.on("receiver_failed", lambda event: errors.append(event.error))
        alice.messaging.on_message("chat", lambda event: call(alice))
        alice.messaging.send_message(alice.local_participant, "chat", {})
        sim.sleep(1)
        assert alice.is_connected
    assert [type(error) for error in errors] == [WouldDeadlock]


def test_programs_of_a_simulation_that_was_never_closed_are_named(tmp_path: Path) -> None:
    """When the process ends, for they would else never have run without a word."""
    program = "from simulator import Simulation\nsim = Simulation(seed=1)\nsim.spawn(print, 'never')\n"

    def run(text: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", text]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environ)

    left = run(program)
    assert "'print' never ran: nothing let time pass" in left.stderr
    assert "the simulation was never closed" in left.stderr
    ended = run(program + "sim.run()\n")
    assert (ended.stdout, ended.stderr) == ("never\n", "")
