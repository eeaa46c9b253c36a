"""Programs that stand still, are slow, or have a wrong wall clock; by calls, in plans, and in searches."""

from __future__ import annotations

from pathlib import Path

import pytest

import meshsync
from meshsync.errors import UsageError
from meshsync.runtime.interfaces import Condition
from simulator import explore, faults, replay
from simulator.exploring.runs import Case, run
from simulator.simulation import Simulation
from tests.support.worlds import simulated

SCHEDULES = ("fifo", "random", "pct", "late", "late+random")


class Bell:
    """A program that notes when its threads have their turns: one sleeps, one listens, one waits in vain."""

    def __init__(self) -> None:
        self.beats: list[float] = []
        self.heard: list[float] = []
        self.waited: list[float] = []
        self.gone: list[float] = []

    def __call__(self) -> None:
        meshsync.spawn(self.beat, name="beat")
        meshsync.spawn(self.wait, name="wait")
        with meshsync.connect("demo", name="bell") as room:
            room.messaging.on("disconnected", lambda event: self.gone.append(meshsync.monotonic()))
            with room.messaging.messages() as inbox:
                room.messaging.enable()
                for _ in inbox:
                    self.heard.append(meshsync.monotonic())

    def beat(self) -> None:
        while True:
            meshsync.sleep(1)
            self.beats.append(meshsync.monotonic())

    def wait(self) -> None:
        change = meshsync.condition()
        with change:
            while True:
                change.wait(0.75)
                self.waited.append(meshsync.monotonic())


def ring(sim: Simulation, times: int) -> None:
    """Send the program a message each second, from half a second on."""
    with meshsync.connect("demo", name="ringer") as room:
        room.messaging.enable()
        bell = room.messaging.wait_for_participant(name="bell", timeout=5)
        for number in range(times):
            sim.sleep(max(0, number + 0.5 - sim.now))
            room.messaging.send_message_nowait(bell, "ring", {})
        sim.sleep(max(0, times - sim.now))


def test_a_paused_program_stands_still_with_all_its_threads() -> None:
    """What became due meanwhile comes at the end of the pause, once; others go on."""
    bell = Bell()
    with simulated() as sim:
        sim.spawn(bell, name="bell")
        sim.plan(faults.at(2.25, faults.pause_program("bell", 3)))
        ring(sim, 8)
        unread = sim.network.connections("bell")[0].down.unread
    assert bell.beats == [1, 2, 5.25, 6.25, 7.25]
    assert bell.waited == [0.75, 1.5, 5.25, 6, 6.75, 7.5]
    assert bell.heard == [0.5, 1.5, 5.25, 5.25, 5.25, 5.5, 6.5, 7.5]
    assert unread == 0


def test_what_is_sent_to_a_paused_program_waits_on_the_wire() -> None:
    """Nothing is read there, so that its window fills."""
    with simulated() as sim:
        sim.spawn(Bell(), name="bell")
        sim.sleep(0.1)
        sim.pause("bell", for_=10)
        ring(sim, 5)
        (connection,) = sim.network.connections("bell")
        assert connection.down.unread > 0
        sim.sleep(6)
        assert connection.down.unread == 0


@pytest.mark.parametrize(("seconds", "is_ended"), [(13, False), (16, True)])
def test_a_pause_that_outlasts_the_heartbeat_ends_the_connection(seconds: float, is_ended: bool) -> None:
    """The room pings at 10 s, and gives up at 15 s. The program finds out when it goes on, at 17 s."""
    bell = Bell()
    with simulated(heartbeat=10) as sim:
        sim.spawn(bell, name="bell")
        sim.sleep(1)
        sim.pause("bell", for_=seconds)
        sim.sleep(seconds - 0.5)
        there = [one.member.name for one in sim.room("demo").seated.seats]
        assert there == ([] if is_ended else ["bell"])
        assert bell.gone == []
        sim.sleep(5)
    assert bell.gone == ([1 + seconds] if is_ended else [])


def test_a_program_that_pauses_itself_stops_there() -> None:
    """Also in the midst of what it does."""
    times = []

    def program() -> None:
        times.append(sim.now)
        sim.pause("own", for_=2)
        times.append(sim.now)

    with simulated() as sim:
        sim.spawn(program, name="own").join()
    assert times == [0, 2]


def test_a_thread_that_is_spawned_before_the_pause_begins_after_it() -> None:
    """Its first turn is one like any other."""
    times = []

    def program() -> None:
        meshsync.spawn(lambda: times.append(sim.now), name="child")
        sim.pause("parent", for_=3)

    with simulated() as sim:
        sim.spawn(program, name="parent").join()
        sim.sleep(1)
    assert times == [3]


