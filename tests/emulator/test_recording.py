"""Transcripts of real rooms: what they hold, and what is left of a file when its emulator is killed."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import stat
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from websockets.exceptions import InvalidStatus

import meshsync
from meshsync import MessageStreamChunk, RoomClient
from meshsync.errors import MeshsyncError, UsageError
from meshsync.protocol.content import Control, Empty
from meshsync.protocol.operations import (
    AnswerCall,
    Broadcast,
    Call,
    CallChunk,
    CallMessage,
    OpenCall,
    Reply,
    Send,
    SetAttributes,
)
from meshsync.tokens import ParticipantToken
from simulator import Emulator, Transcript, faults
from simulator.emulator import Recording
from simulator.record.records import Record
from tests.support.rooms import run, start
from tests.support.sockets import PATIENCE, Elsewhere, RawClient, connect

Told = list[tuple[str, str, str, str]]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Return an emulator that keeps transcripts."""
    with Emulator(record=True) as emulator:
        yield emulator


def join(emulator: Emulator, name: str, room: str = "lab") -> RoomClient:
    """Return a client that takes part in messaging, and reads each stream that it is offered to its end."""
    client = meshsync.connect(room, url=emulator.url, token=emulator.token(room, name))
    client.messaging.enable(lambda reader: reader.read_all())
    return client


def told(transcript: Transcript, *kinds: str) -> Told:
    """Return sender, recipient, type and outcome of the records of some kinds."""
    return [(one.sender, one.recipient, one.type, one.outcome) for one in transcript if one.kind in kinds]


def until(emulator: Emulator, has: Callable[[Transcript], object], room: str = "lab") -> Transcript:
    """Return the transcript as soon as it has something; asking is what yields to the emulator."""
    while True:
        transcript = emulator.transcript(room)
        if has(transcript):
            return transcript


# --- what it holds ----------------------------------------------------------------------------------------------------


def test_messages_have_their_body_size_and_attachment(emulator: Emulator) -> None:
    """One record for each recipient; the bytes of an attachment are there once."""
    data = bytes(range(256))
    with join(emulator, "ada") as ada, join(emulator, "bob") as bob, join(emulator, "eve"):
        ada.messaging.send_message(bob.local_participant.id, "chat", {"text": "hé"}, data)
        ada.messaging.broadcast_message("news", {"n": [1, None]}, data)
    transcript = emulator.transcript("lab")
    assert told(transcript, "message") == [
        ("ada", "bob", "chat", "delivered"),
        ("ada", "bob", "news", "delivered"),
        ("ada", "eve", "news", "delivered"),
    ]
    chat = transcript.messages(type="chat")[0]
    assert chat.detail == {"text": "hé"} and chat.size_bytes > len(data)
    assert chat.latency_ns is not None and 0 <= chat.latency_ns <= chat.time_ns
    assert {one.attachment for one in transcript.messages()} == {sha256(data).hexdigest()}
    assert dict(transcript.attachments) == {sha256(data).hexdigest(): data}


def test_chunks_that_came_together_are_recorded_one_by_one() -> None:
    """As written; a fault that follows the third strikes, too. The answers show that there were fewer messages."""
    written = [MessageStreamChunk({"n": number}, bytes([number]) * 20_000) for number in range(100)]
    plan = [faults.on("stream.chunk", nth=90).do(faults.reset("eve"))]
    with Emulator(record=True, latency=0.005, plan=plan) as emulator, join(emulator, "ada") as ada:
        with join(emulator, "bob") as bob, bob.messaging.streams() as offers:
            with join(emulator, "eve") as eve:
                opening = start(ada.messaging.create_stream, ada.messaging.wait_for_participant(name="bob"))
                reader = offers.get(PATIENCE)
                reader.accept()
                with opening.result(PATIENCE) as writer:
                    for chunk in written:
                        writer.write(chunk)
                assert list(reader) == written
                eve.close()
        transcript = emulator.transcript("lab")
    chunks = transcript.messages(type="stream.chunk")
    assert [one.detail["header"]["n"] for one in chunks] == list(range(100))
    assert [transcript.attachments[one.attachment] for one in chunks] == [chunk.data for chunk in written]
    assert all(20_000 < one.size_bytes < 21_000 and one.outcome == "delivered" for one in chunks)
    assert told(transcript, "fault") == [("", "eve", "reset", "struck")]
    assert len([one for one in transcript if one.kind == "reply" and one.type == "send"]) < len(written)


