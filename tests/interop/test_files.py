"""Files between meshsync and published SDK releases that have classic streams, which know nothing of files."""

from __future__ import annotations

import hashlib
import queue
from pathlib import Path

import pytest

from meshsync.files.transfer import ReceivedFile, receive_file, send_file
from meshsync.streams.interfaces import StreamReader
from tests.interop.attachments import attachment_of, fingerprint
from tests.interop.company import Meet
from tests.interop.matrix import MESHSYNC
from tests.interop.meshsync_peer import MeshsyncPeer
from tests.interop.releases import Streams, chosen, find

pytestmark = [pytest.mark.releases, pytest.mark.timeout(180)]  # the first test of a release may install it

CLASSIC = [name for name in chosen() if find(name).streams in (Streams.ONE_WAY, Streams.BOTH_WAYS)]

PIECES = [attachment_of(100_000, 1), attachment_of(100_000, 2), attachment_of(50_000, 3)]
CONTENT = b"".join(PIECES)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("release", CLASSIC)
def test_an_official_program_gets_a_file_chunk_by_chunk(release: str, meet: Meet, tmp_path: Path) -> None:
    """With name and size in the opening, and the SHA-256 at the end; no confirmation is waited for."""
    ada, bob = meet(MESHSYNC, release)
    assert isinstance(ada, MeshsyncPeer)
    (tmp_path / "größe.bin").write_bytes(CONTENT)
    to_bob = ada.room.messaging.wait_for_participant(name="bob", timeout=30)
    sent = send_file(ada.room.messaging, tmp_path / "größe.bin", to_bob, chunk_size=100_000)
    assert (sent.sha256, sent.is_confirmed) == (DIGEST, False)
    offered = bob.expect("stream_offered")
    assert offered["header"] == {"file": {"name": "größe.bin", "size": 250_000}}
    for header, piece in zip([{}, {}, {"sha256": DIGEST}], PIECES, strict=True):
        chunk = bob.expect("chunk", stream=offered["stream"])
        assert {name: chunk[name] for name in ("header", "size", "sha256")} == {"header": header, **fingerprint(piece)}
    bob.expect("stream_ended", stream=offered["stream"])


@pytest.mark.parametrize("release", CLASSIC)
def test_a_file_from_an_official_program_is_checked_and_confirmed(release: str, meet: Meet, tmp_path: Path) -> None:
    """It has to send the headers that are documented; where its streams go both ways, it gets the answer."""
    ada, bob = meet(release, MESHSYNC)
    assert isinstance(bob, MeshsyncPeer)
    received: queue.Queue[ReceivedFile] = queue.Queue()

    def store(reader: StreamReader) -> None:
        received.put(receive_file(reader, tmp_path, timeout=30))

    bob.room.messaging.enable(store)
    stream = ada.do("open_stream", to="bob", header={"file": {"name": "größe.bin", "size": 250_000}})["stream"]
    for seed, piece in enumerate(PIECES, 1):
        header = {"sha256": DIGEST} if seed == len(PIECES) else {}
        ada.do("write", stream=stream, header=header, size=len(piece), seed=seed)
    assert received.get(timeout=30) == ReceivedFile(tmp_path / "größe.bin", 250_000, DIGEST)
    assert (tmp_path / "größe.bin").read_bytes() == CONTENT
    if find(release).streams is Streams.BOTH_WAYS:
        assert ada.expect("chunk", stream=stream)["header"] == {"received": DIGEST}
    ada.do("close_stream", stream=stream)
