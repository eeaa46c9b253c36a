"""Files through streams: what goes over them, and that a file is there entirely, as it was sent, or not at all."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.errors import (
    InvalidMessage,
    MeshsyncError,
    ReceiveTimeout,
    StreamCancelled,
    StreamError,
    StreamInterrupted,
    StreamRejected,
    StreamTimeout,
    UsageError,
)
from meshsync.files.transfer import MAX_CHUNK_SIZE, ReceivedFile, SentFile, receive_file, send_file
from meshsync.streams.interfaces import MessageStreamChunk
from tests.support.effort import peak_of
from tests.support.scripted_streams import BOB, RecordingOpener, RecordingWriter, ScriptedReader

POSIX = pytest.mark.skipif(os.name == "nt", reason="files of this kind are not on Windows")
DATA = b"0123456789"
DIGEST = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"
EMPTY_DIGEST = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def confirmation(digest: str = DIGEST) -> MessageStreamChunk:
    """Return what a receiver answers."""
    return MessageStreamChunk({"received": digest})


def send(path: Path, writer: RecordingWriter, **options: Any) -> SentFile:
    """Send a file to bob over a writer."""
    return send_file(RecordingOpener(writer), path, BOB, **options)


def parts(writer: RecordingWriter) -> list[tuple[dict[str, Any], bytes]]:
    """Return header and data of each chunk written."""
    return [(dict(chunk.header), bytes(chunk.data)) for chunk in writer.chunks]


def chunks(data: bytes = DATA, size: int = 4, digest: str | None = DIGEST) -> list[MessageStreamChunk]:
    """Return a file as a sender cuts it; without a digest, as one that breaks off."""
    pieces = [data[start : start + size] for start in range(0, len(data), size)] or [b""]
    made = [MessageStreamChunk({}, piece) for piece in pieces]
    if digest is not None:
        made[-1] = MessageStreamChunk({"sha256": digest}, pieces[-1])
    return made


def offer(
    says: Iterable[MessageStreamChunk | Exception | Callable[[], MessageStreamChunk]] = (), **file: Any
) -> ScriptedReader:
    """Return the stream of a file of ten bytes, or what is said instead of that."""
    return ScriptedReader({"file": {"name": "digits.txt", "size": 10, **file}}, says or chunks())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file of ten bytes."""
    path = tmp_path / "digits.txt"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Return an empty directory beside which nothing may change."""
    path = tmp_path / "inbox"
    path.mkdir()
    return path


# --- sending ----------------------------------------------------------------------------------------------------------


def test_a_file_is_announced_cut_and_summed_up(source: Path) -> None:
    """Name and size come first, then the bytes in order; the last chunk has the SHA-256 of all."""
    writer = RecordingWriter()
    opener = RecordingOpener(writer)
    sent = send_file(opener, source, BOB, header={"purpose": "test"}, chunk_size=4, confirm=False, timeout=7)
    assert opener.opened == [(BOB, {"purpose": "test", "file": {"name": "digits.txt", "size": 10}}, 7)]
    assert parts(writer) == [({}, b"0123"), ({}, b"4567"), ({"sha256": DIGEST}, b"89")]
    assert sent == SentFile("digits.txt", 10, DIGEST, False)
    assert writer.told == ["close"]


def test_chunks_that_come_out_even_need_no_empty_one(source: Path) -> None:
    """The last full chunk is the last."""
    writer = RecordingWriter()
    send(source, writer, chunk_size=5, confirm=False)
    assert parts(writer) == [({}, b"01234"), ({"sha256": DIGEST}, b"56789")]


def test_an_empty_file_is_one_empty_chunk(tmp_path: Path) -> None:
    """So that there is something for its SHA-256 to travel on."""
    empty, writer = tmp_path / "empty", RecordingWriter()
    empty.touch()
    assert send(empty, writer, confirm=False) == SentFile("empty", 0, EMPTY_DIGEST, False)
    assert parts(writer) == [({"sha256": EMPTY_DIGEST}, b"")]


@pytest.mark.one_python
@pytest.mark.slow
def test_a_sparse_file_of_2_gib_takes_the_memory_of_a_few_chunks(tmp_path: Path) -> None:
    """2 ** 31 zeros are 1024 chunks of 2 MiB, of which at most a few are in memory at once."""

    class Counter(RecordingWriter):
        count = size = 0

        def write(self, chunk: Any, **options: Any) -> None:
            self.count, self.size = self.count + 1, self.size + len(chunk.data)

    sparse, writer = tmp_path / "sparse", Counter()
    with sparse.open("wb") as file:
        file.truncate(2**31)
    sent: list[SentFile] = []
    # Once, since it is long: 8 chunks are far more than what another thread may hold meanwhile.
    assert peak_of(lambda: sent.append(send(sparse, writer, chunk_size=2**21, confirm=False)), times=1) < 8 * 2**21
    assert (sent[0].size, writer.size, writer.count) == (2**31, 2**31, 1024)
    assert sent[0].sha256 == "a7c744c13cc101ed66c29f672f92455547889cc586ce6d44fe76ae824958ea51"


def test_the_stream_is_closed_when_the_file_is_confirmed(source: Path) -> None:
    """All is flushed before the answer is waited for, both within the time limit of one step."""
    writer = RecordingWriter([confirmation()])
    assert send(source, writer, confirm=True, timeout=3).is_confirmed
    assert writer.told == ["flush", "close"]
    (left,) = writer.reader.timeouts
    assert left is not None and 0 <= left <= 3


@pytest.mark.parametrize(("is_meshsync", "is_confirmed"), [(True, True), (False, False), (None, True)])
def test_programs_on_meshsync_are_expected_to_confirm(
    source: Path, is_meshsync: bool | None, is_confirmed: bool
) -> None:
    """A writer that doesn't say who is at the other end is a wrapper, for which both ends need the same program."""
    writer = RecordingWriter([confirmation()])
    if is_meshsync is not None:
        writer.peer_is_meshsync = is_meshsync  # type: ignore[attr-defined]
    assert send(source, writer).is_confirmed is is_confirmed


