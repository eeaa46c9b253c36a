"""What sender and receiver of a file agree upon, each alone with a stream that says whatever a peer may."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from meshsync.errors import ReceiveTimeout, StreamCancelled, StreamError, StreamInterrupted, StreamTimeout
from meshsync.files.continuing import LEAST_SIZE
from meshsync.files.transfer import receive_file, send_file
from meshsync.streams.interfaces import MessageStreamChunk
from tests.support.scripted_streams import BOB, RecordingOpener, RecordingWriter, ScriptedReader

CONTENT = bytes(range(256)) * (LEAST_SIZE // 256)
HALF = LEAST_SIZE // 2
FILE = {"name": "film.mp4", "size": LEAST_SIZE, "resume": True}


def digest_of(data: bytes) -> str:
    """Return the SHA-256 as it travels."""
    return hashlib.sha256(data).hexdigest()


def has(size: int, digest: str | None = None) -> MessageStreamChunk:
    """Return what a receiver says that it has."""
    return MessageStreamChunk({"partial": size} | ({} if digest is None else {"sha256": digest}))


CONFIRMED = MessageStreamChunk({"received": digest_of(CONTENT)})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file of the least size that goes on."""
    path = tmp_path / "film.mp4"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Return an empty directory."""
    path = tmp_path / "inbox"
    path.mkdir()
    return path


def sent(source: Path, answers: list[Any], **options: Any) -> tuple[dict[str, Any], int, RecordingWriter]:
    """Send the file; return the first chunk's header, how many bytes came, and the writer."""
    writer = RecordingWriter(answers)
    send_file(RecordingOpener(writer), source, BOB, **options)
    return dict(writer.chunks[0].header), len(writer.data), writer


# --- the sender -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "file"), [(LEAST_SIZE, FILE), (LEAST_SIZE - 1, {"name": "film.mp4", "size": 1048575})]
)
def test_only_a_file_that_is_worth_it_is_announced_to_go_on(source: Path, size: int, file: dict[str, Any]) -> None:
    """A smaller one is sent as ever."""
    source.write_bytes(CONTENT[:size])
    opener = RecordingOpener(RecordingWriter())
    send_file(opener, source, BOB, confirm=False)
    assert opener.opened[0][1] == {"file": file}


def test_behind_what_the_receiver_has_comes_the_rest(source: Path) -> None:
    """The SHA-256 is that of the whole; progress begins with what is there."""
    told: list[int] = []
    answers = [has(HALF), has(HALF, digest_of(CONTENT[:HALF])), CONFIRMED]
    first, size, writer = sent(source, answers, progress=lambda done, total: told.append(done))
    assert (first, size) == ({"at": HALF}, LEAST_SIZE - HALF)
    assert writer.data == CONTENT[HALF:]
    assert writer.chunks[-1].header == {"sha256": digest_of(CONTENT)}
    assert told[:2] == [0, HALF]
    assert writer.reader.timeouts[0] == pytest.approx(2, abs=0.5)


def test_a_receiver_that_has_all_gets_the_end(source: Path) -> None:
    """One empty chunk says where it goes on, and that this is all."""
    first, size, writer = sent(source, [has(LEAST_SIZE), has(LEAST_SIZE, digest_of(CONTENT)), CONFIRMED])
    assert (first, size, len(writer.chunks)) == ({"at": LEAST_SIZE, "sha256": digest_of(CONTENT)}, 0, 1)


ELSE: list[list[Any]] = [
    [has(0)],
    [has(-1)],
    [has(LEAST_SIZE + 1)],
    [has(HALF), has(HALF, digest_of(b""))],
    [has(HALF), has(HALF - 1, digest_of(CONTENT[: HALF - 1]))],
    [has(HALF), has(HALF)],
    [has(HALF), MessageStreamChunk({"partial": HALF, "sha256": 5})],
    [MessageStreamChunk({"partial": True})],
    [MessageStreamChunk({"partial": "5"})],
    [has(HALF), ReceiveTimeout("nothing came")],
    [ReceiveTimeout("nothing came")],
    [StreamInterrupted("bob left")],
    [],
]


@pytest.mark.parametrize("answers", ELSE)
def test_without_a_part_that_fits_the_file_comes_from_its_beginning(source: Path, answers: list[Any]) -> None:
    """Whatever the receiver says, or fails to say."""
    first, size, writer = sent(source, [*answers, has(0), CONFIRMED])
    assert (first, size) == ({}, LEAST_SIZE)
    assert writer.data == CONTENT


def test_a_confirmation_that_comes_at_once_is_one(source: Path) -> None:
    """An answer that has nothing to do with parts is not lost to the search for them."""
    assert sent(source, [CONFIRMED])[1] == LEAST_SIZE
    with pytest.raises(StreamError, match="confirmed another file"):
        sent(source, [MessageStreamChunk({"hello": 1}), CONFIRMED])
    with pytest.raises(StreamTimeout, match="did not confirm"):
        sent(source, [ReceiveTimeout("nothing"), ReceiveTimeout("nothing")])


def test_a_receiver_that_confirms_nothing_is_not_asked(source: Path) -> None:
    """It would be waited for in vain."""
    assert sent(source, [has(HALF)], confirm=False)[2].reader.timeouts == []


