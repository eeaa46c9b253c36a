"""The commands of ``python -m simulator`` that run programs in a simulation: run, check, explore, replay.

Exit status 0: the program ran through; 1: it failed, or its runs differ; 2: there is no program to run.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshsync.errors import UsageError

if TYPE_CHECKING:  # the other commands need not wait for the simulator
    from simulator.exploring.runs import Run
    from simulator.latency import Law

__all__ = ["add_commands"]

LAWS = "seconds, or a law with its numbers: uniform:0.01,0.05 lognormal:0.04,0.4 exponential:0.2 empirical:0.01,0.3"


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to those of a parser."""
    run = _program_command(commands, "run", "run a program once", _run)
    run.add_argument("--seed", type=_seed, default=0, help="what chance follows from (default: %(default)s)")
    run.add_argument("--transcript", type=Path, metavar="OUT", help="save what happened as lines of JSON")
    _add_chart(run)

    check = _program_command(commands, "check", "run a program twice and compare", _check)
    check.add_argument("--seed", type=_seed, default=0, help="what chance follows from (default: %(default)s)")

    explore = _program_command(commands, "explore", "find a seed that fails, and make its run small", _explore)
    explore.set_defaults(schedule="random")
    explore.add_argument(
        "--seeds", type=_seeds, default=range(100), metavar="FROM:TO", help="which seeds to try (default: 0:100)"
    )
    explore.add_argument("--save", type=Path, default=Path(), help="directory or file to keep the failure in")
    _add_chart(explore)

    replay = commands.add_parser("replay", help="run a kept failure again", description="Run a kept failure again.")
    replay.add_argument("file", type=Path, metavar="FILE", help="what explore has written")
    replay.add_argument("--transcript", type=Path, metavar="OUT", help="save what happened as lines of JSON")
    _add_chart(replay)
    replay.set_defaults(run=_guarded(_replay))


def _program_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    action: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text.capitalize()}.")
    parser.add_argument("program", metavar="FILE:PROGRAM", help="a function of the Simulation; or MODULE:PROGRAM")
    parser.add_argument("--latency", type=_law, default="0", help=LAWS)
    parser.add_argument(
        "--schedule", choices=("fifo", "random", "pct"), default="fifo", help="who runs when several can"
    )
    parser.add_argument("--plan", type=_plan, default=(), metavar="FILE", help="a fault plan as JSON")
    parser.add_argument("--horizon", type=float, metavar="SECONDS", help="virtual seconds after which a run is stopped")
    parser.set_defaults(run=_guarded(action))
    return parser


def _add_chart(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--chart", action="store_true", help="print what happened in each room")


def _guarded(action: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Return a command that ends with status 2 if there is no program to run."""

    def run(options: argparse.Namespace) -> int:
        try:
            return action(options)
        except UsageError as error:
            print(f"simulator: {error}", file=sys.stderr)
            return 2

    return run


# --- arguments --------------------------------------------------------------------------------------------------------


def _seed(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdecimal() else text


def _seeds(text: str) -> range:
    first, _, last = text.rpartition(":")
    return range(int(first or 0), int(last))


def _law(text: str) -> Law:
    from simulator import latency

    name, _, numbers = text.rpartition(":")
    values = [float(number) for number in numbers.split(",")]
    laws: dict[str, Callable[..., Law]] = {
        "": latency.constant,
        "constant": latency.constant,
        "uniform": latency.uniform,
        "lognormal": latency.lognormal,
        "exponential": latency.exponential,
        "empirical": lambda *samples: latency.empirical(samples),
    }
    try:
        return laws[name](*values)
    except (KeyError, TypeError, ValueError) as error:
        wrong = f"no law is named {name!r}" if isinstance(error, KeyError) else str(error)
        raise argparse.ArgumentTypeError(f"{wrong}; give {LAWS}") from None


def _plan(text: str) -> tuple[Any, ...]:
    from simulator import faults

    try:
        return faults.from_json(json.loads(Path(text).read_text(encoding="utf-8")))
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


# --- the commands -----------------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    from simulator.exploring.programs import load
    from simulator.exploring.runs import Case, run

    case = Case(
        options.seed,
        latency=options.latency,
        schedule=options.schedule,
        plan=options.plan,
        horizon=options.horizon,
    )
    made = run(load(options.program), case)
    _show(made, options)
    for room, transcript in made.transcripts.items():
        print(f"room {room}: {len(transcript)} records, digest {transcript.digest()}")
    verdict = "fails" if made.error is not None else "runs through"
    print(f"seed {options.seed} {verdict}, {made.end:.6f} s of virtual time")
    return 0 if made.error is None else 1


def _check(options: argparse.Namespace) -> int:
    from simulator.exploring.checking import RunsDiffer, check
    from simulator.exploring.programs import load

    program = load(options.program)
    try:
        check(
            program,
            seed=options.seed,
            latency=options.latency,
            schedule=options.schedule,
            plan=options.plan,
            horizon=options.horizon,
        )
    except RunsDiffer as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 1
    return 0


def _explore(options: argparse.Namespace) -> int:
    from simulator.exploring.exploration import explore
    from simulator.exploring.programs import load

    failure = explore(
        load(options.program),
        options.seeds,
        schedule=options.schedule,
        latency=options.latency,
        plan=options.plan,
        horizon=options.horizon,
        save=options.save,
        report=None,
    )
    if failure is None:
        print(f"none of {len(options.seeds)} seeds fails")
        return 0
    if options.chart:
        _show_charts(failure.run)
    print(failure)
    return 1


def _replay(options: argparse.Namespace) -> int:
    from simulator.exploring.exploration import replay

    made = replay(options.file)
    _show(made.run, options)
    print(made)
    return 0 if made.run.error is None else 1


def _show(made: Run, options: argparse.Namespace) -> None:
    """Print and save the results asked for; print the error."""
    if options.chart:
        _show_charts(made)
    for number, (room, transcript) in enumerate(made.transcripts.items()):
        if options.transcript is not None:
            out: Path = options.transcript
            transcript.save(out if not number else out.with_name(f"{out.stem}-{room}{out.suffix}"))
    if made.error is not None:
        traceback.print_exception(type(made.error), made.error, made.error.__traceback__)


def _show_charts(made: Run) -> None:
    from simulator.exploring.runs import chart

    print(chart(made.transcripts.values()), end="\n\n")
