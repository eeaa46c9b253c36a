"""Encryption: what arrives is what was written, to the last chunk, or an error; whoever is in between."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from examples.own_filter import Checksummed
from meshsync.errors import InvalidMessage, StreamError, StreamInterrupted, StreamRejected
from meshsync.filters.compression import compression
from meshsync.filters.encryption import encryption
from meshsync.filters.filtering import CHUNK_LIMIT, MakeFilter
from meshsync.filters.negotiation import accept_filtered, open_filtered
from meshsync.streams.interfaces import MessageStreamChunk, StreamReader, StreamWriter
from tests.support.profiles import examples
from tests.support.scripted_streams import BOB, RecordingOpener, RecordingWriter, ScriptedReader

KEY = bytes(range(32))
FILTERS = (encryption(KEY),)

Chunks = list[MessageStreamChunk]


def travelled(chunks: Chunks) -> Chunks:
    """Return chunks as they arrive: headers are JSON, data is bytes."""
    return [MessageStreamChunk(json.loads(json.dumps(chunk.header)), bytes(chunk.data)) for chunk in chunks]


@dataclass
class Recorded:
    """A stream that was opened and written, as whoever is in between sees it."""

    opener: StreamWriter
    answers: Chunks
    """What its opener is going to read; filled in later."""
    header: dict[str, Any]
    chunks: Chunks

    def reader(self, chunks: Chunks | None = None, *filters: MakeFilter) -> StreamReader:
        """Return the other side's reader, of these chunks or of those that were written."""
        inner = ScriptedReader(self.header, self.chunks if chunks is None else chunks)
        return accept_filtered(inner, filters or FILTERS)

    def answered(self, *answers: MessageStreamChunk | bytes) -> Chunks:
        """Return how the other side's answers travel."""
        inner = ScriptedReader(self.header)
        with accept_filtered(inner, FILTERS).writer as writer:
            for answer in answers:
                writer.write(answer)
        return travelled(inner.writer.chunks)


def record(*chunks: MessageStreamChunk | bytes, filters: tuple[MakeFilter, ...] = FILTERS, **header: Any) -> Recorded:
    """Open a stream with this header, write these chunks and the end, and return it."""
    answers: Chunks = []
    inner = RecordingWriter(later(answers))
    opener = RecordingOpener(inner)
    writer = open_filtered(opener.create_stream, BOB, header, filters=filters)
    for chunk in chunks:
        writer.write(chunk)
    for end in getattr(writer, "_ends").filter.finish():  # noqa: B009  # not closed, so that answers are checked
        inner.write(end)
    header = json.loads(json.dumps(opener.opened[0][1]))
    return Recorded(writer, answers, header, travelled(inner.chunks))


def later(chunks: Chunks) -> Iterator[MessageStreamChunk]:
    """Take chunks from a list when they are asked for."""
    while chunks:
        yield chunks.pop(0)


def read(reader: StreamReader) -> tuple[Chunks, StreamError | None]:
    """Return what can be read, and the error that ends it, which has to come again."""
    got: Chunks = []
    try:
        got.extend(reader)
    except StreamError as error:
        with pytest.raises(type(error)) as info:
            reader.read()
        assert str(info.value) == str(error)
        return got, error
    return got, None


A, B, C = (MessageStreamChunk({"n": number}, bytes([number]) * number) for number in (1, 2, 3))


# --- what it does -----------------------------------------------------------------------------------------------------


def test_what_arrives_is_what_was_written() -> None:
    """Headers and data, empty ones too, in both directions, as bytes."""
    stream = record(A, b"", bytearray(b"buffer"), memoryview(b"view"), purpose="log")
    empty, *rest = MessageStreamChunk({}, b""), MessageStreamChunk({}, b"buffer"), MessageStreamChunk({}, b"view")
    got, error = read(stream.reader())
    assert (got, error) == ([A, empty, *rest], None)
    assert {type(chunk.data) for chunk in got} == {bytes}
    assert stream.reader().header == {"purpose": "log"}
    stream.answers += stream.answered(B, b"answer")
    assert read(stream.opener.reader) == ([B, MessageStreamChunk({}, b"answer")], None)


def test_neither_data_nor_headers_of_chunks_can_be_seen() -> None:
    """The same chunk looks different each time, and no part of it shows."""
    secret = MessageStreamChunk({"secret-name": "secret-value"}, b"secret-data")
    first, second = record(secret, secret), record(secret)
    seen = json.dumps([[dict(one.header), b64encode(one.data).decode()] for one in first.chunks])
    plain = [b"secret-name", b"secret-value", b"secret-data"]
    assert not any(text.decode() in seen or b64encode(text).decode()[:-4] in seen for text in plain)
    looks = [(one.header["aead"], one.data) for one in (*first.chunks[:2], second.chunks[0])]
    assert len(set(looks)) == 3