def test_requests_have_their_answers(emulator: Emulator) -> None:
    """Each answer tells what it is about, how it went and how long the room took."""
    with join(emulator, "ada") as ada:
        with pytest.raises(MeshsyncError):
            ada.messaging.send_message("nobody", "chat", {})
        ada.messaging.broadcast_message("news", {})
    replies = [one for one in emulator.transcript("lab") if one.kind == "reply"]
    assert [(one.recipient, one.type, one.outcome) for one in replies] == [
        ("ada", "enable", "ok"),
        ("ada", "send", "error 1003: the participant was not found"),
        ("ada", "broadcast", "ok"),
    ]
    assert all(one.latency_ns is not None and one.latency_ns >= 0 for one in replies)


def test_who_came_who_went_and_why(emulator: Emulator) -> None:
    """Arrivals with the role, attributes with their values, departures with the reason."""
    with join(emulator, "ada") as ada:
        ada.local_participant.set_attribute("mood", "calm")
        ada.messaging.send_message(ada.local_participant, "note", {})
    with join(emulator, "bob"):
        emulator.drop("bob")
        until(emulator, lambda transcript: transcript[-1].kind == "disconnected" and transcript[-1].sender == "bob")
    carol = join(emulator, "carol")
    emulator.close()
    carol.close()
    transcript = emulator.transcript("lab")
    assert told(transcript, "disconnected") == [
        ("ada", "", "", "closed with code 1000"),
        ("bob", "", "", "cut by drop()"),
        ("carol", "", "", "disconnected with code 1001: the emulator was closed"),
    ]
    assert told(transcript, "fault") == [("", "bob", "drop", "struck")]
    assert [one.detail for one in transcript if one.kind == "connected"] == [{"role": "user"}] * 3
    assert [one.detail for one in transcript if one.kind == "attributes"] == [{"mood": "calm"}]


def test_who_breaks_the_protocol_is_recorded_with_it(emulator: Emulator) -> None:
    """The reason is the fault, with its close code."""
    with RawClient(emulator, "ada") as ada:
        ada.send([b"short"])
        ada.ending()
    transcript = until(emulator, lambda transcript: transcript[-1].kind == "disconnected")
    assert transcript[-1].outcome.startswith("error 1002: ")


def test_those_who_never_came_in_are_recorded(emulator: Emulator) -> None:
    """A token that is not valid, one for another room, and a page that may not connect."""
    foreign = Emulator(secret="x" * 32).token("lab", "mallory")
    elsewhere = emulator.token("other", "eve")
    for token in (foreign, elsewhere):
        with pytest.raises(MeshsyncError):
            meshsync.connect("lab", url=emulator.url, token=token)
    with pytest.raises(InvalidStatus):
        page = f"{emulator.url}/rooms/lab?token={emulator.token('lab', 'page')}"
        connect(page, additional_headers={"Origin": "https://example.org"}).__enter__()
    assert [(one.kind, one.sender, one.outcome) for one in emulator.transcript("lab")] == [
        ("refused", "mallory", "the token's signature does not fit the secret"),
        ("refused", "eve", "the token is for another room"),
        ("refused", "page", "a page of 'https://example.org' may not connect; --allow-origin lets it in"),
    ]