def test_of_several_pauses_the_longest_counts() -> None:
    """A later one that ends earlier changes nothing, one that ends later does."""
    bell = Bell()
    with simulated() as sim:
        sim.spawn(bell, name="bell")
        sim.sleep(0.5)
        sim.pause("bell", for_=3)
        sim.pause("bell", for_=1)
        sim.sleep(2)
        sim.pause("bell", for_=2.25)
        sim.sleep(3)
    assert bell.beats == [4.75]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_pauses_hold_under_every_schedule_and_repeat(schedule: str) -> None:
    """Whoever is chosen, and wherever it was preempted: no turn of the program comes within the pause."""
    for seed in range(10):
        digests = []
        for _ in range(2):
            bell = Bell()
            with simulated(seed, schedule=schedule, latency=0.01) as sim:
                sim.spawn(bell, name="bell")
                sim.plan(*(faults.at(time, faults.pause_program("bell", 1.4)) for time in (1.52, 4.03)))
                ring(sim, 7)
            digests.append((sim.room("demo").transcript.digest(), bell.beats, bell.heard, bell.waited))
        assert digests[0] == digests[1]
        turns = [*bell.beats, *bell.heard, *bell.waited]
        assert not [turn for turn in turns if 1.52 < turn < 2.92 or 4.03 < turn < 5.43], seed


def test_a_program_that_was_preempted_in_a_condition_leaves_it_before_it_stands_still() -> None:
    """Else a timer's callback, such as an arrival, would find it taken."""
    for seed in range(40):
        with simulated(seed, schedule="random") as sim:
            change = meshsync.condition()

            def program(sim: Simulation = sim, change: Condition = change) -> None:
                for second in range(1, 9):
                    sim.sleep(max(0, second - sim.now))
                    with change:
                        change.notify_all()

            def look(change: Condition = change) -> None:
                with change:
                    pass

            sim.spawn(program, name="own")
            for _ in range(8):
                sim.sleep(1)
                sim.pause("own", for_=0.5)
                sim.kernel.after(0.25, look)


def test_stepping_goes_past_a_pause() -> None:
    """The calls that move the world from outside work with the gate shut."""
    bell = Bell()
    with simulated() as sim:
        sim.spawn(bell.beat, name="bell")
        sim.sleep(0.5)
        sim.pause("bell", for_=2)
        while not bell.beats:
            assert sim.step()
        assert bell.beats == [2.5]


# --- slow -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["fifo", "random", "pct"])
def test_a_slow_program_sleeps_longer_and_wakes_later(schedule: str) -> None:
    """Each sleep of 1 s that begins is one of 2 s; each turn is late, the reader's and that of the thread it wakes."""
    bell = Bell()
    with simulated(schedule=schedule) as sim:
        sim.spawn(bell, name="bell")
        sim.sleep(1.25)
        sim.slow("bell", factor=2, by=0.125)
        ring(sim, 8)
    assert bell.beats == [1, 2, 4.125, 6.25]
    assert bell.waited == [0.75, 1.625, 2.5, 3.375, 4.25, 5.125, 6, 6.875, 7.75]
    assert bell.heard[1:] == [1.75, 2.75, 3.75, 4.75, 5.75, 6.75, 7.75]


def test_slowness_holds_for_a_while_and_for_one_program() -> None:
    """Another one is as fast as ever, and so is the same one afterwards."""
    slow, other = Bell(), Bell()
    with simulated() as sim:
        sim.spawn(slow.beat, name="slow")
        sim.spawn(other.beat, name="slower")
        sim.plan(faults.during(0.5, 4.5, faults.slow_program("slow", factor=3)))
        sim.sleep(7.5)
    assert slow.beats == [1, 4, 7]
    assert other.beats == [1, 2, 3, 4, 5, 6, 7]


def test_threads_that_begin_later_are_slow_too() -> None:
    """A new thread's first turn is late."""
    times = []

    def program() -> None:
        meshsync.sleep(1)
        meshsync.spawn(lambda: times.append(sim.now), name="child")

    with simulated() as sim:
        sim.spawn(program, name="parent")
        sim.sleep(0.5)
        sim.slow("parent", by=0.25)
        sim.sleep(5)
    assert times == [1.25]


# --- wall clocks ------------------------------------------------------------------------------------------------------


def test_a_skewed_clock_is_that_of_one_program() -> None:
    """It is ahead by the offset, and by the drift for each second since; monotonic clocks and the others' are right."""
    times: dict[str, list[float]] = {"bob": [], "ada": []}

    def program(name: str) -> None:
        for _ in range(3):
            meshsync.sleep(1)
            times[name].append(meshsync.wall_time() - begin)
            assert meshsync.monotonic() == len(times[name])

    with simulated(start="2026-01-01T00:00:00Z") as sim:
        begin = meshsync.wall_time()
        assert begin == 1_767_225_600
        for name in times:
            sim.spawn(program, name, name=name)
        sim.sleep(0.5)
        sim.skew("bob", -60, drift=0.5)
        sim.sleep(3)
    assert times == {"bob": [-58.75, -57.25, -55.75], "ada": [1, 2, 3]}


