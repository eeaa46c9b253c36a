"""Files of transcripts: their names, and what is in them whatever ends their writer."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.errors import UsageError
from simulator.record.files import open_new, stem_of
from simulator.record.lines import encode_record
from simulator.record.records import Record
from simulator.record.transcript import Transcript
from tests.support.profiles import examples

# --- names ------------------------------------------------------------------------------------------------------------


@given(st.text(max_size=300))
def test_any_room_has_a_name_for_a_file(room: str) -> None:
    """No character of a path, no ending, no device, short, and in small letters."""
    stem = stem_of(room)
    assert set(stem) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-~") and 0 < len(stem) < 80
    assert stem.partition(".")[0] not in ("con", "nul", "prn", "aux", "com1", "lpt9")
    assert not stem.startswith("-")


@pytest.mark.parametrize(
    "rooms",
    [
        ("lab", "Lab", "LAB"),
        ("a/b", "a\\b", "a b", "a-b", "a.b"),
        ("..", ".", "", "../..", "/"),
        ("x" * 64, "x" * 65, "x" * 200),
        ("con", "CON", "nul", "con~1"),
        ("\ud800", "\ud801", "é", "e\u0301"),
        ("lab~", "lab~000000000000", stem_of("Lab")),
    ],
)
def test_rooms_that_look_alike_have_names_of_their_own(rooms: tuple[str, ...]) -> None:
    """Also where the system takes small and capital letters for the same."""
    assert len({stem_of(room).lower() for room in rooms}) == len(rooms)


def test_plain_names_are_kept() -> None:
    """As most rooms have."""
    assert [stem_of(room) for room in ("lab", "room-7", "a_b")] == ["lab", "room-7", "a_b"]


# --- writing ----------------------------------------------------------------------------------------------------------


def test_lines_are_there_once_flushed(tmp_path: Path) -> None:
    """Not before, and whoever rests goes on where it was."""
    file = open_new(tmp_path, "lab")
    for number in range(3):
        file.write(b"%d\n" % number, 1)
        assert file.path.read_bytes() == b"".join(b"%d\n" % before for before in range(number))
        file.rest()
        assert file.path.read_bytes().endswith(b"%d\n" % number)
    file.close()
    file.write(b"late\n", 1)
    assert (file.path.read_bytes(), file.unwritten) == (b"0\n1\n2\n", 1)


def test_a_part_of_a_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full in the midst of one; nothing is written any more, and what is lost is counted."""
    file = open_new(tmp_path, "lab")
    file.write(b"first\n", 1)
    file.flush()
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if bytes(data).startswith(b"second"):
            return write(descriptor, bytes(data)[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("simulator.record.files.os.write", full)
    file.write(b"second\n", 2)
    file.flush()
    monkeypatch.undo()
    file.write(b"third\n", 1)
    file.close()
    assert (file.path.read_bytes(), file.unwritten, file.is_open) == (b"first\n", 3, False)


def test_much_is_written_without_being_asked(tmp_path: Path) -> None:
    """So that no more than a batch is held."""
    file = open_new(tmp_path, "lab")
    for _ in range(40):
        file.write(b"x" * 99_999 + b"\n")
    assert file.path.stat().st_size > 3_000_000


# --- a simulation's ---------------------------------------------------------------------------------------------------


def test_a_transcript_is_written_as_it_grows(tmp_path: Path) -> None:
    """What was there before too; each record is in the file at once, and the end makes it what ``save`` writes."""
    transcript = Transcript("lab", seed=7)
    transcript.add(Record(1, "connected", "ada"))
    transcript.add_packet(1, "ada", "up", b"one")
    transcript.stream_to(tmp_path / "run.jsonl")
    transcript.add_packet(2, "ada", "up", b"two")
    transcript.add(Record(2, "message", "ada", "bob", attachment=transcript.attach(b"data")))
    growing = Transcript.load(tmp_path / "run.jsonl")
    assert list(growing) == list(transcript) and not growing.is_complete
    transcript.close()
    loaded = Transcript.load(tmp_path / "run.jsonl")
    assert loaded == transcript and loaded.is_complete and loaded.packet_count == 2
    assert dict(loaded.attachments) == dict(transcript.attachments)
    with pytest.raises(UsageError, match="already"):
        transcript.stream_to(tmp_path / "other.jsonl")
    with pytest.raises(FileExistsError):
        Transcript().stream_to(tmp_path / "run.jsonl")


def test_what_is_in_the_file_need_not_be_in_memory(tmp_path: Path) -> None:
    """The digest is that of all that happened all the same."""
    whole, kept = Transcript("lab", seed=7), Transcript("lab", seed=7)
    kept.stream_to(tmp_path / "run.jsonl", keep=5000)
    for transcript in (whole, kept):
        for number in range(1000):
            transcript.add(Record(number, "message", "ada", "bob", detail={"n": number}))
            transcript.add_packet(number, "ada", "up", b"%d" % number)
    kept.close()
    assert kept.size <= 5000 and kept[-1] == whole[-1] and kept.dropped == 1000 - len(kept)
    assert kept.digest() == whole.digest() == Transcript.load(tmp_path / "run.jsonl").digest()
    assert list(Transcript.load(tmp_path / "run.jsonl")) == list(whole)


@pytest.mark.parametrize("keep", (None, 5000))
def test_slices_are_lists_of_records(tmp_path: Path, keep: int | None) -> None:
    """As of any sequence, of records held as values and as lines."""
    transcript = Transcript("lab", seed=7)
    transcript.stream_to(tmp_path / "run.jsonl", keep=keep)
    for number in range(1000):
        transcript.add(Record(number, "message", "ada", "bob", detail={"n": number}))
    transcript.close()
    held = list(transcript)
    for part in (slice(None), slice(-3, None), slice(2, 9, 3), slice(5, 2), slice(None, None, -1), slice(3, 10**9)):
        assert transcript[part] == held[part]
    with pytest.raises(TypeError, match="'str' object cannot be interpreted as an integer"):
        transcript["chat"]  # type: ignore[call-overload]


def test_saving_what_is_left_says_how_much_is_missing(tmp_path: Path) -> None:
    """The file of a transcript that has dropped records tells their number."""
    transcript = Transcript("lab", started=1.0, limit=2000)
    for number in range(100):
        transcript.add(Record(number, "message", detail={"n": number}))
    transcript.save(tmp_path / "run.jsonl")
    loaded = Transcript.load(tmp_path / "run.jsonl")
    assert loaded.dropped == transcript.dropped > 50
    assert list(loaded) == list(transcript) and not loaded.is_complete


# --- reading what may be anything -------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = [field.name for field in fields(Record)] + ["recipients"]


@examples(300)
@given(
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4),
    st.sampled_from(["record", "packet", "attachment", "digest", "other"]),
    JSON,
)
def test_a_line_of_anything_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, members: dict[str, Any], what: str, value: Any
) -> None:
    """A line that is no record of ours raises `UsageError`; one that passes can be read, drawn and saved."""
    path = tmp_path_factory.getbasetemp() / "anything.jsonl"
    record = {"time_ns": 5, "kind": "message", **members}
    lines = [{"transcript": 2, "room": "lab", "seed": None}, {"record": record} if what == "record" else {what: value}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    try:
        loaded = Transcript.load(path)
    except UsageError:
        return
    assert len(list(loaded)) == len(loaded)
    loaded.to_text()
    loaded.to_mermaid()
    loaded.digest()
    loaded.save(path)


@examples(300)
@given(st.integers(0), st.binary(max_size=3))
def test_a_changed_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, place: int, change: bytes) -> None:
    """Bytes in the midst of a file, whatever they are, raise `UsageError` or nothing."""
    made = Transcript("lab", started=1.0)
    made.add(Record(1, "message", "ada", "bob", detail={"n": 1.5, "s": "é"}, attachment=made.attach(b"data")))
    path = tmp_path_factory.getbasetemp() / "changed.jsonl"
    made.save(path)
    data = path.read_bytes()
    place %= len(data)
    path.write_bytes(data[:place] + change + data[place + len(change) :])
    try:
        loaded = Transcript.load(path)
    except UsageError:
        return
    assert len(list(loaded)) == len(loaded)


@pytest.mark.parametrize(
    "head", [{}, {"room": 1}, {"seed": []}, {"started": "now"}, {"dropped": -1}, {"transcript": True}]
)
def test_a_head_that_is_none_is_refused(tmp_path: Path, head: dict[str, Any]) -> None:
    """It says the version, the room, the seed."""
    line = {"transcript": 2, "room": "lab", "seed": None} | head if head else head
    (tmp_path / "run.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(UsageError, match="line 1"):
        Transcript.load(tmp_path / "run.jsonl")


def test_defaults_are_left_out_of_a_line() -> None:
    """A short line for a short event."""
    assert encode_record(Record(5, "enabled", "ada")) == b'{"record":{"kind":"enabled","sender":"ada","time_ns":5}}\n'
