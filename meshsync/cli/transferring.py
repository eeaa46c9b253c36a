"""``send-file`` and ``receive-files``."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from meshsync.cli.access import Access, joins, split_room
from meshsync.cli.directories import creates_directories, open_directory
from meshsync.cli.durations import SECONDS
from meshsync.cli.exits import ExitCode, Unfinished
from meshsync.cli.output import Output, plain, plural
from meshsync.cli.pipes import GLANCE, is_abandoned
from meshsync.cli.progress import Transfers, bars
from meshsync.cli.recipients import find_recipients, names_recipients, wait_for_all
from meshsync.cli.wording import error_text
from meshsync.errors import MeshsyncError, StreamRejected
from meshsync.files.transfer import ReceivedFile, receive_file
from meshsync.participants import RemoteParticipant
from meshsync.room import RoomClient
from meshsync.streams.interfaces import StreamReader

__all__ = ["receive_files", "send_file"]


@click.command("send-file", options_metavar="--to NAME [OPTIONS]")
@click.argument("arguments", nargs=-1, metavar="[ROOM] FILE")
@names_recipients
@click.option("--as", "alias", metavar="NAME", help="The file's name at the recipient's.")
@click.option("--wait-for", multiple=True, metavar="NAME", help="Wait until NAME is there; several times.")
@joins
def send_file(
    access: Access,
    output: Output,
    arguments: tuple[str, ...],
    to: tuple[str, ...],
    alias: str | None,
    wait_for: tuple[str, ...],
) -> None:
    """Send a file, and end when each recipient has it whole.

    A recipient that got a part of it before gets the rest.
    """
    room, (path,) = split_room(arguments, 1, "[ROOM] FILE")
    Path(path).open("rb").close()  # Before joining: a file that cannot be read is no matter of the room.
    transfers, sent = Transfers(), 0
    wanted = len(dict.fromkeys(to))

    def reached() -> str:
        return "; ".join([f"sent to {sent} of {plural(wanted, 'recipient')}", *transfers.unfinished()])

    output.reached = reached
    with access.of(room).joined() as joined, bars() as shown:
        wait_for_all(joined, wait_for, access.timeout)
        for recipient in find_recipients(joined, to):
            with transfers.following(alias or Path(path).name, shown) as report:
                file = joined.messaging.send_file(path, recipient, name=alias, progress=report)
            sent += 1
            done = "has it" if file.is_confirmed else "did not confirm it, as official clients do not"
            output.record(
                {
                    "to": recipient.name,
                    "to_id": recipient.id,
                    "file": file.name,
                    "size": file.size,
                    "sha256": file.sha256,
                    "confirmed": file.is_confirmed,
                },
                f"{plain(file.name)}, {plural(file.size, 'byte')}: {plain(recipient.name)} {done}",
            )


@click.command("receive-files")
@click.argument("arguments", nargs=-1, metavar="[ROOM] DIR")
@click.option("-c", "--count", type=click.IntRange(min=1), metavar="N", help="End after N files.")
@click.option(
    "--for",
    "seconds",
    type=SECONDS,
    metavar="SECONDS",
    help="End after this time; status 5 if --count was not reached.",
)
@click.option("--from", "sender", metavar="NAME", help="Only from the participant with this name or id.")
@click.option("--max-size", type=click.IntRange(min=0), metavar="BYTES", help="Reject files that are larger.")
@click.option("--overwrite", is_flag=True, help="Replace files of the same name.")
@creates_directories
@joins
def receive_files(
    access: Access,
    output: Output,
    arguments: tuple[str, ...],
    count: int | None,
    seconds: float | None,
    sender: str | None,
    max_size: int | None,
    overwrite: bool,
    is_made: bool,
) -> None:
    """Store the files that participants send in a directory, until Ctrl-C."""
    room, (directory,) = split_room(arguments, 1, "[ROOM] DIR")
    access = access.of(room)
    access.check_room()  # Before the directory: a single argument may be meant for the room.
    open_directory(Path(directory), is_made)
    inbox = _Inbox(directory, sender, max_size, overwrite, count)
    output.reached = inbox.reached
    until = None if seconds is None else time.monotonic() + seconds
    with bars() as shown:
        inbox.bars = shown
        with access.joined(inbox.accept) as joined:
            whom = joined.local_participant.name
            output.note(f"receiving in {joined.room_name!r} as {whom!r}{access.until(seconds)}")
            try:
                _print_all(output, _results(joined, inbox, until))
            except KeyboardInterrupt:
                reached = inbox.reached()  # Before leaving the room ends what is under way.
                output.reached = lambda: reached
                raise
        _print_all(output, inbox.rest())  # What became whole at the last moment.
    if count is not None and inbox.received < count and not is_abandoned():
        output.note(inbox.reached())
        raise Unfinished(ExitCode.LATE)
    if inbox.failed:
        raise Unfinished(ExitCode.FAILED)


Result = tuple[RemoteParticipant, ReceivedFile] | str
"""A file and who sent it, or why one was not received."""


class _Inbox:
    """Receives what is offered, each file on the task of its stream, and queues what became of it."""

    def __init__(
        self, directory: str, sender: str | None, max_size: int | None, overwrite: bool, count: int | None
    ) -> None:
        self._directory = directory
        self._sender = sender
        self._options: dict[str, Any] = {"max_size": max_size, "overwrite": overwrite}
        self._count = count
        self._transfers = Transfers()
        self._stored: list[ReceivedFile] = []
        """By whichever task; that of the command counts in ``received`` what it has printed."""
        self.bars: Any = None
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self.received = 0
        self.failed = 0

    def accept(self, reader: StreamReader) -> None:
        """Receive one file; the client calls this for each stream that a peer opens."""
        sender = reader.sender
        if self._sender not in (None, sender.name, sender.id):
            raise StreamRejected(f"files are received from {self._sender!r} alone")
        # Those under way are not counted: one of them may fail, and its sender try again at once.
        if self._count is not None and len(self._stored) >= self._count:
            raise StreamRejected("as many files as were asked for are here")
        announced = reader.header.get("file")
        name = str(announced.get("name", "a file")) if isinstance(announced, dict) else "a stream"
        try:
            with self._transfers.following(name, self.bars) as report:
                file = receive_file(reader, self._directory, progress=report, **self._options)
        except (MeshsyncError, OSError) as error:
            self.results.put(f"{name!r} of {sender.name!r} was not received: {error_text(error)}")
        else:
            self._stored.append(file)
            self.results.put((sender, file))

    def next(self, timeout: float) -> Result | None:
        """Return what became of a file, counted now; None if ``timeout`` seconds passed."""
        try:
            result = self.results.get(timeout=timeout)
        except queue.Empty:
            return None
        self.received += not isinstance(result, str)
        self.failed += isinstance(result, str)
        return result

    def rest(self) -> Iterator[Result]:
        """Yield what became of the other files, as far as that is known."""
        while True:
            result = self.next(0)
            if result is None:
                return
            yield result

    def reached(self) -> str:
        """Say how many files there are, and how far others."""
        return "; ".join([f"received {plural(self.received, 'file')}", *self._transfers.unfinished()])

    def is_complete(self) -> bool:
        """Return whether there are as many as were asked for."""
        return self._count is not None and self.received >= self._count


def _results(room: RoomClient, inbox: _Inbox, until: float | None) -> Iterator[Result]:
    """Yield what became of each file, until there are enough, an instant of the monotonic clock, or the room's end."""
    while True:
        left = GLANCE if until is None else until - time.monotonic()
        if inbox.is_complete() or left <= 0 or is_abandoned():
            return
        room.wait_closed(0)  # Raises what ended it.
        result = inbox.next(min(left, GLANCE))
        if result is not None:
            yield result


def _print_all(output: Output, results: Iterator[Result]) -> None:
    for result in results:
        if isinstance(result, str):
            output.note(result)
        else:
            _print(output, *result)


def _print(output: Output, sender: RemoteParticipant, file: ReceivedFile) -> None:
    output.record(
        {
            "from": sender.name,
            "from_id": sender.id,
            "file": file.path.name,
            "path": str(file.path),
            "size": file.size,
            "sha256": file.sha256,
        },
        f"{plain(sender.name)}: {plain(str(file.path))}, {plural(file.size, 'byte')}",
    )