def test_the_wire_is_what_the_documentation_says() -> None:
    """Somebody who has read it, and nothing else, can decrypt a stream."""
    stream = record(A, purpose="log", price=1.0)
    entry = stream.header["meshsync.filters"][0]
    assert (sorted(entry), entry["cipher"]) == (["cipher", "name", "proof", "salt"], "AES-256-GCM")
    digest = hashlib.sha256(b'{"meshsync.filters":[],"price":1,"purpose":"log"}').digest()
    info = b"meshsync stream aead 1 written by the opener" + digest
    cipher = AESGCM(HKDF(SHA256(), 32, b64decode(entry["salt"]), info).derive(KEY))
    chunk, end = stream.chunks
    sealed = b64decode(chunk.header["aead"])
    assert cipher.decrypt(bytes(12), sealed, b"chunk") == b'{"n":1}'
    assert cipher.decrypt(bytes(11) + b"\1", chunk.data, sealed) == b"\1"
    assert end.header["end"] is True
    assert cipher.decrypt(bytes(7) + b"\1" + bytes(4), b64decode(end.header["aead"]), b"end") == b"{}"


def test_rooms_may_write_the_header_in_their_own_way() -> None:
    """Order of members and 1 in the place of 1.0 mean the same."""
    stream = record(A, a=1.0, b={"c": [2.5, None], "d": "ü"})
    stream.header = {"b": {"d": "ü", "c": [2.5, None]}, "a": 1, "meshsync.filters": stream.header.popitem()[1]}
    assert read(stream.reader()) == ([A], None)


def test_other_key_or_other_header_is_rejected_before_anything_is_accepted() -> None:
    """Both sides hear why; the keys are not told."""
    text = "filter 'aead': the two sides have different keys, or the stream's header was changed on its way"
    stream = record(A, purpose="log")
    inner = ScriptedReader(stream.header)
    with pytest.raises(StreamRejected) as info:
        accept_filtered(inner, [encryption(bytes(32))])
    assert (str(info.value), inner.closed, inner.is_accepted) == (text, [text], False)
    for change in ({"purpose": "video"}, {"more": None}):
        with pytest.raises(StreamRejected, match="different keys, or the stream's header"):
            accept_filtered(ScriptedReader({**stream.header, **change}), FILTERS)


def test_filters_before_encryption_cannot_be_left_out_of_the_header() -> None:
    """Compressed data would else be taken for the data."""
    both = (compression(), encryption(KEY))
    stream = record(A, filters=both)
    stream.header["meshsync.filters"].pop(0)
    with pytest.raises(StreamRejected, match="header was changed"):
        accept_filtered(ScriptedReader(stream.header), FILTERS, optional=[compression()])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cipher": "rot13"}, "only AES-256-GCM is known here, not 'rot13'"),
        ({"cipher": None}, "only AES-256-GCM is known here, not None"),
        ({"salt": "AAAA"}, "the other side sent no salt"),
        ({"salt": 7}, "the other side sent no salt"),
        ({"proof": "!"}, "different keys"),
        ({"proof": ""}, "different keys"),
    ],
)
def test_malformed_agreement_is_rejected(change: dict[str, Any], text: str) -> None:
    """Each with its reason."""
    stream = record(A)
    stream.header["meshsync.filters"][0].update(change)
    with pytest.raises(StreamRejected, match=text):
        stream.reader()


def test_chunk_that_is_too_large_is_refused_where_it_is_written() -> None:
    """The stream goes on, and what compression made of the largest chunk it takes still passes."""
    inner = RecordingWriter()
    writer = open_filtered(RecordingOpener(inner).create_stream, BOB, filters=[compression(0), encryption(KEY)])
    with pytest.raises(InvalidMessage, match="can be compressed at once"):
        writer.write(bytes(CHUNK_LIMIT + 1))
    writer.write(bytes(CHUNK_LIMIT))
    plain = open_filtered(RecordingOpener(inner).create_stream, BOB, filters=FILTERS)
    with pytest.raises(InvalidMessage, match="3060004 bytes, its header counted twice; 3000000 can be encrypted"):
        plain.write(bytes(3_060_000))
    plain.write(b"data")
    assert len(inner.chunks) == 2


@pytest.mark.parametrize(
    ("key", "error"), [("x" * 32, TypeError), (b"short", ValueError), (bytes(33), ValueError), (None, TypeError)]
)
def test_what_is_no_key_is_refused_at_once(key: Any, error: type[Exception]) -> None:
    """Its value is in no text."""
    with pytest.raises(error) as info:
        encryption(key)
    assert "short" not in str(info.value)
    assert repr(KEY)[2:20] not in repr(encryption(KEY))


