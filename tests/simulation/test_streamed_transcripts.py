"""A simulation whose transcript is written as it grows is the same, and its file is whole however it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator import Simulation, Transcript, participants


def run(path: Path | None, *, fails: bool = False) -> Transcript:
    """Run ten minutes of chatter, and return the transcript."""
    with Simulation(seed=7) as sim:
        room = sim.room("lab")
        if path is not None:
            room.transcript.stream_to(path, keep=20_000)
        room.add(participants.Chatter("ada", interval=0.5), participants.Silent("bob"))
        client = room.join("carol", enable=True)
        client.messaging.broadcast_message("news", {"n": 1}, b"data")
        sim.sleep(600)
        if fails:
            raise KeyError("a program failed")
    return room.transcript


def test_a_transcript_on_disk_is_that_in_memory(tmp_path: Path) -> None:
    """With the same digest, though little of it stays in memory."""
    whole, kept = run(None), run(tmp_path / "run.jsonl")
    loaded = Transcript.load(tmp_path / "run.jsonl")
    assert loaded.is_complete and not kept.is_complete
    assert loaded.digest() == kept.digest() == whole.digest()
    assert list(loaded) == list(whole) and dict(loaded.attachments) == dict(whole.attachments)
    assert len(kept) < len(whole) // 4


def test_a_file_has_its_end_when_the_program_failed(tmp_path: Path) -> None:
    """The simulation was closed all the same."""
    with pytest.raises(KeyError):
        run(tmp_path / "run.jsonl", fails=True)
    assert Transcript.load(tmp_path / "run.jsonl").is_complete
