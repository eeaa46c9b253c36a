"""The plug-in in company: another `simulator`, other plug-ins, other kinds of tests; wider scopes; what it refuses."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from meshsync import pytest_cases, pytest_plugin
from simulator import Simulation
from tests.support.pytest_runs import ROOT, run, run_here

pytestmark = pytest.mark.timeout(300)  # Many processes, one after the other.

# --- another package called simulator ---------------------------------------------------------------------------------

OF_OURS = """
    import pytest

    def test_plain(): pass

    def test_emulator(emulator): pass

    def test_shared(session_emulator): pass

    def test_made(emulator_factory): pass

    @pytest.mark.simulated(seeds=2, latency=0.1)
    def test_simulated(sim_room): pass
"""
THEIRS = """
def test_theirs():
    import simulator
    assert simulator.WHO == "theirs"
"""


@pytest.mark.parametrize("file", ["simulator/__init__.py", "simulator.py"])
@pytest.mark.parametrize("is_broken", [False, True])
def test_a_project_may_have_a_simulator_of_its_own(tmp_path: Path, file: str, is_broken: bool) -> None:
    """Its tests run; one with a fixture of ours fails with a sentence, and theirs is not imported for that."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("raise SystemExit('not to be imported')" if is_broken else "WHO = 'theirs'")
    if not is_broken:
        (tmp_path / "test_theirs.py").write_text(THEIRS)
    printed = run(tmp_path, OF_OURS)
    assert f"{1 if is_broken else 2} passed, 5 errors" in printed
    sentence = (
        r"^the fixture {} needs the package simulator of meshsync-client, in .*, and Python finds another one.*: {}"
    )
    place = tmp_path / "simulator" if file.endswith("__init__.py") else tmp_path / file
    for fixture in ("emulator", "session_emulator", "emulator_factory", "simulation"):
        assert re.search(sentence.format(fixture, re.escape(str(place))), printed, re.MULTILINE), printed
    assert "Traceback" not in printed
    assert "not to be imported" not in printed


def test_a_simulator_that_a_test_has_put_there_is_not_ours(tmp_path: Path) -> None:
    """One without a file, as programs make it for a missing package."""
    program = """
        import sys, types
        sys.modules["simulator"] = types.ModuleType("simulator")

        def test_plain(): pass

        def test_simulated(sim_room): pass
    """
    printed = run(tmp_path, program)
    assert "1 passed, 1 error" in printed
    assert "Python finds another one of that name: one that a program made" in printed


def test_a_folder_that_our_package_hides_is_named(tmp_path: Path) -> None:
    """Python takes a folder without an __init__.py last, whatever pytest does; other tests are not affected."""
    (tmp_path / "simulator").mkdir()
    (tmp_path / "simulator" / "physics.py").write_text("")
    (tmp_path / "test_physics.py").write_text("from simulator import physics\n")
    (tmp_path / "test_missing.py").write_text("from simulator.participants import absent\n")
    printed = run(tmp_path, OF_OURS, "--continue-on-collection-errors")
    assert "6 passed, 2 errors" in printed, printed
    assert printed.count("two packages are called simulator") == 1
    assert f"before {tmp_path / 'simulator'}, since a folder without an __init__.py comes last: add one" in printed


# --- what would test nothing ------------------------------------------------------------------------------------------


def test_the_marker_has_the_options_of_a_simulation() -> None:
    """The plug-in has their names, since it does not import the simulator to look for a misspelling."""
    _, *options = inspect.signature(Simulation).parameters
    assert ("seeds", *options) == pytest_cases.ARGUMENTS


