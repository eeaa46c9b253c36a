"""Which frames pytest shows of errors, in projects that have nothing but the plug-in; and which a debugger sees."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

import pytest

import meshsync
from meshsync.pytest_tracebacks import shortened
from meshsync.tracebacks import without_library
from tests.support.pytest_runs import ROOT, run

LATE = """
def test_late(sim_room):
    alice = sim_room.join("alice", enable=True)
    alice.messaging.wait_for_participant(name="bot", timeout=5)
"""


def failures(printed: str) -> str:
    """Return what a run tells of failures, without the sections of rooms and the summary."""
    begin = printed.index(" FAILURES ")
    return printed[printed.index("\n", begin) + 1 : printed.index("-- simulation, seed 0 --")].rstrip("-\n")


def test_an_error_of_ours_has_the_programs_lines_alone(tmp_path: Path) -> None:
    """To the letter: the line that called us, and what went wrong."""
    text = "there was no one, of those that enabled messaging"
    expected = f"""
    __________________________________ test_late ___________________________________

    sim_room = <SimulatedRoom 'demo': 1 participants>

        def test_late(sim_room):
            alice = sim_room.join("alice", enable=True)
    >       alice.messaging.wait_for_participant(name="bot", timeout=5)
    E       meshsync.errors.ReceiveTimeout: no participant with name='bot' was there within 5 s; {text}

    test_it.py:4: ReceiveTimeout
    """
    assert failures(run(tmp_path, LATE)) == textwrap.dedent(expected).strip("\n")


@pytest.mark.parametrize("option", ["--full-trace", "--tb=native"])
def test_all_frames_are_shown_to_who_asks_for_them(tmp_path: Path, option: str) -> None:
    """By pytest's own options."""
    printed = run(tmp_path, LATE, option)
    assert "messaging.py" in printed
    assert "membership.py" in printed


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("meshsync.connect('lab', timeout='5')", "TypeError: timeout is a number of seconds, not '5'"),
        (
            "sim_room.join('a').messaging.get_participants()",
            "AttributeError: 'MessagingClient' object has no attribute",
        ),
        ("simulation.room('a').join('')", "UsageError: "),
        ("meshsync.spawn(lambda: None).join(); meshsync.Event().wait()", "SimulationDeadlock: nobody can run"),
        ("simulator.Simulation(seed=2)", "SimulationNested: "),
    ],
)
def test_a_mistake_of_any_kind_is_told_at_the_line_that_made_it(tmp_path: Path, call: str, error: str) -> None:
    """Errors of Python that we raise on purpose, and those of the simulation, as well."""
    printed = run(tmp_path, f"import meshsync, simulator\n\ndef test_it(simulation, sim_room):\n    {call}\n")
    told = failures(printed)
    assert error in told, printed
    assert [line for line in told.splitlines() if line.startswith(("test_it.py:", "/"))] == [
        f"test_it.py:4: {error.partition(':')[0]}"
    ]


@pytest.mark.parametrize(
    ("bug", "error"),
    [
        ("return {}['gone']", "KeyError"),
        ("assert not value", "AssertionError"),
        ("raise RuntimeError('a bug')", "RuntimeError"),
        ("return value.gone", "AttributeError"),
        ("return value + 'one'", "TypeError"),
        ("return int('one')", "ValueError"),
    ],
)
def test_a_bug_of_ours_keeps_its_frames(tmp_path: Path, bug: str, error: str) -> None:
    """They tell where to look: an error that no line of ours raises for the program is one."""
    program = f"""
        import meshsync

        CODE = compile("def call(value):\\n    {bug}\\n", meshsync.__path__[0] + "/bug.py", "exec")
        exec(CODE)

        def test_it(simulation):
            call(1)
    """
    printed = run(tmp_path, program)
    assert f"bug.py:2: {error}" in failures(printed), printed


