"""The options of the commands that open an emulator, and the emulator that they ask for.

A new option is an entry of `_OPTIONS`; what it does is a line in `make_emulator`, or in `open_emulator` if it is done
when the emulator listens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from meshsync.cli.durations import Seconds
from meshsync.errors import UsageError
from simulator.cli.logs import LEVELS, printed
from simulator.cli.options import SectionedOption
from simulator.cli.staging import STAGE_OPTIONS, stage_arguments

if TYPE_CHECKING:  # the emulator needs aiohttp, which its users may not have
    from simulator.emulator import Emulator, Recording

__all__ = ["emulator_options", "make_emulator", "open_emulator"]

_MEMORY = 16 * 1024 * 1024
"""Bytes of memory for what is recorded."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _size(text: str) -> int:
    from simulator.emulator.limits import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _doorway(option: str, metavar: str, text: str) -> Callable[[_Function], _Function]:
    section = "Who may connect, while everybody knows the secret"
    return click.option(option, cls=SectionedOption, section=section, multiple=True, metavar=metavar, help=text)


def _limit(
    option: str, metavar: str, parse: Seconds | Callable[[str], Any], text: str
) -> Callable[[_Function], _Function]:
    field = "limit_" + option.removeprefix("--").removeprefix("max-")
    return click.option(option, field, cls=SectionedOption, section="Limits", type=parse, metavar=metavar, help=text)


def _record(option: str, **options: Any) -> Callable[[_Function], _Function]:
    return click.option(option, cls=SectionedOption, section="Recording", **options)


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--host", default="127.0.0.1", metavar="HOST", show_default=True, help="address to listen on"),
    click.option(
        "--secret",
        metavar="SECRET",
        help="what tokens have to be signed with (default: one that everybody knows; a random one beyond the loopback)",
    ),
    click.option(
        "--loop",
        default="asyncio",
        metavar="NAME",
        show_default=True,
        help="event loop to run on; uvloop costs less, and has to be installed",
    ),
    click.option("-v", "--verbose", is_flag=True, help="one level more than the default one of --log-level"),
    click.option("--json-log", is_flag=True, help="log as lines of JSON, for programs"),
    _doorway(
        "--allow-origin",
        "ORIGIN",
        "pages that may connect beside those of this machine, as https://example.org; several times, or * for all",
    ),
    _doorway(
        "--allow-host",
        "HOST",
        "name by which clients may call beside this machine's, as a container's; several times, or * for all",
    ),
    click.option(
        "--insecure",
        cls=SectionedOption,
        section="Who may connect, while everybody knows the secret",
        is_flag=True,
        help="listen beyond the loopback though everybody knows the secret",
    ),
    _record(
        "--record",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="write what happens in each room to a file in this directory, everything said included; see --redact",
    ),
    _record(
        "--record-attachments",
        metavar="SIZE",
        type=_size,
        help="attachments that are kept with it, up to this size each, as 64KiB; 0 for none (default: 1MiB)",
    ),
    _record(
        "--redact",
        metavar="PATH",
        multiple=True,
        help="value to take out, as message.password, message.*.token, attributes.key, header.key; several times",
    ),
    _limit("--max-connections", "N", int, "connections with a participant; more are refused with status 503"),
    _limit("--max-rooms", "N", int, "rooms at one time; likewise"),
    _limit("--max-participants", "N", int, "participants in one room; likewise"),
    _limit("--max-joins", "N", float, "participants that may join in a second; likewise"),
    _limit("--max-message", "SIZE", _size, "size of a message, as 64KiB; a larger one is refused"),
    _limit(
        "--max-rate",
        "N",
        float,
        "messages a second from one participant; who sends more is disconnected with code 1008",
    ),
    _limit(
        "--max-queue",
        "SIZE",
        _size,
        "may wait for one participant, as 64MiB; who reads too slowly is disconnected",
    ),
    _limit("--max-waiting", "N", int, "connections that have no participant yet; the oldest gives way"),
    _limit("--memory", "SIZE", _size, "what may be held for all participants together, as 1GiB"),
    _limit("--handshake", "SECONDS", Seconds(), "time from connecting to a whole request (default: 10)"),
    *STAGE_OPTIONS,
)
"""All but those whose default depends on the command."""