SENSELESS = {
    "20": "takes its arguments by name, as seeds=20",
    "latncy=3": "no argument 'latncy': did you mean latency?",
    "seed=3": "no argument 'seed': did you mean seeds?",
    "x=3": "no argument 'x': it has seeds, latency, schedule",
    "seeds={1}": "seeds is how many, or a sequence of them, as a list or a range, not {1}",
    "seeds=(x for x in 'a')": "seeds is how many, or a sequence of them, as a list or a range, not <gen",
    "seeds='abc'": "seeds is how many, or a sequence of them, as a list or a range, not 'abc'",
    "seeds=True": "seeds is how many, or a sequence of them, as a list or a range, not True",
    "seeds=[1.5]": "a seed is a number or a text, not 1.5",
    "seeds=-1": "there is no seed to run it with",
    "schedule='rnadom'": "the marker simulated: no schedule is named 'rnadom'",
    "latency=-1": "the marker simulated: seconds must be at least 0",
    "horizon=0": "the marker simulated: horizon",
}
"""What a marker may have by mistake, and what is said of it."""


def test_a_marker_that_makes_no_sense_is_an_error(tmp_path: Path) -> None:
    """A sentence with the test's name, and no traceback."""
    for number, marker in enumerate(SENSELESS):
        program = f"import pytest\n\n@pytest.mark.simulated({marker})\ndef test_it(sim_room): pass\n"
        (tmp_path / f"test_{number}.py").write_text(program)
    printed = run_here(tmp_path, "--continue-on-collection-errors")
    assert f"\n{len(SENSELESS)} errors in" in printed, printed
    for number, expected in enumerate(SENSELESS.values()):
        assert re.search(f"^test_{number}.py::test_it: .*{re.escape(expected)}", printed, re.MULTILINE), printed
    assert "Traceback" not in printed
    assert "During handling" not in printed


@pytest.mark.parametrize("name", ["simulate", "simulation", "simulted", "Simulated"])
def test_a_misspelled_marker_of_a_simulated_test_is_an_error(tmp_path: Path, name: str) -> None:
    """It would do nothing, and pytest only warns. One that a project has registered is its own affair."""
    test = "\n\n@pytest.mark.{name}(seeds=3)\ndef test_it({fixture}): pass\n"
    printed = run(tmp_path, "import pytest" + test.format(name=name, fixture="sim_room"))
    assert (
        f"test_it.py::test_it: there is no marker '{name}', so that it does nothing: did you mean simulated?" in printed
    )
    assert "1 passed" in run(tmp_path, "import pytest" + test.format(name=name, fixture=""))
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nmarkers =\n    {name}(seeds): ours\n")
    assert "1 passed" in run(tmp_path, "import pytest" + test.format(name=name, fixture="sim_room"))


def test_an_emulator_without_its_libraries_is_a_sentence(tmp_path: Path) -> None:
    """With the line to type, in whatever scope; a simulation needs none of them."""
    program = """
        import sys
        import pytest

        sys.modules["aiohttp"] = None

        def test_emulator(emulator): pass

        def test_wider(module_emulator): pass

        def test_made(emulator_factory): pass

        def test_simulated(sim_room): pass
    """
    printed = run(tmp_path, program)
    assert "1 passed, 3 errors" in printed
    for name in ("emulator", "module_emulator", "emulator_factory"):
        text = f"the fixture {name}: the emulator needs aiohttp: pip install 'meshsync-client[emulator]'"
        assert f"\n{text}\n" in printed, printed
    assert "Traceback" not in printed
    assert "pytest_plugin.py" not in printed


UNUSED = """
    import unittest
    import pytest

    {module}

    {above}
    class TestGroup({base}):
        {method}
        def test_it(self): pass

        def test_other(self): pass
"""


@pytest.mark.parametrize(
    ("values", "named", "errors"),
    [
        ({"above": "@pytest.mark.simulated(seeds=3)"}, "test_it.py::TestGroup", 2),
        ({"module": "pytestmark = pytest.mark.simulated(seeds=3)"}, "test_it.py", 2),
        ({"base": "unittest.TestCase", "method": "@pytest.mark.simulated()"}, "test_it.py::TestGroup::test_it", 1),
    ],
    ids=["class", "module", "method"],
)
def test_a_marker_without_effect_is_an_error(tmp_path: Path, values: dict[str, str], named: str, errors: int) -> None:
    """Of a class or module of which no test is simulated, and of a method that pytest asks no parameters for."""
    program = UNUSED.format(**{"module": "", "above": "", "base": "", "method": "", **values})
    printed = run(tmp_path, program)
    assert f"{errors} error" in printed, printed
    assert printed.count(f"\n{named}: the marker simulated does nothing") == errors


