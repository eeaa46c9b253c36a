"""Checks that a program depends on nothing but its seed: it is run twice, and the transcripts are compared.

The second run is in another process, under another hash seed, where the program can be found by name: an event that
depends on the order of a set, on a module's state or on an address shows up as a difference. One that depends on real
time or files may not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from meshsync.arguments import hinted_call
from meshsync.errors import UsageError
from simulator.errors import SimulationError
from simulator.exploring.network_options import NetworkOptions, as_network_options
from simulator.exploring.programs import load, reference
from simulator.exploring.runs import START, Case, Program, run
from simulator.faults import Fault
from simulator.faults.plans import Planned
from simulator.latency import Latency, as_latency
from simulator.record.records import first_difference
from simulator.record.transcript import Transcript

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Checked", "RunsDiffer", "check"]

_HASH_SEEDS = ("1", "20260101")
"""Values of PYTHONHASHSEED for the second run: the first, unless this process has that one."""
_MARK = "SIMULATOR_SECOND_RUN"
"""Set in the environment of the other process."""

_REMEDY = (
    "chance and time of the program's own, the order of sets and id() make runs differ: see "
    "docs/explanation/determinism.md"
)
"""What to do about runs that differ."""


class RunsDiffer(SimulationError, AssertionError):
    """Two runs of a program with one seed are not the same; the text has the first difference.

    What to do: find what the program draws or reads outside the simulation: the time of day, ``random``, the order of a
    set. The text names the record at which it shows.
    """


@dataclass(frozen=True, slots=True)
class Checked:
    """Two runs that were the same."""

    transcripts: Mapping[str, Transcript]
    """By room."""
    how: str
    """Where the second run was, and why."""
    warnings: tuple[str, ...] = ()
    """What programs that crashed found in globals of modules when they began anew; a sentence each."""

    @property
    def digests(self) -> dict[str, str]:
        return {room: transcript.digest() for room, transcript in self.transcripts.items()}

    def __str__(self) -> str:
        digests = ", ".join(f"{room} {digest}" for room, digest in self.digests.items()) or "no room"
        same = f"two runs are the same, {self.how}: {digests}"
        return "\n".join([same, *(f"warning: {text}" for text in self.warnings)])


@hinted_call
def check(
    program: Program,
    *,
    seed: int | str = 0,
    latency: Latency | float = 0.0,
    schedule: str = "fifo",
    plan: Iterable[Planned | Fault] = (),
    horizon: float | None = None,
    start: str = START,
    report: Callable[[str], object] | None = print,
    stall_after: float | None = 5.0,
    **network: Unpack[NetworkOptions],
) -> Checked:
    """Run a program twice, and check that the transcripts are the same.

    Args:
        program: A callable that takes the `Simulation`.
        latency: A law, seconds, or a `latency.matrix`.
        schedule: ``"fifo"``, ``"random"`` or ``"pct"``.
        plan: Faults to begin with, beside those that the program plans.
        horizon: Virtual seconds after which the run is stopped; None for never.
        start: The wall clock's beginning, as ISO 8601.
        report: Gets the result's text, which says where the second run was, and warns of what programs that crashed
            and began anew found in globals of modules; None for no report.
        stall_after: Real seconds for which an actor may block outside the simulation; None for ever.
        network: Other arguments of `Simulation` about the network, such as ``service``; see `NetworkOptions`.
    Raises:
        RunsDiffer: If they are not; the text has the first difference.
        UsageError: If the plan is invalid, or the other process could not run the program.
        SimulationNested: If another simulation is open; nothing was run.
        Exception: The program's, in the first run; there is no second one.
    """
    if _MARK in os.environ:
        raise UsageError("check() while the program is imported: put the call under if __name__ == '__main__'")
    case = Case(seed, as_latency(latency), schedule, tuple(plan), horizon, start, network=as_network_options(network))
    first = run(program, case, stall_after=stall_after, examines=True)
    if first.error is not None:
        raise first.error
    name = reference(program)
    if name is None:
        how = "the second one in this process, since the program has no name that another could find it by"
        again = run(program, case, stall_after=stall_after)
        failed, transcripts = again.symptom and str(again.symptom), again.transcripts
    elif not sys.executable:
        how = "the second one in this process, since it is not known how to start another"
        again = run(program, case, stall_after=stall_after)
        failed, transcripts = again.symptom and str(again.symptom), again.transcripts
    else:
        how = "the second one in another process, under another hash seed"
        failed, transcripts = _run_elsewhere(name, case, stall_after)
    if failed:
        raise RunsDiffer(f"only one of two runs fails, {how}: {failed}")
    if difference := _difference(first.transcripts, transcripts):
        raise RunsDiffer(f"two runs with seed {seed} differ, {how}; {difference}; {_REMEDY}")
    checked = Checked(first.transcripts, how, first.leftovers)
    if report is not None:
        report(str(checked))
    return checked


def _difference(ours: Mapping[str, Transcript], theirs: Mapping[str, Transcript]) -> str | None:
    if list(ours) != list(theirs):
        return f"one has the rooms {', '.join(ours)}, the other {', '.join(theirs)}"
    for room in ours:
        if difference := first_difference(ours[room], theirs[room]):
            return f"in room {room!r}, {difference}"
    return None


# --- the other process ------------------------------------------------------------------------------------------------


def _run_elsewhere(name: str, case: Case, stall_after: float | None) -> tuple[str | None, dict[str, Transcript]]:
    """Return how the program failed in another process, and its transcripts by room."""
    with TemporaryDirectory() as directory:
        task = {"program": name, "case": case.to_json(), "directory": directory, "stall_after": stall_after}
        other = _HASH_SEEDS[os.environ.get("PYTHONHASHSEED") == _HASH_SEEDS[0]]
        environment = {
            **os.environ,
            "PYTHONHASHSEED": other,
            "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path),
            _MARK: "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", "from simulator.exploring.checking import second_run; second_run()"],
            input=json.dumps(task),
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        answer = Path(directory, "answer.json")
        if done.returncode or not answer.is_file():
            last = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
            raise UsageError(f"the second run of {name} could not be made in another process: {last}")
        result = json.loads(answer.read_text(encoding="utf-8"))
        files = {room: Path(directory, f"{number}.jsonl") for number, room in enumerate(result["rooms"])}
        return result["failed"], {room: Transcript.load(file) for room, file in files.items()}


def second_run() -> None:
    """Run in the other process the case in standard input, and leave the transcripts in its directory."""
    task = json.load(sys.stdin)
    directory = Path(task["directory"])
    made = run(load(task["program"]), Case.from_json(task["case"]), stall_after=task["stall_after"])
    for number, transcript in enumerate(made.transcripts.values()):
        transcript.save(directory / f"{number}.jsonl")
    answer = {"rooms": list(made.transcripts), "failed": made.symptom and str(made.symptom)}
    (directory / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
