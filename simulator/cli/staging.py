"""The options of ``serve`` and ``exec`` for participants, latency and faults."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

import click

from meshsync.errors import MeshsyncError, UsageError
from simulator.cli.options import SectionedOption
from simulator.cli.values import LAWS, read_latency, read_plan, read_seed

if TYPE_CHECKING:  # serving without any of this need not wait for them
    from simulator.faults import Fault
    from simulator.participants import Participant

__all__ = ["STAGE_OPTIONS", "read_participant", "stage_arguments"]

_ADDED = "CLASS:NAME[,OPTION=VALUE …][@ROOM]"


class _Casting:
    """A participant that rooms begin with, as ``--add`` describes it."""

    def __init__(self, make: Callable[[], Participant], room: str) -> None:
        self.make = make
        self.room = room
        """Empty for every room."""


def read_participant(text: str) -> _Casting:
    """Return what ``--add`` means, as ``Echo:bot``, ``Chatter:joe,interval=0.5@lab`` or ``bots.py:Greeter:bot``.

    Raises:
        click.BadParameter: If there is no such class, or it cannot be made so.
    """
    from simulator.admission import check_room_name

    described, _, room = text.partition("@")
    place, _, called = described.rpartition(":")
    name, *options = called.split(",")
    if not place or not name:
        raise click.BadParameter(f"a participant is {_ADDED}, as Echo:bot, not {text!r:.100}")
    kind = _class(place)
    given: dict[str, Any] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise click.BadParameter(f"an option of a participant is OPTION=VALUE, not {option!r:.100}")
        given[key.strip()] = _value(value)
    casting = _Casting(lambda: kind(name, **given), room)
    try:
        if room:
            check_room_name(room)
        casting.make()
    except MeshsyncError as error:
        raise click.BadParameter(str(error)) from None
    except Exception as error:
        takes = str(inspect.signature(kind))
        raise click.BadParameter(f"{place} cannot be made so: {error}; it takes {takes}") from None
    return casting


def _class(place: str) -> Callable[..., Participant]:
    """Return one of the ready-made classes, or one of the user's own."""
    from simulator import participants
    from simulator.exploring.programs import find

    if ":" not in place:
        found = getattr(participants, place, None) if place in participants.__all__ else None
        names = (one.__name__ for one in vars(participants).values() if _is_kind(one))
        missing = f"no participant is called {place!r:.100}; there are {', '.join(names)}, and your own as MODULE:CLASS"
    else:
        try:
            found = find(place)
        except UsageError as error:
            raise click.BadParameter(str(error)) from None
        missing = f"{place} is no class of participants"
    if not _is_kind(found):
        raise click.BadParameter(missing)
    return found


def _is_kind(found: object) -> TypeGuard[type[Participant]]:
    from simulator.participants import Participant

    return isinstance(found, type) and issubclass(found, Participant)


def _value(text: str) -> Any:
    """Return a number, a truth value or a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _option(option: str, metavar: str, text: str, **settings: Any) -> Callable[[Any], Any]:
    section = "Participants, latency and faults"
    return click.option(option, cls=SectionedOption, section=section, metavar=metavar, help=text, **settings)


STAGE_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    _option(
        "--add",
        _ADDED,
        "a participant that rooms begin with, every one or that one, as Echo:bot; several times; your own classes are"
        " MODULE:CLASS or FILE.py:CLASS",
        multiple=True,
        type=read_participant,
    ),
    _option("--latency", "LAW", f"delay between each client and its room, each way: {LAWS}", type=read_latency),
    _option(
        "--reject-streams",
        "NAME",
        "reject the streams that are offered to that participant; several times",
        multiple=True,
    ),
    _option("--plan", "FILE", "a fault plan as JSON, whose times count from the start", type=read_plan),
    _option("--seed", "SEED", "what the chance of delays and faults follows from", type=read_seed, default="0"),
)


def stage_arguments(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``Emulator`` that the options ask for.

    Raises:
        UsageError: If a name makes no sense.
    """
    cast: tuple[_Casting, ...] = asked["add"]

    def populate(room: str) -> Iterable[Participant]:
        return [casting.make() for casting in cast if casting.room in ("", room)]

    return {
        "latency": asked["latency"],
        "seed": asked["seed"],
        "plan": (*_rejecting(asked["reject_streams"]), *(asked["plan"] or ())),
        "populate": populate if cast else None,
    }


def _rejecting(names: Iterable[str]) -> list[Fault]:
    from simulator import faults

    try:
        return [faults.reject_streams(name) for name in names]
    except ValueError as error:
        raise UsageError(f"reject_streams: {error}") from None