def test_a_class_may_have_a_marker_for_some_of_its_tests(tmp_path: Path) -> None:
    """Be they inner ones; one that is chosen by its name is run, used or not; its own marker adds to the outer ones."""
    program = """
        import pytest

        pytestmark = pytest.mark.simulated(latency=0.25, schedule="random")

        @pytest.mark.simulated(seeds=2)
        class TestGroup:
            def test_plain(self): pass

            class TestInner:
                @pytest.mark.simulated(latency=0.5)
                def test_it(self, simulation, sim_room):
                    sim_room.join("alice")
                    assert simulation.now == 2.0  # Two round trips.
                    assert simulation.runtime.schedule is not None
    """
    assert "3 passed" in run(tmp_path, program)
    assert "1 passed" in run_here(tmp_path, "test_it.py::TestGroup::test_plain")


EMPTY = """
    import pytest

    @pytest.mark.parametrize("x", [])
    def test_values({0}, x): pass

    @pytest.fixture(params=())
    def without(): pass

    def test_fixture({0}, without): pass

    @pytest.mark.skip
    @pytest.mark.parametrize("x", [])
    def test_wanted({0}, x): pass
"""


@pytest.mark.parametrize("fixture", ["sim_room", "emulator", "module_emulator"])
def test_parameters_without_a_value_are_an_error(tmp_path: Path, fixture: str) -> None:
    """Where pytest skips the test; those of tests without our fixtures are not our business."""
    printed = run(tmp_path, EMPTY.format(fixture))
    assert "1 skipped, 2 errors" in printed, printed
    assert printed.count("there is no value to parametrize it with, so that it would never run") >= 2
    assert "3 skipped" in run(tmp_path, EMPTY.format("tmp_path"))


def test_seeds_of_the_command_line_that_no_test_has_are_an_error(tmp_path: Path) -> None:
    """Also where those that have one were not chosen; not if a test may ask for it as it runs. So are two answers."""
    program = """
        def test_plain(): pass

        def test_simulated(simulation): assert simulation.seed == 5

        def test_asks(request): assert request.getfixturevalue("simulation").seed == 5
    """
    for option in ("--sim-seed=5", "--sim-seeds=5:6"):
        printed = run(tmp_path, program, option, "-k", "plain")
        assert "1 error" in printed
        assert f"{option.partition('=')[0]}: none of the tests chosen is simulated" in printed
        assert "3 passed" in run_here(tmp_path, option)
    assert "give one of them" in run_here(tmp_path, "--sim-seed=5", "--sim-seeds=5:6")
    printed = run_here(tmp_path, "--sim-seeds=5:9", "-k", "asks")
    assert "test_it.py::test_asks is to run with 4 seeds" in printed


def test_a_test_may_be_parametrized_with_seeds_by_hand(tmp_path: Path) -> None:
    """Its name tells the seed, so that the line repeats it; with seeds from elsewhere it is refused."""
    program = """
        import pytest

        @pytest.mark.parametrize("sim_seed", [1, -2])
        def test_it(simulation, sim_seed): assert simulation.seed == sim_seed == 1

        def test_other(simulation): assert simulation.seed != -2
    """
    printed = run(tmp_path, program)
    assert "1 failed, 2 passed" in printed
    assert "\npytest 'test_it.py::test_it[-2]'\n" in printed
    printed = run_here(tmp_path, "--sim-seed=-2")
    assert "2 failed, 1 error" in printed
    assert "\npytest test_it.py::test_other --sim-seed=-2\n" in printed
    assert "\ntest_it.py::test_it[1]: sim_seed is parametrized, so that" in printed
    twice = program.replace("@pytest", "@pytest.mark.simulated(seeds=2)\n        @pytest", 1)
    assert "its seeds are given twice" in run(tmp_path, twice)