def test_without_a_confirmation_in_time_the_stream_still_ends_regularly(source: Path) -> None:
    """Whoever only joins the data has all of it; but the caller is not told that the file is there."""
    writer = RecordingWriter([ReceiveTimeout("nothing came")])
    with pytest.raises(StreamTimeout, match=r"bob did not confirm it within 30 s.*confirm=False"):
        send(source, writer, confirm=True)
    assert writer.told == ["flush", "close"]


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (None, StreamInterrupted, "bob closed the stream and did not confirm"),
        (confirmation(EMPTY_DIGEST), StreamError, "bob confirmed another file"),
        (MessageStreamChunk({}), StreamError, "bob confirmed another file"),
        (StreamCancelled("bob ended it: disk full"), StreamCancelled, "disk full"),
    ],
)
def test_another_answer_than_the_confirmation_is_an_error(
    source: Path, answer: MessageStreamChunk | Exception | None, error: type[Exception], text: str
) -> None:
    """The file may be there or not: the caller has to know that nobody said so."""
    writer = RecordingWriter([] if answer is None else [answer])
    with pytest.raises(error, match=text):
        send(source, writer, confirm=True)


class Cancelled(RecordingWriter):
    """A writer whose other side has ended the stream."""

    def flush(self, **options: Any) -> None:
        raise StreamCancelled("bob ended it: disk full")


def test_the_reason_of_the_end_is_the_one_that_the_writer_knows(source: Path) -> None:
    """The way back only knows that the stream is over; who gave up, and why, is told to whoever writes."""
    with pytest.raises(StreamCancelled, match="disk full"):
        send(source, Cancelled([StreamInterrupted("bob ended it")]), confirm=True)


def test_a_confirmation_that_came_before_the_end_counts(source: Path) -> None:
    """The receiver's program may have dropped the stream before the sender gets to look."""
    assert send(source, Cancelled([confirmation()]), confirm=True).is_confirmed


def test_how_the_stream_of_a_confirmed_file_ends_does_not_matter(source: Path) -> None:
    """The receiver's program may drop the stream as soon as it has the file."""

    class Dropped(RecordingWriter):
        def close(self, **options: Any) -> None:
            raise StreamCancelled("bob ended it")

    assert send(source, Dropped([confirmation()]), confirm=True).is_confirmed
    with pytest.raises(StreamCancelled, match="bob ended it"):
        send(source, Dropped(), confirm=False)