def test_rooms_look_at_the_right_clock() -> None:
    """A token that has expired by the clock of who brings it is good."""
    joined = []

    def program() -> None:
        meshsync.sleep(1)
        with meshsync.connect("demo", token=token) as room:
            joined.append(room.room_name)

    with simulated() as sim:
        admission = meshsync.ParticipantToken.for_room("demo", "bob", expires=meshsync.wall_time() + 60)
        token = admission.encode(sim.world.environ["MESHAGENT_SECRET"])
        sim.spawn(program, name="bob")
        sim.skew("bob", 3600)
        sim.sleep(2)
    assert joined == ["demo"]


# --- plans ------------------------------------------------------------------------------------------------------------


def test_quiet_ends_all_of_them() -> None:
    """A pause too: the program goes on at that instant."""
    bell = Bell()
    with simulated() as sim:
        sim.spawn(bell.beat, name="bell")
        sim.sleep(0.5)
        sim.slow("bell", factor=2)
        sim.skew("bell", 5)
        sim.pause("bell", for_=100)
        sim.plan(faults.quiet(after=3.5))
        sim.sleep(5.5)
        assert sim.runtime.hindrances.ahead() == 0
    assert bell.beats == [3.5, 4.5, 5.5]


@pytest.mark.parametrize("name", ["zoe", "main", "bell#2"])
def test_an_unknown_program_is_refused(name: str) -> None:
    """The text has those that there are."""
    with simulated() as sim:
        sim.spawn(Bell().beat, name="bell")
        for hinder in (lambda: sim.pause(name, for_=1), lambda: sim.slow(name, by=1), lambda: sim.skew(name, 1)):
            with pytest.raises(UsageError) as refused:
                hinder()
            assert f"no program is called {name!r}" in str(refused.value)
            assert str(refused.value).endswith("those that were spawned are: 'bell'")


def test_a_program_that_has_ended_is_no_error() -> None:
    """There is nothing to pause."""
    with simulated() as sim:
        sim.spawn(lambda: None, name="short").join()
        sim.pause("short", for_=1)
        sim.sleep(2)


def test_the_transcript_and_charts_have_them() -> None:
    """With the lane of the participant that has the program's name."""
    with simulated() as sim:
        sim.spawn(Bell(), name="bell")
        sim.plan(
            faults.during(1, 2, faults.slow_program("bell", by=0.1)), faults.at(3, faults.pause_program("bell", 1))
        )
        ring(sim, 5)
    transcript = sim.room("demo").transcript
    assert [(one.type, one.outcome) for one in transcript.faults()] == [
        ("slow_program", "began"),
        ("slow_program", "ended"),
        ("pause_program", "struck"),
    ]
    assert "fault pause_program struck: bell" in transcript.to_text()


HOLDERS: list[str] = []


def lease(name: str) -> None:
    """Hold a lease for two seconds, and work for one of them."""
    meshsync.sleep(1 if name == "ada" else 4)
    HOLDERS.append(name)
    meshsync.sleep(1)
    assert HOLDERS[-1] == name, "it has another holder"


def paused_in_vain_and_not(sim: Simulation) -> None:
    """A lease that a pause outlasts; a slow and a skewed clock change nothing."""
    HOLDERS.clear()
    tasks = [sim.spawn(lease, name, name=name) for name in ("ada", "bob")]
    sim.slow("bob", by=0.01)
    sim.skew("ada", 100)
    sim.sleep(1.5)
    sim.pause("ada", for_=5)
    for task in tasks:
        task.join()


def test_searches_leave_out_what_a_failure_does_not_need(tmp_path: Path) -> None:
    """Of three hindrances one is left, and the file repeats the run."""
    failure = explore(paused_in_vain_and_not, range(3), schedule="fifo", save=tmp_path, report=None)
    assert failure is not None
    assert failure.plan == (faults.pause_program("ada", 5),)
    assert "needs 1 of 3 faults: pause_program who=ada seconds=5.0" in str(failure)
    assert failure.path is not None
    assert replay(failure.path).is_identical


def test_a_plan_from_the_start_names_programs_that_the_run_spawns() -> None:
    """As ``explore(plan=…)`` and ``--plan`` give one."""
    plan = faults.from_json(faults.to_json([faults.at(1.5, faults.pause_program("ada", 5))]))
    found = run(unhindered, Case(plan=plan))
    assert "it has another holder" in str(found.error)
    assert run(unhindered, Case()).error is None


def unhindered(sim: Simulation) -> None:
    """The same without."""
    HOLDERS.clear()
    for task in [sim.spawn(lease, name, name=name) for name in ("ada", "bob")]:
        task.join()