def test_errors_from_which_one_came_are_short_too(tmp_path: Path) -> None:
    """Each of the chain by itself: ours without our frames, and the program's own as it is."""
    program = """
        import meshsync

        def ask(room):
            try:
                room.messaging.wait_for_participant(name="bot", timeout=5)
            except meshsync.ReceiveTimeout as error:
                raise KeyError("no bot") from error

        def test_it(sim_room):
            ask(sim_room.join("alice", enable=True))
    """
    told = failures(run(tmp_path, program))
    places = [line for line in told.splitlines() if line.startswith(("test_it.py:", "/"))]
    assert places == ["test_it.py:6: ReceiveTimeout", "test_it.py:11: ", "test_it.py:8: KeyError"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups came with Python 3.11")
def test_errors_in_a_group_are_short_too(tmp_path: Path) -> None:
    """Each by itself, in groups of groups as well."""
    program = """
        import meshsync

        def ask(room):
            try:
                room.messaging.wait_for_participant(name="bot", timeout=5)
            except meshsync.ReceiveTimeout as error:
                return error

        def test_it(sim_room):
            alice = sim_room.join("alice", enable=True)
            raise ExceptionGroup("several", [ask(alice), ExceptionGroup("more", [ask(alice)]), KeyError("own")])
    """
    told = failures(run(tmp_path, program))
    assert re.findall(r'File ".*?(\w+\.py)", line (\d+)', told) == [("test_it.py", "12"), *[("test_it.py", "6")] * 2]
    assert told.count("ReceiveTimeout: no participant with name='bot' was there within 5 s") == 2


def test_an_error_at_the_import_of_a_test_module_has_its_lines_alone(tmp_path: Path) -> None:
    """As one in a test; whole for who asks for that."""
    program = "import meshsync\n\nmeshsync.connect('lab', timeout='5')\n\ndef test_it():\n    pass\n"
    expected = """
    test_it.py:3: in <module>
        meshsync.connect('lab', timeout='5')
    E   TypeError: timeout is a number of seconds, not '5'
    """
    printed = run(tmp_path, program)
    assert textwrap.dedent(expected).strip("\n") in printed
    assert "deadlines.py" not in printed
    assert "deadlines.py" in run(tmp_path, program, "--full-trace")


def test_an_actor_that_fails_unseen_is_told_of_without_frames_of_pytest(tmp_path: Path) -> None:
    """The plug-in finds it, at no line of the test: of its own frames there is one."""
    program = """
        def fail():
            assert 1 == 2

        def test_it(simulation):
            simulation.spawn(fail).join()
    """
    printed = run(tmp_path, program, "--tb=short")
    expected = """
    ___________________________________ test_it ____________________________________
    test_it.py:3: in fail
        assert 1 == 2
    E   assert 1 == 2

    The above exception was the direct cause of the following exception:
    …: in pytest_runtest_call
        _raise_failures(item, concludes=True)
    E   simulator.errors.ActorFailed: actor 'fail' failed: AssertionError: assert 1 == 2
    """
    told = re.sub(r"^\S*pytest_plugin\.py:\d+", "…", failures(printed), flags=re.MULTILINE)
    assert told == textwrap.dedent(expected).strip("\n")
    assert "FAILED test_it.py::test_it - simulator.errors.ActorFailed: actor 'fail'" in printed
    assert "Traceback (most recent call last)" not in printed
    assert "actor_threads.py" in run(tmp_path, program, "--full-trace")


def test_an_actor_that_fails_beside_its_test_is_told_of_once_and_shortly(tmp_path: Path) -> None:
    """In the section of the simulation, since the test has failed by itself."""
    program = """
        def fail(room):
            room.messaging.wait_for_participant(name="bot", timeout=5)

        def test_it(simulation, sim_room):
            simulation.spawn(fail, sim_room.join("alice", enable=True)).join()
            assert 3 == 4
    """
    section = run(tmp_path, program).partition("-- simulation, seed 0 --")[2]
    assert section.count("no participant with name='bot' was there within 5 s") == 2  # Of both errors of the chain.
    assert 'test_it.py", line 3, in fail' in section
    assert "membership.py" not in section


def test_a_stuck_simulation_tells_nothing_of_what_started_the_program(tmp_path: Path) -> None:
    """The stack of the test begins with the test."""
    printed = run(tmp_path, "import meshsync\n\ndef test_it(simulation):\n    meshsync.Event().wait()\n")
    told = failures(printed)
    assert 'test_it.py", line 4, in test_it' in told
    assert "pluggy" not in told
    assert "_pytest" not in told


def test_a_debugger_sees_all_frames(tmp_path: Path) -> None:
    """The report alone is short."""
    (tmp_path / "conftest.py").write_text(
        "def pytest_exception_interact(call):\n"
        "    print('frames', [str(one.path.name) for one in call.excinfo.traceback][-1])\n"
        "    trace = call.excinfo.value.__traceback__\n"
        "    while trace.tb_next: trace = trace.tb_next\n"
        "    print('frames', trace.tb_frame.f_code.co_filename)\n"
    )
    seen = [line for line in run(tmp_path, LATE, "-s").splitlines() if "frames " in line]
    assert len(seen) == 2
    assert all(line.endswith("membership.py") for line in seen)


def test_the_tests_of_the_library_itself_show_all_frames() -> None:
    """In its checkout."""
    with pytest.raises(meshsync.UsageError) as caught:
        meshsync.connect("")
    for root, is_short in [(ROOT, False), (ROOT / "tests", True)]:
        config: Any = SimpleNamespace(rootpath=root, getoption=lambda name: "")
        with shortened(config, caught):
            assert (len(caught.traceback) == 1) == is_short
            assert (trace_of(caught.value).tb_next is None) == is_short
        assert len(caught.traceback) > 1
        assert trace_of(caught.value).tb_next is not None


def trace_of(error: BaseException) -> TracebackType:
    """Return the traceback of an error that was raised."""
    assert error.__traceback__ is not None
    return error.__traceback__


def test_what_the_library_calls_is_left_out_but_for_the_program() -> None:
    """So are the frames of Python beneath ours; a program's function that we call stays."""
    code = "import functools\ndef call(function):\n    return functools.reduce(lambda *_: inner(function), [1, 2])\n"
    names: dict[str, Any] = {}
    exec(compile(code + "def inner(function):\n    with stack:\n        function()\n", ours("bug.py"), "exec"), names)
    from contextlib import ExitStack, contextmanager

    @contextmanager
    def own() -> Any:
        yield

    with ExitStack() as names["stack"], pytest.raises(meshsync.UsageError) as caught:
        names["stack"].enter_context(own())
        names["call"](lambda: meshsync.connect(""))
    shown, seen = without_library(caught.value.__traceback__), []
    while shown is not None:
        seen.append(shown.tb_frame.f_code.co_name)
        shown = shown.tb_next
    assert seen == ["test_what_the_library_calls_is_left_out_but_for_the_program", "<lambda>"]


def ours(name: str) -> str:
    """Return the path of a file of the library."""
    return str(ROOT / "meshsync" / name)