def test_a_refusal_of_the_stream_is_raised(source: Path) -> None:
    """As by ``create_stream``."""
    with pytest.raises(StreamRejected, match="busy"):
        send_file(RecordingOpener(StreamRejected("busy")), source, BOB)


def write_to(path: Path, data: bytes, mode: str) -> Callable[[MessageStreamChunk], None]:
    """Return what changes a file at its first chunk."""

    def change(chunk: MessageStreamChunk) -> None:
        if chunk.data == DATA[:4]:
            with path.open(mode) as file:
                file.write(data)
            os.utime(path, ns=(1, 1))  # However coarse the clock of the file system.

    return change


@pytest.mark.parametrize(
    ("data", "mode", "text"),
    [
        (b"more", "ab", "had 10 bytes, and now 14"),
        (b"less", "wb", "had 10 bytes, and now 4"),
        (b"", "wb", "had 10 bytes, and now 0"),
        (b"9876543210", "r+b", "was written to while it was sent"),
    ],
)
def test_a_file_that_changes_meanwhile_is_given_up(source: Path, data: bytes, mode: str, text: str) -> None:
    """The SHA-256 is never sent, so no receiver takes what came for a file."""
    writer = RecordingWriter(on_chunk=write_to(source, data, mode))
    with pytest.raises(StreamError, match=text):
        send(source, writer, chunk_size=4)
    assert all(chunk.header == {} for chunk in writer.chunks)
    assert {told.partition(":")[0] for told in writer.told} == {"abort"}  # Again in leaving `with`, which does nothing.
    assert text in writer.told[0]


def test_a_path_that_is_no_file_opens_no_stream(tmp_path: Path) -> None:
    """Missing ones and directories, with the errors that ``open`` has for them."""
    opener = RecordingOpener(RecordingWriter())
    with pytest.raises(FileNotFoundError, match="missing"):
        send_file(opener, tmp_path / "missing", BOB)
    with pytest.raises(IsADirectoryError if os.name == "posix" else PermissionError):
        send_file(opener, tmp_path, BOB)
    assert opener.opened == []


@POSIX
def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    """It has no size to announce; a device neither."""
    os.mkfifo(tmp_path / "pipe")
    opener = RecordingOpener(RecordingWriter())
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(UsageError, match="is no regular file"):
            send_file(opener, path, BOB)
    assert opener.opened == []


