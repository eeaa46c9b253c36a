"""The fixtures that give a test an emulator, or a simulation; in projects that have nothing but the plugin."""

from __future__ import annotations

import os
import re

import pytest

from simulator import Emulator
from simulator.emulator import CLEARED
from tests.support.pytest_runs import run

# --- the emulator -----------------------------------------------------------------------------------------------------


@pytest.fixture
def misleading_environment(monkeypatch):
    """Set what would lead a client past the emulator."""
    for name in CLEARED:
        monkeypatch.setenv(name, "wss://elsewhere.invalid")


@pytest.mark.usefixtures("misleading_environment")
def test_emulator_runs_and_the_environment_leads_to_it(emulator):
    """Every variable of its is set, and none that would lead past it."""
    assert isinstance(emulator, Emulator)
    assert emulator.is_open
    assert {name: os.environ.get(name) for name in emulator.env} == dict(emulator.env)
    assert not set(CLEARED) & set(os.environ)


def test_each_test_has_its_own_and_leaves_nothing_behind(tmp_path):
    """The environment is restored, and nobody listens any more."""
    program = """
        import os, threading
        import pytest

        seen = []

        @pytest.mark.parametrize("turn", [1, 2])
        def test_with(emulator, turn):
            seen.append(emulator)
            assert os.environ["MESHAGENT_SECRET"] == emulator.secret
            assert "MESHAGENT_TOKEN" not in os.environ

        def test_without():
            assert len({id(emulator) for emulator in seen}) == 2
            assert not any(emulator.is_open for emulator in seen)
            assert os.environ["MESHAGENT_SECRET"] == "before"
            assert os.environ["MESHAGENT_TOKEN"] == "before"
            assert threading.active_count() == 1
    """
    out = run(tmp_path, program, MESHAGENT_SECRET="before", MESHAGENT_TOKEN="before")
    assert "3 passed" in out, out


# --- simulations ------------------------------------------------------------------------------------------------------


def test_simulation_is_open_and_current(simulation, sim_room):
    """A test gets a world with a clock at 0, seed 0, and a room in it."""
    import simulator

    assert simulator.current() is simulation
    assert (simulation.seed, simulation.now, sim_room.name) == (0, 0.0, "demo")
    assert simulation.rooms == (sim_room,)


@pytest.mark.simulated(seeds=[3], latency=0.25, schedule="random", horizon=2)
def test_marker_says_how_the_simulation_is_made(simulation, sim_room):
    """Its members but the seeds are those of Simulation."""
    from simulator.errors import HorizonReached

    sim_room.join("alice")
    assert (simulation.seed, simulation.now) == (3, 1.0)  # two round trips
    assert simulation.runtime.schedule is not None
    with pytest.raises(HorizonReached):
        simulation.sleep(60)


@pytest.mark.parametrize(
    ("marker", "arguments", "options", "expected"),
    [
        ("seeds=3", "", (), "the marker simulated does nothing to a test without the fixture"),
        ("seeds=0", "sim_room", (), "there is no seed to run it with"),
        ("seeds=[]", "simulation", (), "there is no seed to run it with"),
        ("seeds=3", "simulation", ("--sim-seeds", "7:7"), "--sim-seeds: '7:7' has no seed"),
    ],
)
def test_test_that_would_be_none_is_an_error(tmp_path, marker, arguments, options, expected):
    """It would pass without having run, or not be there."""
    program = f"""
        import pytest

        @pytest.mark.simulated({marker})
        def test_it({arguments}):
            pass
    """
    printed = run(tmp_path, program, *options)
    assert expected in printed
    assert "passed" not in printed


def test_seeds_come_from_the_marker_or_the_command_line(tmp_path):
    """A test is run with each; one without seeds once, with 0, unless the command line has some."""
    program = """
        import pytest

        @pytest.mark.simulated(seeds=3)
        @pytest.mark.parametrize("letter", "ab")
        def test_marked(simulation, letter): print("seed", simulation.seed)

        def test_plain(sim_room): print("seed", sim_room.simulation.seed)

        def test_none_at_all(): pass
    """

    def seeds(*options: str) -> list[str]:
        return re.findall(r"seed (\S+)", run(tmp_path, program, "-s", *options))

    assert sorted(seeds()) == sorted("012" * 2 + "0")
    assert seeds("--sim-seed", "17") == ["17"] * 3
    assert sorted(seeds("--sim-seeds", "5:7")) == ["5"] * 3 + ["6"] * 3


