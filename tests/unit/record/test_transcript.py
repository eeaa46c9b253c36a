"""Transcripts: what makes two the same, and what a file brings back."""

from __future__ import annotations

import base64
from dataclasses import replace
from hashlib import sha256
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


@pytest.mark.parametrize(
    "damage",
    [
        "changed",
        "foreign",
        "no JSON",
        "fields",
        "types",
        "far",
        "deep",
        "twice",
        "attachment",
        "newer",
        "infinite",
        "huge",
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    """A file that does not hold what was saved raises, whatever happened to it."""
    path = tmp_path / "run.jsonl"
    made = transcript()
    made.add(replace(HELLO, attachment=made.attach(b"bytes")))
    made.save(path)
    lines = path.read_text().splitlines()
    damaged = {
        "changed": [line.replace('"bob"', '"bab"') for line in lines],
        "foreign": ['{"some": "thing"}'],
        "no JSON": ["transcript"],
        "fields": [line.replace('"kind"', '"king"') for line in lines],
        "types": [line.replace('"time_ns":1500000000', '"time_ns":"now"') for line in lines],
        "far": [line.replace("[1460000000,", "[-1,") for line in lines],
        "deep": [*lines[:1], '{"a":' + "[" * 100_000, *lines[1:]],
        "twice": [*lines, lines[-1]],
        "attachment": [line.replace(base64.b64encode(b"bytes").decode(), "AAAA") for line in lines],
        "newer": [line.replace('"transcript":2', '"transcript":3') for line in lines],
        "infinite": [line.replace('"n":1', '"n":1e999') for line in lines],
        "huge": [line.replace('"n":1', '"n":' + "1" * 5000) for line in lines],
    }[damage]
    assert damaged != lines
    path.write_text("\n".join(damaged))
    with pytest.raises(UsageError):
        Transcript.load(path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are no transcript, wherever they stand."""
    path = tmp_path / "run.jsonl"
    transcript(HELLO).save(path)
    path.write_bytes(path.read_bytes() + b"\x80")
    with pytest.raises(UsageError, match=r"no transcript, .* line 6: a line behind the digest"):
        Transcript.load(path)


def test_a_file_that_was_cut_anywhere_gives_what_is_left(tmp_path: Path) -> None:
    """Whatever number of bytes of it was written, each whole line is there, and that it was cut is known."""
    made = transcript()
    for number in range(3):
        made.add(replace(HELLO, detail={"n": number}, attachment=made.attach(bytes([number]))))
    made.save(tmp_path / "run.jsonl")
    whole = (tmp_path / "run.jsonl").read_bytes()
    head = whole.index(b"\n")
    for size in range(head, len(whole) - 1):
        (tmp_path / "cut.jsonl").write_bytes(whole[:size])
        cut = Transcript.load(tmp_path / "cut.jsonl")
        lines = zip(whole[:size].split(b"\n"), whole.split(b"\n"), strict=False)
        assert len(cut) == sum(left == line and line.startswith(b'{"record"') for left, line in lines)
        assert not cut.is_complete
    assert Transcript.load(tmp_path / "run.jsonl").is_complete


@pytest.mark.parametrize("content", [b"", b'{"transc'])
def test_a_file_without_a_head_is_refused(tmp_path: Path, content: bytes) -> None:
    """Its writer was stopped before it could say what it is."""
    (tmp_path / "run.jsonl").write_bytes(content)
    with pytest.raises(UsageError, match="no transcript"):
        Transcript.load(tmp_path / "run.jsonl")


def test_a_file_of_format_1_is_read() -> None:
    """What an earlier release saved has the digest that it wrote then."""
    loaded = Transcript.load(Path(__file__).parent / "data" / "format1.jsonl")
    assert loaded.digest() == "2f7c99312854f4b703eeb59b3ac5bc571a68e2ad62f65a885fd306705a537cd7"
    assert (loaded.room, loaded.seed, len(loaded), loaded.packet_count) == ("demo", 7, 16, 64)
    (chat,) = loaded.messages(type="chat", sender="alice")
    assert (chat.recipient, chat.detail, chat.outcome) == ("bot", {"text": "héllo"}, "delivered")
    assert loaded.is_complete and not loaded.attachments


def test_attachments_are_kept_once_and_come_back(tmp_path: Path) -> None:
    """Two messages with one attachment have its hash, and a file has its bytes once."""
    made = transcript()
    for number in range(2):
        made.add(replace(HELLO, detail={"n": number}, attachment=made.attach(b"x" * 1000)))
    made.save(tmp_path / "run.jsonl")
    loaded = Transcript.load(tmp_path / "run.jsonl")
    assert {record.attachment for record in loaded} == {sha256(b"x" * 1000).hexdigest()}
    assert list(loaded.attachments.values()) == [b"x" * 1000]
    assert (tmp_path / "run.jsonl").stat().st_size < 2500


def test_a_large_attachment_is_known_by_its_hash_alone() -> None:
    """Whether its bytes are there can be asked."""
    made = Transcript(largest=10)
    assert made.attach(b"x" * 11) == sha256(b"x" * 11).hexdigest()
    assert made.attach(b"x" * 10) in made.attachments
    assert len(made.attachments) == 1


def test_attachments_are_no_part_of_a_simulations_digest() -> None:
    """Their packets are; so digests are what they were before records knew attachments."""
    assert transcript(replace(HELLO, attachment=sha256(b"x").hexdigest())).digest() == transcript(HELLO).digest()


def test_the_oldest_records_are_dropped_beyond_a_limit() -> None:
    """The bytes of records and attachments are bounded, and how many were dropped is told."""
    made = Transcript("demo", started=1.0, limit=100_000)
    for number in range(1000):
        made.add(Record(number, "message", detail={"n": number}, attachment=made.attach(b"%1000d" % number)))
    assert made[0].detail == {"n": made.dropped} and made[-1].detail == {"n": 999}
    assert len(made) + made.dropped == 1000
    assert {record.attachment for record in made} == set(made.attachments)
    assert 50_000 < sum(map(len, made.attachments.values())) < 100_000
    assert not made.is_complete
    assert f"{made.dropped} older ones dropped" in repr(made)


def test_what_was_dropped_counts_in_the_digest() -> None:
    """Two real rooms with one history have one digest, however much of it they keep."""
    kept, dropped = (Transcript(started=1.0, limit=limit) for limit in (10_000_000, 1000))
    for made in (kept, dropped):
        for number in range(100):
            made.add(Record(number, "message", detail={"n": number}))
    assert len(dropped) < 10
    assert dropped.digest() == kept.digest()


def test_a_line_with_several_recipients_is_a_record_for_each(tmp_path: Path) -> None:
    """They differ in their recipient alone, and have numbers as any others."""
    made = Transcript("demo", started=1.0)
    made.add(Record(1, "connected", "ada"))
    made.add(Record(2, "message", "ada", type="news"), ["bob", "carol", "dave"])
    made.add(Record(3, "disconnected", "ada"))
    made.save(tmp_path / "run.jsonl")
    loaded = Transcript.load(tmp_path / "run.jsonl")
    for one in (made, loaded):
        assert [record.recipient for record in one] == ["", "bob", "carol", "dave", ""]
        assert [one[number] for number in range(5)] == list(one)
        assert (len(one), one[-2].recipient) == (5, "dave")
        with pytest.raises(IndexError):
            one[5]
    assert loaded.started == 1.0


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
