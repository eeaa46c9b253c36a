"""`Recordings`: how much is kept of how many rooms."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from meshsync.protocol.greeting import greeting_form
from meshsync.protocol.operations import Enable, Request, Send, UnknownRequest
from simulator import Transcript
from simulator.emulator import recording
from simulator.emulator.recording import Recording, Recordings, claimed_name
from simulator.room.members import Member
from simulator.room.rules import Room
from simulator.room.watched import WatchedRoom


class Turns:
    """What is to be done in the next turn of a loop."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def later(self, work: Callable[[], None]) -> None:
        """Do something in the next turn."""
        self.due.append(work)

    def run(self) -> None:
        """Begin the next turn."""
        due, self.due = self.due, []
        for work in due:
            work()


class Visit:
    """A visitor of a room, who does nothing by itself."""

    def __init__(self, recordings: Recordings, room: str) -> None:
        ids = iter(f"{room}-{number}" for number in range(100))
        self.room = WatchedRoom(Room(room, ids=ids.__next__), recordings.recorder(room))
        self.member: Member = self.room.join("ada", form=greeting_form(None))[0]
        self.ask(Enable())

    def ask(self, request: Request) -> None:
        """Ask the room."""
        self.room.handle(self.member, 1, request)

    def say(self, text: str) -> None:
        """Send a message to oneself."""
        self.ask(Send(self.member.id, "note", {"text": text}))

    def leave(self) -> None:
        """Leave the room."""
        self.room.leave(self.member)


@pytest.fixture
def turns() -> Turns:
    """Return turns of a loop."""
    return Turns()


def recordings_of(turns: Turns, **options: object) -> Recordings:
    """Return recordings with options."""
    return Recordings(Recording(**options), turns.later)  # type: ignore[arg-type]


def test_one_turn_is_asked_for_however_much_is_recorded(turns: Turns) -> None:
    """Until it has come."""
    recordings = recordings_of(turns)
    visit = Visit(recordings, "lab")
    visit.say("one")
    assert len(turns.due) == 1
    turns.run()
    visit.say("two")
    assert len(turns.due) == 1


def test_the_largest_transcript_gives_way(turns: Turns) -> None:
    """What is small is kept whole."""
    recordings = recordings_of(turns, limit=100_000)
    small, large = Visit(recordings, "small"), Visit(recordings, "large")
    small.say("first")
    for _ in range(200):
        large.say("x" * 1000)
        turns.run()
    assert recordings.transcript("small").is_complete
    kept = recordings.transcript("large")
    assert kept.dropped > 200 and 50_000 < kept.size < 100_000
    assert kept[-1].type == "send"


def test_rooms_that_are_left_are_forgotten_when_there_is_no_room(turns: Turns, tmp_path: Path) -> None:
    """However many rooms there were, the limit holds; their files are whole, and one that comes again has another."""
    recordings = recordings_of(turns, limit=50_000, directory=tmp_path)
    for number in range(100):
        visit = Visit(recordings, f"room-{number}")
        visit.say("x" * 2000)
        visit.leave()
        turns.run()
    assert 0 < len(recordings.rooms) < 50
    assert "room-99" in recordings.rooms
    files = [Transcript.load(path) for path in tmp_path.iterdir()]
    assert len(files) == 100 and sum(one.is_complete for one in files) == 100 - len(recordings.rooms)
    gone = next(name for name in (f"room-{number}" for number in range(100)) if name not in recordings.rooms)
    Visit(recordings, gone)
    recordings.close()
    assert (tmp_path / f"{gone}.2.jsonl").exists()
    assert all(Transcript.load(path).is_complete for path in tmp_path.iterdir())


def test_a_room_with_participants_is_never_forgotten(turns: Turns) -> None:
    """Though nothing of it can be kept."""
    recordings = recordings_of(turns, limit=0)
    visit = Visit(recordings, "lab")
    for _ in range(3):
        visit.say("x")
        turns.run()
    assert recordings.rooms == ("lab",)
    assert len(recordings.transcript("lab")) == 0 and recordings.transcript("lab").dropped == 3 + 2 * 3


def test_strangers_open_no_more_than_so_many_rooms(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    """A room that is there records them all the same."""
    monkeypatch.setattr(recording, "_UNOPENED", 10)
    recordings = recordings_of(turns)
    Visit(recordings, "lab")
    for number in range(20):
        recordings.refused(f"room-{number}", "mallory", "no")
    recordings.refused("lab", "mallory", "no")
    assert len(recordings.rooms) == 11
    assert recordings.transcript("lab")[-1].kind == "refused"


def test_strangers_are_recorded_so_often_a_second(turns: Turns) -> None:
    """Two seconds' worth at once; they cannot fill the disk."""
    recordings = recordings_of(turns)
    for _ in range(1000):
        recordings.refused("lab", "mallory", "no")
    assert 40 <= len(recordings.transcript("lab")) < 100


def test_a_file_that_cannot_be_made_is_told_and_the_room_goes_on(
    turns: Turns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In memory it is recorded."""

    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(recording, "open_new", fail)
    recordings = recordings_of(turns, directory=tmp_path)
    with caplog.at_level(logging.ERROR):
        Visit(recordings, "lab").say("hi")
        turns.run()
        recordings.close()
    assert len(recordings.transcript("lab").messages()) == 1
    assert recordings.unwritten == len(recordings.transcript("lab"))
    assert [line.partition(": ")[2] for line in caplog.messages] == [
        "Too many open files; no more is recorded to it",
        "",
    ]


def test_requests_that_are_unknown_have_answers(turns: Turns) -> None:
    """With the type that they have."""
    recordings = recordings_of(turns)
    Visit(recordings, "lab").ask(UnknownRequest("queues.list"))
    last = recordings.transcript("lab")[-1]
    assert (last.kind, last.type, last.outcome) == ("reply", "queues.list", "error 1002: unknown request 'queues.list'")


@pytest.mark.parametrize("token", [None, "", "no token", "a.b.c", "\0", "x" * 100_000])
def test_a_token_that_is_none_claims_no_name(token: str | None) -> None:
    """Whatever a stranger sends."""
    assert claimed_name(token) == ""