def emulator_options(port: int, level: str) -> Callable[[_Function], _Function]:
    """Return a decorator that gives a command the options of an emulator, with a default for its port and its log.

    Example:
        ::

            @click.command(cls=SectionedCommand)
            @emulator_options(6374, "info")
            def serve(**asked: Any) -> int:
                with open_emulator(asked) as emulator:
                    ...
    """
    picked = click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=port,
        metavar="PORT",
        help=f"port to listen on (0 picks a free one; default: {port})",
    )

    logged = click.option(
        "--log-level",
        type=click.Choice(LEVELS),
        default=level,
        show_default=True,
        help="what to log on standard error; debug: each message too",
    )

    def decorate(command: _Function) -> _Function:
        for option in reversed((_OPTIONS[0], picked, logged, *_OPTIONS[1:])):
            option(command)
        return command

    return decorate


@contextmanager
def open_emulator(asked: Mapping[str, Any]) -> Iterator[Emulator]:
    """Open the emulator that the options ask for, and print its log, until the end of the block.

    Args:
        asked: The options of `emulator_options`, by their names as parameters.
    Raises:
        UsageError: If it cannot listen there, or as `make_emulator` does.
    """
    level: str = asked["log_level"]
    if asked["verbose"] and click.get_current_context().get_parameter_source("log_level") is ParameterSource.DEFAULT:
        level = LEVELS[max(LEVELS.index(level) - 1, 0)]
    with printed(level, is_json=asked["json_log"]):
        emulator = make_emulator(asked)
        try:
            emulator.start()
        except UsageError as error:
            raise UsageError(_as_typed(str(error))) from None
        with emulator:
            yield emulator


def make_emulator(asked: Mapping[str, Any]) -> Emulator:
    """Return the emulator that the options ask for; it does not listen yet.

    Raises:
        UsageError: If an option makes no sense; it is named as on the command line.
    """
    from simulator.emulator import Emulator, Limits

    given = {name: value for name, value in asked.items() if name.startswith("limit_") and value is not None}
    try:
        return Emulator(
            host=asked["host"],
            port=asked["port"],
            secret=asked["secret"],
            limits=Limits(**{name.removeprefix("limit_"): value for name, value in given.items()}),
            allow_origins=asked["allow_origin"],
            allow_hosts=asked["allow_host"],
            insecure=asked["insecure"],
            record=_recording(asked),
            loop=asked["loop"],
            **stage_arguments(asked),
        )
    except UsageError as error:
        raise UsageError(_as_typed(str(error))) from None


def _recording(asked: Mapping[str, Any]) -> Recording | bool:
    """Return what is to be recorded.

    Raises:
        UsageError: If there are options for it, and nothing is.
    """
    from simulator.emulator import Recording

    size, paths = asked["record_attachments"], asked["redact"]
    if asked["record"] is None:
        for option, value in (("--record-attachments", size is not None), ("--redact", paths)):
            if value:
                raise UsageError(f"{option}: it is about what --record DIR writes")
        return False
    options = {} if size is None else {"attachments": size}
    # Programs have no way to ask for what is in memory: there is only what files need, each attachment once.
    return Recording(directory=asked["record"], redact=paths, limit=_MEMORY, **options)


def _as_typed(text: str) -> str:
    """Return the text of an error with the option in the place of the argument that it begins with."""
    argument, colon, rest = text.partition(": ")
    for parameter in click.get_current_context().command.params:
        if colon and parameter.name in (argument, argument.removesuffix("s"), f"limit_{argument}"):
            return f"{max(parameter.opts, key=len)}: {rest}"
    return text