@pytest.mark.parametrize("path", ["/proc/self/status", "/sys/class/net/lo/mtu"])
def test_a_file_whose_size_is_not_its_length_is_given_up(path: str) -> None:
    """The kernel says 0 or 4096 of those that it writes as they are read: what came would be half or nothing of it."""
    if not os.path.exists(path):
        pytest.skip(f"{path} is not on this system")
    with pytest.raises(StreamError, match=r"the file has not the (0|4096) bytes that its size says"):
        send(Path(path), RecordingWriter())


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"header": {"file": 1}}, InvalidMessage, "'file' is where"),
        ({"header": [1]}, InvalidMessage, "header: list is not a JSON object"),
        ({"name": "../x"}, InvalidMessage, r"'\.\./x' is not safe .* give another with name="),
        ({"chunk_size": 0}, ValueError, "1 to 2097152 bytes, not 0"),
        ({"chunk_size": MAX_CHUNK_SIZE + 1}, ValueError, "not 2097153"),
    ],
)
def test_what_cannot_be_sent_opens_no_stream(
    source: Path, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """The program hears at once."""
    opener = RecordingOpener(RecordingWriter())
    with pytest.raises(error, match=text):
        send_file(opener, source, BOB, **options)
    assert opener.opened == []


def test_a_file_may_be_announced_by_another_name(tmp_path: Path) -> None:
    """Where its own is not safe elsewhere, for one."""
    hidden, opener = tmp_path / ".profile", RecordingOpener(RecordingWriter())
    hidden.write_bytes(DATA)
    with pytest.raises(InvalidMessage, match=r"begins with '\.'"):
        send_file(opener, hidden, BOB)
    assert send_file(opener, os.fspath(hidden), BOB, name="profile.txt", confirm=False).name == "profile.txt"


def test_progress_is_told_from_nothing_to_all(source: Path) -> None:
    """Once before the stream is opened, then after each chunk."""
    told: list[tuple[int, int | None]] = []
    send(source, RecordingWriter(), chunk_size=4, confirm=False, progress=lambda *numbers: told.append(numbers))
    assert told == [(0, 10), (4, 10), (8, 10), (10, 10)]


class Enough(Exception):
    """What a program's own function raises."""


def enough(done: int, total: int | None) -> None:
    """Raise when half is done."""
    if done > 5:
        raise Enough("that will do")


def test_progress_that_raises_ends_the_sending(source: Path) -> None:
    """Its error comes out, and the stream is aborted, not closed."""
    writer = RecordingWriter()
    with pytest.raises(Enough):
        send(source, writer, chunk_size=4, progress=enough)
    assert writer.told == ["abort: that will do"]
    assert len(writer.chunks) == 2


# --- receiving --------------------------------------------------------------------------------------------------------


def test_a_file_is_stored_and_confirmed(inbox: Path) -> None:
    """Under the announced name, with the permissions of any new file, and with nothing beside it."""
    reader = offer()
    received = receive_file(reader, inbox, timeout=5)
    assert received == ReceivedFile(inbox / "digits.txt", 10, DIGEST)
    assert (inbox / "digits.txt").read_bytes() == DATA
    assert os.listdir(inbox) == ["digits.txt"]
    assert parts(reader.writer) == [({"received": DIGEST}, b"")]
    assert reader.timeouts == [5] * 3
    assert reader.closed == []
    (inbox / "new").touch()
    assert (inbox / "new").stat().st_mode == received.path.stat().st_mode


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 1000])
def test_what_was_sent_is_received(tmp_path: Path, inbox: Path, size: int) -> None:
    """Byte for byte, with sizes around that of a chunk."""
    source, writer = tmp_path / "source", RecordingWriter()
    source.write_bytes(os.urandom(size))
    sent = send(source, writer, name="copy", chunk_size=4, confirm=False)
    received = receive_file(ScriptedReader({"file": {"name": "copy", "size": size}}, writer.chunks), inbox)
    assert (received.size, received.sha256) == (sent.size, sent.sha256) == (size, received.sha256)
    assert received.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert received.path.read_bytes() == source.read_bytes()


def test_the_receiver_may_choose_the_name(inbox: Path) -> None:
    """Then whatever the sender called it does not matter."""
    assert receive_file(offer(name="../../etc/passwd"), inbox, name="mine").path == inbox / "mine"
    assert receive_file(offer(name=None), inbox, name="yours").path == inbox / "yours"


def test_a_stream_that_announces_no_file_is_one_until_its_end(inbox: Path) -> None:
    """An official program may send without a word: then the size is not known before, and nothing can be checked."""
    told: list[tuple[int, int | None]] = []
    reader = ScriptedReader({"purpose": "video"}, chunks(digest=None))
    received = receive_file(reader, inbox, name="video", progress=lambda *numbers: told.append(numbers))
    assert received == ReceivedFile(inbox / "video", 10, DIGEST)
    assert told == [(0, None), (4, None), (8, None), (10, None)]


REFUSALS: list[tuple[dict[str, Any], dict[str, Any], type[Exception], str]] = [
    ({"name": "../digits.txt"}, {}, StreamError, "is not safe as the name of a file"),
    ({"name": None}, {}, StreamError, "bob announced a file without a name"),
    ({"name": 5}, {}, StreamError, "bob announced a file without a name"),
    ({"size": None}, {}, StreamError, "without a size"),
    ({"size": -1}, {}, StreamError, "without a size"),
    ({"size": 1.0}, {}, StreamError, "without a size"),
    ({"size": True}, {}, StreamError, "without a size"),
    ({}, {"max_size": 9}, StreamError, "at most 9 bytes are taken, it has 10"),
    ({"name": "taken"}, {}, FileExistsError, "there is a file of that name already"),
    ({"name": "link"}, {}, FileExistsError, "there is a file of that name already"),
    ({"name": "folder"}, {"overwrite": True}, FileExistsError, "there is a file of that name already"),
    ({}, {"name": "a/b"}, UsageError, "is not safe as the name of a file"),
]


