"""What a transcript takes in memory, by counted sizes: recording is bounded, a load takes little more than the file."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.record.files import RecordFile
from simulator.record.records import Record
from simulator.record.transcript import Transcript

MESSAGES = 30_000
"""All sizes grow with it: with 100,000 the file is 32 MB, and its load takes 1.4 times that at its peak."""
LIMIT = 2 * 1024 * 1024
OVERHEAD = 5 * 1024 * 1024 // 2
"""Bytes beside the transcript: a batch of lines on its way to the disk and the same joined, of 1 MiB each, and places
of a list in which entries were dropped, as many as there are others: 16 bytes for each of 200, of 2 MiB."""


@pytest.fixture(scope="module")
def traced() -> Iterator[None]:
    """Have all memory counted that is taken."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, traced: None) -> Path:
    """Return the file of a conversation that was recorded within the limit."""
    path = tmp_path_factory.mktemp("recorded") / "lab.jsonl"
    transcript = Transcript("lab", started=1.0, limit=LIMIT)
    transcript.write_to(RecordFile(path))
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    for number in range(MESSAGES):
        hash = transcript.attach(b"%d" % number) if number % 100 == 0 else ""
        detail = {"text": f"this is message {number}"}
        now = number * 36_000_000
        transcript.add(Record(now, "message", "ada", "bob", "chat", 120, 25_000, "delivered", "", detail, hash))
        transcript.add(Record(now, "reply", "", "ada", "send", latency_ns=40_000, outcome="ok"))
    _, peak = tracemalloc.get_traced_memory()
    assert peak - before < LIMIT + OVERHEAD
    assert transcript.dropped > MESSAGES
    transcript.close()
    return path


def test_a_file_is_loaded_in_under_twice_its_size(recorded: Path) -> None:
    """At its peak too, lines being kept as they are until somebody looks at them."""
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    transcript = Transcript.load(recorded)
    after, peak = tracemalloc.get_traced_memory()
    size = recorded.stat().st_size
    assert len(transcript) == 2 * MESSAGES and size > LIMIT + OVERHEAD
    assert after - before < 1.5 * size
    assert peak - before < 2 * size
