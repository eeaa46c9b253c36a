"""The options that say which room to join, and as whom; and joining it."""

from __future__ import annotations

import getpass
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, TypeVar

import click

from meshsync.cli.durations import SECONDS
from meshsync.cli.masking import Mask
from meshsync.cli.output import Output
from meshsync.connect import connect
from meshsync.room import RoomClient
from meshsync.streams.offers import Accepter

__all__ = ["Access", "joins", "split_room"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Which room to join, and as whom; what is not given comes from the environment."""

    room: str | None = None
    name: str | None = None
    role: str = "user"
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    timeout: float | None = None
    """Seconds for each step; None for each one's own."""

    def of(self, room: str | None) -> Access:
        """Return the same for the room that an argument names, if one does.

        Raises:
            click.UsageError: If an option names another.
        """
        if room is None:
            return self
        if self.room not in (None, room):
            raise click.UsageError(f"which room: {room!r}, or that of --room, {self.room!r}?")
        return replace(self, room=room)

    def at(self, room: str | None, url: str) -> Access:
        """Return the same for a room at an address."""
        return replace(self, room=room, url=url)

    @property
    def is_emulator(self) -> bool:
        """Whether the address stands for the emulator of this machine."""
        return self.url is not None and re.fullmatch(r"emulator(:\d+)?", self.url) is not None

    @property
    def display_name(self) -> str:
        """The name to join with where a token is made from a key: by default that of this computer's user."""
        if self.name:
            return self.name
        try:
            return getpass.getuser()
        except (OSError, KeyError, ImportError):  # A container's user may have none.
            return "meshsync"

    def until(self, seconds: float | None) -> str:
        """Return the end of what a command that stays says of it: what ends it, where that may be taken otherwise.

        Args:
            seconds: Those of ``--for``; None without it.
        """
        if seconds is not None or self.timeout is None:
            return ""
        return "; --timeout limits each step, such as connecting: for an end after a time give --for SECONDS"

    def check_room(self) -> None:
        """Find out whether a room is named anywhere, which ``connected`` does too.

        Raises:
            click.UsageError: If none is.
        """
        address = self.url or os.environ.get("MESHAGENT_ROOM_URL") or ""
        if not (self.room or os.environ.get("MESHAGENT_ROOM") or "/rooms/" in address):
            raise click.UsageError("which room? name it, or set MESHAGENT_ROOM")

    @contextmanager
    def connected(self) -> Iterator[RoomClient]:
        """Join the room, and leave it at the end of the block; messaging is for the caller to enable.

        Raises:
            MeshsyncError: See ``connect``.
            click.UsageError: If no room is named anywhere.
        """
        self.check_room()
        with connect(
            self.room,
            name=self.display_name,
            role=self.role,
            token=self.token,
            api_key=self.api_key,
            url=self.url,
            timeout="default" if self.timeout is None else self.timeout,
            default_timeout=self.timeout,
        ) as room:
            yield room

    @contextmanager
    def joined(self, on_stream: Accepter | None = None) -> Iterator[RoomClient]:
        """Join the room, take part in messaging, and leave at the end of the block.

        Args:
            on_stream: Called with each stream that a peer opens.
        Raises:
            MeshsyncError: See ``connect`` and ``enable``.
        """
        with self.connected() as room:
            room.messaging.enable(on_stream)
            yield room


def joins(command: F) -> F:
    """Give a command the common options; it is called with an `Access` and an `Output` before its own arguments."""

    @wraps(command)
    def run(**given: Any) -> Any:
        ctx = click.get_current_context()
        verbosity, is_json = given.pop("verbose"), given.pop("is_json")
        is_emulator = given.pop("emulator")
        names = ("room_name", "name", "role", "url", "token", "api_key", "timeout")
        options = {name: given.pop(name) for name in names}
        if is_emulator:
            beside = [f"--{name.replace('_', '-')}" for name in ("url", "token", "api_key") if options[name]]
            if beside:
                raise click.UsageError(f"--emulator finds address and credentials itself: leave out {beside[0]}")
            options["url"] = "emulator"
        _log(verbosity)
        mask = Mask(["--token", options["token"] or "", "--api-key", options["api_key"] or ""], os.environ)
        ctx.find_root().obj = output = Output(is_json, mask)
        return command(Access(room=options.pop("room_name"), **options), output, **given)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run  # type: ignore[return-value]


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("-r", "--room", "room_name", metavar="ROOM", help="The room, else MESHAGENT_ROOM."),
    click.option("-n", "--name", help="Your name there, for a token made from a key; else this computer's user."),
    click.option("--role", default="user", show_default=True, help="Your role, likewise."),
    click.option("--url", help="The service's address, or a room's; else MESHAGENT_ROOM_URL or MESHAGENT_API_URL."),
    click.option("--token", help="A participant token; else MESHAGENT_TOKEN, where other users cannot see it."),
    click.option("--api-key", help="A key to make a token with; else MESHAGENT_API_KEY, or MESHAGENT_SECRET."),
    click.option("--emulator", is_flag=True, help="Join the emulator that runs here, without any other credential."),
    click.option(
        "--timeout",
        type=SECONDS,
        metavar="SECONDS",
        help="The longest wait for each step, such as connecting; not how long the command runs.",
    ),
    click.option(
        "--json/--text",
        "is_json",
        default=None,
        help="Lines of JSON, or text; by default as in a pipe or on a terminal.",
    ),
    click.option("-v", "--verbose", count=True, help="Log on standard error; twice for every packet's meaning."),
)


def _log(verbosity: int) -> None:
    if verbosity:
        logging.basicConfig(
            stream=sys.stderr,
            level=logging.INFO if verbosity == 1 else logging.DEBUG,
            format="%(asctime)s %(name)s: %(message)s",
        )


def split_room(arguments: tuple[str, ...], least: int, usage: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the room, if the arguments begin with one, and the rest, which has a fixed length.

    Args:
        least: The length of the rest.
        usage: What is expected, for the error.
    """
    if len(arguments) == least + 1:
        return arguments[0], arguments[1:]
    if len(arguments) == least:
        return None, arguments
    raise click.UsageError(f"expected {usage}, not {len(arguments)} arguments")
