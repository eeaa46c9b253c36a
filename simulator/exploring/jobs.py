"""One seed of a sweep as a job for a worker: its text, what a worker does with it, and the answer.

A job is a text and an answer is made of plain values, so that a worker of another version can read the one and give the
other: it says that it is of another version. Jobs travel in batches, since a short run takes no longer than a journey.
Who the workers are is not this module's business.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import meshsync
from meshsync.errors import MeshsyncError, UsageError
from meshsync.reasons import describe_error, safe_text
from simulator.engine.os_process import own_processor
from simulator.exploring.guided import Trial, Tried, try_seed
from simulator.exploring.programs import load
from simulator.exploring.runs import Case, Program, Symptom

__all__ = [
    "TURN",
    "Outcome",
    "do_batch",
    "first_line",
    "make_batch",
    "make_job",
    "outcome_of",
    "read_answer",
]

TURN = threading.RLock()
"""Held by whoever simulates in this process, of which only one can at a time: threads of a worker take turns."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the run of a seed ended."""

    symptom: Symptom | None = None
    """None if it ran through."""
    is_overdue: bool = False
    text: str = ""
    """The first line of the error."""
    refusal: str = ""
    """Why nothing was run; empty if it was."""
    has_died: bool = False
    """Whether the worker died of it."""
    runs: int = 1
    """How many runs were made of the seed."""
    overdue: int = 0
    """How many of them were overdue."""

    def is_final(self, *, count_overdue: bool) -> bool:
        """Return whether a search ends with it."""
        if self.refusal or self.has_died:
            return True
        return self.symptom is not None and (count_overdue or not self.is_overdue)


def outcome_of(tried: Tried) -> Outcome:
    """Return how the runs of a seed ended."""
    made = tried.run
    if made.error is None:
        return Outcome(runs=tried.runs, overdue=tried.overdue)
    return Outcome(made.symptom, made.is_overdue, first_line(made.error), runs=tried.runs, overdue=tried.overdue)


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its class if it has none."""
    return next(iter(safe_text(error, None).splitlines()), "") or type(error).__name__


def make_job(name: str, program: Program, case: Case, trial: Trial) -> str:
    """Return the text of a job.

    Args:
        name: By which a worker finds the program.
        trial: What to do with the case.
    Raises:
        UsageError: If something in the case cannot be written as JSON.
    """
    try:
        job = {"versions": _versions(program), "program": name, "case": case.to_json(), "trial": asdict(trial)}
        return json.dumps(job)
    except (AttributeError, TypeError, ValueError) as error:
        raise UsageError(f"the latency or the plan cannot be sent to a worker: {describe_error(error)}") from error


def make_batch(jobs: Sequence[str], *, count_overdue: bool) -> str:
    """Return the text of several jobs, which are done in this order.

    Args:
        count_overdue: Whether a run that is overdue is one of those behind which no other is made.
    """
    return f'{{"count_overdue": {json.dumps(count_overdue)}, "jobs": [{", ".join(jobs)}]}}'


def do_batch(text: str) -> dict[str, Any]:
    """Run the seeds of a batch, in this process, when it is its turn, up to the first with which a search ends.

    The client and the simulator log nothing meanwhile: the driver runs a seed that fails again.

    Returns:
        The answers, and how many seconds they took.
    """
    batch = json.loads(text)
    with TURN, own_processor(), _silent():
        begun = time.monotonic()
        answers = _answers(batch["jobs"], batch["count_overdue"])
    return {"answers": answers, "seconds": time.monotonic() - begun}


def _answers(jobs: Sequence[dict[str, Any]], count_overdue: bool) -> list[dict[str, Any]]:
    answers = []
    for job in jobs:
        answers.append(_do_job(job))
        if _ends(answers[-1], count_overdue):
            break
    return answers


def _ends(answer: dict[str, Any], count_overdue: bool) -> bool:
    return "difference" in answer or read_answer(answer).is_final(count_overdue=count_overdue)


def _do_job(job: dict[str, Any]) -> dict[str, Any]:
    try:
        program = _load(job["program"])
        if difference := _difference(job["versions"], _versions(program)):
            return {"difference": difference}
        tried = try_seed(program, Case.from_json(job["case"]), Trial(**job["trial"]))
    except MeshsyncError as error:
        return {"refusal": str(error)}
    except Exception as error:
        return {"refusal": describe_error(error)}
    outcome = outcome_of(tried)
    symptom = outcome.symptom
    return {
        "symptom": None if symptom is None else [symptom.kind, symptom.place, symptom.source],
        "is_overdue": outcome.is_overdue,
        "text": outcome.text,
        "runs": outcome.runs,
        "overdue": outcome.overdue,
    }


def read_answer(answer: dict[str, Any]) -> Outcome:
    """Return the outcome that a worker's answer tells.

    Raises:
        UsageError: If the worker is of another version, or has another program of that name.
    """
    if "difference" in answer:
        raise UsageError(
            f"a worker differs from this process: {answer['difference']}; its runs would not be those of this one"
        )
    if "refusal" in answer:
        return Outcome(refusal=answer["refusal"])
    symptom = answer["symptom"]
    return Outcome(**{**answer, "symptom": None if symptom is None else Symptom(*symptom)})


# --- versions ---------------------------------------------------------------------------------------------------------


@lru_cache
def _load(name: str) -> Program:
    """Return the program of that name, once for all its seeds."""
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # The name is one for a Python that starts here, and a worker's may be a script.
    return load(name)


@lru_cache
def _versions(program: Program) -> dict[str, str]:
    """Return what a run depends on besides its case, each by what it is called in an error."""
    return {
        "Python": platform.python_version(),
        "sources of meshsync and simulator": _digest_of_packages(),
        "source of the program": _digest(inspect.getsourcefile(program) if inspect.isroutine(program) else None),
    }


def _difference(ours: dict[str, str], theirs: dict[str, str]) -> str:
    if ours == theirs:
        return ""
    differing = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    return ", ".join(f"{name} {theirs.get(name)} there and {ours.get(name)} here" for name in differing)


@lru_cache
def _digest_of_packages() -> str:
    # Of the sources, since many of them may have the same number of a version.
    digest = hashlib.sha256()
    for package in (Path(meshsync.__file__).parent, Path(__file__).parents[1]):
        for path in sorted(package.rglob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


@lru_cache
def _digest(file: str | None) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12] if file and os.path.isfile(file) else "unknown"


@contextmanager
def _silent() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("meshsync", "simulator")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
