"""The same program, seed and version give the same transcript, byte for byte: again, elsewhere, on every Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from simulator import Transcript, faults
from simulator.faults.registry import KINDS
from simulator.record.records import first_difference
from tests.simulation import busy_room

ROOT = Path(__file__).parents[2]

DIGEST = "7ed8eec8d225d1b1101de78c24c9b41e20d70b05c42dbfff3eccb281e5ca9457"
"""Of `busy_room.run()`. A change of this library that changes what happens in a simulation changes it, knowingly:
``python -m tests.simulation.busy_room`` prints the new one."""

HASH_SEEDS = ("0", "1", "20260101")


@pytest.fixture(scope="module")
def transcript() -> Transcript:
    """Return the transcript of one run of the busy room."""
    return busy_room.run()


def test_everything_happens_in_the_busy_room(transcript: Transcript) -> None:
    """Messages enough, every kind of fault, streams rejected by a recipient and by a fault, and all else of streams."""
    fates = Counter(record.outcome.split(":")[0] for record in transcript.messages())
    assert fates["delivered"] >= 500
    assert fates["lost"] >= 10
    assert fates["error 1011"] >= 1
    # Those about programs have tests of their own: its clients are all the main thread's.
    ours = {word: kind for word, kind in KINDS.items() if kind.__module__.startswith("simulator.")}
    kinds = {word for word, kind in ours.items() if not kind.is_of_programs} - {"crash"}
    assert {record.type for record in transcript.faults()} == kinds | {"quiet"}
    assert {record.outcome for record in transcript.streams() if record.type == "stream.reject"} == {
        "rejected: in a call",
        "rejected: out of order",
    }
    by_clients = Counter(record.type for record in transcript.streams() if record.sender in busy_room.AGENTS)
    assert min(by_clients[f"stream.{word}"] for word in ("open", "accept", "close", "meshsync.cancel")) >= 5
    assert {record.sender for record in transcript.messages("stream.chunk")} >= {*busy_room.AGENTS, "streamer-1"}
    words = {(record.type, record.recipient) for record in transcript.streams()}
    for name in busy_room.AGENTS:
        assert {("stream.accept", name), ("stream.reject", name)} <= words
    assert any(record.type == "stream.meshsync.credit" and record.sender == "slow" for record in transcript.streams())
    here = Counter(record.sender for record in transcript if record.kind == "connected")
    assert all(here[name] >= 2 for name in (*busy_room.AGENTS, "visitor-1"))
    assert any(record.kind == "refused" for record in transcript)


def test_the_digest_is_the_committed_one(transcript: Transcript) -> None:
    """On every supported Python."""
    assert transcript.digest() == DIGEST


@pytest.mark.once
def test_twenty_runs_are_the_same_under_every_hash_seed(transcript: Transcript) -> None:
    """Five more here, and five in each of three processes, with sets in three orders: twenty in all, and one before."""
    command = [sys.executable, "-m", "tests.simulation.busy_room", "5"]
    processes = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE)
        for seed in HASH_SEEDS
    ]
    digests = [busy_room.run().digest() for _ in range(5)]
    for process in processes:
        digests += process.communicate(timeout=50)[0].decode().split()
    assert digests == [transcript.digest()] * 20


def test_the_extra_speed_changes_no_byte(transcript: Transcript) -> None:
    """What is installed for it is used here; in a process in which it cannot be imported, all packets are the same."""
    program = "import sys; sys.modules |= {'pybase64': None, 'websockets.speedups': None}; " + (
        "from tests.simulation import busy_room; print(busy_room.run().digest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout.split() == [transcript.digest()]


@pytest.mark.parametrize(
    "change",
    [{"seed": 8}, {"median": 0.041}, {"payload": b"paylobd"}],
    ids=["seed", "latency", "payload"],
)
def test_one_change_changes_the_digest(transcript: Transcript, change: dict[str, object]) -> None:
    """One other seed, one parameter of the law of delays, one byte of an attachment."""
    changed = busy_room.run(**change)  # type: ignore[arg-type]
    assert changed.digest() != transcript.digest()
    assert first_difference(changed, transcript) is not None


def test_a_changed_byte_changes_packets_alone(transcript: Transcript) -> None:
    """All that happens is the same but for the attachments' hashes; the log of packets tells the difference."""
    changed = busy_room.run(payload=b"paylobd")
    assert [replace(record, attachment="") for record in changed] == [
        replace(record, attachment="") for record in transcript
    ]
    differing = [one for one, other in zip(changed.packets, transcript.packets, strict=True) if one != other]
    assert 0 < len(differing) < transcript.packet_count


def test_a_saved_transcript_is_the_same(transcript: Transcript, tmp_path: Path) -> None:
    """Written and read again it has the same digest, whatever was in it."""
    transcript.save(tmp_path / "run.jsonl")
    assert Transcript.load(tmp_path / "run.jsonl").digest() == transcript.digest()


def test_a_plan_is_data(transcript: Transcript) -> None:
    """Written as JSON and read again, it is the same plan."""
    assert faults.from_json(faults.to_json(busy_room.PLAN)) == busy_room.PLAN