# --- the receiver -----------------------------------------------------------------------------------------------------


def offer(says: list[Any], **file: Any) -> ScriptedReader:
    """Return the stream of the file."""
    return ScriptedReader({"file": FILE | file}, says)


def piece(start: int, stop: int, **header: Any) -> MessageStreamChunk:
    """Return a chunk of the file; its last one has the SHA-256."""
    end = {"sha256": digest_of(CONTENT)} if stop == LEAST_SIZE else {}
    return MessageStreamChunk(header | end, CONTENT[start:stop])


def interrupt(inbox: Path, data: bytes = CONTENT[:HALF], error: Exception | None = None) -> ScriptedReader:
    """Have the file break off behind some data."""
    reader = offer([MessageStreamChunk({}, data), error or StreamInterrupted("bob left")])
    with pytest.raises(type(error) if error else StreamInterrupted):
        receive_file(reader, inbox)
    return reader


def said(reader: ScriptedReader) -> list[dict[str, Any]]:
    """Return the headers that the receiver wrote."""
    return [dict(chunk.header) for chunk in reader.writer.chunks]


def test_what_came_is_offered_to_the_next_transfer(inbox: Path) -> None:
    """With its SHA-256, behind the consent; then only the rest is needed."""
    assert said(interrupt(inbox)) == [{"partial": 0}]
    told: list[int] = []
    reader = offer([piece(HALF, LEAST_SIZE, at=HALF)])
    received = receive_file(reader, inbox, progress=lambda done, total: told.append(done))
    assert said(reader) == [
        {"partial": HALF},
        {"partial": HALF, "sha256": digest_of(CONTENT[:HALF])},
        {"received": digest_of(CONTENT)},
    ]
    assert (received.size, received.sha256) == (LEAST_SIZE, digest_of(CONTENT))
    assert received.path.read_bytes() == CONTENT
    assert os.listdir(inbox) == ["film.mp4"]
    assert told == [0, HALF, LEAST_SIZE]


def test_a_sender_that_does_not_go_on_is_received_from_the_beginning(inbox: Path) -> None:
    """What was there is gone, however little comes instead."""
    interrupt(inbox)
    interrupt(inbox, b"xyz")
    assert [path.read_bytes() for path in inbox.iterdir()] == [b"xyz"]
    assert receive_file(offer([piece(0, HALF), piece(HALF, LEAST_SIZE)]), inbox).path.read_bytes() == CONTENT


def test_a_part_stays_if_nothing_comes_for_it(inbox: Path) -> None:
    """A sender may be cut off again before its first chunk."""
    interrupt(inbox)
    with pytest.raises(ReceiveTimeout):
        receive_file(offer([ReceiveTimeout("nothing came")]), inbox)
    assert [path.read_bytes() for path in inbox.iterdir()] == [CONTENT[:HALF]]


@pytest.mark.parametrize("at", [HALF - 1, 0, -1, float(HALF), True, None, "x" * 100])
def test_a_file_that_goes_on_elsewhere_is_refused(inbox: Path, at: Any) -> None:
    """There would be a hole in it, or what nobody has compared."""
    interrupt(inbox)
    reader = offer([piece(HALF, LEAST_SIZE, at=at)])
    with pytest.raises(StreamError, match=r"the file goes on at .* bytes of it are here"):
        receive_file(reader, inbox)
    assert os.listdir(inbox) == []


def test_a_part_is_only_for_a_sender_that_asks(inbox: Path) -> None:
    """Others would take the answer for a confirmation; and one without a name can be anyone."""
    interrupt(inbox)
    before = os.listdir(inbox)
    for file, sender in [({"resume": 1}, BOB), ({"resume": False}, BOB), ({}, type(BOB)("p-3", "user", {}))]:
        reader = offer([piece(0, HALF), StreamInterrupted("gone")], **file)
        reader.sender = sender
        with pytest.raises(StreamInterrupted):
            receive_file(reader, inbox)
        assert said(reader) == ([] if file else [{"partial": 0}])
        assert os.listdir(inbox) == before


@pytest.mark.parametrize("error", [StreamError("damaged"), OSError("disk full"), KeyError("progress")])
def test_after_a_failure_of_another_kind_nothing_stays(inbox: Path, error: Exception) -> None:
    """It would come again with the part."""
    interrupt(inbox, error=error)
    assert os.listdir(inbox) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_process_that_is_ended_leaves_the_part(inbox: Path, error: type[BaseException]) -> None:
    """Ctrl-C is how most programs end."""

    def end(done: int, total: int | None) -> None:
        if done:
            raise error

    with pytest.raises(error):
        receive_file(offer([piece(0, HALF)]), inbox, progress=end)
    assert [path.read_bytes() for path in inbox.iterdir()] == [CONTENT[:HALF]]


def test_an_answer_that_cannot_be_sent_does_not_harm(inbox: Path) -> None:
    """The stream tells why when it is read; and what was sent before it ended is there."""

    def refuse(chunk: MessageStreamChunk) -> None:
        raise StreamCancelled("bob closed it")

    reader = ScriptedReader({"file": FILE}, [piece(0, LEAST_SIZE)], RecordingWriter(on_chunk=refuse))
    assert receive_file(reader, inbox).path.read_bytes() == CONTENT
