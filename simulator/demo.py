"""A conversation to look at: a room of its own, a few participants, and what each of them sees.

Every line but the headings is printed by a receiver, at the moment it is called: what is shown is what has happened.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import TextIO

import meshsync
from meshsync import RoomClient, RoomMessageEvent

__all__ = ["run"]

_COLOURS = {"ada": 36, "ben": 35, "bot": 33}
"""Foreground colours by their numbers. Source: ECMA-48, section 8.3.117."""

_LIMIT = 10.0
"""Seconds until a line that does not come is given up."""


class _Page:
    """What is printed: one line at a time, whoever prints it."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_coloured = out.isatty() and "NO_COLOR" not in os.environ
        self._lines: list[tuple[str, str]] = []
        self._dismissed: set[str] = set()
        self._changed = meshsync.condition()

    def head(self, text: str) -> None:
        """Print a heading."""
        self._write(f"\n{text}\n")

    def line(self, name: str, text: str) -> None:
        """Print what somebody saw."""
        if name in self._dismissed:
            return
        label = f"{name:>5}"
        if self._is_coloured:
            label = f"\x1b[{_COLOURS.get(name, 37)}m{label}\x1b[0m"
        self._write(f"{label} | {text}\n")
        with self._changed:
            self._lines.append((name, text))
            self._changed.notify_all()

    def dismiss(self, *names: str) -> None:
        """Print no more of what they see."""
        self._dismissed.update(names)

    def wait(self, *lines: tuple[str, str]) -> None:
        """Wait until each of these was printed: a name, and how the text begins."""

        def are_there() -> bool:
            return all(any(name == by and text.startswith(how) for by, text in self._lines) for name, how in lines)

        with self._changed:
            if not self._changed.wait_for(are_there, _LIMIT):
                raise meshsync.ReceiveTimeout(f"the demonstration missed something of {lines}")

    def _write(self, text: str) -> None:
        self._out.write(text)  # A whole line at once, so that those of two threads do not mix.
        self._out.flush()


def run(out: TextIO) -> None:
    """Hold the conversation and print it."""
    from simulator.emulator import Emulator

    page = _Page(out)
    with ExitStack() as open_things:
        emulator = open_things.enter_context(Emulator())
        page.head(f"A room on this machine: {emulator.url}/rooms/demo")

        def join(name: str, role: str = "user") -> RoomClient:
            token = emulator.token("demo", name, role=role)
            room = open_things.enter_context(meshsync.connect("demo", token=token, url=emulator.url))
            _watch(room, lambda text: page.line(name, text))
            room.messaging.enable()
            return room

        page.head("Ada, Ben and a bot join and enable messaging.")
        ada = join("ada")
        ben = join("ben")
        bot = join("bot", role="agent")
        page.wait(("ada", "bot is here"), ("ben", "bot is here"), ("bot", "ben is here"))

        page.head("Ada asks the bot, with an attachment; it answers from its receiver.")
        bot.messaging.on_message("question", lambda event: _answer(bot, event))
        helper = ada.messaging.wait_for_participant(name="bot", timeout=_LIMIT)
        question = {"text": "how long is this?"}
        ada.messaging.send_message(to=helper, type="question", message=question, attachment=b"\x01\x02\x03")
        page.wait(("ada", "bot sent 'answer'"))

        page.head("Ben tells everybody something.")
        ben.messaging.broadcast_message(type="announcement", message={"text": "lunch at noon"})
        page.wait(("ada", "ben sent 'announcement'"), ("bot", "ben sent 'announcement'"))

        page.head("Ben changes an attribute.")
        ben.local_participant.set_attribute("status", "hungry")
        page.wait(("ada", "ben is now"), ("bot", "ben is now"))

        page.head("Ben leaves.")
        page.dismiss("ben")  # To one who closes, everybody else seems to leave.
        ben.close()
        page.wait(("ada", "ben has left"), ("bot", "ben has left"))
        page.dismiss("ada", "bot")
    out.write("\n")


def _watch(room: RoomClient, say: Callable[[str], None]) -> None:
    """Say what happens in the room."""

    def name_of(event: RoomMessageEvent) -> str:
        return str(event.participant.name) if event.participant is not None else "somebody"

    def came(event: RoomMessageEvent) -> None:
        role = event.message.message["role"]
        say(f"{name_of(event)} is here" + ("" if role == "user" else f", as {role}"))

    def changed(event: RoomMessageEvent) -> None:
        changes = event.message.message["attributes"]
        say(f"{name_of(event)} is now " + ", ".join(f"{key}: {value}" for key, value in changes.items()))

    def told(event: RoomMessageEvent) -> None:
        size = len(event.message.attachment)
        more = f" and {size} bytes" if size else ""
        say(f"{name_of(event)} sent {event.message.type!r}: {event.message.message['text']}{more}")

    room.messaging.on("participant_added", came)
    room.messaging.on("participant_attributes_updated", changed)
    room.messaging.on("participant_removed", lambda event: say(f"{name_of(event)} has left"))
    room.messaging.on("message", told)


def _answer(room: RoomClient, event: RoomMessageEvent) -> None:
    if event.participant is not None:
        text = f"{len(event.message.attachment)} bytes"
        room.messaging.send_message(to=event.participant, type="answer", message={"text": text})