# --- both worlds ------------------------------------------------------------------------------------------------------


def test_an_emulator_and_a_simulation_in_one_test_are_refused_in_any_order(tmp_path: Path) -> None:
    """With a sentence; one of a wider scope may be open, and nobody connects to it from a simulation."""
    program = """
        import pytest
        import meshsync

        def test_one(simulation, emulator): pass

        def test_two(emulator, simulation): pass

        def test_asks(emulator, request): request.getfixturevalue("sim_room")

        def test_beside(sim_room, session_emulator):
            sim_room.join("alice")
            with pytest.raises(meshsync.UsageError, match="a program in a simulation is in no real room"):
                session_emulator.connect("lab", "ada")
            assert session_emulator.rooms == ()

        def test_after(session_emulator):
            session_emulator.connect("lab", "ada")
    """
    printed = run(tmp_path, program)
    assert "1 failed, 2 passed, 2 errors" in printed, printed
    assert printed.count("\na test has either the fixture emulator or a simulation, and this one asks for both") == 3


# --- wider scopes -----------------------------------------------------------------------------------------------------

SCOPES = """
    import os
    import pytest
    import meshsync

    def address():
        return os.environ.get("MESHAGENT_API_URL", "none").replace("http", "ws")

    made = []

    class TestOne:
        def test_first(self, class_emulator, module_emulator, package_emulator, session_emulator):
            assert len({class_emulator, module_emulator, package_emulator, session_emulator}) == 4
            assert address() == class_emulator.url  # The one that was opened last.
            with meshsync.connect("lab", name="ada"): assert class_emulator.rooms == ("lab",)

        def test_second(self, class_emulator, emulator):
            assert [record.kind for record in class_emulator.transcript("lab")][0] == "connected"
            assert address() == emulator.url

    def test_of_the_module(module_emulator, session_emulator):
        assert address() == module_emulator.url

    def test_out_of_order(emulator, request):
        made.append(request.getfixturevalue("emulator_factory")())
        assert address() == made[0].url

    def test_of_the_factory(emulator_factory, module_emulator):
        assert address() == made[0].url  # Of the test before, which did not close it.
        made[0].close()
        assert address() == module_emulator.url
        with emulator_factory(record=False) as another:
            assert address() == another.url
            another.connect("lab", "ada")
        assert not another.is_open
        assert address() == module_emulator.url

    def test_without():
        assert "MESHAGENT_TOKEN" not in os.environ  # of the one that is open
"""


def test_emulators_of_wider_scopes_live_as_long_and_the_last_one_is_found(tmp_path: Path) -> None:
    """And the environment is the one from before when all are closed, in whatever order."""
    conftest = """
        import os
        def pytest_sessionfinish():
            print("at the end:", os.environ["MESHAGENT_API_URL"], os.environ["MESHAGENT_TOKEN"])
    """
    (tmp_path / "conftest.py").write_text(inspect.cleandoc(conftest))
    variables = {"MESHAGENT_API_URL": "https://before.invalid", "MESHAGENT_TOKEN": "before"}
    printed = run(tmp_path, SCOPES, "-s", **variables)
    assert "6 passed" in printed, printed
    assert "at the end: https://before.invalid before" in printed


SHARED = """
    import pytest

    @pytest.fixture(scope="module")
    def made(emulator_factory):
        with emulator_factory(latency=0.001) as made:
            yield made

    def test_before(module_emulator, made):
        module_emulator.connect("lab", "ada")
        module_emulator.connect("hall", "eve").close()
        made.connect("den", "ben")

    def test_that_fails(module_emulator, made):
        module_emulator.connect("lab", "bob")
        assert False

    def test_that_fails_idly(module_emulator):
        assert False

    def test_that_fails_elsewhere():
        assert False

    def test_that_uses_one_by_another_way(request):
        made = request.getfixturevalue("made")
        made.connect("den", "cleo")
        assert False
"""


