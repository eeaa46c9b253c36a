"""``chat``: a prompt, and above it what others write."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import click

from meshsync.cli.access import Access, joins
from meshsync.cli.arrivals import describe_attachment, describe_message
from meshsync.cli.output import Output, compact, plain, plural
from meshsync.cli.pipes import drop_output
from meshsync.cli.recipients import find_recipients
from meshsync.errors import MeshsyncError, UsageError
from meshsync.messages import RoomMessage, RoomMessageEvent
from meshsync.participants import RemoteParticipant
from meshsync.room import RoomClient
from meshsync.signals import EventName

__all__ = ["chat"]


def _find_readline() -> Any:
    """Return the module that gives ``input`` a history, or None on Windows, whose terminals have one of their own."""
    try:
        import readline
    except ImportError:
        return None
    return readline


PROMPT = "> "

HELP = """\
text           to all that the chat is with
@NAME text     to one participant
{"a": 1}       a JSON object instead of a text
/who           who is there
/help          this
/quit, Ctrl-D  leave"""

_HISTORY = 1000
"""Lines kept from one chat to the next."""


@click.command()
@click.argument("room", required=False)
@click.option("--to", multiple=True, metavar="NAME", help="Talk to NAME alone; several times.")
@click.option("-t", "--type", default="chat", show_default=True, help="The type of what you write.")
@click.option("--history/--no-history", "is_kept", default=True, help="Keep the prompt's history in a file of yours.")
@joins
def chat(access: Access, output: Output, room: str | None, to: tuple[str, ...], type: str, is_kept: bool) -> None:
    """Talk in a room: each line goes to all others, and what they write appears above it.

    /help lists what else can be typed.
    """
    written = 0
    output.reached = lambda: f"sent {plural(written, 'line')}"
    has_prompt = sys.stdin.isatty() and not output.is_json
    with access.of(room).connected() as joined, _history(has_prompt and is_kept):
        screen = _Screen(output, has_prompt)
        joined.messaging.on("message", screen.show)  # Before any other participant can know of this one.
        for event in _NEWS:
            joined.messaging.on(event, screen.show)
        joined.messaging.enable()
        others = joined.messaging.remote_participants
        screen.begin(others)
        names = ", ".join(plain(other.name) for other in others)
        where = f"in {joined.room_name!r} as {joined.local_participant.name!r}"
        output.note(f"{where}; others: {names or 'none'}; /help lists what can be typed")
        for line in screen.lines():
            if line == "/quit":
                break
            try:
                written += _obey(joined, output, line, to, type)
            except MeshsyncError as error:
                if joined.state in ("closed", "lost"):
                    raise
                output.note(str(error))
        screen.is_over = True


def _obey(room: RoomClient, output: Output, line: str, to: tuple[str, ...], type: str) -> bool:
    """Do what a line asks for; return whether it was sent."""
    if line == "/help":
        output.text(HELP)
        return False
    if line == "/who":
        rows = [
            {"name": other.name, "role": other.role, "id": other.id} for other in room.messaging.remote_participants
        ]
        output.table(["name", "role", "id"], rows, "no other participant is there")
        return False
    if line.startswith("/"):
        raise UsageError(f"no such command: {line.split(maxsplit=1)[0]}; /help lists them")
    if line.startswith("@"):
        name, _, line = line[1:].partition(" ")
        to = (name,)
    body = _body(line)
    if not to:
        room.messaging.broadcast_message(type, body)
    for recipient in find_recipients(room, to):
        room.messaging.send_message(recipient, type, body)
    return True


def _body(line: str) -> Mapping[str, Any]:
    if line.lstrip().startswith("{"):
        with suppress(ValueError, RecursionError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
    return {"text": line}


class _Screen:
    """The lines that are typed, and above the one being typed, what happens in the room."""

    def __init__(self, output: Output, has_prompt: bool) -> None:
        self._output = output
        self._has_prompt = has_prompt
        self._is_asking = False
        self._readline = _find_readline() if has_prompt else None
        self._begun: set[str] | None = None
        """The ids of those that were there at the beginning, whose arrival is no news; None before it."""
        self._is_read = True
        """Whether the standard output has a reader."""
        self.is_over = False
        """Whether this command is leaving: that it sees all others go then is no news either."""

    def begin(self, others: Iterable[RemoteParticipant]) -> None:
        """Show arrivals and departures from now on, given those that are there."""
        self._begun = {other.id for other in others}

    def lines(self) -> Iterator[str]:
        """Yield each line that is typed, blank ones left out, up to the end of the input."""
        while True:
            line = self._read()
            if line is None or not self._is_read:
                return
            if line.strip():
                yield line.strip()

    def _read(self) -> str | None:
        if not self._has_prompt:
            return sys.stdin.readline() or None
        self._is_asking = True
        try:
            return input(PROMPT)
        except EOFError:
            print()
            return None
        finally:
            self._is_asking = False

    def show(self, event: RoomMessageEvent) -> None:
        """Print an event; the client calls this, on a task of its own."""
        try:
            self._show(event)
        except BrokenPipeError:
            drop_output()
            self._is_read = False

    def _show(self, event: RoomMessageEvent) -> None:
        name = "" if event.participant is None else plain(event.participant.name or event.participant.id)
        if event.name == "message":
            members = describe_message(event.message)
            if self._output.is_json:
                self._output.record(members)
            else:
                self._above(f"{name}: {_words(event.message)}{describe_attachment(members)}")
        elif self._is_news(event):
            self._above(_NEWS[cast(EventName, event.name)].format(name=name))

    def _is_news(self, event: RoomMessageEvent) -> bool:
        if self._begun is None or self.is_over:
            return False
        id = event.participant.id if event.participant is not None else ""
        if event.name == "participant_added" and id in self._begun:
            self._begun.discard(id)
            return False
        return event.name != "disconnected" or event.error is not None

    def _above(self, text: str) -> None:
        if self._output.is_json:
            self._output.note(text)
        elif not self._is_asking:
            self._output.text(text)
        else:
            # The line being typed is wiped away and written again below.
            typed = self._readline.get_line_buffer() if self._readline is not None else ""
            print(f"\r\x1b[2K{text}\n{PROMPT}{typed}", end="", flush=True)


_NEWS: dict[EventName, str] = {
    "participant_added": "* {name} is here",
    "participant_removed": "* {name} has left",
    "disconnected": "* the connection was lost",
    "reconnected": "* the connection is back",
}


def _words(message: RoomMessage) -> str:
    body = dict(message.message)
    text = body.get("text")
    if body.keys() == {"text"} and isinstance(text, str):
        return plain(text)
    return f"{plain(message.type)} {compact(body)}"


@contextmanager
def _history(is_kept: bool) -> Iterator[None]:
    """Give the prompt the lines of earlier chats, and keep this one's, in a file that its user alone can read."""
    readline = _find_readline() if is_kept else None
    if readline is None:
        yield
        return
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    path = Path(state) / "meshsync" / "chat_history"
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(_HISTORY)
    try:
        yield
    finally:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            readline.write_history_file(path)
