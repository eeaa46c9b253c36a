"""The commands of ``python -m simulator`` that run programs in a simulation: run, check, explore, replay; and demo.

Exit status 0: the program ran through; 1: it failed, or its runs differ; 2: there is no program to run.
"""

from __future__ import annotations

import functools
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from meshsync.cli.durations import SECONDS
from meshsync.errors import UsageError
from simulator.cli.values import LAWS, SERVICE, read_latency, read_law, read_plan, read_seed, read_service

if TYPE_CHECKING:  # the other commands need not wait for the simulator
    from simulator.exploring.runs import Run

__all__ = ["check", "demo", "explore", "replay", "run", "why"]

_Plan = tuple[Any, ...] | None
_Function = TypeVar("_Function", bound=Callable[..., Any])


# --- arguments --------------------------------------------------------------------------------------------------------


def _seeds(text: str) -> range:
    first, _, last = text.rpartition(":")
    try:
        return range(int(first or 0), int(last))
    except ValueError:
        raise click.BadParameter(f"seeds are FROM:TO, as 0:100, or how many, not {text!r:.100}") from None


_one_seed = click.option(
    "--seed", type=read_seed, default="0", show_default=True, metavar="SEED", help="what chance follows from"
)
_transcript = click.option(
    "--transcript", type=click.Path(path_type=Path), metavar="OUT", help="save what happened as lines of JSON"
)
_chart = click.option("--chart", is_flag=True, help="print what happened in each room")


def _pass_if_given(context: click.Context, option: click.Parameter, value: Any) -> None:
    """Let the command have the value of an option only if there is one: the default is `Simulation`'s."""
    if value is not None:
        assert option.name is not None
        context.params[option.name] = value


def _pass_services(context: click.Context, option: click.Parameter, value: Iterable[dict[str, Any]]) -> None:
    _pass_if_given(context, option, {who: law for one in value for who, law in one.items()} or None)


_NETWORK_OPTIONS = (
    click.option(
        "--latency-down",
        type=read_law,
        metavar="LAW",
        help="delay from rooms to participants, if it is another",
        callback=_pass_if_given,
        expose_value=False,
    ),
    click.option(
        "--bandwidth",
        type=click.FloatRange(0, min_open=True),
        metavar="BYTES",
        help="bytes a second of each connection, each way",
        callback=_pass_if_given,
        expose_value=False,
    ),
    click.option(
        "--service",
        type=read_service,
        multiple=True,
        metavar=SERVICE,
        help="how long a room takes for each message, or each participant; several times",
        callback=_pass_services,
        expose_value=False,
    ),
)
"""Of the network, by the names of `NetworkOptions`."""

_SCHEDULES = ("fifo", "random", "pct")
_SEARCHED = (*_SCHEDULES, "late", "late+random", "late+pct", "mixed", "guided")


def _program_options(
    schedule: str, schedules: Sequence[str] = _SCHEDULES, *, is_required: bool = True
) -> Callable[[_Function], _Function]:
    """Return a decorator that gives a command a program and what it is run in, with a default for the schedule."""
    options = (
        click.argument("program", metavar="FILE:PROGRAM", required=is_required),
        click.option("--latency", type=read_latency, default="0", metavar="LAW", help=LAWS),
        *_NETWORK_OPTIONS,
        click.option(
            "--schedule",
            type=click.Choice(schedules),
            default=schedule,
            show_default=True,
            help="who runs when several can",
        ),
        click.option("--plan", type=read_plan, metavar="FILE", help="a fault plan as JSON"),
        click.option("--horizon", type=SECONDS, metavar="SECONDS", help="virtual seconds after which a run is stopped"),
    )

    def decorate(command: _Function) -> _Function:
        for option in reversed(options):
            option(command)
        return command

    return decorate


def _guarded(command: Callable[..., int]) -> Callable[..., int]:
    """Return a command that ends with status 2 if there is no program to run."""

    @functools.wraps(command)
    def guarded(**options: Any) -> int:
        try:
            return command(**options)
        except UsageError as error:
            click.echo(f"simulator: {error}", err=True)
            return 2

    return guarded