def test_one_that_cannot_be_written_is_recorded_as_refused(emulator: Emulator) -> None:
    """Its token passed the door, and its name is no text for JSON."""
    token = ParticipantToken.for_room("lab", "\ud800").encode(emulator.secret)
    with pytest.raises(MeshsyncError):
        meshsync.connect("lab", url=emulator.url, token=token)
    transcript = until(emulator, len)
    assert [(one.kind, one.sender) for one in transcript] == [("refused", "\ud800")]
    assert "\ud800" not in transcript.to_text()


def test_strangers_cannot_fill_it(emulator: Emulator) -> None:
    """Rooms into which nobody came have transcripts, a hundred of them; and so many refusals a second."""
    for number in range(130):
        with pytest.raises(MeshsyncError):
            meshsync.connect(f"room-{number}", url=emulator.url, token=emulator.token("other", "eve"))
    assert 1 <= len(emulator.recorded) <= 100


def test_streams_are_recorded_with_chunks_and_ends(emulator: Emulator) -> None:
    """Opening, acceptance, chunks with their attachments, the end; all of one number."""
    with join(emulator, "ada") as ada, join(emulator, "bob") as bob:
        with ada.messaging.create_stream(bob.local_participant.id, header={"purpose": "video"}) as writer:
            writer.write(MessageStreamChunk({"part": 1}, b"frame"))
    transcript = emulator.transcript("lab")
    streams = transcript.streams()
    assert {one.stream_id for one in streams} == {"stream 1"}
    assert [one.type for one in streams][:2] == ["stream.open", "stream.accept"]
    assert "stream.close" in [one.type for one in streams]
    assert streams[0].detail["header"] == {"purpose": "video"}
    (chunk,) = transcript.messages(type="stream.chunk")
    assert transcript.attachments[chunk.attachment] == b"frame"


def test_a_duplex_stream_is_a_stream_too(emulator: Emulator) -> None:
    """What releases from 0.47.1 on do by calls; the answer to the opening has the time until the peer accepted."""
    with RawClient(emulator, "ada", speaks="B3") as ada, RawClient(emulator, "ben", speaks="B3") as ben:
        ada.read()
        ada.ask(OpenCall("X"), 7)
        ada.ask(CallChunk("X", CallMessage("ask", {"n": 1}, b"data", to=ben.id)), 8)
        ada.read()
        call = ben.read()
        assert isinstance(call, Call)
        ben.read()
        ben.ask(AnswerCall(call.push_id, Control("open")), call.push_id)
        assert ada.read() == Reply(7, Control("open"))
    transcript = emulator.transcript("lab")
    assert told(transcript, "stream")[:2] == [
        ("ada", "ben", "stream.open", "delivered"),
        ("ben", "ada", "stream.accept", "delivered"),
    ]
    assert transcript.attachments[transcript.streams()[0].attachment] == b"data"
    opening = [one for one in transcript if one.kind == "reply" and one.type == "open"]
    assert [(one.recipient, one.outcome) for one in opening] == [("ada", "ok")]
    assert opening[0].latency_ns is not None and opening[0].latency_ns > 0


def test_strange_bodies_are_kept_as_they_are(emulator: Emulator, tmp_path: Path) -> None:
    """Whatever JSON says can be saved and read again."""
    bodies: list[dict[str, object]] = [
        {"n": 10**4299, "f": -0.0, "e": 5e-324},
        {"\0": "\u2028", "é": ""},
        {"deep": [[[[[[[[[[{}]]]]]]]]]]},
        {"large": "x" * 1_000_000},
        {"__class__": None, "detail": {}, "recipients": []},
    ]
    with RawClient(emulator, "ada") as ada:
        for number, body in enumerate(bodies):
            ada.ask(Send(ada.id, "chat", body), number)
            ada.read(), ada.read()
    transcript = emulator.transcript("lab")
    assert [one.detail for one in transcript.messages()] == bodies
    transcript.save(tmp_path / "saved.jsonl")
    assert list(Transcript.load(tmp_path / "saved.jsonl")) == list(transcript)


