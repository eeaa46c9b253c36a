"""What became of every message and stream of a program that was disturbed, and whether that may be.

Programs write down what they did and what they were told; `Ledger.violations` compares both. Nothing here knows a
client, a simulation or a fault, so that one ledger serves virtual and real time, and tests can forge its entries.

A participant is one connection of a program, known by its id; a program that comes back is another one. A program is
known by its name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from meshsync import DeliveryUnknown, MeshsyncError, SendTimeout

__all__ = ["Ledger", "Note", "StreamNote"]


@dataclass(slots=True)
class Note:
    """One message as its sender knows it."""

    sender: str
    """The id of the participant that sent it."""
    number: int
    """Unlike that of any other message of all programs."""
    to: str | None
    """The id of its recipient; None for a broadcast."""
    name: str = ""
    """The name of its recipient's program; empty for a broadcast."""
    audience: tuple[str, ...] = ()
    """Of a broadcast: the participants that its sender knew to be there."""
    is_confirmed: bool = False
    """Whether the recipient's client had to confirm it, over losses of connections if need be."""
    is_acknowledged: bool = False
    error: BaseException | None = None

    @property
    def may_have_arrived(self) -> bool:
        """Whether what the sender was told leaves it open, or says, that the message arrived."""
        if self.error is None or isinstance(self.error, DeliveryUnknown):
            return True
        return isinstance(self.error, SendTimeout) and not self.error.retryable


@dataclass(slots=True)
class StreamNote:
    """One stream as both of its ends know it."""

    number: int
    opener: str
    """A participant's id."""
    acceptor: str
    opening_error: BaseException | None = None
    """Why its opener has no writer."""
    is_open: bool = False
    """Whether its opener has a writer."""
    attempted: int = 0
    """Chunks that were to be written, the one that failed included. They are numbered from 0."""
    closing: bool = False
    """Whether its writer was about to close it."""
    closed: bool = False
    """Whether it was told that it is closed."""
    writing_error: BaseException | None = None
    is_accepted: bool = False
    read: list[int] = field(default_factory=list)
    """The numbers of the chunks that were read."""
    is_complete: bool = False
    """Whether its reader was told that this is all."""
    has_left_early: bool = False
    """Whether its reader wanted no more."""
    reading_error: BaseException | None = None


class Ledger:
    """All notes of all programs."""

    def __init__(self) -> None:
        self.notes: dict[int, Note] = {}
        self.received: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        """By recipient: sender and number of each message, in the order of its receivers."""
        self.names: dict[str, str] = {}
        """The program's name by participant."""
        self.left: dict[str, str] = {}
        """Participants that left messaging or lost their connection, and why: messages to them may be lost."""
        self.told: set[tuple[str, str]] = set()
        """Participants, each with one of which it was told that it left."""
        self.streams: dict[int, StreamNote] = {}
        self.dropped: dict[str, int] = {}
        """Events that a client dropped, by participant."""

    def violations(self) -> Iterator[str]:
        """Yield what must not be, one line each, when all programs have ended."""
        yield from self._arrivals()
        yield from self._losses()
        for stream in self.streams.values():
            for text in _stream_violations(stream, self.left):
                yield f"stream {stream.number} of {stream.opener} to {stream.acceptor}: {text}"
        for participant, count in self.dropped.items():
            if count:
                yield f"{participant} dropped {count} events"

    def _arrivals(self) -> Iterator[str]:
        """Whatever arrived was sent, to whom it came, once and in order, and its sender was not told otherwise."""
        arrived: Counter[tuple[str, int]] = Counter()
        for recipient, messages in self.received.items():
            last: dict[str, int] = {}
            for sender, number in messages:
                note = self.notes.get(number)
                if note is None or note.sender != sender or note.to not in (None, recipient):
                    yield f"{recipient} received {number} of {sender}, which was not sent to it"
                    continue
                if number <= last.get(sender, -1):
                    yield f"{recipient} received {number} of {sender} after {last[sender]}"
                last[sender] = max(number, last.get(sender, -1))
                if not note.may_have_arrived:
                    yield f"{recipient} received {number} of {sender}, which was told {note.error!r}"
                arrived[self.names.get(recipient, recipient), number] += 1
        for (name, number), count in arrived.items():
            if count > 1:
                yield f"{name} received {number} {count} times"

    def _losses(self) -> Iterator[str]:
        """What was acknowledged arrived, or its sender could know why not; what was confirmed arrived."""
        received = {(id, number) for id, all in self.received.items() for _, number in all}
        by_name = {(self.names.get(id, id), number) for id, number in received}
        for note in self.notes.values():
            what = f"{note.number} of {note.sender}"
            if note.is_acknowledged and note.error is not None:
                yield f"{what} was acknowledged, and failed with {note.error!r}"
            if not note.is_acknowledged:
                continue
            if note.is_confirmed:
                if (note.name, note.number) not in by_name:
                    yield f"{what} was confirmed, and {note.name} has not received it"
                continue
            for to in note.audience if note.to is None else (note.to,):
                if (to, note.number) in received:
                    continue
                if to not in self.left:
                    yield f"{what} was acknowledged, and {to}, still there, has not received it"
                elif (note.sender, to) not in self.told and note.sender not in self.left:
                    yield f"{what} is lost, and it was not told that {to} left"


def _stream_violations(stream: StreamNote, left: dict[str, str]) -> Iterator[str]:
    """Every stream is whole, or each of its ends is told otherwise."""
    # A room may refuse one chunk and pass on those behind it, which were under way: then its writer is told.
    whole = list(range(stream.attempted))
    expected = whole[: len(stream.read)] if stream.writing_error is None else sorted(set(stream.read) & set(whole))
    if stream.read != expected:
        yield f"chunks {stream.read} were read of {stream.attempted}"
    if not stream.is_open and stream.opening_error is None:
        yield "its opener still waits"
    if stream.is_open and not stream.is_accepted:
        yield "it was opened, and not accepted"
    if stream.is_open and not stream.closed and stream.writing_error is None:
        yield "its writer still waits"
    if stream.is_accepted and not (stream.is_complete or stream.has_left_early or stream.reading_error is not None):
        yield "its reader still waits"
    if stream.is_complete and not (stream.closing and len(stream.read) == stream.attempted):
        yield f"its reader has {len(stream.read)} of {stream.attempted} chunks, and was told that this is all"
    is_cut = stream.is_accepted and not (stream.is_complete or stream.has_left_early)
    if stream.closed and is_cut and not left.keys() & {stream.opener, stream.acceptor}:
        yield f"its writer closed it, and its reader was told {stream.reading_error!r}"
    for error in (stream.opening_error, stream.writing_error, stream.reading_error):
        if error is not None and not isinstance(error, MeshsyncError):
            yield f"it failed with {error!r}"