# --- the commands -----------------------------------------------------------------------------------------------------


@click.command()
@_program_options("fifo")
@_one_seed
@_transcript
@_chart
@_guarded
def run(program: str, seed: int | str, transcript: Path | None, chart: bool, plan: _Plan, **settings: Any) -> int:
    """Run a program once.

    The program is a function of the Simulation, in a file or a module (MODULE:PROGRAM).
    """
    from simulator.exploring.network_options import NetworkOptions
    from simulator.exploring.programs import load
    from simulator.exploring.runs import Case
    from simulator.exploring.runs import run as run_case

    network: Any = {name: settings.pop(name) for name in NetworkOptions.__annotations__ if name in settings}
    case = Case(seed, plan=plan or (), network=network, **settings)
    made = run_case(load(program), case, examines=True)
    _show(made, chart, transcript)
    for room, recorded in made.transcripts.items():
        print(f"room {room}: {len(recorded)} records, digest {recorded.digest()}")
    verdict = "fails" if made.error is not None else "runs through"
    print(f"seed {seed} {verdict}, {made.end:.6f} s of virtual time")
    return 0 if made.error is None else 1


@click.command()
@_program_options("fifo")
@_one_seed
@_guarded
def check(program: str, plan: _Plan, **settings: Any) -> int:
    """Run a program twice and compare.

    The program is a function of the Simulation, in a file or a module (MODULE:PROGRAM).
    """
    from simulator.exploring import checking
    from simulator.exploring.programs import load

    try:
        checking.check(load(program), plan=plan or (), **settings)
    except checking.RunsDiffer as error:
        click.echo(f"simulator: {error}", err=True)
        return 1
    return 0


@click.command()
@_program_options("mixed", _SEARCHED, is_required=False)
@click.option("--seeds", type=_seeds, default="0:100", show_default=True, metavar="FROM:TO", help="which seeds to try")
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    default=".",
    metavar="PATH",
    help="directory or file to keep the failure in (default: here)",
)
@click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="how many processes (default: one for each processor)"
)
@click.option("--dask", metavar="ADDRESS", help="the scheduler of a Dask cluster, whose workers run the seeds")
@click.option("--count-overdue", is_flag=True, help="take runs that passed a time limit only by lateness for failures")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="go on with a search that was interrupted, in place of PROGRAM and all that belongs to it",
)
@_chart
@_guarded
def explore(
    program: str | None,
    seeds: range,
    workers: int | None,
    dask: str | None,
    resume: Path | None,
    chart: bool,
    plan: _Plan,
    **settings: Any,
) -> int:
    """Find a seed that fails, and make its run small.

    The program is a function of the Simulation, in a file or a module (MODULE:PROGRAM). Ctrl-C keeps in a file how far
    the search has come.
    """
    from simulator.exploring import exploration
    from simulator.exploring.programs import load

    settings["plan"] = plan or ()
    if resume is not None:
        given = [name for name in ("program", "seeds", *settings) if _is_given(name)]
        if given:
            raise click.UsageError(f"--resume FILE has what belongs to the search: leave out {', '.join(given)}")
        function, seeds, settings = _interrupted(resume)
    elif program is None:
        raise click.UsageError("which program? FILE.py:NAME, or --resume FILE")
    else:
        function = load(program)
    texts: list[str] = []
    settings |= {"executor": _executor(workers, dask, len(seeds)), "resume": resume, "report": texts.append}
    try:
        failure = exploration.explore(function, seeds, **settings)
    except KeyboardInterrupt:
        print(*texts, sep="\n")
        raise
    if failure is None:
        print(*texts or [f"none of {len(seeds)} seeds fails"], sep="\n")
        return 0
    if chart:
        _show_charts(failure.run)
    print(failure)
    return 1


