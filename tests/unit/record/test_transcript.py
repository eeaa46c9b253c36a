"""Transcripts: what makes two the same, and what a file brings back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from meshsync.errors import UsageError
from simulator.record.records import Record, first_difference
from simulator.record.transcript import Transcript

HELLO = Record(
    1_500_000_000, "message", "alice", "bob", "chat", 40, 40_000_000, "delivered", detail={"text": "héllo", "n": 1}
)


def transcript(*records: Record, packet: bytes = b"\x00\x01") -> Transcript:
    """Return a transcript of those records and two packets."""
    made = Transcript("demo", seed=7)
    for record in records:
        made.add(record)
    made.add_packet(1_460_000_000, "alice", "up", packet)
    made.add_packet(1_500_000_000, "bob", "down", b"\x02")
    return made


def test_equal_runs_have_equal_digests() -> None:
    """Two transcripts of the same records and packets are the same, whatever their seeds."""
    other = transcript(replace(HELLO, detail={"n": 1, "text": "héllo"}))
    other.seed = 8
    assert transcript(HELLO).digest() == other.digest()
    assert transcript(HELLO) == other


@pytest.mark.parametrize(
    "change",
    [
        {"time_ns": 1_500_000_001},
        {"detail": {"text": "hello", "n": 1}},
        {"latency_ns": None},
        {"outcome": "lost"},
        {"recipient": "bob#2"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_changed_field_changes_the_digest(change: dict[str, object]) -> None:
    """A record that differs in one field makes another digest, and the difference is named."""
    other = transcript(replace(HELLO, **change))  # type: ignore[arg-type]
    assert other.digest() != transcript(HELLO).digest()
    assert (first_difference(transcript(HELLO), other) or "").startswith("record 0: ")


def test_one_changed_byte_of_a_packet_changes_the_digest() -> None:
    """Packets count although their content is not kept."""
    other = transcript(HELLO, packet=b"\x00\x03")
    assert other.digest() != transcript(HELLO).digest()
    assert (first_difference(transcript(HELLO), other) or "").startswith("packet 0: ")


def test_equal_transcripts_have_no_difference() -> None:
    """Nothing is named where nothing differs."""
    assert first_difference(transcript(HELLO), transcript(HELLO)) is None


def test_a_missing_record_is_named() -> None:
    """The run that goes on is said to have more."""
    later = replace(HELLO, time_ns=2_000_000_000)
    assert "only one run has 2.000000000 s message" in (
        first_difference(transcript(HELLO), transcript(HELLO, later)) or ""
    )


def test_a_file_brings_everything_back(tmp_path: Path) -> None:
    """Saving and loading changes nothing, records and packets alike."""
    saved = transcript(HELLO)
    saved.save(tmp_path / "run.jsonl")
    loaded = Transcript.load(tmp_path / "run.jsonl")
    assert list(loaded) == [HELLO]
    assert [packet.link for packet in loaded.packets] == ["alice", "bob"]
    assert (loaded.room, loaded.seed, loaded.digest()) == ("demo", 7, saved.digest())


@pytest.mark.parametrize("damage", ["cut", "changed", "foreign", "no JSON", "fields", "types", "far", "deep"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    """A file that does not hold what was saved raises, whatever happened to it."""
    path = tmp_path / "run.jsonl"
    transcript(HELLO).save(path)
    lines = path.read_text().splitlines()
    damaged = {
        "cut": lines[:-1],
        "changed": [line.replace('"bob"', '"bab"') for line in lines],
        "foreign": ['{"some": "thing"}'],
        "no JSON": ["transcript"],
        "fields": [line.replace('"kind"', '"king"') for line in lines],
        "types": [line.replace('"time_ns":1500000000', '"time_ns":"now"') for line in [*lines[:2], *lines[1:]]],
        "far": [line.replace("[1460000000,", "[-1,") for line in lines],
        "deep": ['{"a":' + "[" * 100_000],
    }[damage]
    path.write_text("\n".join(damaged))
    with pytest.raises(UsageError):
        Transcript.load(path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are no transcript, wherever they stand."""
    path = tmp_path / "run.jsonl"
    transcript(HELLO).save(path)
    path.write_bytes(path.read_bytes() + b"\x80")
    with pytest.raises(UsageError, match="no transcript"):
        Transcript.load(path)


def test_records_out_of_order_are_refused() -> None:
    """A record of an earlier instant than the last cannot be added."""
    made = transcript(HELLO)
    with pytest.raises(ValueError, match="behind"):
        made.add(replace(HELLO, time_ns=1))


def test_messages_are_found_by_type_sender_and_recipient() -> None:
    """Each filter narrows the messages, and records of other kinds are none."""
    left = Record(1_600_000_000, "disconnected", "alice")
    made = transcript(HELLO, replace(HELLO, recipient="eve", type="wave"), left)
    assert [record.recipient for record in made.messages(sender="alice")] == ["bob", "eve"]
    assert [record.recipient for record in made.messages(type="wave")] == ["eve"]
    assert made.messages(to="alice") == ()
