"""Transcripts of the rooms of an emulator: in memory within a limit, and on disk as they grow.

A room has one transcript, by its name: when it empties and is opened again, that goes on. All methods of `Recordings`
run in the emulator's loop, or when that has ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from meshsync.errors import MeshsyncError, UsageError
from meshsync.protocol.content import Error
from meshsync.protocol.operations import (
    AnswerCall,
    AnswerChunk,
    Broadcast,
    CallChunk,
    Disable,
    Enable,
    OpenCall,
    Reply,
    Request,
    Send,
    SetAttributes,
    UnknownRequest,
)
from meshsync.runtime.threads import ThreadRuntime
from meshsync.tokens import ParticipantToken
from simulator.emulator.rates import Rate
from simulator.record.attachments import LARGEST, LIMIT
from simulator.record.files import open_new, stem_of
from simulator.record.names import Recent
from simulator.record.record import Record
from simulator.record.recorder import Recorder
from simulator.record.redaction import Redaction
from simulator.record.transcript import Transcript
from simulator.room.members import Member, Output

__all__ = ["Recording", "Recordings", "RoomRecorder", "claimed_name"]

_log = logging.getLogger("simulator.emulator")

_MOST_KNOWN = 10_000
"""Participants that left, and streams, of which a room's recorder knows the labels."""

_UNOPENED = 100
"""Rooms that have a transcript though no participant came in: what strangers ask for makes no more."""

_REFUSALS = 20.0
"""Refusals that are recorded in a second; more are counted in the emulator's statistics alone."""

_COST = 4096
"""Bytes of a transcript beside its records."""

_STEP = 128
"""The share of the limit that is made free at once: 5,000 records of the default, 10 ms."""

