"""The options of the commands that open an emulator, and the emulator that they ask for.

A new option is an entry of `_OPTIONS`; what it does is a line in `make_emulator`, or in `open_emulator` if it is done
when the emulator listens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from meshsync.errors import UsageError
from simulator.cli.options import SectionedOption

if TYPE_CHECKING:  # the emulator needs aiohttp, which its users may not have
    from simulator.emulator import Emulator

__all__ = ["emulator_options", "make_emulator", "open_emulator"]

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


def _limit(option: str, metavar: str, parse: Callable[[str], Any], text: str) -> Callable[[_Function], _Function]:
    field = "limit_" + option.removeprefix("--").removeprefix("max-")
    return click.option(option, field, cls=SectionedOption, section="Limits", type=parse, metavar=metavar, help=text)


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--host", default="127.0.0.1", metavar="HOST", show_default=True, help="address to listen on"),
    click.option(
        "--secret",
        metavar="SECRET",
        help="what tokens have to be signed with (default: one that everybody knows; a random one beyond the loopback)",
    ),
    click.option("-v", "--verbose", is_flag=True, help="log on standard error what is refused, and why"),
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
    _limit("--handshake", "SECONDS", float, "time from connecting to a whole request (default: 10)"),
)
"""All but the port, whose default depends on the command."""


def emulator_options(port: int) -> Callable[[_Function], _Function]:
    """Return a decorator that gives a command the options of an emulator, with a default for its port.

    Example:
        ::

            @click.command(cls=SectionedCommand)
            @emulator_options(6374)
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

    def decorate(command: _Function) -> _Function:
        for option in reversed((_OPTIONS[0], picked, *_OPTIONS[1:])):
            option(command)
        return command

    return decorate


@contextmanager
def open_emulator(asked: Mapping[str, Any]) -> Iterator[Emulator]:
    """Open the emulator that the options ask for, until the end of the block.

    Args:
        asked: The options of `emulator_options`, by their names as parameters.
    Raises:
        UsageError: If it cannot listen there, or as `make_emulator` does.
    """
    with make_emulator(asked) as emulator:
        yield emulator


def make_emulator(asked: Mapping[str, Any]) -> Emulator:
    """Return the emulator that the options ask for; it does not listen yet.

    Raises:
        UsageError: If an option makes no sense; it is named as on the command line.
    """
    from simulator.emulator import Emulator, Limits

    if asked["verbose"]:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
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
        )
    except UsageError as error:
        raise UsageError(_as_typed(str(error))) from None


def _as_typed(text: str) -> str:
    """Return the text of an error with the option in the place of the argument that it begins with."""
    argument, colon, rest = text.partition(": ")
    for parameter in click.get_current_context().command.params:
        if colon and parameter.name in (argument, argument.removesuffix("s"), f"limit_{argument}"):
            return f"{max(parameter.opts, key=len)}: {rest}"
    return text
