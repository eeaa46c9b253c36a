"""The options of the commands that open an emulator, and the emulator that they ask for."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from meshsync.errors import UsageError

if TYPE_CHECKING:  # the emulator needs aiohttp, which its users may not have
    from simulator.emulator import Emulator

__all__ = ["add_options", "make_emulator"]

_LIMITS: tuple[tuple[str, str, Callable[[str], Any] | None, str], ...] = (
    ("connections", "N", int, "connections with a participant; more are refused with status 503"),
    ("rooms", "N", int, "rooms at one time; likewise"),
    ("participants", "N", int, "participants in one room; likewise"),
    ("joins", "N", float, "participants that may join in a second; likewise"),
    ("message", "SIZE", None, "size of a message, as 64KiB; a larger one is refused"),
    ("rate", "N", float, "messages a second from one participant; who sends more is disconnected with code 1008"),
    ("queue", "SIZE", None, "what may wait for one participant, as 64MiB; who reads too slowly is disconnected"),
    ("waiting", "N", int, "connections that have no participant yet; the oldest gives way"),
)
"""Limits that ``--max-…`` sets: field, kind of value, its parser (None for a size), help."""


def add_options(parser: argparse.ArgumentParser, port: int) -> None:
    """Add the options of an emulator, with a default for its port."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    picks = "0 picks a free one; default: "
    parser.add_argument("--port", type=_port, default=port, help=f"port to listen on ({picks}%(default)s)")
    secret = "what tokens have to be signed with (default: one that everybody knows; a random one beyond the loopback)"
    parser.add_argument("--secret", help=secret)
    parser.add_argument("-v", "--verbose", action="store_true", help="log on standard error what is refused, and why")

    doorway = parser.add_argument_group("who may connect, while everybody knows the secret")
    origin = "pages that may connect beside those of this machine, as https://example.org; several times, or * for all"
    doorway.add_argument("--allow-origin", action="append", default=[], metavar="ORIGIN", help=origin)
    host = "name by which clients may call beside this machine's, as a container's; several times, or * for all"
    doorway.add_argument("--allow-host", action="append", default=[], metavar="HOST", help=host)
    insecure = "listen beyond the loopback though everybody knows the secret"
    doorway.add_argument("--insecure", action="store_true", help=insecure)

    limits = parser.add_argument_group("limits")
    for name, metavar, parse, text in _LIMITS:
        option = f"--max-{name}"
        limits.add_argument(option, type=parse or _size, dest=f"limit_{name}", metavar=metavar, help=text)
    memory = "what may be held for all participants together, as 1GiB"
    limits.add_argument("--memory", type=_size, dest="limit_memory", metavar="SIZE", help=memory)
    handshake = "time from connecting to a whole request (default: 10)"
    limits.add_argument("--handshake", type=float, dest="limit_handshake", metavar="SECONDS", help=handshake)


def make_emulator(options: argparse.Namespace) -> Emulator:
    """Return the emulator that the options ask for; it does not listen yet.

    Raises:
        UsageError: If an option makes no sense; it is named as on the command line.
    """
    from simulator.emulator import Emulator, Limits

    if options.verbose:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    given = {name: value for name, value in vars(options).items() if name.startswith("limit_") and value is not None}
    try:
        limits = Limits(**{name.removeprefix("limit_"): value for name, value in given.items()})
    except UsageError as error:
        raise UsageError(f"a limit makes no sense: {error}") from None
    return Emulator(
        host=options.host,
        port=options.port,
        secret=options.secret,
        limits=limits,
        allow_origins=options.allow_origin,
        allow_hosts=options.allow_host,
        insecure=options.insecure,
    )


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port


def _size(text: str) -> int:
    from simulator.emulator.limits import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