FAILING = """
    import meshsync
    import pytest
    from simulator import participants

    @pytest.mark.simulated(seeds=range(4), latency=0.01)
    def test_answer(simulation, sim_room):
        sim_room.add(participants.Echo("bot"))
        alice = sim_room.join("alice", enable=True)
        alice.messaging.send_message(to=alice.messaging.wait_for_participant(name="bot"), type="ask", message={"n": 1})
        simulation.sleep(1)
        assert simulation.seed != 2
"""


def test_failure_shows_seed_replay_line_and_chart(tmp_path):
    """The line runs that test with that seed, and nothing else; the chart has the messages."""
    out = run(tmp_path, FAILING)
    assert "1 failed, 3 passed" in out, out
    assert "- simulation, seed 2 -" in out
    assert re.search(r"^pytest test_it\.py::test_answer --sim-seed 2$", out, re.MULTILINE)
    assert re.search(r"bot +alice$", out, re.MULTILINE)
    assert "|<------|         ask (20 ms) n=1" in out

    again = run(tmp_path, FAILING, "test_it.py::test_answer", "--sim-seed", "2")
    assert "1 failed" in again
    assert "passed" not in again


def test_line_is_for_the_directory_that_pytest_was_started_in(tmp_path):
    """Which need not be the root that names of tests begin at; other parameters stay, and are quoted."""
    program = """
        import pytest

        @pytest.mark.parametrize("letter", ["a b"])
        @pytest.mark.simulated(seeds=1)
        def test_it(simulation, letter):
            assert False
    """
    (tmp_path / "pytest.ini").write_text("[pytest]")
    (tmp_path / "inner").mkdir()
    out = run(tmp_path / "inner", program)
    assert "\npytest 'test_it.py::test_it[seed0-a b]' --sim-seed 0\n" in out, out


def test_failure_on_a_worker_of_xdist_shows_the_same(tmp_path):
    """What is shown travels with the report."""
    pytest.importorskip("xdist")
    out = run(tmp_path, FAILING, "-p", "xdist", "-n", "2")
    assert "1 failed, 3 passed" in out, out
    assert "pytest test_it.py::test_answer --sim-seed 2" in out
    assert "ask (20 ms) n=1" in out


def test_actor_whose_exception_has_no_text_fails_the_test(tmp_path):
    """As any other; the report has the actor, the exception's class, and the seed."""
    program = """
        class Mute(Exception):
            def __str__(self):
                raise RuntimeError("no text")

            __repr__ = __str__

        def broken():
            raise Mute

        def test_waits(simulation):
            simulation.spawn(broken)
            simulation.sleep(1)

        def test_failed_before(simulation):
            simulation.spawn(broken).join()
            assert False, "itself"
    """
    out = run(tmp_path, program, "-rA")
    assert "2 failed" in out, out
    assert "ActorFailed: actor 'broken' failed: Mute: (Mute without a text)" in out
    assert re.search(r"^FAILED \S+::test_failed_before - AssertionError: itself", out, re.MULTILINE)
    assert "test_it.py::test_failed_before --sim-seed 0" in out
    assert "INTERNALERROR" not in out


def test_failing_actor_fails_the_test(tmp_path):
    """Whether the test waits, joins without looking, or has failed before; once looked at it is the test's business."""
    program = """
        import pytest

        def broken():
            raise LookupError("no such thing")

        @pytest.fixture
        def client(sim_room):
            with sim_room.join("alice") as room:
                yield room

        def test_waits(simulation):
            simulation.spawn(broken)
            simulation.sleep(1)

        def test_joins(simulation, client):
            simulation.spawn(broken).join()

        def test_failed_before(simulation, client):
            simulation.spawn(broken).join()
            assert False, "itself"

        def test_looks(simulation):
            task = simulation.spawn(broken)
            task.join()
            assert isinstance(task.error, LookupError)
    """
    out = run(tmp_path, program, "-rA")
    assert "3 failed, 1 passed" in out, out
    assert re.search(r"^PASSED \S+::test_looks", out, re.MULTILINE)
    for name in ("test_waits", "test_joins"):
        assert re.search(rf"^FAILED \S+::{name} - .*ActorFailed: actor 'broken'", out, re.MULTILINE)
    assert re.search(r"^FAILED \S+::test_failed_before - AssertionError: itself", out, re.MULTILINE)
    assert out.count("LookupError: no such thing") >= 3


