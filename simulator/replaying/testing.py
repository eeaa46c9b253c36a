"""What the test of a participant does: all others do what they did, and what it does is compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from meshsync.errors import UsageError
from simulator.errors import ReplayFailed
from simulator.record.comparing import Path as PathInMessage
from simulator.record.comparing import diff
from simulator.record.transcript import Transcript
from simulator.replaying.performing import perform
from simulator.replaying.steps import Step, records_of
from simulator.replaying.subjects import CommandSubject, FunctionSubject, Subject, command_of
from simulator.replaying.venues import WorldName, open_venue

__all__ = ["APART", "Casting", "check_subject"]

APART = ("connected", "enabled", "disabled", "disconnected", "refused", "fault")
"""Kinds of records that are not compared: whether a program comes is awaited, and its end may not be its own choice."""


@dataclass(frozen=True, slots=True)
class Casting:
    """The program whose participant a test is about, and where it runs.

    Args:
        program: The name of a function, ``FILE.py:FUNCTION``; None for a command.
        command: The command; None for a function.
        folder: Where the function's file is, or the command runs.
    Raises:
        UsageError: If it is not one of the two, or a command is to run in a simulation.
    """

    room: str
    subject: str
    world: WorldName
    folder: Path
    program: str | None = None
    command: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if (self.program is None) == (self.command is None):
            raise UsageError("either a program, as FILE.py:FUNCTION, or a command")
        if self.world not in ("simulation", "emulator"):
            raise UsageError(f"in a simulation or an emulator, not in {self.world!r}")
        if self.command is not None and self.world == "simulation":
            raise UsageError("a command cannot run in a simulation: give a function, or say --in emulator")

    def play(self, steps: Sequence[Step], stall: float, options: Mapping[str, Any]) -> Transcript:
        """Perform a conversation with the program in it, and return what happened; raises as `perform`.

        Args:
            options: Of the simulation, if it is in one.
        """
        if all(step.who != self.subject for step in steps):
            raise UsageError(f"{self.subject!r} does nothing in these steps")
        given = options if self.world == "simulation" else {}
        program = self._program()  # Its imports take real time, which a simulation would take for a stall.
        with closing(program), open_venue(self.world, self.room, **given) as venue:
            return perform(steps, venue, stall=stall, subject=self.subject, program=program)

    def _program(self) -> Subject:
        if self.world == "simulation":
            assert self.program is not None
            return FunctionSubject(self.program, self.folder)
        return CommandSubject(self.command or command_of(str(self.program)), self.folder)


def check_subject(
    steps: Sequence[Step],
    *,
    subject: str,
    file: str,
    room: str,
    world: WorldName = "simulation",
    program: str | None = None,
    command: Sequence[str] | None = None,
    folder: str = ".",
    stall: float = 10.0,
    masked: Iterable[PathInMessage] = (),
    attachments: str | None = None,
) -> None:
    """Run a program among scripted participants, and check that it does what the steps have of it.

    Every other participant does its steps, each when all above it has happened.

    Args:
        steps: The conversation, that of the program included.
        subject: The program's participant.
        file: The file of the test, ``__file__``.
        room: The name of the room.
        world: ``"simulation"`` or ``"emulator"``.
        program: The program as ``FILE.py:FUNCTION``, which takes nothing, or the simulation. Beside an emulator it runs
            in a process of its own.
        command: Or the program as a command, beside an emulator.
        folder: Where that is, seen from the file.
        stall: Seconds without any progress after which the program has failed.
        masked: What of its messages is not compared, as `diff` ignores it.
        attachments: The directory, beside the file, of attachments that the steps of others have by their hashes; each
            is a file with its hash for a name.
    Raises:
        AssertionError: If the program does something else, fails, or does nothing for too long; the text says which.
        UsageError: If an argument makes no sense, or there is no such program.
    """
    here = Path(file).parent
    casting = Casting(room, subject, world, here / folder, program, command)
    given = [step if step.who == subject else _with_content(step, here / (attachments or ".")) for step in steps]
    try:
        happened = casting.play(given, stall, {"seed": 0})
    except ReplayFailed as error:
        raise AssertionError(f"{error}\n\n{error.chart}".rstrip()) from error
    expected = records_of(steps)
    difference = diff(expected, happened, ["time", "id", *APART, *masked], sender=subject)
    if difference:
        text = f"{subject} does not do what it did; the first is what was expected, the second what it did"
        raise AssertionError(f"{text}\n{difference}\n\n{happened.to_text()}")


def _with_content(step: Step, folder: Path) -> Step:
    """Return a step with the bytes of its attachment, where it has the hash."""
    if isinstance(step.attachment, bytes):
        return step
    try:
        return replace(step, attachment=(folder / step.attachment).read_bytes())
    except OSError as error:
        what = f"the attachment of the step of {step.who!r} at {step.at:g} s"
        raise UsageError(f"{what} is to be in {folder / step.attachment}: {error.strerror}") from None
