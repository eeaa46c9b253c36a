"""Performing a conversation in a room of its own: a player for each scripted participant, and perhaps a program."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import meshsync
from meshsync.errors import UsageError
from simulator.errors import ReplayFailed
from simulator.record.transcript import Transcript
from simulator.replaying.director import Director
from simulator.replaying.player import Player
from simulator.replaying.steps import Step
from simulator.replaying.subjects import Subject
from simulator.replaying.venues import EmulatedVenue, SimulatedVenue

__all__ = ["perform"]

FAREWELL = 5.0
"""Seconds in which a program has to end that has left the room, as it did before."""


def perform(
    steps: Sequence[Step],
    venue: SimulatedVenue | EmulatedVenue,
    *,
    stall: float,
    subject: str | None = None,
    program: Subject | None = None,
) -> Transcript:
    """Perform a conversation, and return what happened.

    Args:
        venue: Where; it was entered.
        stall: Seconds without any progress after which it is given up.
        subject: The participant that is a program; its steps are awaited, and not done.
        program: That one.
    Raises:
        ReplayStalled: If nothing happened for so long; the text has who waits for what.
        ReplayFailed: If a step could not be done, or the program failed.
    """
    director = Director(steps, meshsync.condition(), meshsync.monotonic, stall=stall, subject=subject)
    names = dict.fromkeys(step.who for step in steps if step.who != subject)
    cast = [Player(name, director, venue.connect) for name in names]
    try:
        for player in cast:
            meshsync.spawn(player.run, name=f"script of {player.name}")
        if program is not None and subject is not None:
            meshsync.spawn(_start, subject, program, director, venue, name=f"start of {subject}")
        director.await_all()
        director.await_quiet(venue.quiet)
        if program is not None and director.sees_leaving:
            program.join(min(stall, FAREWELL))
            director.check()
        return venue.transcript()
    except ReplayFailed as error:
        with suppress(UsageError):  # No participant had come.
            error.chart = venue.transcript().to_text()
        raise
    finally:
        director.end()
        if program is not None:
            program.close()
        for player in cast:
            player.close()


def _start(subject: str, program: Subject, director: Director, venue: SimulatedVenue | EmulatedVenue) -> None:
    """Start a program whenever its participant came in the record, if it is not running then."""
    comings = [place for place, step in enumerate(director.steps) if (step.who, step.verb) == (subject, "connect")]
    with suppress(ReplayFailed):  # The conversation has failed before it.
        for place in comings:
            director.await_turn(place)
            if place == comings[0] or program.join(FAREWELL):
                _start_once(program, director, venue)
            director.done(place)


def _start_once(program: Subject, director: Director, venue: SimulatedVenue | EmulatedVenue) -> None:
    director.hurry(None)
    try:
        program.start(director, venue)
    except Exception as error:
        director.fail(error)