@pytest.mark.parametrize("speaks", ["A1", "A3", "B3"])
def test_clients_of_every_age_are_recorded_alike(emulator: Emulator, speaks: str) -> None:
    """What official releases send and get, as packets of theirs."""
    with RawClient(emulator, "old", speaks=speaks) as old, RawClient(emulator, "new") as new:
        old.ask(Send(new.id, "chat", {"n": 1}, b"\x00\x01"), 7)
        new.read()
        old.ask(Broadcast("news", {"n": 2}), 8)
        new.read()
        old.ask(SetAttributes({"mood": "calm"}), 9)
        new.read()
    assert told(emulator.transcript("lab"), "message", "attributes") == [
        ("old", "new", "chat", "delivered"),
        ("old", "new", "news", "delivered"),
        ("old", "", "", ""),
    ]


def test_a_room_that_empties_and_is_opened_again_has_one_transcript(emulator: Emulator) -> None:
    """Its times go on, and a participant that comes again has its name again."""
    for _ in range(2):
        with join(emulator, "ada"):
            pass
        until(emulator, lambda transcript: transcript[-1].kind == "disconnected")
    transcript = emulator.transcript("lab")
    assert told(transcript, "connected") == [("ada", "", "", "")] * 2
    times = [one.time_ns for one in transcript]
    assert times == sorted(times) and times[0] < 10**9
    assert emulator.recorded == ("lab",)


def test_a_transcript_does_not_grow_and_outlives_the_emulator(emulator: Emulator) -> None:
    """It is what was recorded when it was asked for."""
    with join(emulator, "ada"):
        first = emulator.transcript("lab")
    emulator.close()
    last = emulator.transcript("lab")
    assert first[-1].kind == "reply" and last[-1].kind == "disconnected"
    assert list(last)[: len(first)] == list(first)
    assert first.is_complete and not list(last.packets)


def test_nothing_is_kept_unless_asked() -> None:
    """Who asks all the same is told how."""
    with Emulator() as emulator:
        with pytest.raises(UsageError, match=r"record=True"):
            emulator.transcript("lab")
        assert emulator.recorded == ()
    with pytest.raises(UsageError, match="never started"):
        Emulator(record=True).transcript("lab")
    with Emulator(record=True) as emulator, pytest.raises(UsageError, match="no room 'lab' was opened"):
        emulator.transcript("lab")


@pytest.mark.parametrize(
    "options", [{"limit": -1}, {"attachments": 1.5}, {"redact": ["password"]}, {"redact": "message.password"}]
)
def test_recording_that_makes_no_sense_is_refused(options: dict[str, object]) -> None:
    """Before anything is opened."""
    with pytest.raises(UsageError):
        Recording(**options)  # type: ignore[arg-type]


# --- limits and redaction ---------------------------------------------------------------------------------------------


def test_memory_is_bounded_for_all_rooms_together() -> None:
    """The largest transcript loses its oldest records; the other keeps its own; all are counted."""
    limit = 200_000
    with Emulator(record=Recording(limit=limit)) as emulator:
        with join(emulator, "ada", "small"):
            pass
        with join(emulator, "ada") as ada:
            for number in range(500):
                ada.messaging.send_message(ada.local_participant, "note", {"n": number, "text": "x" * 1000})
        transcript = emulator.transcript("lab")
        assert transcript.dropped + len(transcript) == 500 * 2 + 4
        assert transcript[-2].detail == {"n": 499, "text": "x" * 1000} or transcript[-3].detail["n"] == 499
        assert limit // 2 < transcript.size <= limit
        assert not transcript.is_complete
        assert f"{transcript.dropped} older ones dropped" in repr(transcript)
        assert f"{transcript.dropped} older records dropped" in transcript.to_text().replace(",", "")
        assert emulator.transcript("small").is_complete


