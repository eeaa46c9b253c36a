"""``serve``: rooms until Ctrl-C."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Mapping
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.emulating import emulator_options, open_emulator
from simulator.cli.options import SectionedCommand

if TYPE_CHECKING:  # it needs aiohttp
    from simulator.emulator import Emulator

__all__ = ["DEFAULT_PORT", "serve"]

DEFAULT_PORT = 6374
"""The TCP port of ``serve``."""

_STOPS = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals after which all clients are told, and the process ends."""


@click.command(cls=SectionedCommand)
@emulator_options(DEFAULT_PORT, "info")
@click.option("--json", "is_json", is_flag=True, help="print one line of JSON for programs")
def serve(is_json: bool, **asked: Any) -> int:
    """Serve rooms until Ctrl-C."""
    # No event: a signal that strikes in its ``wait`` may find its lock held, by the very thread that runs the handler.
    stopped: SimpleQueue[int] = SimpleQueue()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.put(number)

    for name in _STOPS:
        number = getattr(signal, name, None)
        # What was started with nohup goes on when its terminal is closed.
        if number is not None and (name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN):
            signal.signal(number, stop)
    from meshsync.discovery import announce

    with open_emulator(asked) as emulator, announce(emulator.url, emulator.env):
        print(_as_json(emulator) if is_json else _as_text(emulator, asked), flush=True)
        while True:
            if not emulator.is_open or _comes(stopped):
                break
    from simulator.emulator.emulator import has_failed

    return int(has_failed(emulator))


def _comes(stopped: SimpleQueue[int]) -> bool:
    """Wait for a signal for a second, since Windows would not notice Ctrl-C in a longer wait."""
    try:
        stopped.get(timeout=1.0)
    except Empty:
        return False
    return True


def _as_json(emulator: Emulator) -> str:
    return json.dumps(
        {
            "url": emulator.url,
            "room_url_template": f"{emulator.url}/rooms/{{room}}",
            "secret": emulator.secret,
            "env": dict(emulator.env),
        }
    )


def _as_text(emulator: Emulator, asked: Mapping[str, Any]) -> str:
    """Return what people read."""
    from simulator.emulator import CLEARED, DEVELOPMENT_SECRET

    exports = [f"export {name}={shlex.quote(value)}" for name, value in emulator.env.items()]
    lines = [
        f"Rooms at {emulator.url}/rooms/{{room}} until Ctrl-C.",
        "",
        "For official SDKs and meshsync to connect here:",
        "",
        *exports,
        f"unset {' '.join(CLEARED)}",
        "",
    ]
    if asked["record"] is not None:
        lines += [f"What happens in each room is written to {asked['record']}, everything said included.", ""]
    if asked["secret"] is None and emulator.secret != DEVELOPMENT_SECRET:
        lines += ["The secret was made for this run, since other machines can reach it; --secret sets one.", ""]
    return "\n".join(lines)