def test_missing_package_is_named_with_the_extra() -> None:
    """Without it, everything else can be imported."""
    script = """
import sys
sys.modules["cryptography"] = None
import meshsync, meshsync.encryption, meshsync.compression, meshsync.negotiation, meshsync.buffering
try:
    meshsync.filters.encryption.encryption(bytes(32))
except meshsync.UsageError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "encryption needs cryptography: pip install 'meshsync-client[crypto]'\n"


# --- whoever is in between --------------------------------------------------------------------------------------------


def swapped(chunks: Chunks) -> Chunks:
    """Exchange the first two."""
    return [chunks[1], chunks[0], *chunks[2:]]


def changed(chunk: MessageStreamChunk, **header: Any) -> MessageStreamChunk:
    """Return a chunk with other members in the header."""
    return MessageStreamChunk({**chunk.header, **header}, chunk.data)


CHANGED = "is not what the other side wrote there: somebody on the way changed, repeated, left out or moved a chunk"
CUT_OFF = "the stream was closed without the end that the peer has to confirm"


@pytest.mark.parametrize(
    ("attack", "count", "text"),
    [
        (swapped, 0, f"chunk 1 {CHANGED}"),
        (lambda sent: [sent[0], sent[0], *sent[1:]], 1, f"chunk 2 {CHANGED}"),
        (lambda sent: [sent[0], *sent[2:]], 1, f"chunk 2 {CHANGED}"),
        (lambda sent: sent[1:], 0, f"chunk 1 {CHANGED}"),
        (lambda sent: sent[:2], 2, CUT_OFF),
        (lambda sent: [], 0, CUT_OFF),
        (lambda sent: sent[:2] + sent[3:], 2, f"chunk 3 {CHANGED}"),
        (lambda sent: [*sent[:2], changed(sent[2], end=True)], 2, f"chunk 3 {CHANGED}"),
        (lambda sent: [*sent[:3], changed(sent[3], end=False)], 3, f"chunk 4 {CHANGED}"),
        (lambda sent: [*sent, sent[0]], 3, "a chunk came after the last one"),
        (lambda sent: [MessageStreamChunk(sent[0].header, sent[1].data)], 0, f"chunk 1 {CHANGED}"),
        (lambda sent: [MessageStreamChunk(sent[0].header)], 0, f"chunk 1 {CHANGED}"),
        (lambda sent: [MessageStreamChunk({}, b"plain")], 0, "a chunk came that is not encrypted"),
        (lambda sent: [changed(sent[0], aead=7)], 0, "a chunk came that is not encrypted"),
        (lambda sent: [changed(sent[0], aead="ü!")], 0, "a chunk came that is not encrypted"),
        (lambda sent: [changed(sent[0], aead="")], 0, f"chunk 1 {CHANGED}"),
        (lambda sent: record(A, B, C).chunks, 0, f"chunk 1 {CHANGED}"),
    ],
    ids=[
        "reordered", "repeated", "left out", "first left out", "cut off", "cut off to nothing", "last data left out",
        "end put earlier", "end made data", "repeated after the end", "headers exchanged", "data taken out",
        "plain chunk", "number for a header", "no base64", "empty header", "from another stream",
    ],
)  # fmt: skip
def test_attack_is_an_error_and_shows_nothing_wrong(attack: Callable[[Chunks], Chunks], count: int, text: str) -> None:
    """What was read before is what was written; then comes the error, whose text says what it was."""
    stream = record(A, B, C)
    got, error = read(stream.reader(attack(stream.chunks)))
    assert got == [A, B, C][:count]
    assert error is not None and text in str(error)
    assert isinstance(error, StreamInterrupted) == (text == CUT_OFF)


def test_answers_belong_to_their_stream_and_direction() -> None:
    """Answers of another stream, own chunks sent back, and a changed salt are errors; so are missing answers."""
    other = record(A).answered(B)
    for make, text in [
        (lambda stream: other, f"chunk 1 {CHANGED}"),
        (lambda stream: stream.chunks, "the other side sent no salt"),
        (lambda stream: [changed(one, salt=other[0].header["salt"]) for one in stream.chunks], f"chunk 1 {CHANGED}"),
        (lambda stream: [changed(stream.answered(B)[0], salt=other[0].header["salt"])], f"chunk 1 {CHANGED}"),
        (lambda stream: [MessageStreamChunk({}, b"the acceptor knows no filters")], "not encrypted"),
        (lambda stream: [], CUT_OFF),
        (lambda stream: stream.answered(B)[:1], CUT_OFF),
    ]:
        stream = record(A)
        stream.answers += make(stream)  # type: ignore[no-untyped-call]
        got, error = read(stream.opener.reader)
        assert got in ([], [B]) and error is not None and text in str(error)


def test_answers_to_a_repeated_opening_use_another_key() -> None:
    """Who replays an opening must not get two texts under one key and nonce."""
    stream = record(A)
    salts = [stream.answered(B)[0].header["salt"] for _ in range(2)]
    assert len(set(salts)) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
HEADERS = st.dictionaries(st.text("abc", max_size=3), JSON, max_size=3)
CHUNKS = st.lists(st.builds(MessageStreamChunk, HEADERS, st.binary(max_size=200)), max_size=6)
COMPOSITIONS = st.permutations([Checksummed, compression(), encryption(KEY)]).flatmap(
    lambda order: st.integers(1, 3).map(lambda length: tuple(order[:length]))
)


def opened_and_closed(chunks: Chunks, header: dict[str, Any], filters: tuple[MakeFilter, ...]) -> tuple[Any, Chunks]:
    """Return header and chunks of a stream as they travel."""
    inner = RecordingWriter()
    opener = RecordingOpener(inner)
    with open_filtered(opener.create_stream, BOB, header, filters=filters) as writer:
        for chunk in chunks:
            writer.write(chunk)
    return json.loads(json.dumps(opener.opened[0][1])), travelled(inner.chunks)


@given(CHUNKS, CHUNKS, HEADERS, COMPOSITIONS)
def test_any_chunks_pass_any_composition_of_filters(
    chunks: Chunks, answers: Chunks, header: dict[str, Any], filters: tuple[MakeFilter, ...]
) -> None:
    """In both directions, exactly as they were cut."""
    coming: Chunks = []
    inner = RecordingWriter(later(coming))
    opener = RecordingOpener(inner)
    writer = open_filtered(opener.create_stream, BOB, header, filters=filters)
    for chunk in chunks:
        writer.write(chunk)
    asked = ScriptedReader(json.loads(json.dumps(opener.opened[0][1])), later(inner.chunks))
    reader = accept_filtered(asked, filters)
    assert reader.header == header
    with reader.writer as back:
        for answer in answers:
            back.write(answer)
    coming += travelled(asked.writer.chunks)
    assert read(writer.reader) == (answers, None)
    writer.close()
    assert read(reader) == (chunks, None)


@st.composite
def attacks(draw: st.DrawFn) -> Callable[[Chunks, Chunks], Chunks]:
    """Draw what is done to the chunks of a stream, given those of another with the same key."""
    steps = draw(
        st.lists(st.sampled_from(["drop", "repeat", "move", "cut", "flip", "foreign", "end"]), min_size=1, max_size=3)
    )
    numbers = [draw(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 7))) for _ in steps]

    def attack(own: Chunks, foreign: Chunks) -> Chunks:
        chunks = list(own)
        for step, (first, second, bit) in zip(steps, numbers, strict=True):
            i, j = first % (len(chunks) or 1), second % (len(chunks) + 1)
            if step == "foreign":
                chunks.insert(j, foreign[first % len(foreign)])
            elif not chunks:
                continue
            elif step == "drop":
                del chunks[i]
            elif step == "repeat":
                chunks.insert(j, chunks[i])
            elif step == "move":
                chunks.insert(j, chunks.pop(i))
            elif step == "cut":
                del chunks[i:]
            elif step == "end":
                others = {name: value for name, value in chunks[i].header.items() if name != "end"}
                end = {} if "end" in chunks[i].header else {"end": True}
                chunks[i] = MessageStreamChunk({**others, **end}, chunks[i].data)
            else:
                chunks[i] = flipped(chunks[i], second, bit)
        return chunks

    return attack


def flipped(chunk: MessageStreamChunk, place: int, bit: int) -> MessageStreamChunk:
    """Return a chunk with one bit changed, in what its header says or in its data."""
    sealed, data = bytearray(b64decode(chunk.header["aead"])), bytearray(chunk.data)
    place %= len(sealed) + len(data)
    if place < len(sealed):
        sealed[place] ^= 1 << bit
    else:
        data[place - len(sealed)] ^= 1 << bit
    return MessageStreamChunk({**chunk.header, "aead": b64encode(sealed).decode()}, bytes(data))


@examples(300)
@given(CHUNKS, attacks(), st.permutations([Checksummed, compression()]), st.integers(0, 2))
def test_no_attack_shows_anything_that_was_not_written(
    chunks: Chunks, attack: Callable[[Chunks, Chunks], Chunks], others: list[MakeFilter], count: int
) -> None:
    """What can be read is the beginning of what was written; all of it, without an error, only if nothing changed."""
    filters = (*others[:count], encryption(KEY))
    header, sent = opened_and_closed(chunks, {"purpose": "log"}, filters)
    _, foreign = opened_and_closed(chunks, {"purpose": "log"}, filters)
    arrived = attack(sent, foreign)
    got, error = read(accept_filtered(ScriptedReader(header, arrived), filters))
    assert got == chunks[: len(got)]
    assert (error is None) == (arrived == sent)
