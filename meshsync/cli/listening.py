"""``listen``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

import click

from meshsync.cli.access import Access, joins
from meshsync.cli.arrivals import describe_attachment, describe_message, sender_name, store_attachment
from meshsync.cli.directories import creates_directories, open_directory
from meshsync.cli.durations import SECONDS
from meshsync.cli.exits import ExitCode, Unfinished
from meshsync.cli.output import Output, compact, plain, plural
from meshsync.cli.pipes import GLANCE, is_abandoned
from meshsync.dispatch.subscriptions import Subscription
from meshsync.errors import ReceiveTimeout
from meshsync.messages import RoomMessage

__all__ = ["listen"]

_UNREAD = 100_000
"""Messages that may wait to be printed; more are dropped, the oldest first, and counted."""


@click.command()
@click.argument("room", required=False)
@click.option("-c", "--count", type=click.IntRange(min=1), metavar="N", help="End after N messages.")
@click.option("-t", "--type", help="Only messages of this type.")
@click.option("--from", "sender", metavar="NAME", help="Only those of the participant with this name or id.")
@click.option(
    "--for",
    "seconds",
    type=SECONDS,
    metavar="SECONDS",
    help="End after this time; status 5 if --count was not reached.",
)
@click.option(
    "--save-attachments",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Store attachments there, each under its SHA-256.",
)
@creates_directories
@joins
def listen(
    access: Access,
    output: Output,
    room: str | None,
    count: int | None,
    type: str | None,
    sender: str | None,
    seconds: float | None,
    directory: Path | None,
    is_made: bool,
) -> None:
    """Print the messages that arrive, until Ctrl-C."""
    open_directory(directory, is_made)
    received = 0
    output.reached = lambda: f"received {plural(received, 'message')}"
    with access.of(room).connected() as joined:
        # Subscribed before any other participant can know of this one, so that no message is missed.
        with joined.messaging.messages(type, maxsize=_UNREAD, overflow="drop_oldest") as feed:
            joined.messaging.enable()
            until = None if seconds is None else time.monotonic() + seconds
            whom = joined.local_participant.name
            output.note(f"listening in {joined.room_name!r} as {whom!r}{access.until(seconds)}")
            for message in islice(_arrivals(feed, sender, until), count):
                received += 1
                _print(output, message, directory)
    if feed.dropped:
        output.note(f"{plural(feed.dropped, 'message')} came faster than they were read, and were dropped")
        raise Unfinished(ExitCode.FAILED)
    if count is not None and received < count and not is_abandoned():
        output.note(f"received {received} of {plural(count, 'message')} within {seconds or 0:g} s")
        raise Unfinished(ExitCode.LATE)


def _arrivals(feed: Subscription, sender: str | None, until: float | None) -> Iterator[RoomMessage]:
    """Yield messages until an instant of the monotonic clock, or until nothing reads the output any more.

    Args:
        sender: The name or id of a participant to whose messages it is limited; None for no limit.
    """
    while True:
        left = GLANCE if until is None else until - time.monotonic()
        if left <= 0 or is_abandoned():
            return
        message = _next(feed, min(left, GLANCE))
        if message is not None and sender in (None, sender_name(message), message.from_participant_id):
            yield message


def _next(feed: Subscription, timeout: float) -> RoomMessage | None:
    try:
        return feed.get(timeout)
    except ReceiveTimeout:
        return None


def _print(output: Output, message: RoomMessage, directory: Path | None) -> None:
    members = describe_message(message)
    if members["attachment"] is not None and directory is not None:
        members["attachment"]["path"] = store_attachment(directory, members, message.attachment)
    at = datetime.fromisoformat(members["time"]).astimezone().strftime("%H:%M:%S")
    name = plain(members["from"] or members["from_id"])
    said = f"{plain(message.type)}  {compact(members['message'])}{describe_attachment(members)}"
    output.record(members, f"{at}  {name}  {said}")