_TYPES: dict[type, str] = {
    Send: "send",
    Broadcast: "broadcast",
    SetAttributes: "set_attributes",
    Enable: "enable",
    Disable: "disable",
    OpenCall: "open",
    CallChunk: "chunk",
    AnswerCall: "answer",
    AnswerChunk: "answer_chunk",
}
"""What the record of an answer calls the request."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What an emulator keeps of what happens in its rooms, for ``Emulator(record=…)``.

    Raises:
        UsageError: If a value makes no sense.
    """

    limit: int = LIMIT
    """Bytes of memory for all rooms together; the oldest records are dropped, and counted."""
    attachments: int = LARGEST
    """Bytes of the largest attachment that is kept; of a larger one only the SHA-256 is. 0 keeps none."""
    redact: Sequence[str] = ()
    """What is taken out before anything is kept, as ``message.password``; see `Redaction`."""
    directory: str | Path | None = None
    """Where each room's transcript is written as it grows, one file for each room; made if it is not there."""

    def __post_init__(self) -> None:
        for name in ("limit", "attachments"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise UsageError(f"{name}: a number of bytes, not {value!r:.100}")
        Redaction(self.redact)


class RoomRecorder(Recorder):
    """Keeps the transcript of one real room: also the answers to requests, and why a connection ended.

    Args:
        changed: Called after each record.
        redact: Takes out of a record what must not be kept.
    """

    transcript: Transcript

    def __init__(
        self, transcript: Transcript, changed: Callable[[RoomRecorder], None], redact: Callable[[Record], Record]
    ) -> None:
        self._opened = ThreadRuntime.monotonic()
        super().__init__(transcript, self._elapsed, lambda *_, **__: None, most=_MOST_KNOWN)
        self.present: int = 0
        """How many participants there are."""
        self.was_opened: bool = False
        """Whether there ever was one."""
        self.is_dirty: bool = False
        """Whether there are records that were not flushed."""
        self.counted = 0
        """Bytes of memory that it was found to take."""
        self._changed = changed
        self._redact = redact
        self._open_ns: Recent[str, int] = Recent(_MOST_KNOWN)
        """When the request was read that opened each call, by the call's id."""

    def joined(self, member: Member) -> None:
        """Note that a participant is there."""
        self.present += 1
        self.was_opened = True
        super().joined(member)

    def left(self, member: Member) -> None:
        """Note that a participant has left, and why."""
        self.present -= 1
        self._leave(member, member.departure)
        self.notice("leave", sender=member.name)

    def handled(self, member: Member, sent_ns: int | None, request: Request, outputs: Iterable[Output]) -> None:
        """Note the room's outputs for a request, its answer among them."""
        outputs = list(outputs)
        super().handled(member, sent_ns, request, outputs)
        now = self._now()
        if isinstance(request, OpenCall):
            self._open_ns[request.call_id] = now if sent_ns is None else sent_ns
        for output in outputs:
            if isinstance(output.what, Reply):
                self._answered(member, now if sent_ns is None else sent_ns, request, output.to[0], output.what)

    def released(self, member: Member, sent_ns: int, request: Request, output: Output) -> None:
        """Note that what was kept from one recipient goes out to it now, maybe the answer to its request."""
        super().released(member, sent_ns, request, output)
        if isinstance(output.what, Reply):
            self._answered(member, sent_ns, request, output.to[0], output.what)

    def _answered(self, member: Member, sent_ns: int, request: Request, asker: Member, answer: Reply) -> None:
        begin: int | None = sent_ns
        type = request.type if isinstance(request, UnknownRequest) else _TYPES.get(request.__class__, "unreadable")
        if asker is not member:  # Another one's request, which opened a call, has its answer now.
            call_id = self._calls.get(request.push_id) if isinstance(request, AnswerCall) else None
            begin, type = self._open_ns.get(call_id or ""), "open"
        error = answer.content
        now = self._now()
        self._add(
            "reply",
            "",
            self._names.label(asker.id),
            type,
            latency_ns=None if begin is None else now - begin,
            outcome=f"error {error.code}: {error.text}" if isinstance(error, Error) else "ok",
        )

    def _elapsed(self) -> int:
        return int((ThreadRuntime.monotonic() - self._opened) * 1e9)

    def _write(self, record: Record, recipients: Sequence[str] = ()) -> None:
        super()._write(self._redact(record), recipients)
        if not self.is_dirty:
            self.is_dirty = True
            self._changed(self)


class Recordings:
    """The transcripts of an emulator's rooms.

    Args:
        later: Calls a function in the next turn of the loop.
    Raises:
        UsageError: If the directory cannot be made.
    """

    def __init__(self, options: Recording, later: Callable[[Callable[[], None]], object]) -> None:
        self._options = options
        self._later = later
        self._redact = Redaction(options.redact).apply
        self._directory = None if options.directory is None else Path(options.directory)
        self._rooms: dict[str, RoomRecorder] = {}
        self._size = 0
        """Bytes that all transcripts take in memory."""
        self._dirty: list[RoomRecorder] = []
        self._refusals = Rate(_REFUSALS, ThreadRuntime.monotonic())
        self._unwritten = 0
        """Records of transcripts that were forgotten that the disk did not take."""
        if self._directory is not None:
            try:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                text = f"the directory {self._directory} cannot be made: {error.strerror}"
                raise UsageError(f"record: {text}") from None

    @property
    def rooms(self) -> tuple[str, ...]:
        """The names of the rooms that have a transcript, in the order in which they were opened."""
        return tuple(self._rooms)

    @property
    def unwritten(self) -> int:
        """Records that the disk did not take."""
        return self._unwritten + sum(map(self._missing, self._rooms.values()))

    def _missing(self, recorder: RoomRecorder) -> int:
        """Return how many records of a room are not on the disk, and should be."""
        transcript, file = recorder.transcript, recorder.transcript.file
        if file is not None:
            return file.unwritten
        return 0 if self._directory is None else len(transcript) + transcript.dropped

    def recorder(self, room: str) -> RoomRecorder:
        """Return the recorder of a room."""
        recorder = self._rooms.get(room)
        if recorder is None:
            transcript = Transcript(room, started=ThreadRuntime.wall(), largest=self._options.attachments)
            recorder = self._rooms[room] = RoomRecorder(transcript, self._note, self._redact)
            if self._directory is not None:
                try:
                    transcript.write_to(open_new(self._directory, stem_of(room), _log_failure))
                except OSError as error:
                    _log_failure(self._directory / f"{stem_of(room)}.jsonl", error)
        return recorder

    def refused(self, room: str, name: str, reason: str) -> None:
        """Note that a participant was not let in, of as many strangers as there is room for."""
        known = self._rooms.get(room)
        if known is None and sum(not recorder.was_opened for recorder in self._rooms.values()) >= _UNOPENED:
            return
        if self._refusals.take(1, ThreadRuntime.monotonic()):
            self.recorder(room).refused(name, reason)

    def flush(self) -> None:
        """Give the system what is to be written, and drop from memory what is too much."""
        if not self._dirty:
            return
        dirty, self._dirty = self._dirty, []
        for recorder in dirty:
            recorder.is_dirty = False
            file = recorder.transcript.file
            if file is not None:
                if recorder.present:
                    file.flush()
                else:
                    file.rest()
            self._count(recorder)
        if self._size > self._options.limit:
            self._make_room()

    def transcript(self, room: str) -> Transcript:
        """Return what was recorded of a room so far.

        Raises:
            UsageError: If there is nothing.
        """
        recorder = self._rooms.get(room)
        if recorder is None:
            known = ", ".join(map(repr, list(self._rooms)[:10])) or "none"
            raise UsageError(f"no room {room!r:.100} was opened; those that were recorded: {known}")
        return recorder.transcript.copy()

    def close(self) -> None:
        """Write the ends of all files."""
        self.flush()
        for recorder in self._rooms.values():
            recorder.transcript.close()
        if self.unwritten:
            extra = {"event": "unwritten", "count": self.unwritten}
            _log.error("%d records are not on the disk", self.unwritten, extra=extra)

    def _note(self, recorder: RoomRecorder) -> None:
        if not self._dirty:
            self._later(self.flush)
        self._dirty.append(recorder)

    def _make_room(self) -> None:
        """Drop the oldest records of the largest transcripts, until there is room for some more."""
        aim = self._options.limit - self._options.limit // _STEP
        while self._size > aim and self._rooms:
            room, recorder = max(self._rooms.items(), key=lambda entry: entry[1].counted)
            transcript = recorder.transcript
            # Half of it at once at most: then another may be the largest.
            least = max(transcript.size - (self._size - aim), transcript.size // 2)
            while transcript.size > least and transcript.drop_oldest():
                pass
            if transcript.size + _COST == recorder.counted:  # All transcripts are empty.
                if recorder.present:
                    return
                self._forget(room, recorder)
            else:
                self._count(recorder)

    def _count(self, recorder: RoomRecorder) -> None:
        size = recorder.transcript.size + _COST
        self._size += size - recorder.counted
        recorder.counted = size

    def _forget(self, room: str, recorder: RoomRecorder) -> None:
        self._size -= recorder.counted
        del self._rooms[room]
        recorder.transcript.close()
        self._unwritten += self._missing(recorder)


def _log_failure(path: Path, error: OSError) -> None:
    reason = error.strerror or str(error)
    extra = {"event": "recording_ended", "file": str(path), "reason": reason}
    _log.error("%s: %s; no more is recorded to it", path, reason, extra=extra)


def claimed_name(token: str | None) -> str:
    """Return the name in a token that need not be valid, clipped; "" for none."""
    try:
        return "" if token is None else ParticipantToken.peek(token).name[:256]
    except MeshsyncError:
        return ""