def test_a_large_attachment_is_known_by_its_hash() -> None:
    """Its bytes are not kept, and a replay can tell."""
    with Emulator(record=Recording(attachments=10)) as emulator, join(emulator, "ada") as ada:
        for data in (b"x" * 10, b"x" * 11):
            ada.messaging.send_message(ada.local_participant, "file", {}, data)
        transcript = emulator.transcript("lab")
    assert [one.attachment in transcript.attachments for one in transcript.messages()] == [True, False]
    assert transcript.messages()[1].attachment == sha256(b"x" * 11).hexdigest()


def test_what_is_redacted_is_nowhere(tmp_path: Path) -> None:
    """Not in memory and not in the file: of bodies, attributes and headers of streams."""
    redact = ["message.password", "message.*.token", "attributes.secret", "header.key"]
    record = Recording(directory=tmp_path, redact=redact)
    with Emulator(record=record) as emulator, join(emulator, "ada") as ada, join(emulator, "bob") as bob:
        with bob.messaging.messages() as inbox:
            ada.local_participant.set_attribute("secret", "SWORDFISH")
            body = {"password": "SWORDFISH", "inner": {"token": {"deep": "SWORDFISH"}}, "text": "hi"}
            ada.messaging.send_message(bob.local_participant.id, "chat", body)
            ada.messaging.send_message(bob.local_participant.id, "confirmed", {"password": "SWORDFISH"}, confirm=True)
            ada.messaging.broadcast_message("news", {"list": [1], "other": {"token": "SWORDFISH"}})
            assert inbox.get(PATIENCE).message == body
            with ada.messaging.create_stream(bob.local_participant.id, header={"key": "SWORDFISH", "n": 1}) as writer:
                writer.write(MessageStreamChunk({"key": "SWORDFISH", "n": 2}, b""))
        transcript = emulator.transcript("lab")
    details = json.dumps([dict(one.detail) for one in transcript])
    assert "SWORDFISH" not in details and "SWORDFISH" not in (tmp_path / "lab.jsonl").read_text()
    expected = {"password": "[redacted]", "inner": {"token": "[redacted]"}, "text": "hi"}
    assert transcript.messages(type="chat")[0].detail == expected
    assert transcript.messages(type="confirmed")[0].detail == {"password": "[redacted]"}
    assert transcript.streams()[0].detail["header"] == {"key": "[redacted]", "n": 1}


# --- on disk ----------------------------------------------------------------------------------------------------------


def test_a_file_is_what_was_recorded(tmp_path: Path) -> None:
    """Loaded it is the same, to the digest; only its owner can read it."""
    with Emulator(record=Recording(directory=tmp_path / "new")) as emulator:
        with join(emulator, "ada") as ada, join(emulator, "bob"):
            ada.messaging.broadcast_message("news", {"n": 1}, b"data")
            ada.messaging.send_message(ada.local_participant, "note", {}, b"data")
        assert not Transcript.load(tmp_path / "new" / "lab.jsonl").is_complete
        assert len(Transcript.load(tmp_path / "new" / "lab.jsonl")) >= 6
    loaded, kept = Transcript.load(tmp_path / "new" / "lab.jsonl"), emulator.transcript("lab")
    assert loaded.is_complete and loaded == kept and list(loaded) == list(kept)
    assert loaded.attachments == kept.attachments and loaded.started == kept.started
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "new" / "lab.jsonl").stat().st_mode) == 0o600


def test_what_a_client_has_seen_is_in_the_file(tmp_path: Path) -> None:
    """Whatever came of a message, its line is given to the system before."""
    with Emulator(record=Recording(directory=tmp_path)) as emulator, RawClient(emulator, "ada") as ada:
        for number in range(50):
            ada.ask(Send(ada.id, "note", {"n": number}), number)
            ada.read(), ada.read()
            lines = (tmp_path / "lab.jsonl").read_text().splitlines()
            assert json.loads(lines[-2])["record"]["detail"] == {"n": number}