def test_a_failure_shows_of_a_wider_emulator_what_happened_in_its_test(tmp_path: Path) -> None:
    """Who is there, who came in it, and a chart of that alone; nothing to a test that has to do with none."""
    printed = run(tmp_path, SHARED, "-p", "no:randomly")
    assert "4 failed, 1 passed" in printed, printed
    _, fails, idly, elsewhere, another = re.split(r"^_+ test_that\w+ _+$", printed, flags=re.MULTILINE)
    assert "- module_emulator -" in fails and "- emulator_factory -" in fails
    assert "room lab: now ada (user), bob (user); in this test came bob\n" in fails
    assert re.search(r"time +bob$", fails, re.MULTILINE)
    assert "room den: now ben (user); nothing happened there in this test" in fails
    assert "hall" not in fails
    assert "room lab: now ada (user), bob (user); nothing happened there in this test" in idly
    assert "emulator_factory" not in idly
    assert "now" not in elsewhere
    assert "room den: now ben (user), cleo (user); in this test came cleo" in another


def test_a_fixture_of_a_wider_scope_is_told_which_emulator_to_use(tmp_path: Path) -> None:
    """Beside pytest's own error, which knows only that it does not fit; a simulation is of one test."""
    program = """
        import pytest

        @pytest.fixture(scope="module")
        def own({}): pass

        def test_it(own): pass
    """
    assert "For several there are class_emulator, module_emulator" in run(tmp_path, program.format("emulator"))
    printed = run(tmp_path, program.format("sim_room"))
    assert "a simulation is of one test: have the fixture that uses it be of the scope function" in printed


# --- other kinds of tests, and other plug-ins -------------------------------------------------------------------------

CASES = """
    import unittest
    import meshsync
    import pytest

    @pytest.mark.usefixtures("emulator")
    class TestEmulated(unittest.TestCase):
        def test_it(self):
            with meshsync.connect("lab", name="ada"):
                self.fail()

    class TestSimulated(unittest.TestCase):
        @pytest.fixture(autouse=True)
        def given(self, sim_room):
            self.room = sim_room

        @pytest.mark.simulated(seeds=[3], latency=0.25)
        def test_it(self):
            self.room.join("alice")
            assert (self.room.simulation.now, self.room.simulation.seed) == (1.0, 3)
            self.fail()

        @pytest.mark.simulated(seeds=20)
        def test_many(self): pass

        def test_actor(self):
            self.room.simulation.spawn(int, "x").join()
"""


def test_methods_of_unittest_have_fixtures_reports_and_one_seed(tmp_path: Path) -> None:
    """Several seeds are an error, since they would be one run."""
    printed = run(tmp_path, CASES)
    assert "3 failed, 1 error" in printed, printed
    assert "room lab: now no participant; there were ada" in printed
    assert "pytest test_it.py::TestSimulated::test_it --sim-seed 3" in printed
    assert "test_it.py::TestSimulated::test_many is to run with 20 seeds: a method of a unittest.TestCase" in printed
    assert "ActorFailed: actor 'int' failed" in printed


def test_a_test_that_is_run_again_has_a_report_of_its_own(tmp_path: Path) -> None:
    """Nothing of the first run is in the second, and what an actor raises is not passed over since the first failed."""
    pytest.importorskip("pytest_rerunfailures")
    program = """
        import pytest

        runs = {"one": 0, "two": 0}

        def test_one(simulation, sim_room):
            runs["one"] += 1
            sim_room.join(f"alice{runs['one']}")
            if runs["one"] == 1:
                simulation.spawn(int, "first").join()
            assert False

        @pytest.fixture
        def untidy(simulation):
            yield
            simulation.spawn(int, "late").join()

        def test_two(untidy):
            runs["two"] += 1
            assert runs["two"] == 2

        def test_three(module_emulator):
            with module_emulator.connect("lab", f"ada{sum(runs.values())}"):
                runs["two"] += 1
                assert False
    """
    printed = run(tmp_path, program, "--reruns", "1", plugins=("pytest_rerunfailures",))
    assert "2 failed, 1 passed, 1 error, 3 rerun" in printed, printed
    assert "alice2" in printed
    assert "alice1" not in printed and "'first'" not in printed
    assert "ActorFailed: actor 'int' failed: ValueError: invalid literal for int() with base 10: 'late'" in printed
    assert "in this test came ada5\n" in printed