def _is_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _interrupted(path: Path) -> tuple[Callable[..., object], range, dict[str, Any]]:
    """Return the program, the seeds and the other arguments of a search that was interrupted."""
    from simulator.exploring.halted_search import HaltedSearch
    from simulator.exploring.programs import load

    halted = HaltedSearch.load(path)
    if halted.program is None or halted.seeds is None or not halted.can_resume:
        raise UsageError(f"{path} is of a search by a program of its own: explore(…, resume=…) there goes on")
    function = load(halted.program)  # First, since the kinds of faults in its plan may be the program's own.
    return function, range(*halted.seeds), halted.arguments()


def _executor(workers: int | None, dask: str | None, seeds: int) -> Any:
    from simulator.exploring.crews import PROCESSES, pool, processors

    if dask is not None:
        try:
            from distributed import Client
        except ImportError:
            raise UsageError("--dask needs distributed: pip install 'meshsync-client[cluster]'") from None
        return functools.partial(Client, dask)
    if workers is not None and workers > 1:
        return functools.partial(pool, workers)
    # A single process is this one, which need not be started.
    return PROCESSES if workers is None and min(processors(), seeds) > 1 else None


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@_transcript
@_chart
@_guarded
def replay(file: Path, transcript: Path | None, chart: bool) -> int:
    """Run a failure again that explore has kept in a file."""
    from simulator.exploring import exploration

    made = exploration.replay(file)
    _show(made.run, chart, transcript)
    print(made)
    return 0 if made.run.error is None else 1


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--runs", type=click.IntRange(1), default=32, show_default=True, metavar="N", help="for each instant")
@click.option(
    "--points", type=click.IntRange(2), default=12, show_default=True, metavar="N", help="the most instants to look at"
)
@click.option(
    "--probability",
    type=click.FloatRange(0, 1),
    default=0.02,
    show_default=True,
    metavar="P",
    help="that a step is late from then on",
)
@click.option("--as-searched", is_flag=True, help="as often as in the search that found it, in place of P")
@click.option("--plot", type=click.Path(path_type=Path), metavar="OUT", help="draw it, as OUT.png or OUT.svg")
@click.option("--json", "as_json", is_flag=True, help="print it as JSON")
@_guarded
def why(file: Path, plot: Path | None, as_json: bool, as_searched: bool, **settings: Any) -> int:
    """Find out with which event a run came to fail.

    RUN is a failure that explore has kept in a file. It is run again up to an instant, and from then on with another
    chance, many times and for several instants: how often it fails is its probability at that instant.
    """
    from simulator.exploring import checking, origin

    if as_searched:
        settings["probability"] = None
    try:
        found = origin.why(file, **settings)
    except checking.RunsDiffer as error:
        click.echo(f"simulator: {error}", err=True)
        return 1
    print(json.dumps(found.to_json(), indent=1) if as_json else found)
    if plot is not None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4), layout="constrained")
        found.plot(figure.add_subplot())
        figure.savefig(plot, dpi=150)
    return 0


@click.command()
@click.option("--seed", type=int, default=7, show_default=True, metavar="N", help="what chance follows from")
def demo(seed: int) -> int:
    """A simulated room, several participants and their conversation."""
    from simulator.cli.demo import run

    run(sys.stdout, seed)
    return 0


# --- what they show ---------------------------------------------------------------------------------------------------


def _show(made: Run, with_charts: bool, out: Path | None) -> None:
    """Print and save the results asked for; print the error."""
    if with_charts:
        _show_charts(made)
    for number, (room, transcript) in enumerate(made.transcripts.items()):
        if out is not None:
            transcript.save(out if not number else out.with_name(f"{out.stem}-{room}{out.suffix}"))
    if made.error is not None:
        traceback.print_exception(type(made.error), made.error, made.error.__traceback__)


def _show_charts(made: Run) -> None:
    from simulator.exploring.runs import chart

    print(chart(made.transcripts.values()) or "no room was opened", end="\n\n")