def test_files_are_not_overwritten(tmp_path: Path) -> None:
    """A second emulator in one directory writes beside the first one's."""
    for _ in range(3):
        with Emulator(record=Recording(directory=tmp_path)) as emulator, join(emulator, "ada"):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lab.2.jsonl", "lab.3.jsonl", "lab.jsonl"]
    assert all(Transcript.load(path).is_complete for path in tmp_path.iterdir())


def test_names_that_differ_in_case_have_two_files(tmp_path: Path) -> None:
    """On every system."""
    with Emulator(record=Recording(directory=tmp_path)) as emulator:
        for room in ("lab", "Lab", "LAB", "con", "a.b", "x" * 63):
            with join(emulator, "ada", room):
                pass
    names = [path.name for path in tmp_path.iterdir()]
    assert len({name.lower() for name in names}) == 6
    assert {Transcript.load(path).room for path in tmp_path.iterdir()} == {"lab", "Lab", "LAB", "con", "a.b", "x" * 63}


def test_a_full_disk_ends_the_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line in the log, what is not written is counted, the room goes on and so does what is in memory."""
    left = 3000
    write = os.write

    def full(file: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = write(file, data[:left])
        left -= count
        return count

    with caplog.at_level(logging.WARNING), Emulator(record=Recording(directory=tmp_path)) as emulator:
        monkeypatch.setattr("simulator.record.files.os.write", full)
        with RawClient(emulator, "ada") as ada:
            for number in range(100):
                ada.ask(Send(ada.id, "note", {"n": number}), number)
                assert ada.read() and ada.read() == Reply(number, Empty())
        kept = emulator.transcript("lab")
        unwritten = emulator.stats().unwritten
    loaded = Transcript.load(tmp_path / "lab.jsonl")
    assert [one.detail["n"] for one in kept.messages()] == list(range(100))
    assert 5 < len(loaded) < 100 and not loaded.is_complete
    assert list(loaded) == list(kept)[: len(loaded)]
    assert 0 <= len(kept) - len(loaded) - unwritten <= 1
    assert len([line for line in caplog.messages if "No space left" in line]) == 1


def test_a_directory_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """Before the emulator listens."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"record: the directory .*file.* cannot be made"):
        Emulator(record=Recording(directory=tmp_path / "file")).start()


SERVER = """
    import sys
    from simulator import Emulator
    from simulator.emulator import Recording

    with Emulator(record=Recording(directory=sys.argv[1])) as emulator:
        print(emulator.port, flush=True)
        sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
@pytest.mark.parametrize("seed", range(6))
def test_a_killed_emulator_leaves_all_that_anyone_saw(tmp_path: Path, seed: int) -> None:
    """Killed at a random moment amid a hundred messages under way, its file has every message that was answered."""
    chance = Random(seed)
    process = run(SERVER, str(tmp_path))
    assert process.stdout is not None
    last = chance.randrange(400)
    with RawClient(Elsewhere(int(process.stdout.readline())), "ada") as ada, process:
        for number in range(500):
            ada.ask(Send(ada.id, "note", {"n": number}, chance.randbytes(chance.choice((0, 10, 70_000)))), number)
        answered = -1
        while answered < last:
            message = ada.read()
            if isinstance(message, Reply):
                answered = message.request_id
        process.kill()
        process.wait()
    loaded = Transcript.load(tmp_path / "lab.jsonl")
    numbers = [one.detail["n"] for one in loaded.messages()]
    assert numbers == list(range(len(numbers))) and len(numbers) > last
    assert not loaded.is_complete
    assert all(not one.attachment or one.attachment in loaded.attachments for one in loaded)
    assert loaded[0] == Record(loaded[0].time_ns, "connected", "ada", detail={"role": "user"}, id=ada.id)
