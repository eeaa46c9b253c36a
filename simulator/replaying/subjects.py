"""The program whose participant a test is about: a function in a simulation, or a command beside an emulator."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Protocol

import meshsync
from meshsync.errors import UsageError
from meshsync.reasons import describe_error
from meshsync.runtime.interfaces import Task
from simulator.engine.results import check_task
from simulator.errors import ReplayFailed
from simulator.exploring.programs import afresh, check_program, find
from simulator.replaying.director import Director
from simulator.replaying.venues import EmulatedVenue, SimulatedVenue

__all__ = ["CommandSubject", "FunctionSubject", "Subject", "command_of", "run_function"]

PATIENCE = 5.0
"""Seconds in which a program has to end when it is told to; then it is killed."""
LAST_NEWS = 1.0
"""Seconds in which what a program did comes in after it has ended."""
_MOST_OUTPUT = 4000
"""Characters of a command's output that are shown when it fails."""


class Subject(Protocol):
    """A program that takes part in a conversation."""

    def start(self, director: Director, venue: SimulatedVenue | EmulatedVenue) -> None:
        """Start it, for the first time or when it has ended; tell the director when it ends."""
        ...

    def join(self, timeout: float) -> bool:
        """Wait for its end, and return whether it came within so many seconds."""
        ...

    def close(self) -> None:
        """End it, if it goes on. Again does nothing."""
        ...


class FunctionSubject:
    """A function in a task of a simulation, which ends with that.

    Args:
        name: ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION``; it takes nothing, or the simulation.
        folder: Where its file is looked for.
    Raises:
        UsageError: If there is no such function.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._imports = ExitStack()
        self._task: Task | None = None
        with ExitStack() as imports:
            imports.enter_context(afresh(folder))
            self._function: Callable[..., object] = find(_in_folder(name, folder))
            check_program(self._function, takes_simulation=False)
            self._takes_simulation = not _takes(self._function)
            if self._takes_simulation and not _takes(self._function, None):
                raise UsageError(f"{name}: it has to take nothing, or one argument, the Simulation")
            self._imports = imports.pop_all()

    def start(self, director: Director, venue: SimulatedVenue | EmulatedVenue) -> None:
        """Call it in a task of its own."""
        assert isinstance(venue, SimulatedVenue)
        arguments = (venue.simulation,) if self._takes_simulation else ()
        self._task = meshsync.spawn(self._run, director, arguments, name=getattr(self._function, "__name__", "subject"))

    def _run(self, director: Director, arguments: Sequence[object]) -> None:
        try:
            check_task(self._function, self._function(*arguments))
        except (Exception, SystemExit) as error:
            if not isinstance(error, SystemExit) or error.code not in (None, 0):
                failed = ReplayFailed(f"the program of {director.subject} failed: {describe_error(error)}")
                failed.__cause__ = error
                director.fail(failed)
        director.hurry(LAST_NEWS)

    def join(self, timeout: float) -> bool:
        """Wait for its end."""
        return self._task is None or self._task.join(timeout)

    def close(self) -> None:
        """Forget its module; the simulation ends the task."""
        self._imports.close()


class CommandSubject:
    """A command, with the environment in which it connects to the emulator.

    Args:
        arguments: The command; ``python`` is the Python that runs this.
        folder: The directory to run it in.
    """

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        self._arguments = list(arguments)
        self._folder = folder
        self._output: IO[bytes] = TemporaryFile()  # noqa: SIM115  # closed by `close`
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: Task | None = None
        self._is_stopped = False

    def start(self, director: Director, venue: SimulatedVenue | EmulatedVenue) -> None:
        """Run it."""
        from simulator.emulator import CLEARED

        assert isinstance(venue, EmulatedVenue)
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        environment = {name: value for name, value in os.environ.items() if name not in CLEARED}
        environment |= {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **venue.env}
        program, *rest = self._arguments
        program = sys.executable if program in ("python", "python3") and sys.executable else program
        try:
            self._process = subprocess.Popen(
                [program, *rest],
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise UsageError(f"cannot run {self._arguments[0]!r} in {self._folder}: {error.strerror}") from None
        self._watch = meshsync.spawn(self._wait, self._process, director, name=f"watch of {director.subject}")

    def _wait(self, process: subprocess.Popen[bytes], director: Director) -> None:
        status = process.wait()
        if status and not self._is_stopped:
            how = f"status {status}" if status > 0 else f"signal {-status}"
            text = f"the program of {director.subject} ended with {how}"
            director.fail(ReplayFailed("\n".join(filter(None, [text, self._last_output()]))))
        director.hurry(LAST_NEWS)

    def _last_output(self) -> str:
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - _MOST_OUTPUT))
        return self._output.read().decode(errors="replace").strip()

    def join(self, timeout: float) -> bool:
        """Wait for its end."""
        return self._watch is None or self._watch.join(timeout)

    def close(self) -> None:
        """Terminate it; kill it if that does not end it."""
        self._is_stopped = True
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._watch is not None:
            self._watch.join(PATIENCE)
        self._output.close()


def command_of(function: str) -> list[str]:
    """Return the command that calls a function of the name ``FILE.py:FUNCTION`` in the directory in which it runs."""
    code = "import sys; from simulator.replaying.subjects import run_function; run_function(sys.argv[1])"
    return ["python", "-c", code, function]


def run_function(name: str) -> None:
    """Call a function by its name, in a process of its own beside an emulator.

    Raises:
        UsageError: If there is none, or it takes arguments.
    """
    function = find(name)
    check_program(function, takes_simulation=False)
    if not _takes(function):
        raise UsageError(f"{name}: it takes arguments; beside an emulator there is no simulation to give to it")
    check_task(function, function())


def _in_folder(name: str, folder: Path) -> str:
    place, _, function = name.rpartition(":")
    return f"{folder / place}:{function}" if place.endswith(".py") else name


def _takes(function: Callable[..., object], *arguments: object) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # built in: its arguments are unknown
        return True
    return True