def test_failing_receiver_fails_the_test(tmp_path):
    """In both worlds, of a client in this process or a participant without a thread; unless it is said to be meant."""
    program = """
        import threading
        import pytest, meshsync
        from simulator import participants

        class Clumsy(participants.Participant):
            def on_message(self, message):
                called.set()
                raise LookupError("no such thing")

        called = threading.Event()

        def broken(event):
            called.set()
            raise LookupError("no such thing")

        def talk(ada, bob):
            called.clear()
            bob.messaging.on_message("hi", broken)
            ada.messaging.send_message(ada.messaging.wait_for_participant("bob"), "hi", {})

        def talk_in(rooms):
            ada, bob = rooms.connect("lab", "ada"), rooms.connect("lab", "bob")
            ada.messaging.enable()
            bob.messaging.enable()
            talk(ada, bob)
            assert called.wait(30)
            bob.close(5)  # when its receivers have run

        def test_simulated(sim_room):
            talk(sim_room.join("ada", enable=True), sim_room.join("bob", enable=True))
            meshsync.sleep(1)

        @pytest.mark.simulated(failing_receivers="log")
        def test_simulated_and_meant(sim_room):
            talk(sim_room.join("ada", enable=True), sim_room.join("bob", enable=True))
            meshsync.sleep(1)

        def test_emulated(emulator):
            talk_in(emulator)

        def test_emulated_and_meant(emulator):
            emulator.failing_receivers = "log"
            talk_in(emulator)

        def test_shared(module_emulator):
            talk_in(module_emulator)

        def test_shared_and_innocent(module_emulator):
            module_emulator.connect("lab", "eve")

        def test_participant(emulator_factory):
            with emulator_factory() as rooms:
                called.clear()
                rooms.add("lab", Clumsy("clumsy"))
                ada = rooms.connect("lab", "ada")
                ada.messaging.enable()
                ada.messaging.send_message(ada.messaging.wait_for_participant("clumsy"), "hi", {})
                assert called.wait(30)

        def test_failed_before(emulator):
            talk_in(emulator)
            assert False, "itself"

        @pytest.fixture
        def late(emulator):
            yield
            talk_in(emulator)

        def test_at_the_end(late):
            pass
    """
    out = run(tmp_path, program)
    failed = set(re.findall(r"^FAILED \S+::(\w+) - simulator.errors.ReceiverFailed", out, re.MULTILINE))
    assert failed == {"test_simulated", "test_emulated", "test_shared", "test_participant"}, out
    assert re.search(r"^FAILED \S+::test_failed_before - AssertionError: itself", out, re.MULTILINE)
    assert re.search(r"^ERROR \S+::test_at_the_end - simulator.errors.ReceiverFailed", out, re.MULTILINE)
    assert "5 failed, 4 passed, 1 error" in out
    what = r" failed at '%s', test_it\.py:\d+: LookupError: no such thing"
    assert re.search("test_it.broken of 'bob'" + what % "message", out)
    assert re.search("Clumsy.on_message of 'clumsy'" + what % "on_message", out)
    assert "receivers that failed" in out


def test_what_is_claimed_and_does_not_hold_at_the_end_fails_the_test(tmp_path):
    """The test, and not its teardown; one that fails otherwise is not blamed for that too."""
    program = """
        def test_leaves_it_undone(simulation):
            simulation.eventually(lambda: False, name="the work is done")

        def test_fails_otherwise(simulation):
            simulation.eventually(lambda: False, name="the rest is done")
            assert 1 == 2
    """
    printed = run(tmp_path, program)
    assert "2 failed in" in printed
    assert "InvariantViolated: eventually the work is done" in printed
    assert "still false at the end of the simulation" in printed
    assert "the rest is done (" not in printed


