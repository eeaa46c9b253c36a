"""What became of every message and stream of a program that was disturbed, and whether that may be.

Programs write down what they did and what they were told; `Ledger.violations` compares both. Nothing here knows a
client, a simulation or a fault, so that one ledger serves virtual and real time, and tests can forge its entries.

A program is known by its name. It has one client after another, each known by a key that is unlike all others; the
client is a participant on each of its connections, under an id of its own each time.
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
    """The client that sent it."""
    number: int
    """Unlike that of any other message of all programs."""
    to: str | None
    """The id of the participant that it went to; None for a broadcast."""
    audience: tuple[str, ...] = ()
    """Of a broadcast: the ids of the participants that its sender knew to be there."""
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
    """A participant's id, of the connection that it was opened on or of a later one."""
    acceptor: str
    """A participant's id."""
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
        """By client: the sending participant and the number of each message, in the order of its receivers."""
        self.names: dict[str, str] = {}
        """The program's name by client."""
        self.clients: dict[str, str] = {}
        """The client by the id of a participant, as any program knew it; of some that were there briefly, none did."""
        self.ended: set[str] = set()
        """Clients that ended before all was over."""
        self.stayed: dict[str, str] = {}
        """Clients that did not, by the participants that they were in the end; those that they were before are gone."""
        self.left: set[str] = set()
        """Participants that disabled messaging at some time: what went to them may be lost."""
        self.moves: defaultdict[str, list[tuple[str, bool]]] = defaultdict(list)
        """By client: the participants of which it was told, each with whether it came; else it left."""
        self.ways: defaultdict[str, list[str]] = defaultdict(list)
        """By client: that it ``went offline``, ``came back`` or ``ended``, as it was told."""
        self.streams: dict[int, StreamNote] = {}
        self.dropped: dict[str, int] = {}
        """Events that a client dropped, by client."""

    def violations(self) -> Iterator[str]:
        """Yield what must not be, one line each, when all programs have ended."""
        yield from self._arrivals()
        yield from self._losses()
        for client, moves in self.moves.items():
            yield from _roster_violations(client, moves)
        for client, ways in self.ways.items():
            returns = ["went offline", "came back"] * ((len(ways) - 1) // 2)
            if ways not in ([*returns, "ended"], [*returns, "went offline", "ended"]):
                yield f"{client} {', '.join(ways)}"
        for stream in self.streams.values():
            may_be_cut = any(map(self._is_gone, (stream.opener, stream.acceptor)))
            for text in _stream_violations(stream, may_be_cut=may_be_cut):
                yield f"stream {stream.number} of {stream.opener} to {stream.acceptor}: {text}"
        for client, count in self.dropped.items():
            if count:
                yield f"{client} dropped {count} events"

    def _is_gone(self, participant: str) -> bool:
        return participant in self.left or participant not in self.stayed

    def _client_of(self, participant: str) -> str:
        return self.clients.get(participant, participant)

    def _arrivals(self) -> Iterator[str]:
        """Whatever arrived was sent, to whom it came, once and in order, and its sender was not told otherwise."""
        arrived: Counter[tuple[str, int]] = Counter()
        for recipient, messages in self.received.items():
            last: dict[tuple[str, bool], int] = {}
            for participant, number in messages:
                note = self.notes.get(number)
                if note is None or not self._may_come(note, participant, recipient):
                    yield f"{recipient} received {number} of {participant}, which was not sent to it"
                    continue
                way = note.sender, note.is_confirmed  # Those to be confirmed may be repeated, others go on meanwhile.
                if number <= last.get(way, -1):
                    yield f"{recipient} received {number} of {note.sender} after {last[way]}"
                last[way] = max(number, last.get(way, -1))
                if not note.may_have_arrived:
                    yield f"{recipient} received {number} of {note.sender}, which was told {note.error!r}"
                arrived[self.names.get(recipient, recipient), number] += 1
        for (name, number), count in arrived.items():
            if count > 1:
                yield f"{name} received {number} {count} times"

    def _may_come(self, note: Note, sender: str, recipient: str) -> bool:
        is_of_sender = self.clients.get(sender, note.sender) == note.sender
        return is_of_sender and (note.to is None or self._client_of(note.to) == recipient)

    def _losses(self) -> Iterator[str]:
        """What was acknowledged arrived, or its sender could know why not; what was confirmed arrived."""
        received = {(client, number) for client, all in self.received.items() for _, number in all}
        for note in self.notes.values():
            what = f"{note.number} of {note.sender}"
            if note.is_acknowledged and note.error is not None:
                yield f"{what} was acknowledged, and failed with {note.error!r}"
            if not note.is_acknowledged:
                continue
            for to in note.audience if note.to is None else (note.to,):
                client = self._client_of(to)
                if (client, note.number) in received:
                    continue
                if note.is_confirmed:
                    yield f"{what} was confirmed, and {client} has not received it"
                elif not self._is_gone(to):
                    yield f"{what} was acknowledged, and {to}, still there, has not received it"
                elif (to, False) not in self.moves[note.sender] and note.sender not in self.ended:
                    yield f"{what} is lost, and it was not told that {to} left"


def _roster_violations(client: str, moves: list[tuple[str, bool]]) -> Iterator[str]:
    """Whoever came leaves, at the client's end at the latest, and nobody else does."""
    here = set()
    for participant, comes in moves:
        if comes is (participant in here):
            yield f"{client} was told that {participant} {'came' if comes else 'left'} when it had"
        (here.add if comes else here.discard)(participant)
    for participant in sorted(here):
        yield f"{client} has ended, and was not told that {participant} left"


def _stream_violations(stream: StreamNote, *, may_be_cut: bool) -> Iterator[str]:
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
    if stream.closed and is_cut and not may_be_cut:
        yield f"its writer closed it, and its reader was told {stream.reading_error!r}"
    for error in (stream.opening_error, stream.writing_error, stream.reading_error):
        if error is not None and not isinstance(error, MeshsyncError):
            yield f"it failed with {error!r}"