@POSIX
@pytest.mark.parametrize(("file", "options", "error", "text"), REFUSALS)
def test_what_is_not_wanted_is_rejected_before_it_comes(
    inbox: Path, file: dict[str, Any], options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """The stream is not accepted, its opener is told why, and the directory stays as it was."""
    (inbox / "taken").write_text("kept")
    (inbox / "link").symlink_to("nowhere")
    (inbox / "folder").mkdir()
    reader = offer(**file)
    with pytest.raises(error, match=text):
        receive_file(reader, inbox, **options)
    assert not reader.is_accepted
    assert len(reader.closed) == 1
    assert os.fspath(inbox) not in reader.closed[0]
    assert sorted(os.listdir(inbox)) == ["folder", "link", "taken"]
    assert (inbox / "taken").read_text() == "kept"


@pytest.mark.parametrize("header", [{}, {"file": None}, {"purpose": "video"}])
def test_a_stream_without_a_file_needs_a_name(inbox: Path, header: dict[str, Any]) -> None:
    """The text tells the program what to give; the sender is told that it is not at fault."""
    reader = ScriptedReader(header)
    with pytest.raises(UsageError, match="bob announced no file: to store the stream, give a name"):
        receive_file(reader, inbox)
    assert reader.closed == ["the receiver's program erred"]


@pytest.mark.parametrize("file", ["digits.txt", 5, [], True])
def test_an_announcement_of_another_shape_is_refused(inbox: Path, file: object) -> None:
    """It is not taken for a stream without one."""
    with pytest.raises(StreamError, match="bob announced a file without a size"):
        receive_file(ScriptedReader({"file": file}, chunks()), inbox, name="x")


def test_a_missing_directory_is_told_without_its_path(tmp_path: Path) -> None:
    """The program gets the path, the sender only what is the matter."""
    reader = offer()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        receive_file(reader, tmp_path / "nowhere")
    assert reader.closed == ["the receiver cannot store the file: No such file or directory"]
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        receive_file(offer(), tmp_path / "file")


FAILURES: list[tuple[list[Any], dict[str, Any], type[Exception], str]] = [
    (chunks(digest=EMPTY_DIGEST), {}, StreamError, "was damaged"),
    (chunks(digest=5), {}, StreamError, "was damaged"),  # type: ignore[arg-type]
    (chunks(DATA + b"x"), {}, StreamError, "more than the 10 bytes announced"),
    (chunks(DATA[:9], digest=hashlib.sha256(DATA[:9]).hexdigest()), {}, StreamError, "has 9 bytes, not the 10"),
    (chunks(digest=None), {}, StreamInterrupted, "ended after 10 of 10 bytes, without its SHA-256"),
    (chunks()[:2], {}, StreamInterrupted, "ended after 8 of 10 bytes"),
    ([*chunks()[:2], StreamInterrupted("bob left")], {}, StreamInterrupted, "bob left"),
    ([*chunks()[:2], ReceiveTimeout("nothing came")], {}, ReceiveTimeout, "nothing came"),
    (chunks(), {"progress": enough}, Enough, "that will do"),
]


@pytest.mark.parametrize(("says", "options", "error", "text"), FAILURES)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_does_not_arrive_whole_leaves_nothing(
    inbox: Path, says: list[Any], options: dict[str, Any], error: type[Exception], text: str, overwrite: bool
) -> None:
    """No file, no temporary one, no confirmation; one of that name that is to be replaced stays; the sender is told."""
    (inbox / "digits.txt").write_text("kept") if overwrite else None
    reader = offer(says)
    with pytest.raises(error, match=text):
        receive_file(reader, inbox, overwrite=overwrite, **options)
    assert os.listdir(inbox) == (["digits.txt"] if overwrite else [])
    assert not overwrite or (inbox / "digits.txt").read_text() == "kept"
    assert reader.writer.chunks == []
    assert reader.closed == ["the receiver gave up" if error is Enough else reader.closed[0]]
    assert error is Enough or text in reader.closed[0]


def test_an_announced_stream_may_not_be_too_large_meanwhile(inbox: Path) -> None:
    """Nor one that announced nothing: its size is counted as it comes."""
    reader = ScriptedReader({}, chunks(digest=None))
    with pytest.raises(StreamError, match="at most 9 bytes are taken, it has more"):
        receive_file(reader, inbox, name="x", max_size=9)
    assert os.listdir(inbox) == []
    assert receive_file(offer(), inbox, max_size=10).size == 10


def test_while_it_comes_only_the_temporary_name_is_there(inbox: Path) -> None:
    """No program that looks for the file finds half of it."""
    seen: list[list[str]] = []

    def look() -> MessageStreamChunk:
        seen.append(os.listdir(inbox))
        return last

    *first, last = chunks()
    receive_file(offer([*first, look]), inbox)
    ((name,),) = seen
    assert name.startswith(".meshsync-")
    assert name.endswith(".part")


def test_a_file_is_replaced_when_asked(inbox: Path) -> None:
    """In one step: until then the old one is there."""
    (inbox / "digits.txt").write_text("old")
    *first, last = chunks()

    def look() -> MessageStreamChunk:
        assert (inbox / "digits.txt").read_text() == "old"
        return last

    assert receive_file(offer([*first, look]), inbox, overwrite=True).path.read_bytes() == DATA
    assert os.listdir(inbox) == ["digits.txt"]


def test_a_file_that_appears_meanwhile_is_kept(inbox: Path) -> None:
    """Looking beforehand only saves the transfer; the name is taken in one step with looking for it."""
    *first, last = chunks()

    def appear() -> MessageStreamChunk:
        (inbox / "digits.txt").write_text("first")
        return last

    reader = offer([*first, appear])
    with pytest.raises(FileExistsError, match=r"'digits\.txt'"):
        receive_file(reader, inbox)
    assert reader.closed == ["there is a file of that name already"]
    assert (inbox / "digits.txt").read_text() == "first"
    assert os.listdir(inbox) == ["digits.txt"]


@POSIX
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_in_the_directory_is_not_followed(tmp_path: Path, inbox: Path, overwrite: bool) -> None:
    """One that is there before or appears meanwhile is kept, or itself replaced; what it leads to stays."""
    outside = tmp_path / "outside"
    outside.write_text("kept")
    *first, last = chunks()

    def appear() -> MessageStreamChunk:
        (inbox / "digits.txt").symlink_to(outside)
        return last

    if overwrite:
        assert not receive_file(offer([*first, appear]), inbox, overwrite=True).path.is_symlink()
    else:
        with pytest.raises(FileExistsError):
            receive_file(offer([*first, appear]), inbox)
    assert outside.read_text() == "kept"


@POSIX
def test_the_directory_itself_may_be_a_link(tmp_path: Path, inbox: Path) -> None:
    """It is resolved once: who turns the link meanwhile moves nothing."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(inbox)
    *first, last = chunks()

    def turn() -> MessageStreamChunk:
        (tmp_path / "link").unlink()
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        return last

    assert receive_file(offer([*first, turn]), tmp_path / "link").path == inbox / "digits.txt"
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.skipif(not Path("/dev/full").exists() or sys.platform != "linux", reason="there is no full device here")
def test_a_full_disk_is_told_to_the_sender(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the system's words, without a path; nothing stays."""
    monkeypatch.setattr("meshsync.files.partial_file._create", lambda path: os.open("/dev/full", os.O_WRONLY))
    reader = offer()
    with pytest.raises(OSError, match="No space left on device"):
        receive_file(reader, inbox)
    assert reader.closed == ["the receiver cannot store the file: No space left on device"]
    assert os.listdir(inbox) == []


def test_a_sender_that_cannot_be_told_does_not_harm(inbox: Path) -> None:
    """It may have closed at once, as one that awaits no confirmation does: the file is here all the same."""

    def refuse(_: object) -> None:
        raise StreamCancelled("bob closed it")

    reader = ScriptedReader({"file": {"name": "a", "size": 10}}, chunks(), RecordingWriter(on_chunk=refuse))
    assert receive_file(reader, inbox).path.read_bytes() == DATA
    assert reader.closed == []


NAMES = (
    st.text(alphabet="./\\:~aC\x00", max_size=6) | st.text(max_size=20) | st.sampled_from(["NUL", "digits.txt", ".."])
)


@given(name=NAMES)
def test_whatever_the_name_nothing_but_an_entry_of_the_directory_appears(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Either the one file is directly inside, or there is none anywhere."""
    top = tmp_path_factory.mktemp("top")
    inbox = top / "some" / "inbox"
    inbox.mkdir(parents=True)
    found: list[Path] = []
    with suppress(MeshsyncError, OSError):
        found = [receive_file(offer(name=name), inbox).path]
    assert [path for path in top.rglob("*") if path.is_file()] == found
    assert all(path.parent == inbox for path in found)