def test_two_simulations_name_the_test(tmp_path):
    """A test that has the fixture and opens another one learns who holds the first."""
    program = """
        from simulator import Simulation

        def test_it(simulation):
            Simulation()
    """
    out = run(tmp_path, program)
    assert re.search("SimulationNested: .*since the fixture simulation of test_it.py::test_it", out), out


def test_next_test_begins_anew_whatever_became_of_the_last(tmp_path):
    """A time limit of pytest-timeout ends a test that blocks for real, shows the chart, and leaves no simulation."""
    pytest.importorskip("pytest_timeout")
    program = """
        import time
        import pytest
        from simulator import Simulation  # Importing it takes a slow machine longer than the limit.

        @pytest.mark.timeout(5, method="signal", func_only=True)
        def test_blocks(simulation, sim_room):
            sim_room.join("alice")
            simulation.spawn(time.sleep, 60)
            simulation.sleep(1)

        def test_next(simulation):
            simulation.sleep(1)
            assert simulation.now == 1
    """
    out = run(tmp_path, program, "-p", "pytest_timeout")
    assert "1 failed, 1 passed" in out, out
    assert "Timeout" in out
    assert "connected" in out


def test_plugin_imports_nothing_of_the_simulator_before_it_is_asked(tmp_path):
    """Nor what is optional; nor does a simulated test import aiohttp or matplotlib."""
    program = """
        import sys

        HEAVY = ("aiohttp", "matplotlib", "pandas", "asyncio")

        def test_plain():
            assert not [name for name in sys.modules if name == "simulator" or name.startswith("simulator.")]
            assert not [name for name in HEAVY if name in sys.modules]

        def test_simulated(sim_room):
            sim_room.join("alice")
            assert not [name for name in HEAVY if name in sys.modules]
    """
    out = run(tmp_path, program)
    assert "2 passed" in out, out


# --- the report of a failure with an emulator -------------------------------------------------------------------------

CONVERSATION = """
    import pytest
    import meshsync
    from simulator import faults, participants

    def converse(emulator):
        emulator.add("lab", participants.Echo("bot"))
        ada = emulator.connect("lab", "ada")
        emulator.connect("lab", "ben", role="agent").close()
        emulator.connect("den", "cleo")
        ada.messaging.enable()
        bot = ada.messaging.wait_for_participant(name="bot", timeout=20)
        with ada.messaging.messages(sender=bot) as answers:
            ada.messaging.send_message(bot, "ask", {"text": "are you there"})
            answers.get(timeout=20)
        emulator.plan(faults.late_replies("ada", 0))

    def test_that_fails(emulator):
        converse(emulator)
        assert False

    def test_that_passes(emulator):
        converse(emulator)

    def test_that_fails_before_anything(emulator):
        assert False

    def test_that_closed_it(emulator):
        converse(emulator)
        emulator.close()
        assert False

    @pytest.fixture
    def broken(emulator):
        converse(emulator)
        raise ZeroDivisionError

    def test_with_a_broken_fixture(broken):
        pass
"""


def test_a_failure_with_an_emulator_tells_who_was_there_and_shows_a_chart(tmp_path):
    """Each room with who is there now and who was, messages and faults; nothing for a test that passes."""
    out = run(tmp_path, CONVERSATION)
    assert "3 failed, 1 passed, 1 error" in out, out
    sections = re.split(r"-+ emulator -+\n", out)[1:]
    assert len(sections) == 4
    failed, empty, closed, broken = sections if "no room was opened" in sections[1] else (*sections[1:], sections[0])
    assert empty.startswith("no room was opened")
    for section in (failed, broken):
        assert "room lab: now bot (agent), ada (user); there were bot, ada, ben" in section
        assert "room den: now cleo (user); there were cleo" in section
    assert "room lab: now no participant; there were bot, ada, ben" in closed
    for section in (failed, closed, broken):
        assert "ask" in section and "are you there" in section and "late_replies" in section
