"""The commands of ``python -m simulator`` about records of rooms: diff, replay-room, as-test.

Exit status 0: equal, replayed as it was, or the test is written; 1: they differ, or the conversation or the program
fails; 2: there is no record or no program.
"""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from meshsync.cli.durations import SECONDS
from meshsync.errors import UsageError

__all__ = ["as_test", "diff", "replay_room"]

_record = click.argument("record", type=click.Path(path_type=Path), metavar="RECORD")
_stall = click.option(
    "--stall",
    type=SECONDS,
    metavar="SECONDS",
    help="give up after so long without any progress (default: 10, or twice the record's longest silence)",
)


def _world(default: str | None, text: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    return click.option("--in", "world", type=click.Choice(["simulation", "emulator"]), default=default, help=text)


def _usable(command: Callable[..., int]) -> Callable[..., int]:
    """Return a command that ends with status 2 if what it is given cannot be used."""

    @functools.wraps(command)
    def guarded(**options: Any) -> int:
        try:
            return command(**options)
        except UsageError as error:
            print(f"simulator: {error}", file=sys.stderr)
        except OSError as error:
            if error.filename is None:
                raise
            print(f"simulator: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2

    return guarded


@click.command()
@click.argument("a", type=click.Path(path_type=Path), metavar="A")
@click.argument("b", type=click.Path(path_type=Path), metavar="B")
@click.option(
    "--ignore",
    multiple=True,
    metavar="WHAT",
    help="besides times and ids: a kind of records, as fault; attachment, outcome, body; or message.PATH, as"
    " message.sent.at; several times",
)
@click.option("--sender", metavar="NAME", help="compare what this participant does alone")
@_usable
def diff(a: Path, b: Path, ignore: tuple[str, ...], sender: str | None) -> int:
    """Compare two records of rooms: what each participant does towards each other one.

    Exit status 0: they are equal; 1: they differ; 2: one is no record.
    """
    from simulator.record import comparing

    found = comparing.diff(a, b, ("time", "id", *ignore), sender=sender)
    print(found)
    return int(bool(found))


@click.command()
@_record
@_world("simulation", "where to replay it (default: simulation)")
@_stall
@click.option("--transcript", type=click.Path(path_type=Path), metavar="OUT", help="save the new record")
@click.option("--chart", is_flag=True, help="print what happened")
@_usable
def replay_room(record: Path, world: Any, stall: float | None, transcript: Path | None, chart: bool) -> int:
    """Replay the conversation of a record, with a scripted participant for each of its own.

    Each goes on when what had come to it before has come again. Exit status 0: it was the same; 1: it was not, or got
    stuck; 2: there is no record.
    """
    from simulator.errors import ReplayFailed
    from simulator.replaying import replay

    try:
        replayed = replay.replay_room(record, into=world, stall=stall)
    except ReplayFailed as error:
        if chart and error.chart:
            print(error.chart, end="\n\n")
        raise
    if chart:
        print(replayed.transcript.to_text(), end="\n\n")
    if transcript is not None:
        replayed.transcript.save(transcript)
    print(replayed)
    return int(bool(replayed.difference))


@click.command()
@_record
@click.option("--subject", required=True, metavar="NAME", help="the participant that the program is")
@click.option("--program", metavar="FILE:FUNCTION", help="the program: a function of nothing, or of the Simulation")
@click.option("--command", metavar="COMMAND", help="or the program as a command, as 'python bot.py'; in an emulator")
@_world(None, "where the test runs (default: a command in an emulator, a function in a simulation)")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="the test (default: test_SUBJECT.py)"
)
@_stall
@_usable
def as_test(
    record: Path,
    subject: str,
    program: str | None,
    command: str | None,
    world: Any,
    output: Path | None,
    stall: float | None,
) -> int:
    """Write a pytest file in which every participant but one is scripted, and that one is a program.

    The program is run twice; what differs between the runs is not compared, and listed in the file. Exit status 0: it
    is written; 1: the program fails, or does something else each time; 2: there is no record or program.
    """
    from simulator.replaying import making

    try:
        words = None if command is None else shlex.split(command)
    except ValueError as error:
        raise click.BadParameter(f"--command: {error}") from None
    made = making.make_test(record, subject, program=program, command=words, world=world, output=output, stall=stall)
    print(made)
    return 0
