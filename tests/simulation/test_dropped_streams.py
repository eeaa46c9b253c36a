"""A writer that a program drops without closing it: told when the simulation ends, wherever garbage is collected."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable

import pytest

import meshsync
from meshsync.streams.endpoints import MessageStreamWriter
from simulator import Simulation, participants
from simulator.exploring.runs import Case
from simulator.exploring.runs import run as run_case

kept: list[MessageStreamWriter] = []


def ends_well(room: meshsync.RoomClient) -> None:
    """Close what was opened."""
    with room.messaging.create_stream(room.messaging.get_participant_by_name("sink")) as writer:
        writer.write(b"x")


def aborts(room: meshsync.RoomClient) -> None:
    """Give it up."""
    room.messaging.create_stream(room.messaging.get_participant_by_name("sink")).abort("no")


def leaves(room: meshsync.RoomClient) -> None:
    """End it with the client, which its reader learns."""
    room.messaging.create_stream(room.messaging.get_participant_by_name("sink")).write(b"x")
    room.close()


def keeps(room: meshsync.RoomClient) -> None:
    """Hold it somewhere, to go on."""
    kept.append(room.messaging.create_stream(room.messaging.get_participant_by_name("sink")))


def keeps_its_reader(room: meshsync.RoomClient) -> None:
    """Hold the way back, by which it can be ended too."""
    writer = room.messaging.create_stream(room.messaging.get_participant_by_name("sink"))
    kept.append(writer.reader)  # type: ignore[arg-type]


def drops(room: meshsync.RoomClient) -> None:
    """Let it go."""
    room.messaging.create_stream(room.messaging.get_participant_by_name("sink")).write(b"x")


def drops_in_a_circle(room: meshsync.RoomClient) -> None:
    """Let it go where only the collector of garbage finds it."""
    circle: list[object] = [room.messaging.create_stream(room.messaging.get_participant_by_name("sink"))]
    circle.append(circle)


def goes_on(room: meshsync.RoomClient) -> None:
    """Be still writing when the simulation ends."""
    writer = room.messaging.create_stream(room.messaging.get_participant_by_name("sink"))
    while True:
        writer.write(b"x")
        meshsync.sleep(1)


def run(program: Callable[[meshsync.RoomClient], None]) -> tuple[list[str], str]:
    """Run a program; return what was warned of, and the digest."""
    kept.clear()
    with warnings.catch_warnings(record=True) as caught, Simulation(3) as sim:
        warnings.simplefilter("always")
        demo = sim.room("demo")
        demo.add(participants.Sink("sink"))
        sim.spawn(program, demo.join("ada", enable=True))
        sim.sleep(5)
    kept.clear()
    return [str(one.message) for one in caught if one.category is RuntimeWarning], demo.transcript.digest()


@pytest.mark.parametrize("program", [ends_well, aborts, leaves, keeps, keeps_its_reader, goes_on])
def test_a_stream_that_ended_or_is_held_is_not_told(program: Callable[[meshsync.RoomClient], None]) -> None:
    """Nor one whose program the end of the simulation interrupts."""
    assert run(program)[0] == []


@pytest.mark.parametrize("program", [drops, drops_in_a_circle])
def test_a_dropped_stream_is_told_with_its_line(program: Callable[[meshsync.RoomClient], None]) -> None:
    """Alike with and without the collector of garbage, and nothing else of the run is another."""
    found = [run(program)]
    gc.disable()
    try:
        found.append(run(program))
    finally:
        gc.enable()
    assert found[0] == found[1]
    ((text,), _) = found[0]
    line = program.__code__.co_firstlineno + 2
    assert f"opened at {__file__}:{line}: nothing refers to its writer" in text
    assert "unclosed stream" in text
    assert "What to do: use 'with', or close it" in text


@pytest.mark.parametrize("examines", [True, False])
def test_a_run_of_a_search_is_not_looked_at(examines: bool) -> None:
    """Garbage is collected in no time of a search; `check`, and the command ``run``, tell it."""

    def program(sim: Simulation) -> None:
        demo = sim.room("demo")
        demo.add(participants.Sink("sink"))
        drops(demo.join("ada", enable=True))
        sim.sleep(1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run_case(program, Case(0), examines=examines)
    assert ["unclosed stream" in str(one.message) for one in caught] == [True] * examines


def test_a_stream_of_a_program_that_crashed_is_not_told() -> None:
    """It had no time to close anything."""
    with warnings.catch_warnings(record=True) as caught, Simulation(3) as sim:
        warnings.simplefilter("always")
        demo = sim.room("demo")
        demo.add(participants.Sink("sink"))

        clients: list[meshsync.RoomClient] = []

        def program() -> None:
            with meshsync.connect("demo", name="ada") as room:
                room.messaging.enable()
                clients.append(room)  # Which keeps the stream, and none of its ends.
                with room.messaging.create_stream(room.messaging.get_participant_by_name("sink")) as writer:
                    while True:
                        writer.write(b"x")
                        meshsync.sleep(1)

        sim.spawn(program)
        sim.sleep(5)
        sim.crash("program")
        sim.sleep(5)
    assert [one for one in caught if one.category is RuntimeWarning] == []


def test_a_run_that_fails_tells_that_alone() -> None:
    """What it left undone follows from that."""
    with warnings.catch_warnings(record=True) as caught, pytest.raises(ZeroDivisionError), Simulation(3) as sim:
        warnings.simplefilter("always")
        demo = sim.room("demo")
        demo.add(participants.Sink("sink"))
        drops(demo.join("ada", enable=True))
        raise ZeroDivisionError
    assert [one for one in caught if one.category is RuntimeWarning] == []
