"""Streams and files in full size over many losses, on virtual time; a tenth of each is tried in every run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.test_resuming import MIB, transfer

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]


@pytest.mark.parametrize("chunk_size", [16 * 1024, 64 * 1024, MIB])
def test_a_stream_over_twenty_losses(chunk_size: int) -> None:
    """64 MiB on links of 2 MB/s and 40 ms, with at most 1.1 times as much on the wire."""
    assert transfer(64 * MIB, 20, chunk_size) <= 1.1


def test_a_file_over_fifty_losses(tmp_path: Path) -> None:
    """256 MiB, likewise."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "film.mp4").write_bytes(bytes(256 * MIB))
    assert transfer(256 * MIB, 50, 0, tmp_path) <= 1.1