def test_coroutines_have_an_emulator_and_no_simulation(tmp_path: Path) -> None:
    """A loop waits in real time, for a simulation that stands still: refused, where it would wait for ever."""
    pytest.importorskip("pytest_asyncio")
    program = """
        import asyncio
        import pytest

        @pytest.mark.asyncio
        async def test_emulated(emulator):
            await asyncio.to_thread(emulator.connect, "lab", "ada")
            assert False

        @pytest.mark.asyncio
        async def test_simulated(sim_room):
            await asyncio.to_thread(sim_room.join, "ada")
    """
    options = ("-o", "asyncio_default_fixture_loop_scope=function")
    printed = run(tmp_path, program, *options, plugins=("pytest_asyncio.plugin",))
    assert "1 failed, 1 error" in printed, printed
    assert "room lab: now ada (user); there were ada" in printed
    assert "a simulated test is a plain function: a loop of asyncio waits in real time" in printed


def test_workers_of_xdist_refuse_what_one_process_does(tmp_path: Path) -> None:
    """As errors of tests, and with emulators of their own for the session."""
    pytest.importorskip("xdist")
    program = """
        import pytest

        @pytest.mark.simulated(seeds=3)
        class TestGroup:
            def test_it(self): pass

        def test_shared(session_emulator):
            session_emulator.connect("lab", "ada")
            assert False
    """
    printed = run(tmp_path, program, "-n", "2", plugins=("xdist.plugin",))
    assert "1 failed, 1 error" in printed, printed
    assert "the marker simulated does nothing" in printed
    assert "room lab: now ada (user); in this test came ada" in printed
    assert "INTERNALERROR" not in printed


def test_doctests_and_subtests_have_reports_too(tmp_path: Path) -> None:
    """By ``getfixture``; a subtest is part of its test."""
    program = '''
        """
        >>> getfixture("emulator").connect("lab", "ada").state.name
        'OFFLINE'
        """

        def documented():
            """
            >>> getfixture("sim_room").join("eve").state.name
            'OFFLINE'
            """
    '''
    printed = run(tmp_path, program, "--doctest-modules")
    assert "2 failed" in printed, printed
    assert "room lab: now ada (user); there were ada" in printed
    assert "eve" in printed.partition("- simulation, seed 0 -")[2]


STRICT = """
    def test_emulated(emulator):
        with emulator.connect("lab", "ada") as ada:
            ada.messaging.enable()

    def test_shared(module_emulator):
        module_emulator.connect("lab", "ada").messaging.enable()

    def test_simulated(simulation, sim_room):
        sim_room.join("ada", enable=True)
        simulation.sleep(1)
"""


def test_nothing_warns_and_no_other_plugin_is_needed(tmp_path: Path) -> None:
    """With every warning an error, and without what pytest itself brings for others; collecting runs nothing."""
    left_out = (
        "monkeypatch",
        "logging",
        "unittest",
        "doctest",
        "tmpdir",
        "recwarn",
        "junitxml",
        "faulthandler",
        "nose",
    )
    options = [option for name in left_out for option in ("-p", f"no:{name}")]
    assert "3 passed" in run(tmp_path, STRICT, "-W", "error", *options)
    printed = run_here(tmp_path, "--collect-only")
    assert "3 tests collected" in printed
    printed = run_here(tmp_path, "--fixtures")
    for name in pytest_plugin.__all__:
        assert re.search(rf"^{name}( \[\w+ scope\])? -- ", printed, re.MULTILINE), name
    assert str(ROOT) not in printed.partition("no docstring available")[2]
